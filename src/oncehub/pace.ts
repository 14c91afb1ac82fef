/**
 * How fast the account may be asked: 5 requests a second, and 200 in five minutes from one address, for all processes together. The count is kept in
 * PostgreSQL, the only place that every process knows; at less than one request a second it is never what one waits for.
 *
 * | who asks | may use of the five minutes |
 * |---|---|
 * | somebody waits at the screen | everything |
 * | a request that an act has begun with | all but a few |
 * | somebody is not Ready yet | nearly everything |
 * | a look at what stands | two thirds |
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { UsherError } from '../errors.ts';
import type { Priority } from '../ports.ts';

/** `follow`: an act that began must not be left half-way for want of its second request. */
export type Share = Priority | 'follow';

const shares: Record<Share, { of: number; patienceMs: number }> = {
  urgent: { of: 1, patienceMs: 6000 },
  follow: { of: 0.98, patienceMs: 5000 },
  soon: { of: 0.95, patienceMs: 2500 },
  background: { of: 0.65, patienceMs: 1500 },
};

export interface Limits {
  perSecond: number;
  perWindow: number;
  windowSeconds: number;
}

/** developers.oncehub.com, rate limits. */
export const oncehubLimits: Limits = { perSecond: 5, perWindow: 200, windowSeconds: 300 };

/** For clocks that do not run alike. */
const marginMs = { burst: 20, window: 1000 };
/** A request arrives some time before its answer, and is given up after this; the vendor may count it at any moment of that. */
const longestMs = 8000;

/** People who are put off come back one after another: this much of a window for each. */
const requestsOfOne = 1.5;
const farthest = 4;

export interface PaceDatabase {
  query<R extends Record<string, unknown>>(name: string, text: string, values: unknown[]): Promise<R[]>;
}

export interface Pace {
  /**
   * Returns when a request may go, with what to call once it was answered or given up. Throws `throttled` with how long to stay away, or why nothing
   * may be asked at all.
   */
  take(share: Share): Promise<() => Promise<void>>;
  /** The account itself said no: everybody stays away for this long. Null: it did not say, and the wait doubles each time. */
  slowDown(seconds: number | null): Promise<number>;
  /** Nothing may be asked for a while: a key that is refused, a plan without API. */
  pause(code: 'account_connection_down' | 'plan_has_no_api', why: string, seconds: number): Promise<void>;
  /** An answer came: what was wrong is over. */
  works(): Promise<void>;
  /** A start with settings that may be new ones: what was refused before is tried at once. */
  begin(): Promise<void>;
}

export function openPace(database: PaceDatabase, limits: Limits, clockSpeed: number, now: () => number): Pace {
  const windowMs = (limits.windowSeconds * 1000 + marginMs.window) / clockSpeed;
  const burstMs = (1000 + marginMs.burst) / clockSpeed;
  const everyMs = windowMs / limits.perWindow;
  // A trial run's clock is faster, its machine is not.
  const longest = Math.max(longestMs / clockSpeed, 500);
  const comesBackAt: Partial<Record<Share, number>> = {};
  let isTroubled = true;
  const closedUntil: Partial<Record<Share, number>> = {};

  const putOff = (share: Share, waitMs: number, why: string): UsherError => {
    const first = now() + waitMs;
    // Somebody at the screen does not stand behind others; and nobody stands further back than a few windows.
    const turn =
      share === 'urgent'
        ? first
        : Math.min(Math.max(comesBackAt[share] ?? 0, first) + requestsOfOne * everyMs, first + farthest * windowMs);
    comesBackAt[share] = turn;
    return new UsherError('throttled', why, { retryAfterSeconds: (turn - now()) / 1000 });
  };
  const ask = async (
    share: Share,
  ): Promise<{ waitMs: number; requestId: string | null; paused: UsherError | null }> => {
    const rows = await database.query<{
      wait: number | null;
      request_id: string | null;
      code: string | null;
      why: string | null;
      pause: number;
    }>(
      'vendor-take',
      `select t.wait, t.request_id, c.paused_code as code, c.paused_why as why, extract(epoch from greatest(c.paused_until, now()) - now())::float8 * 1000 as pause from vendor_connection c
         left join lateral usher_vendor_take($1, $2, $3, $4, $5) t on c.paused_until <= now()`,
      [limits.perSecond, burstMs, Math.max(1, Math.floor(limits.perWindow * shares[share].of)), windowMs, longest],
    );
    const row = rows[0];
    if (!row) throw new UsherError('internal', 'The table vendor_connection has lost its row.');
    if (row.wait !== null) return { waitMs: row.wait, requestId: row.request_id, paused: null };
    isTroubled = true;
    const code = row.code as 'account_connection_down' | 'plan_has_no_api' | null;
    return { waitMs: row.pause, requestId: null, paused: code ? new UsherError(code, row.why ?? '') : null };
  };

  /** Not written down, it counts as under way for as long as it could be. */
  const ended = async (requestId: string): Promise<void> => {
    await database
      .query('vendor-ended', 'update vendor_requests set ended_at = clock_timestamp() where request_id = $1', [
        requestId,
      ])
      .catch(() => undefined);
  };

  return {
    async take(share) {
      const { patienceMs } = shares[share];
      const until = now() + patienceMs / Math.min(clockSpeed, 10);
      for (;;) {
        const closed = (closedUntil[share] ?? 0) - now();
        const { waitMs, requestId, paused } =
          closed > patienceMs ? { waitMs: closed, requestId: null, paused: null } : await ask(share);
        if (paused) throw paused;
        if (requestId) return () => ended(requestId);
        if (now() + waitMs > until) {
          closedUntil[share] = now() + Math.min(waitMs, 5000 / clockSpeed);
          throw putOff(
            share,
            waitMs,
            `OnceHub takes ${limits.perWindow} requests in ${limits.windowSeconds / 60} minutes, and others are ahead.`,
          );
        }
        await sleep(Math.max(1, waitMs));
      }
    },

    async slowDown(seconds) {
      isTroubled = true;
      const rows = await database.query<{ pause: number }>(
        'vendor-slow-down',
        `update vendor_connection set paused_code = null, paused_why = null,
           -- Of requests that were under way together, one counts.
           slowed = case when paused_until <= now() then least(slowed + 1, 6) else slowed end,
           paused_until = case when paused_until <= now() or $1::float8 is not null
             then greatest(paused_until, now() + make_interval(secs => coalesce($1::float8, 5 * power(2, least(slowed, 6)) / $2::float8)))
             else paused_until end
         returning extract(epoch from paused_until - now())::float8 as pause`,
        [seconds, clockSpeed],
      );
      return rows[0]?.pause ?? 5;
    },

    async pause(code, why, seconds) {
      isTroubled = true;
      await database.query(
        'vendor-pause',
        'update vendor_connection set paused_until = now() + make_interval(secs => $3::float8), paused_code = $1, paused_why = $2',
        [code, why, seconds],
      );
    },

    async begin() {
      await database.query(
        'vendor-begin',
        `update vendor_connection set paused_until = '-infinity', paused_code = null, paused_why = null, no_creates_until = '-infinity'
         where paused_code is not null or no_creates_until > now()`,
        [],
      );
    },

    async works() {
      if (!isTroubled) return;
      isTroubled = false;
      await database.query(
        'vendor-works',
        `update vendor_connection set slowed = 0, paused_until = '-infinity', paused_code = null, paused_why = null
         where (slowed > 0 or paused_code is not null) and paused_until <= now()`,
        [],
      );
    },
  };
}
