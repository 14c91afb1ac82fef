/**
 * Reconciliation: everybody is looked at beside what the account shows, in pages; each difference is a row that says what, why, since when and who acts. What the
 * policy lets be corrected is corrected by the person's own step, which looks again and decides: nothing is written here but the report.
 */
import { correctedBy, type Drift, type DriftMode, driftMode, driftOf } from '../domain/drift.ts';
import { conditionOf, type Step } from '../domain/next-steps.ts';
import type { Policy } from '../domain/policy.ts';
import type { ProfileAbilities } from '../domain/profile.ts';
import { asUsherError, UsherError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { AdminStore, KeptDrift, ReconciliationStore, SchedulingAccount, WakeUps } from '../ports.ts';
import { nextTime } from '../schedule.ts';

export interface ReconcilerParts {
  store: ReconciliationStore & Pick<AdminStore, 'run'>;
  account: SchedulingAccount;
  policy: Policy;
  wakeUps: Pick<WakeUps, 'hint'>;
  log: Log;
  now: () => Date;
}

export type Reconciler = ReturnType<typeof openReconciler>;

const batch = 500;
const leaseMinutes = 10;
const mostOfPlan = 100_000;

interface Asked {
  /** Null: everybody, and users that nobody knows. */
  personIds: string[] | null;
  apply: boolean;
  by: string;
  /** What an earlier run showed: exactly that is corrected, of these people, and nothing that came since. */
  plan?: KeptDrift[];
}

/** What must be as it was shown. */
const keyOf = ({ kind, personId, what }: Pick<Drift, 'kind' | 'personId' | 'what'>): string =>
  JSON.stringify([kind, personId, what]);

export function openReconciler(parts: ReconcilerParts) {
  const { store, account, policy, wakeUps, log, now } = parts;
  const running = new Set<Promise<unknown>>();

  async function run({ personIds, apply, by, plan }: Asked, runId: string, goOn: () => Promise<void>): Promise<void> {
    const abilities = abilitiesOf(account);
    const counts: Record<string, number> = {};
    let people = 0;
    let found = 0;
    let corrected = 0;
    let stale = 0;
    const planned = plan && new Map(plan.map((one) => [keyOf(one), one]));
    const shownAnew = new Set<string>();
    const stateOf = (one: Drift, mode: DriftMode): KeptDrift['state'] => {
      if (planned && !planned.delete(keyOf(one))) {
        shownAnew.add(`${one.kind} ${one.personId}`);
        return 'plan_stale';
      }
      return apply && mode === 'correct' && one.personId && correctedBy[one.kind] ? 'corrected' : 'found';
    };
    const keep = async (drift: Drift[]): Promise<void> => {
      const rows = drift.map((one): KeptDrift => {
        const mode: DriftMode = driftMode(one.kind, policy);
        counts[one.kind] = (counts[one.kind] ?? 0) + 1;
        const state = stateOf(one, mode);
        if (state === 'corrected') corrected += 1;
        if (state === 'plan_stale') stale += 1;
        return { ...one, mode, state };
      });
      await write(rows);
    };
    const write = async (rows: KeptDrift[]): Promise<void> => {
      await store.addDrift(runId, found, rows);
      found += rows.length;
      for (const step of Object.keys(conditionOf) as Exclude<Step, 'offboard'>[]) {
        const condition = conditionOf[step];
        const ids = rows.flatMap((row) =>
          row.state === 'corrected' && correctedBy[row.kind] === condition && row.personId ? [row.personId] : [],
        );
        if (ids.length === 0) continue;
        await store.recheckConditions(ids, condition);
        await wakeUps.hint(step, ids);
      }
    };
    const quiet = account.at('background');
    for (let after: string | null = null; ; ) {
      const known = await store.knownPeople(after, personIds, batch);
      const sights = await quiet.sightsOf(known.flatMap(({ person }) => person.accountUserId ?? []));
      await keep(
        known.flatMap((one) => {
          const id = one.person.accountUserId;
          return driftOf(one, (id && sights.get(id)) || { user: null, pages: null }, abilities);
        }),
      );
      people += known.length;
      after = known.at(-1)?.person.personId ?? null;
      if (known.length < batch) break;
      await goOn();
    }
    if (!personIds)
      for (let after: string | null = null; ; ) {
        const users = await quiet.unknownUsers(after, batch);
        await keep(
          users.map((user) => ({
            kind: 'unknownUsers' as const,
            personId: null,
            accountUserId: user.accountUserId,
            who: user.email,
            what: `${user.name} is a user of the account, and no source speaks of them`,
            owner: 'account_administrator' as const,
            since: null,
          })),
        );
        after = users.at(-1)?.accountUserId ?? null;
        if (users.length < batch) break;
        await goOn();
      }
    // What was shown and is not so any more: said, and not done.
    const gone = [...(planned?.values() ?? [])].filter((one) => !shownAnew.has(`${one.kind} ${one.personId}`));
    stale += gone.length;
    await write(gone.map((one) => ({ ...one, what: `not so any more: ${one.what}`, state: 'plan_stale' })));
    await store.endReconciliation(runId, 'done', {
      people,
      found,
      corrected,
      ...(plan ? { stale } : {}),
      drift: counts,
    });
    if (found > 0) log.info({ runId, people, found, corrected, by }, 'the reconciliation found differences');
  }

  function mustHaveRoom(): void {
    if (running.size >= 4) throw new UsherError('too_many', 'Four reconciliations run here already; wait for one.');
  }

  /** Begins, and answers at once; the run is read where it is stored. */
  async function begin(asked: Asked, goOn: () => Promise<void> = () => Promise.resolve()) {
    const runId = await store.beginReconciliation(asked.by, asked.apply, asked.personIds?.length ?? null);
    const work = run(asked, runId, goOn).catch(async (thrown: unknown) => {
      const error = asUsherError(thrown);
      log.warn({ err: error, runId }, 'the reconciliation could not be finished');
      await store
        .endReconciliation(runId, 'failed', { error: error.message, found: -1 })
        .catch((again: unknown) => log.warn({ err: again, runId }, 'and that could not be written down'));
      throw error;
    });
    running.add(work);
    work.catch(() => undefined).finally(() => running.delete(work));
    return { runId, work };
  }

  return {
    async reconcile(asked: Omit<Asked, 'plan'>): Promise<string> {
      mustHaveRoom();
      return (await begin(asked)).runId;
    },

    /** Exactly what a run showed, of all its people or of some. Throws `not_found`, and `conflict` for one that is at work or corrected by itself. */
    async applyPlan(planId: string, only: string[] | null, by: string): Promise<string> {
      const made = await store.run(planId);
      if (made?.kind !== 'reconcile') throw new UsherError('not_found', 'There is no such reconciliation.');
      if (made.state !== 'done' || made.report?.apply === true)
        throw new UsherError('conflict', 'Only a reconciliation that is done and corrected nothing is a plan.');
      if (Number(made.report?.found) > mostOfPlan)
        throw new UsherError(
          'too_many',
          `The plan has more than ${mostOfPlan} differences. Reconcile some of the people at a time.`,
        );
      mustHaveRoom();
      const plan = (await store.driftOf(planId, mostOfPlan)).filter(
        ({ personId }) => personId !== null && (only === null || only.includes(personId)),
      );
      const personIds = [...new Set(plan.flatMap(({ personId }) => personId ?? []))];
      return (await begin({ personIds, apply: true, by, plan })).runId;
    },

    /** The one of the policy, if it is time: once across all processes, and once after a downtime, however long. */
    async scheduled(): Promise<boolean> {
      const { at, timeZone } = policy.reconcile;
      if (!at || !(await store.takeReconciliation(nextTime(at, timeZone, now()), leaseMinutes))) return false;
      const lease = () => store.planReconciliation(new Date(now().getTime() + leaseMinutes * 60_000));
      const { work } = await begin({ personIds: null, apply: true, by: 'schedule' }, lease);
      try {
        await work;
      } finally {
        await store.planReconciliation(nextTime(at, timeZone, now()));
      }
      return true;
    },

    async close(): Promise<void> {
      await Promise.allSettled(running);
    },
  };
}

/** Teams differ by person; their step compares them at its own look. */
function abilitiesOf({ capabilities }: SchedulingAccount): ProfileAbilities {
  return { namesInParts: capabilities.namesInParts, setsTimeZones: capabilities.setsTimeZones, teams: null };
}
