/** The policy version that everybody was last looked at under, and the people for a new look. */
import type pg from 'pg';
import { UsherError } from '../errors.ts';
import type { Cause, PersonChange, PolicyStore } from '../ports.ts';
import { run, transaction } from './database.ts';
import {
  loadWithSources,
  lockedWithSources,
  type PersonRow,
  personOf,
  type UserRow,
  usersOf,
  withSourcesFrom,
} from './rows.ts';

export function policyStore(pool: pg.Pool): PolicyStore {
  return {
    async storedPolicyVersion() {
      const rows = await run<{ value: string }>(
        pool,
        { name: 'policy-version', text: `select value from facts where key = 'policy_version'` },
        [],
      );
      return rows[0]?.value ?? null;
    },

    async storePolicyVersion(version) {
      await run(
        pool,
        {
          name: 'store-policy-version',
          text: `insert into facts (key, value) values ('policy_version', $1) on conflict (key) do update set value = excluded.value`,
        },
        [version],
      );
    },

    async everybody(afterPersonId, limit) {
      const rows = await run<{ person: PersonRow; users: UserRow[] | null }>(
        pool,
        {
          name: 'everybody',
          text: `select ${personOf('p')} as person, ${usersOf('p')} as users
                 from people p where person_id > coalesce($1::uuid, '00000000-0000-0000-0000-000000000000') order by person_id limit $2`,
        },
        [afterPersonId, limit],
      );
      return rows.map(withSourcesFrom);
    },

    async withSources(personId) {
      const rows = await run<{ person: PersonRow; users: UserRow[] | null }>(pool, loadWithSources, [personId]);
      return rows[0] ? withSourcesFrom(rows[0]) : null;
    },

    changeWish: (personId, generation, change, seenReconsider, cause) =>
      changeWish(pool, personId, generation, change, seenReconsider, cause, 'wish.changed'),

    changeLocked: (personId, decide, cause, action) =>
      transaction(pool, async (client) => {
        const one = await lockedWithSources(client, personId);
        if (!one) throw new UsherError('not_found', 'There is no such person.');
        const decided = decide(one);
        if (!decided) return;
        if (decided.activeAgain)
          await client.query('update directory_users set active_since = now() where resource_id = $1', [
            decided.activeAgain,
          ]);
        const { generation } = one.person;
        await changeWish(client, personId, generation, decided.change, one.reconsider, cause, action);
        await client.query(
          `update plan_items set generation = $2 where person_id = $1 and state = 'waiting' and generation < $2`,
          [personId, generation + 1],
        );
      }),

    async keepUnder(personId, generation, version) {
      await run(
        pool,
        {
          name: 'keep-under',
          text: `update people set wish = wish || jsonb_build_object('keptUnder', $3::text) where person_id = $1 and generation = $2 and wish is not null`,
        },
        [personId, generation, version],
      );
    },

    async reconsidered(personId, seenReconsider) {
      await run(
        pool,
        {
          name: 'reconsidered',
          text: 'update people set reconsider = 0 where person_id = $1 and reconsider = $2 and reconsider > 0',
        },
        [personId, seenReconsider],
      );
    },
  };
}

const json = (value: unknown): string | null => (value === null || value === undefined ? null : JSON.stringify(value));

async function changeWish(
  on: pg.Pool | pg.PoolClient,
  personId: string,
  generation: number,
  change: PersonChange,
  seenReconsider: number,
  cause: Cause,
  action: string,
): Promise<boolean> {
  const rows = await run(
    on,
    {
      name: 'change-wish',
      text: `
with p as (
  update people set lifecycle = $3,
  account_fence = account_fence + case when lifecycle <> $3 then 1 else 0 end,
  account_lease_until = case when lifecycle <> $3 then '-infinity' else account_lease_until end,
    wished_at = case when wish is null and $4::jsonb is not null then now() else wished_at end,
    wish = $4::jsonb, leave = $5::jsonb, generation = generation + 1, ready = false, next_at = now(),
    leaving_since = case when $3 = 'leaving' and lifecycle <> 'leaving' then now() when $3 in ('wanted', 'out_of_scope') then null else leaving_since end,
    suspended_at = case when $3 = 'wanted' then null else suspended_at end,
    reconsider = case when reconsider = $6 then 0 else reconsider end
  where person_id = $1 and generation = $2 returning person_id
), h as (insert into history (person_id, actor, cause, action, before, after) select person_id, $7, $8, $9, null, jsonb_build_object('lifecycle', $3::text, 'wish', $4::jsonb) from p)
select 1 from p`,
    },
    [
      personId,
      generation,
      change.lifecycle,
      json(change.wish),
      json(change.leave),
      seenReconsider,
      cause.actor,
      cause.by,
      action,
    ],
  );
  return rows.length > 0;
}
