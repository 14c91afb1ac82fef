/** Imports: a plan is its rows; applying takes the waiting ones, and each is settled once. */

import { foldAddress } from '../domain/email-address.ts';
import type { ImportSummary, RowKind } from '../domain/import-plan.ts';
import type { Lifecycle } from '../domain/person.ts';
import { isUuid, newId } from '../ids.ts';
import type { Import, ImportProgress, ImportRow, ImportState, ImportStore, RowSight } from '../ports.ts';
import { type Database, list, run } from './database.ts';
import { type CandidateRow, candidatesFrom, json } from './intake.ts';
import { type PersonRow, personOf, storedFrom, type UserRow, usersOf, withSourcesFrom } from './rows.ts';

interface ImportDbRow {
  import_id: string;
  source: string;
  name: string;
  state: ImportState;
  file_hash: string | null;
  plan_hash: string | null;
  policy_version: string;
  columns: string[];
  summary: ImportSummary | null;
  failure: string | null;
  created_by: string;
  created_at: Date;
  applied_by: string | null;
  applied_at: Date | null;
  finished_at: Date | null;
}

const importFrom = (row: ImportDbRow): Import => ({
  importId: row.import_id,
  source: row.source,
  name: row.name,
  state: row.state,
  fileHash: row.file_hash,
  planHash: row.plan_hash,
  policyVersion: row.policy_version,
  columns: row.columns,
  summary: row.summary,
  failure: row.failure,
  createdBy: row.created_by,
  createdAt: row.created_at,
  appliedBy: row.applied_by,
  appliedAt: row.applied_at,
  finishedAt: row.finished_at,
});

interface RowDbRow {
  line: number;
  kind: RowKind;
  who: string;
  note: string | null;
  suggestion: string | null;
  cells: Record<string, string>;
  fields: (ImportRow['fields'] & { plan?: Pick<ImportRow, 'lifecycle' | 'wish'> }) | null;
  person_id: string | null;
  resource_id: string | null;
  version: number | null;
  generation: string | null;
  state: ImportRow['state'];
  result: string | null;
}

function rowFrom(row: RowDbRow): ImportRow {
  const { plan, ...fields } = row.fields ?? { userName: '' };
  return {
    line: row.line,
    kind: row.kind,
    who: row.who,
    note: row.note,
    suggestion: row.suggestion,
    lifecycle: (plan?.lifecycle ?? null) as Lifecycle | null,
    wish: plan?.wish ?? null,
    personId: row.person_id,
    cells: row.cells,
    fields: row.fields && fields,
    resourceId: row.resource_id,
    version: row.version,
    generation: row.generation === null ? null : Number(row.generation),
    state: row.state,
    result: row.result,
  };
}

