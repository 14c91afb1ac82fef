/** Rows as values of the domain, and back. Dates inside jsonb are ISO text; here they become Dates. */
import type pg from 'pg';
import { type Condition, type Conditions, conditionTypes, freshConditions } from '../domain/conditions.ts';
import type { DirectoryUser, HandedOver, Kept, Leave, Lifecycle, Person, Wish } from '../domain/person.ts';
import type { HistoryEntry, KnownPerson, PersonWithSources, ShownPerson, StoredUser } from '../ports.ts';

export interface PersonRow {
  person_id: string;
  lifecycle: Lifecycle;
  generation: string;
  wish: Wish | null;
  leave: Leave | null;
  leaving_since: Date | string | null;
  suspended_at: Date | string | null;
  ambiguous_with: string[];
  account_user_id: string | null;
  /** The key in an account that is somebody else's product; then there is no `account_user_id`. */
  vendor_user_id: string | null;
  account_user_origin: 'created' | 'adopted' | null;
  /** Absent where a statement does not ask for it: only steps do. */
  kept?: Kept;
  handed_over?: HandedOver[];
  taken_seats?: string[];
  unrecorded?: HistoryEntry[];
  wished_at: Date | string;
  created_at: Date | string;
  conditions: Record<string, unknown>;
  ready: boolean;
  reconsider: number;
  source: string;
  external_id: string | null;
  user_name: string;
  display_name: string | null;
  email: string | null;
  active: boolean;
}

const date = (value: Date | string | null): Date | null => (value === null ? null : new Date(value));

export function personFrom(row: PersonRow): Person {
  return {
    personId: row.person_id,
    lifecycle: row.lifecycle,
    generation: Number(row.generation),
    wish: row.wish,
    leave: row.leave,
    leavingSince: date(row.leaving_since),
    suspendedAt: date(row.suspended_at),
    ambiguousWith: row.ambiguous_with,
    accountUserId: row.vendor_user_id ?? row.account_user_id,
    accountUserOrigin: row.account_user_origin,
    kept: row.kept ?? {},
    handedOver: row.handed_over ?? [],
    takenSeats: row.taken_seats ?? [],
    wishedAt: new Date(row.wished_at),
    createdAt: new Date(row.created_at),
  };
}

/** What is not stored of a condition is what a fresh one says: a create writes four short rows' worth. */
export function conditionsFrom(stored: Record<string, unknown>, generation: number): Conditions {
  const fresh = freshConditions(generation, new Date(0));
  const read = (type: (typeof conditionTypes)[number]): Condition => {
    const condition = { ...fresh[type], ...(stored[type] as Partial<Condition> | undefined) };
    return {
      ...condition,
      since: new Date(condition.since),
      checkedAt: date(condition.checkedAt),
      nextCheckAt: date(condition.nextCheckAt),
    };
  };
  return Object.fromEntries(conditionTypes.map((type) => [type, read(type)])) as Conditions;
}

export function compactFresh(now: Date): Record<string, unknown> {
  return Object.fromEntries(
    conditionTypes.map((type) => [type, { status: 'unknown', reason: 'not_checked_yet', generation: 1, since: now }]),
  );
}

export function knownFrom(row: PersonRow): KnownPerson {
  return {
    person: personFrom(row),
    conditions: conditionsFrom(row.conditions, Number(row.generation)),
    ready: row.ready,
    reconsider: row.reconsider,
    unrecorded: row.unrecorded ?? [],
  };
}

export function shownFrom(row: PersonRow): ShownPerson {
  return {
    known: knownFrom(row),
    source: row.source,
    externalId: row.external_id,
    userName: row.user_name,
    displayName: row.display_name,
    email: row.email,
    active: row.active,
  };
}

/** A group of the user's own source, as the membership subquery gives it. */
export interface Membership {
  id: string;
  externalId: string | null;
  name: string;
  /** False when it is only through another group. */
  direct: boolean;
}

export interface UserRow {
  resource_id: string;
  source: string;
  person_id: string;
  external_id: string | null;
  user_name: string;
  active: boolean;
  resource: Record<string, unknown>;
  version: number;
  created_at: Date | string;
  last_modified_at: Date | string;
  memberships: Membership[] | null;
  described: Record<string, unknown>;
  active_since: Date | string;
  deleted_at: Date | string | null;
}

