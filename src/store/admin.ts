/** What admins read and decide: people, summary, history, provisions, held runs. */
import { sql } from 'kysely';
import type pg from 'pg';
import { conditionTypes } from '../domain/conditions.ts';
import { foldAddress } from '../domain/email-address.ts';
import { keptMessage } from '../domain/offboard.ts';
import { UsherError } from '../errors.ts';
import { isUuid, newId } from '../ids.ts';
import type { AdminStore, Cause, HistoryRow, Provision, ProvisionResult, Run, Summary } from '../ports.ts';
import { type Database, run, transaction, translate } from './database.ts';
import { type PersonRow, shownFrom } from './rows.ts';

export function adminStore({ pool, kysely }: Database): AdminStore {
  return {
    async people(query) {
      let matching = kysely.selectFrom('people');
      if (query.filter) {
        const like = `%${query.filter.replace(/[\\%_]/g, '\\$&').toLowerCase()}%`;
        matching = matching.where((eb) =>
          eb.or(
            (['user_name', 'display_name', 'email'] as const).map((column) =>
              eb(eb.fn('lower', [column]), 'like', like),
            ),
          ),
        );
      }
      if (query.source) matching = matching.where('source', '=', query.source);
      if (query.group)
        matching = matching.where(
          sql<boolean>`person_id in (
            with recursive below (id) as (
              select group_id from groups where lower(display_name) = lower(${query.group}) or group_id::text = ${query.group} or external_id = ${query.group}
              union select m.member_id from below join group_members m on m.group_id = below.id)
            select d.person_id from below join directory_users d on d.resource_id = below.id where d.deleted_at is null)`,
        );
      if (query.lifecycle) matching = matching.where('lifecycle', '=', query.lifecycle);
      if (query.ready !== undefined) matching = matching.where('ready', '=', query.ready);
      if (query.condition || query.reason || query.status) {
        // A condition narrows to its own; a reason without a condition may stand in any.
        const types = query.condition ? [query.condition] : [...conditionTypes];
        matching = matching.where('lifecycle', '=', 'wanted').where((eb) =>
          eb.or(
            types.map((type) => {
              const part = eb.ref('conditions', '->').key(type as never);
              const field = (name: string) => eb.fn<string>('jsonb_extract_path_text', [part, eb.val(name)]);
              const tests = [];
              if (query.reason) tests.push(eb(field('reason'), '=', query.reason));
              if (query.status) tests.push(eb(field('status'), '=', query.status));
              if (!query.reason && !query.status) tests.push(eb(field('status'), '<>', 'true'));
              return eb.and(tests);
            }),
          ),
        );
      }
      try {
        const counted = await matching.select((eb) => eb.fn.countAll<string>().as('total')).executeTakeFirstOrThrow();
        let page = matching
          .selectAll()
          .orderBy('user_name')
          .orderBy('person_id')
          .limit(query.limit + 1);
        const after = query.cursor ? readCursor(query.cursor) : null;
        if (after)
          page = page.where((eb) => eb(eb.refTuple('user_name', 'person_id'), '>', eb.tuple(after[0], after[1])));
        if (query.offset) page = page.offset(query.offset);
        const rows = (await page.execute()) as unknown as PersonRow[];
        const items = rows.slice(0, query.limit);
        const last = items.at(-1);
        return {
          items: items.map(shownFrom),
          total: Number(counted.total),
          nextCursor: rows.length > query.limit && last ? writeCursor(last.user_name, last.person_id) : null,
        };
      } catch (error) {
        throw translate(error);
      }
    },

    async person(who) {
      const byId = isUuid(who)
        ? await run<PersonRow>(pool, { name: 'person-by-id', text: 'select * from people where person_id = $1' }, [who])
        : [];
      if (byId[0]) return shownFrom(byId[0]);
      const rows = await run<PersonRow>(
        pool,
        {
          name: 'person-by-name',
          text: `select p.* from people p where p.person_id in (
            select person_id from directory_users where user_name_key = $2 and deleted_at is null
            union select person_id from directory_users where addresses[1] = $2
            union select person_id from directory_users where cardinality(addresses) > 1 and addresses && array[$2]
            union select person_id from directory_users where external_id = $1 and source in (select name from sources))
          order by p.created_at limit 2`,
        },
        [who, foldAddress(who)],
      );
      if (rows.length > 1)
        throw new UsherError('invalid_value', `«${who}» names more than one person; use the personId.`);
      return rows[0] ? shownFrom(rows[0]) : null;
    },

    async history(personId, limit, before) {
      const rows = await run<{
        history_id: string;
        person_id: string;
        at: Date;
        actor: string;
        cause: string;
        action: string;
        before: unknown;
        after: unknown;
      }>(
        pool,
        {
          name: 'history',
          text: 'select * from history where person_id = $1 and history_id < coalesce($3::bigint, 9223372036854775807) order by history_id desc limit $2',
        },
        [personId, limit, before],
      );
      return rows.map(
        (row): HistoryRow => ({
          historyId: row.history_id,
          personId: row.person_id,
          at: row.at,
          cause: { actor: row.actor, by: row.cause },
          action: row.action,
          before: row.before,
          after: row.after,
        }),
      );
    },

    async summary() {
      const rows = await run<{
        lifecycle: string;
        ready: boolean;
        c0: string | null;
        c1: string | null;
        c2: string | null;
        c3: string | null;
        people: string;
      }>(
        pool,
        {
          name: 'summary',
          text: `select lifecycle, ready, ${conditionTypes.map((type, index) => `(conditions -> '${type}' ->> 'status') || '/' || coalesce(conditions -> '${type}' ->> 'reason', '') as c${index}`).join(', ')}, count(*) as people
                 from people group by 1, 2, 3, 4, 5, 6`,
        },
        [],
      );
      return summarise(
        rows.map((row) => ({
          lifecycle: row.lifecycle,
          ready: row.ready,
          conditions: [row.c0, row.c1, row.c2, row.c3],
          people: Number(row.people),
        })),
      );
    },

    async noteReadiness() {
      await run(
        pool,
        {
          name: 'note-readiness',
          text: `insert into readiness (day, people, ready) select current_date, count(*) filter (where lifecycle = 'wanted'), count(*) filter (where ready) from people
                 on conflict (day) do update set people = excluded.people, ready = excluded.ready`,
        },
        [],
      );
    },

    async readinessByDay(days) {
      const rows = await run<{ day: string; people: number; ready: number }>(
        pool,
        {
          name: 'readiness-by-day',
          // Today as it is now, not as the last minute found it.
          text: `select to_char(day, 'YYYY-MM-DD') as day, people, ready from (
                   select day, people, ready from readiness where day > current_date - $1::integer and day < current_date
                   union all select current_date, (count(*) filter (where lifecycle = 'wanted'))::integer, (count(*) filter (where ready))::integer from people) d
                 order by 1`,
        },
        [days],
      );
      return rows;
    },

    async requestProvision(personId, plan, requestedBy) {
      const provision: Provision = { provisionId: newId(), personId, plan, requestedBy, result: null };
      await run(
        pool,
        {
          name: 'request-provision',
          text: 'insert into provisions (provision_id, person_id, plan, requested_by) values ($1, $2, $3, $4)',
        },
        [provision.provisionId, personId, plan, requestedBy],
      );
      return provision;
    },

    async provision(provisionId) {
      if (!isUuid(provisionId)) return null;
      const rows = await run<ProvisionRow>(
        pool,
        { name: 'provision', text: 'select * from provisions where provision_id = $1' },
        [provisionId],
      );
      return rows[0] ? provisionFrom(rows[0]) : null;
    },

    async openProvisions(limit) {
      const rows = await run<ProvisionRow>(
        pool,
        {
          name: 'open-provisions',
          text: `select * from provisions where result is null and requested_at < now() - interval '5 seconds' order by requested_at limit $1`,
        },
        [limit],
      );
      return rows.map(provisionFrom);
    },

    async finishProvision(provisionId, result) {
      await run(
        pool,
        {
          name: 'finish-provision',
          text: 'update provisions set result = $2 where provision_id = $1 and result is null',
        },
        [provisionId, JSON.stringify(result)],
      );
    },

    offboard: (personId, cause) => transaction(pool, (client) => offboard(client, personId, cause)),

    async recheckDelegation(personIds, all) {
      const rows = await run<{ person_id: string }>(
        pool,
        {
          name: 'recheck-delegation',
          text: `update people set conditions = jsonb_set(conditions, '{Delegation,nextCheckAt}', to_jsonb(now())), next_at = now()
                 where lifecycle = 'wanted' and ($1::uuid[] is null or person_id = any ($1::uuid[]))
                   and ($1::uuid[] is not null or $2::boolean or conditions -> 'Delegation' ->> 'status' <> 'true')
                 returning person_id`,
        },
        [personIds, all],
      );
      return rows.map((row) => row.person_id);
    },

    runs: () => readRuns(pool, null),
    run: async (runId) => (await readRuns(pool, runId))[0] ?? null,

    decideRun: (runId, decision, only, decidedBy) =>
      transaction(pool, (client) => decideRun(client, runId, decision, only, decidedBy)),

    expireHeldRemovals: () =>
      transaction(pool, async (client) => {
        // Nobody is held, and nobody decides, meanwhile.
        await client.query(`select pg_advisory_xact_lock(hashtextextended('usher/brake', 0))`);
        const expired = await client.query<{ run_id: string }>(
          `select run_id from runs where state = 'held' and expires_at <= now() for update skip locked`,
        );
        let kept = await withdrawReturned(client);
        for (const row of expired.rows)
          kept += (await decideRun(client, row.run_id, 'keep', {}, 'nobody: the time to decide ran out')) ?? 0;
        return kept;
      }),
  };
}

