/**
 * Users and groups of the tenant by delta queries (learn.microsoft.com/graph/delta-query-overview), and the direct reads that confirm what a delta says.
 * Graph's words come in, ours go out: an attribute that is absent stays absent, one that was cleared is null.
 */
import { storable } from '../domain/storable-text.ts';
import { UsherError } from '../errors.ts';
import type {
  Directory,
  DirectoryAttributes,
  DirectoryGroupChange,
  DirectoryPageOf,
  DirectoryUserChange,
} from '../ports.ts';
import type { Batch } from './batch.ts';
import type { GraphAnswer, GraphClient } from './client.ts';

/** Our attribute → Graph's property. The first block is always needed; of the others only what the policy asks for. */
const properties: Record<keyof DirectoryAttributes, string> = {
  userName: 'userPrincipalName',
  mail: 'mail',
  aliases: 'proxyAddresses',
  displayName: 'displayName',
  givenName: 'givenName',
  familyName: 'surname',
  enabled: 'accountEnabled',
  userType: 'userType',
  department: 'department',
  title: 'jobTitle',
  organization: 'companyName',
  division: 'employeeOrgData',
  costCenter: 'employeeOrgData',
};
const always = [
  'userName',
  'mail',
  'aliases',
  'displayName',
  'givenName',
  'familyName',
  'enabled',
  'userType',
] as const satisfies (keyof DirectoryAttributes)[];

export function openDirectory(graph: GraphClient, batch: Batch): Directory {
  const page = async <T>(
    path: string,
    read: (entry: Record<string, unknown>) => T | null,
  ): Promise<DirectoryPageOf<T>> => {
    const stored = /^https?:/i.test(path);
    // The cloud or the base address changed: what was stored leads elsewhere.
    if (stored && !graph.owns(path)) return { kind: 'resync', reason: 'the link belongs to another host' };
    const answer = await graph.get(path);
    if (isStale(answer) || (stored && isRefusedLink(answer)))
      return { kind: 'resync', reason: answer.code ?? String(answer.status) };
    if (answer.status === 401 || answer.status === 403)
      throw new UsherError(
        'connection_down',
        `The tenant does not let this app read ${path.includes('/groups/') ? 'groups (GroupMember.Read.All)' : 'users (User.Read.All)'}: ${answer.code ?? answer.status}.`,
      );
    const { value, '@odata.nextLink': next, '@odata.deltaLink': delta } = answer.body;
    const link = typeof next === 'string' ? next : delta;
    // A page without its list, or with no way on, is no page: an unread page is not an empty one.
    if (answer.status >= 300 || !Array.isArray(value) || typeof link !== 'string')
      throw new UsherError(
        'graph_unavailable',
        `Microsoft Graph gave no delta page (${answer.code ?? answer.status}).`,
      );
    return {
      kind: 'page',
      entries: (value as Record<string, unknown>[]).map(read).filter((entry) => entry !== null),
      link,
      finished: typeof next !== 'string',
    };
  };

  /** Null when the list can not be read to its end. */
  const isListed = async (start: string, wanted: string): Promise<boolean | null> => {
    let path: string | null = start;
    while (path !== null) {
      const answer: GraphAnswer = await graph.get(path);
      if (answer.status >= 300 || !Array.isArray(answer.body.value)) return null;
      if (
        (answer.body.value as { id?: unknown }[]).some(
          (entry) => String(entry.id).toLowerCase() === wanted.toLowerCase(),
        )
      )
        return true;
      const next = answer.body['@odata.nextLink'];
      path = typeof next === 'string' ? next : null;
    }
    return false;
  };

  return {
    selectUsers: (wanted) =>
      ['id', ...new Set([...always, ...wanted].map((attribute) => properties[attribute]))].join(','),
    selectGroups: 'id,displayName,members',
    usersPage: (link, select) => page(link ?? `/users/delta?$select=${select}`, readUserChange),
    groupsPage: (link, select) => page(link ?? `/groups/delta?$select=${select}`, readGroupChange),

    async readUser(objectId, select) {
      const answer = await batch.get(`/users/${encodeURIComponent(objectId)}?$select=${select}`, objectId);
      // Any other 404 may be a gateway's.
      if (answer.status === 404 && answer.code === 'Request_ResourceNotFound') return { kind: 'gone' };
      if (answer.status >= 300 || typeof answer.body.id !== 'string')
        return { kind: 'unknown', reason: answer.code ?? String(answer.status) };
      return { kind: 'there', attributes: readAttributes(answer.body) };
    },

    async subscribe(resource, { notificationUrl, clientState, expiresAt }, known) {
      const expirationDateTime = expiresAt.toISOString();
      if (known) {
        const renewed = await graph.send('PATCH', `/subscriptions/${encodeURIComponent(known.id)}`, {
          expirationDateTime,
        });
        if (renewed.status < 300) return { ...known, expiresAt: expirationDateTime };
      }
      const made = await graph.send('POST', '/subscriptions', {
        changeType: 'updated,deleted',
        resource: `/${resource}`,
        notificationUrl,
        lifecycleNotificationUrl: notificationUrl,
        expirationDateTime,
        clientState,
      });
      if (made.status >= 300 || typeof made.body.id !== 'string') return null;
      return { id: made.body.id, clientState, expiresAt: expirationDateTime, notificationUrl };
    },

    async isMember(objectId, groupId, kind) {
      const member = `/${kind === 'Group' ? 'groups' : 'users'}/${encodeURIComponent(objectId)}`;
      const asked = await graph.send('POST', `${member}/checkMemberGroups`, { groupIds: [groupId] });
      if (asked.status < 300 && Array.isArray(asked.body.value))
        return asked.body.value.map((id) => String(id).toLowerCase()).includes(groupId.toLowerCase());
      // Gone people and gone groups are members of nothing.
      if (asked.status === 404 && asked.code === 'Request_ResourceNotFound') return false;
      for (const [start, wanted] of [
        [`${member}/transitiveMemberOf?$select=id`, groupId],
        [`/groups/${encodeURIComponent(groupId)}/transitiveMembers?$select=id`, objectId],
        [`/groups/${encodeURIComponent(groupId)}/members?$select=id`, objectId],
      ] as const) {
        const found = await isListed(start, wanted);
        if (found !== null) return found;
      }
      return null;
    },

    // learn.microsoft.com, «List manager»: 404 is also the answer for somebody without one.
    async managerOf(objectId) {
      const answer = await graph.get(`/users/${encodeURIComponent(objectId)}/manager?$select=id`);
      return answer.status < 300 && typeof answer.body.id === 'string' ? answer.body.id : null;
    },

    async hasGroup(groupId) {
      const answer = await graph.get(`/groups/${encodeURIComponent(groupId)}?$select=id`);
      if (answer.status < 300 && typeof answer.body.id === 'string') return true;
      return answer.status === 404 && answer.code === 'Request_ResourceNotFound' ? false : null;
    },
  };
}

