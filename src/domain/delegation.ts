/**
 * Is the primary calendar delegated to the dedicated mailbox? From a reading of the mailbox to a verdict.
 *
 * | the dedicated mailbox's grant | verdict |
 * |---|---|
 * | delegate, with or without private events | true |
 * | write | `shared_not_delegated`: may edit, is no delegate |
 * | less | `role_too_low` |
 * | none, and the list is a real one | `not_delegated` |
 * | the list is empty, not even the organisation's default | `inconclusive` |
 *
 * What the vendor answers with one code is told apart by directory evidence; what that can not decide says so, with both causes.
 */
import type { Verdict } from './conditions.ts';
import { foldAddress } from './email-address.ts';

export type GrantLevel =
  | 'delegate'
  | 'delegate_with_private'
  | 'write'
  | 'read'
  | 'limited'
  | 'free_busy'
  | 'none'
  | 'custom';

export interface CalendarGrant {
  /** Null for the organisation's default entry, which is never a match. */
  address: string | null;
  level: GrantLevel;
}

export interface DirectoryEvidence {
  exchangePlanEnabled: boolean;
  syncedFromOnPremises: boolean;
  hasAddresses: boolean;
}

/** What was read from the tenant, in our words. */
export type MailboxReading =
  | { kind: 'grants'; grants: CalendarGrant[]; readBy: string }
  /** The tenant says the mailbox is not there for us: no license, soft-deleted or on premises. */
  | { kind: 'mailbox_unavailable'; evidence: DirectoryEvidence | null }
  | { kind: 'person_not_found' }
  | { kind: 'access_denied'; dedicatedMailboxReadable: boolean | null }
  | { kind: 'not_supported' };

export type DedicatedMailbox =
  | { kind: 'known'; addresses: string[] }
  | { kind: 'missing'; address: string }
  | { kind: 'unreadable'; address: string };

export interface MailboxDelivery {
  meetingMessages: 'delegate_only' | 'delegate_and_information' | 'delegate_and_person' | 'unknown';
  purpose: string | null;
}

/** What is worth telling of a delegated mailbox; null when all is well. */
export function deliveryWarning({ meetingMessages, purpose }: MailboxDelivery, who: string): string | null {
  if (purpose && !['user', 'linked'].includes(purpose))
    return `${who}'s mailbox is a ${purpose} mailbox, not a person's.`;
  return meetingMessages === 'delegate_only'
    ? `Meeting requests to ${who} reach the dedicated mailbox only. In Outlook the person chooses «My delegates and me» under Deliver meeting requests.`
    : null;
}

/** What a grant mends, by an Exchange admin's script or by Graph. */
export const mendedByGrant = ['not_delegated', 'shared_not_delegated', 'role_too_low'] as const;

/** Whether Usher may grant this one itself. */
export function mayGrant(
  grant: { enabled: boolean; pilot: string[]; everybody: boolean },
  mailboxKeys: string[],
  reason: string | null,
): boolean {
  if (!grant.enabled || !mendedByGrant.some((one) => one === reason)) return false;
  const pilot = new Set(grant.pilot.map(foldAddress));
  return grant.everybody || mailboxKeys.some((key) => pilot.has(foldAddress(key)));
}

export function decideDelegation(reading: MailboxReading, dedicated: DedicatedMailbox, who: string): Verdict {
  if (dedicated.kind === 'missing') {
    return no(
      'dedicated_mailbox_missing',
      `The dedicated mailbox ${dedicated.address} does not exist in the tenant. An Exchange admin creates it, or the policy is corrected.`,
    );
  }
  const addresses = dedicated.kind === 'known' ? dedicated.addresses : [dedicated.address];
  switch (reading.kind) {
    case 'grants':
      return decideGrants(reading.grants, addresses, dedicated.kind === 'known', who);
    case 'mailbox_unavailable':
      return decideUnavailable(reading.evidence, who);
    case 'person_not_found':
      return no(
        'no_mailbox',
        `${who} is not in the Microsoft 365 tenant, so there is no calendar. The identity provider's admin checks the address.`,
        { owner: 'idp_admin' },
      );
    case 'access_denied':
      return decideDenied(reading.dedicatedMailboxReadable, who);
    case 'not_supported':
      return {
        status: 'unknown',
        reason: 'inconclusive',
        message: `The tenant does not let this connection list the calendar permissions of ${who}. Use application permissions, not a delegated sign-in.`,
      };
  }
}

const rank: Record<GrantLevel, number> = {
  delegate_with_private: 7,
  delegate: 6,
  write: 5,
  custom: 4,
  read: 3,
  limited: 2,
  free_busy: 1,
  none: 0,
};

