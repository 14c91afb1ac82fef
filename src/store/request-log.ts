/** What the identity providers sent, what an operator must know of, and the secret that cursors are signed with. */
import type pg from 'pg';
import type { RequestLogStore } from '../ports.ts';
import { run } from './database.ts';

interface RequestRow {
  request_no: string;
  request_id: string;
  source: string;
  at: Date;
  method: string;
  path: string;
  status: number;
  took_ms: number;
  body: unknown;
  answer: string | null;
}

export function requestLogStore(pool: pg.Pool): RequestLogStore {
  return {
    async logRequests(requests) {
      const column = (pick: (request: (typeof requests)[number]) => unknown) => requests.map(pick);
      await run(
        pool,
        {
          name: 'log-requests',
          text: `insert into scim_requests (request_id, source, at, method, path, status, took_ms, body, answer)
                 select * from unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::integer[], $7::integer[], $8::jsonb[], $9::text[])`,
        },
        [
          column((request) => request.requestId),
          column((request) => request.source),
          column((request) => request.at),
          column((request) => request.method),
          column((request) => request.path),
          column((request) => request.status),
          column((request) => request.tookMs),
          column((request) => request.body),
          column((request) => request.answer),
        ],
      );
    },

    async requests({ source, personId, status, before, limit }) {
      const rows = await run<RequestRow>(
        pool,
        {
          name: 'requests',
          text: `select * from scim_requests r where ($1::text is null or source = $1) and ($2::text is null or status::text like $2) and request_no < coalesce($3::bigint, 9223372036854775807)
                 and ($4::uuid is null or (r.request_id, r.source) in (
                   select substr(h.cause, 9), substr(h.actor, 6) from history h where h.person_id = $4 and h.cause like 'request:%'))
                 and ($4::uuid is null or r.at >= (select min(h.at) - interval '1 minute' from history h where h.person_id = $4))
                 order by request_no desc limit $5`,
        },
        [source ?? null, status ? `${status}%` : null, before ?? null, personId ?? null, limit],
      );
      return rows.map((row) => ({
        requestNo: row.request_no,
        requestId: row.request_id,
        source: row.source,
        at: row.at,
        method: row.method,
        path: row.path,
        status: row.status,
        tookMs: row.took_ms,
        body: row.body,
        answer: row.answer,
      }));
    },

    async pruneRequests(olderThanDays) {
      const rows = await run<{ pruned: string }>(
        pool,
        {
          name: 'prune-requests',
          text: `with gone as (delete from scim_requests where at < now() - make_interval(days => $1) returning 1) select count(*) as pruned from gone`,
        },
        [olderThanDays],
      );
      return Number(rows[0]?.pruned ?? 0);
    },

    async cursorSecret() {
      const rows = await run<{ value: string }>(
        pool,
        { name: 'cursor-secret', text: `select value from facts where key = 'cursor_secret'` },
        [],
      );
      return rows[0]?.value ?? '';
    },
  };
}
