/**
 * From what the sources say to what is wished: one pure function of (the directory users of one person, the policy).
 *
 * | first source that holds them says | a rule matches | then |
 * |---|---|---|
 * | active | yes | wanted, with the wish of the first matching rule |
 * | active | no | a leaver if they were ever wanted, else out of scope |
 * | inactive or deleted | - | a leaver if anything of theirs is ours, else out of scope |
 * | nobody holds them | - | a leaver |
 */
import { domainOf, foldAddress, looksLikeAddress } from './email-address.ts';
import {
  type DirectoryUser,
  type Leave,
  type Lifecycle,
  type Person,
  type Role,
  takesSomething,
  type Wish,
} from './person.ts';
import { isTimeZone, type Policy, type Rule } from './policy.ts';
import { asLinkName, renderLinkName } from './template.ts';

export interface Wanted {
  lifecycle: Lifecycle;
  wish: Wish | null;
  leave: Leave | null;
}

type Known = Pick<Person, 'lifecycle' | 'wish' | 'leave' | 'leavingSince'>;

export function wishFor(users: DirectoryUser[], policy: Policy, before: Known | null): Wanted {
  const sorted = inOrder(users, policy);
  const first = speaker(users, policy);
  if (!first)
    return leaver(before, { cause: 'deleted', source: users[0]?.source ?? 'unknown', witness: 'explicit_request' });
  if (first.deletedAt) return leaver(before, { cause: 'deleted', source: first.source, witness: 'explicit_request' });
  if (!first.active) return leaver(before, { cause: 'inactive', source: first.source, witness: 'explicit_request' });
  const attached = sorted.filter((user) => !user.deletedAt && user.active);
  const rule = policy.rules.find((candidate) => matches(candidate, first, attached));
  if (!rule) {
    if (before && offboardedByHand(before, first))
      return { lifecycle: before.lifecycle, wish: before.wish, leave: before.leave };
    if (before && keeps(before, { lifecycle: 'leaving', wish: null, leave: null }, policy))
      return { lifecycle: 'wanted', wish: refreshed(before.wish, first, attached, policy), leave: null };
    const byGroup = policy.rules.some((candidate) => candidate.name === before?.wish?.rule && candidate.when.group);
    return leaver(before, {
      cause: 'out_of_scope',
      source: first.source,
      witness: byGroup ? 'group_change' : 'explicit_request',
    });
  }
  const wanted: Wanted = { lifecycle: 'wanted', wish: wishByRule(rule, first, attached, policy), leave: null };
  if (offboardedByHand(before, first))
    return { lifecycle: before?.lifecycle ?? 'leaving', wish: before?.wish ?? null, leave: before?.leave ?? null };
  return before && keeps(before, wanted, policy)
    ? { ...wanted, wish: refreshed(before.wish, first, attached, policy) }
    : wanted;
}

/** In the order of the policy's sources; of one source, whoever came first. */
export function inOrder(users: DirectoryUser[], policy: Policy): DirectoryUser[] {
  const order = new Map(policy.sources.map((source, index) => [source.name, index]));
  return [...users].sort(
    (a, b) =>
      (order.get(a.source) ?? 999) - (order.get(b.source) ?? 999) || a.activeSince.getTime() - b.activeSince.getTime(),
  );
}

/** Whose word counts of a person: active, inactive or deleted. */
export function speaker(users: DirectoryUser[], policy: Policy): DirectoryUser | undefined {
  return inOrder(users, policy).find((user) => !isSupersededTombstone(user, users));
}

/** An admin's «offboard» stands against a source that merely goes on saying "active"; a source that brings the person in anew ends it. */
function offboardedByHand(before: Known | null, first: DirectoryUser): boolean {
  return (
    before?.leave?.cause === 'offboarded' &&
    before.lifecycle !== 'wanted' &&
    before.leavingSince !== null &&
    first.activeSince <= before.leavingSince
  );
}

/** What a changed policy would take, a person keeps until somebody approves; a later change of attributes is no approval. */
function keeps(before: Known, wanted: Wanted, policy: Policy): boolean {
  if (before.lifecycle !== 'wanted' || before.wish?.keptUnder !== policy.version) return false;
  return wanted.lifecycle !== 'wanted' || takesSomething(before.wish, wanted.wish);
}

function refreshed(wish: Wish | null, first: DirectoryUser, attached: DirectoryUser[], policy: Policy): Wish | null {
  return wish && { ...wish, ...attributesOf(first, attached, policy) };
}

/** A deleted resource stops speaking for a person once another source has brought them in again, later. */
function isSupersededTombstone(user: DirectoryUser, all: DirectoryUser[]): boolean {
  const deletedAt = user.deletedAt;
  return (
    deletedAt !== null &&
    all.some((other) => other !== user && !other.deletedAt && other.active && other.activeSince > deletedAt)
  );
}

/** Somebody who was never in scope is out of scope, not a leaver: identity providers send users before groups. */
function leaver(before: Known | null, leave: Leave): Wanted {
  if (!before || before.lifecycle === 'out_of_scope')
    return { lifecycle: 'out_of_scope', wish: before?.wish ?? null, leave: null };
  // A new word of the source about somebody whose removal was held or kept is a new request, under the brake again.
  const asksAnew = before.lifecycle === 'held' && before.leave?.cause !== leave.cause;
  if (before.lifecycle === 'wanted' || asksAnew) return { lifecycle: 'leaving', wish: before.wish, leave };
  return { lifecycle: before.lifecycle, wish: before.wish, leave: before.leave ?? leave };
}

