/**
 * The guard over removals. limit = max(3, min(maxRemovals, maxPercent of the people Ready or suspended at the window's start)),
 * per source and in total, over a rolling window. Above it nothing is removed, and what nobody approves expires to "keep".
 */
import { type Policy, windowMilliseconds } from './policy.ts';

/** Below this many people percentages are noise. */
const smallestLimit = 3;

export interface BrakeCounts {
  /** Removals admitted inside the window. */
  admitted: number;
  /** People Ready or suspended at the window's start. */
  base: number;
}

export type BrakeAnswer =
  | { admitted: true }
  | { admitted: false; scope: 'source' | 'total'; limit: number; counted: number };

export function removalLimit(base: number, brake: Policy['brake']): number {
  return Math.max(smallestLimit, Math.min(brake.maxRemovals, Math.floor((base * brake.maxPercent) / 100)));
}

export function admitRemoval(ofSource: BrakeCounts, total: BrakeCounts, brake: Policy['brake']): BrakeAnswer {
  for (const [scope, counts] of [
    ['source', ofSource],
    ['total', total],
  ] as const) {
    const limit = removalLimit(counts.base, brake);
    if (counts.admitted + 1 > limit) return { admitted: false, scope, limit, counted: counts.admitted };
  }
  return { admitted: true };
}

export function windowStart(brake: Policy['brake'], now: Date): Date {
  return new Date(now.getTime() - windowMilliseconds(brake.window));
}
