/** What applying a row would do, decided over what is known when it is read. Nothing happens before that very plan is applied. */
import type { Lifecycle, Wish } from './person.ts';

export const rowKinds = ['new', 'known', 'changed', 'leaver', 'unchanged', 'ambiguous', 'faulty'] as const;
export type RowKind = (typeof rowKinds)[number];

/** Those that applying acts on. */
export const actingKinds: readonly RowKind[] = ['new', 'known', 'changed', 'leaver'];

export interface PlannedRow {
  line: number;
  kind: RowKind;
  who: string;
  /** What, why, and what next; null where the kind says it. */
  note: string | null;
  suggestion: string | null;
  lifecycle: Lifecycle | null;
  wish: Pick<Wish, 'licenses' | 'bookingPages' | 'role'> | null;
  personId: string | null;
}

export interface ImportSummary {
  rows: number;
  kinds: Record<RowKind, number>;
  /** Rows that act and that no rule of the policy matches: they are written down, and nothing is made of them. */
  outOfScope: number;
  /** By license kind: how many seats these rows need, and how many are left. */
  seats: Record<string, { needed: number; left: number | null; missing: number }>;
  calendars: { delegated: number; notDelegated: number; toBeChecked: number };
  pages: { wished: number; missing: number; ownedByOthers: number; claimedTwice: number; notLookedAt?: number };
  /** Rows with a cell (role, licenses, bookingPages) that their rule does not leave to the directory. */
  cellsNotUsed?: number;
  /** Steps for which an administrator's hand is asked, and what for. */
  byHand?: { step: string; how: string }[];
  /** Until everybody is Ready, if nothing is in the way; at a rate that one worker process was measured with. */
  secondsExpected: number;
}

const peoplePerSecond = 300;

export function emptySummary(): ImportSummary {
  return {
    rows: 0,
    kinds: Object.fromEntries(rowKinds.map((kind) => [kind, 0])) as Record<RowKind, number>,
    outOfScope: 0,
    seats: {},
    calendars: { delegated: 0, notDelegated: 0, toBeChecked: 0 },
    pages: { wished: 0, missing: 0, ownedByOthers: 0, claimedTwice: 0 },
    secondsExpected: 0,
  };
}

/** `pace`: of an account that lets only so much be asked; the time of people's hands is not in it. */
export function expectedSeconds(
  summary: ImportSummary,
  pace: { requestsPerSecond: number; requestsPerPerson: number } | null = null,
): number {
  const acting = actingKinds.reduce((sum, kind) => sum + summary.kinds[kind], 0);
  const asking = pace ? (acting * pace.requestsPerPerson) / pace.requestsPerSecond : 0;
  return Math.ceil(Math.max(acting / peoplePerSecond, asking));
}

export function stepsByHand(steps: Record<string, { mode: string; how: string }>): { step: string; how: string }[] {
  return Object.entries(steps).flatMap(([step, { mode, how }]) => (mode === 'task' ? [{ step, how }] : []));
}