function matches(rule: Rule, first: DirectoryUser, attached: DirectoryUser[]): boolean {
  const when = rule.when;
  // A guest's mailbox is in another tenant; a rule that means guests says so.
  if (!when.userType && first.userType?.toLowerCase() === 'guest') return false;
  const anyOf = (wanted: string[] | undefined, value: string | null) =>
    wanted === undefined || (value !== null && wanted.some((entry) => entry.toLowerCase() === value.toLowerCase()));
  if (when.source && !attached.some((user) => user.source === when.source)) return false;
  if (
    when.group &&
    !attached.some((user) => (!when.source || user.source === when.source) && isMember(user, when.group))
  )
    return false;
  if (when.domain && !when.domain.some((domain) => domain.toLowerCase() === domainOf(first.email ?? first.userName)))
    return false;
  return (
    anyOf(when.department, first.department) &&
    anyOf(when.division, first.division) &&
    anyOf(when.organization, first.organization) &&
    anyOf(when.costCenter, first.costCenter) &&
    anyOf(when.title, first.title) &&
    anyOf(when.userType, first.userType)
  );
}

/** With an id in the rule only the id counts: a name can be given to another group by anybody who may rename one. */
function isMember(user: DirectoryUser, group: Rule['when']['group']): boolean {
  if (!group) return true;
  if (group.id)
    return user.groups.some((entry) => entry.ids.some((id) => id.toLowerCase() === group.id?.toLowerCase()));
  return user.groups.some((entry) => entry.name.toLowerCase() === group.name?.toLowerCase());
}

function wishByRule(rule: Rule, first: DirectoryUser, attached: DirectoryUser[], policy: Policy): Wish {
  const faults: string[] = [];
  const email = first.email;
  if (!email)
    faults.push(
      'The directory gives no e-mail address: send emails[type eq "work"].value, or a userName that is an address.',
    );
  else if (!looksLikeAddress(email)) faults.push(`«${email}» is no e-mail address.`);

  const bookingPages: string[] = [];
  for (const template of rule.bookingPages === 'from-directory' ? [] : rule.bookingPages) {
    const rendered = renderLinkName(template, first);
    if ('missing' in rendered)
      faults.push(
        `The page name «${template}» of rule ${rule.name} needs ${rendered.missing}, which the directory does not give.`,
      );
    else bookingPages.push(rendered.linkName);
  }
  if (rule.bookingPages === 'from-directory') bookingPages.push(...first.asked.bookingPages.map(asLinkName));

  return {
    rule: rule.name,
    policyVersion: policy.version,
    ...attributesOf(first, attached, policy),
    role: roleFor(rule, first, policy),
    licenses: [...new Set(rule.licenses === 'from-directory' ? first.asked.licenses : rule.licenses)].sort(),
    bookingPages: [...new Set(bookingPages.filter((name) => name !== ''))].sort(),
    ...(rule.teams.length > 0 ? { teams: rule.teams } : {}),
    timeZone: timeZoneFor(rule, first),
    invite: rule.invite,
    faults,
  };
}

/** What the wish says of the human, apart from what a rule gives. */
function attributesOf(first: DirectoryUser, attached: DirectoryUser[], policy: Policy) {
  return {
    source: first.source,
    userName: first.userName,
    displayName: displayNameOf(first),
    givenName: first.givenName,
    familyName: first.familyName,
    email: first.email,
    mailboxKeys: mailboxKeysOf(attached, policy),
  };
}

function displayNameOf(user: DirectoryUser): string {
  const full = [user.givenName, user.familyName].filter(Boolean).join(' ');
  return user.displayName || full || user.userName;
}

/** What the directory asks for never exceeds the source's `maximumRole`; an Administrator by rule needs the group of that rule, see the policy. */
function roleFor(rule: Rule, first: DirectoryUser, policy: Policy): Role {
  const maximum = policy.sources.find((source) => source.name === first.source)?.maximumRole ?? 'Member';
  if (rule.role === 'from-directory')
    return first.asked.role?.toLowerCase() === 'administrator' && maximum === 'Administrator'
      ? 'Administrator'
      : 'Member';
  return rule.role;
}

function timeZoneFor(rule: Rule, first: DirectoryUser): string | null {
  const wanted = rule.timeZone === 'from-directory' ? first.timeZone : rule.timeZone;
  return wanted && isTimeZone(wanted) ? wanted : null;
}

const guid = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i;

/**
 * The immutable object id first; then the user principal name; then every other address. Whom the tenant itself described has the object id alone:
 * should it be gone, the name may be another human's by now.
 */
function mailboxKeysOf(attached: DirectoryUser[], policy: Policy): string[] {
  const polled = attached.find((user) =>
    policy.sources.some((source) => source.name === user.source && source.kind === 'graph'),
  );
  if (polled?.entraObjectId) return [polled.entraObjectId];
  const keys: string[] = [];
  const add = (key: string | null) => {
    if (key && !keys.some((known) => foldAddress(known) === foldAddress(key))) keys.push(key);
  };
  for (const user of attached)
    add(user.entraObjectId ?? (user.externalId && guid.test(user.externalId) ? user.externalId : null));
  for (const user of attached) add(looksLikeAddress(user.userName) ? user.userName : null);
  for (const user of attached) add(user.email);
  return keys;
}
