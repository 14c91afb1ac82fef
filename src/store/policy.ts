/** The policy version that everybody was last looked at under, and the people for a new look. */
import type pg from 'pg';
import type { PolicyStore } from '../ports.ts';
import { run } from './database.ts';
import { directoryUserFrom, knownFrom, type PersonRow, type UserRow } from './rows.ts';

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
          text: `select to_jsonb(p) as person, (select jsonb_agg(to_jsonb(d)) from directory_users d where d.person_id = p.person_id) as users
                 from people p where person_id > coalesce($1::uuid, '00000000-0000-0000-0000-000000000000') order by person_id limit $2`,
        },
        [afterPersonId, limit],
      );
      return rows.map((row) => ({ known: knownFrom(row.person), users: (row.users ?? []).map(directoryUserFrom) }));
    },

    async changeWish(personId, generation, change, cause) {
      const rows = await run(
        pool,
        {
          name: 'change-wish',
          text: `
with p as (
  update people set lifecycle = $3, wish = $4::jsonb, generation = generation + 1, ready = false, next_at = now(),
    leaving_since = case when $3 = 'wanted' then null else leaving_since end, suspended_at = case when $3 = 'wanted' then null else suspended_at end
  where person_id = $1 and generation = $2 returning person_id
), h as (insert into history (person_id, actor, cause, action, before, after) select person_id, $5, $6, 'wish.changed', null, $4::jsonb from p)
select 1 from p`,
        },
        [personId, generation, change.lifecycle, JSON.stringify(change.wish), cause.actor, cause.by],
      );
      return rows.length > 0;
    },
  };
}
