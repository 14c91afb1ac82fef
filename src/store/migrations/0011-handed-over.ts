/** What a leaver's Booking pages were and who got them: what a return within the grace period gives back. */
export const sql = `
alter table people add column handed_over jsonb not null default '[]';
`;
