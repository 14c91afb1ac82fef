/** Writing what the sources say. Every write is one statement or one transaction: the user, the person and the history together. */

import type pg from 'pg';
import type { Candidate } from '../domain/correlate.ts';
import { foldAddress } from '../domain/email-address.ts';
import type { DirectoryUser } from '../domain/person.ts';
import { UsherError } from '../errors.ts';
import { isUuid } from '../ids.ts';
import type { Cause, IntakeStore, PersonChange, StoredUser, UserToWrite } from '../ports.ts';
import { commit, type Database, type Named, repeatable, run } from './database.ts';
import { type Listed, listPage, listPlaces } from './list.ts';
import {
  allMembershipsOf,
  compactFresh,
  describedBy,
  knownFrom,
  lockedWithSources,
  membershipsOf,
  type PersonRow,
  storedFrom,
  type UserRow,
  withSourcesFrom,
} from './rows.ts';
import { insertStrangers, strangersOf } from './strangers.ts';

/** The sweeper's grace for a fresh wish: the hint that follows the commit normally comes first. */
export const hintGrace = `interval '15 seconds'`;

const insertUser = `insert into directory_users (resource_id, source, person_id, external_id, user_name, user_name_key, active, entra_object_id, addresses, described, resource, display_key)`;

/** `addresses`: is there one own address, or several? One by one they are looked up by an index, whatever the planner knows of the table. */
const createUnknown = (addresses: 'one' | 'several'): Named => ({
  name: `create-unknown-${addresses}`,
  text: `
with p as (
  insert into people (person_id, lifecycle, wish, conditions, next_at, source, external_id, user_name, display_name, email, active)
  select $1::uuid, $2, $3::jsonb, $4::jsonb, case when $2 = 'wanted' then now() + ${hintGrace} end, $5, $6::text, $7::text, $8::text, $9::text, $10::boolean
  -- The live externalId and userName are kept unique by their indexes; what is looked for here are reasons to correlate.
  where not exists (select 1 from directory_users where source = $5 and external_id = $6::text and deleted_at is not null)
    and not exists (select 1 from directory_users where source = $5 and user_name_key = $11 and deleted_at is not null)
    and not exists (select 1 from directory_users where entra_object_id = $12)
    and not exists (select 1 from directory_users where addresses[1] ${addresses === 'one' ? '= ($13::text[])[1]' : '= any ($13::text[])'})
    -- Counted, not looked for: a plan for «exists» would read the whole table in the hope of an early match.
    and (select count(*) from directory_users where cardinality(addresses) > 1 and addresses && $13::text[]) = 0
  returning person_id
), u as (
  ${insertUser}
  select $14::uuid, $5, p.person_id, $6, $7, $11, $15::boolean, $12, $16::text[], $17::jsonb, $18::jsonb, $22::text from p
  returning version, created_at, last_modified_at
), h as (
  insert into history (person_id, actor, cause, action, before, after) select p.person_id, $19, $20, 'user.received', null, $21::jsonb from p
)
select * from u`,
});
const createUnknownBy = { one: createUnknown('one'), several: createUnknown('several') };

const userColumns = `resource_id, source, person_id, external_id, user_name, active, resource, version, created_at, last_modified_at, ${membershipsOf('directory_users')} as memberships`;

const findUser: Named = {
  name: 'find-user',
  text: `select ${userColumns} from directory_users where resource_id = $1 and source = $2 and deleted_at is null`,
};

const findForChange: Named = {
  name: 'find-user-for-change',
  // Plain columns, one row a user: building json of whole rows cost more than the rest of a change.
  text: `
select p.lifecycle, p.generation, p.wish, p.leave, p.leaving_since, p.suspended_at, p.ambiguous_with, p.account_user_id, p.vendor_user_id, p.account_user_origin,
  p.wished_at, p.created_at as person_created_at, p.reconsider,
  d.resource_id, d.source, d.person_id, d.external_id, d.user_name, d.active, d.resource, d.version, d.created_at, d.last_modified_at,
  d.described, d.active_since, d.deleted_at, ${allMembershipsOf('d')} as memberships
from directory_users u join people p using (person_id) join directory_users d on d.person_id = p.person_id
where u.resource_id = $1 and u.source = $2 and u.deleted_at is null`,
};

