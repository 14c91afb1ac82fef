/**
 * No index begins with the source, and those of one row each name it only to be unique. A plan that is made while the table is empty finds all indexes
 * equally good, and is kept: beside an index on the source it walked all users of the source for each create.
 */
export const sql = `
drop index directory_users_display_key;
drop index directory_users_user_name;
drop index directory_users_external_id;
drop index directory_users_tombstone_name;
drop index directory_users_tombstone_external;
drop index directory_users_order;
create index directory_users_display_key on directory_users (display_key) where deleted_at is null;
create unique index directory_users_user_name on directory_users (user_name_key, source) where deleted_at is null;
create unique index directory_users_external_id on directory_users (external_id, source) where deleted_at is null and external_id is not null;
create index directory_users_tombstone_name on directory_users (user_name_key) where deleted_at is not null;
create index directory_users_tombstone_external on directory_users (external_id) where deleted_at is not null;
create index directory_users_order on directory_users (created_at, resource_id) include (source) where deleted_at is null;
`;
