/**
 * The account as an organisation runs on it: settings of users, pages with titles, sign-in, the outbox, and rules that the database
 * itself refuses to see broken:
 *
 * | rule | held by |
 * |---|---|
 * | a pool is never exceeded, and its ledger is what was given | the check on `account_pools`, counted by a trigger |
 * | an enabled page has a licensed owner | the foreign key `account_pages_licensed` |
 * | history is only added to | the trigger `history_append_only` |
 * | a licensed Administrator remains (on a paid plan), an Administrator always | the trigger `account_keeps_an_administrator` |
 */
export const sql = `
create table account_settings (
  one boolean primary key default true check (one),
  plan text not null default 'paid' check (plan in ('free', 'paid'))
);
insert into account_settings default values;

alter table account_users
  add column phone text,
  add column job_title text,
  -- Only what differs from the defaults.
  add column notifications jsonb not null default '{}',
  add column date_time jsonb not null default '{}',
  add column product_settings jsonb not null default '{}',
  add column switches jsonb not null default '{}',
  -- Bound at the first sign-in with Entra ID, and never to another one.
  add column entra_object_id text unique,
  add column last_signed_in_at timestamptz,
  -- What the list is searched by.
  add column search text generated always as (lower(name || ' ' || email)) stored;
-- Which three letters stand side by side: what a search for a part of a name is narrowed by.
create function usher_trigrams(text) returns text[] immutable strict parallel safe language sql as $$
  select coalesce(array_agg(distinct substr($1, n, 3)), '{}') from generate_series(1, length($1) - 2) as n
$$;
create index account_users_search on account_users using gin (usher_trigrams(search));
drop index account_users_name;
create index account_users_by_name on account_users (lower(name), account_user_id);
create index account_users_by_email on account_users (email_key, account_user_id);
create index account_users_by_role on account_users (role, lower(name), account_user_id);
create index account_users_by_status on account_users ((signed_in_at is not null), lower(name), account_user_id);
create index account_users_by_created on account_users (created_at, account_user_id);

alter table account_pages
  add column title text,
  add column created_by text,
  add column disabled_at timestamptz,
  add column licensed_by text generated always as (case when enabled then 'scheduled-meetings' end) stored;
alter table account_pages add column search text generated always as (link_name || ' ' || lower(coalesce(title, ''))) stored;
create index account_pages_search on account_pages using gin (usher_trigrams(search));
create index account_pages_by_title on account_pages (lower(coalesce(title, link_name)), page_id);
update account_pages p set enabled = false, disabled_by = 'license', disabled_why = 'the owner has no license'
  where enabled and not exists (select 1 from account_licenses l where l.account_user_id = p.owner_id and l.kind = 'scheduled-meetings');
alter table account_pages add constraint account_pages_licensed foreign key (owner_id, licensed_by) references account_licenses (account_user_id, kind);

-- Whoever an Administrator put in line by hand: without a person, and served in the transaction that frees a seat.
alter table account_waiting add column account_user_id uuid references account_users (account_user_id) on delete cascade;
create index account_waiting_person on account_waiting (person_id);

alter table account_pools add column target integer;

-- The ledger: whoever gives or takes a license counts it, in the same statement.
create function account_count_seat() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' then
    update account_pools set assigned = assigned + 1 where kind = new.kind;
  else
    -- A pool that holds more than was bought, because it was smaller than what was given, comes down with what is given back.
    update account_pools set assigned = assigned - 1,
      bought = case when target is not null and bought > target then greatest(target, assigned - 1) else bought end
    where kind = old.kind;
  end if;
  return null;
end $$;
create trigger account_licenses_count after insert or delete on account_licenses for each row execute function account_count_seat();

-- Only an erasure changes what was written, and says so first.
create function history_append_only() returns trigger language plpgsql as $$
begin
  if coalesce(current_setting('usher.erasing', true), '') <> 'on' then
    raise exception 'history is only added to' using errcode = '42501';
  end if;
  return new;
end $$;
create trigger history_append_only before update or delete on history for each row execute function history_append_only();

create function account_keeps_an_administrator() returns trigger language plpgsql as $$
declare
  administrators integer;
  licensed integer;
begin
  if tg_table_name = 'account_licenses' and not exists (
    select 1 from account_users u where u.account_user_id = old.account_user_id and u.role = 'Administrator') then
    return null;
  end if;
  -- One at a time: the second of two that race looks after the first has committed.
  perform pg_advisory_xact_lock(hashtextextended('usher/administrators', 0));
  select count(*), count(*) filter (where exists (select 1 from account_licenses l where l.account_user_id = u.account_user_id))
    into administrators, licensed from account_users u where u.role = 'Administrator' and not u.suspended;
  -- Whoever goes without a license takes none away.
  if tg_table_name = 'account_users' and tg_op = 'UPDATE' and not exists (
    select 1 from account_licenses l where l.account_user_id = old.account_user_id) then
    licensed = 1;
  end if;
  if administrators = 0 or (licensed = 0 and exists (select 1 from account_settings where plan = 'paid')) then
    raise exception 'the last Administrator with a license' using errcode = '23514', constraint = 'account_keeps_an_administrator';
  end if;
  return null;
end $$;
create trigger account_users_keep_an_administrator after update of role, suspended on account_users
  for each row when (old.role = 'Administrator' and (new.role <> 'Administrator' or (new.suspended and not old.suspended))) execute function account_keeps_an_administrator();
create trigger account_users_keep_an_administrator_too after delete on account_users
  for each row when (old.role = 'Administrator') execute function account_keeps_an_administrator();
create trigger account_licenses_keep_an_administrator after delete on account_licenses
  for each row execute function account_keeps_an_administrator();

alter table account_mails
  add column state text not null default 'waiting' check (state in ('waiting', 'sent', 'refused', 'failed', 'bounced')),
  add column attempts integer not null default 0,
  add column next_at timestamptz not null default now(),
  add column last_error text,
  add column last_attempt_at timestamptz;
update account_mails set state = 'sent' where sent_at is not null;
create index account_mails_due on account_mails (next_at) where state in ('waiting', 'refused', 'bounced');
create index account_mails_user on account_mails (account_user_id);
create index account_mails_order on account_mails (created_at, mail_id);

create table account_sign_in_tokens (
  hash text primary key,
  account_user_id uuid not null references account_users (account_user_id) on delete cascade,
  mail_id uuid references account_mails (mail_id) on delete cascade,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  used_at timestamptz
);
create index account_sign_in_tokens_user on account_sign_in_tokens (account_user_id);

create table account_sessions (
  session_id uuid primary key,
  hash text not null unique,
  -- The value before the last rotation: requests that were under way still carry it.
  former_hash text,
  rotated_at timestamptz not null default now(),
  account_user_id uuid references account_users (account_user_id) on delete cascade,
  -- Of a sign-in without a user of the account: the admin token, or an Entra group of the policy.
  token_id uuid references tokens (token_id),
  -- Of somebody who is no user: the object id, which says nothing to whoever reads the history.
  object_id text,
  name text not null,
  -- Groups that the policy gives roles by; which roles, is the policy's word at each request.
  groups text[] not null default '{}',
  how text not null check (how in ('invitation', 'entra', 'token')),
  created_at timestamptz not null default now(),
  last_seen_at timestamptz not null default now(),
  expires_at timestamptz not null
);
create index account_sessions_user on account_sessions (account_user_id);
create index account_sessions_former on account_sessions (former_hash) where former_hash is not null;

create table account_idempotency (
  actor text not null,
  key text not null,
  request_hash text not null,
  answer jsonb not null,
  created_at timestamptz not null default now(),
  primary key (actor, key)
);
create index account_idempotency_age on account_idempotency (created_at);

-- What an Administrator changed by hand against the wish, until it is taken back.
alter table people add column kept jsonb not null default '{}';

-- The subject of a row is a person; for a user of the account without one, it is that user.
create index history_account on history (history_id) where action like 'account.%';
`;
