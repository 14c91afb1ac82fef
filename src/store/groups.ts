/**
 * Groups with members as rows: adding or removing one costs the same in a group of five and of fifty thousand. Whoever's membership changes is
 * marked for a new look at the wish in the same transaction, so that no acknowledged change is lost.
 */

import type pg from 'pg';
import { UsherError } from '../errors.ts';
import { isUuid } from '../ids.ts';
import type { Cause, GroupStore, Member, MemberChanges, StoredGroup } from '../ports.ts';
import { type Database, repeatable, run } from './database.ts';
import { type Listed, listPage, listPlaces } from './list.ts';

interface GroupRow {
  group_id: string;
  source: string;
  external_id: string | null;
  display_name: string;
  version: number;
  created_at: Date;
  last_modified_at: Date;
  members?: Member[] | null;
}

const groupFrom = (row: GroupRow): StoredGroup => ({
  groupId: row.group_id,
  source: row.source,
  externalId: row.external_id,
  displayName: row.display_name,
  version: row.version,
  createdAt: row.created_at,
  lastModifiedAt: row.last_modified_at,
  members: row.members === undefined ? null : (row.members ?? []),
});

const membersText = `(select jsonb_agg(jsonb_build_object('value', m.member_id, 'type', m.kind, 'display',
  case m.kind when 'User' then coalesce(d.resource ->> 'displayName', d.user_name) else n.display_name end) order by m.member_id)
  from group_members m left join directory_users d on d.resource_id = m.member_id and d.deleted_at is null left join groups n on n.group_id = m.member_id
  where m.group_id = g.group_id and (m.kind <> 'User' or d.resource_id is not null))`;

const foldName = (name: string): string => name.normalize('NFC').toLowerCase();

const listedGroups: Listed = {
  from: 'groups g',
  holds: (parameter) => `g.source = ${parameter}`,
  id: 'g.group_id',
  createdAt: 'g.created_at',
  columns: 'g.*',
};

/** `groupsMatter` says whether any rule of the policy asks for a group; else nobody's wish depends on one. */
export function groupStore({ pool, lists }: Database, groupsMatter: boolean): GroupStore {
  return {
    createGroup: (source, groupId, fields, memberIds, cause) =>
      repeatable(pool, async (client) => {
        const { rows } = await client.query<GroupRow>(
          'insert into groups (group_id, source, external_id, display_name, display_key) values ($1, $2, $3, $4, $5) returning *',
          [groupId, source, fields.externalId, fields.displayName, foldName(fields.displayName)],
        );
        const row = rows[0];
        if (!row) throw new UsherError('internal', 'The insert returned nothing.');
        const touched = new Set<string>();
        await memberChanges(client, groupFrom(row), touched, cause).add(memberIds);
        await mark(client, groupsMatter, touched);
        const made = await client.query<GroupRow>(
          `select g.*, ${membersText} as members from groups g where group_id = $1`,
          [groupId],
        );
        return groupFrom(made.rows[0] ?? row);
      }),

    async findGroup(source, groupId, withMembers) {
      if (!isUuid(groupId)) return null;
      const rows = await run<GroupRow>(
        pool,
        withMembers
          ? {
              name: 'group-with-members',
              text: `select g.*, ${membersText} as members from groups g where group_id = $1 and source = $2`,
            }
          : { name: 'group', text: 'select g.* from groups g where group_id = $1 and source = $2' },
        [groupId, source],
      );
      return rows[0] ? groupFrom(rows[0]) : null;
    },

    findGroups: (source, query, withMembers) =>
      listPage<GroupRow, StoredGroup>(
        lists,
        { ...listedGroups, columns: withMembers ? `g.*, ${membersText} as members` : 'g.*' },
        source,
        query,
        groupFrom,
      ),

    groupPlaces: (source, every) => listPlaces(lists, listedGroups, source, every),

    changeGroup: (source, groupId, edit, cause) =>
      repeatable(pool, async (client) => {
        const group = await lockGroup(client, source, groupId);
        if (!group) return null;
        let changes = 0;
        const touched = new Set<string>();
        const counted = counting(memberChanges(client, group, touched, cause), (count) => {
          changes += count;
        });
        const fields = await edit(group, counted);
        const renamed = fields.displayName !== group.displayName || fields.externalId !== group.externalId;
        if (!renamed && changes === 0) return group;
        if (renamed && groupsMatter) {
          const below = await client.query<{ person_id: string }>(membersPeople, [groupId]);
          for (const row of below.rows) touched.add(row.person_id);
        }
        await mark(client, groupsMatter, touched);
        const { rows } = await client.query<GroupRow>(
          `update groups set display_name = $2, display_key = $3, external_id = $4, version = version + 1, last_modified_at = greatest(now(), last_modified_at + interval '1 millisecond')
           where group_id = $1 returning *`,
          [groupId, fields.displayName, foldName(fields.displayName), fields.externalId],
        );
        return rows[0] ? groupFrom(rows[0]) : null;
      }),

    deleteGroup: (source, groupId, check, cause) =>
      repeatable(pool, async (client) => {
        const group = await lockGroup(client, source, groupId);
        if (!group) return false;
        check(group);
        const touched = new Set<string>();
        await memberChanges(client, group, touched, cause).removeAll();
        await mark(client, groupsMatter, touched);
        await client.query('delete from group_members where member_id = $1', [groupId]);
        await client.query('delete from groups where group_id = $1', [groupId]);
        return true;
      }),
  };
}

