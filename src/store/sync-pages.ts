/** A page of the tenant's users or groups, on a connection inside a transaction: what is known of them, what was decided, and the writing. */
import type pg from 'pg';
import { foldAddress } from '../domain/email-address.ts';
import { UsherError } from '../errors.ts';
import type { Cause, GroupPage, SyncFence, UserPage, UserPageDecision } from '../ports.ts';
import { createCorrelated, removeUser, writeUser } from './intake.ts';
import { membershipsFrom, type PersonRow, type UserRow, withSourcesFrom } from './rows.ts';
import { insertStrangers, strangersOf } from './strangers.ts';

export async function storeUserPage(
  client: pg.PoolClient,
  fence: SyncFence,
  page: UserPage,
  decide: (known: Parameters<UserPageDecision>[0]) => ReturnType<UserPageDecision>,
  cause: Cause,
) {
  const { source } = fence;
  // By the key that follows from the tenant's own, tombstones too. The fence in the inner query keeps the planner at one look-up each.
  const known = await client.query<UserRow & { person: PersonRow }>({
    name: 'sync-known-users',
    text: `select d.*, to_jsonb(p) - 'conditions' as person
           from unnest($1::uuid[]) as wanted (id)
           cross join lateral (select * from directory_users where resource_id = wanted.id offset 0) as d
           cross join lateral (select * from people where person_id = d.person_id offset 0) as p`,
    values: [[...page.items, ...page.removed].map((item) => item.resourceId)],
  });
  const byExternalId = new Map(known.rows.map((row) => [row.external_id ?? '', row]));
  const personIds = [...new Set(known.rows.map((row) => row.person_id))];
  const others = new Map<string, UserRow[]>();
  if (personIds.length > 0) {
    const { rows } = await client.query<UserRow>({
      name: 'sync-users-of-people',
      text: 'select d.* from directory_users d where d.person_id = any ($1::uuid[])',
      values: [personIds],
    });
    for (const row of rows) others.set(row.person_id, [...(others.get(row.person_id) ?? []), row]);
  }
  const memberships = await membershipsFrom(client, [
    ...page.items.map((item) => item.resourceId),
    ...[...others.values()].flat().map((row) => row.resource_id),
  ]);
  const decided = decide({
    memberships: (resourceId) => memberships.get(resourceId) ?? [],
    known: (externalId) => {
      const row = byExternalId.get(externalId);
      if (!row) return null;
      return {
        resourceId: row.resource_id,
        version: row.version,
        resource: row.resource,
        deletedAt: row.deleted_at === null ? null : new Date(row.deleted_at),
        all: withSourcesFrom({
          person: row.person,
          users: (others.get(row.person_id) ?? []).map((user) => ({
            ...user,
            memberships: memberships.get(user.resource_id) ?? null,
          })),
        }),
      };
    },
  });

  const touched: { personId: string; lifecycle: string }[] = [];
  // In the tenant a name has one holder: whoever else we know by it was renamed or deleted, and their own change is on its way.
  const names = [...decided.creates.map(({ user }) => user), ...decided.changes.map(({ write }) => write.user)];
  if (names.length > 0)
    await client.query({
      name: 'sync-free-names',
      text: `update directory_users d set user_name_key = d.resource_id::text
             from unnest($2::text[], $3::uuid[]) as wanted (key, resource_id)
             where d.user_name_key = wanted.key and d.source = $1 and d.deleted_at is null and d.resource_id <> wanted.resource_id`,
      values: [source, names.map((user) => foldAddress(user.userName)), names.map((user) => user.resourceId)],
    });
  for (const { expected, change, before } of decided.removals) {
    if (!(await removeUser(client, expected, change, before, cause, 'stay')))
      throw new UsherError('conflict', 'A user changed at the same time.');
    touched.push({ personId: expected.personId, lifecycle: change.lifecycle });
  }
  for (const { kind, expected, write, change, difference } of decided.changes) {
    const written = await writeUser(client, kind, expected, write, change, difference, cause);
    if (!written) throw new UsherError('conflict', 'A user changed at the same time.');
    touched.push({ personId: expected.personId, lifecycle: change.lifecycle });
  }
  const fresh = await strangersOf(client, source, decided.creates);
  await insertStrangers(client, fresh, { round: page.round, grace: true }, cause);
  for (const { personId, change } of fresh) touched.push({ personId, lifecycle: change.lifecycle });
  const alone = new Set(fresh);
  for (const create of decided.creates.filter((entry) => !alone.has(entry))) {
    const stored = await createCorrelated(client, create, create.decide, cause);
    touched.push({ personId: stored.personId, lifecycle: create.change.lifecycle });
  }
  const before = page.mark ? page.items.filter((item) => byExternalId.has(item.externalId)) : [];
  if (before.length > 0)
    await client.query({
      name: 'sync-mark-users',
      text: 'update directory_users set seen_round = $2 where resource_id = any ($1::uuid[]) and seen_round is distinct from $2',
      values: [before.map((item) => item.resourceId), page.round],
    });
  return { touched, again: decided.again };
}

export async function moveOn(
  client: pg.PoolClient,
  source: string,
  kind: 'users' | 'groups',
  page: { link: string | null; finished: boolean },
): Promise<void> {
  if (page.link === null) return;
  await client.query({
    name: 'sync-move-on',
    text: 'update directory_passes set link = $3, finished = $4 where source = $1 and kind = $2',
    values: [source, kind, page.link, page.finished],
  });
}

