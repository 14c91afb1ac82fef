/** Drift: what was made true and is not so any more, or is there and nobody wishes it. Whether it is corrected or only reported is the policy's word, by kind. */
import type { AccountPage, AccountUser } from './account.ts';
import type { Conditions, ConditionType, Owner } from './conditions.ts';
import { missingLicenses, surplusLicenses } from './license.ts';
import type { Person } from './person.ts';
import type { Policy } from './policy.ts';
import { changesTowards, type ProfileAbilities } from './profile.ts';

export const driftKinds = ['profile', 'delegation', 'license', 'bookingPages', 'unknownUsers'] as const;
export type DriftKind = (typeof driftKinds)[number];

export interface Drift {
  kind: DriftKind;
  personId: string | null;
  accountUserId: string | null;
  who: string;
  /** What is otherwise than it should be, and how. */
  what: string;
  /** Who acts where it is not corrected by itself. */
  owner: Owner;
  /** Since when it is known to be so; null: found by this look. */
  since: Date | null;
}

/** What the account shows of somebody; `pages` is null where one look can not tell whose they are. */
export interface AccountSight {
  user: AccountUser | null;
  pages: AccountPage[] | null;
}

export type DriftMode = 'correct' | 'report';

/** Users that nobody knows are somebody's, until somebody says otherwise; a delegation is not ours to give. */
export function driftMode(kind: DriftKind, policy: Policy): DriftMode {
  if (kind === 'delegation' || kind === 'unknownUsers') return 'report';
  return policy.reconcile.drift[kind] ?? 'correct';
}

/** The condition whose step corrects a kind of drift. */
export const correctedBy: Record<DriftKind, ConditionType | null> = {
  profile: 'Profile',
  delegation: null,
  license: 'License',
  bookingPages: 'BookingPages',
  unknownUsers: null,
};

export function driftOf(
  { person, conditions, ready }: { person: Person; conditions: Conditions; ready: boolean },
  { user, pages }: AccountSight,
  abilities: ProfileAbilities,
): Drift[] {
  const wish = person.wish;
  const who = user?.email ?? wish?.email ?? wish?.displayName ?? person.personId;
  const drift = (kind: DriftKind, what: string, owner: Owner, since: Date | null = null): Drift => ({
    kind,
    personId: person.personId,
    accountUserId: person.accountUserId,
    who,
    what,
    owner,
    since: since ?? reportedSince(conditions, kind),
  });
  const found: Drift[] = [];
  if (person.lifecycle === 'suspended') {
    // Whoever left is in nobody's way as long as nothing of theirs came back.
    if (user && person.accountUserOrigin && user.licenses.length > 0)
      found.push(
        drift(
          'license',
          `left, and has a license again: ${user.licenses.map(({ kind }) => kind).join(', ')}`,
          'account_administrator',
        ),
      );
    if (user && person.accountUserOrigin && pages && pages.length > 0)
      found.push(
        drift(
          'bookingPages',
          `left, and owns pages again: ${pages.map((page) => page.linkName).join(', ')}`,
          'account_administrator',
        ),
      );
    return found;
  }
  if (person.lifecycle !== 'wanted' || !wish) return [];
  // What was reported before, and nobody mended, is still otherwise.
  const stood = (type: ConditionType) =>
    (conditions[type].status === 'true' || conditions[type].evidence.drift === true) &&
    conditions[type].generation === person.generation;
  if (stood('Profile') && !user)
    return [drift('profile', 'the user is gone from the account', 'account_administrator')];
  if (user && stood('Profile') && wish.email) {
    const changes = Object.entries(changesTowards(user, wish, wish.email, person.kept, abilities));
    if (changes.length > 0)
      found.push(
        drift(
          'profile',
          `changed by hand: ${changes.map(([field, value]) => `${field} is ${shownValue(user, field)}, wished ${Array.isArray(value) ? value.join(', ') : String(value)}`).join('; ')}`,
          'account_administrator',
        ),
      );
    if (user.suspended && !person.kept.suspended)
      found.push(drift('profile', 'suspended by hand', 'account_administrator'));
  }
  if (user && stood('License')) {
    const held = user.licenses.map((license) => license.kind);
    const gone = missingLicenses(wish.licenses, held).filter((kind) => !person.kept[`license:${kind}`]);
    if (gone.length > 0) found.push(drift('license', `the seat is gone: ${gone.join(', ')}`, 'account_administrator'));
    const surplus = surplusLicenses(wish.licenses, user.licenses);
    if (surplus.length > 0)
      found.push(drift('license', `has a seat that no rule wishes: ${surplus.join(', ')}`, 'account_administrator'));
  }
  if (user && pages && stood('BookingPages')) {
    const wrong = wish.bookingPages
      .filter((name) => !person.kept[`page:${name}`])
      .flatMap((name) => {
        const page = pages.find((one) => one.linkName === name);
        return !page ? [`«${name}» is not theirs`] : page.enabled ? [] : [`«${name}» is disabled`];
      });
    if (wrong.length > 0) found.push(drift('bookingPages', wrong.join('; '), 'account_administrator'));
  }
  const { Delegation } = conditions;
  // Was delegated once: the seat that somebody has was given because of it.
  if (!ready && Delegation.status === 'false' && conditions.License.status === 'true')
    found.push(drift('delegation', `${Delegation.reason}: ${Delegation.message}`, Delegation.owner, Delegation.since));
  return found;
}

/** Of what a step has reported already. */
function reportedSince(conditions: Conditions, kind: DriftKind): Date | null {
  const type = correctedBy[kind];
  return type && conditions[type].evidence.drift === true ? conditions[type].since : null;
}

const shownValue = (user: AccountUser, field: string): string => {
  const value = user[field as keyof AccountUser];
  return Array.isArray(value) ? value.join(', ') : String(value ?? 'empty');
};
