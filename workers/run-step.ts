/**
 * The phases that all steps share: claim the person with a lease and a fence, let the step look, decide, act and read back, record with history,
 * give the lease back, and walk on to the person's next due step, so that people become Ready one after another and not all at the end.
 *
 * A step is told whom, never what: it reads today's wish. Twice is the same as once.
 */

import { backoffMilliseconds } from '../src/domain/backoff.ts';
import {
  applyVerdict,
  type Condition,
  type Conditions,
  type ConditionType,
  conditionChanged,
  heldBack,
  type Reason,
  reasons,
  requiredConditions,
  type Verdict,
} from '../src/domain/conditions.ts';
import { allSteps, conditionOf, laneOf, leaverTimer, nextSteps, type Step } from '../src/domain/next-steps.ts';
import type { Person } from '../src/domain/person.ts';
import { asUsherError, type UsherError } from '../src/errors.ts';
import { effectSeconds, leaseSeconds } from '../src/jobs.ts';
import type { Log } from '../src/log.ts';
import type { Metrics } from '../src/metrics.ts';
import type { Cause, HistoryEntry, KnownPerson, StepResult } from '../src/ports.ts';
import { assignBookingPages } from './assign-booking-pages.ts';
import { assignLicense } from './assign-license.ts';
import { checkDelegation } from './check-delegation.ts';
import { createUser } from './create-user.ts';
import { offboard } from './offboard.ts';
import { type StepDefinition, type StepOutcome, type StepParts, serveTheLine } from './step.ts';

export interface RunnerParts extends StepParts {
  log: Log;
  metrics: Metrics;
  now: () => Date;
  random: () => number;
}

const definitions: Record<Step, StepDefinition> = {
  'create-user': createUser,
  'check-delegation': checkDelegation,
  'assign-license': assignLicense,
  'assign-booking-pages': assignBookingPages,
  offboard,
};

export type Runner = ReturnType<typeof openRunner>;

export function openRunner(parts: RunnerParts) {
  return {
    /** A hint came: run this step if it is due, and walk on. Answers the steps of another lane that are due now. */
    wake: (step: Step, personId: string, jobId: string) => wake(parts, step, personId, jobId),
    /** One person now, every step, due or not; each with what was seen and done. */
    provision: (personId: string, plan: boolean, actor: string) => provision(parts, personId, plan, actor),
  };
}

async function wake(parts: RunnerParts, first: Step, personId: string, jobId: string): Promise<void> {
  const cause: Cause = { actor: 'usher', by: `job:${jobId}` };
  const ran = new Set<string>();
  for (let known = await parts.store.load(personId); known; ) {
    const { person } = known;
    // A walk takes each step once for one wish: what is still due after it ran waits for something else than us.
    const due = nextSteps(person, known.conditions, parts.policy, parts.now()).filter(
      (candidate) => !ran.has(`${candidate}@${person.generation}`),
    );
    // Its own step first; then any other that writes to the account. Mailbox checks keep to their own queue, which paces them.
    const step = due.includes(first) ? first : due.find((candidate) => laneOf(candidate) === 'account');
    if (!step) {
      // Whoever runs what is still due sets the timer; until then the one of the hint stands.
      if (due.length === 0) await rest(parts, person);
      return;
    }
    ran.add(`${step}@${person.generation}`);
    const outcome = await runOne(parts, step, personId, cause, { plan: false, force: false });
    // Somebody else works on this person, or the step must wait: whoever finishes last looks again.
    if (outcome === 'busy' || outcome.result.outcome === 'failed') return;
    known = outcome.after ?? (await parts.store.load(personId));
  }
}

/** The person's timer, from what the conditions and the leaver's clock say. */
export const rest = (parts: Pick<RunnerParts, 'store' | 'policy' | 'now'>, person: Person): Promise<void> =>
  parts.store.rest(
    person.personId,
    person.generation,
    leaverTimer(person, parts.policy, parts.now()),
    parts.policy.delegation,
  );

