/** What the rules know of a scheduling account: users, pages and the answer to a claim for a seat. Adapters fill these in. */
import type { Role } from './person.ts';

export interface AccountUser {
  accountUserId: string;
  /** Our key, on users that Usher made or adopted. */
  personId: string | null;
  name: string;
  email: string;
  role: Role;
  status: 'Invited (Pending)' | 'Has signed in';
  suspended: boolean;
  signInBlocked: boolean;
  /** True for a user that no tool may change: a OnceHub Account Owner. */
  protected: boolean;
  timeZone: string | null;
  /** `rule` is the policy rule that Usher gave it by. */
  licenses: { kind: string; givenByUsher: boolean; rule: string | null }[];
}

export interface UserChanges {
  name?: string;
  email?: string;
  role?: Role;
  timeZone?: string;
}

export interface AccountPage {
  pageId: string;
  linkName: string;
  title: string | null;
  ownerId: string;
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
