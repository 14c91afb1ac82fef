/** People whom nobody else could be: many of them into the database at once, under the same locks as those who come one by one. */
import type pg from 'pg';
import { foldAddress } from '../domain/email-address.ts';
import type { Cause, Stranger } from '../ports.ts';
import { hintGrace, json, ownColumns } from './intake.ts';
import { compactFresh } from './rows.ts';

/** Those whom nobody else could be: under the same locks as every other way in, so that two sources that send one human at once meet. */
export async function strangersOf<T extends Stranger>(
  client: pg.PoolClient,
  source: string,
  creates: T[],
): Promise<T[]> {
  if (creates.length === 0) return [];
  // A source never correlates with itself, but for whom it deleted; alone, it has nobody to look for and nobody to lock out.
  const alone = await client.query<{ alone: boolean }>({
    name: 'strangers-alone',
    text: `select not exists (select 1 from sources where name <> $1) 
             and (select user_name_key from directory_users where deleted_at is not null order by user_name_key limit 1) is null as alone`,
    values: [source],
  });
  if (alone.rows[0]?.alone) return withoutDoubles(creates, new Set(), source);
  const keys = creates.flatMap(({ user }) => [
    ...user.addresses,
    ...(user.entraObjectId ? [user.entraObjectId.toLowerCase()] : []),
    `${source}/${foldAddress(user.userName)}`,
  ]);
  await client.query({
    name: 'strangers-lock',
    text: 'select pg_advisory_xact_lock(hashtextextended(key, 1)) from (select distinct unnest($1::text[]) as key order by 1) as keys',
    values: [keys],
  });
  const addresses = [...new Set(creates.flatMap(({ user }) => user.addresses))];
  const { rows } = await client.query<{
    addresses: string[];
    entra_object_id: string | null;
    user_name_key: string;
    external_id: string | null;
  }>({
    name: 'strangers-candidates',
    text: `
      select d.* from unnest($1::text[]) as a (key) cross join lateral (select addresses, entra_object_id, user_name_key, external_id from directory_users where addresses[1] = a.key offset 0) as d
      union all select addresses, entra_object_id, user_name_key, external_id from directory_users where cardinality(addresses) > 1 and addresses && $1::text[]
      union all select d.* from unnest($2::text[]) as e (key) cross join lateral (select addresses, entra_object_id, user_name_key, external_id from directory_users where entra_object_id = e.key offset 0) as d
      union all select d.* from unnest($3::text[]) as n (key) cross join lateral (select addresses, entra_object_id, user_name_key, external_id from directory_users where user_name_key = n.key and source = $4 and deleted_at is null offset 0) as d
      union all select d.* from unnest($3::text[]) as n (key) cross join lateral (select addresses, entra_object_id, user_name_key, external_id from directory_users where user_name_key = n.key and source = $4 and deleted_at is not null offset 0) as d
      union all select d.* from unnest($5::text[]) as x (key) cross join lateral (select addresses, entra_object_id, user_name_key, external_id from directory_users where external_id = x.key and source = $4 and deleted_at is null offset 0) as d
      union all select d.* from unnest($5::text[]) as x (key) cross join lateral (select addresses, entra_object_id, user_name_key, external_id from directory_users where external_id = x.key and source = $4 and deleted_at is not null offset 0) as d`,
    values: [
      addresses,
      creates.flatMap(({ user }) => (user.entraObjectId ? [user.entraObjectId] : [])),
      creates.map(({ user }) => foldAddress(user.userName)),
      source,
      creates.flatMap(({ user }) => user.externalId ?? []),
    ],
  });
  const taken = new Set(
    rows.flatMap((row) => [
      ...row.addresses,
      row.entra_object_id ?? '',
      `${source}/${row.user_name_key}`,
      `externalId ${row.external_id}`,
    ]),
  );
  return withoutDoubles(creates, taken, source);
}

/** Two newcomers of one page who share an address are no strangers to each other, either. */
function withoutDoubles<T extends Stranger>(creates: T[], taken: Set<string>, source: string): T[] {
  const seen = new Set<string>();
  return creates.filter(({ user }) => {
    const own = [
      ...user.addresses,
      user.entraObjectId ?? '',
      `${source}/${foldAddress(user.userName)}`,
      user.externalId === null ? '' : `externalId ${user.externalId}`,
    ].filter(Boolean);
    const free = !own.some((key) => taken.has(key) || seen.has(key));
    for (const key of own) seen.add(key);
    return free;
  });
}

/**
 * One statement for all of them: user, person and history together. `round`: of the reading of the tenant that showed them. `grace`: a hint
 * comes for each; else the sweeper takes them from now on.
 */
export async function insertStrangers(
  client: pg.PoolClient,
  creates: Stranger[],
  { round, grace }: { round: number | null; grace: boolean },
  cause: Cause,
): Promise<void> {
  if (creates.length === 0) return;
  const rows = creates.map(({ user, resource, personId, change }) => {
    const [externalId, userName, userNameKey, active, entraObjectId, addresses, described] = ownColumns({
      user,
      resource,
    });
    return {
      person_id: personId,
      lifecycle: change.lifecycle,
      wish: change.wish,
      shown_source: change.shown.source,
      email: change.shown.email,
      display_name: change.shown.displayName,
      resource_id: user.resourceId,
      source: user.source,
      external_id: externalId,
      user_name: userName,
      user_name_key: userNameKey,
      active,
      entra_object_id: entraObjectId,
      addresses,
      described: JSON.parse(String(described)) as unknown,
      resource,
      display_key: user.displayName === null ? null : foldAddress(user.displayName),
    };
  });
  await client.query({
    name: 'strangers-insert',
    text: `
      with t as (
        select * from jsonb_to_recordset($1::jsonb) as t (person_id uuid, lifecycle text, wish jsonb, shown_source text, email text, display_name text,
          resource_id uuid, source text, external_id text, user_name text, user_name_key text, active boolean, entra_object_id text, addresses text[],
          described jsonb, resource jsonb, display_key text)
      ), p as (
        insert into people (person_id, lifecycle, wish, conditions, next_at, source, external_id, user_name, display_name, email, active)
        select person_id, lifecycle, wish, $2::jsonb, case when lifecycle = 'wanted' then now() + case when $6 then ${hintGrace} else '0' end end, shown_source, external_id, user_name, display_name, email, active from t
      ), u as (
        insert into directory_users (resource_id, source, person_id, external_id, user_name, user_name_key, active, entra_object_id, addresses, described, resource, display_key, seen_round)
        select resource_id, source, person_id, external_id, user_name, user_name_key, active, entra_object_id, addresses, described, resource, display_key, $3 from t
      )
      insert into history (person_id, actor, cause, action, before, after) select person_id, $4, $5, 'user.received', null, resource from t`,
    values: [JSON.stringify(rows), json(compactFresh(new Date())), round, cause.actor, cause.by, grace],
  });
}