/** A stored link that is refused will be refused again; what else is wrong shows when everything is read anew. */
const isRefusedLink = ({ status }: GraphAnswer): boolean =>
  status >= 400 && status < 500 && ![401, 403, 408, 429].includes(status);

/** 410, or 400 and 404 with one of the codes: the token is too old, and everything is read anew. */
function isStale({ status, code }: GraphAnswer): boolean {
  return status === 410 || (status >= 400 && status < 500 && /^(syncState(NotFound|Invalid)|resync)/i.test(code ?? ''));
}

function readUserChange(entry: Record<string, unknown>): DirectoryUserChange | null {
  if (typeof entry.id !== 'string') return null;
  const removed = entry['@removed'] as { reason?: unknown } | undefined;
  return {
    objectId: entry.id.toLowerCase(),
    removed: removed ? (removed.reason === 'changed' ? 'soft' : 'for_good') : null,
    attributes: readAttributes(entry),
  };
}

function readAttributes(entry: Record<string, unknown>): Partial<DirectoryAttributes> {
  const found: Partial<Record<keyof DirectoryAttributes, unknown>> = {};
  for (const [attribute, property] of Object.entries(properties) as [keyof DirectoryAttributes, string][]) {
    if (!(property in entry)) continue;
    const value = entry[property];
    if (attribute === 'aliases')
      found.aliases = (Array.isArray(value) ? value : [])
        .map((proxy) => text(proxy) ?? '')
        .filter((proxy) => /^smtp:/i.test(proxy))
        .map((proxy) => proxy.slice(5));
    else if (attribute === 'division' || attribute === 'costCenter')
      found[attribute] = text((value as Record<string, unknown> | null)?.[attribute]);
    else found[attribute] = attribute === 'enabled' ? value !== false : text(value);
  }
  return found as Partial<DirectoryAttributes>;
}

/** Cleaned: one name that can not be stored would stop the directory for everybody. */
const text = (value: unknown): string | null => (typeof value === 'string' && value !== '' ? storable(value) : null);

function readGroupChange(entry: Record<string, unknown>): DirectoryGroupChange | null {
  if (typeof entry.id !== 'string') return null;
  const members = (Array.isArray(entry['members@delta']) ? entry['members@delta'] : []) as Record<string, unknown>[];
  return {
    objectId: entry.id.toLowerCase(),
    removed: '@removed' in entry,
    ...('displayName' in entry ? { displayName: text(entry.displayName) } : {}),
    members: members.flatMap((member) => {
      const type = member['@odata.type'];
      // A removal comes without a type as well; devices, service principals and contacts are nobody who could be booked.
      const kind = type === undefined ? 'User' : memberKinds[String(type)];
      if (!kind || typeof member.id !== 'string') return [];
      return [{ objectId: member.id.toLowerCase(), kind, removed: '@removed' in member }];
    }),
  };
}

const memberKinds: Record<string, 'User' | 'Group'> = {
  '#microsoft.graph.user': 'User',
  '#microsoft.graph.group': 'Group',
};