/** Once, at the end and in one order, so that two changes of groups with the same people do not lock each other out. */
async function mark(client: pg.PoolClient, groupsMatter: boolean, people: Set<string>): Promise<void> {
  if (!groupsMatter || people.size === 0) return;
  await client.query(
    `with locked as (select person_id from people where person_id = any ($1::uuid[]) order by person_id for update)
     update people set reconsider = reconsider + 1, next_at = now() where person_id in (select person_id from locked)`,
    [[...people]],
  );
}

const membersPeople =
  'select d.person_id from group_members m join directory_users d on d.resource_id = m.member_id where m.group_id = $1';

async function lockGroup(client: pg.PoolClient, source: string, groupId: string): Promise<StoredGroup | null> {
  if (!isUuid(groupId)) return null;
  const { rows } = await client.query<GroupRow>(
    'select g.* from groups g where group_id = $1 and source = $2 for update',
    [groupId, source],
  );
  return rows[0] ? groupFrom(rows[0]) : null;
}

function counting(changes: MemberChanges, count: (touched: number) => void): MemberChanges {
  const counted =
    <A extends unknown[]>(change: (...given: A) => Promise<number>) =>
    async (...given: A): Promise<number> => {
      const touched = await change(...given);
      count(touched);
      return touched;
    };
  return {
    add: counted(changes.add),
    remove: counted(changes.remove),
    removeAll: counted(changes.removeAll),
    replace: counted(changes.replace),
    list: changes.list,
  };
}

function memberChanges(client: pg.PoolClient, group: StoredGroup, touched: Set<string>, cause: Cause): MemberChanges {
  /** What every change leaves behind: a history row per person, here or below; the marks for a new look are set at the end. */
  const touch = async (change: string, parameters: unknown[], action: string): Promise<number> => {
    const base = parameters.length;
    const { rows } = await client.query<{ touched: string; people: string[] | null }>(
      `with recursive changed as (${change}),
       -- A changed group stands for everybody below it.
       below (member_id) as (select member_id from changed union select m.member_id from below b join group_members m on m.group_id = b.member_id),
       persons as (select distinct d.person_id from below b join directory_users d on d.resource_id = b.member_id),
       h as (insert into history (person_id, actor, cause, action, before, after) select person_id, $${base + 1}, $${base + 2}, $${base + 3}, null, $${base + 4}::jsonb from persons)
       select (select count(*) from changed) as touched, (select array_agg(person_id) from persons) as people`,
      [
        ...parameters,
        cause.actor,
        cause.by,
        action,
        JSON.stringify({ group: group.displayName, groupId: group.groupId }),
      ],
    );
    for (const personId of rows[0]?.people ?? []) touched.add(personId);
    return Number(rows[0]?.touched ?? 0);
  };
  const known = async (ids: string[]): Promise<{ id: string; kind: 'User' | 'Group' }[]> => {
    const wanted = [...new Set(ids.map((id) => id.toLowerCase()))];
    const { rows } = await client.query<{ id: string; kind: 'User' | 'Group' }>(
      `select resource_id as id, 'User' as kind from directory_users where resource_id = any($1::uuid[]) and source = $2 and deleted_at is null
       union all select group_id, 'Group' from groups where group_id = any($1::uuid[]) and source = $2`,
      [wanted.filter(isUuid), group.source],
    );
    const there = new Set(rows.map((row) => row.id));
    const stranger = wanted.find((id) => !there.has(id));
    if (stranger !== undefined)
      throw new UsherError('invalid_value', `members: «${stranger.slice(0, 100)}» is no user or group of this source.`);
    if (there.has(group.groupId))
      throw new UsherError('invalid_value', 'members: a group can not be a member of itself.');
    return rows;
  };
  const insert = (rows: { id: string; kind: string }[]) =>
    rows.length === 0
      ? Promise.resolve(0)
      : touch(
          `insert into group_members (group_id, member_id, kind) select $1, t.id, t.kind from unnest($2::uuid[], $3::text[]) as t (id, kind) on conflict do nothing returning member_id`,
          [group.groupId, rows.map((row) => row.id), rows.map((row) => row.kind)],
          'group.joined',
        );
  return {
    add: async (ids) => (ids.length === 0 ? 0 : insert(await known(ids))),
    remove: (ids) =>
      touch(
        'delete from group_members where group_id = $1 and member_id = any($2::uuid[]) returning member_id',
        [group.groupId, ids.filter(isUuid)],
        'group.left',
      ),
    removeAll: () =>
      touch('delete from group_members where group_id = $1 returning member_id', [group.groupId], 'group.left'),
    async replace(ids) {
      const rows = ids.length === 0 ? [] : await known(ids);
      const left = await touch(
        'delete from group_members where group_id = $1 and not (member_id = any($2::uuid[])) returning member_id',
        [group.groupId, rows.map((row) => row.id)],
        'group.left',
      );
      return left + (await insert(rows));
    },
    async list() {
      const { rows } = await client.query<{ members: Member[] | null }>(
        `select ${membersText} as members from groups g where group_id = $1`,
        [group.groupId],
      );
      return rows[0]?.members ?? [];
    },
  };
}
