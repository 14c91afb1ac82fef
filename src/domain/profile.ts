/**
 * The user in the scheduling account: create, adopt, mend, or say why not. Somebody else's user is never taken over.
 */
import type { AccountUser, UserChanges } from './account.ts';
import type { Verdict } from './conditions.ts';
import { mayClaimByEmail } from './correlate.ts';
import { foldAddress } from './email-address.ts';
import type { Kept, Person, Wish } from './person.ts';
import type { Policy } from './policy.ts';

/** What the account holds that could be this person. */
export interface ProfileSight {
  /** The user we made or adopted for this person, found by our key or by the linked accountUserId. */
  own: AccountUser | null;
  /** The user who has the wished address, if that is somebody else. */
  sameEmail: AccountUser | null;
  /** True when that somebody is one of ours on the way to another address: the two can exchange theirs. */
  sameEmailMovesAway: boolean;
}

export type ProfileDecision =
  | { kind: 'verdict'; verdict: Verdict }
  | { kind: 'create'; wish: Wish & { email: string } }
  | { kind: 'exchange'; user: AccountUser; other: AccountUser; changes: UserChanges }
  | { kind: 'adopt'; user: AccountUser; changes: UserChanges }
  | { kind: 'update'; user: AccountUser; changes: UserChanges; restore: boolean };

/** What the account can take of a wish; what it can not is left out of every comparison. */
export interface ProfileAbilities {
  namesInParts: boolean;
  setsTimeZones: boolean;
  /** Ids; null where the account has no teams, or nobody is wished in or out of one. */
  teams: { wished: string[]; managed: string[] } | null;
}

const everyAbility: ProfileAbilities = { namesInParts: false, setsTimeZones: true, teams: null };

export function decideProfile(
  person: Person,
  sight: ProfileSight,
  policy: Policy,
  abilities: ProfileAbilities = everyAbility,
): ProfileDecision {
  const wish = person.wish;
  if (person.ambiguousWith.length > 0) {
    return blocked(
      'ambiguous_match',
      `This could be ${person.ambiguousWith.length} people we know (${person.ambiguousWith.join(', ')}). An operator decides which.`,
    );
  }
  if (!wish?.email || wish.faults.length > 0) {
    return blocked(
      'invalid_profile',
      `${wish?.faults.join(' ') || 'The directory gives no e-mail address.'} The identity provider's admin corrects it there.`,
    );
  }
  if (abilities.namesInParts && (!wish.givenName?.trim() || !wish.familyName?.trim()))
    return blocked(
      'invalid_profile',
      `The account needs a first and a last name, and the directory gives no ${wish.givenName?.trim() ? 'familyName' : 'givenName'}. The identity provider's admin fills it in there.`,
    );
  const email = wish.email;
  const { own, sameEmail } = sight;
  if (own?.protected)
    return blocked(
      'account_owner_protected',
      `${own.email} is the owner of the scheduling account and is never changed by Usher.`,
    );
  if (own && isAboveWish(own, wish) && !person.kept.email && foldAddress(own.email) !== foldAddress(email)) {
    return blocked(
      'adoption_needs_approval',
      `${own.email} is an Administrator, whose address signs in, and the directory now says ${email}. An account administrator changes it by hand, or lets a rule make this person an Administrator.`,
    );
  }
  if (own && sameEmail && sight.sameEmailMovesAway && !person.kept.email && sameEmail.role !== 'Administrator') {
    const { email: _exchanged, ...changes } = changesTowards(own, wish, email, person.kept, abilities);
    return { kind: 'exchange', user: own, other: sameEmail, changes };
  }
  if (sameEmail?.personId && sameEmail.personId !== person.personId) {
    return blocked(
      'email_taken_elsewhere',
      `${email} belongs to the user of another person (${sameEmail.personId}). An account administrator frees the address.`,
    );
  }
  if (own && sameEmail)
    return blocked(
      'email_taken_elsewhere',
      `${email} belongs to another user of the account, ${sameEmail.name}. An account administrator frees the address.`,
    );
  if (!own && person.kept.user)
    return blocked(
      'awaiting_administrator',
      `An Administrator deleted the user by hand (${person.kept.user.by}, ${person.kept.user.at}). Take that back, and the user is made anew; or let the person leave in the directory.`,
    );
  if (own?.suspended && person.kept.suspended)
    return blocked(
      'awaiting_administrator',
      `An Administrator suspended ${own.email} by hand (${person.kept.suspended.by}, ${person.kept.suspended.at}). An account administrator restores the user.`,
    );
  if (own) {
    const changes = changesTowards(own, wish, email, person.kept, abilities);
    const restore = own.suspended || own.signInBlocked;
    if (restore || Object.keys(changes).length > 0) return { kind: 'update', user: own, changes, restore };
    return { kind: 'verdict', verdict: profileIsRight(own) };
  }
  if (sameEmail) return decideAdoption(sameEmail, { ...wish, email }, policy, abilities);
  return { kind: 'create', wish: { ...wish, email } };
}

