/** Seats: what is missing, and who is next in line. A pool is never exceeded and never bought from by Usher. */
import type { SeatAnswer } from './account.ts';
import type { Verdict } from './conditions.ts';

/** The kind whose loss disables its owner's pages, and without which no page of theirs is enabled. */
export const schedulingLicense = 'scheduled-meetings';

/**
 * What a pool needs, in a sentence for whoever buys: Usher never does. Null where nobody waits.
 * A free seat that somebody in line is about to take is reserved, not free.
 */
export function forecast(counts: { bought: number | null; assigned: number; waiting: number }): {
  free: number | null;
  reserved: number;
  missing: number;
  message: string | null;
} {
  if (counts.bought === null) return { free: null, reserved: counts.waiting, missing: 0, message: null };
  const left = Math.max(0, counts.bought - counts.assigned);
  const reserved = Math.min(left, counts.waiting);
  const missing = counts.waiting - reserved;
  const people = counts.waiting === 1 ? '1 person waits' : `${counts.waiting} people wait`;
  return {
    free: left - reserved,
    reserved,
    missing,
    message:
      counts.waiting === 0
        ? null
        : `${people} for ${left === 1 ? '1 seat' : `${left} seats`}${missing > 0 ? `: ${missing} more must be bought or freed` : ''}.`,
  };
}

/** The kinds that the wish names and the user lacks. */
export function missingLicenses(wished: string[], held: string[]): string[] {
  return wished.filter((kind) => !held.includes(kind));
}

/** The kinds that we gave and that nobody wishes any more; a license that somebody else gave is not ours to take. */
export function surplusLicenses(wished: string[], held: { kind: string; givenByUsher: boolean }[]): string[] {
  return held
    .filter((license) => license.givenByUsher && !wished.includes(license.kind))
    .map((license) => license.kind);
}

export function licenseVerdict(wished: string[], answers: Map<string, SeatAnswer>): Verdict {
  for (const [kind, answer] of answers) {
    if (answer.assigned) continue;
    if (answer.why === 'cap') {
      return {
        status: 'false',
        reason: 'no_seats_left',
        message: `The group's limit of ${answer.limit} «${kind}» licenses is reached. An operator raises it in the policy.`,
        owner: 'operator',
        evidence: { kind, limit: answer.limit },
      };
    }
    if (answer.why === 'unknown_kind') {
      return {
        status: 'false',
        reason: 'no_seats_left',
        message: `The account has no pool of «${kind}» licenses. An account administrator buys some, or the policy is corrected.`,
        evidence: { kind },
      };
    }
    return {
      status: 'false',
      reason: 'no_seats_left',
      message: `All ${answer.bought} «${kind}» seats are taken; place ${answer.place} in the waiting list. An account administrator buys or frees a seat.`,
      evidence: { kind, place: answer.place, bought: answer.bought },
    };
  }
  return {
    status: 'true',
    reason: null,
    message: wished.length > 0 ? `Seat assigned: ${wished.join(', ')}.` : 'No license is wished.',
    evidence: { licenses: wished },
  };
}