async function provision(
  parts: RunnerParts,
  personId: string,
  plan: boolean,
  actor: string,
): Promise<{ ready: boolean; steps: StepResult[] }> {
  const cause: Cause = { actor, by: 'provision' };
  const results: StepResult[] = [];
  const start = await parts.store.load(personId);
  if (!start) return { ready: false, steps: [] };
  for (const step of allSteps(start.person, parts.policy)) {
    const before = await parts.store.load(personId);
    if (!before) break;
    const waits = waitsFor(step, before, parts);
    if (waits) {
      results.push({ step, outcome: 'blocked', reason: waits.reason, message: waits.message, tookMs: 0 });
      continue;
    }
    results.push(await runPatiently(parts, step, personId, cause, plan));
  }
  const end = await parts.store.load(personId);
  // Somebody whose wish or lifecycle changed meanwhile keeps the timer that the change set.
  if (
    end &&
    !plan &&
    end.person.generation === start.person.generation &&
    end.person.lifecycle === start.person.lifecycle
  )
    await rest(parts, end.person);
  return { ready: end?.ready ?? false, steps: results };
}

/** Another worker may hold the person for a moment; somebody waits for this answer, so it is asked again. */
async function runPatiently(
  parts: RunnerParts,
  step: Step,
  personId: string,
  cause: Cause,
  plan: boolean,
): Promise<StepResult> {
  const until = Date.now() + (leaseSeconds + 5) * 1000;
  for (;;) {
    const result = await runOne(parts, step, personId, cause, { plan, force: true });
    if (result !== 'busy') return result.result;
    if (Date.now() > until)
      return { step, outcome: 'failed', reason: 'conflict', message: 'Another worker holds this person.', tookMs: 0 };
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** What a forced step still waits for; forcing never jumps the order. */
function waitsFor(
  step: Step,
  { person, conditions }: KnownPerson,
  { policy }: RunnerParts,
): { reason: string; message: string } | null {
  const holds = (type: keyof Conditions) =>
    conditions[type].status === 'true' && conditions[type].generation === person.generation;
  if (step === 'assign-license') {
    if (!holds('Profile')) return { reason: 'needs_profile', message: 'The license waits for the user.' };
    if (policy.delegation === 'required' && !holds('Delegation') && conditions.License.status !== 'true')
      return { reason: 'needs_delegation', message: 'The license waits for the calendar delegation.' };
  }
  if (step === 'assign-booking-pages' && !holds('License'))
    return { reason: 'needs_license', message: 'The Booking pages wait for the license.' };
  return null;
}

interface Ran {
  result: StepResult;
  /** The person as the settlement left them; null where nothing was settled. */
  after: KnownPerson | null;
}

async function runOne(
  parts: RunnerParts,
  step: Step,
  personId: string,
  cause: Cause,
  options: { plan: boolean; force: boolean },
): Promise<Ran | 'busy'> {
  const startedAt = performance.now();
  const claimed = await parts.store.claim(personId, laneOf(step), leaseSeconds);
  if (!claimed) return 'busy';
  const { known, fence } = claimed;
  const { person, conditions } = known;
  const done = (outcome: StepResult['outcome'], reason: string | null, message: string): StepResult => {
    const tookMs = Math.round(performance.now() - startedAt);
    parts.metrics.steps.inc({ step, outcome });
    parts.metrics.stepSeconds.observe({ step }, tookMs / 1000);
    return { step, outcome, reason, message, tookMs };
  };
  const stillDue = options.force
    ? allSteps(person, parts.policy).includes(step)
    : nextSteps(person, conditions, parts.policy, parts.now()).includes(step);
  if (!stillDue) {
    await parts.store.release(fence);
    return { result: done('nothing_to_do', null, 'Nothing is due.'), after: null };
  }
  // What somebody did who died before it was settled is told with what is done now.
  const unrecorded = fence.lane === 'account' ? known.unrecorded : [];
  const did: HistoryEntry[] = [];
  try {
    // Somebody at the screen first, then who is not Ready yet, then looks at what stands.
    const priority = options.force
      ? ('urgent' as const)
      : step !== 'offboard' &&
          conditions[conditionOf[step]].status === 'true' &&
          conditions[conditionOf[step]].generation === person.generation
        ? ('background' as const)
        : ('soon' as const);
    const account = parts.account.at(priority);
    const context = { ...parts, account, person, conditions, fence, now: parts.now(), cause, plan: options.plan, did };
    const outcome = await timeBoxed(definitions[step].run(context));
    if (options.plan) {
      await parts.store.release(fence);
      return { result: planned(outcome, done), after: null };
    }
    const whole = { ...outcome, did: [...unrecorded, ...outcome.did] };
    const after = await settle(parts, step, known, fence, whole, cause);
    if (!after) {
      await recordEffects(parts, step, known, outcome.did, cause);
      return 'busy';
    }
    return { result: concluded(outcome, done), after };
  } catch (thrown) {
    const error = asUsherError(thrown);
    return { result: await fail(parts, step, known, fence, error, did, cause, done), after: null };
  }
}

/** Overtaken after it acted: what the account committed is in the history all the same, by whoever overtook where the account keeps it, else here. */
async function recordEffects(
  parts: RunnerParts,
  step: Step,
  { person, conditions }: KnownPerson,
  did: HistoryEntry[],
  cause: Cause,
): Promise<void> {
  if (parts.account.capabilities.keepsEffects) return;
  const entry = historyOf(step, conditions, null, [], { verdict: null, did });
  if (did.length > 0 && entry) await parts.store.recordEffects(person.personId, entry, cause);
}

async function timeBoxed(work: Promise<StepOutcome>): Promise<StepOutcome> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`the step took longer than ${effectSeconds} s`)), effectSeconds * 1000);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

