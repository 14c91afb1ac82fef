/** What a page of the tenant's users means for the people we know: pure, so that a page can be decided again when its transaction is. */
import type { DirectoryUser } from '../../domain/person.ts';
import type { Policy } from '../../domain/policy.ts';
import { newId } from '../../ids.ts';
import type { DirectoryAttributes, UserPageDecision } from '../../ports.ts';
import { changedBy, changeFor, decideCreate, difference, withoutUser } from '../record-change.ts';
import { directoryUserFrom, merged, resourceIdOf } from './mapping.ts';

export interface SeenUser {
  objectId: string;
  attributes: Partial<DirectoryAttributes>;
}

export function decidePage(
  source: string,
  policy: Policy,
  seen: SeenUser[],
  gone: string[],
  now: Date,
): UserPageDecision {
  return ({ known, memberships }) => {
    const decision: ReturnType<UserPageDecision> = { creates: [], changes: [], removals: [], again: false };
    // A user can come twice on one page; the later word is the one that counts.
    const last = new Map<string, Partial<DirectoryAttributes>>();
    for (const { objectId, attributes } of seen) last.set(objectId, { ...last.get(objectId), ...attributes });
    // Read directly, after the page was made: gone is the later word.
    for (const objectId of gone) last.delete(objectId);
    // Two users of one page can be one person: the second is decided when the first is written.
    const taken = new Set<string>();
    const isTaken = (personId: string): boolean => {
      const already = taken.has(personId);
      taken.add(personId);
      if (already) decision.again = true;
      return already;
    };

    for (const [objectId, attributes] of last) {
      const before = known(objectId);
      const resource = merged(before && !before.deletedAt ? before.resource : {}, attributes);
      const resourceId = before?.resourceId ?? resourceIdOf(source, objectId);
      const own = before?.all.users.find((user) => user.resourceId === resourceId);
      const user: DirectoryUser = {
        ...directoryUserFrom(resource, { source, resourceId, objectId, activeSince: own?.activeSince ?? now }),
        groups: memberships(resourceId).map((group) => ({
          ids: [group.id, ...(group.externalId ? [group.externalId] : [])],
          name: group.name,
        })),
      };
      if (!before) {
        const change = changeFor([user], null, policy, user);
        decision.creates.push({
          user,
          resource,
          personId: newId(now.getTime()),
          change,
          decide: (candidates, load) => decideCreate(candidates, load, user, change, policy),
        });
        continue;
      }
      if (!before.deletedAt && same(before.resource, resource)) continue;
      if (isTaken(before.all.person.personId)) continue;
      decision.changes.push({
        kind: before.deletedAt ? 'revive' : 'update',
        expected: {
          resourceId,
          version: before.version,
          personId: before.all.person.personId,
          generation: before.all.person.generation,
        },
        write: { user, resource },
        change: changedBy(before.all, user, policy, now),
        difference: difference(before.deletedAt ? {} : before.resource, resource),
      });
    }

    for (const objectId of new Set(gone)) {
      const before = known(objectId);
      if (!before || before.deletedAt) continue;
      if (isTaken(before.all.person.personId)) continue;
      decision.removals.push({
        expected: {
          resourceId: before.resourceId,
          version: before.version,
          personId: before.all.person.personId,
          generation: before.all.person.generation,
        },
        change: withoutUser(before.all, before.resourceId, policy, now),
        before: before.resource,
      });
    }
    return decision;
  };
}

/** Stored as jsonb, whose keys come back in an order of their own. */
function same(before: Record<string, unknown>, after: Record<string, unknown>): boolean {
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...names].every((name) => JSON.stringify(before[name]) === JSON.stringify(after[name]));
}