interface ProvisionRow {
  provision_id: string;
  person_id: string;
  plan: boolean;
  requested_by: string;
  result: ProvisionResult | null;
}

const provisionFrom = (row: ProvisionRow): Provision => ({
  provisionId: row.provision_id,
  personId: row.person_id,
  plan: row.plan,
  requestedBy: row.requested_by,
  result: row.result,
});

function writeCursor(userName: string, personId: string): string {
  return Buffer.from(JSON.stringify([userName, personId])).toString('base64url');
}

function readCursor(cursor: string): [string, string] {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString());
    if (Array.isArray(parsed) && typeof parsed[0] === 'string' && typeof parsed[1] === 'string' && isUuid(parsed[1]))
      return [parsed[0], parsed[1]];
  } catch {
    // falls through to the one answer
  }
  throw new UsherError('invalid_value', 'cursor: use a nextCursor that an earlier page gave.');
}

function summarise(
  groups: { lifecycle: string; ready: boolean; conditions: (string | null)[]; people: number }[],
): Summary {
  const summary: Summary = { people: 0, ready: 0, lifecycles: {}, conditions: {} };
  for (const type of conditionTypes) summary.conditions[type] = { true: 0, false: {}, unknown: {} };
  for (const group of groups) {
    summary.lifecycles[group.lifecycle] = (summary.lifecycles[group.lifecycle] ?? 0) + group.people;
    if (group.lifecycle !== 'wanted') continue;
    summary.people += group.people;
    if (group.ready) summary.ready += group.people;
    conditionTypes.forEach((type, index) => {
      const counts = summary.conditions[type];
      const [status, reason] = (group.conditions[index] ?? 'unknown/').split('/');
      if (!counts) return;
      if (status === 'true') counts.true += group.people;
      else {
        const side = status === 'false' ? counts.false : counts.unknown;
        const key = reason || 'not_checked_yet';
        side[key] = (side[key] ?? 0) + group.people;
      }
    });
  }
  return summary;
}