/** Sets a person to what a change means for them. $1 personId, $2 expected generation, $3 lifecycle, $4 wish, $5 leave, $6 new generation?, $7.. shown. */
const changePersonText = `
update people set
  lifecycle = $3,
  account_fence = account_fence + case when lifecycle <> $3 then 1 else 0 end,
  account_lease_until = case when lifecycle <> $3 then '-infinity' else account_lease_until end,
  wished_at = case when wish is null and $4::jsonb is not null then now() else wished_at end,
  wish = $4::jsonb,
  leave = $5::jsonb,
  generation = generation + case when $6::boolean then 1 else 0 end,
  leaving_since = case when $3 = 'leaving' and lifecycle <> 'leaving' then now() when $3 in ('wanted', 'out_of_scope') then null else leaving_since end,
  suspended_at = case when $3 = 'wanted' then null else suspended_at end,
  ready = case when $6::boolean then false else ready end,
  next_at = case when $6::boolean then now() + ${hintGrace} else next_at end,
  source = $7, external_id = $8, user_name = $9, display_name = $10, email = $11, active = $12
where person_id = $1 and generation = $2`;

const changeUserBy = (kind: 'update' | 'revive'): Named => ({
  name: `${kind}-user`,
  text: `
with u as (
  update directory_users set ${kind === 'revive' ? 'deleted_at = null, ' : ''}external_id = $15, user_name = $16, user_name_key = $17, active = $18, entra_object_id = $19, addresses = $20::text[],
    described = $21::jsonb, resource = $22::jsonb, display_key = $27::text, version = version + 1, last_modified_at = greatest(now(), last_modified_at + interval '1 millisecond'),
    active_since = ${kind === 'revive' ? 'now()' : 'case when $18 and not active then now() else active_since end'}
  where resource_id = $13 and version = $14 and deleted_at is ${kind === 'revive' ? 'not ' : ''}null
  returning person_id, version, last_modified_at
), p as (${changePersonText} and exists (select 1 from u) returning person_id),
h as (
  insert into history (person_id, actor, cause, action, before, after) select p.person_id, $23, $24, 'user.${kind === 'revive' ? 'restored' : 'changed'}', $25::jsonb, $26::jsonb from p
)
select u.*, case when exists (select 1 from p) then true else usher_conflict() end as written from u`,
});
const changeUser = { update: changeUserBy('update'), revive: changeUserBy('revive') };

/** A change that means nothing for the person: the same, without writing the person's row. */
const updateUserOnly: Named = {
  name: 'update-user-only',
  text: `
with p as (select person_id from people where person_id = $1 and generation = $2 for key share),
u as (
  update directory_users set external_id = $5, user_name = $6, user_name_key = $7, active = $8, entra_object_id = $9, addresses = $10::text[],
    described = $11::jsonb, resource = $12::jsonb, display_key = $17::text, version = version + 1, last_modified_at = greatest(now(), last_modified_at + interval '1 millisecond'),
    active_since = case when $8 and not active then now() else active_since end
  where resource_id = $3 and version = $4 and deleted_at is null and exists (select 1 from p)
  returning person_id, version, last_modified_at
), h as (
  insert into history (person_id, actor, cause, action, before, after) select u.person_id, $13, $14, 'user.changed', $15::jsonb, $16::jsonb from u
)
select * from u`,
};

/** `stay`: a user of the tenant who is deleted softly stays a member of the groups, and is one again when restored. */
const deleteUserBy = (groups: 'leave' | 'stay'): Named => ({
  name: `delete-user-${groups}`,
  text: `
with u as (
  update directory_users set deleted_at = now(), version = version + 1, last_modified_at = now()
  where resource_id = $13 and version = $14 and deleted_at is null
  returning resource_id
),${groups === 'leave' ? ' g as (delete from group_members where member_id in (select resource_id from u)),' : ''}
p as (${changePersonText} and exists (select 1 from u) returning person_id),
h as (
  insert into history (person_id, actor, cause, action, before, after) select p.person_id, $15, $16, 'user.deleted', $17::jsonb, null from p
)
select u.*, case when exists (select 1 from p) then true else usher_conflict() end as written from u`,
});
const deleteUser = { leave: deleteUserBy('leave'), stay: deleteUserBy('stay') };

