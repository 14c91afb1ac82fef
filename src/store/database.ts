/** The way to PostgreSQL: pools, Kysely over one of them, and the translation of its faults. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import { UsherError } from '../errors.ts';
import { openPipeline, type Pipeline, planOncePerConnection } from './pipeline.ts';

export interface Database {
  /** For statements that are written down here: planned once a connection, whatever their values are. */
  pool: pg.Pool;
  /** For lists, whose plan depends on their values, and which may take long: they hold up no write. */
  lists: pg.Pool;
  /** For short single reads on the way to an answer. */
  reads: Pipeline;
  /** For single statements that commit: apart from the reads, which would wait behind a flush of the log. */
  commits: Pipeline;
  kysely: Kysely<Tables>;
  close(): Promise<void>;
}

/** The tables that dynamic queries are built over; statements on the hot path are written by hand and named. */
export interface Tables {
  people: {
    person_id: string;
    lifecycle: string;
    source: string;
    user_name: string;
    display_name: string | null;
    email: string | null;
    ready: boolean;
    conditions: unknown;
  };
}

const listsAtOnce = 8;

export function openDatabase(
  connectionString: string,
  options: { max?: number; name?: string; onError: (error: Error) => void },
): Database {
  const open = (max: number, planOnce: boolean): pg.Pool => {
    const opened = new pg.Pool({
      connectionString,
      max,
      connectionTimeoutMillis: 5000,
      query_timeout: 25_000,
      keepAlive: true,
      application_name: options.name ?? 'usher',
      ...(planOnce ? { onConnect: async (client) => void (await client.query(planOncePerConnection)) } : {}),
    });
    // An idle connection that the server ends must not end us.
    opened.on('error', options.onError);
    return opened;
  };
  const pool = open(options.max ?? 10, true);
  const lists = open(listsAtOnce, false);
  const kysely = new Kysely<Tables>({ dialect: new PostgresDialect({ pool: lists }) });
  const lane = { name: options.name ?? 'usher', onError: options.onError };
  const reads = openPipeline(connectionString, lane);
  const commits = openPipeline(connectionString, lane);
  return {
    pool,
    lists,
    reads,
    commits,
    kysely,
    async close() {
      await Promise.all([reads.close(), commits.close()]);
      await kysely.destroy();
      // Kysely ends a pool only if it was ever asked over it.
      if (!lists.ended) await lists.end();
      await pool.end();
    },
  };
}

/** Class 08 connection, 53 resources, 57 operator intervention, 58 system, 25006 read-only: the server can not do it now. */
const awayStates = /^(08|53|57P|58|25006)/;
const awaySystemCodes = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ETIMEDOUT',
  'ENOENT',
  'EHOSTUNREACH',
]);

export function isDatabaseAway(error: unknown): boolean {
  const { code, message } = (error ?? {}) as { code?: string; message?: string };
  if (code && (awayStates.test(code) || awaySystemCodes.has(code))) return true;
  // pg and pg-pool raise these without a code.
  return /Connection terminated|timeout exceeded when trying to connect|Query read timeout|Client has encountered a connection error|Cannot use a pool after calling end|client was closed/i.test(
    message ?? '',
  );
}

const uniqueFields: Record<string, string> = {
  directory_users_user_name: 'userName',
  directory_users_external_id: 'externalId',
  groups_external_id: 'externalId',
};

/** Faults of PostgreSQL in our words. */
export function translate(error: unknown): unknown {
  if (error instanceof UsherError) return error;
  if (isDatabaseAway(error))
    return new UsherError('database_unavailable', 'PostgreSQL does not answer.', {
      cause: error,
      retryAfterSeconds: 5,
    });
  const { code, constraint } = (error ?? {}) as { code?: string; constraint?: string };
  if (code === '23505' && constraint && uniqueFields[constraint]) {
    return new UsherError('uniqueness', `${uniqueFields[constraint]} is used by another resource of this source.`, {
      cause: error,
    });
  }
  // U+0000 is a character of JSON and none of PostgreSQL's.
  if (code === '22021' || code === '22P05')
    return new UsherError('invalid_value', 'A text holds the character U+0000, which can not be stored.', {
      cause: error,
    });
  if (code === '40001' || code === '40P01')
    return new UsherError('conflict', 'The row changed at the same time.', { cause: error });
  return error;
}

/** A statement by its name: prepared once per connection, 10 to 30 % faster than unprepared. */
export type Named = { name: string; text: string };

export async function run<R extends pg.QueryResultRow>(
  on: { query<Row extends pg.QueryResultRow>(config: pg.QueryConfig): Promise<pg.QueryResult<Row>> },
  statement: Named,
  values: unknown[],
): Promise<R[]> {
  try {
    return (await on.query<R>({ name: statement.name, text: statement.text, values })).rows;
  } catch (error) {
    throw translate(error);
  }
}

/** A statement whose plan depends on its values: not kept under a name. */
export async function list<R extends pg.QueryResultRow>(lists: pg.Pool, text: string, values: unknown[]): Promise<R[]> {
  try {
    return (await lists.query<R>(text, values)).rows;
  } catch (error) {
    throw translate(error);
  }
}

/** One transaction; any throw rolls all of it back. */
export async function transaction<T>(pool: pg.Pool, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  let client: pg.PoolClient;
  try {
    client = await pool.connect();
  } catch (error) {
    throw translate(error);
  }
  let broken: Error | undefined;
  // The pool listens to idle clients only: a lent one that breaks without a listener would end the process.
  const onError = (error: Error): void => {
    broken = error;
  };
  client.on('error', onError);
  try {
    await client.query('begin');
    const result = await work(client);
    await client.query('commit');
    return result;
  } catch (error) {
    await client.query('rollback').catch((rollbackError: Error) => {
      broken = rollbackError;
    });
    throw translate(error);
  } finally {
    client.off('error', onError);
    // A connection that could not roll back is thrown away, not handed to the next caller.
    client.release(broken);
  }
}

/**
 * At most so many at once; the others wait here, in order and without a time limit, instead of for a connection: a rush of a thousand that all want
 * the same row is slow, and no sign that the database is away.
 */
export function openGate(atOnce: number): <T>(work: () => Promise<T>) => Promise<T> {
  let running = 0;
  const waiting: (() => void)[] = [];
  return async (work) => {
    if (running >= atOnce) await new Promise<void>((resolve) => waiting.push(resolve));
    else running += 1;
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      // The place is handed on, not given back and fought for.
      if (next) next();
      else running -= 1;
    }
  };
}

/** A statement that commits: over the lanes, and where it would wait for a row, over a connection of its own. */
export async function commit<R extends pg.QueryResultRow>(
  { commits, pool }: Pick<Database, 'commits' | 'pool'>,
  statement: Named,
  values: unknown[],
): Promise<R[]> {
  try {
    return await run<R>(commits, statement, values);
  } catch (error) {
    if ((error as { code?: string }).code !== '55P03') throw error;
    return run<R>(pool, statement, values);
  }
}

/** A transaction that met a deadlock or a serialisation fault is begun again; `work` must be repeatable. */
export async function repeatable<T>(pool: pg.Pool, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await transaction(pool, work);
    } catch (error) {
      if (!(error instanceof UsherError) || error.code !== 'conflict' || tries >= 6) throw error;
      await sleep(Math.random() * 20 * 2 ** tries);
    }
  }
}
