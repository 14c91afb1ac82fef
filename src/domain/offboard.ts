/**
 * Removing is not adding. The order for a leaver: end sign-in at once; hold; then, admitted by the brake: hand over pages, free the seat,
 * suspend; grace; delete only where the policy says so.
 *
 * | guard | where |
 * |---|---|
 * | the read is complete | the leave carries an explicit request, or a direct read |
 * | the user is ours | `accountUserOrigin`, or our key on the user |
 * | the brake admits it | an admitted removal row |
 * | a second witness | an explicit request; for a group, a change older than the hold |
 */
import type { AccountPage, AccountUser } from './account.ts';
import type { Person } from './person.ts';
import type { Policy } from './policy.ts';

export type RemovalState = 'none' | 'admitted' | 'held' | 'kept';

export interface OffboardSight {
  user: AccountUser | null;
  pages: AccountPage[];
  heir: AccountUser | null;
  /** True when the policy names the heir; a remaining Administrator gets the pages disabled. */
  heirIsNamed: boolean;
  removal: RemovalState;
  /** What the account can; where it can not, somebody is asked, or nothing is done. Left out: everything. */
  able?: { blockSignIn: boolean; suspend: boolean; movePages: boolean; freeSeats: boolean };
  /** The kinds whose seat is known to be gone, or said to be. */
  seatsGone?: string[];
}

export type OffboardAction =
  | { kind: 'block_sign_in' }
  | { kind: 'ask_brake' }
  | { kind: 'hand_over_pages'; pages: AccountPage[]; heir: AccountUser }
  | { kind: 'free_seats'; kinds: string[] }
  | { kind: 'suspend' }
  | { kind: 'delete' };

export type OffboardDecision =
  | { kind: 'act'; action: OffboardAction }
  | { kind: 'wait'; until: Date; why: 'hold' | 'grace' }
  /** Somebody's hand is needed before it goes on. */
  | { kind: 'ask'; what: 'hand_over_pages' | 'free_seat' }
  | { kind: 'blocked'; why: 'held' | 'kept' | 'no_heir' | 'protected' }
  | { kind: 'done'; lifecycle: 'suspended' | 'gone' };

export const keptMessage =
  'Somebody decided to keep this user: nothing more is taken, and nothing is done for them. To give them everything again, take the leaving back (usher offboard WHO --undo).';

export function holdUntil(person: Pick<Person, 'leavingSince'>, policy: Policy): Date {
  return new Date((person.leavingSince?.getTime() ?? 0) + policy.leavers.holdMinutes * 60_000);
}

export function graceUntil(person: Pick<Person, 'suspendedAt'>, policy: Policy): Date | null {
  return person.suspendedAt && new Date(person.suspendedAt.getTime() + policy.leavers.graceDays * 86_400_000);
}

/** One action at a time; the runner comes back until there is nothing left to do now. */
export function decideOffboard(person: Person, sight: OffboardSight, policy: Policy, now: Date): OffboardDecision {
  const user = sight.user;
  const able = sight.able ?? { blockSignIn: true, suspend: true, movePages: true, freeSeats: true };
  // Nothing of this person is ours: there is nothing to take, and nothing is taken.
  if (!user || (!person.accountUserOrigin && user.personId !== person.personId))
    return { kind: 'done', lifecycle: 'gone' };
  if (user.protected) return { kind: 'blocked', why: 'protected' };
  if (able.blockSignIn && !user.signInBlocked && !user.suspended)
    return { kind: 'act', action: { kind: 'block_sign_in' } };
  const hold = holdUntil(person, policy);
  if (now < hold) return { kind: 'wait', until: hold, why: 'hold' };
  if (sight.removal === 'held') return { kind: 'blocked', why: 'held' };
  if (sight.removal === 'kept') return { kind: 'blocked', why: 'kept' };
  if (sight.removal === 'none') return { kind: 'act', action: { kind: 'ask_brake' } };
  // Pages first: taking the license disables every page its owner still has.
  if (sight.pages.length > 0) {
    if (!sight.heir) return { kind: 'blocked', why: 'no_heir' };
    if (!able.movePages) return { kind: 'ask', what: 'hand_over_pages' };
    return { kind: 'act', action: { kind: 'hand_over_pages', pages: sight.pages, heir: sight.heir } };
  }
  const seats = user.licenses.map((license) => license.kind).filter((kind) => !sight.seatsGone?.includes(kind));
  if (policy.leavers.seat === 'after-hold' && seats.length > 0 && !able.freeSeats)
    return { kind: 'ask', what: 'free_seat' };
  if (policy.leavers.seat === 'after-hold' && seats.length > 0)
    return { kind: 'act', action: { kind: 'free_seats', kinds: seats } };
  if (able.suspend && !user.suspended) return { kind: 'act', action: { kind: 'suspend' } };
  // Suspended is recorded before the grace begins to count.
  if (!policy.leavers.delete || !person.suspendedAt) return { kind: 'done', lifecycle: 'suspended' };
  const grace = graceUntil(person, policy);
  if (!grace || now < grace) return { kind: 'wait', until: grace ?? now, why: 'grace' };
  return { kind: 'act', action: { kind: 'delete' } };
}
