/** A database of its own for each test file, on either server. */
import { randomBytes } from 'node:crypto';
import pg from 'pg';

export const backends = {
  'embedded PostgreSQL': () => needed('TEST_EMBEDDED_URL'),
  'server PostgreSQL': () => needed('TEST_SERVER_URL'),
} as const;
export type BackendName = keyof typeof backends;
export const backendNames = Object.keys(backends) as BackendName[];

export function redisUrl(): string {
  return needed('TEST_REDIS_URL');
}

function needed(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run the tests with «npm test»`);
  return value;
}

export async function freshDatabase(backend: BackendName): Promise<{ url: string; drop(): Promise<void> }> {
  const server = backends[backend]();
  const name = `test_${randomBytes(6).toString('hex')}`;
  const admin = async (statement: string) => {
    const client = new pg.Client({ connectionString: server });
    await client.connect();
    await client.query(statement);
    await client.end();
  };
  await admin(`create database ${name}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  return { url: url.toString(), drop: () => admin(`drop database ${name} with (force)`) };
}
