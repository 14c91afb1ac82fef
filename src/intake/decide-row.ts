/**
 * Somebody whom a row of a table, or an administrator, describes, beside what is known: who is it, and what would become of them? Nothing is done here.
 */
import { correlate } from '../domain/correlate.ts';
import { type CsvFields, mergedFields, unusedCells, userFromFields } from '../domain/csv-people.ts';
import type { RowKind } from '../domain/import-plan.ts';
import type { DirectoryUser, Wish } from '../domain/person.ts';
import type { Policy, Source } from '../domain/policy.ts';
import { speaker } from '../domain/wish.ts';
import type { ImportRow, RowSight } from '../ports.ts';
import { changedBy, changeFor } from './record-change.ts';

export interface DecideBy {
  policy: Policy;
  source: Source;
  /** The account needs a first and a last name. */
  namesInParts: boolean;
  now: () => Date;
}

export type RowDecision = Partial<Omit<ImportRow, 'state' | 'result'>> & { kind: RowKind };

export const notUsed = ': not used';

/** Pure but for the clock. */
export function decideRow(by: DecideBy, fields: CsvFields, user: DirectoryUser, sight: RowSight): RowDecision {
  const { policy, source, namesInParts } = by;
  if (sight.own) {
    const { stored, all } = sight.own;
    const resource = mergedFields(stored.resource, fields);
    const seenRow = {
      personId: stored.personId,
      resourceId: stored.resourceId,
      version: stored.version,
      generation: all.person.generation,
    };
    if (isSame(resource, stored.resource)) return { ...seenRow, kind: 'unchanged', lifecycle: all.person.lifecycle };
    const after = userFromFields(resource, {
      source: source.name,
      resourceId: stored.resourceId,
      activeSince: by.now(),
    });
    const change = changedBy(all, after, policy, by.now());
    const faulty = faultOfWish(change.wish, change.lifecycle, namesInParts);
    if (faulty) return { kind: 'faulty', note: faulty };
    const leaves = all.person.lifecycle === 'wanted' && change.lifecycle !== 'wanted';
    return {
      ...seenRow,
      kind: leaves ? 'leaver' : 'changed',
      note: leaves
        ? 'leaves: sign-in ends at once, the rest after the hold and the brake'
        : [
            Object.keys(resource)
              .filter((key) => JSON.stringify(resource[key]) !== JSON.stringify(stored.resource[key]))
              .join(', '),
            unused(policy, change.wish, fields),
          ]
            .filter(Boolean)
            .join('. '),
      fields,
      lifecycle: change.lifecycle,
      wish: short(change.wish),
    };
  }
  if (fields.active === false)
    return { kind: 'unchanged', note: 'not known here, and not active: there is nothing to take' };
  const correlation = correlate(user, sight.candidates, source);
  if (correlation.kind === 'ambiguous')
    return {
      kind: 'ambiguous',
      note: `could be ${correlation.personIds.length} people: ${correlation.personIds.join(', ')}. Give the externalId (object id) of the one who is meant.`,
    };
  const known = correlation.kind === 'link' ? sight.people.get(correlation.personId) : undefined;
  if (known) {
    const users = [...known.users, user];
    const change = changeFor(users, known.person, policy, user);
    const faulty = faultOfWish(change.wish, change.lifecycle, namesInParts);
    if (faulty) return { kind: 'faulty', note: faulty };
    return {
      kind: 'known',
      note: [
        `known from ${[...new Set(known.users.filter((one) => !one.deletedAt).map((one) => one.source))].join(', ') || 'before'}`,
        change.lifecycle === 'wanted' ? null : `stays ${change.lifecycle}: ${whyNotWanted(users, policy)}`,
        unused(policy, change.wish, fields),
      ]
        .filter(Boolean)
        .join('. '),
      fields,
      personId: known.person.personId,
      generation: known.person.generation,
      lifecycle: change.lifecycle,
      wish: short(change.wish),
    };
  }
  const change = changeFor([user], null, policy, user);
  const faulty = faultOfWish(change.wish, change.lifecycle, namesInParts);
  if (faulty) return { kind: 'faulty', note: faulty };
  return {
    kind: 'new',
    note:
      change.lifecycle === 'wanted'
        ? unused(policy, change.wish, fields)
        : 'no rule of the policy matches: written down, and nothing is made of it',
    fields,
    lifecycle: change.lifecycle,
    wish: short(change.wish),
  };
}

function unused(policy: Policy, wish: Wish | null, fields: CsvFields): string | null {
  const rule = policy.rules.find(({ name }) => name === wish?.rule);
  const columns = rule && wish ? unusedCells(rule, wish, fields) : [];
  if (columns.length === 0) return null;
  return `${columns.join(' and ')}${notUsed}, because rule «${rule?.name}» says it for everybody. To use the column, an operator writes ${columns.map((column) => `${column}: from-directory`).join(' and ')} in the rule.`;
}

const short = (wish: Wish | null): RowDecision['wish'] =>
  wish && { licenses: wish.licenses, bookingPages: wish.bookingPages, role: wish.role };

const sorted = (value: Record<string, unknown>) =>
  Object.entries(value)
    .filter(([, entry]) => entry !== null && entry !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1));

export function faultOfWish(wish: Wish | null, lifecycle: string, namesInParts: boolean): string | null {
  if (lifecycle !== 'wanted' || !wish) return null;
  const missing = namesInParts ? (['givenName', 'familyName'] as const).filter((field) => !wish[field]?.trim()) : [];
  if (missing.length > 0) return `${missing.join(' and ')}: the account needs a first and a last name, each by itself.`;
  return wish.faults.length > 0 ? wish.faults.join(' ') : null;
}

/** Why nobody wants somebody: which source, or the policy; and who mends it. */
export function whyNotWanted(users: DirectoryUser[], policy: Policy): string {
  const first = speaker(users, policy);
  if (!first || users.every((user) => user.deletedAt))
    return 'Every source deleted this person. Whoever has them in their directory sends them again, or an administrator adds them by hand.';
  if (first.deletedAt)
    return `Source ${first.source} deleted this person. The administrator of that directory sends them again, or one adds them by hand.`;
  if (!first.active)
    return `Source ${first.source} says that this person is not active. The administrator of that directory makes them active again.`;
  return 'No rule of the policy matches this person. An operator changes the policy, or what the source says of them.';
}

/** Whether a source would say the same of somebody as it did before. */
export const isSame = (a: Record<string, unknown>, b: Record<string, unknown>): boolean =>
  JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