export async function storeGroupPage(
  client: pg.PoolClient,
  fence: SyncFence,
  page: GroupPage,
  groupsMatter: boolean,
  cause: Cause,
) {
  const { source } = fence;
  const gone = page.removed;
  if (page.groups.length > 0)
    await client.query({
      name: 'sync-groups',
      text: `
        insert into groups (group_id, source, external_id, display_name, display_key, seen_round)
        select t.group_id, $2, t.external_id, coalesce(t.display_name, t.external_id), lower(coalesce(t.display_name, t.external_id)), $3
        from jsonb_to_recordset($1::jsonb) as t (group_id uuid, external_id text, display_name text)
        on conflict (group_id) do update set
          display_name = coalesce(case when excluded.display_name <> excluded.external_id then excluded.display_name end, groups.display_name),
          display_key = lower(coalesce(case when excluded.display_name <> excluded.external_id then excluded.display_name end, groups.display_name)),
          seen_round = $3, version = groups.version + 1, last_modified_at = now()`,
      values: [
        JSON.stringify(
          page.groups.map((group) => ({
            group_id: group.groupId,
            external_id: group.externalId,
            display_name: group.displayName,
          })),
        ),
        source,
        page.round,
      ],
    });
  const rows = (members: { groupId: string; memberId: string; kind?: string }[]) => JSON.stringify(members);
  const changed: { member_id: string; group_id: string; joined: boolean }[] = [];
  if (page.joined.length > 0) {
    const joined = await client.query<{ group_id: string; member_id: string }>({
      name: 'sync-joined',
      // Only a row that is new counts as joined; one that a full read shows again is merely marked.
      text: `with t as (
               select distinct t."groupId" as group_id, t."memberId" as member_id, t.kind
               from jsonb_to_recordset($1::jsonb) as t ("groupId" uuid, "memberId" uuid, kind text)
             ), marked as (
               update group_members m set seen_round = $2 from t
               where $3::boolean and m.group_id = t.group_id and m.member_id = t.member_id and m.seen_round is distinct from $2
             )
             insert into group_members (group_id, member_id, kind, seen_round) select group_id, member_id, kind, $2 from t
             on conflict do nothing returning group_id, member_id`,
      values: [rows(page.joined), page.round, page.mark],
    });
    changed.push(...joined.rows.map((row) => ({ ...row, joined: true })));
  }
  const left: { group_id: string; member_id: string }[] = [];
  if (page.left.length > 0)
    left.push(
      ...(
        await client.query<{ group_id: string; member_id: string }>({
          name: 'sync-left',
          text: `delete from group_members m using jsonb_to_recordset($1::jsonb) as t ("groupId" uuid, "memberId" uuid)
                 where m.group_id = t."groupId" and m.member_id = t."memberId" returning m.group_id, m.member_id`,
          values: [rows(page.left)],
        })
      ).rows,
    );
  if (gone.length > 0) {
    left.push(
      ...(
        await client.query<{ group_id: string; member_id: string }>({
          name: 'sync-groups-gone',
          text: 'delete from group_members where group_id = any ($1::uuid[]) returning group_id, member_id',
          values: [gone],
        })
      ).rows,
    );
    await client.query({
      name: 'sync-groups-gone-above',
      text: 'delete from group_members where member_id = any ($1::uuid[])',
      values: [gone],
    });
  }
  changed.push(...left.map((row) => ({ ...row, joined: false })));
  const people = changed.length > 0 ? await tellPeople(client, changed, groupsMatter, cause) : [];
  if (gone.length > 0)
    await client.query({
      name: 'sync-groups-delete',
      text: 'delete from groups where group_id = any ($1::uuid[]) and source = $2',
      values: [gone, source],
    });
  await moveOn(client, source, 'groups', page);
  return { people, changes: changed.length };
}

/** History for each person below a changed membership, also through nested groups, and the mark for a new look at their wish. */
export async function tellPeople(
  client: pg.PoolClient,
  changed: { member_id: string; group_id: string; joined: boolean }[],
  groupsMatter: boolean,
  cause: Cause,
): Promise<string[]> {
  const { rows } = await client.query<{ person_id: string }>({
    name: `sync-tell-people-${groupsMatter}`,
    text: `
      with recursive below (member_id, group_id, joined) as (
        select t.member_id, t.group_id, t.joined from jsonb_to_recordset($1::jsonb) as t (member_id uuid, group_id uuid, joined boolean)
        union
        select m.member_id, b.group_id, b.joined from below b join group_members m on m.group_id = b.member_id
      ), told as (
        select distinct d.person_id, b.group_id, b.joined from below b join directory_users d on d.resource_id = b.member_id
      ), h as (
        insert into history (person_id, actor, cause, action, before, after)
        select person_id, $2, $3, case when joined then 'group.joined' else 'group.left' end, null,
          jsonb_build_object('groupId', group_id, 'group', (select display_name from groups g where g.group_id = told.group_id))
        from told
      ), locked as (select person_id from people where person_id in (select person_id from told) order by person_id for update)
      ${
        groupsMatter
          ? `, p as (update people set reconsider = reconsider + 1, next_at = now() where person_id in (select person_id from locked))`
          : ''
      }
      select distinct person_id from told`,
    values: [JSON.stringify(changed), cause.actor, cause.by],
  });
  return rows.map((row) => row.person_id);
}
