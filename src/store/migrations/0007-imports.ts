/** Tables of people, read into a plan and applied row by row: each row once, whoever dies in between. */
export const sql = `
create table imports (
  import_id uuid primary key,
  source text not null,
  name text not null,
  state text not null check (state in ('reading', 'planned', 'applying', 'stopped', 'done', 'failed')),
  file_hash text,
  -- Of everything that the plan says: two plans of one file agree when these do.
  plan_hash text,
  policy_version text not null,
  columns text[] not null default '{}',
  summary jsonb,
  failure text,
  created_by text not null,
  created_at timestamptz not null default now(),
  applied_by text,
  applied_at timestamptz,
  finished_at timestamptz,
  lease_until timestamptz not null default '-infinity'
);
create index imports_order on imports (created_at desc);
create index imports_applying on imports (lease_until) where state = 'applying';

create table import_rows (
  import_id uuid not null references imports (import_id) on delete cascade,
  line integer not null,
  kind text not null,
  who text not null,
  note text,
  suggestion text,
  -- The cells as they were sent, for the file of errors.
  cells jsonb not null,
  fields jsonb,
  -- What was seen when the plan was made; applying compares.
  person_id uuid,
  resource_id uuid,
  version integer,
  generation bigint,
  state text not null default 'waiting' check (state in ('waiting', 'applied', 'plan_stale', 'failed', 'left')),
  result text,
  primary key (import_id, line)
);
create index import_rows_waiting on import_rows (import_id, line) where state = 'waiting';
create index import_rows_person on import_rows (person_id) where person_id is not null;
`;