function changeValues(personId: string, generation: number, change: PersonChange): unknown[] {
  const shown = change.shown;
  return [
    personId,
    generation,
    change.lifecycle,
    json(change.wish),
    json(change.leave),
    change.newGeneration,
    shown.source,
    shown.externalId,
    shown.userName,
    shown.displayName,
    shown.email,
    shown.active,
  ];
}

/** external_id to resource, in the order of the statements that write them. */
export const ownColumns = ({ user, resource }: UserToWrite): unknown[] => [
  user.externalId,
  user.userName,
  foldAddress(user.userName),
  user.active,
  user.entraObjectId,
  user.addresses,
  json(describedBy(user)),
  json(resource),
];

/** As filters compare it: the attribute displayName, not what stands in for it. */
const displayKey = ({ displayName }: Record<string, unknown>): string | null =>
  typeof displayName === 'string' ? foldAddress(displayName) : null;

export const json = (value: unknown): string | null =>
  value === null || value === undefined ? null : JSON.stringify(value);

const listedUsers: Listed = {
  from: 'directory_users u',
  holds: (parameter) => `u.source = ${parameter} and u.deleted_at is null`,
  id: 'u.resource_id',
  createdAt: 'u.created_at',
  columns: `u.resource_id, u.source, u.person_id, u.external_id, u.user_name, u.active, u.resource, u.version, u.created_at, u.last_modified_at, ${membershipsOf('u')} as memberships`,
};

export function intakeStore(database: Database): IntakeStore {
  const { pool, lists, reads } = database;
  const commits: On = { run: (statement, values) => commit(database, statement, values) };
  return {
    async createUnknown(write, personId, change, cause, ownAddresses, others) {
      const { user, resource } = write;
      const shown = change.shown;
      const statement = createUnknownBy[ownAddresses.length === 1 ? 'one' : 'several'];
      const values = [
        personId,
        change.lifecycle,
        json(change.wish),
        json(compactFresh(new Date())),
        shown.source,
        shown.externalId,
        shown.userName,
        shown.displayName,
        shown.email,
        shown.active,
        foldAddress(user.userName),
        user.entraObjectId,
        ownAddresses,
        user.resourceId,
        user.active,
        user.addresses,
        json(describedBy(user)),
        json(resource),
        cause.actor,
        cause.by,
        json(resource),
        displayKey(resource),
      ];
      const rows =
        others === 'none'
          ? await commit<UserRow>(database, statement, values)
          : await repeatable(pool, async (client) => {
              await lockKeys(client, user);
              return run<UserRow>(client, statement, values);
            });
      const row = rows[0];
      if (!row) return null;
      return {
        resourceId: user.resourceId,
        source: user.source,
        personId,
        externalId: user.externalId,
        userName: user.userName,
        active: user.active,
        resource,
        groups: [],
        version: row.version,
        createdAt: new Date(row.created_at),
        lastModifiedAt: new Date(row.last_modified_at),
      };
    },

    createCorrelated: (write, decide, cause) =>
      repeatable(pool, (client) => createCorrelated(client, write, decide, cause)),

    createStrangers: (source, strangers, cause) =>
      repeatable(pool, async (client) => {
        const fresh = await strangersOf(client, source, strangers);
        await insertStrangers(client, fresh, { round: null, grace: false }, cause);
        return new Set(fresh.map(({ user }) => user.resourceId));
      }),

    async findUser(source, resourceId) {
      if (!isUuid(resourceId)) return null;
      const rows = await run<UserRow>(reads, findUser, [resourceId, source]);
      return rows[0] ? storedFrom(rows[0]) : null;
    },

    findUsers: (source, query) => listPage<UserRow, StoredUser>(lists, listedUsers, source, query, storedFrom),

    userPlaces: (source, every) => listPlaces(lists, listedUsers, source, every),

    async peopleBehind(personIds) {
      const rows = await run<PersonRow>(
        pool,
        { name: 'people-behind', text: 'select * from people where person_id = any($1::uuid[])' },
        [personIds],
      );
      return new Map(rows.map((row) => [row.person_id, knownFrom(row)]));
    },

    async findUserForChange(source, resourceId) {
      if (!isUuid(resourceId)) return null;
      const rows = await run<PersonRow & UserRow & { person_created_at: Date }>(reads, findForChange, [
        resourceId,
        source,
      ]);
      const own = rows.find((row) => row.resource_id === resourceId);
      if (!own) return null;
      return {
        stored: storedFrom(own),
        all: withSourcesFrom({ person: { ...own, created_at: own.person_created_at }, users: rows }),
      };
    },

    updateUser: (expected, write, change, difference, cause) =>
      writeUser(commits, 'update', expected, write, change, difference, cause),

    deleteUser: (expected, change, before, cause) => removeUser(commits, expected, change, before, cause),
  };
}

