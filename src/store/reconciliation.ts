/** What a reconciliation reads and leaves behind: everybody in pages, one row a difference, and when the next one is due. */
import type { Drift } from '../domain/drift.ts';
import { newId } from '../ids.ts';
import type { KeptDrift, ReconciliationStore } from '../ports.ts';
import { type Database, run } from './database.ts';
import { knownFrom, type PersonRow } from './rows.ts';

export function reconciliationStore({ pool }: Pick<Database, 'pool'>): ReconciliationStore {
  return {
    async knownPeople(after, personIds, limit) {
      const rows = await run<PersonRow>(
        pool,
        {
          name: 'known-people',
          text: `select * from people where person_id > coalesce($1::uuid, '00000000-0000-0000-0000-000000000000')
                   and lifecycle in ('wanted', 'suspended') and ($2::uuid[] is null or person_id = any ($2::uuid[])) order by person_id limit $3`,
        },
        [after, personIds, limit],
      );
      return rows.map(knownFrom);
    },

    async beginReconciliation(by, apply, people) {
      const runId = newId();
      await run(
        pool,
        {
          name: 'begin-reconciliation',
          text: `insert into runs (run_id, kind, state, report) values ($1, 'reconcile', 'running', jsonb_build_object('by', $2::text, 'apply', $3::boolean, 'of', $4::integer))`,
        },
        [runId, by, apply, people],
      );
      return runId;
    },

    async addDrift(runId, from, drift) {
      if (drift.length === 0) return;
      await run(
        pool,
        {
          name: 'add-drift',
          text: `insert into drift (run_id, drift_no, kind, person_id, account_user_id, who, what, owner, since, mode, state)
                 select $1, $2 + d.no, d.kind, d."personId", d."accountUserId", d.who, d.what, d.owner, d.since, d.mode, d.state
                 from jsonb_to_recordset($3::jsonb) as d (no integer, kind text, "personId" uuid, "accountUserId" text, who text, what text, owner text,
                   since timestamptz, mode text, state text)`,
        },
        [runId, from, JSON.stringify(drift.map((one, no) => ({ no, ...one })))],
      );
    },

    async endReconciliation(runId, state, report) {
      await run(
        pool,
        {
          name: 'end-reconciliation',
          text: 'update runs set state = $2, report = report || $3::jsonb, ended_at = now() where run_id = $1',
        },
        [runId, state, JSON.stringify(report)],
      );
      // Nights in which nothing was found: the newest sixty stay.
      await run(
        pool,
        {
          name: 'trim-reconciliations',
          text: `delete from runs where kind = 'reconcile' and state = 'done' and (report ->> 'found')::int = 0
                 and run_id not in (select run_id from runs where kind = 'reconcile' order by created_at desc limit 60)`,
        },
        [],
      );
    },

    async driftOf(runId, limit) {
      const rows = await run<{
        kind: Drift['kind'];
        person_id: string | null;
        account_user_id: string | null;
        who: string;
        what: string;
        owner: Drift['owner'];
        since: Date | null;
        mode: 'correct' | 'report';
        state: KeptDrift['state'];
      }>(
        pool,
        { name: 'drift-of', text: 'select * from drift where run_id = $1 order by kind, who, drift_no limit $2' },
        [runId, limit],
      );
      return rows.map((row) => ({
        kind: row.kind,
        personId: row.person_id,
        accountUserId: row.account_user_id,
        who: row.who,
        what: row.what,
        owner: row.owner,
        since: row.since,
        mode: row.mode,
        state: row.state,
      }));
    },

    async recheckConditions(personIds, condition) {
      await run(
        pool,
        {
          name: 'recheck-conditions',
          text: `update people set next_at = now(), conditions = jsonb_set(conditions, array[$2, 'nextCheckAt'], to_jsonb(now())) where person_id = any ($1::uuid[])`,
        },
        [personIds, condition],
      );
    },

    async takeReconciliation(first, leaseMinutes) {
      const rows = await run(
        pool,
        {
          name: 'take-reconciliation',
          // A process that dies in the middle leaves it to another after the lease.
          text: `with planned as (insert into facts (key, value) values ('reconcile_next_at', $1) on conflict (key) do nothing)
                 update facts set value = (now() + make_interval(mins => $2))::text where key = 'reconcile_next_at' and value::timestamptz <= now() returning 1`,
        },
        [first.toISOString(), leaseMinutes],
      );
      return rows.length > 0;
    },

    async planReconciliation(next) {
      await run(
        pool,
        {
          name: 'plan-reconciliation',
          text: `insert into facts (key, value) values ('reconcile_next_at', $1) on conflict (key) do update set value = excluded.value`,
        },
        [next.toISOString()],
      );
    },
  };
}
