/** Brings the database up to date; safe when two processes start together, and refuses a newer schema than this code. */
import { Kysely, Migrator, PostgresDialect, sql } from 'kysely';
import pg from 'pg';
import { UsherError } from '../errors.ts';
import { isDatabaseAway } from './database.ts';
import { migrations } from './migrations/index.ts';

export async function migrate(connectionString: string): Promise<{ applied: string[] }> {
  const pool = new pg.Pool({ connectionString, max: 2, connectionTimeoutMillis: 5000 });
  pool.on('error', () => undefined);
  const database = new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) });
  try {
    const migrator = new Migrator({
      db: database,
      provider: {
        getMigrations: () =>
          Promise.resolve(
            Object.fromEntries(
              Object.entries(migrations).map(([name, text]) => [
                name,
                { up: async (db: Kysely<unknown>) => void (await sql.raw(text).execute(db)) },
              ]),
            ),
          ),
      },
    });
    const { error, results } = await migrator.migrateToLatest();
    if (error) throw explain(error);
    return {
      applied: (results ?? []).filter((result) => result.status === 'Success').map((result) => result.migrationName),
    };
  } finally {
    await database.destroy();
  }
}

function explain(error: unknown): unknown {
  if (isDatabaseAway(error))
    return new UsherError('database_unavailable', 'PostgreSQL does not answer.', { cause: error });
  if (error instanceof Error && /previously executed migration .* is missing/.test(error.message)) {
    return new UsherError(
      'internal',
      'The database was brought up to date by a newer Usher than this one. Start the newer version, or restore a backup from before.',
      { cause: error },
    );
  }
  return error;
}