/** A connection inside a transaction, or the way of single commits. */
type On = Parameters<typeof run>[0] | { run(statement: Named, values: unknown[]): Promise<pg.QueryResultRow[]> };

const on = <R extends pg.QueryResultRow>(where: On, statement: Named, values: unknown[]): Promise<R[]> =>
  'run' in where ? (where.run(statement, values) as Promise<R[]>) : run<R>(where, statement, values);
type Expected = Parameters<IntakeStore['updateUser']>[0];
type Written = Awaited<ReturnType<IntakeStore['updateUser']>>;

const userValues = (
  expected: Expected,
  write: UserToWrite,
  difference: { before: unknown; after: unknown },
  cause: Cause,
): unknown[] => [
  expected.resourceId,
  expected.version,
  ...ownColumns(write),
  cause.actor,
  cause.by,
  json(difference.before),
  json(difference.after),
  displayKey(write.resource),
];

const writtenFrom = (row: UserRow | undefined): Written =>
  row ? { version: row.version, lastModifiedAt: new Date(row.last_modified_at) } : null;

/** On a connection of its own, or inside a transaction. `revive`: a tombstone that the source brings back, the same resource of the same person. */
export async function writeUser(
  where: On,
  kind: 'update' | 'revive',
  expected: Expected,
  write: UserToWrite,
  change: PersonChange,
  difference: { before: unknown; after: unknown },
  cause: Cause,
): Promise<Written> {
  const only = kind === 'update' && change.samePerson;
  const person = only
    ? [expected.personId, expected.generation]
    : changeValues(expected.personId, expected.generation, change);
  try {
    const rows = await on<UserRow>(where, only ? updateUserOnly : changeUser[kind], [
      ...person,
      ...userValues(expected, write, difference, cause),
    ]);
    return writtenFrom(rows[0]);
  } catch (error) {
    return notOnConflict(error, null);
  }
}

export async function removeUser(
  where: On,
  expected: Expected,
  change: PersonChange,
  before: unknown,
  cause: Cause,
  groups: 'leave' | 'stay' = 'leave',
): Promise<boolean> {
  try {
    const rows = await on(where, deleteUser[groups], [
      ...changeValues(expected.personId, expected.generation, change),
      expected.resourceId,
      expected.version,
      cause.actor,
      cause.by,
      json(before),
    ]);
    return rows.length > 0;
  } catch (error) {
    return notOnConflict(error, false);
  }
}

function notOnConflict<T>(error: unknown, instead: T): T {
  if (error instanceof UsherError && error.code === 'conflict') return instead;
  throw error;
}

/** One lock a key, taken in one order: two sources that send the same human at once come one after the other. */
async function lockKeys(client: pg.PoolClient, user: DirectoryUser): Promise<void> {
  const keys = [
    ...user.addresses,
    ...(user.entraObjectId ? [user.entraObjectId.toLowerCase()] : []),
    `${user.source}/${foldAddress(user.userName)}`,
  ];
  await client.query({
    name: 'lock-keys',
    text: 'select pg_advisory_xact_lock(hashtextextended(key, 1)) from unnest($1::text[]) as key',
    values: [[...new Set(keys)].sort()],
  });
}

