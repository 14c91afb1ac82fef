/** A OnceHub account in the sandbox, with our adapter on a database of its own: for the contract and the adapter's own refusals. */
import { newId } from '../../src/ids.ts';
import { openLog } from '../../src/log.ts';
import { openOnceHub } from '../../src/oncehub/open.ts';
import type { Fence, SchedulingAccount } from '../../src/ports.ts';
import {
  newOnceHubAccount,
  type OnceHubAccount,
  type OnceHubSandbox,
  startOnceHub,
} from '../../src/sandbox/oncehub.ts';
import { type Database, list, openDatabase, run, transaction } from '../../src/store/database.ts';
import { migrate } from '../../src/store/migrate.ts';
import { openStore } from '../../src/store/store.ts';
import { type BackendName, freshDatabase } from './databases.ts';

export interface OnceHubGround {
  sandbox: OnceHubSandbox;
  account: SchedulingAccount;
  database: Database;
  founderId: string;
  /** Another process on the same database and the same account. */
  another(): Promise<SchedulingAccount>;
  person(): Promise<{ personId: string; fence: Fence }>;
  overtake(fence: Fence): Promise<void>;
  pages(...linkNames: string[]): Promise<void>;
  alerts(): Promise<string[]>;
  close(): Promise<void>;
}

/** An hour of the vendor's clock is a minute here. */
export const trialSpeed = 60;

export async function openOnceHubGround(
  backend: BackendName,
  more: Partial<OnceHubAccount> = {},
  pools: Record<string, number | null> = { 'scheduled-meetings': 3 },
): Promise<OnceHubGround> {
  const { url, drop } = await freshDatabase(backend);
  await migrate(url);
  const database = openDatabase(url, { max: 16, name: 'oncehub-ground', onError: () => undefined });
  const fresh = newOnceHubAccount();
  const sandbox = await startOnceHub(
    newOnceHubAccount({
      users: fresh.users.filter((user) => user.role_name === 'Account Owner'),
      clockSpeed: trialSpeed,
      ...more,
    }),
  );
  const store = openStore(database);
  const open = () =>
    openOnceHub({
      config: { baseUrl: sandbox.url, apiKeys: [sandbox.apiKey], clockSpeed: trialSpeed },
      database: {
        query: (name, text, values) => run(database.pool, { name, text }, values),
        list: (text, values) => list(database.lists, text, values),
        transaction: (work) => transaction(database.pool, work),
      },
      pools,
      alerts: store,
      log: openLog(process.env.TEST_LOG ?? 'silent'),
      now: Date.now,
    });
  const founderId = sandbox.account.users.find((user) => user.role_name === 'Account Owner')?.id ?? '';
  return {
    sandbox,
    account: await open(),
    database,
    founderId,
    another: open,
    async person() {
      const personId = newId();
      await database.pool.query(
        `insert into people (person_id, lifecycle, wish, conditions, source, user_name, active, account_fence)
         values ($1, 'wanted', $2, '{}', 'scim', 'somebody', true, 1)`,
        [personId, JSON.stringify({ rule: 'Everybody', licenses: ['scheduled-meetings'], bookingPages: [] })],
      );
      return { personId, fence: { personId, lane: 'account', number: '1' } };
    },
    async overtake(fence) {
      await database.pool.query('update people set account_fence = account_fence + 1 where person_id = $1', [
        fence.personId,
      ]);
    },
    async pages(...linkNames) {
      for (const name of linkNames) sandbox.administrator.createPage(name, founderId);
      await Promise.resolve();
    },
    alerts: async () => (await store.alerts()).filter((alert) => !alert.resolvedAt).map((alert) => alert.kind),
    async close() {
      await sandbox.close();
      await database.close();
      await drop();
    },
  };
}
