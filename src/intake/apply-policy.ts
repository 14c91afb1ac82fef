/**
 * A changed policy: everybody is looked at anew. At start, additions run, and removals, losses and changes of role become a stored plan that waits for somebody;
 * beforehand, the same look says what would happen.
 */

import { type PolicyEffect, policyEffect } from '../domain/plan.ts';
import type { Policy } from '../domain/policy.ts';
import type { Cause, PersonChange, PersonWithSources, PlanItem, PlanStore, PolicyStore } from '../ports.ts';
import { changeFor } from './record-change.ts';

export interface PolicyChange {
  changed: number;
  /** People whom the new policy would remove, take something from, or give another role; they keep what they have until somebody approves. */
  waiting: number;
  /** Where they wait; null when nobody does. */
  runId: string | null;
}

export interface PolicyDiff {
  people: number;
  gives: number;
  takes: number;
  /** Of those who would change, the takings first, and no more than so many. */
  items: {
    personId: string;
    userName: string;
    displayName: string | null;
    effect: 'gives' | 'takes';
    what: string[];
  }[];
}

const batch = 500;

interface Seen {
  one: PersonWithSources;
  change: PersonChange;
  effect: PolicyEffect;
}

async function* everybodyUnder(store: PolicyStore, policy: Policy): AsyncGenerator<Seen[]> {
  for (let after: string | null = null; ; ) {
    const people = await store.everybody(after, batch);
    yield people.flatMap((one) => {
      const first = one.users[0];
      if (!first) return [];
      const change = changeFor(one.users, one.person, policy, first);
      return [{ one, change, effect: policyEffect(one.person, change) }];
    });
    after = people.at(-1)?.person.personId ?? null;
    if (people.length < batch) return;
  }
}

export async function applyPolicy(store: PolicyStore & PlanStore, policy: Policy): Promise<PolicyChange | null> {
  const before = await store.storedPolicyVersion();
  if (before === policy.version) return null;
  const result: PolicyChange = { changed: 0, waiting: 0, runId: null };
  const cause: Cause = { actor: 'usher', by: `policy:${policy.version}` };
  // A plan of an older policy says nothing under this one.
  await store.dropPlans('policy', policy.version);
  for await (const seen of everybodyUnder(store, policy)) {
    const taking: PlanItem[] = [];
    for (const { one, change, effect } of seen) {
      const { person, reconsider } = one;
      if (effect.effect === 'takes') {
        await store.keepUnder(person.personId, person.generation, policy.version);
        taking.push({ personId: person.personId, generation: person.generation, ...effect });
      } else if (
        effect.effect === 'gives' &&
        (await store.changeWish(person.personId, person.generation, change, reconsider, cause))
      )
        result.changed += 1;
    }
    if (taking.length === 0) continue;
    result.runId ??= await store.beginPlan('policy', policy.version);
    await store.addPlanItems(result.runId, taking);
    result.waiting += taking.length;
  }
  await store.storePolicyVersion(policy.version);
  return result;
}

/** What another policy would change; nothing is done. */
export async function diffPolicy(store: PolicyStore, policy: Policy, most: number): Promise<PolicyDiff> {
  const diff: PolicyDiff = { people: 0, gives: 0, takes: 0, items: [] };
  const giving: PolicyDiff['items'] = [];
  for await (const seen of everybodyUnder(store, policy)) {
    diff.people += seen.length;
    for (const { one, change, effect } of seen) {
      if (effect.effect === 'none') continue;
      diff[effect.effect] += 1;
      const into = effect.effect === 'takes' ? diff.items : giving;
      if (into.length < most)
        into.push({
          personId: one.person.personId,
          userName: change.shown.userName,
          displayName: change.shown.displayName,
          effect: effect.effect,
          what: effect.what,
        });
    }
  }
  diff.items = [...diff.items, ...giving].slice(0, most);
  return diff;
}

/** What was approved of a plan is done exactly as it was shown; whoever changed since is left alone. Answers how many were applied. */
export async function applyPlan(
  store: PolicyStore & PlanStore,
  policy: Policy,
  runId: string,
  personIds: string[] | null,
  by: string,
): Promise<{ applied: number; stale: number }> {
  const result = { applied: 0, stale: 0 };
  const cause: Cause = { actor: by, by: `run:${runId}` };
  for (const item of await store.waitingPlanItems(runId, personIds)) {
    const one = await store.withSources(item.personId);
    const first = one?.users[0];
    const { keptUnder: _kept, ...wish } = one?.person.wish ?? {};
    // Without what keeps them, the policy says what it says.
    const person = one && { ...one.person, wish: one.person.wish && (wish as typeof one.person.wish) };
    const change = first && person ? changeFor(one.users, person, policy, first) : null;
    const effect = person && change ? policyEffect(person, change) : null;
    const isAsShown =
      one?.person.generation === item.generation &&
      effect?.effect === 'takes' &&
      JSON.stringify(effect.what) === JSON.stringify(item.what);
    const done =
      isAsShown && change
        ? await store.changeWish(item.personId, item.generation, change, one.reconsider, cause)
        : false;
    await store.decidePlanItems(runId, [item.personId], done ? 'applied' : 'plan_stale', by);
    result[done ? 'applied' : 'stale'] += 1;
  }
  return result;
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