function decideGrants(grants: CalendarGrant[], addresses: string[], allKnown: boolean, who: string): Verdict {
  // An owner's own list always carries the organisation's default entry; an empty one was not read as the owner.
  if (grants.length === 0) {
    return {
      status: 'unknown',
      reason: 'inconclusive',
      message: `The permission list of ${who} came back empty, without even the organisation's default entry: that proves nothing. It will be read again.`,
    };
  }
  const known = new Set(addresses.map(foldAddress));
  const own = grants.filter((grant) => grant.address !== null && known.has(foldAddress(grant.address)));
  const best = own.sort((a, b) => rank[b.level] - rank[a.level])[0];
  const to = addresses[0] ?? 'the dedicated mailbox';
  if (!best && !allKnown && grants.some((grant) => grant.address !== null))
    return {
      status: 'unknown',
      reason: 'inconclusive',
      message: `The other addresses of ${to} can not be read, so a grant to one of them would not be seen on ${who}'s calendar. A tenant admin gives the app User.Read.All.`,
    };
  if (!best)
    return no(
      'not_delegated',
      `${who}'s calendar is not delegated to ${to}. An Exchange admin makes it a delegate (Add-MailboxFolderPermission with -AccessRights Editor -SharingPermissionFlags Delegate), or the person does it in Outlook.`,
    );
  const evidence = { level: best.level, address: best.address };
  if (best.level === 'delegate' || best.level === 'delegate_with_private') {
    return { status: 'true', reason: null, message: `${who}'s calendar is delegated to ${to}.`, evidence };
  }
  if (best.level === 'write') {
    return no(
      'shared_not_delegated',
      `${to} may edit ${who}'s calendar but is no delegate. An Exchange admin adds the Delegate flag.`,
      { evidence },
    );
  }
  return no(
    'role_too_low',
    `${to} has only «${best.level}» on ${who}'s calendar. An Exchange admin makes it a delegate.`,
    { evidence },
  );
}

function decideUnavailable(evidence: DirectoryEvidence | null, who: string): Verdict {
  const both = `${who}: the mailbox can not be reached. Either there is none (no Exchange license yet, still being made, or soft-deleted), or it lives on the organisation's own Exchange Server.`;
  if (!evidence)
    return {
      status: 'unknown',
      reason: 'inconclusive',
      message: `${both} The directory gave no evidence to tell; an Exchange admin looks.`,
      owner: 'exchange_admin',
    };
  const facts = { evidence: { ...evidence } };
  if (!evidence.syncedFromOnPremises) {
    return evidence.exchangePlanEnabled
      ? no(
          'no_mailbox',
          `${who} has an Exchange license but no mailbox yet: it is still being made (up to 24 hours) or was soft-deleted. An Exchange admin looks if it stays so.`,
          facts,
        )
      : no(
          'no_mailbox',
          `${who} has no Exchange Online license, so there is no mailbox. An Exchange admin assigns one.`,
          facts,
        );
  }
  if (evidence.exchangePlanEnabled)
    return {
      status: 'unknown',
      reason: 'inconclusive',
      message: `${both} A license is there and the account is synced from on premises, so the evidence can not decide; an Exchange admin looks.`,
      owner: 'exchange_admin',
      ...facts,
    };
  if (evidence.hasAddresses)
    return no(
      'mailbox_on_premises',
      `${who}'s mailbox is on the organisation's own Exchange Server, where the delegation can not be checked from the cloud. An Exchange admin migrates it or vouches for it.`,
      facts,
    );
  return no(
    'no_mailbox',
    `${who} has no mailbox, neither in the cloud nor an address on premises. An Exchange admin creates one.`,
    facts,
  );
}

function decideDenied(dedicatedMailboxReadable: boolean | null, who: string): Verdict {
  if (dedicatedMailboxReadable === true) {
    return no(
      'outside_access_policy',
      `${who}'s mailbox is outside the access policy of the app registration. An Exchange admin adds it to the scope.`,
    );
  }
  if (dedicatedMailboxReadable === false) {
    return {
      status: 'unknown',
      reason: 'no_consent',
      message:
        'The app registration may not read calendar permissions at all. A tenant admin consents to Calendars.ReadBasic (application); It is given in Entra ID under App registrations, API permissions.',
    };
  }
  return {
    status: 'unknown',
    reason: 'inconclusive',
    message: `Access to ${who}'s mailbox was refused: either the consent is missing or the mailbox is outside the access policy. An operator names the dedicated mailbox in the policy, by which the two are told apart.`,
  };
}

function no(reason: NonNullable<Verdict['reason']>, message: string, more: Partial<Verdict> = {}): Verdict {
  return { status: 'false', reason, message, ...more };
}
