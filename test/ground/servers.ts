/** The real servers that tests stand on: a PostgreSQL of the system (or a second one from npm), the embedded PostgreSQL, and Redis. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { openEmbeddedPostgres } from '../../src/store/embedded-postgres.ts';

export interface Servers {
  embeddedUrl: string;
  serverUrl: string;
  redisUrl: string;
  close(): Promise<void>;
}

export async function startServers(): Promise<Servers> {
  const folder = await mkdtemp(path.join(tmpdir(), 'usher-test-'));
  const [embedded, server, redis] = await Promise.all([
    openEmbeddedPostgres(path.join(folder, 'embedded')),
    openEmbeddedPostgres(path.join(folder, 'server'), systemPostgres()),
    startRedis(path.join(folder)),
  ]);
  return {
    embeddedUrl: embedded.connectionString,
    serverUrl: server.connectionString,
    redisUrl: redis.url,
    async close() {
      redis.process.kill('SIGTERM');
      await Promise.all([embedded.close(), server.close()]);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Debian keeps every major in a folder of its own; the newest one is taken. Undefined: the one from npm serves as the server, too. */
function systemPostgres(): string | undefined {
  const root = '/usr/lib/postgresql';
  const majors = existsSync(root)
    ? readdirSync(root)
        .map(Number)
        .filter((major) => major >= 14 && existsSync(`${root}/${major}/bin/initdb`))
    : [];
  return majors.length > 0 ? `${root}/${Math.max(...majors)}/bin` : undefined;
}

async function startRedis(folder: string): Promise<{ url: string; process: ChildProcess }> {
  const port = await freePort();
  const child = startRedisServer(port, folder);
  const url = `redis://127.0.0.1:${port}`;
  await waitForRedis(url);
  return { url, process: child };
}

/** With the settings that the workers demand: noeviction, append-only file. `more` overrides them. */
export function startRedisServer(port: number, folder: string, more: string[] = []): ChildProcess {
  return spawn(
    redisBinary(),
    [
      '--port',
      String(port),
      '--bind',
      '127.0.0.1',
      '--dir',
      folder,
      '--appendonly',
      'yes',
      '--maxmemory-policy',
      'noeviction',
      '--save',
      '',
      ...more,
    ],
    { stdio: 'ignore' },
  );
}

export async function waitForRedis(url: string): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const redis = new Redis(url, { lazyConnect: true, retryStrategy: () => null });
    redis.on('error', () => undefined);
    try {
      await redis.connect();
      await redis.ping();
      return;
    } catch {
      await sleep(100);
    } finally {
      redis.disconnect();
    }
  }
  throw new Error(`Redis at ${url} did not start`);
}

function redisBinary(): string {
  const found = () => {
    try {
      return execFileSync('sh', ['-c', 'command -v redis-server'], { stdio: ['ignore', 'pipe', 'ignore'] })
        .toString()
        .trim();
    } catch {
      return '';
    }
  };
  const there = found();
  if (there) return there;
  try {
    execFileSync('sh', ['-c', 'apt-get update -qq && apt-get install -y -qq redis-server'], {
      stdio: 'ignore',
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    });
  } catch {
    // may not, or is no Debian: the sentence below says what to do
  }
  const installed = found();
  if (!installed)
    throw new Error(
      'The tests need Redis: install redis-server 6.2 or newer (on Debian: apt-get install redis-server) and run them again.',
    );
  return installed;
}

export async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
