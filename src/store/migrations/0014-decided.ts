/** When somebody decided, beside who. */
export const sql = `
alter table removals add column decided_at timestamptz;
alter table plan_items add column decided_at timestamptz;
`;