/** A leaver by hand: the explicit request of an admin is its own witness. False when the person is neither wanted nor held. */
async function offboard(client: pg.PoolClient, personId: string, cause: Cause): Promise<boolean> {
  const before = await client.query<{ lifecycle: string }>(
    'select lifecycle from people where person_id = $1 for update',
    [personId],
  );
  const lifecycle = before.rows[0]?.lifecycle;
  // Somebody kept or held leaves anew: the request of an admin is a new decision, under the brake again.
  if (lifecycle !== 'wanted' && lifecycle !== 'held') return false;
  await client.query(
    `update people set lifecycle = 'leaving', leaving_since = now(), generation = generation + 1, ready = false, next_at = now(),
       account_fence = account_fence + 1, account_lease_until = '-infinity',
       leave = jsonb_build_object('cause', 'offboarded', 'source', source, 'witness', 'explicit_request')
     where person_id = $1`,
    [personId],
  );
  await client.query(
    `insert into history (person_id, actor, cause, action, before, after) values ($1, $2, $3, 'person.offboarded', $4, '{"lifecycle":"leaving"}')`,
    [personId, cause.actor, cause.by, JSON.stringify({ lifecycle })],
  );
  return true;
}

async function decideRun(
  client: pg.PoolClient,
  runId: string,
  decision: 'approve' | 'keep',
  only: { personIds?: string[] | undefined; cause?: string | undefined },
  decidedBy: string,
): Promise<number | null> {
  const run = await client.query('select 1 from runs where run_id = $1', [runId]);
  if (!run.rowCount) return null;
  const state = decision === 'approve' ? 'admitted' : 'kept';
  // The brake's own lock: no removal joins the run while it is decided.
  await client.query(`select pg_advisory_xact_lock(hashtextextended('usher/brake', 0))`);
  const decided = await client.query<{ person_id: string; generation: string }>(
    `update removals set state = $2, decided_by = $3, decided_at = now(), admitted_at = case when $2 = 'admitted' then now() end
     where run_id = $1 and state = 'held' and ($4::uuid[] is null or person_id = any($4::uuid[])) and ($5::text is null or cause = $5) returning person_id, generation`,
    [runId, state, decidedBy, only.personIds ?? null, only.cause ?? null],
  );
  const ids = decided.rows.map((row) => row.person_id);
  // Approved people go on leaving; kept ones stay where they are, out of the count towards Ready. Somebody who came back meanwhile is not touched.
  await client.query(
    `update people p set lifecycle = case when $2 = 'admitted' then 'leaving' else 'held' end, next_at = now(),
       conditions = case when $2 = 'kept' and conditions ? 'Profile' then jsonb_set(conditions, '{Profile,message}', to_jsonb($4::text)) else conditions end,
       account_fence = account_fence + 1, account_lease_until = '-infinity'
     from unnest($1::uuid[], $3::bigint[]) as d (person_id, generation)
     where p.person_id = d.person_id and p.generation = d.generation and p.lifecycle in ('held', 'leaving')`,
    [ids, state, decided.rows.map((row) => row.generation), keptMessage],
  );
  await client.query(
    `insert into history (person_id, actor, cause, action, before, after) select unnest($1::uuid[]), $2, $3, 'removal.' || $4, '{"state":"held"}', null`,
    [ids, decidedBy, `run:${runId}`, state],
  );
  await client.query(
    `update runs set state = 'decided' where run_id = $1 and not exists (select 1 from removals where run_id = $1 and state = 'held')`,
    [runId],
  );
  return ids.length;
}