async function settle(
  parts: RunnerParts,
  step: Step,
  { person, conditions }: KnownPerson,
  fence: Parameters<StepParts['store']['settle']>[0],
  outcome: StepOutcome,
  cause: Cause,
): Promise<KnownPerson | null> {
  const condition =
    step === 'offboard' || !outcome.verdict
      ? null
      : applyVerdict(conditions[conditionOf[step]], outcome.verdict, person.generation, parts.now(), parts.random());
  const after = condition ? { ...conditions, [condition.type]: condition } : conditions;
  const waiting = condition ? heldBack(person, after, parts.policy, parts.now()) : [];
  const settled = await parts.store.settle(
    fence,
    {
      conditions: condition
        ? [condition]
        : goneConditions(person, conditions, outcome, parts.account.capabilities.suspends, parts.now()),
      heldBack: waiting,
      history: historyOf(step, conditions, condition, waiting, outcome),
      requiredConditions: requiredConditions(parts.policy),
      ...(outcome.person ? { person: outcome.person } : {}),
    },
    cause,
  );
  if (settled && waiting.some((entry) => entry.type === 'License')) await endSeatTask(parts, fence);
  // A seat that was freed between the claim and this settlement woke somebody whose «none is left» was not written yet.
  if (settled && condition?.reason === 'no_seats_left' && (await parts.account.isSeatFreeFor(person.personId)))
    await serveTheLine(parts);
  // Whoever falls out of the line for a seat lets the others move up.
  if (settled && conditions.License.reason === 'no_seats_left' && waiting.some((entry) => entry.type === 'License'))
    await serveTheLine(parts);
  return settled;
}

/** Nobody is asked for a seat that waits for something else again. */
async function endSeatTask(parts: RunnerParts, fence: Parameters<StepParts['store']['settle']>[0]): Promise<void> {
  const { account, store } = parts;
  if (account.capabilities.steps['assign-license'].mode !== 'task') return;
  const closed = await store.closeTasks(fence, ['assign-license'], 'withdrawn', 'it waits for something else', null);
  if (closed.length === 0) return;
  await account.forgetSeats(fence.personId, 'reserved', fence);
  await serveTheLine(parts);
}

/** Who left no longer has what was taken back; the conditions say so. */
function goneConditions(
  person: Person,
  conditions: Conditions,
  outcome: StepOutcome,
  suspends: boolean,
  now: Date,
): Condition[] {
  const lifecycle = outcome.person?.lifecycle;
  if (lifecycle !== 'suspended' && lifecycle !== 'gone') return leavingConditions(person, conditions, outcome, now);
  const message = {
    Profile: suspends
      ? 'The user is suspended: the person left.'
      : 'The person left. The account knows no suspension: the user is there, and signs in if the identity provider lets them.',
    License: 'The seat was given back: the person left.',
    BookingPages: 'The pages were handed over: the person left.',
  };
  return (['Profile', 'License', 'BookingPages'] as const).map((type) => ({
    ...conditions[type],
    status: 'false',
    reason: null,
    owner: 'nobody',
    message: message[type],
    since: now,
    checkedAt: now,
    nextCheckAt: null,
    evidence: {},
  }));
}

