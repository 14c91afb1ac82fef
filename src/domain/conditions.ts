/**
 * What is known about one part of a person's set-up. Unknown is not false: a failed or empty read changes nothing that was true.
 *
 * The reason codes are stable; the words may improve. Every reason says who acts.
 */
import type { Person } from './person.ts';
import type { Policy } from './policy.ts';

export const conditionTypes = ['Profile', 'Delegation', 'License', 'BookingPages'] as const;
export type ConditionType = (typeof conditionTypes)[number];
export type ConditionStatus = 'true' | 'false' | 'unknown';

export const owners = ['exchange_admin', 'idp_admin', 'account_administrator', 'person', 'operator', 'nobody'] as const;
export type Owner = (typeof owners)[number];

/** Reason → who acts. */
export const reasons = {
  not_checked_yet: 'nobody',
  connection_down: 'operator',
  quarantined: 'operator',
  throttled: 'nobody',
  held: 'operator',
  invalid_profile: 'idp_admin',
  ambiguous_match: 'operator',
  adoption_needs_approval: 'account_administrator',
  email_taken_elsewhere: 'account_administrator',
  account_owner_protected: 'account_administrator',
  user_limit: 'account_administrator',
  plan_has_no_api: 'account_administrator',
  not_delegated: 'exchange_admin',
  role_too_low: 'exchange_admin',
  shared_not_delegated: 'exchange_admin',
  no_mailbox: 'exchange_admin',
  mailbox_on_premises: 'exchange_admin',
  dedicated_mailbox_missing: 'exchange_admin',
  no_consent: 'operator',
  outside_access_policy: 'exchange_admin',
  inconclusive: 'operator',
  needs_profile: 'nobody',
  needs_delegation: 'nobody',
  no_seats_left: 'account_administrator',
  last_licensed_administrator: 'account_administrator',
  awaiting_administrator: 'account_administrator',
  evidence_expired: 'account_administrator',
  needs_license: 'nobody',
  page_missing: 'account_administrator',
  owned_by_other: 'account_administrator',
  claimed_twice: 'idp_admin',
  page_disabled: 'account_administrator',
} as const satisfies Record<string, Owner>;
export type Reason = keyof typeof reasons;

export interface Condition {
  type: ConditionType;
  status: ConditionStatus;
  reason: Reason | null;
  /** What, who, what next, in one or two sentences. */
  message: string;
  owner: Owner;
  /** The generation of the wish that this condition speaks of. */
  generation: number;
  /** What was read, in our words; never a secret, never calendar content. */
  evidence: Record<string, unknown>;
  since: Date;
  checkedAt: Date | null;
  nextCheckAt: Date | null;
  attempts: number;
}

export type Conditions = Record<ConditionType, Condition>;

/** What a step concluded; the runner turns it into a Condition. */
export interface Verdict {
  status: ConditionStatus;
  reason: Reason | null;
  message: string;
  owner?: Owner;
  evidence?: Record<string, unknown>;
}

/** Which conditions a policy demands before somebody is Ready. */
export function requiredConditions(policy: Policy): ConditionType[] {
  return conditionTypes.filter((type) => type !== 'Delegation' || policy.delegation === 'required');
}

export interface Readiness {
  ready: boolean;
  /** The first unmet reason, in the order of the conditions. */
  reason: Reason | null;
}

/** Ready only when all required conditions are true for the newest wish, and only for people who are wanted. */
export function readiness(
  person: Pick<Person, 'lifecycle' | 'generation'>,
  conditions: Conditions,
  policy: Policy,
): Readiness {
  if (person.lifecycle !== 'wanted') return { ready: false, reason: person.lifecycle === 'held' ? 'held' : null };
  for (const type of requiredConditions(policy)) {
    const condition = conditions[type];
    if (condition.status !== 'true') return { ready: false, reason: condition.reason ?? 'not_checked_yet' };
    if (condition.generation !== person.generation) return { ready: false, reason: 'not_checked_yet' };
  }
  return { ready: true, reason: null };
}

/** Why a condition does not hold, counted: one reason may leave some unknown and others false. */
export function countsByReason(counts: {
  false: Record<string, number>;
  unknown: Record<string, number>;
}): Record<string, number> {
  const byReason = { ...counts.false };
  for (const [reason, count] of Object.entries(counts.unknown)) byReason[reason] = (byReason[reason] ?? 0) + count;
  return byReason;
}

/** How long a verdict stands before somebody looks again, in seconds. Ready people are looked at once a day, blocked ones hourly. */
const recheckSeconds = { true: 24 * 3600, false: 3600, unknown: 300 } as const;

