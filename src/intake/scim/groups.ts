/** `/Groups`: membership changes become row changes; a change never reads the members that it does not touch. */

import { UsherError } from '../../errors.ts';
import { newId } from '../../ids.ts';
import type { GroupFields, GroupStore, MemberChanges, StoredGroup } from '../../ports.ts';
import { groupTarget } from './compile-filter.ts';
import type { Asked, Endpoint, Reply } from './endpoint.ts';
import { type Filter, parsePatchPath } from './filter.ts';
import type { ScimLimits } from './limits.ts';
import type { Listing } from './listing.ts';
import { matchesValue } from './match.ts';
import { normaliseResource, type Resource } from './normalise.ts';
import { applyPatch, type Operation, readOperations } from './patch.ts';
import { type Projection, project, readProjection } from './represent.ts';
import { groupSchema, resolvePath, urns } from './schema.ts';
import { checkIfMatch, namesVersion, versionOf } from './version.ts';

export interface GroupsParts {
  store: GroupStore;
  listing: Listing;
  limits: ScimLimits;
}

export function groupsEndpoint({ store, listing, limits }: GroupsParts): Endpoint {
  const answer = (asked: Asked, status: number, group: StoredGroup, projection: Projection): Reply => ({
    status,
    body: representGroup(group, asked.base, projection),
    location: `${asked.base}/Groups/${group.groupId}`,
    version: versionOf(group),
  });
  const mustFind = async (asked: Asked, id: string, withMembers: boolean): Promise<StoredGroup> => {
    const group = await store.findGroup(asked.caller.source, id, withMembers);
    if (!group) throw unknownGroup(id);
    return group;
  };
  const idsOf = (value: unknown): string[] => memberIds(value, limits);

  return {
    list: (asked) => {
      const projection = readProjection(asked.query, groupSchema);
      return listing.answer(
        asked,
        groupSchema,
        groupTarget,
        (query) => store.findGroups(asked.caller.source, query, showsMembers(projection)),
        (every) => store.groupPlaces(asked.caller.source, every),
        (groups) => Promise.resolve(groups.map((group) => representGroup(group, asked.base, projection))),
      );
    },

    async create(asked) {
      const { source, cause } = asked.caller;
      const resource = normaliseGroup(asked.body);
      const group = await store.createGroup(source, newId(), fieldsOf(resource), idsOf(membersIn(asked.body)), cause);
      listing.changed(source, 'added');
      return answer(asked, 201, group, readProjection(asked.query, groupSchema));
    },

    async read(asked, id) {
      const projection = readProjection(asked.query, groupSchema);
      const group = await mustFind(asked, id, showsMembers(projection));
      if (asked.ifNoneMatch !== undefined && namesVersion(asked.ifNoneMatch, group))
        return { status: 304, version: versionOf(group) };
      return answer(asked, 200, group, projection);
    },

    async replace(asked, id) {
      const { source, cause } = asked.caller;
      const fields = fieldsOf(normaliseGroup(asked.body));
      const ids = idsOf(membersIn(asked.body));
      const changed = await store.changeGroup(
        source,
        id,
        async (group, members) => {
          checkIfMatch(asked.ifMatch, group);
          await members.replace(ids);
          return fields;
        },
        cause,
      );
      if (!changed) throw unknownGroup(id);
      const projection = readProjection(asked.query, groupSchema);
      return answer(asked, 200, await mustFind(asked, id, showsMembers(projection)), projection);
    },

    async patch(asked, id) {
      const { source, cause } = asked.caller;
      const operations = readOperations(asked.body, limits.patchOperations);
      const changed = await store.changeGroup(
        source,
        id,
        async (group, members) => {
          checkIfMatch(asked.ifMatch, group);
          return applyToGroup(group, members, operations, idsOf);
        },
        cause,
      );
      if (!changed) throw unknownGroup(id);
      // 204 unless the client asked for the body: a group of fifty thousand is not sent back for one member.
      if (asked.query.attributes === undefined && asked.query.excludedAttributes === undefined)
        return { status: 204, version: versionOf(changed) };
      const projection = readProjection(asked.query, groupSchema);
      return answer(asked, 200, await mustFind(asked, id, showsMembers(projection)), projection);
    },

    async remove(asked, id) {
      const { source, cause } = asked.caller;
      if (!(await store.deleteGroup(source, id, (group) => checkIfMatch(asked.ifMatch, group), cause)))
        throw unknownGroup(id);
      listing.changed(source, 'removed');
      return { status: 204 };
    },
  };
}

const unknownGroup = (id: string): UsherError =>
  new UsherError('not_found', `There is no group ${id.slice(0, 100)} in this source.`);

function normaliseGroup(body: unknown): Resource {
  // Members go their own way, as rows.
  const bare =
    body !== null && typeof body === 'object' && !Array.isArray(body)
      ? Object.fromEntries(Object.entries(body).filter(([key]) => !isMembers(key)))
      : body;
  const resource = normaliseResource(bare, groupSchema);
  checkGroup(resource);
  return resource;
}

function checkGroup(resource: Resource): void {
  if (typeof resource.displayName !== 'string' || resource.displayName.trim() === '')
    throw new UsherError('invalid_value', 'displayName is required and must not be empty.');
}

const isMembers = (key: string): boolean =>
  key.toLowerCase() === 'members' || key.toLowerCase() === `${urns.group}:members`.toLowerCase();

