/** What of the database the account needs; `store` supplies it. The account's faults are told by the constraint that refused. */
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { type ErrorCode, UsherError } from '../errors.ts';
import type { Fence } from '../ports.ts';

export interface AccountDatabase {
  query<R extends pg.QueryResultRow>(name: string, text: string, values: unknown[]): Promise<R[]>;
  /** A list whose plan depends on its values. */
  list<R extends pg.QueryResultRow>(text: string, values: unknown[]): Promise<R[]>;
  transaction<T>(work: (client: pg.PoolClient) => Promise<T>): Promise<T>;
}

export interface AccountSettings {
  plan: 'free' | 'paid';
  /** Who gets the pages of a deleted user, where the policy names somebody; an e-mail address. */
  heir: string | null;
}

const refusals: Record<string, [ErrorCode, string]> = {
  account_users_email: ['email_taken_elsewhere', 'The address belongs to another user of the account.'],
  account_keeps_an_administrator: [
    'last_licensed_administrator',
    'This would leave the account without an Administrator who can act (on a paid plan: one with a license).',
  ],
  // Who enables a page has looked before; a license that went meanwhile is looked for anew.
  account_pages_licensed: ['conflict', 'The license of the owner went at the same time.'],
  account_pages_link_name_key: ['uniqueness', 'linkName: another page has this name.'],
  account_pages_owner_id_fkey: ['conflict', 'The owner was deleted at the same time.'],
  account_licenses_account_user_id_fkey: ['conflict', 'The user was deleted at the same time.'],
  account_users_entra_object_id_key: ['uniqueness', 'That identity belongs to another user of the account.'],
};

/** One transaction, begun again after a deadlock or a loss of what it leaned on; `work` must be repeatable. */
export async function change<T>(database: AccountDatabase, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await database.transaction(work);
    } catch (thrown) {
      const refusal = refusals[(thrown as { constraint?: string }).constraint ?? ''];
      const error = refusal ? new UsherError(refusal[0], refusal[1], { cause: thrown }) : thrown;
      if (!(error instanceof UsherError) || error.code !== 'conflict' || tries >= 6) throw error;
      await sleep(Math.random() * 10 * 2 ** tries);
    }
  }
}

/** A step's transaction: the person's row is locked and compared first, so that a takeover waits for it and a late write is rolled back. */
export function fenced<T>(
  database: AccountDatabase,
  fence: Fence,
  work: (client: pg.PoolClient) => Promise<T>,
): Promise<T> {
  return change(database, async (client) => {
    const { rowCount } = await client.query({
      name: `fence-${fence.lane}`,
      text: `select 1 from people where person_id = $1 and ${fence.lane}_fence = $2 for no key update`,
      values: [fence.personId, fence.number],
    });
    if (!rowCount) throw new UsherError('fence_lost', 'Another worker works on this person by now.');
    return work(client);
  });
}
