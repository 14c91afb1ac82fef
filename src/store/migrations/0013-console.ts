/** What the console shows: how many were Ready on which day, and everybody by name. */
export const sql = `
create table readiness (
  day date primary key,
  people integer not null,
  ready integer not null
);
create index people_by_user_name on people (user_name, person_id);
`;