/** Reasons that end by themselves and want a quicker second look than the hourly one, in seconds. */
const quickRecheckSeconds: Partial<Record<Reason, number>> = {
  no_seats_left: 600,
  needs_profile: 3600,
  email_taken_elsewhere: 120,
  claimed_twice: 300,
  connection_down: 300,
  plan_has_no_api: 300,
  // Somebody's hand is awaited: what they say is looked at at once, and what they do not say, four times a day.
  awaiting_administrator: 6 * 3600,
  evidence_expired: 24 * 3600,
};

/**
 * When to look again. Spread evenly by `spread` in [0, 1), so that ten thousand people who became Ready in one minute are not asked again in one.
 */
export function nextCheckAt(verdict: Verdict, now: Date, spread: number): Date {
  const base = (verdict.reason && quickRecheckSeconds[verdict.reason]) ?? recheckSeconds[verdict.status];
  // What stands is looked at again at least once a day, anywhere in the second half of it: in two days an import of one hour is spread over the day.
  const share = verdict.status === 'true' ? 0.5 + 0.5 * spread : 0.9 + 0.2 * spread;
  return new Date(now.getTime() + base * 1000 * share);
}

/** The condition after a verdict. An unknown never turns a true condition false, nor hides it: it is kept, and the failed look is noted. */
export function applyVerdict(
  before: Condition,
  verdict: Verdict,
  generation: number,
  now: Date,
  spread: number,
): Condition {
  const next = nextCheckAt(verdict, now, spread);
  // Evidence that ran out is no failed look: what it carried does not stand any more.
  const isFailedLook = verdict.status === 'unknown' && verdict.reason !== 'evidence_expired';
  if (isFailedLook && before.status !== 'unknown' && before.generation === generation) {
    return {
      ...before,
      checkedAt: now,
      nextCheckAt: next,
      attempts: before.attempts + (verdict.reason === 'throttled' ? 0 : 1),
      evidence: { ...before.evidence, lastLook: verdict.message },
    };
  }
  const same = before.status === verdict.status && before.reason === verdict.reason;
  return {
    type: before.type,
    status: verdict.status,
    reason: verdict.reason,
    message: verdict.message,
    owner: verdict.owner ?? (verdict.reason ? reasons[verdict.reason] : 'nobody'),
    generation,
    evidence: verdict.evidence ?? {},
    since: same ? before.since : now,
    checkedAt: now,
    nextCheckAt: next,
    // A wait that was asked for is no attempt.
    attempts: verdict.status === 'unknown' ? before.attempts + (verdict.reason === 'throttled' ? 0 : 1) : 0,
  };
}

/** True when the difference is worth a history row; a mere "still so" is not. */
export function conditionChanged(before: Condition, after: Condition): boolean {
  return before.status !== after.status || before.reason !== after.reason;
}

/**
 * What waits says what it waits for. Returns the downstream conditions that an upstream one holds back;
 * a seat or page that somebody has is not taken away by it (losing delegation never takes a seat).
 */
export function heldBack(
  person: Pick<Person, 'generation' | 'lifecycle'>,
  conditions: Conditions,
  policy: Policy,
  now: Date,
): Condition[] {
  if (person.lifecycle !== 'wanted') return [];
  const hold = (type: ConditionType, reason: Reason, message: string): Condition[] => {
    const before = conditions[type];
    if (before.status === 'true' || before.reason === reason) return [];
    return [
      {
        ...before,
        status: 'false',
        reason,
        message,
        owner: reasons[reason],
        generation: person.generation,
        since: now,
        checkedAt: now,
        nextCheckAt: null,
        attempts: 0,
        evidence: {},
      },
    ];
  };
  const result: Condition[] = [];
  if (conditions.Profile.status === 'false') {
    result.push(...hold('License', 'needs_profile', 'The license waits for the user. See Profile for who must act.'));
  } else if (policy.delegation === 'required' && conditions.Delegation.status === 'false') {
    result.push(
      ...hold(
        'License',
        'needs_delegation',
        'The license waits for the calendar delegation. See Delegation for who must act.',
      ),
    );
  }
  const license = result[0] ?? conditions.License;
  if (license.status === 'false') {
    result.push(...hold('BookingPages', 'needs_license', 'The Booking pages wait for the license.'));
  }
  return result;
}

/** The four conditions of somebody nobody has looked at yet. */
export function freshConditions(generation: number, now: Date): Conditions {
  const fresh = (type: ConditionType): Condition => ({
    type,
    status: 'unknown',
    reason: 'not_checked_yet',
    message: 'Not checked yet. Nobody needs to act.',
    owner: 'nobody',
    generation,
    evidence: {},
    since: now,
    checkedAt: null,
    nextCheckAt: null,
    attempts: 0,
  });
  return {
    Profile: fresh('Profile'),
    Delegation: fresh('Delegation'),
    License: fresh('License'),
    BookingPages: fresh('BookingPages'),
  };
}