function membersIn(body: unknown): unknown {
  return Object.entries(body as Resource).find(([key]) => isMembers(key))?.[1];
}

const fieldsOf = (resource: Resource): GroupFields => ({
  displayName: String(resource.displayName),
  externalId: typeof resource.externalId === 'string' ? resource.externalId : null,
});

/** `[{ value }]`, one object, plain ids; null and [] are none. */
function memberIds(value: unknown, limits: ScimLimits): string[] {
  if (value === undefined || value === null) return [];
  const entries = Array.isArray(value) ? value : [value];
  if (entries.length > limits.membersPerRequest)
    throw new UsherError('too_many', `More than ${limits.membersPerRequest} members in one request.`);
  return entries
    .filter((entry) => entry !== null)
    .map((entry) => {
      const id =
        typeof entry === 'string'
          ? entry
          : (Object.entries(entry as Resource).find(([key]) => key.toLowerCase() === 'value')?.[1] ?? null);
      if (typeof id !== 'string' || id === '')
        throw new UsherError('invalid_value', 'members: every member needs a value that is a text.');
      return id.toLowerCase();
    });
}

const mostLooks = 5;

/** Operations in their order: those on members as row changes, the rest by the PATCH engine. */
async function applyToGroup(
  group: StoredGroup,
  members: MemberChanges,
  operations: Operation[],
  idsOf: (value: unknown) => string[],
): Promise<GroupFields> {
  let looks = 0;
  const bounded: MemberChanges = {
    ...members,
    list() {
      // A filter that names nobody reads the whole group; not over and over in one request.
      if (++looks > mostLooks)
        throw new UsherError(
          'too_many',
          `More than ${mostLooks} filters in one PATCH that do not name members by value.`,
        );
      return members.list();
    },
  };
  let resource: Resource = {
    displayName: group.displayName,
    ...(group.externalId ? { externalId: group.externalId } : {}),
  };
  for (const operation of operations) {
    if (operation.path === null) {
      const value = operation.value;
      if (operation.op !== 'remove' && value !== null && typeof value === 'object' && !Array.isArray(value)) {
        for (const [key, entry] of Object.entries(value))
          if (isMembers(key))
            await (operation.op === 'add' ? members.add(idsOf(entry)) : members.replace(idsOf(entry)));
        const rest = Object.fromEntries(Object.entries(value).filter(([key]) => !isMembers(key)));
        resource = applyPatch(resource, [{ ...operation, value: rest }], groupSchema).resource;
        continue;
      }
    } else {
      const target = parsePatchPath(operation.path, groupSchema);
      if (target.path.attribute?.name === 'members') {
        if (target.path.sub && !target.filter)
          throw new UsherError('mutability', 'A member is added or removed, not changed.');
        await changeMembers(bounded, operation, target.filter, idsOf);
        continue;
      }
    }
    resource = applyPatch(resource, [operation], groupSchema).resource;
  }
  checkGroup(resource);
  return fieldsOf(resource);
}

async function changeMembers(
  members: MemberChanges,
  { op, value }: Operation,
  filter: Filter | null,
  idsOf: (value: unknown) => string[],
): Promise<void> {
  if (filter) {
    if (op !== 'remove') throw new UsherError('mutability', 'A member is added or removed, not changed.');
    const ids =
      idsNamedBy(filter) ??
      (await members.list()).filter((member) => matchesValue(member, filter)).map((member) => member.value);
    await members.remove(ids);
    return;
  }
  if (op === 'add') await members.add(idsOf(value));
  else if (op === 'replace') await members.replace(idsOf(value));
  // Entra ID names the members to remove in `value`; only a remove without any value means all of them.
  else if (value === undefined || value === null) await members.removeAll();
  else await members.remove(idsOf(value));
}

/** `value eq "a" or value eq "b"` names its members; any other filter has to look at them. */
function idsNamedBy(filter: Filter): string[] | null {
  if (
    filter.kind === 'compare' &&
    filter.operator === 'eq' &&
    filter.path.attribute?.name === 'value' &&
    typeof filter.value === 'string'
  )
    return [filter.value.toLowerCase()];
  if (filter.kind !== 'or') return null;
  const parts = filter.terms.map(idsNamedBy);
  return parts.every((part) => part !== null) ? parts.flat() : null;
}

/** Whether the answer shows members at all: if not, they are not read. */
function showsMembers(projection: Projection): boolean {
  const names = (list: Projection['exclude']) =>
    list.some((path) => path.attribute?.name === 'members' && !path.extension);
  if (projection.include) return names(projection.include);
  return !projection.exclude.some(
    (path) => path.attribute === resolvePath(groupSchema, 'members')?.attribute && path.sub === null,
  );
}

function representGroup(group: StoredGroup, base: string, projection: Projection): Resource {
  return project(
    {
      schemas: [urns.group],
      id: group.groupId,
      ...(group.externalId ? { externalId: group.externalId } : {}),
      displayName: group.displayName,
      ...(group.members && group.members.length > 0
        ? {
            members: group.members.map((member) => ({
              value: member.value,
              $ref: `${base}/${member.type}s/${member.value}`,
              type: member.type,
              ...(member.display ? { display: member.display } : {}),
            })),
          }
        : {}),
      meta: {
        resourceType: 'Group',
        created: group.createdAt.toISOString(),
        lastModified: group.lastModifiedAt.toISOString(),
        location: `${base}/Groups/${group.groupId}`,
        version: versionOf(group),
      },
    },
    projection,
  );
}
