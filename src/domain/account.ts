/** What the rules know of a scheduling account: users, pages and the answer to a claim for a seat. Adapters fill these in. */
import type { Role } from './person.ts';

export interface AccountUser {
  accountUserId: string;
  /** Our key, on users that Usher made or adopted. */
  personId: string | null;
  name: string;
  /** Where the account keeps the name in two fields. */
  givenName?: string;
  familyName?: string;
  email: string;
  role: Role;
  status: 'Invited (Pending)' | 'Has signed in';
  suspended: boolean;
  signInBlocked: boolean;
  /** True for a user that no tool may change: a OnceHub Account Owner. */
  protected: boolean;
  timeZone: string | null;
  /** Ids of the teams, where the account has any. */
  teams?: string[];
  /** `rule` is the policy rule that Usher gave it by. */
  licenses: { kind: string; givenByUsher: boolean; rule: string | null }[];
}

export interface UserChanges {
  name?: string;
  givenName?: string;
  familyName?: string;
  /** The whole set: whoever is in others keeps them by being named here. */
  teams?: string[];
  email?: string;
  role?: Role;
  timeZone?: string;
}

export interface AccountPage {
  pageId: string;
  linkName: string;
  title: string | null;
  /** Null where the account does not tell. */
  ownerId: string | null;
  enabled: boolean;
  /** `usher`, `license`, or who; null while it was never disabled. */
  disabledBy: string | null;
  disabledWhy: string | null;
}

export type SeatAnswer =
  | { assigned: true; already: boolean }
  | { assigned: false; why: 'pool'; place: number; bought: number }
  /** `left`: a place in the line was given up, so others are nearer. */
  | { assigned: false; why: 'cap'; limit: number; left?: boolean }
  | { assigned: false; why: 'unknown_kind' };

/** Whether a user has a seat, by what the account shows; a seat that can not be looked at is unknown, not absent. */
export interface SeatLook {
  seat: 'yes' | 'no' | 'unknown';
  /** What showed it. */
  by: 'active_page' | 'time_slots' | null;
  /** One sentence, for the evidence and the history. */
  detail: string;
}

/** One wished page, as far as the account lets it be seen. */
export interface PageLook {
  linkName: string;
  page: { pageId: string; url: string; enabled: boolean } | null;
  /** `self`: of the user who was asked for; `unknown`: of somebody whom the account does not name. */
  owner: 'self' | 'unknown' | { accountUserId: string; email: string; mayTake: boolean };
}

export interface PagesLook {
  wished: PageLook[];
  /** What the user owns beside the wished ones: among it the page that the account made for them by itself. */
  others: { pageId: string; linkName: string; url: string; title: string | null; enabled: boolean }[];
}

export interface FutureBooking {
  bookingId: string;
  startsAt: string;
  subject: string;
}
