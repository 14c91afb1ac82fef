/** Steps of many people in one statement, and what a step did kept beside its effect until the history has it. */
export const sql = `
-- Written in the transaction of the effect, and taken into the history by the settlement: whoever dies between the two leaves it to whoever comes after.
alter table people add column unrecorded jsonb not null default '[]';

-- Seats that an Administrator had given by hand to somebody who left: what a return within the grace period gives back, beside the pages.
alter table people add column taken_seats text[] not null default '{}';

-- Every new person is looked up here a moment later: what lies in the list of the pending would be read through each time.
alter index people_wished_pages set (fastupdate = off);
select gin_clean_pending_list('people_wished_pages');

-- A reconciliation that does what an earlier one showed says of whom it did not.
alter table drift drop constraint drift_state_check, add constraint drift_state_check check (state in ('found', 'corrected', 'plan_stale'));

-- What came since a moment ago, for whoever watches: rows lie in the order of their numbers, so a summary of each stretch of the table is enough.
create index history_recent on history using brin (history_id) with (pages_per_range = 16, autosummarize = on);

-- Given licenses are counted once a statement, not once a row.
drop trigger account_licenses_count on account_licenses;
create trigger account_licenses_count after delete on account_licenses for each row execute function account_count_seat();
create function account_count_seats_given() returns trigger language plpgsql as $$
begin
  update account_pools p set assigned = p.assigned + c.given from (select kind, count(*) as given from given group by kind) as c where p.kind = c.kind;
  return null;
end $$;
create trigger account_licenses_count_given after insert on account_licenses referencing new table as given
  for each statement execute function account_count_seats_given();
`;