export function storedFrom(row: UserRow): StoredUser {
  return {
    resourceId: row.resource_id,
    source: row.source,
    personId: row.person_id,
    externalId: row.external_id,
    userName: row.user_name,
    active: row.active,
    resource: row.resource,
    groups: (row.memberships ?? [])
      .filter((group) => group.direct)
      .map((group) => ({ value: group.id, display: group.name })),
    version: row.version,
    createdAt: new Date(row.created_at),
    lastModifiedAt: new Date(row.last_modified_at),
  };
}

export function directoryUserFrom(row: UserRow): DirectoryUser {
  return {
    ...(row.described as unknown as DirectoryUser),
    source: row.source,
    resourceId: row.resource_id,
    externalId: row.external_id,
    userName: row.user_name,
    active: row.active,
    groups: groupsFrom(row.memberships),
    activeSince: new Date(row.active_since),
    deletedAt: date(row.deleted_at),
  };
}

export const groupsFrom = (memberships: Membership[] | null): DirectoryUser['groups'] =>
  (memberships ?? []).map((group) => ({
    ids: [group.id, ...(group.externalId ? [group.externalId] : [])],
    name: group.name,
  }));

/** What of a directory user has no column of its own. */
export function describedBy(user: DirectoryUser): Record<string, unknown> {
  const {
    source: _source,
    resourceId: _id,
    externalId: _external,
    userName: _name,
    active: _active,
    activeSince: _since,
    deletedAt: _deleted,
    groups: _groups,
    ...rest
  } = user;
  return rest;
}

/** The groups that name this user, by the index on members. `user` is the alias of directory_users. */
export function membershipsOf(user: string): string {
  return `(select jsonb_agg(jsonb_build_object('id', mg.group_id, 'externalId', mg.external_id, 'name', mg.display_name, 'direct', true) order by mg.display_name) from group_members mm join groups mg using (group_id) where mm.member_id = ${user}.resource_id)`;
}

/** Those, and the groups that hold these: what a rule of the policy asks for. */
export function allMembershipsOf(user: string): string {
  return `(with recursive up (group_id, direct) as (
      select mm.group_id, true from group_members mm where mm.member_id = ${user}.resource_id
      union select above.group_id, false from up join group_members above on above.member_id = up.group_id
    )
    select jsonb_agg(jsonb_build_object('id', mg.group_id, 'externalId', mg.external_id, 'name', mg.display_name, 'direct', own.direct) order by mg.display_name)
    from (select group_id, bool_or(direct) as direct from up group by group_id) as own join groups mg using (group_id))`;
}

/** The same for many users at once. */
export async function membershipsFrom(
  client: pg.PoolClient,
  resourceIds: string[],
): Promise<Map<string, Membership[]>> {
  const { rows } = await client.query<{ resource_id: string; memberships: Membership[] | null }>({
    name: 'memberships-of-many',
    text: `select u.resource_id, ${allMembershipsOf('u')} as memberships
           from (select distinct member_id as resource_id from group_members where member_id = any ($1::uuid[])) as u`,
    values: [resourceIds],
  });
  return new Map(rows.map((row) => [row.resource_id, row.memberships ?? []]));
}

/** A person's users with their groups, as one json list. `person` is the alias of people. */
export function usersOf(person: string): string {
  return `(select jsonb_agg(to_jsonb(d) || jsonb_build_object('memberships', ${allMembershipsOf('d')})) from directory_users d where d.person_id = ${person}.person_id)`;
}

/** A person's row without the conditions, which no change of a source looks at. */
export function personOf(person: string): string {
  return `to_jsonb(${person}) - 'conditions'`;
}

export function withSourcesFrom(row: { person: PersonRow; users: UserRow[] | null }): PersonWithSources {
  return {
    person: personFrom(row.person),
    reconsider: row.person.reconsider,
    users: (row.users ?? []).map(directoryUserFrom),
  };
}

/** Under the person's lock. Its statement comes first: a sub-select in one that waits for a row still sees what was before the wait. */
export async function lockedWithSources(client: pg.PoolClient, personId: string) {
  await client.query('select 1 from people where person_id = $1 for update', [personId]);
  const { rows } = await client.query<{ person: PersonRow; users: UserRow[] | null }>(loadWithSources.text, [personId]);
  return rows[0] ? withSourcesFrom(rows[0]) : null;
}

/** One person with what every source says. A caller that will write takes the row's lock in a statement before. */
export const loadWithSources = {
  name: 'load-with-sources',
  text: `select ${personOf('p')} as person, ${usersOf('p')} as users from people p where p.person_id = $1`,
};
