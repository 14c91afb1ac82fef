/** The vendor's limits, kept by all processes together. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { openPace, type Share } from '../../src/oncehub/pace.ts';
import { type Database, openDatabase, run } from '../../src/store/database.ts';
import { migrate } from '../../src/store/migrate.ts';
import { freshDatabase } from '../ground/databases.ts';

let database: Database;
let drop: () => Promise<void>;
beforeAll(async () => {
  const fresh = await freshDatabase('embedded PostgreSQL');
  drop = fresh.drop;
  await migrate(fresh.url);
  database = openDatabase(fresh.url, { max: 8, name: 'pace', onError: () => undefined });
});
afterAll(async () => {
  await database.close();
  await drop();
});

const limits = { perSecond: 5, perWindow: 40, windowSeconds: 30 };
const speed = 10;
const process_ = () =>
  openPace({ query: (name, text, values) => run(database.pool, { name, text }, values) }, limits, speed, Date.now);

test('two processes that ask as fast as they can never exceed either limit, and the last of it is for whoever waits at the screen', async () => {
  const paces = [process_(), process_()];
  const granted: { at: number; share: Share }[] = [];
  const until = Date.now() + 7000;
  const asker = async (pace: (typeof paces)[number], share: Share) => {
    while (Date.now() < until) {
      await pace
        .take(share)
        .then(async (ended) => {
          const at = Date.now();
          // Some answers come late: what counts is when the vendor saw it, some time in between.
          await new Promise((resolve) => setTimeout(resolve, Math.random() * 40));
          granted.push({ at: at + Math.random() * (Date.now() - at), share });
          await ended();
        })
        .catch(() => new Promise((resolve) => setTimeout(resolve, 30)));
    }
  };
  await Promise.all(
    paces.flatMap((pace) => [
      asker(pace, 'background'),
      asker(pace, 'soon'),
      asker(pace, 'soon'),
      asker(pace, 'urgent'),
    ]),
  );
  const { rows } = await database.pool.query<{ at: string }>(
    'select extract(epoch from at) * 1000 as at from vendor_requests order by at',
  );
  const kept = rows.map((row) => Number(row.at));
  const times = granted.map(({ at }) => at).sort((a, b) => a - b);
  const most = (list: number[], windowMs: number) =>
    Math.max(...list.map((at) => list.filter((other) => other >= at && other < at + windowMs).length));
  expect(most(times, 1000 / speed)).toBeLessThanOrEqual(limits.perSecond);
  expect(kept.length).toBeGreaterThan(0);
  expect(most(times, (limits.windowSeconds * 1000) / speed)).toBeLessThanOrEqual(limits.perWindow);
  // Nearly all that was allowed was used: more than a window.
  expect(granted.length).toBeGreaterThan(limits.perWindow * 1.3);
  expect(granted.some(({ share }) => share === 'urgent')).toBe(true);
});

test('whoever is put off is told when to come, one after another', async () => {
  const pace = process_();
  const waits: number[] = [];
  for (let tries = 0; tries < 400 && waits.length < 5; tries++)
    await pace
      .take('background')
      .then((ended) => ended())
      .catch((error: { retryAfterSeconds: number }) => waits.push(error.retryAfterSeconds));
  expect(waits).toHaveLength(5);
  for (const [index, wait] of waits.entries()) if (index > 0) expect(wait).toBeGreaterThan(waits[index - 1] ?? 0);
});
