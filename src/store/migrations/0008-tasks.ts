/**
 * Work that only people can do, and accounts that are somebody else's product.
 *
 * `account_user_id` stays the key of the built-in account; a vendor's key is text and stands beside it. Whoever acts on a vendor writes down first what
 * is about to happen (`vendor_effects`): a call that timed out may still take effect, and nobody repeats it before that time is over.
 */
export const sql = `
alter table people add column vendor_user_id text;
create unique index people_vendor_user on people (vendor_user_id) where vendor_user_id is not null;

create table tasks (
  task_id uuid primary key,
  person_id uuid not null references people (person_id),
  step text not null,
  kind text not null,
  role text not null,
  state text not null check (state in ('open', 'done', 'withdrawn')),
  who text not null,
  email text,
  account_user_id text,
  title text not null,
  instructions text[] not null,
  -- What is to be done, as data: seats, pages, an address, future bookings.
  wants jsonb not null,
  opened_at timestamptz not null default now(),
  due_at timestamptz not null,
  reminded_at timestamptz,
  reminders integer not null default 0,
  said_by text,
  said_at timestamptz,
  -- Why what was said is not believed.
  contradiction text,
  closed_at timestamptz,
  closed_by text,
  -- A word stands for this long, where nothing can be looked at.
  expires_at timestamptz
);
create unique index tasks_one_open on tasks (person_id, step) where state = 'open';
create index tasks_standing on tasks (person_id, step) where state = 'done' and expires_at is not null;
create index tasks_order on tasks (kind, opened_at, task_id) where state = 'open';
create index tasks_due on tasks (due_at) where state = 'open';

-- What those who run Usher must know, by mail or posted to their own systems. Whoever takes one first sends it.
create table notices (
  notice_id uuid primary key,
  channel text not null default 'mail' check (channel in ('mail', 'webhook')),
  -- An e-mail address, or where it is posted to.
  recipient text not null,
  subject text not null,
  body text not null,
  created_at timestamptz not null default now(),
  next_at timestamptz not null default now(),
  attempts integer not null default 0,
  state text not null default 'waiting' check (state in ('waiting', 'sent', 'failed')),
  last_error text
);
create index notices_due on notices (next_at) where state = 'waiting';

create table vendor_users (
  person_id uuid primary key references people (person_id),
  email_key text not null,
  account_user_id text,
  -- When the create was begun: only a fresh one can be what a user of that address comes from.
  begun_at timestamptz not null default now(),
  -- A create that may still take effect until then.
  uncertain_until timestamptz not null default '-infinity',
  -- Deleted by somebody else, how often, and when last.
  losses integer not null default 0,
  lost_at timestamptz not null default '-infinity'
);
create unique index vendor_users_account_user on vendor_users (account_user_id) where account_user_id is not null;
create index vendor_users_email on vendor_users (email_key);

create table vendor_effects (
  person_id uuid primary key references people (person_id),
  fence bigint not null,
  what text not null,
  until timestamptz not null
);

create table vendor_seats (
  person_id uuid not null references people (person_id),
  kind text not null,
  account_user_id text not null,
  rule text not null,
  -- reserved: somebody was asked to assign it; held: it is there, by this evidence.
  state text not null check (state in ('reserved', 'held')),
  evidence text,
  at timestamptz not null default now(),
  primary key (person_id, kind)
);
create index vendor_seats_kind on vendor_seats (kind, rule);
create index vendor_seats_user on vendor_seats (account_user_id);

-- The connection to a vendor, shared by all processes: why nothing may be asked, until when.
create table vendor_connection (
  one boolean primary key default true check (one),
  paused_until timestamptz not null default '-infinity',
  paused_code text,
  paused_why text,
  no_creates_until timestamptz not null default '-infinity',
  slowed integer not null default 0
);
insert into vendor_connection default values;

create table vendor_requests (
  request_id bigint generated always as identity primary key,
  at timestamptz not null,
  ended_at timestamptz
);
create index vendor_requests_at on vendor_requests (at);

-- May one more request go? Then its number is given, and it is counted; else the milliseconds to wait. Both windows slide, whoever asks. A request arrives
-- some time between its start and its answer: of the burst, the one so many before must have been answered for a whole window, and the long window is
-- longer than the vendor's by the longest time a request may take.
create function usher_vendor_take(burst integer, burst_ms double precision, most integer, window_ms double precision, longest_ms double precision,
  out wait double precision, out request_id bigint)
language plpgsql as $$
declare
  now_at timestamptz;
  edge vendor_requests;
begin
  perform pg_advisory_xact_lock(hashtextextended('usher/vendor-requests', 0));
  now_at := clock_timestamp();
  wait := 0;
  delete from vendor_requests r where r.at < now_at - make_interval(secs => (window_ms + longest_ms) / 1000.0);
  for edge in select * from vendor_requests r order by r.at desc limit 1 offset burst - 1 loop
    if edge.ended_at is null and edge.at > now_at - make_interval(secs => longest_ms / 1000.0) then
      wait := burst_ms;
    else
      wait := burst_ms - extract(epoch from now_at - coalesce(edge.ended_at, edge.at + make_interval(secs => longest_ms / 1000.0))) * 1000;
    end if;
  end loop;
  for edge in select * from vendor_requests r order by r.at desc limit 1 offset most - 1 loop
    wait := greatest(wait, window_ms + longest_ms - extract(epoch from now_at - edge.at) * 1000);
  end loop;
  if wait <= 0 then
    wait := 0;
    insert into vendor_requests (at) values (now_at) returning vendor_requests.request_id into request_id;
  end if;
end $$;
`;
