/**
 * What the planner knows of the tables. A first import fills them within minutes of their making, and a statement planned over an empty table
 * keeps that plan until somebody analyses it; autovacuum looks once a minute at most, and by then creates had slowed to a sixth.
 */
import type { Pool } from 'pg';

const everyMs = 3000;

const outdated = `
select relname from pg_stat_user_tables
where schemaname = current_schema() and n_mod_since_analyze > 200 + 0.3 * n_live_tup
  and relname = any (array['people', 'directory_users', 'groups', 'group_members', 'history', 'account_users', 'account_pages', 'account_licenses', 'account_waiting', 'account_mails'])`;

/** Ends with the returned function, which waits for a running ANALYZE. */
export function keepStatistics(pool: Pool, onError: (error: unknown) => void): () => Promise<void> {
  let running: Promise<void> = Promise.resolve();
  let idle = true;
  const look = async (): Promise<void> => {
    const { rows } = await pool.query<{ relname: string }>(outdated);
    for (const { relname } of rows) await pool.query(`analyze ${relname}`);
  };
  const timer = setInterval(() => {
    if (!idle) return;
    idle = false;
    running = look()
      .catch(onError)
      .finally(() => {
        idle = true;
      });
  }, everyMs);
  return async () => {
    clearInterval(timer);
    await running;
  };
}