export function importStore({ pool, lists }: Database): ImportStore {
  return {
    async beginImport(source, name, policyVersion, by) {
      const importId = newId();
      await run(
        pool,
        {
          name: 'begin-import',
          text: `insert into imports (import_id, source, name, state, policy_version, created_by) values ($1, $2, $3, 'reading', $4, $5)`,
        },
        [importId, source, name, policyVersion, by],
      );
      return importId;
    },

    async rowSights(users) {
      const source = users[0]?.source ?? '';
      const rows = await list<UserRow & CandidateRow>(
        lists,
        `select d.*, null as memberships from directory_users d
         where (d.source = $1 and d.external_id = any ($2::text[])) or (d.source = $1 and d.user_name_key = any ($3::text[])) or d.entra_object_id = any ($4::text[])
           or d.addresses[1] = any ($5::text[]) or (cardinality(d.addresses) > 1 and d.addresses && $5::text[])`,
        [
          source,
          users.flatMap((user) => user.externalId ?? []),
          users.map((user) => foldAddress(user.userName)),
          users.flatMap((user) => user.entraObjectId ?? []),
          users.flatMap((user) => user.addresses),
        ],
      );
      const people = await list<{ person: PersonRow; users: UserRow[] | null }>(
        lists,
        `select ${personOf('p')} as person, ${usersOf('p')} as users from people p where p.person_id = any ($1::uuid[])`,
        [[...new Set(rows.map((row) => row.person_id))]],
      );
      const known = new Map(people.map((row) => [row.person.person_id, withSourcesFrom(row)]));
      return users.map((user): RowSight => {
        const key = foldAddress(user.userName);
        const near = rows.filter(
          (row) =>
            (row.source === source &&
              (row.user_name_key === key || (row.external_id !== null && row.external_id === user.externalId))) ||
            (row.entra_object_id !== null && row.entra_object_id === user.entraObjectId) ||
            row.addresses.some((address) => user.addresses.includes(address)),
        );
        const live = near.filter((row) => row.source === source && row.deleted_at === null);
        const own =
          live.find((row) => row.external_id !== null && row.external_id === user.externalId) ??
          live.find((row) => row.user_name_key === key);
        const all = own ? known.get(own.person_id) : undefined;
        return {
          own: own && all ? { stored: storedFrom(own), all } : null,
          candidates: candidatesFrom(near, user),
          people: new Map(
            near.flatMap((row) => {
              const person = known.get(row.person_id);
              return person ? [[row.person_id, person] as const] : [];
            }),
          ),
        };
      });
    },

    async peopleFacts(personIds) {
      const rows = await list<{ person_id: string; delegation: string | null; licenses: string[] | null }>(
        lists,
        `select p.person_id, p.conditions -> 'Delegation' ->> 'status' as delegation,
           (select array_agg(s.kind) from (select l.kind from account_licenses l where l.account_user_id = p.account_user_id
             union select v.kind from vendor_seats v where v.person_id = p.person_id) as s) as licenses
         from people p where p.person_id = any ($1::uuid[])`,
        [personIds],
      );
      return new Map(
        rows.map((row) => [row.person_id, { delegation: row.delegation ?? 'unknown', licenses: row.licenses ?? [] }]),
      );
    },

    async addRows(importId, rows) {
      await run(
        pool,
        {
          name: 'add-import-rows',
          text: `insert into import_rows (import_id, line, kind, who, note, suggestion, cells, fields, person_id, resource_id, version, generation, state)
            select $1, r.line, r.kind, r.who, r.note, r.suggestion, r.cells, r.fields, r."personId", r."resourceId", r.version, r.generation,
              case when r.fields is null then 'left' else 'waiting' end
            from jsonb_to_recordset($2::jsonb) as r (line integer, kind text, who text, note text, suggestion text, cells jsonb, fields jsonb,
              "personId" uuid, "resourceId" uuid, version integer, generation bigint)`,
        },
        [
          importId,
          JSON.stringify(
            rows.map(({ lifecycle, wish, ...row }) => ({
              ...row,
              fields: row.fields && { ...row.fields, plan: { lifecycle, wish } },
            })),
          ),
        ],
      );
    },

    async endReading(importId, end) {
      if (end.state === 'failed')
        await run(
          pool,
          {
            name: 'fail-import',
            text: `update imports set state = 'failed', failure = $2, finished_at = now() where import_id = $1`,
          },
          [importId, end.failure],
        );
      else
        await run(
          pool,
          {
            name: 'plan-import',
            text: `update imports set state = 'planned', file_hash = $2, plan_hash = $3, columns = $4, summary = $5 where import_id = $1`,
          },
          [importId, end.fileHash, end.planHash, end.columns, json(end.summary)],
        );
    },

    async import(importId) {
      if (!isUuid(importId)) return null;
      const rows = await run<ImportDbRow>(
        pool,
        { name: 'import', text: 'select * from imports where import_id = $1' },
        [importId],
      );
      return rows[0] ? importFrom(rows[0]) : null;
    },

    async imports(limit) {
      const rows = await run<ImportDbRow>(
        pool,
        { name: 'imports', text: 'select * from imports order by created_at desc limit $1' },
        [limit],
      );
      return rows.map(importFrom);
    },

    async importProgress(importId) {
      const states = await list<{ state: ImportRow['state']; count: string }>(
        lists,
        'select state, count(*) as count from import_rows where import_id = $1 group by state',
        [importId],
      );
      const people = await list<Record<string, string>>(
        lists,
        `select count(*) as people, count(*) filter (where p.ready) as ready,
           ${['Profile', 'Delegation', 'License', 'BookingPages']
             .map((type) => `count(*) filter (where p.conditions -> '${type}' ->> 'status' = 'true') as "${type}"`)
             .join(', ')}
         from (select distinct person_id from import_rows where import_id = $1 and state = 'applied' and person_id is not null) r join people p using (person_id)
         where p.lifecycle = 'wanted'`,
        [importId],
      );
      const { people: count = '0', ready = '0', ...conditions } = people[0] ?? {};
      const rows: ImportProgress['rows'] = { waiting: 0, applied: 0, plan_stale: 0, failed: 0, left: 0 };
      for (const row of states) rows[row.state] = Number(row.count);
      return {
        rows,
        people: Number(count),
        ready: Number(ready),
        conditions: Object.fromEntries(Object.entries(conditions).map(([type, value]) => [type, Number(value)])),
      };
    },

    async importPace(importId) {
      const rows = await list<{ seconds: string; since: Date | null; stretch: number | null; ready: string }>(
        lists,
        `with r as (
           select extract(epoch from p.first_ready_at) as at
           from (select distinct person_id from import_rows where import_id = $1 and state = 'applied' and person_id is not null) d
             join people p using (person_id), imports i
           where i.import_id = $1 and p.first_ready_at >= i.created_at
         ), s as (select min(at) as first, greatest(1, ceil((max(at) - min(at)) / 59)) as seconds from r)
         select s.seconds, to_timestamp(s.first) as since, floor((r.at - s.first) / s.seconds)::integer as stretch, count(r.at) as ready
         from s left join r on true group by 1, 2, 3`,
        [importId],
      );
      const seconds = Number(rows[0]?.seconds ?? 1);
      const ready: number[] = [];
      for (const row of rows) if (row.stretch !== null) ready[row.stretch] = Number(row.ready);
      return { seconds, since: rows[0]?.since ?? null, ready: Array.from(ready, (count) => count ?? 0) };
    },

    async importRows(importId, { kind, state, after, limit }) {
      const rows = await list<RowDbRow>(
        lists,
        `select * from import_rows where import_id = $1 and line > $2 and ($3::text is null or kind = any (string_to_array($3, ','))) and ($4::text is null or state = any (string_to_array($4, ',')))
         order by line limit $5`,
        [importId, after, kind ?? null, state ?? null, limit],
      );
      return rows.map(rowFrom);
    },

    async planOfFile(fileHash, exceptId) {
      const rows = await run<ImportDbRow>(
        pool,
        {
          name: 'plan-of-file',
          text: `select * from imports where file_hash = $1 and import_id <> $2 and state = 'planned' order by created_at desc limit 1`,
        },
        [fileHash, exceptId],
      );
      return rows[0] ? importFrom(rows[0]) : null;
    },

    async moveImport(importId, from, to, by) {
      const rows = await run(
        pool,
        {
          name: 'move-import',
          text: `update imports set state = $3, lease_until = '-infinity', applied_by = coalesce($4, applied_by),
              applied_at = case when $3 = 'applying' then coalesce(applied_at, now()) else applied_at end
            where import_id = $1 and state = any ($2::text[]) returning 1`,
        },
        [importId, from, to, by],
      );
      return rows.length > 0;
    },

    async claimImport(leaseSeconds) {
      const rows = await run<ImportDbRow>(
        pool,
        {
          name: 'claim-import',
          text: `update imports set lease_until = now() + make_interval(secs => $1)
            where import_id = (select import_id from imports where state = 'applying' and lease_until < now() order by applied_at limit 1 for update skip locked)
            returning *`,
        },
        [leaseSeconds],
      );
      return rows[0] ? importFrom(rows[0]) : null;
    },

    async holdImport(importId, leaseSeconds) {
      const rows = await run(
        pool,
        {
          name: 'hold-import',
          text: `update imports set lease_until = now() + make_interval(secs => $2) where import_id = $1 and state = 'applying' returning 1`,
        },
        [importId, leaseSeconds],
      );
      return rows.length > 0;
    },

    async waitingRows(importId, limit) {
      const rows = await run<RowDbRow>(
        pool,
        {
          name: 'waiting-import-rows',
          text: `select * from import_rows where import_id = $1 and state = 'waiting' order by line limit $2`,
        },
        [importId, limit],
      );
      return rows.map(rowFrom);
    },

    async settleRows(importId, rows) {
      await run(
        pool,
        {
          name: 'settle-import-rows',
          text: `update import_rows i set state = r.state, result = r.result, person_id = coalesce(r."personId", i.person_id)
            from jsonb_to_recordset($2::jsonb) as r (line integer, state text, result text, "personId" uuid)
            where i.import_id = $1 and i.line = r.line`,
        },
        [importId, JSON.stringify(rows)],
      );
    },

    async finishImport(importId) {
      await run(
        pool,
        {
          name: 'finish-import',
          text: `update imports set state = 'done', finished_at = now() where import_id = $1 and state = 'applying'
            and not exists (select 1 from import_rows where import_id = $1 and state = 'waiting')`,
        },
        [importId],
      );
    },
  };
}
