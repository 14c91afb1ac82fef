/** What a reconciliation found: one row a difference, so that it can be sent on. */
export const sql = `
create table drift (
  run_id uuid not null references runs (run_id) on delete cascade,
  drift_no integer not null,
  kind text not null,
  person_id uuid,
  account_user_id text,
  who text not null,
  what text not null,
  owner text not null,
  since timestamptz,
  -- What the policy says of this kind, and what came of it.
  mode text not null check (mode in ('correct', 'report')),
  state text not null check (state in ('found', 'corrected')),
  primary key (run_id, drift_no)
);
create index drift_person on drift (person_id);
`;