/** A removal of an earlier wish is nothing to decide: the person came back, and leaves by another removal if at all. */
async function withdrawReturned(client: pg.PoolClient): Promise<number> {
  const { rows } = await client.query<{ run_id: string; person_id: string }>(
    `update removals m set state = 'kept', decided_by = 'nobody: the person came back', decided_at = now()
     from people p where m.state = 'held' and p.person_id = m.person_id and p.generation > m.generation returning m.run_id, m.person_id`,
  );
  if (rows.length === 0) return 0;
  await client.query(
    `insert into history (person_id, actor, cause, action, before, after)
     select person_id, 'usher', 'run:' || run_id, 'removal.kept', '{"state":"held"}', null from unnest($1::uuid[], $2::text[]) as m (person_id, run_id)`,
    [rows.map((row) => row.person_id), rows.map((row) => row.run_id)],
  );
  await client.query(
    `update runs r set state = 'decided' where run_id = any ($1::uuid[]) and not exists (select 1 from removals m where m.run_id = r.run_id and m.state = 'held')`,
    [[...new Set(rows.map((row) => row.run_id))]],
  );
  return rows.length;
}

async function readRuns(pool: pg.Pool, runId: string | null): Promise<Run[]> {
  const { rows } = await pool
    .query<{
      run_id: string;
      kind: string;
      state: string;
      source: string | null;
      created_at: Date;
      expires_at: Date | null;
      ended_at: Date | null;
      report: Record<string, unknown> | null;
      waiting: number;
      removals: Awaited<ReturnType<AdminStore['runs']>>[number]['removals'];
    }>(
      `select r.*, coalesce((
             select jsonb_agg(jsonb_build_object('personId', m.person_id, 'displayName', p.display_name, 'userName', p.user_name, 'state', m.state, 'decidedBy', m.decided_by, 'decidedAt', m.decided_at, 'cause', m.cause) order by p.user_name)
             from removals m join people p using (person_id) where m.run_id = r.run_id), '[]') as removals,
             (select count(*) from plan_items i where i.run_id = r.run_id and i.state = 'waiting')::integer as waiting
           from runs r where ($1::uuid is null or r.run_id = $1) order by (state in ('held', 'planned')) desc, created_at desc limit 100`,
      [runId],
    )
    .catch((error: unknown) => {
      throw translate(error);
    });
  return rows.map((row) => ({
    runId: row.run_id,
    kind: row.kind,
    state: row.state,
    source: row.source,
    createdAt: row.created_at,
    endedAt: row.ended_at,
    expiresAt: row.expires_at,
    report: row.report,
    waiting: row.waiting,
    removals: row.removals.map((removal) => ({
      ...removal,
      decidedAt: removal.decidedAt && new Date(removal.decidedAt),
    })),
  }));
}
