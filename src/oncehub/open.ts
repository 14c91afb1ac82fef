/** The OnceHub account, put together: its pace and its client, shared by everything in this process. */
import type { AccountDatabase } from '../account/database.ts';
import type { OnceHubConfig } from '../config.ts';
import type { Log } from '../log.ts';
import type { AlertStore, SchedulingAccount } from '../ports.ts';
import { openOnceHubAccount } from './account.ts';
import { openOnceHubClient } from './client.ts';
import { syncPools } from './ledger.ts';
import { oncehubLimits, openPace } from './pace.ts';

export interface OpenOnceHub {
  config: OnceHubConfig;
  database: AccountDatabase;
  /** By kind; null is unlimited. */
  pools: Record<string, number | null>;
  alerts: Pick<AlertStore, 'raiseAlert' | 'resolveAlert'>;
  log: Log;
  /** Milliseconds. */
  now: () => number;
}

export async function openOnceHub({
  config,
  database,
  pools,
  alerts,
  log,
  now,
}: OpenOnceHub): Promise<SchedulingAccount> {
  const raise = async (kind: string, message: string): Promise<void> => {
    if (await alerts.raiseAlert(kind, kind, message)) log.error({ kind }, message);
  };
  const pace = openPace(database, oncehubLimits, config.clockSpeed, now);
  await pace.begin();
  // Warnings of what happened: a new start is somebody's look at them.
  for (const kind of ['native_provisioning', 'user_deleted_in_account']) await alerts.resolveAlert(kind);
  await syncPools(database, pools);
  const call = openOnceHubClient(config, pace, log, async (code, why) => {
    if (code)
      await raise('account_connection', `${why} Nothing is asked for five minutes at a time; «usher doctor» tries it.`);
    else await alerts.resolveAlert('account_connection');
  });
  return openOnceHubAccount({
    call,
    database,
    requestsPerSecond: (oncehubLimits.perWindow / oncehubLimits.windowSeconds) * 0.95 * config.clockSpeed,
    now,
    clockSpeed: config.clockSpeed,
    raise,
    settle: async (kind) => void (await alerts.resolveAlert(kind)),
  });
}
