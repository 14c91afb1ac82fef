/** What changed since a moment ago, for whoever watches. */
import type { ImportState, PulseStore } from '../ports.ts';
import { type Database, run } from './database.ts';

interface Row {
  last: string;
  changed: { id: string; personId: string }[];
  imports: { importId: string; state: ImportState }[];
  runs: { runId: string; kind: string; state: string }[];
  mark: string;
}

const pulse = {
  name: 'pulse',
  text: `
select (select last_value from history_history_id_seq) as last,
  (select coalesce(jsonb_agg(jsonb_build_object('id', h.history_id::text, 'personId', h.person_id)), '[]') from (
    select history_id, person_id from history where $1::bigint is not null and history_id > $1 order by history_id desc limit $2) as h) as changed,
  (select coalesce(jsonb_agg(jsonb_build_object('importId', i.import_id, 'state', i.state)), '[]') from imports i
    where i.state in ('reading', 'applying') or greatest(i.created_at, i.applied_at, i.finished_at) > now() - interval '10 seconds') as imports,
  (select coalesce(jsonb_agg(jsonb_build_object('runId', r.run_id, 'kind', r.kind, 'state', r.state)), '[]') from (
    select run_id, kind, state from runs where state = 'running' or greatest(created_at, ended_at) > now() - interval '10 seconds' order by created_at desc limit 50) as r) as runs,
  (select md5(concat_ws(' ', (select string_agg(key || coalesce(resolved_at::text, ''), ',' order by key) from alerts),
    (select count(*) || coalesce(max(opened_at)::text, '') from tasks where state = 'open'),
    (select count(*) from removals where state = 'held'), (select max(paused_at)::text from sources)))) as mark`,
};

export function pulseStore({ pool }: Pick<Database, 'pool'>): PulseStore {
  return {
    async pulse(since, most) {
      const [row] = await run<Row>(pool, pulse, [since, most]);
      if (!row) throw new Error('the pulse has no row');
      return { historyId: row.last, changed: row.changed, imports: row.imports, runs: row.runs, mark: row.mark };
    },
  };
}
