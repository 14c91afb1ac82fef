/** What of the database the account needs; `store` supplies it. The account's faults are told by the constraint that refused. */
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { type ErrorCode, UsherError } from '../errors.ts';
import type { Fence, HistoryEntry } from '../ports.ts';
import { together } from '../together.ts';

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

/**
 * A step's transaction: the person's row is locked and compared first, so that a takeover waits for it and a late write is rolled back. What was done is
 * kept on that row, in the same transaction, until the settlement brings it into the history.
 */
export function fenced<T>(
  database: AccountDatabase,
  fence: Fence,
  work: (client: pg.PoolClient) => Promise<T>,
  done: (result: T) => HistoryEntry | null = () => null,
): Promise<T> {
  return change(database, async (client) => {
    const holds = await lockHolders(client, [fence]);
    if (!holds(fence)) throw fenceLost();
    const result = await work(client);
    const entry = done(result);
    if (entry) await keepUnrecorded(client, [{ personId: fence.personId, entry }]);
    return result;
  });
}

/** An effect of one person, with the fence it is done under. */
export interface Effect<T> {
  fence: Fence;
  value: T;
}

interface EffectsOptions<T, R> {
  /** Answers in the order of what it is given, or throws what it can not do for all; then each is done by `one`, as is whoever comes alone. */
  many(client: pg.PoolClient, values: T[]): Promise<R[]>;
  /** `many` of one, unless one by itself is decided otherwise. */
  one?(client: pg.PoolClient, value: T): Promise<R>;
  /** What of it the history is to say. */
  entry(value: T, answer: R): HistoryEntry | null;
}

/** Effects of many people in one transaction. */
export function effectsTogether<T, R>(
  database: AccountDatabase,
  { many, one, entry }: EffectsOptions<T, R>,
): (value: T, fence: Fence) => Promise<R> {
  const alone = one ?? (async (client: pg.PoolClient, value: T) => (await many(client, [value]))[0] as R);
  const load = together<Effect<T>, R>({
    alone: ({ value, fence }) =>
      fenced(
        database,
        fence,
        (client) => alone(client, value),
        (answer) => entry(value, answer),
      ),
    isUnknown: (error) => error instanceof UsherError && error.code === 'database_unavailable',
    most: 100,
    all: async (effects) => {
      // Two of one person: a step that was overtaken and does not know it yet. Each is decided by itself.
      if (new Set(effects.map(({ fence }) => fence.personId)).size < effects.length)
        throw new UsherError('conflict', 'Two effects of one person at the same moment.');
      return database.transaction(async (client) => {
        const holds = await lockHolders(
          client,
          effects.map(({ fence }) => fence),
        );
        const held = effects.filter(({ fence }) => holds(fence));
        const answers = await many(
          client,
          held.map(({ value }) => value),
        );
        const results = new Map(held.map((effect, index) => [effect, answers[index] as R]));
        await keepUnrecorded(
          client,
          [...results].flatMap(([{ fence, value }, answer]) => {
            const told = entry(value, answer);
            return told ? [{ personId: fence.personId, entry: told }] : [];
          }),
        );
        return effects.map((effect) => (results.has(effect) ? (results.get(effect) as R) : fenceLost()));
      });
    },
  });
  return (value, fence) => load({ value, fence });
}

const fenceLost = (): UsherError => new UsherError('fence_lost', 'Another worker works on this person by now.');

/** Which of them still hold, their rows locked in one order. */
async function lockHolders(client: pg.PoolClient, fences: Fence[]): Promise<(fence: Fence) => boolean> {
  const lane = fences[0]?.lane ?? 'account';
  const { rows } = await client.query<{ person_id: string; fence: string }>({
    name: `fences-${lane}`,
    text: `select person_id, ${lane}_fence as fence from people where person_id = any ($1::uuid[]) order by person_id for no key update`,
    values: [fences.map((fence) => fence.personId)],
  });
  const now = new Map(rows.map((row) => [row.person_id, row.fence]));
  return (fence) => now.get(fence.personId) === fence.number;
}

async function keepUnrecorded(client: pg.PoolClient, done: { personId: string; entry: HistoryEntry }[]): Promise<void> {
  if (done.length === 0) return;
  await client.query({
    name: 'keep-unrecorded',
    text: `update people p set unrecorded = p.unrecorded || x.entry from jsonb_to_recordset($1::jsonb) as x ("personId" uuid, entry jsonb) where p.person_id = x."personId"`,
    values: [JSON.stringify(done)],
  });
}
