/**
 * Who is it? A newcomer of one source against the people we know.
 *
 * | key | counts when |
 * |---|---|
 * | externalId | the same source sent it before, also on a deleted resource |
 * | userName | the same source deleted a resource of that name, and no externalId speaks against it |
 * | Entra object id | any source |
 * | e-mail | inside the domains that the policy grants the newcomer's source |
 *
 * One person by the strongest key links; two or more are ambiguous and wait for somebody who knows.
 */
import { domainOf } from './email-address.ts';
import type { Source } from './policy.ts';

export interface Candidate {
  personId: string;
  via: 'externalId' | 'userName' | 'entraObjectId' | 'email';
  /** The matching address, for `email`. */
  address?: string;
  /** The candidate's externalId in the newcomer's own source, where they have one there. */
  externalIdInSource?: string | null;
  /** True when the newcomer's source already holds a live resource of this person: one source does not send one human twice. */
  heldBySource?: boolean;
}

export type Correlation =
  | { kind: 'new' }
  | { kind: 'link'; personId: string; via: Candidate['via'] }
  | { kind: 'ambiguous'; personIds: string[] };

export function correlate(
  newcomer: { externalId: string | null },
  candidates: Candidate[],
  source: Pick<Source, 'domains'> | undefined,
): Correlation {
  for (const via of ['externalId', 'userName', 'entraObjectId', 'email'] as const) {
    const personIds = [
      ...new Set(
        candidates
          .filter((candidate) => candidate.via === via && counts(candidate, newcomer, source))
          .map((candidate) => candidate.personId),
      ),
    ];
    if (personIds.length > 1) return { kind: 'ambiguous', personIds: personIds.sort() };
    if (personIds[0]) return { kind: 'link', personId: personIds[0], via };
  }
  return { kind: 'new' };
}

function counts(
  candidate: Candidate,
  newcomer: { externalId: string | null },
  source: Pick<Source, 'domains'> | undefined,
): boolean {
  if (candidate.via === 'externalId') return true;
  const contradicted = Boolean(
    newcomer.externalId && candidate.externalIdInSource && newcomer.externalId !== candidate.externalIdInSource,
  );
  if (candidate.heldBySource || contradicted) return false;
  if (candidate.via !== 'email') return true;
  return mayClaimByEmail(candidate.address ?? '', source);
}

/** A source may claim people and users by e-mail only inside the domains that the policy grants it. */
export function mayClaimByEmail(address: string, source: Pick<Source, 'domains'> | undefined): boolean {
  return source?.domains.includes(domainOf(address)) ?? false;
}
