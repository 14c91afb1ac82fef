/**
 * The truth: people, what the sources say of them, history, removals, access.
 *
 * `people` holds a person's conditions in the same row. A claim, a settlement and the derived columns (`ready`, `next_at`) are then one
 * row's business, and two workers that settle side by side can not miss each other's condition.
 */
export const sql = `
create table sources (
  name text primary key,
  kind text not null,
  paused_at timestamptz,
  last_heard_at timestamptz
);

create table tokens (
  token_id uuid primary key,
  kind text not null check (kind in ('scim', 'admin')),
  source text references sources (name),
  label text not null,
  hash text not null unique,
  fixed boolean not null default false,
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  last_used_at timestamptz,
  revoked_at timestamptz
);

create table facts (
  key text primary key,
  value text not null
);

create table people (
  person_id uuid primary key,
  lifecycle text not null check (lifecycle in ('wanted', 'out_of_scope', 'held', 'leaving', 'suspended', 'gone')),
  generation bigint not null default 1,
  wish jsonb,
  leave jsonb,
  leaving_since timestamptz,
  suspended_at timestamptz,
  ambiguous_with uuid[] not null default '{}',
  account_user_id uuid,
  account_user_origin text check (account_user_origin in ('created', 'adopted')),
  wished_at timestamptz not null default now(),
  created_at timestamptz not null default now(),
  conditions jsonb not null,
  ready boolean not null default false,
  first_ready_at timestamptz,
  next_at timestamptz,
  account_fence bigint not null default 0,
  account_lease_until timestamptz not null default '-infinity',
  delegation_fence bigint not null default 0,
  delegation_lease_until timestamptz not null default '-infinity',
  source text not null,
  external_id text,
  user_name text not null,
  display_name text,
  email text,
  active boolean not null
) with (fillfactor = 70);

create unique index people_account_user on people (account_user_id) where account_user_id is not null;
create index people_next_at on people (next_at) where next_at is not null;
create index people_wished_pages on people using gin ((wish -> 'bookingPages')) where lifecycle = 'wanted' and wish -> 'bookingPages' <> '[]';

create table directory_users (
  resource_id uuid primary key,
  -- No foreign key to sources: every create would lock the one row of its source, all of them the same.
  source text not null,
  person_id uuid not null references people (person_id),
  external_id text,
  user_name text not null,
  user_name_key text not null,
  active boolean not null,
  entra_object_id text,
  addresses text[] not null,
  -- A column of its own: an index over an expression of \`resource\` would make every change of a user a change of all its indexes.
  display_key text,
  described jsonb not null,
  resource jsonb not null,
  version integer not null default 1,
  active_since timestamptz not null default now(),
  created_at timestamptz not null default now(),
  last_modified_at timestamptz not null default now(),
  deleted_at timestamptz
) with (fillfactor = 85);

create index directory_users_display_key on directory_users (source, display_key) where deleted_at is null;
create unique index directory_users_user_name on directory_users (source, user_name_key) where deleted_at is null;
create unique index directory_users_external_id on directory_users (source, external_id) where deleted_at is null and external_id is not null;
create index directory_users_tombstone_name on directory_users (source, user_name_key) where deleted_at is not null;
create index directory_users_tombstone_external on directory_users (source, external_id) where deleted_at is not null;
create index directory_users_person on directory_users (person_id);
create index directory_users_entra on directory_users (entra_object_id) where entra_object_id is not null;
-- Nearly everybody has one address: a plain index serves them, and only aliases pay for the other kind.
create index directory_users_address on directory_users ((addresses[1]));
create index directory_users_aliases on directory_users using gin (addresses) with (fastupdate = off) where cardinality(addresses) > 1;
create index directory_users_order on directory_users (source, created_at, resource_id) where deleted_at is null;

create table history (
  history_id bigint generated always as identity,
  person_id uuid not null,
  at timestamptz not null default now(),
  actor text not null,
  cause text not null,
  action text not null,
  before jsonb,
  after jsonb,
  primary key (person_id, history_id)
);

create table runs (
  run_id uuid primary key,
  kind text not null,
  state text not null,
  source text,
  created_at timestamptz not null default now(),
  expires_at timestamptz
);

create table removals (
  person_id uuid not null references people (person_id),
  generation bigint not null,
  source text not null,
  state text not null check (state in ('admitted', 'held', 'kept')),
  run_id uuid references runs (run_id),
  cause text not null,
  at timestamptz not null default now(),
  admitted_at timestamptz,
  decided_by text,
  primary key (person_id, generation)
);
create index removals_admitted on removals (admitted_at) where state = 'admitted';
create index removals_run on removals (run_id);

create table provisions (
  provision_id uuid primary key,
  person_id uuid not null references people (person_id),
  plan boolean not null,
  requested_by text not null,
  requested_at timestamptz not null default now(),
  result jsonb
);
create index provisions_open on provisions (requested_at) where result is null;

-- Refuses a statement whose compare-and-set failed half-way, so that nothing of it is kept.
create function usher_conflict() returns boolean language plpgsql as $$
begin
  raise exception 'conflict' using errcode = '40001';
end $$;

-- Ready: wanted, and every required condition true for the newest wish.
create function usher_ready(lifecycle text, generation bigint, conditions jsonb, required text[]) returns boolean immutable language sql as $$
  select lifecycle = 'wanted' and not exists (
    select 1 from unnest(required) as type
    where conditions -> type ->> 'status' is distinct from 'true'
       or (conditions -> type ->> 'generation')::bigint is distinct from generation)
$$;

-- The earliest time that a condition asks for, of those that a step could act on: a seat that waits for the delegation has no time of its own.
-- One that speaks of an older wish, or waited for what has come, is looked at in seconds; a fresh one in half a minute.
create function usher_next_check(conditions jsonb, generation bigint, delegation text) returns timestamptz stable language sql as $$
  select min(case
    when (c.value ->> 'generation')::bigint is distinct from generation then now() + interval '5 seconds'
    when c.value ->> 'status' <> 'true' and c.value ->> 'reason' like 'needs\\_%' then now() + interval '5 seconds'
    when c.value ->> 'nextCheckAt' is not null then (c.value ->> 'nextCheckAt')::timestamptz
    when c.value ->> 'checkedAt' is null then now() + interval '30 seconds'
  end)
  from jsonb_each(conditions) as c
  where case c.key
    when 'Delegation' then delegation <> 'ignored'
    when 'License' then conditions -> 'Profile' ->> 'status' = 'true'
      and (delegation <> 'required' or conditions -> 'Delegation' ->> 'status' = 'true' or conditions -> 'License' ->> 'status' = 'true')
    when 'BookingPages' then conditions -> 'License' ->> 'status' = 'true'
    else true end
$$;
`;
