/**
 * A hundred thousand people from a table to Ready, as an installation of two processes does it: `usher serve --no-workers`, `usher work`, PostgreSQL and Redis, and a
 * tenant without latency in a process of its own. Then: the same with a worker that is killed half-way, the reconciliation of people who are in order, and how long a
 * person pushed by SCIM waits to be Ready, on an idle system and beside such a bulk.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import pg from 'pg';
import { newTenant } from '../../src/sandbox/tenant.ts';
import { freePort, type Servers, startServers } from '../ground/servers.ts';
import { type Answer, adminToken, call, eventually, scimToken, scimUser } from '../ground/usher.ts';
import { openTenantProcess } from './graph.ts';

const count = Number(process.env.BENCH_PEOPLE ?? 100_000);
/** Which parts to run: whole, killed, idle, beside. */
const parts = (process.env.BENCH_PARTS ?? 'whole,killed,idle,beside').split(',');
const pushed = 60;
const domain = 'contoso.com';

const policy = `
account: { kind: builtin, plan: paid, pools: { scheduled-meetings: ${count + pushed + 10} } }
dedicatedMailbox: scheduling@${domain}
sources: [{ name: scim, kind: scim, domains: [${domain}] }, { name: csv, kind: csv, domains: [${domain}] }]
rules: [{ name: Everybody, when: { domain: ${domain} }, licenses: [scheduled-meetings], bookingPages: ["{userName.local}"] }]
bookingPages: { createMissing: from-template }
`;

const userName = (n: number) => `user${n}@${domain}`;

/** Several people more than the table holds: they are pushed by SCIM. */
const table = (): string =>
  [
    'userName,displayName,givenName,familyName,email',
    ...Array.from(
      { length: count },
      (_one, n) => `${userName(n + 1)},User Number ${n + 1},User,Number ${n + 1},${userName(n + 1)}`,
    ),
  ].join('\n');

export async function onboard(): Promise<void> {
  if (parts.includes('whole')) await bulk('whole');
  if (parts.includes('killed')) await bulk('killed');
  if (parts.includes('idle')) await bulk('idle');
  if (parts.includes('beside')) await bulk('beside');
}

async function bulk(part: string): Promise<void> {
  const servers = await startServers();
  const tenant = await openTenantProcess(count + pushed + 1, 0);
  const usher = await openInstallation(servers, tenant.url);
  const { client } = usher;
  try {
    if (part === 'idle') return report('pushed by SCIM, idle', await push(usher, () => false));
    const startedAt = performance.now();
    const plan = await usher.api('POST', '/imports?name=people.csv', table(), 'text/csv');
    if (plan.status !== 201) throw new Error(JSON.stringify(plan.body));
    const planned = performance.now();
    await usher.api('POST', `/imports/${plan.body.importId}/apply`, {});
    let killed = part !== 'killed';
    let first = 0;
    let done = false;
    const waits = part === 'beside' ? push(usher, () => done) : null;
    for (let ready = 0, shown = 0; ready < count; ) {
      await sleep(first === 0 ? 50 : 500);
      ready = first === 0 && (await isNobodyReady(client)) ? 0 : await readyPeople(client);
      if (ready > 0 && first === 0) first = performance.now() - planned;
      if (!killed && ready > count * 0.4) {
        killed = true;
        await usher.killWorker();
      }
      if (performance.now() - shown > 10_000) {
        shown = performance.now();
        console.log(`  ${seconds(performance.now() - planned)}: ${ready} Ready`);
      }
    }
    const took = performance.now() - planned;
    done = true;
    // Whatever is under way settles.
    await sleep(3000);
    const history = await client.query(
      'select action, count(*)::int as rows, count(distinct person_id)::int as people from history h where exists (select 1 from people p where p.person_id = h.person_id and p.source = $1) group by action order by action',
      ['csv'],
    );
    const made = await client.query(
      `select (select count(*) from account_users where person_id is not null)::int as users, (select count(*) from account_licenses)::int as licenses, (select count(*) from account_pages)::int as pages,
        (select count(*) from people where ready)::int as ready, pg_size_pretty(pg_database_size(current_database())) as size`,
    );
    console.log(
      `\n${part}: ${count} people, plan ${seconds(planned - startedAt)}, first Ready ${seconds(first)}, all Ready ${seconds(took)}: ${Math.round((count / took) * 60_000)} a minute`,
    );
    console.log(`  ${JSON.stringify(made.rows[0])}`);
    for (const row of history.rows)
      console.log(`  ${String(row.action).padEnd(28)} ${row.rows} rows, ${row.people} people`);
    console.log(`  ${await usher.memory()}`);
    if (waits !== null) report('pushed by SCIM beside the bulk', await waits);
    if (part === 'whole') await reconciliation(usher);
  } finally {
    await usher.close();
    tenant.child.kill('SIGKILL');
    await servers.close();
  }
}

type Installation = Awaited<ReturnType<typeof openInstallation>>;

