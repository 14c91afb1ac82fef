/**
 * Calls that a vendor knows no fence for. What is about to happen is written down first, under the fence; whoever comes meanwhile waits until it can no longer take
 * effect; and a look before that proves nothing.
 */
import type pg from 'pg';
import { type AccountDatabase, fenced } from '../account/database.ts';
import { asUsherError, UsherError } from '../errors.ts';
import type { Fence } from '../ports.ts';
import { requestTimeoutMs } from './client.ts';

/** How long a call that was begun can still be on its way. */
const effectSeconds = Math.ceil(requestTimeoutMs / 1000) + 8;
/** What was not sent by then is not sent, so that it can not take effect after that. */
const sendWithinMs = effectSeconds * 1000 - requestTimeoutMs - 500;
/** After a time-out the vendor may still act; nobody makes the user a second time before. */
export const uncertainSeconds = 90;

export function openEffects(database: AccountDatabase, now: () => number, clockSpeed: number) {
  /** Written down under the fence before anything is sent; whoever comes meanwhile waits until it can no longer take effect. Answers until when it may be sent. */
  const begin = (fence: Fence, what: string, more?: (client: pg.PoolClient) => Promise<void>): Promise<number> =>
    fenced(database, fence, async (client) => {
      const { rows } = await client.query<{ what: string; left: number }>(
        'select what, extract(epoch from until - now())::float8 as left from vendor_effects where person_id = $1 and until > now()',
        [fence.personId],
      );
      if (rows[0])
        throw new UsherError('throttled', `An earlier «${rows[0].what}» may still take effect.`, {
          retryAfterSeconds: rows[0].left + 0.5,
        });
      await more?.(client);
      await client.query(
        `insert into vendor_effects (person_id, fence, what, until) values ($1, $4, $2, now() + make_interval(secs => $3))
         on conflict (person_id) do update set fence = $4, what = $2, until = now() + make_interval(secs => $3)`,
        [fence.personId, what, effectSeconds, fence.number],
      );
      return now() + sendWithinMs;
    });
  /** A look while an earlier call may still take effect proves nothing, and is put off. */
  const settled = async (personId: string): Promise<void> => {
    const rows = await database.query<{ what: string; left: number }>(
      'vendor-effect-open',
      `select what, extract(epoch from until - now())::float8 as left from vendor_effects where person_id = $1 and until > now() and what <> 'create'`,
      [personId],
    );
    if (rows[0])
      throw new UsherError('throttled', `An earlier «${rows[0].what}» may still take effect.`, {
        retryAfterSeconds: rows[0].left + 0.5,
      });
  };
  const end = ({ personId, number }: Fence) =>
    database.query('vendor-effect-over', 'delete from vendor_effects where person_id = $1 and fence = $2', [
      personId,
      number,
    ]);
  /** A call whose outcome is known, whatever it is, is over; one without an answer stays written down. */
  const during = async <T>(fence: Fence, what: string, work: (sendBefore: number) => Promise<T>): Promise<T> => {
    const sendBefore = await begin(fence, what);
    let outcome: T;
    try {
      outcome = await work(sendBefore);
    } catch (error) {
      if (asUsherError(error).code !== 'account_unavailable') await end(fence);
      // No answer: what is seen before it can no longer take effect proves nothing.
      else
        await database.query(
          'vendor-effect-uncertain',
          'update vendor_effects set until = now() + make_interval(secs => $3) where person_id = $1 and fence = $2',
          [fence.personId, fence.number, uncertainSeconds / clockSpeed],
        );
      throw error;
    }
    await end(fence);
    return outcome;
  };
  return { begin, settled, during };
}
