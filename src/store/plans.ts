/** Stored plans: rows of a run that wait until somebody decides. */
import type pg from 'pg';
import { newId } from '../ids.ts';
import type { PlanItem, PlanStore } from '../ports.ts';
import { run } from './database.ts';

export function planStore(pool: pg.Pool): PlanStore {
  return {
    async beginPlan(kind, version) {
      const runId = newId();
      await run(
        pool,
        {
          name: 'begin-plan',
          text: `insert into runs (run_id, kind, state, report) values ($1, $2, 'planned', jsonb_build_object('policyVersion', $3::text))`,
        },
        [runId, kind, version],
      );
      return runId;
    },

    async dropPlans(kind, exceptVersion) {
      await run(
        pool,
        {
          name: 'drop-plans',
          text: `with old as (update runs set state = 'plan_stale', ended_at = now() where kind = $1 and state = 'planned' and report ->> 'policyVersion' <> $2 returning run_id)
                 update plan_items set state = 'plan_stale' where run_id in (select run_id from old) and state = 'waiting'`,
        },
        [kind, exceptVersion],
      );
    },

    async addPlanItems(runId, items) {
      await run(
        pool,
        {
          name: 'add-plan-items',
          text: `insert into plan_items (run_id, person_id, generation, effect, what, before, after)
                 select $1, i."personId", i.generation, i.effect, i.what, i.before, i.after
                 from jsonb_to_recordset($2::jsonb) as i ("personId" uuid, generation bigint, effect text, what text[], before jsonb, after jsonb)
                 on conflict do nothing`,
        },
        [runId, JSON.stringify(items)],
      );
    },

    async planItems(runId, limit) {
      const rows = await run<PlanRow>(
        pool,
        {
          name: 'plan-items',
          text: `select i.*, p.user_name, p.display_name from plan_items i join people p using (person_id) where run_id = $1 order by p.user_name limit $2`,
        },
        [runId, limit],
      );
      return rows.map((row) => ({
        ...itemFrom(row),
        userName: row.user_name,
        displayName: row.display_name,
        state: row.state,
        decidedBy: row.decided_by,
        decidedAt: row.decided_at,
      }));
    },

    async waitingPlanItems(runId, personIds) {
      const rows = await run<PlanRow>(
        pool,
        {
          name: 'waiting-plan-items',
          text: `select i.*, '' as user_name, null as display_name from plan_items i
                 where run_id = $1 and state = 'waiting' and ($2::uuid[] is null or person_id = any ($2::uuid[]))`,
        },
        [runId, personIds],
      );
      return rows.map(itemFrom);
    },

    async decidePlanItems(runId, personIds, state, by) {
      const rows = await run(
        pool,
        {
          name: 'decide-plan-items',
          text: `update plan_items set state = $3, decided_by = $4, decided_at = now() where run_id = $1 and state = 'waiting'
                   and ($2::uuid[] is null or person_id = any ($2::uuid[])) returning 1`,
        },
        [runId, personIds, state, by],
      );
      await run(
        pool,
        {
          name: 'end-plan',
          text: `update runs set state = 'decided', ended_at = now() where run_id = $1 and state = 'planned'
                   and not exists (select 1 from plan_items where run_id = $1 and state = 'waiting')`,
        },
        [runId],
      );
      return rows.length;
    },
  };
}

interface PlanRow extends Record<string, unknown> {
  person_id: string;
  generation: string;
  effect: PlanItem['effect'];
  what: string[];
  before: PlanItem['before'];
  after: PlanItem['after'];
  state: 'waiting' | 'applied' | 'kept' | 'plan_stale';
  decided_by: string | null;
  decided_at: Date | null;
  user_name: string;
  display_name: string | null;
}

const itemFrom = (row: PlanRow): PlanItem => ({
  personId: row.person_id,
  generation: Number(row.generation),
  effect: row.effect,
  what: row.what,
  before: row.before,
  after: row.after,
});
