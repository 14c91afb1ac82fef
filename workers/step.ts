/** What a step is: look, decide, act, read back. The runner owns everything else. */
import type { Conditions, ConditionType, Verdict } from '../src/domain/conditions.ts';
import type { Step } from '../src/domain/next-steps.ts';
import type { Lifecycle, Person } from '../src/domain/person.ts';
import type { Policy } from '../src/domain/policy.ts';
import type { Calendars, Cause, Directory, Fence, HistoryEntry, SchedulingAccount, Store } from '../src/ports.ts';

export interface StepParts {
  store: Store;
  account: SchedulingAccount;
  /** Null while no tenant is connected. */
  calendars: Calendars | null;
  /** The tenant's directory, for a second witness; null while no tenant is connected. */
  directory: Directory | null;
  policy: Policy;
  /** Wakes others whom this step set free. */
  wakeOthers(step: Step, personIds: string[]): Promise<void>;
}

export interface StepContext extends StepParts {
  person: Person;
  conditions: Conditions;
  fence: Fence;
  now: Date;
  cause: Cause;
  /** What was done so far; the runner records it even when a later action fails. */
  did: HistoryEntry[];
  /** With a plan nothing is written; the step says what it would do. */
  plan: boolean;
}

export interface StepOutcome {
  /** Null for offboard, which has no condition. */
  verdict: Verdict | null;
  /** What was done to the account, for the history; empty when nothing was. */
  did: HistoryEntry[];
  /** With a plan: what would be done. */
  would?: string[];
  person?: {
    accountUserId?: string | null;
    accountUserOrigin?: Person['accountUserOrigin'];
    lifecycle?: Lifecycle;
    suspendedAt?: Date | null;
  };
  /** Says how the step ended where no verdict does. */
  note?: { outcome: 'done' | 'nothing_to_do' | 'blocked'; reason: string | null; message: string };
}

export interface StepDefinition {
  step: Step;
  condition: ConditionType | null;
  run(context: StepContext): Promise<StepOutcome>;
}

/** A seat came back, or a place in the line: whoever is next looks again. */
export async function serveTheLine({ store, wakeOthers }: Pick<StepParts, 'store' | 'wakeOthers'>): Promise<void> {
  await wakeOthers('assign-license', await store.wakeWaitingForSeats());
}
