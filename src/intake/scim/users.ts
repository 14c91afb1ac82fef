/** `/Users`. */

import { conditionTypes } from '../../domain/conditions.ts';
import { UsherError } from '../../errors.ts';
import { newId } from '../../ids.ts';
import type { IntakeStore, KnownPerson, StoredUser } from '../../ports.ts';
import type { Intake } from '../record-change.ts';
import { userTarget } from './compile-filter.ts';
import type { Asked, Endpoint, Reply } from './endpoint.ts';
import type { ScimLimits } from './limits.ts';
import type { Listing } from './listing.ts';
import { directoryUserFrom } from './mapping.ts';
import { checkUser, normaliseResource, type Resource, sameValues } from './normalise.ts';
import { applyPatch, readOperations } from './patch.ts';
import { type Projection, readProjection, representUser } from './represent.ts';
import { urns, userSchema } from './schema.ts';
import { checkIfMatch, namesVersion, versionOf } from './version.ts';

export interface UsersParts {
  store: IntakeStore;
  intake: Intake;
  listing: Listing;
  limits: ScimLimits;
  now: () => Date;
}

export function usersEndpoint({ store, intake, listing, limits, now }: UsersParts): Endpoint {
  /** The conditions stand outside of what is stored: only who asks for them by name pays for them. */
  const represent = async (users: StoredUser[], base: string, projection: Projection): Promise<Resource[]> => {
    const asks = projection.include?.some(
      (path) => path.extension === urns.usher && (path.attribute === null || path.attribute.returned === 'request'),
    );
    const behind = asks ? await store.peopleBehind(users.map((user) => user.personId)) : null;
    return users.map((user) =>
      representUser(user, base, projection, behind ? statusOf(behind.get(user.personId)) : null),
    );
  };

  const answer = async (asked: Asked, status: number, stored: StoredUser): Promise<Reply> => {
    const [body] = await represent([stored], asked.base, readProjection(asked.query, userSchema));
    return {
      status,
      ...(body ? { body } : {}),
      location: `${asked.base}/Users/${stored.resourceId}`,
      version: versionOf(stored),
    };
  };

  /** The same resource back means: nothing to write, and nothing moves. */
  const change = async (asked: Asked, id: string, edit: (before: Resource) => Resource): Promise<StoredUser> => {
    const { source, cause } = asked.caller;
    const resourceId = id.toLowerCase();
    const stored = await intake.change(
      source,
      resourceId,
      (before) => {
        checkIfMatch(asked.ifMatch, before);
        const resource = edit(before.resource);
        if (resource === before.resource || sameValues(resource, before.resource)) return 'unchanged';
        return {
          user: directoryUserFrom(resource, { source, resourceId, activeSince: now() }),
          resource,
        };
      },
      cause,
    );
    if (!stored) throw unknownUser(id);
    return stored;
  };

  return {
    list: (asked) => {
      const projection = readProjection(asked.query, userSchema);
      return listing.answer(
        asked,
        userSchema,
        userTarget,
        (query) => store.findUsers(asked.caller.source, query),
        (every) => store.userPlaces(asked.caller.source, every),
        (users) => represent(users, asked.base, projection),
      );
    },

    async create(asked) {
      const { source, cause } = asked.caller;
      const resource = normaliseResource(asked.body, userSchema);
      checkUser(resource);
      const user = directoryUserFrom(resource, { source, resourceId: newId(), activeSince: now() });
      const stored = await intake.create(user, resource, cause);
      listing.changed(source, 'added');
      return answer(asked, 201, stored);
    },

    async read(asked, id) {
      const stored = await store.findUser(asked.caller.source, id);
      if (!stored) throw unknownUser(id);
      if (asked.ifNoneMatch !== undefined && namesVersion(asked.ifNoneMatch, stored))
        return { status: 304, version: versionOf(stored) };
      return answer(asked, 200, stored);
    },

    async replace(asked, id) {
      const resource = normaliseResource(asked.body, userSchema);
      checkUser(resource);
      return answer(asked, 200, await change(asked, id, () => resource));
    },

    async patch(asked, id) {
      const operations = readOperations(asked.body, limits.patchOperations);
      const stored = await change(asked, id, (before) => {
        const { resource, changed } = applyPatch(before, operations, userSchema);
        if (!changed) return before;
        checkUser(resource);
        return resource;
      });
      return answer(asked, 200, stored);
    },

    async remove(asked, id) {
      const { source, cause } = asked.caller;
      if (!(await intake.remove(source, id.toLowerCase(), (before) => checkIfMatch(asked.ifMatch, before), cause)))
        throw unknownUser(id);
      listing.changed(source, 'removed');
      return { status: 204 };
    },
  };
}

const unknownUser = (id: string): UsherError =>
  new UsherError('not_found', `There is no user ${id.slice(0, 100)} in this source.`);

function statusOf(known: KnownPerson | undefined): Resource | null {
  if (!known) return null;
  return {
    ready: known.ready,
    conditions: conditionTypes.map((type) => {
      const { status, reason, message, owner } = known.conditions[type];
      return { type, status, ...(reason ? { reason } : {}), message, owner };
    }),
  };
}
