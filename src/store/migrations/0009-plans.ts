/** Plans: what a run would change of whom, kept until somebody says what is to become of it. */
export const sql = `
create table plan_items (
  run_id uuid not null references runs (run_id) on delete cascade,
  person_id uuid not null references people (person_id),
  -- What was seen when the plan was made; applying compares.
  generation bigint not null,
  effect text not null check (effect in ('gives', 'takes')),
  what text[] not null,
  before jsonb,
  after jsonb,
  state text not null default 'waiting' check (state in ('waiting', 'applied', 'kept', 'plan_stale')),
  decided_by text,
  primary key (run_id, person_id)
);
create index plan_items_person on plan_items (person_id);
`;
