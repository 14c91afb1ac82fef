/** Groups with members as rows, what the identity providers sent, and what an operator must know of. */
export const sql = `
create table groups (
  group_id uuid primary key,
  source text not null references sources (name),
  external_id text,
  display_name text not null,
  display_key text not null,
  version integer not null default 1,
  created_at timestamptz not null default now(),
  last_modified_at timestamptz not null default now()
);
create unique index groups_external_id on groups (source, external_id) where external_id is not null;
create index groups_display_key on groups (source, display_key);
create index groups_order on groups (source, created_at, group_id);

create table group_members (
  group_id uuid not null references groups (group_id) on delete cascade,
  member_id uuid not null,
  kind text not null check (kind in ('User', 'Group')),
  primary key (group_id, member_id)
);
create index group_members_member on group_members (member_id);

-- Counts the changes of groups that a person's wish has not been looked at under yet.
alter table people add column reconsider integer not null default 0;

create table scim_requests (
  request_no bigint generated always as identity primary key,
  request_id text not null,
  source text not null,
  at timestamptz not null,
  method text not null,
  path text not null,
  status integer not null,
  took_ms integer not null,
  body jsonb,
  answer text
);
-- Written in order of time, so ranges of blocks are index enough; anything finer would cost every request.
create index scim_requests_at on scim_requests using brin (at);

create table alerts (
  key text primary key,
  kind text not null,
  message text not null,
  raised_at timestamptz not null default now(),
  resolved_at timestamptz
);

insert into facts (key, value) values ('cursor_secret', gen_random_uuid()::text || gen_random_uuid()::text) on conflict do nothing;
`;
