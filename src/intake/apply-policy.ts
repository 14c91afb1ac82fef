/**
 * A changed policy, at start: everybody is looked at anew. Additions run; removals and changes of role wait, and are counted and said.
 */
import { takesSomething, wishChanged } from '../domain/person.ts';
import type { Policy } from '../domain/policy.ts';
import type { Cause, PersonWithSources, PolicyStore } from '../ports.ts';
import { changeFor } from './record-change.ts';

export interface PolicyChange {
  changed: number;
  /** People whom the new policy would remove or give another role; they keep what they have until somebody approves. */
  waiting: number;
}

const batch = 500;

export async function applyPolicy(store: PolicyStore, policy: Policy): Promise<PolicyChange | null> {
  const before = await store.storedPolicyVersion();
  if (before === policy.version) return null;
  const result: PolicyChange = { changed: 0, waiting: 0 };
  const cause: Cause = { actor: 'usher', by: `policy:${policy.version}` };
  let after: string | null = null;
  for (;;) {
    const people: PersonWithSources[] = await store.everybody(after, batch);
    for (const one of people) await reconsiderOne(store, policy, one, cause, result);
    after = people.at(-1)?.person.personId ?? null;
    if (people.length < batch) break;
  }
  await store.storePolicyVersion(policy.version);
  return result;
}

async function reconsiderOne(
  store: PolicyStore,
  policy: Policy,
  { person, reconsider, users }: PersonWithSources,
  cause: Cause,
  result: PolicyChange,
): Promise<void> {
  const first = users[0];
  if (!first) return;
  const change = changeFor(users, person, policy, first);
  // Only what the policy gives anew: leaving is the sources' word, and what the policy takes waits for approval.
  const gives =
    change.lifecycle === 'wanted' &&
    (person.lifecycle === 'out_of_scope' ||
      person.leave?.cause === 'out_of_scope' ||
      (person.lifecycle === 'wanted' && wishChanged(person.wish, change.wish)));
  const takes =
    person.lifecycle === 'wanted' && (change.lifecycle !== 'wanted' || takesSomething(person.wish, change.wish));
  if (takes) {
    await store.keepUnder(person.personId, person.generation, policy.version);
    result.waiting += 1;
  } else if (gives && (await store.changeWish(person.personId, person.generation, change, reconsider, cause)))
    result.changed += 1;
}

/** A new look at people whose groups changed: what the sources say now becomes their wish. */
export async function reconsiderPeople(store: PolicyStore, policy: Policy, personIds: string[]): Promise<void> {
  for (const personId of personIds) {
    const one = await store.withSources(personId);
    const first = one?.users[0];
    if (!one || !first || one.reconsider === 0) continue;
    const { person, reconsider } = one;
    const change = changeFor(one.users, person, policy, first);
    // Somebody who changed meanwhile keeps the mark, and is looked at again.
    if (!change.newGeneration) await store.reconsidered(personId, reconsider);
    else
      await store.changeWish(personId, person.generation, change, reconsider, { actor: 'usher', by: 'groups changed' });
  }
}
