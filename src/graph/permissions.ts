/** Tries each permission that the app registration needs, and says which consent is missing and how it is given (learn.microsoft.com/graph/permissions-reference). */
import type { GraphConfig } from '../config.ts';
import { needsGroups, type Policy } from '../domain/policy.ts';
import { UsherError } from '../errors.ts';
import type { GraphAnswer, GraphClient } from './client.ts';

export interface PermissionFinding {
  permission: string;
  state: 'given' | 'missing' | 'unsure';
  found: string;
  needed: boolean;
}

export interface PermissionsWanted {
  dedicatedMailbox: string | null;
  users: boolean;
  groups: boolean;
  assistedGrant: boolean;
}

/** What this policy asks of the tenant. */
export function permissionsWanted(policy: Policy): PermissionsWanted {
  const polled = policy.sources.filter((source) => source.kind === 'graph');
  return {
    dedicatedMailbox: policy.dedicatedMailbox ?? null,
    users: polled.length > 0,
    groups: polled.some((source) => needsGroups(policy, source.name)),
    assistedGrant: policy.assistedGrant.enabled,
  };
}

export async function tryPermissions(graph: GraphClient, wanted: PermissionsWanted): Promise<PermissionFinding[]> {
  const findings: PermissionFinding[] = [];
  const attempt = async (
    permission: string,
    needed: boolean,
    ask: () => Promise<GraphAnswer>,
    isGiven = (answer: GraphAnswer) => answer.status < 300,
  ): Promise<void> => {
    try {
      const answer = await ask();
      const state = isGiven(answer) ? 'given' : answer.status === 403 ? 'missing' : 'unsure';
      findings.push({
        permission,
        state,
        needed,
        found: state === 'given' ? 'works' : `${answer.status} ${answer.code ?? ''}`.trim(),
      });
    } catch (error) {
      if (error instanceof UsherError && error.code === 'connection_down') throw error;
      findings.push({
        permission,
        state: 'unsure',
        needed,
        found: error instanceof Error ? error.message : String(error),
      });
    }
  };
  const mailbox = wanted.dedicatedMailbox && encodeURIComponent(wanted.dedicatedMailbox);
  await attempt('User.Read.All', true, () =>
    wanted.users || !mailbox
      ? graph.get('/users/delta?$select=id&$deltatoken=latest')
      : graph.get(`/users/${mailbox}?$select=id`),
  );
  await attempt('GroupMember.Read.All', wanted.groups, () => graph.get('/groups/delta?$select=id&$deltatoken=latest'));
  if (mailbox) {
    const permissions = `/users/${mailbox}/calendar/calendarPermissions`;
    await attempt('Calendars.ReadBasic', true, () => graph.get(permissions));
    await attempt('MailboxSettings.Read', false, () =>
      graph.get(`/users/${mailbox}/mailboxSettings/delegateMeetingMessageDeliveryOptions`),
    );
    // An entry that can not be there: whoever may write is told that it is not, whoever may not is refused before.
    if (wanted.assistedGrant)
      await attempt(
        'Calendars.ReadWrite',
        true,
        () => graph.send('PATCH', `${permissions}/${encodeURIComponent('bm9ib2R5')}`, { role: 'read' }),
        (answer) => answer.status < 300 || answer.status === 404 || answer.status === 400,
      );
  }
  return findings;
}

/** Where a tenant's admin consents for everybody. */
export function consentLink(config: GraphConfig): string {
  return `${config.authority}/${config.tenantId}/adminconsent?client_id=${encodeURIComponent(config.clientId)}`;
}
