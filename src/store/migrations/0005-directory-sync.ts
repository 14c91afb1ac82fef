/** The directory poller: where it goes on, one at a time across all processes, and what it has seen of a full read. */
export const sql = `
create table directory_syncs (
  source text primary key,
  fence bigint not null default 0,
  lease_until timestamptz not null default '-infinity',
  next_at timestamptz not null default now(),
  -- Asked for by somebody, or by a change notification.
  requested_at timestamptz,
  full_requested boolean not null default false,
  last_finished_at timestamptz,
  subscription jsonb
);

-- One a kind of thing: where to go on, and whether the present pass is a full read.
create table directory_passes (
  source text not null,
  kind text not null check (kind in ('users', 'groups')),
  link text,
  -- The link is the one that ended a pass; null or a next link means a pass is going on.
  finished boolean not null default false,
  is_full boolean not null default true,
  -- Whether what a full read did not show has been looked for; a pass is not over before.
  swept boolean not null default false,
  round bigint not null default 1,
  selected text not null default '',
  primary key (source, kind)
);

-- Said to be gone, and not confirmed: by a direct read that gave no answer, or that still showed them. Asked again each round.
create table directory_doubts (
  source text not null,
  external_id text not null,
  since timestamptz not null default now(),
  primary key (source, external_id)
);

-- In which full read a row was last seen.
alter table directory_users add column seen_round bigint;
alter table groups add column seen_round bigint;
alter table group_members add column seen_round bigint;

alter table runs add column report jsonb;
alter table runs add column ended_at timestamptz;
`;
