/** Once a minute: what somebody must know. Each trouble is told when it begins and when it is over, whichever process sees it. */
import { forecast } from '../src/domain/license.ts';
import type { Policy } from '../src/domain/policy.ts';
import { reminderOf } from '../src/domain/tasks.ts';
import type { Log } from '../src/log.ts';
import type { SchedulingAccount, Store } from '../src/ports.ts';

export interface WatchParts {
  store: Store;
  account: Pick<SchedulingAccount, 'licenseCounts'>;
  policy: Policy;
  log: Log;
  now: () => Date;
}

const everyMs = 60_000;

export function openWatch({ store, account, policy, log, now }: WatchParts): () => Promise<void> {
  let lookedAt = 0;
  const tell = async (key: string, kind: string, message: string): Promise<void> => {
    if (await store.raiseAlert(key, kind, message)) log.error({ key, kind }, message);
  };
  const tellWhile = (isSo: boolean, key: string, kind: string, message: string): Promise<unknown> =>
    isSo ? tell(key, kind, message) : store.resolveAlert(key);

  /** A source that was heard of once and says nothing for longer than the policy lets it. */
  async function silentSources(): Promise<void> {
    for (const source of await store.sources()) {
      const entry = policy.sources.find(({ name }) => name === source.name);
      if (!entry || !source.lastHeardAt) continue;
      const hours = entry.silentAfterHours;
      // Tables, and people added by hand, come when somebody brings them.
      const speaks = entry.kind === 'scim' || entry.kind === 'graph';
      const silent = speaks && now().getTime() - source.lastHeardAt.getTime() > hours * 3_600_000;
      await tellWhile(
        silent && !source.pausedAt,
        `source_silent:${source.name}`,
        'source_silent',
        `Source ${source.name} was last heard of at ${source.lastHeardAt.toISOString()}, more than ${hours} hours ago. The identity provider's admin looks at its provisioning log.`,
      );
    }
  }

  /** What is overdue is brought to mind: an alert while there is any, and a letter as often as the policy says. */
  async function overdueTasks(): Promise<void> {
    const overdue = await store.takeOverdue(policy.tasks.remindEveryDays, 5000);
    const count = await store.countOverdue();
    const { subject, text } = reminderOf(overdue, count);
    await tellWhile(count > 0, 'task_overdue', 'task_overdue', `${subject}. See «usher tasks --overdue».`);
    if (overdue.length > 0) await store.putNotices(policy.alerts.mail, subject, text);
  }

  async function heldRuns(): Promise<void> {
    const keys: string[] = [];
    for (const run of await store.runs()) {
      const held = run.removals.filter((removal) => removal.state === 'held').length;
      if (run.state !== 'held' || held === 0) continue;
      keys.push(`held_run:${run.runId}`);
      await tell(
        `held_run:${run.runId}`,
        'held_run',
        `${held} removals of source ${run.source ?? 'unknown'} are more than the brake lets through; nothing of them is done. An operator looks at «usher runs» and says «usher approve ${run.runId}» or «usher keep ${run.runId}», all or some; what nobody decides until ${run.expiresAt?.toISOString() ?? 'then'} is kept.`,
      );
    }
    await store.resolveOthers('held_run', keys);
  }

  async function scarceSeats(): Promise<void> {
    const keys: string[] = [];
    for (const [kind, counts] of Object.entries(await account.licenseCounts())) {
      const { free, message } = forecast(counts);
      const few = free !== null && free <= policy.alerts.seatsLow && policy.alerts.seatsLow > 0;
      if (counts.waiting === 0 && !few) continue;
      keys.push(`seats_low:${kind}`);
      await tell(
        `seats_low:${kind}`,
        'seats_low',
        `«${kind}»: ${message ?? `${free} of ${counts.bought} seats are free.`} An account administrator buys or frees some, and account.pools of the policy says how many there are.`,
      );
    }
    await store.resolveOthers('seats_low', keys);
  }

  async function tenant(): Promise<void> {
    const lost = await store.delegationsLost();
    await tellWhile(
      lost > 0,
      'delegation_lost',
      'delegation_lost',
      `${lost} ${lost === 1 ? 'person was' : 'people were'} bookable, and the calendar is not delegated any more. An Exchange admin looks at «usher delegation report»; «usher delegation script» mends what can be.`,
    );
    const down = await store.connectionsDown();
    await tellWhile(
      down > 0,
      'open_circuit:graph',
      'open_circuit',
      `The connection to Microsoft 365 does not work for ${down} people. An operator runs «usher doctor».`,
    );
  }

  return async () => {
    if (now().getTime() - lookedAt < everyMs) return;
    lookedAt = now().getTime();
    await silentSources();
    await overdueTasks();
    await heldRuns();
    await scarceSeats();
    await tenant();
    await store.noteReadiness();
    if (policy.alerts.webhook) await store.beat(policy.alerts.heartbeatHours, policy.alerts.webhook);
  };
}
