/** One suite for the wake-up hints, on BullMQ's PostgreSQL and on Redis. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { openLog } from '../../src/log.ts';
import type { WakeUps } from '../../src/ports.ts';
import { openPostgresBackend, openRedisBackend, openWakeUps } from '../../src/queue/bullmq.ts';
import { freshDatabase, redisUrl } from '../ground/databases.ts';
import { eventually, someId } from '../ground/usher.ts';

describe.each(['PostgreSQL', 'Redis'] as const)('the queue on %s', (kind) => {
  let wakeUps: WakeUps;
  let drop: () => Promise<void> = () => Promise.resolve();
  const log = openLog('silent');

  beforeAll(async () => {
    if (kind === 'PostgreSQL') {
      const database = await freshDatabase('embedded PostgreSQL');
      drop = database.drop;
      wakeUps = openWakeUps(await openPostgresBackend(database.url), log);
    } else {
      wakeUps = openWakeUps(openRedisBackend(`${redisUrl()}/0`, 'strict', log), log);
    }
  });
  afterAll(async () => {
    await wakeUps.drain();
    await wakeUps.close();
    await drop();
  });

  test('passes its own check', async () => {
    await expect(wakeUps.check()).resolves.toBeUndefined();
  });

  test('every hint arrives, one person waits once, and one who is worked on comes back once', async () => {
    const seen: string[] = [];
    let open: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const [slow, ...others] = Array.from({ length: 50 }, () => someId()) as [string, ...string[]];
    await wakeUps.work('create-user', 4, async (id) => {
      seen.push(id);
      if (id === slow && seen.filter((entry) => entry === slow).length === 1) await gate;
    });
    await wakeUps.hint('create-user', [slow]);
    await eventually(
      () => Promise.resolve(seen.length),
      (count) => count === 1,
    );
    for (let round = 0; round < 5; round++) await wakeUps.hint('create-user', [slow]);
    await wakeUps.hint('create-user', others);
    await eventually(
      () => Promise.resolve(new Set(seen).size),
      (count) => count === 50,
    );
    expect(seen.filter((id) => id === slow)).toHaveLength(1);
    open();
    await eventually(
      () => Promise.resolve(seen.filter((id) => id === slow).length),
      (count) => count === 2,
    );
    expect(new Set(seen)).toEqual(new Set([slow, ...others]));
  });

  test('a handler that throws takes nothing else down', async () => {
    const seen: string[] = [];
    const [bad, good] = [someId(), someId()];
    await wakeUps.work('assign-license', 2, async (id) => {
      if (id === bad) throw new Error('poison');
      seen.push(id);
    });
    await wakeUps.hint('assign-license', [bad, good]);
    await eventually(
      () => Promise.resolve(seen),
      (list) => list.includes(good),
    );
    await wakeUps.hint('assign-license', [bad, good]);
    await eventually(
      () => Promise.resolve(seen),
      (list) => list.filter((id) => id === good).length === 2,
    );
  });

  test('a full queue takes no more hints and says how many it left', async () => {
    const left = await wakeUps.hint(
      'offboard',
      Array.from({ length: 5100 }, () => someId()),
    );
    expect(left).toBe(100);
    expect(await wakeUps.waiting('offboard')).toBe(5000);
    expect(await wakeUps.hint('offboard', [someId()])).toBe(1);
    // Somebody urgent still gets in.
    expect(await wakeUps.hint('offboard', [someId()], 'now')).toBe(0);
  });
});
