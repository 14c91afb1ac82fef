/**
 * A backup is a logical export of every table of ours, by COPY, in one snapshot: the same file whether the database is embedded or a server's, and readable by a
 * person. A restore puts it into an empty database of the same version, in one transaction, and raises the fence epoch: whatever a process still held when the
 * backup was made can commit nothing any more.
 *
 * The file: gzip of lines. A JSON header; for each table a JSON line with its columns, its rows as COPY writes them, and a line `\.`; a JSON line with the counts.
 */
import { createReadStream, createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';
import pg from 'pg';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import { UsherError } from '../errors.ts';
import { isDatabaseAway } from './database.ts';
import { migrations } from './migrations/index.ts';

const format = 'usher-backup';

interface Header {
  format: string;
  /** The newest migration. */
  schema: string;
  madeAt: string;
}

const end = Buffer.from('\\.\n');

export interface BackupReport {
  madeAt: string;
  rows: Record<string, number>;
}

/** Written beside the file and moved there when it is whole, so that a file of that name is always a backup. */
export async function backup(connectionString: string, file: string): Promise<BackupReport> {
  const client = await connect(connectionString);
  const partial = `${file}.part`;
  try {
    await client.query('begin isolation level repeatable read read only');
    const madeAt = new Date().toISOString();
    const rows: Record<string, number> = {};
    const lines = async function* (): AsyncGenerator<Buffer> {
      yield json({ format, schema: schemaOf(), madeAt });
      for (const { table, columns } of await tablesOf(client)) {
        yield json({ table, columns });
        const reading = client.query(copyTo(`copy ${quoted(table)} (${columns.map(quoted).join(', ')}) to stdout`));
        let count = 0;
        for await (const part of reading as AsyncIterable<Buffer>) {
          for (const byte of part) if (byte === 10) count += 1;
          yield part;
        }
        rows[table] = count;
        yield end;
      }
      yield json({ rows });
    };
    await pipeline(
      Readable.from(lines(), { objectMode: false }),
      createGzip(),
      createWriteStream(partial, { mode: 0o600 }),
    );
    await rename(partial, file);
    return { madeAt, rows };
  } catch (error) {
    await rm(partial, { force: true });
    throw explained(error);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** `replace`: what is there goes. Throws `account_refused` where something is in the way, and changes nothing. */
export async function restore(connectionString: string, file: string, replace: boolean): Promise<BackupReport> {
  const client = await connect(connectionString);
  try {
    await client.query('begin');
    await mayRestore(client, replace);
    const tables = await tablesOf(client);
    const names = tables.map(({ table }) => quoted(table));
    await client.query(`truncate ${names.join(', ')}`);
    // The ledger counts what is written row by row; here the counts come with the rows.
    for (const name of names) await client.query(`alter table ${name} disable trigger user`);
    const report = await load(client, file, new Set(tables.map(({ table }) => table)));
    for (const name of names) await client.query(`alter table ${name} enable trigger user`);
    await raiseSequences(client);
    await client.query(
      `insert into facts (key, value)
       select 'fence_epoch', greatest(extract(epoch from now())::bigint, (select coalesce(max(greatest(account_fence, delegation_fence)), 0) from people))::text
       on conflict (key) do update set value = greatest(facts.value::bigint, excluded.value::bigint)::text`,
    );
    // Whoever held something when the backup was made holds it no more.
    await client.query(
      `update people set account_lease_until = '-infinity', delegation_lease_until = '-infinity'
       where account_lease_until > '-infinity' or delegation_lease_until > '-infinity'`,
    );
    await client.query('commit');
    return report;
  } catch (error) {
    await client.query('rollback').catch(() => undefined);
    throw explained(error);
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function mayRestore(client: pg.Client, replace: boolean): Promise<void> {
  const others = await client.query<{ count: string }>(
    `select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and application_name in ('usher', 'usher-worker')`,
  );
  if (Number(others.rows[0]?.count) > 0)
    throw new UsherError(
      'account_refused',
      'Other processes of Usher use this database. Stop «usher serve» and «usher work» first.',
    );
  const there = await client.query('select 1 from people limit 1');
  if (there.rowCount && !replace)
    throw new UsherError(
      'account_refused',
      'There are people in this database. Restore into an empty one, or say --replace: then what is there goes.',
    );
}

async function load(client: pg.Client, file: string, known: Set<string>): Promise<BackupReport> {
  let header: Header | null = null;
  let counts: Record<string, number> | undefined;
  const found: Record<string, number> = {};
  const lines = linesOf(file);
  /** The rows of one table, up to their end. */
  async function* rowsOf(table: string): AsyncGenerator<Buffer> {
    for (let next = await lines.next(); ; next = await lines.next()) {
      if (next.done) throw broken('it breaks off');
      if (next.value.equals(end)) return;
      found[table] = (found[table] ?? 0) + 1;
      yield next.value;
    }
  }
  for (let next = await lines.next(); !next.done; next = await lines.next()) {
    const value = parsed(next.value);
    if (!header) {
      header = value as unknown as Header;
      if (header.format !== format) throw broken('it is no backup of Usher');
      if (header.schema !== schemaOf())
        throw new UsherError(
          'account_refused',
          `The backup was made at ${header.schema}, and this Usher is at ${schemaOf()}. Restore it with the version that made it, then start the newer one.`,
        );
    } else if (value.rows) counts = value.rows as Record<string, number>;
    else {
      const { table, columns } = value as { table: string; columns: string[] };
      if (!known.has(table)) throw broken(`it has a table ${table} that is not known here`);
      const sql = `copy ${quoted(table)} (${columns.map(quoted).join(', ')}) from stdin`;
      await pipeline(Readable.from(rowsOf(table), { objectMode: false }), client.query(copyFrom(sql)));
    }
  }
  if (!header || !counts) throw broken('it breaks off');
  for (const [table, count] of Object.entries(counts))
    if ((found[table] ?? 0) !== count)
      throw broken(`table ${table} should have ${count} rows and has ${found[table] ?? 0}`);
  return { madeAt: header.madeAt, rows: counts };
}

/** Whole lines with their line feed; a text of ours may hold any other separator. */
async function* linesOf(file: string): AsyncGenerator<Buffer> {
  const source = createReadStream(file);
  const text = source.pipe(createGunzip());
  source.on('error', (error) => text.destroy(error));
  let rest: Buffer[] = [];
  for await (const part of text as AsyncIterable<Buffer>) {
    let from = 0;
    for (let at = part.indexOf(10); at >= 0; at = part.indexOf(10, from)) {
      yield Buffer.concat([...rest, part.subarray(from, at + 1)]);
      rest = [];
      from = at + 1;
    }
    if (from < part.length) rest.push(part.subarray(from));
  }
  if (rest.length > 0) throw broken('it breaks off');
}

/** Ours, each behind those that it refers to; without columns that the database makes itself. */
async function tablesOf(client: pg.Client): Promise<{ table: string; columns: string[] }[]> {
  const { rows } = await client.query<{ table: string; columns: string[]; refers: string[] }>(
    `select c.relname as table,
       array(select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '' order by a.attnum) as columns,
       array(select distinct r.confrelid::regclass::text from pg_constraint r where r.conrelid = c.oid and r.contype = 'f' and r.confrelid <> c.oid) as refers
     from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = current_schema() and c.relkind = 'r' and c.relname not like 'kysely%' and c.relname not like 'bullmq%' order by 1`,
  );
  const sorted: typeof rows = [];
  while (sorted.length < rows.length) {
    const next = rows.find(
      (row) => !sorted.includes(row) && row.refers.every((name) => sorted.some((before) => before.table === name)),
    );
    if (!next) throw new UsherError('internal', 'The tables refer to each other in a circle.');
    sorted.push(next);
  }
  return sorted.map(({ table, columns }) => ({ table, columns }));
}

/** Numbers that the database gives go on behind the greatest that came. */
async function raiseSequences(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ table: string; column: string; sequence: string }>(
    `select c.relname as table, a.attname as column, pg_get_serial_sequence(c.relname::text, a.attname::text) as sequence
     from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = current_schema() and c.relkind = 'r' and a.attidentity <> '' and c.relname not like 'kysely%' and c.relname not like 'bullmq%'`,
  );
  for (const { table, column, sequence } of rows)
    await client.query(
      `select setval($1, greatest((select coalesce(max(${quoted(column)}), 0) from ${quoted(table)}), 1))`,
      [sequence],
    );
}

async function connect(connectionString: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString, connectionTimeoutMillis: 5000, application_name: 'backup' });
  client.on('error', () => undefined);
  try {
    await client.connect();
  } catch (error) {
    throw explained(error);
  }
  return client;
}

const schemaOf = (): string => Object.keys(migrations).at(-1) ?? '';
const json = (value: unknown): Buffer => Buffer.from(`${JSON.stringify(value)}\n`);
const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;
const broken = (why: string): UsherError =>
  new UsherError('invalid_value', `The backup can not be restored: ${why}. Nothing was changed.`);

function parsed(line: Buffer): Record<string, unknown> {
  try {
    return JSON.parse(line.toString()) as Record<string, unknown>;
  } catch {
    throw broken('it is no backup of Usher');
  }
}

function explained(error: unknown): unknown {
  if (error instanceof UsherError) return error;
  const { code, message, path } = error as { code?: string; message?: string; path?: string };
  if (code && path)
    return new UsherError('invalid_value', `${path} can not be opened (${code}). Nothing was changed.`, {
      cause: error,
    });
  if (isDatabaseAway(error))
    return new UsherError('database_unavailable', 'PostgreSQL does not answer.', { cause: error });
  if (code?.startsWith('Z_')) return broken(`it is no gzip, or breaks off (${message})`);
  return error;
}