export async function createCorrelated(
  client: pg.PoolClient,
  write: UserToWrite,
  decide: Parameters<IntakeStore['createCorrelated']>[1],
  cause: Cause,
): Promise<StoredUser> {
  const { user, resource } = write;
  await lockKeys(client, user);
  const candidates = await findCandidates(client, write);
  const decision = await decide(candidates, async (personId) => {
    const found = await lockedWithSources(client, personId);
    // Erased while we waited: nobody is behind that row any more, and who comes is correlated anew.
    if (found && found.person.wish === null && found.users.every((one) => one.userName.startsWith('erased-')))
      throw new UsherError('conflict', 'The person was erased at the same time.');
    return found;
  });

  const shown = decision.change.shown;
  if (decision.kind === 'new') {
    await client.query(
      `insert into people (person_id, lifecycle, wish, leave, conditions, next_at, ambiguous_with, source, external_id, user_name, display_name, email, active)
       values ($1, $2, $3, $4, $5, case when $2 = 'wanted' then now() + ${hintGrace} end, $6, $7, $8, $9, $10, $11, $12)`,
      [
        decision.personId,
        decision.change.lifecycle,
        json(decision.change.wish),
        json(decision.change.leave),
        json(compactFresh(new Date())),
        decision.ambiguousWith,
        shown.source,
        shown.externalId,
        shown.userName,
        shown.displayName,
        shown.email,
        shown.active,
      ],
    );
  } else {
    await client.query(changePersonText, changeValues(decision.personId, decision.generation, decision.change));
  }
  const inserted = await client.query<UserRow>(
    `${insertUser} values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) returning *`,
    [user.resourceId, user.source, decision.personId, ...ownColumns(write), displayKey(resource)],
  );
  await client.query(
    `insert into history (person_id, actor, cause, action, before, after) values ($1, $2, $3, $4, null, $5)`,
    [
      decision.personId,
      cause.actor,
      cause.by,
      decision.kind === 'new' ? 'user.received' : 'user.attached',
      json(resource),
    ],
  );
  const row = inserted.rows[0];
  if (!row) throw new UsherError('internal', 'The insert returned nothing.');
  return storedFrom(row);
}

async function findCandidates(client: pg.PoolClient, write: UserToWrite): Promise<Candidate[]> {
  const { user } = write;
  const { rows } = await client.query<CandidateRow>(
    `select person_id, source, external_id, user_name_key, entra_object_id, addresses, deleted_at from directory_users
     where (source = $1 and external_id = $2) or (source = $1 and user_name_key = $3 and deleted_at is not null) or entra_object_id = $4
       or addresses[1] = any ($5::text[]) or (cardinality(addresses) > 1 and addresses && $5::text[])`,
    [user.source, user.externalId, foldAddress(user.userName), user.entraObjectId, user.addresses],
  );
  if (
    rows.some(
      (row) =>
        row.source === user.source &&
        row.deleted_at === null &&
        row.external_id !== null &&
        row.external_id === user.externalId,
    )
  ) {
    throw new UsherError('uniqueness', 'externalId is used by another user of this source.');
  }
  return candidatesFrom(rows, user);
}

/** What the matching needs of a directory user's row. */
export interface CandidateRow {
  person_id: string;
  source: string;
  external_id: string | null;
  user_name_key: string;
  entra_object_id: string | null;
  addresses: string[];
  deleted_at: Date | null;
}

export function candidatesFrom(rows: CandidateRow[], user: DirectoryUser): Candidate[] {
  const candidates: Candidate[] = [];
  for (const row of rows) {
    const ownSource = rows.filter((other) => other.person_id === row.person_id && other.source === user.source);
    const shared = {
      personId: row.person_id,
      externalIdInSource: ownSource.find((other) => other.external_id !== null)?.external_id ?? null,
      heldBySource: ownSource.some((other) => other.deleted_at === null),
    };
    if (row.source === user.source && row.external_id !== null && row.external_id === user.externalId)
      candidates.push({ ...shared, via: 'externalId' });
    if (row.source === user.source && row.deleted_at !== null && row.user_name_key === foldAddress(user.userName))
      candidates.push({ ...shared, via: 'userName' });
    if (row.entra_object_id !== null && row.entra_object_id === user.entraObjectId)
      candidates.push({ ...shared, via: 'entraObjectId' });
    const address = row.addresses.find((known) => user.addresses.includes(known));
    if (address) candidates.push({ ...shared, via: 'email', address });
  }
  return candidates;
}
