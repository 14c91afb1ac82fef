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
  pages: { wished: number; missing: number; ownedByOthers: number; claimedTwice: number };
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

export function expectedSeconds(summary: ImportSummary): number {
  const acting = actingKinds.reduce((sum, kind) => sum + summary.kinds[kind], 0);
  return Math.ceil(acting / peoplePerSecond);
}
