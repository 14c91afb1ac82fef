/**
 * Which steps are due: one pure function from (person, conditions, policy, now).
 *
 * `create-user` and `check-delegation` run side by side; `assign-license` waits for both; `assign-booking-pages` waits for the license;
 * `offboard` is for everybody who leaves.
 */
import type { Condition, Conditions, ConditionType } from './conditions.ts';
import { graceUntil, holdUntil } from './offboard.ts';
import type { Person } from './person.ts';
import type { Policy } from './policy.ts';

export const steps = ['create-user', 'check-delegation', 'assign-license', 'assign-booking-pages', 'offboard'] as const;
export type Step = (typeof steps)[number];

/** The condition that a step makes true; offboard has none. */
export const conditionOf = {
  'create-user': 'Profile',
  'check-delegation': 'Delegation',
  'assign-license': 'License',
  'assign-booking-pages': 'BookingPages',
} as const satisfies Record<Exclude<Step, 'offboard'>, ConditionType>;

/** Steps that write to the scheduling account share one lease per person, so that offboard and assign-license can not both act. */
export const laneOf = (step: Step): Lane => (step === 'check-delegation' ? 'delegation' : 'account');
export type Lane = 'account' | 'delegation';

export function nextSteps(person: Person, conditions: Conditions, policy: Policy, now: Date): Step[] {
  if (person.lifecycle === 'leaving') return ['offboard'];
  if (person.lifecycle === 'suspended') {
    const grace = graceUntil(person, policy);
    return policy.leavers.delete && grace && now >= grace ? ['offboard'] : [];
  }
  if (person.lifecycle !== 'wanted') return [];
  const due = (type: ConditionType) => isDue(conditions[type], person.generation, now);
  const holds = (type: ConditionType) =>
    conditions[type].status === 'true' && conditions[type].generation === person.generation;
  const result: Step[] = [];
  if (due('Profile')) result.push('create-user');
  if (policy.delegation !== 'ignored' && due('Delegation')) result.push('check-delegation');
  const delegationAllows =
    policy.delegation !== 'required' || holds('Delegation') || conditions.License.status === 'true';
  if (
    holds('Profile') &&
    delegationAllows &&
    (due('License') || waitsOnlyFor(conditions.License, ['needs_profile', 'needs_delegation']))
  )
    result.push('assign-license');
  if (
    holds('License') &&
    holds('Profile') &&
    (due('BookingPages') || waitsOnlyFor(conditions.BookingPages, ['needs_license']))
  )
    result.push('assign-booking-pages');
  return result;
}

/** Every step that could run, due or not: for "provision this one now". */
export function allSteps(person: Person, policy: Policy): Step[] {
  if (person.lifecycle === 'leaving' || person.lifecycle === 'suspended') return ['offboard'];
  if (person.lifecycle !== 'wanted') return [];
  return steps.filter(
    (step) => step !== 'offboard' && (step !== 'check-delegation' || policy.delegation !== 'ignored'),
  );
}

function isDue(condition: Condition, generation: number, now: Date): boolean {
  if (condition.generation !== generation) return true;
  if (condition.checkedAt === null) return true;
  return condition.nextCheckAt !== null && condition.nextCheckAt <= now;
}

function waitsOnlyFor(condition: Condition, reasons: Condition['reason'][]): boolean {
  return condition.status !== 'true' && reasons.includes(condition.reason);
}

/** When the person must be looked at next, by the clock alone; null when only an event can change anything. */
export function leaverTimer(person: Person, policy: Policy, now: Date): Date | null {
  if (person.lifecycle === 'leaving') {
    const hold = holdUntil(person, policy);
    // After the hold it is an event that moves a leaver on (an approval, an heir); an hourly look finds what no event told.
    return hold > now ? hold : new Date(now.getTime() + 3_600_000);
  }
  if (person.lifecycle === 'suspended' && policy.leavers.delete) {
    const grace = graceUntil(person, policy);
    // Whatever is in the way after the grace is looked at hourly, too.
    return grace && grace <= now ? new Date(now.getTime() + 3_600_000) : grace;
  }
  return null;
}
