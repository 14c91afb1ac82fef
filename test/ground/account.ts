/** The built-in account by itself, on a database of its own: for contracts and properties. */
import { openAdministration } from '../../src/account/administration.ts';
import { openBuiltinAccount } from '../../src/account/builtin.ts';
import type { AccountDatabase } from '../../src/account/database.ts';
import { foundAccount, makePages } from '../../src/account/founding.ts';
import type { AccountAdministration, Act } from '../../src/administration.ts';
import { newId } from '../../src/ids.ts';
import type { Fence, SchedulingAccount } from '../../src/ports.ts';
import { type Database, list, openDatabase, run, transaction } from '../../src/store/database.ts';
import { migrate } from '../../src/store/migrate.ts';
import { type BackendName, freshDatabase } from './databases.ts';

export interface AccountGround {
  account: SchedulingAccount;
  administration: AccountAdministration;
  database: Database;
  founderId: string;
  /** Somebody wanted, who wishes these licenses; `since` is the time of the first wish. */
  person(licenses?: string[]): Promise<{ personId: string; fence: Fence }>;
  /** The fence of a worker that was overtaken. */
  overtake(fence: Fence): Promise<void>;
  pages(...linkNames: string[]): Promise<void>;
  close(): Promise<void>;
}

export const anAct = (more: Partial<Act> = {}): Act => ({
  actor: 'admin:test',
  by: 'test',
  actingId: null,
  ifMatch: null,
  once: null,
  ...more,
});

export async function openAccountGround(
  backend: BackendName,
  pools: Record<string, number | null>,
  plan: 'free' | 'paid' = 'paid',
): Promise<AccountGround> {
  const { url, drop } = await freshDatabase(backend);
  await migrate(url);
  const database = openDatabase(url, { max: 16, name: 'account-ground', onError: () => undefined });
  const connection: AccountDatabase = {
    query: (name, text, values) => run(database.pool, { name, text }, values),
    list: (text, values) => list(database.lists, text, values),
    transaction: (work) => transaction(database.pool, work),
  };
  const settings = { plan, heir: null };
  const founder = 'founder@contoso.com';
  await foundAccount(connection, { name: 'Founder', email: founder, pools, plan, isNamed: false });
  const account = openBuiltinAccount(connection, settings);
  return {
    account,
    administration: openAdministration(connection, settings, founder, 'ignored'),
    database,
    founderId: (await account.findByEmail(founder))?.accountUserId ?? '',
    async person(licenses = ['scheduled-meetings']) {
      const personId = newId();
      await database.pool.query(
        `insert into people (person_id, lifecycle, wish, conditions, source, user_name, active, account_fence)
         values ($1, 'wanted', $2, '{}', 'scim', 'somebody', true, 1)`,
        [personId, JSON.stringify({ rule: 'Everybody', licenses, bookingPages: [] })],
      );
      return { personId, fence: { personId, lane: 'account', number: '1' } };
    },
    async overtake(fence) {
      await database.pool.query('update people set account_fence = account_fence + 1 where person_id = $1', [
        fence.personId,
      ]);
    },
    async pages(...linkNames) {
      await makePages(connection, linkNames, founder);
    },
    async close() {
      await database.close();
      await drop();
    },
  };
}
