/** The first start of the account, and pages that exist before anybody is wished to own them. */
import type pg from 'pg';
import { foldAddress } from '../domain/email-address.ts';
import { schedulingLicense } from '../domain/license.ts';
import { newId } from '../ids.ts';
import { type AccountDatabase, change } from './database.ts';
import { serveLine } from './seats.ts';
import { putMail } from './users.ts';

export interface Founding {
  name: string;
  email: string;
  pools: Record<string, number | null>;
  plan: 'free' | 'paid';
  /** Whether the address was named by somebody; one that was made up gets no mail. */
  isNamed: boolean;
}

/**
 * The first start: the pools, and the founding Administrator with a license on a paid plan. A later start only follows the policy's pool
 * sizes, never below what is assigned.
 */
export async function foundAccount(
  database: AccountDatabase,
  founding: Founding,
): Promise<{ founded: boolean; shrunkTo: Record<string, number>; administratorUnlicensed: boolean }> {
  return change(database, async (client) => {
    await client.query(`select pg_advisory_xact_lock(hashtextextended('usher/account', 0))`);
    await client.query('update account_settings set plan = $1 where plan <> $1', [founding.plan]);
    // The ledger is counted anew: an older version beside this one would have counted twice.
    await client.query('select 1 from account_pools order by kind for update');
    await client.query(
      `update account_pools p set assigned = held.count, bought = case when p.bought is not null then greatest(p.bought, held.count) end
       from (select o.kind, (select count(*) from account_licenses l where l.kind = o.kind) as count from account_pools o) as held
       where held.kind = p.kind and p.assigned <> held.count`,
    );
    const shrunkTo: Record<string, number> = {};
    for (const [kind, bought] of Object.entries(founding.pools)) {
      const { rows } = await client.query<{ bought: number | null; assigned: number }>(
        `insert into account_pools (kind, bought, target) values ($1, $2, $2)
         on conflict (kind) do update set target = excluded.target, bought = case when excluded.bought is null then null else greatest(excluded.bought, account_pools.assigned) end
         returning bought, assigned`,
        [kind, bought],
      );
      const row = rows[0];
      if (row && bought !== null && row.bought !== bought) shrunkTo[kind] = row.assigned;
    }
    const { rowCount } = await client.query('select 1 from account_users limit 1');
    const unlicensed = rowCount ? founding.plan === 'paid' && !(await licenseAdministrator(client)) : false;
    for (const kind of Object.keys(founding.pools)) await serveLine(client, kind);
    if (rowCount) return { founded: false, shrunkTo, administratorUnlicensed: unlicensed };
    const accountUserId = newId();
    await client.query(
      `insert into account_users (account_user_id, name, email, email_key, role, invited_at, founder) values ($1, $2, $3, $4, 'Administrator', case when $5::boolean then now() end, true)`,
      [accountUserId, founding.name, founding.email, foldAddress(founding.email), founding.isNamed],
    );
    if (founding.isNamed) await putMail(client, accountUserId, founding.email, 'invitation');
    // A seat that makes somebody bookable, where one was bought; else any.
    const first = [schedulingLicense, ...Object.keys(founding.pools).sort()].find(
      (kind) => kind in founding.pools && founding.pools[kind] !== 0,
    );
    if (founding.plan === 'paid' && first) {
      await client.query('insert into account_licenses (account_user_id, kind) values ($1, $2)', [
        accountUserId,
        first,
      ]);
    }
    return { founded: true, shrunkTo, administratorUnlicensed: false };
  });
}

/** A plan that became a paid one, or a pool that was bought later: one license sits with an Administrator (rule 9). False when no seat is free. */
async function licenseAdministrator(client: pg.PoolClient): Promise<boolean> {
  const { rows: licensed } = await client.query(
    `select 1 from account_users u join account_licenses l using (account_user_id) where u.role = 'Administrator' and not u.suspended limit 1`,
  );
  if (licensed.length > 0) return true;
  const { rowCount } = await client.query(
    `insert into account_licenses (account_user_id, kind)
     select u.account_user_id, p.kind from account_users u, account_pools p
     where u.role = 'Administrator' and not u.suspended and (p.bought is null or p.assigned < p.bought)
     order by u.founder desc, u.created_at, (p.kind = $1) desc, p.kind limit 1`,
    [schedulingLicense],
  );
  return (rowCount ?? 0) > 0;
}

/** Pages that exist already when Usher comes: owned by the founder until somebody is wished to own them. */
export async function makePages(database: AccountDatabase, linkNames: string[], ownerEmail: string): Promise<number> {
  return change(database, async (client) => {
    const { rowCount } = await client.query(
      `insert into account_pages (page_id, link_name, owner_id, enabled)
       select gen_random_uuid(), link.name, u.account_user_id, false from unnest($1::text[]) as link (name), account_users u where u.email_key = $2
       on conflict (link_name) do nothing`,
      [linkNames, foldAddress(ownerEmail)],
    );
    return rowCount ?? 0;
  });
}
