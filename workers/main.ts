/** The worker side: one consumer per queue, the sweeper over the due list, and the express lane. */
import { nextSteps } from '../src/domain/next-steps.ts';
import {
  pacedConcurrency,
  queueConcurrency,
  queueNames,
  sweepAtLeast,
  sweepBatch,
  sweepEveryMs,
  sweepSoonMs,
} from '../src/jobs.ts';
import type { QueueName, WakeUps } from '../src/ports.ts';
import { openDeliveryPass } from './delivery-pass.ts';
import { openRunner, type RunnerParts, rest } from './run-step.ts';
import { openWatch } from './watch.ts';

export interface WorkersParts extends Omit<RunnerParts, 'wakeOthers'> {
  wakeUps: WakeUps;
  /** Steps give way to requests of the same process. */
  quiet(): Promise<void>;
  /** A new look at people whose groups changed. */
  reconsider(personIds: string[]): Promise<void>;
}

/** What a sweep fills. */
const sweptQueues = queueNames.filter((name) => name !== 'express');

export interface RunningWorkers {
  close(): Promise<void>;
}

/** Starts the workers; `only` limits this process to some queues. */
export async function startWorkers(parts: WorkersParts, only: QueueName[] = queueNames): Promise<RunningWorkers> {
  const { store, wakeUps, log } = parts;
  const runner = openRunner({
    ...parts,
    wakeOthers: async (step, personIds) => {
      if (personIds.length > 0) await wakeUps.hint(step, personIds);
    },
  });
  const watch = openWatch(parts);
  let jobs = 0;
  let filledAt = 0;

  for (const name of only) {
    const paced = parts.account.pace !== null && name !== 'check-delegation';
    const concurrency = Math.min(queueConcurrency[name], paced ? pacedConcurrency : Number.POSITIVE_INFINITY);
    await wakeUps.work(name, concurrency, async (id) => {
      jobs += 1;
      // Somebody waits for an express result; everything else gives way.
      if (name === 'express') return runExpress(id);
      await parts.quiet();
      await runner.wake(name, id, `${name}/${process.pid}.${jobs}`);
    });
  }

  async function runExpress(provisionId: string): Promise<void> {
    const provision = await store.provision(provisionId);
    if (!provision || provision.result) return;
    const result = await runner.provision(provision.personId, provision.plan, provision.requestedBy);
    await store.finishProvision(provisionId, result);
  }

  /** Everybody whose time has come is hinted again: this is what makes a lost hint cost time only. Answers whether more of them may wait. */
  async function sweep(): Promise<boolean> {
    // Who is taken and then not hinted waits a quarter of a minute for nothing; but one queue that does not move holds up no other.
    const rooms = await Promise.all(sweptQueues.map((name) => wakeUps.room(name)));
    const isTime = Date.now() - filledAt >= sweepEveryMs;
    const room = Math.max(isTime ? sweepBatch : 0, Math.min(sweepBatch, ...rooms));
    if (room >= sweepAtLeast) filledAt = Date.now();
    let due = room > 0 ? await store.takeDue(room) : [];
    const more = room < sweepBatch || due.length === room;
    const marked = due.filter((known) => known.reconsider > 0).map((known) => known.person.personId);
    if (marked.length > 0) {
      await parts.reconsider(marked);
      const fresh = await Promise.all(marked.map((personId) => store.load(personId)));
      due = [...due.filter((known) => known.reconsider === 0), ...fresh.filter((known) => known !== null)];
    }
    const byStep = new Map<QueueName, string[]>();
    const early: Promise<void>[] = [];
    for (const { person, conditions } of due) {
      const steps = nextSteps(person, conditions, parts.policy, parts.now());
      // Nothing due by the rules: the timer was set early; it is set anew.
      if (steps.length === 0) early.push(rest(parts, person));
      for (const step of steps) byStep.set(step, [...(byStep.get(step) ?? []), person.personId]);
    }
    await Promise.all(early);
    for (const [step, ids] of byStep) {
      const dropped = await wakeUps.hint(step, ids, 'bulk');
      if (dropped > 0) parts.metrics.hintsDropped.inc(dropped);
    }
    parts.metrics.sweptBack.inc(due.length);
    const provisions = await store.openProvisions(50);
    if (provisions.length > 0)
      await wakeUps.hint(
        'express',
        provisions.map((provision) => provision.provisionId),
        'now',
      );
    await store.expireHeldRemovals();
    await watch();
    return more;
  }

  const deliveries = parts.calendars
    ? openDeliveryPass({ store, calendars: parts.calendars, log, now: parts.now })
    : null;
  let stopped = false;
  let sweeping: Promise<void> = Promise.resolve();
  let timer: NodeJS.Timeout | undefined;
  const sweepAndPlan = async (): Promise<void> => {
    const more = await sweep().catch((error: unknown) => {
      log.warn({ err: error }, 'the sweep failed; it is tried again');
      return false;
    });
    if (stopped) return;
    timer = setTimeout(
      () => {
        sweeping = sweepAndPlan();
      },
      more ? sweepSoonMs : sweepEveryMs,
    );
  };
  sweeping = sweepAndPlan();

  return {
    async close() {
      stopped = true;
      clearTimeout(timer);
      await deliveries?.close();
      await sweeping;
      await wakeUps.drain();
    },
  };
}
