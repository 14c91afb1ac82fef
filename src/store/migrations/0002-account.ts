/**
 * The built-in scheduling account. Its rules hold in the domain and here: one owner per page, one seat of a kind per user, one user per person.
 */
export const sql = `
create table account_users (
  account_user_id uuid primary key,
  person_id uuid unique,
  name text not null,
  email text not null,
  email_key text not null,
  role text not null check (role in ('Administrator', 'Member')),
  signed_in_at timestamptz,
  invited_at timestamptz,
  suspended boolean not null default false,
  sign_in_blocked boolean not null default false,
  time_zone text,
  founder boolean not null default false,
  created_at timestamptz not null default now()
);
-- Checked at the end of a statement, so that two users can exchange their addresses in one.
alter table account_users add constraint account_users_email unique (email_key) deferrable initially immediate;
create index account_users_name on account_users (lower(name));

create table account_pools (
  kind text primary key,
  bought integer check (bought >= 0),
  assigned integer not null default 0 check (assigned >= 0),
  check (bought is null or assigned <= bought)
);

create table account_licenses (
  account_user_id uuid not null references account_users (account_user_id) on delete cascade,
  kind text not null references account_pools (kind),
  given_by_usher boolean not null default false,
  rule text,
  assigned_at timestamptz not null default now(),
  primary key (account_user_id, kind)
);
create index account_licenses_rule on account_licenses (kind, rule);

create table account_waiting (
  kind text not null references account_pools (kind),
  person_id uuid not null,
  since timestamptz not null,
  rule text not null,
  primary key (kind, person_id)
);
create index account_waiting_line on account_waiting (kind, since, person_id);

create table account_pages (
  page_id uuid primary key,
  link_name text not null unique,
  owner_id uuid not null references account_users (account_user_id),
  enabled boolean not null,
  disabled_by text,
  disabled_why text,
  created_at timestamptz not null default now()
);
create index account_pages_owner on account_pages (owner_id);

create table account_mails (
  mail_id uuid primary key,
  account_user_id uuid not null references account_users (account_user_id) on delete cascade,
  kind text not null,
  recipient text not null,
  subject text not null,
  created_at timestamptz not null default now(),
  sent_at timestamptz
);
`;