/** Of somebody on the way out: what is waited for, in place of what was to be done for them. */
function leavingConditions(person: Person, conditions: Conditions, { note }: StepOutcome, now: Date): Condition[] {
  if (!note) return [];
  const reason = note.reason !== null && note.reason in reasons ? (note.reason as Reason) : null;
  const of = (type: ConditionType, message: string, why: Reason | null): Condition => ({
    ...conditions[type],
    status: 'false',
    reason: why,
    owner: why ? reasons[why] : 'nobody',
    message,
    generation: person.generation,
    since: conditions[type].message === message ? conditions[type].since : now,
    checkedAt: now,
    nextCheckAt: null,
    evidence: {},
  });
  return [
    of('Profile', note.message, reason),
    ...(['License', 'BookingPages'] as const)
      .filter((type) => conditions[type].status !== 'true')
      .map((type) => of(type, 'Nothing is asked for any more: the person leaves.', null)),
  ];
}

/** One row for what was done and what is known since; none when nothing was done and nothing changed. */
function historyOf(
  step: Step,
  before: Conditions,
  condition: Condition | null,
  waiting: Condition[],
  outcome: StepOutcome,
): HistoryEntry | null {
  const changed = condition && conditionChanged(before[condition.type], condition);
  const moved = outcome.person?.lifecycle;
  if (outcome.did.length === 0 && !changed && !moved) return null;
  const states = (list: Condition[]) =>
    Object.fromEntries(list.map((entry) => [entry.type, { status: entry.status, reason: entry.reason }]));
  const first = outcome.did[0];
  return {
    action:
      first && outcome.did.length === 1
        ? first.action
        : `${step}.${moved ?? (outcome.did.length > 0 ? 'done' : 'checked')}`,
    before: {
      ...(condition ? states([before[condition.type]]) : {}),
      ...(outcome.did.length > 0 ? { was: outcome.did.map((entry) => entry.before) } : {}),
    },
    after: {
      ...(condition ? states([condition, ...waiting]) : {}),
      ...(outcome.did.length > 0
        ? { did: outcome.did.map((entry) => ({ action: entry.action, after: entry.after })) }
        : {}),
      ...(moved ? { lifecycle: moved } : {}),
    },
  };
}

type Done = (outcome: StepResult['outcome'], reason: string | null, message: string) => StepResult;

function planned(outcome: StepOutcome, done: Done): StepResult {
  if (outcome.would && outcome.would.length > 0) return done('done', null, `Would ${outcome.would.join(', then ')}.`);
  return concluded(outcome, done);
}

function concluded({ verdict, did, note }: StepOutcome, done: Done): StepResult {
  if (note) return done(note.outcome, note.reason, note.message);
  if (!verdict) return done('nothing_to_do', null, 'Nothing is due.');
  if (verdict.status === 'true') return done(did.length > 0 ? 'done' : 'nothing_to_do', null, verdict.message);
  return done(verdict.status === 'false' ? 'blocked' : 'failed', verdict.reason, verdict.message);
}

