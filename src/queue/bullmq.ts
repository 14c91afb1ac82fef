/**
 * Wake-up hints in BullMQ, on Redis or on PostgreSQL. A hint is a personId (or the id of an express request) and nothing else.
 *
 * - `deduplication` with `keepLastIfActive`: a person waits once, and a hint that arrives while they are worked on brings them back afterwards.
 * - `maxStalledCount` is practically endless: the default fails a job for good after its worker was killed twice. Poison is not counted here.
 * - No BullMQ schedulers and no flows: timers live in PostgreSQL.
 */
import { type BackendFactory, createPostgresBackend, type IQueueBackend, Queue, runMigrations, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import pg from 'pg';
import { UsherError } from '../errors.ts';
import { aHandful, mostBulkHints, mostHintsPerQueue, queueNames } from '../jobs.ts';
import type { Log } from '../log.ts';
import type { QueueName, WakeUps } from '../ports.ts';

interface Backend {
  queue(name: QueueName): Queue;
  worker(name: QueueName, concurrency: number, handle: (id: string) => Promise<void>): Worker;
  check(): Promise<void>;
  close(): Promise<void>;
}

/** A killed worker's person is free for the queue again after this; the fence, not this lock, keeps effects apart. */
const lockDuration = 15_000;
const workerOptions = {
  maxStalledCount: 1_000_000,
  lockDuration,
  stalledInterval: 5_000,
  removeOnComplete: { count: 0 },
  removeOnFail: { count: 0 },
};

export function openWakeUps(backend: Backend, log: Log): WakeUps {
  const queues = new Map<QueueName, Queue>();
  const workers: Worker[] = [];
  const full = new Map<QueueName, { until: number; waiting: number }>();
  const queueOf = (name: QueueName): Queue => {
    let queue = queues.get(name);
    if (!queue) {
      queue = backend.queue(name);
      queue.on('error', (error) => log.debug({ err: error, queue: name }, 'queue connection'));
      queues.set(name, queue);
    }
    return queue;
  };

  /** How many hints still fit below a limit; asked of the queue a few times a second. */
  const roomIn = async (name: QueueName, most: number): Promise<number> => {
    let known = full.get(name);
    if (!known || known.until <= Date.now()) {
      known = { until: Date.now() + 200, waiting: await queueOf(name).getWaitingCount() };
      full.set(name, known);
    }
    return Math.max(0, most - known.waiting);
  };

  return {
    async hint(name, ids, way = 'soon') {
      try {
        const most = way === 'bulk' ? mostBulkHints : mostHintsPerQueue;
        const room = way === 'now' ? ids.length : await within(2000, roomIn(name, most));
        const taken = ids.slice(0, room);
        const known = full.get(name);
        if (known) known.waiting += taken.length;
        const first = way === 'now' || (way === 'soon' && ids.length <= aHandful);
        if (taken.length > 0) {
          const jobs = taken.map((id) => ({
            name,
            data: hintData(name, id),
            opts: {
              deduplication: { id, keepLastIfActive: true },
              removeOnComplete: true,
              removeOnFail: true,
              lifo: first,
            },
          }));
          await within(5000, queueOf(name).addBulk(jobs));
        }
        return ids.length - taken.length;
      } catch (error) {
        // The commit came first: whoever is not hinted is found by the sweeper.
        log.warn({ err: error, queue: name }, 'hints were not taken; the sweeper brings them back');
        return ids.length;
      }
    },
    room: (name) => within(2000, roomIn(name, mostBulkHints)).catch(() => 0),
    waiting: (name) => queueOf(name).getWaitingCount(),
    work(name, concurrency, handle) {
      const worker = backend.worker(name, concurrency, handle);
      worker.on('error', (error) => log.debug({ err: error, queue: name }, 'worker connection'));
      worker.on('failed', (job, error) =>
        log.error({ err: error, queue: name, id: job?.data }, 'a job failed outside its step'),
      );
      workers.push(worker);
      return Promise.resolve();
    },
    async drain() {
      await Promise.all(
        workers.map((worker) =>
          within(25_000, worker.close()).catch((error: unknown) => log.warn({ err: error }, 'a worker did not drain')),
        ),
      );
    },
    check: () => backend.check(),
    async close() {
      await Promise.all([...queues.values()].map((queue) => within(5000, queue.close()).catch(() => undefined)));
      await backend.close();
    },
  };
}

/** A hint names whom, never what. */
const hintData = (name: QueueName, id: string): Hint => (name === 'express' ? { provisionId: id } : { personId: id });
type Hint = { personId: string } | { provisionId: string };

function idOf(data: Hint): string {
  return 'personId' in data ? data.personId : data.provisionId;
}

/** Nothing on the way to a SCIM answer waits for the queue; a hint that hangs is a hint that is lost. */
function within<T>(milliseconds: number, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer in ${milliseconds} ms`)), milliseconds);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/** BullMQ on the same PostgreSQL as the store: no Redis to run. 1,600 jobs/s here, against 12,600 on Redis. */
export async function openPostgresBackend(connectionString: string): Promise<Backend> {
  const migrating = new pg.Client({ connectionString });
  await migrating.connect();
  try {
    await runMigrations(migrating as never);
  } finally {
    await migrating.end();
  }
  // One pool for all queues and workers: each worker keeps one connection to LISTEN on.
  const pool = new pg.Pool({
    connectionString,
    max: queueNames.length + 6,
    keepAlive: true,
    application_name: 'usher-queue',
    options: '-c search_path=bullmq',
  });
  pool.on('error', () => undefined);
  // Every queue and worker listens on the one pool.
  pool.setMaxListeners(0);
  const connection = pool as never;
  const factory = createPostgresBackend as unknown as BackendFactory<IQueueBackend, never>;
  return {
    queue: (name) => new Queue(name, { connection }, factory as never) as unknown as Queue,
    worker: (name, concurrency, handle) =>
      new Worker(
        name,
        (job) => handle(idOf(job.data)),
        { connection, concurrency, ...workerOptions } as never,
        factory as never,
      ) as unknown as Worker,
    check: () => Promise.resolve(),
    close: async () => {
      // Workers give their LISTEN connections back a moment after they closed.
      await within(5000, pool.end()).catch(() => undefined);
    },
  };
}

export function openRedisBackend(url: string, check: 'strict' | 'asserted', log: Log): Backend {
  const connections: Redis[] = [];
  const connect = (options: { maxRetriesPerRequest: number | null; enableOfflineQueue: boolean }): Redis => {
    const redis = new Redis(url, {
      ...options,
      retryStrategy: (times) => Math.min(times * 200, 2000),
      connectionName: 'usher',
    });
    redis.on('error', (error) => log.debug({ err: error }, 'redis connection'));
    connections.push(redis);
    return redis;
  };
  // Producers fail fast: the sweeper repeats what was lost. Workers wait for ever: that is their work.
  let producing: Redis | undefined;
  const producer = () => (producing ??= connect({ maxRetriesPerRequest: 1, enableOfflineQueue: false }));
  return {
    queue: (name) => new Queue(name, { connection: producer(), prefix: '{usher}' }),
    worker: (name, concurrency, handle) =>
      new Worker(name, (job) => handle(idOf(job.data)), {
        connection: connect({ maxRetriesPerRequest: null, enableOfflineQueue: true }),
        concurrency,
        prefix: '{usher}',
        ...workerOptions,
      }),
    check: () => checkRedis(url, check),
    close: async () => {
      await Promise.all(connections.map((redis) => within(2000, redis.quit()).catch(() => redis.disconnect())));
    },
  };
}

/**
 * Refuses a Redis that could lose hints by thousands or run them empty. Measured: stock RDB settings lost 159,298 of 159,298 acknowledged
 * jobs after a kill; allkeys-lru ran 99,501 of 100,000 jobs without their content.
 */
async function checkRedis(url: string, check: 'strict' | 'asserted'): Promise<void> {
  if (check === 'asserted') return;
  const redis = new Redis(url, {
    maxRetriesPerRequest: 1,
    lazyConnect: true,
    retryStrategy: () => null,
    connectTimeout: 5000,
  });
  redis.on('error', () => undefined);
  try {
    await redis.connect();
  } catch (cause) {
    throw new UsherError(
      'queue_unavailable',
      `Redis at ${new URL(url).host} does not answer. Start it, or leave USHER_QUEUE_URL out to keep the hints in PostgreSQL.`,
      { cause },
    );
  }
  try {
    const read = async (name: string): Promise<string> =>
      String(((await redis.call('CONFIG', 'GET', name)) as string[])[1] ?? '');
    let policy: string;
    let appendOnly: string;
    try {
      [policy, appendOnly] = [await read('maxmemory-policy'), await read('appendonly')];
    } catch (cause) {
      throw new UsherError(
        'queue_unsafe',
        'Redis does not let its settings be read. Make sure that maxmemory-policy is noeviction and appendonly is yes, then set USHER_QUEUE_CHECK=asserted.',
        { cause },
      );
    }
    const fixes = [
      policy === 'noeviction' ? null : 'redis-cli CONFIG SET maxmemory-policy noeviction',
      appendOnly === 'yes' ? null : 'redis-cli CONFIG SET appendonly yes',
    ].filter((fix) => fix !== null);
    if (fixes.length > 0) {
      throw new UsherError(
        'queue_unsafe',
        `Redis could lose or garble the queue (maxmemory-policy ${policy}, appendonly ${appendOnly}). Run: ${fixes.join(' && ')} and put the same into redis.conf.`,
      );
    }
  } finally {
    redis.disconnect();
  }
}