async function openInstallation(servers: Servers, tenantUrl: string) {
  const folder = await mkdtemp(path.join(tmpdir(), 'usher-bench-'));
  await writeFile(path.join(folder, 'policy.yaml'), policy);
  const port = await freePort();
  const address = `http://127.0.0.1:${port}`;
  const none = newTenant([]);
  const env = {
    PATH: process.env.PATH ?? '',
    USHER_PORT: String(port),
    USHER_DATABASE_URL: servers.serverUrl,
    USHER_QUEUE_URL: servers.redisUrl,
    USHER_POLICY: path.join(folder, 'policy.yaml'),
    USHER_ADMIN_TOKEN: adminToken,
    USHER_SCIM_TOKEN: scimToken,
    USHER_GRAPH_TENANT_ID: none.tenantId,
    USHER_GRAPH_CLIENT_ID: none.clientId,
    USHER_GRAPH_CLIENT_SECRET: none.clientSecret,
    USHER_GRAPH_BASE_URL: tenantUrl,
    USHER_GRAPH_AUTHORITY: tenantUrl,
    USHER_LOG_LEVEL: process.env.BENCH_LOG ?? 'error',
  };
  const children = new Map<string, ChildProcess>();
  const peaks = new Map<string, number>();
  const start = (name: string, args: string[]): void => {
    const profile = process.env.BENCH_PROFILE ? ['--cpu-prof', `--cpu-prof-dir=${process.env.BENCH_PROFILE}`] : [];
    children.set(
      name,
      spawn(process.execPath, [...profile, 'dist/src/cli/main.js', ...args], {
        stdio: ['ignore', 'ignore', 'inherit'],
        env,
      }),
    );
  };
  const look = async (): Promise<void> => {
    for (const [name, child] of children) {
      const status = await readFile(`/proc/${child.pid}/status`, 'utf8').catch(() => '');
      const peak = Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024;
      peaks.set(name, Math.max(peaks.get(name) ?? 0, peak));
    }
  };
  start('serve', ['serve', '--no-workers']);
  await eventually(
    () =>
      fetch(`${address}/readyz`).then(
        (answer) => answer.status,
        () => 0,
      ),
    (status) => status === 200,
  );
  start('work', ['work']);
  const client = new pg.Client({ connectionString: servers.serverUrl });
  await client.connect();
  const redis = new Redis(servers.redisUrl);
  return {
    client,
    address,
    scim: (at: string, body: unknown): Promise<Answer> =>
      call(`${address}/scim/v2${at}`, 'POST', body, {
        authorization: `Bearer ${scimToken}`,
        'content-type': 'application/scim+json',
      }),
    api: (method: string, at: string, body?: unknown, type = 'application/json'): Promise<Answer> =>
      call(`${address}/api/v1${at}`, method, body, { authorization: `Bearer ${adminToken}`, 'content-type': type }),
    async killWorker(): Promise<void> {
      await look();
      children.get('work')?.kill('SIGKILL');
      await sleep(1000);
      start('work', ['work']);
    },
    async memory(): Promise<string> {
      await look();
      const used = /used_memory_peak:(\d+)/.exec(await redis.info('memory'))?.[1];
      const each = [...peaks].map(([name, peak]) => `${name} ${Math.round(peak)} MB`);
      return `memory at its highest: ${each.join(', ')}, Redis ${Math.round(Number(used) / 1_048_576)} MB`;
    },
    async close(): Promise<void> {
      await client.end();
      redis.disconnect();
      for (const child of children.values()) child.kill('SIGTERM');
      await Promise.race([
        Promise.all(
          [...children.values()].map((child) => child.exitCode ?? new Promise((resolve) => child.on('exit', resolve))),
        ),
        sleep(15_000),
      ]);
      for (const child of children.values()) child.kill('SIGKILL');
      await rm(folder, { recursive: true, force: true });
    },
  };
}

const readyPeople = async (client: pg.Client): Promise<number> =>
  (await client.query(`select count(*)::int as ready from people where ready and source = 'csv'`)).rows[0].ready;
const isNobodyReady = async (client: pg.Client): Promise<boolean> =>
  (await client.query('select 1 from people where ready limit 1')).rowCount === 0;

/** One after the other, each until Ready; while a bulk runs until `stop`, at most so many. */
async function push({ scim, client }: Installation, stop: () => boolean): Promise<number[]> {
  const times: number[] = [];
  for (let n = 1; n <= pushed && !stop(); n++) {
    const name = userName(count + n).split('@')[0] as string;
    const startedAt = performance.now();
    const made = await scim('/Users', scimUser(name));
    if (made.status !== 201) throw new Error(JSON.stringify(made.body));
    for (;;) {
      const { rowCount } = await client.query('select 1 from people where user_name = $1 and ready and source = $2', [
        userName(count + n),
        'scim',
      ]);
      if (rowCount) break;
      if (performance.now() - startedAt > 120_000) throw new Error(`${name} is not Ready after two minutes`);
      await sleep(10);
    }
    times.push(performance.now() - startedAt);
  }
  return times;
}

function report(what: string, times: number[]): void {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (share: number) => Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0);
  console.log(`${what}: ${times.length} people, median ${at(0.5)} ms, p95 ${at(0.95)} ms, most ${at(1)} ms`);
}

async function reconciliation({ api, client }: Installation): Promise<void> {
  const writes = async (): Promise<number> => {
    // A connection tells its counters once it has been idle for ten seconds.
    await sleep(12_000);
    const { rows } = await client.query(
      `select sum(n_tup_ins + n_tup_upd + n_tup_del)::int as writes from pg_stat_user_tables where relname in ('people', 'history', 'directory_users') or relname like 'account\\_%'`,
    );
    return rows[0].writes;
  };
  const before = await writes();
  const startedAt = performance.now();
  const begun = await api('POST', '/runs/reconcile', { apply: true });
  const run = await eventually(
    async () => (await api('GET', `/runs/${begun.body.runId}`)).body,
    (found) => found.state !== 'running',
    600_000,
  );
  const took = performance.now() - startedAt;
  console.log(
    `  reconciliation of ${run.report?.people}: ${seconds(took)}, ${run.report?.found} differences, ${(await writes()) - before} writes`,
  );
}

const seconds = (milliseconds: number): string => `${(milliseconds / 1000).toFixed(1)} s`;