/** A fault: recorded where it belongs, with the time of the next look. An unknown never turns a true condition false. */
async function fail(
  parts: RunnerParts,
  step: Step,
  known: KnownPerson,
  fence: Parameters<StepParts['store']['settle']>[0],
  error: UsherError,
  ownDid: HistoryEntry[],
  cause: Cause,
  done: Done,
): Promise<StepResult> {
  const { person, conditions } = known;
  if (error.code === 'fence_lost') {
    await recordEffects(parts, step, known, ownDid, cause);
    return done('failed', 'conflict', error.row.title);
  }
  if (error.row.queue === 'retry' || error.row.queue === 'circuit')
    parts.log.warn({ err: error, step, personId: person.personId, code: error.code }, 'step failed; it is tried again');
  if (error.code === 'database_unavailable') return done('failed', error.code, error.row.title);
  try {
    // Of effects that may have come late, the account's own word says which were done.
    const kept =
      fence.lane === 'account' && parts.account.capabilities.keepsEffects
        ? ((await parts.store.load(person.personId))?.unrecorded ?? [])
        : null;
    const did = kept ?? ownDid;
    const told = kept ? { told: kept.length } : {};
    if (step === 'offboard') {
      const effects = historyOf(step, conditions, null, [], { verdict: null, did });
      await parts.store.settle(
        fence,
        {
          conditions: [],
          heldBack: [],
          history: effects,
          requiredConditions: requiredConditions(parts.policy),
          ...told,
        },
        cause,
      );
      await parts.store.rest(
        person.personId,
        person.generation,
        error.row.queue === 'person' ? new Date(parts.now().getTime() + 3_600_000) : retryTime(error, 6, parts),
        parts.policy.delegation,
      );
      return done('failed', error.code, `${error.row.title}: ${error.message}`);
    }
    const before = conditions[conditionOf[step]];
    const verdict = verdictOf(error, person);
    const condition = applyVerdict(before, verdict, person.generation, parts.now(), parts.random());
    // A throttle burns no attempt; anything that is tried again by itself is tried sooner than the usual second look.
    if (error.row.queue === 'wait') condition.attempts = before.attempts;
    const isTimed = error.row.queue === 'person' && error.retryAfterSeconds !== undefined;
    if (error.row.queue === 'retry' || error.row.queue === 'wait' || isTimed)
      condition.nextCheckAt = retryTime(error, condition.attempts, parts);
    const changed = conditionChanged(before, condition);
    await parts.store.settle(
      fence,
      {
        conditions: [condition],
        heldBack: [],
        history:
          did.length > 0
            ? historyOf(step, conditions, condition, [], { verdict, did })
            : changed
              ? {
                  action: `${step}.failed`,
                  before: { status: before.status, reason: before.reason },
                  after: { status: condition.status, reason: condition.reason, code: error.code },
                }
              : null,
        requiredConditions: requiredConditions(parts.policy),
        ...told,
      },
      cause,
    );
    await parts.store.rest(person.personId, person.generation, null, parts.policy.delegation);
  } catch (settleError) {
    parts.log.warn(
      { err: settleError, step, personId: person.personId },
      'the fault could not be recorded; the lease runs out by itself',
    );
  }
  return done(error.row.queue === 'person' ? 'blocked' : 'failed', error.code, `${error.row.title}: ${error.message}`);
}

function retryTime(error: UsherError, attempts: number, parts: RunnerParts): Date {
  const milliseconds =
    error.retryAfterSeconds !== undefined
      ? error.retryAfterSeconds * 1000 + 250 * parts.random()
      : backoffMilliseconds(attempts + 1, parts.random());
  return new Date(parts.now().getTime() + milliseconds);
}

function verdictOf(error: UsherError, person: Person): Verdict {
  const who = person.wish?.displayName ?? person.personId;
  switch (error.code) {
    case 'throttled':
      return {
        status: 'unknown',
        reason: 'throttled',
        message: `${error.message} ${who} is looked at again by itself. Nobody needs to act.`,
      };
    case 'connection_down':
      return {
        status: 'unknown',
        reason: 'connection_down',
        message: `${error.message} An operator checks the USHER_GRAPH settings and the app registration.`,
      };
    case 'account_connection_down':
      return { status: 'unknown', reason: 'connection_down', message: `${error.message} ${error.row.next}` };
    case 'plan_has_no_api':
      return { status: 'unknown', reason: 'plan_has_no_api', message: `${error.message} ${error.row.next}` };
    case 'email_taken_elsewhere':
    case 'last_licensed_administrator':
    case 'user_limit':
    case 'account_owner_protected':
    case 'invalid_profile':
      return { status: 'false', reason: error.code, message: `${error.message} ${error.row.next}` };
    case 'account_refused':
      return {
        status: 'false',
        reason: 'awaiting_administrator',
        message: `${error.message} An account administrator looks.`,
      };
    default:
      return {
        status: 'unknown',
        reason: 'connection_down',
        message: `${error.row.title}; it is tried again by itself.`,
        owner: 'nobody',
      };
  }
}
