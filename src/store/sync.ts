/**
 * What the directory poller writes. A page is one transaction together with the link to the next: a crash repeats a page and never skips one.
 * Everything is checked against the poller's fence, so that one who lost its lease writes nothing.
 */
import type pg from 'pg';
import { UsherError } from '../errors.ts';
import { newId } from '../ids.ts';
import type { DirectoryPass, Subscriptions, SyncFence, SyncStore } from '../ports.ts';
import { type Database, run, transaction } from './database.ts';
import { json } from './intake.ts';
import { moveOn, storeGroupPage, storeUserPage, tellPeople } from './sync-pages.ts';

interface PassRow {
  kind: 'users' | 'groups';
  link: string | null;
  finished: boolean;
  is_full: boolean;
  swept: boolean;
  round: string;
  selected: string;
}

const passFrom = (row: PassRow): DirectoryPass => ({
  kind: row.kind,
  link: row.link,
  finished: row.finished,
  isFull: row.is_full,
  swept: row.swept,
  round: Number(row.round),
  selected: row.selected,
});

export function syncStore({ pool }: Database, groupsMatter: boolean): SyncStore {
  /** One transaction of the one poller. */
  const fenced = <T>(fence: SyncFence, work: (client: pg.PoolClient) => Promise<T>): Promise<T> =>
    transaction(pool, async (client) => {
      await holdFence(client, fence);
      return work(client);
    });

  return {
    async claimSync(source) {
      await run(
        pool,
        { name: 'sync-known', text: 'insert into directory_syncs (source) values ($1) on conflict do nothing' },
        [source],
      );
      const rows = await run<{
        fence: string;
        full_requested: boolean;
        requested: boolean;
        last_finished_at: Date | null;
      }>(
        pool,
        {
          name: 'sync-claim',
          text: `
          update directory_syncs s set fence = fence + 1, lease_until = now() + make_interval(secs => $2), requested_at = null
          from (select requested_at is not null as requested, full_requested as was_full from directory_syncs where source = $1 for update) as before
          where source = $1 and lease_until < now() and (next_at <= now() or requested_at is not null)
            and not exists (select 1 from sources where name = $1 and paused_at is not null)
          returning fence, before.was_full as full_requested, before.requested, last_finished_at`,
        },
        [source, leaseSeconds],
      );
      const row = rows[0];
      if (!row) return null;
      const passes = await run<PassRow>(
        pool,
        { name: 'sync-passes', text: 'select * from directory_passes where source = $1' },
        [source],
      );
      return {
        fence: { source, number: row.fence },
        fullRequested: row.full_requested,
        passes: passes.map(passFrom),
        lastFinishedAt: row.last_finished_at,
      };
    },

    beginPass: (fence, kind, selected, isFull) =>
      fenced(fence, async (client) => {
        const { rows } = await client.query<PassRow>(
          `insert into directory_passes (source, kind, selected) values ($1, $2, $3)
           on conflict (source, kind) do update set finished = false, selected = $3,
             link = case when $4 then null else directory_passes.link end,
             is_full = $4, swept = false, round = directory_passes.round + case when $4 then 1 else 0 end
           returning *`,
          [fence.source, kind, selected, isFull],
        );
        return passFrom(rows[0] as PassRow);
      }),

    storeUserPage: (fence, page, decide, cause, after) =>
      transaction(pool, async (client) => {
        const stored = await storeUserPage(client, fence, page, decide, cause);
        // Should the page before wait for a row of this one, this one gives way and comes again behind it.
        await patiently(after);
        // Last: the row of the pass is held by one page at a time, and two pages may be on their way.
        await holdFence(client, fence);
        if (!stored.again) await moveOn(client, fence.source, 'users', page);
        return stored;
      }),

    storeGroupPage: (fence, page, cause) =>
      fenced(fence, (client) => storeGroupPage(client, fence, page, groupsMatter, cause)),

    absentUsers: async (source, round, after, limit) => {
      const rows = await run<{ external_id: string }>(
        pool,
        {
          name: 'sync-absent',
          text: `select external_id from directory_users where source = $1 and deleted_at is null and external_id is not null
                 and seen_round is distinct from $2 and external_id > $3 order by external_id limit $4`,
        },
        [source, round, after, limit],
      );
      return rows.map((row) => row.external_id);
    },

    sweepGroups: (fence, round, cause) =>
      fenced(fence, async (client) => {
        const { rows: left } = await client.query<{ group_id: string; member_id: string }>(
          `delete from group_members m using groups g
           where g.group_id = m.group_id and g.source = $1 and (m.seen_round is distinct from $2 or g.seen_round is distinct from $2)
           returning m.group_id, m.member_id`,
          [fence.source, round],
        );
        const people =
          left.length > 0
            ? await tellPeople(
                client,
                left.map((row) => ({ ...row, joined: false })),
                groupsMatter,
                cause,
              )
            : [];
        await client.query('delete from groups where source = $1 and seen_round is distinct from $2', [
          fence.source,
          round,
        ]);
        return { people, changes: left.length };
      }),

    async groupsNamed(source, name) {
      const rows = await run<{ external_id: string }>(
        pool,
        {
          name: 'sync-groups-named',
          text: 'select external_id from groups where source = $1 and display_key = lower($2) and external_id is not null',
        },
        [source, name],
      );
      return rows.map((row) => row.external_id);
    },

    async countGroups(source, round) {
      const rows = await run<{ known: string; seen: string }>(
        pool,
        {
          name: 'sync-count-groups',
          text: 'select count(*) as known, count(*) filter (where seen_round = $2) as seen from groups where source = $1',
        },
        [source, round],
      );
      return { known: Number(rows[0]?.known ?? 0), seen: Number(rows[0]?.seen ?? 0) };
    },

    async countUsers(source, round) {
      const rows = await run<{ live: string; seen: string }>(
        pool,
        {
          name: 'sync-count',
          text: 'select count(*) as live, count(*) filter (where seen_round = $2) as seen from directory_users where source = $1 and deleted_at is null',
        },
        [source, round],
      );
      return { live: Number(rows[0]?.live ?? 0), seen: Number(rows[0]?.seen ?? 0) };
    },

    async finishSync(fence, nextAt, finished) {
      await run(
        pool,
        {
          name: 'sync-finish',
          text: `update directory_syncs set lease_until = '-infinity', next_at = $3, last_finished_at = case when $4 then now() else last_finished_at end
                 where source = $1 and fence = $2`,
        },
        [fence.source, fence.number, nextAt, finished],
      );
      if (finished)
        await run(pool, { name: 'sync-heard', text: 'update sources set last_heard_at = now() where name = $1' }, [
          fence.source,
        ]);
    },

    async fullBegun(fence) {
      await run(
        pool,
        {
          name: 'sync-full-begun',
          text: 'update directory_syncs set full_requested = false where source = $1 and fence = $2',
        },
        [fence.source, fence.number],
      );
    },

    async sweptPass(fence, kind) {
      await fenced(fence, (client) =>
        client.query('update directory_passes set swept = true where source = $1 and kind = $2', [fence.source, kind]),
      );
    },

    async doubts(source, limit) {
      const rows = await run<{ external_id: string; since: Date }>(
        pool,
        {
          name: 'sync-doubts',
          text: 'select external_id, since from directory_doubts where source = $1 order by since limit $2',
        },
        [source, limit],
      );
      return rows.map((row) => ({ externalId: row.external_id, since: row.since }));
    },

    async keepDoubts(source, add, drop) {
      if (add.length > 0)
        await run(
          pool,
          {
            name: 'sync-add-doubts',
            text: 'insert into directory_doubts (source, external_id) select $1, unnest($2::text[]) on conflict do nothing',
          },
          [source, [...new Set(add)]],
        );
      if (drop.length > 0)
        await run(
          pool,
          {
            name: 'sync-drop-doubts',
            text: 'delete from directory_doubts where source = $1 and external_id = any ($2::text[])',
          },
          [source, drop],
        );
    },

    async requestSync(source, full) {
      const rows = await run(
        pool,
        {
          name: 'sync-request',
          text: `insert into directory_syncs (source, requested_at, full_requested) values ($1, now(), $2)
                 on conflict (source) do update set requested_at = coalesce(directory_syncs.requested_at, now()), full_requested = directory_syncs.full_requested or $2
                 returning source`,
        },
        [source, full],
      );
      return rows.length > 0;
    },

    async beginRun(kind, source) {
      const runId = newId();
      // Whoever began one before and did not end it is no more: the lease says so.
      await run(
        pool,
        {
          name: 'run-ended-by-kill',
          text: `update runs set state = 'failed', ended_at = now(), report = jsonb_build_object('error', 'The process ended in the middle; the next round goes on where it was.', 'changes', 0)
                 where kind = $1 and source = $2 and state = 'running'`,
        },
        [kind, source],
      );
      await run(
        pool,
        { name: 'run-begin', text: `insert into runs (run_id, kind, state, source) values ($1, $2, 'running', $3)` },
        [runId, kind, source],
      );
      return runId;
    },

    async endRun(runId, state, report) {
      await run(
        pool,
        { name: 'run-end', text: 'update runs set state = $2, report = $3, ended_at = now() where run_id = $1' },
        [runId, state, JSON.stringify(report)],
      );
      // A poller that runs every few minutes would fill the list: of what went well and changed nothing, the newest hundred stay.
      await run(
        pool,
        {
          name: 'run-trim',
          text: `delete from runs where kind = 'poll' and state = 'done' and (report ->> 'changes')::int = 0
                 and run_id not in (select run_id from runs where kind = 'poll' order by created_at desc limit 100)`,
        },
        [],
      );
    },

    async syncState(source) {
      const rows = await run<{ running: boolean; next_at: Date; last_finished_at: Date | null }>(
        pool,
        {
          name: 'sync-state',
          text: 'select lease_until > now() as running, next_at, last_finished_at from directory_syncs where source = $1',
        },
        [source],
      );
      const row = rows[0];
      return row ? { running: row.running, nextAt: row.next_at, lastFinishedAt: row.last_finished_at } : null;
    },

    async subscriptions(source) {
      const rows = await run<{ subscription: Subscriptions | null }>(
        pool,
        { name: 'sync-subscriptions', text: 'select subscription from directory_syncs where source = $1' },
        [source],
      );
      return rows[0]?.subscription ?? {};
    },

    async keepSubscriptions(source, subscriptions) {
      await run(
        pool,
        {
          name: 'sync-keep-subscriptions',
          text: `insert into directory_syncs (source, subscription) values ($1, $2) on conflict (source) do update set subscription = $2`,
        },
        [source, json(subscriptions)],
      );
    },
  };
}

const patienceMs = 2000;

async function patiently(after: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new UsherError('conflict', 'The page before takes long.')), patienceMs);
  });
  await Promise.race([after, late]).finally(() => clearTimeout(timer));
}

/** Nothing commits under a lease that another took over. */
async function holdFence(client: pg.PoolClient, fence: SyncFence): Promise<void> {
  const { rowCount } = await client.query({
    name: 'sync-hold-fence',
    text: 'update directory_syncs set lease_until = now() + make_interval(secs => $3) where source = $1 and fence = $2',
    values: [fence.source, fence.number, leaseSeconds],
  });
  if (rowCount !== 1) throw new UsherError('conflict', 'Another process took the poller over.');
}

/** Longer than a page with its waits; renewed with each page. */
const leaseSeconds = 120;
