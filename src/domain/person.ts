/**
 * The words of the product as values. A person is one human, correlated across sources; the wished state and the conditions hang here.
 * Keys never travel as a bare `id`: `externalId` is the identity provider's, `personId` is ours, `accountUserId` is the account's,
 * `resourceId` belongs to one SCIM resource of one source.
 */

export const roles = ['Administrator', 'Member'] as const;
export type Role = (typeof roles)[number];

/** Only `wanted` people count towards Ready. */
export const lifecycles = ['wanted', 'out_of_scope', 'held', 'leaving', 'suspended', 'gone'] as const;
export type Lifecycle = (typeof lifecycles)[number];

/** A person as one source describes them, one shape for all sources. Text is kept as it was sent. */
export interface DirectoryUser {
  source: string;
  resourceId: string;
  externalId: string | null;
  userName: string;
  displayName: string | null;
  givenName: string | null;
  familyName: string | null;
  /** The work address, else the primary one, else the first, else a userName that is an address. */
  email: string | null;
  /** Every address known, aliases included. */
  addresses: string[];
  active: boolean;
  entraObjectId: string | null;
  department: string | null;
  division: string | null;
  organization: string | null;
  costCenter: string | null;
  title: string | null;
  userType: string | null;
  timeZone: string | null;
  /** What the source names their manager by: an id of its own, an externalId, a userName or an address. A polled tenant is asked when it matters. */
  manager?: string | null;
  groups: GroupMembership[];
  /** What the identity provider itself asks for; it counts only where a rule says `from-directory`. */
  asked: { role: string | null; licenses: string[]; bookingPages: string[] };
  /** When this source first described them, or last turned them active again. */
  activeSince: Date;
  /** Set when the source deleted the resource; the row stays as a tombstone, so that a return is the same person. */
  deletedAt: Date | null;
}

export interface GroupMembership {
  /** The immutable id that the source gave the group: an Entra object id, a SCIM externalId or id. */
  ids: string[];
  name: string;
}

/** What the policy wants for a person. Everything in it is to become true in the scheduling account, and stay true. */
export interface Wish {
  rule: string;
  policyVersion: string;
  source: string;
  userName: string;
  displayName: string;
  givenName: string | null;
  familyName: string | null;
  email: string | null;
  role: Role;
  licenses: string[];
  bookingPages: string[];
  /** By name or id; absent where the rule names none. */
  teams?: string[];
  timeZone: string | null;
  invite: 'send' | 'suppress';
  /** How the mailbox may be found in Microsoft 365, best key first. */
  mailboxKeys: string[];
  /** Set while this policy version would take something of it, and nobody approved yet. */
  keptUnder?: string;
  /** Why this wish can not be carried out as sent; empty when it can. One sentence a fault. */
  faults: string[];
}

/** Why somebody leaves, and who witnessed it. A scope loss by a group needs a second look before anything is taken. */
export interface Leave {
  cause: 'inactive' | 'deleted' | 'out_of_scope' | 'offboarded';
  source: string;
  witness: 'explicit_request' | 'group_change' | 'direct_read';
}

/**
 * What an Administrator changed by hand against the wish, until it is taken back. The keys: a field of the profile (`name`, `email`, `role`,
 * `timeZone`), `suspended`, `user` (deleted), `license:KIND` (taken away), `page:LINK-NAME` (given to somebody else).
 */
export type Kept = Record<string, { by: string; at: string }>;

/** A Booking page that a leaver's heir got, as it was before. */
export interface HandedOver {
  pageId: string;
  linkName: string;
  enabled: boolean;
  heirId: string;
}

export interface Person {
  personId: string;
  lifecycle: Lifecycle;
  /** Counts the changes of the wish. A condition speaks of one generation. */
  generation: number;
  /** The newest wish. A leaver keeps the last one, so that a return within grace restores it. */
  wish: Wish | null;
  leave: Leave | null;
  /** Since when the person leaves; the hold and the grace count from here. */
  leavingSince: Date | null;
  suspendedAt: Date | null;
  /** Two or more people whom a newcomer might be; nothing is done until somebody decides. */
  ambiguousWith: string[];
  accountUserId: string | null;
  /** `created` or `adopted` by us; null when nothing in the account is ours, and then nothing is ever taken away. */
  accountUserOrigin: 'created' | 'adopted' | null;
  kept: Kept;
  /** The last entry of a page counts. */
  handedOver: HandedOver[];
  /** Kinds of seats that were given by hand and taken when the person left. */
  takenSeats: string[];
  /** The time of the first wish: the place in every waiting list. */
  wishedAt: Date;
  createdAt: Date;
}

/** True when somebody's wish differs in anything a step would act on. The policy version alone is no change of wish. */
export function wishChanged(before: Wish | null, after: Wish | null): boolean {
  if (before === null || after === null) return before !== after;
  // A stored wish has its keys in another order than a fresh one.
  const essence = ({ policyVersion: _version, keptUnder: _kept, ...rest }: Wish) =>
    JSON.stringify(Object.entries(rest).sort(([a], [b]) => (a < b ? -1 : 1)));
  return essence(before) !== essence(after);
}

/** Whether the new wish gives less than the old one: another role counts, too. */
export function takesSomething(before: Wish | null, after: Wish | null): boolean {
  if (!before || !after) return false;
  return (
    before.role !== after.role ||
    before.licenses.some((kind) => !after.licenses.includes(kind)) ||
    before.bookingPages.some((page) => !after.bookingPages.includes(page))
  );
}