/** An Administrator by somebody's hand, not by a rule: a source that may not give that role must not take it over either. */
const isAboveWish = (own: AccountUser, wish: Wish): boolean =>
  own.role === 'Administrator' && wish.role !== 'Administrator';

function decideAdoption(
  user: AccountUser,
  wish: Wish & { email: string },
  policy: Policy,
  abilities: ProfileAbilities,
): ProfileDecision {
  if (user.protected)
    return blocked(
      'account_owner_protected',
      `${user.email} is the owner of the scheduling account and is never changed by Usher.`,
    );
  if (user.role === 'Administrator') {
    return blocked(
      'adoption_needs_approval',
      `${user.email} is an Administrator of the account already. An account administrator approves before Usher manages that user.`,
    );
  }
  const source = policy.sources.find((entry) => entry.name === wish.source);
  if (!mayClaimByEmail(wish.email, source)) {
    return blocked(
      'adoption_needs_approval',
      `${user.email} exists in the account already, and the policy grants source ${wish.source} no claim on that domain. Add the domain to the source, or approve.`,
    );
  }
  return { kind: 'adopt', user, changes: changesTowards(user, wish, wish.email, {}, abilities) };
}

/** Only what differs and was not changed by hand; an absent time zone in the wish changes nothing. */
export function changesTowards(
  user: AccountUser,
  wish: Wish,
  email: string,
  kept: Kept = {},
  { namesInParts, setsTimeZones, teams }: ProfileAbilities = everyAbility,
): UserChanges {
  const changes: UserChanges = {};
  if (namesInParts) {
    if (user.givenName !== wish.givenName?.trim() && !kept.name) changes.givenName = wish.givenName?.trim() ?? '';
    if (user.familyName !== wish.familyName?.trim() && !kept.name) changes.familyName = wish.familyName?.trim() ?? '';
  } else if (user.name !== wish.displayName && !kept.name) changes.name = wish.displayName;
  if (teams) {
    // Memberships that somebody made by hand, in teams that no rule speaks of, survive.
    const there = user.teams ?? [];
    const wanted = [...new Set([...there.filter((id) => !teams.managed.includes(id)), ...teams.wished])];
    if (wanted.length !== there.length || wanted.some((id) => !there.includes(id))) changes.teams = wanted;
  }
  if (foldAddress(user.email) !== foldAddress(email) && !kept.email) changes.email = email;
  if (user.role !== wish.role && !kept.role) changes.role = wish.role;
  if (setsTimeZones && wish.timeZone && user.timeZone !== wish.timeZone && !kept.timeZone)
    changes.timeZone = wish.timeZone;
  return changes;
}

/** The fields of a user that a wish speaks of, and what it says of each. */
export function wishedFields(wish: Wish): Partial<Record<'name' | 'email' | 'role' | 'timeZone', string>> {
  return {
    name: wish.displayName,
    role: wish.role,
    ...(wish.email ? { email: wish.email } : {}),
    ...(wish.timeZone ? { timeZone: wish.timeZone } : {}),
  };
}

export function profileIsRight(user: AccountUser): Verdict {
  return {
    status: 'true',
    reason: null,
    message: `The user ${user.email} exists as ${user.role}.`,
    evidence: { accountUserId: user.accountUserId, email: user.email, role: user.role, accountStatus: user.status },
  };
}

function blocked(reason: NonNullable<Verdict['reason']>, message: string): ProfileDecision {
  return { kind: 'verdict', verdict: { status: 'false', reason, message } };
}
