/** What a policy would change for one person: by value, before anything is done. */
import type { Lifecycle, Person, Wish } from './person.ts';
import { takesSomething, wishChanged } from './person.ts';

export interface PlannedChange {
  lifecycle: Lifecycle;
  wish: Wish | null;
}

export type PolicyEffect =
  | { effect: 'none' }
  /** `what`: one line a change, for people to read. */
  | { effect: 'gives' | 'takes'; what: string[]; before: PlannedChange; after: PlannedChange };

/**
 * Only what the policy gives anew runs by itself: leaving is the sources' word, and what the policy takes (a removal, a seat, a page, another role) waits for
 * somebody's approval.
 */
export function policyEffect(person: Person, change: PlannedChange): PolicyEffect {
  const takes =
    person.lifecycle === 'wanted' && (change.lifecycle !== 'wanted' || takesSomething(person.wish, change.wish));
  const gives =
    change.lifecycle === 'wanted' &&
    (person.lifecycle === 'out_of_scope' ||
      person.leave?.cause === 'out_of_scope' ||
      (person.lifecycle === 'wanted' && wishChanged(person.wish, change.wish)));
  if (!takes && !gives) return { effect: 'none' };
  return {
    effect: takes ? 'takes' : 'gives',
    what: differences(person, change),
    before: { lifecycle: person.lifecycle, wish: person.wish },
    after: { lifecycle: change.lifecycle, wish: change.wish },
  };
}

function differences(person: Person, change: PlannedChange): string[] {
  const lines: string[] = [];
  if (change.lifecycle !== 'wanted')
    return [`leaves: no rule of the policy matches any more (was ${person.wish?.rule ?? 'none'})`];
  const [old, next] = [person.lifecycle === 'wanted' ? person.wish : null, change.wish];
  if (!old) lines.push(`is wanted by rule ${next?.rule}`);
  else if (old.rule !== next?.rule) lines.push(`rule: ${old.rule} → ${next?.rule}`);
  if (old && old.role !== next?.role) lines.push(`role: ${old.role} → ${next?.role}`);
  const list = (field: 'licenses' | 'bookingPages') => {
    const [had, has] = [old?.[field] ?? [], next?.[field] ?? []];
    const lost = had.filter((entry) => !has.includes(entry));
    const won = has.filter((entry) => !had.includes(entry));
    const name = field === 'licenses' ? 'licenses' : 'Booking pages';
    if (lost.length > 0) lines.push(`${name} taken: ${lost.join(', ')}`);
    if (won.length > 0) lines.push(`${name} given: ${won.join(', ')}`);
  };
  list('licenses');
  list('bookingPages');
  if (lines.length === 0) lines.push('settings of the user change');
  return lines;
}
