/**
 * The cost of the tenant, on the sandbox with 20 ms latency in a process of its own: the first sync beside merely downloading the same pages, rounds with few changes,
 * and the checks of many mailboxes.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { openBatch } from '../../src/graph/batch.ts';
import { openCalendars } from '../../src/graph/calendars.ts';
import { openGraphClient } from '../../src/graph/client.ts';
import { openDirectory } from '../../src/graph/directory.ts';
import { connectionTo, newTenant, startSandbox, type TenantUser } from '../../src/sandbox/tenant.ts';
import { freePort, startServers } from '../ground/servers.ts';
import { eventually } from '../ground/usher.ts';

const latencyMs = 20;
const sizes = (process.env.BENCH_USERS ?? '10000,100000').split(',').map(Number);
const mailboxes = Number(process.env.BENCH_MAILBOXES ?? 10_000);
const domain = 'contoso.com';
const dedicated = `scheduling@${domain}`;

const policy = `
dedicatedMailbox: ${dedicated}
sources: [{ name: graph, kind: graph, domains: [${domain}] }]
rules: [{ name: Nobody yet, when: { department: Advisory }, bookingPages: [] }]
`;

const objectId = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;

function manyUsers(count: number): TenantUser[] {
  return Array.from({ length: count }, (_one, n) => {
    const name = n === 0 ? dedicated : `user${n}@${domain}`;
    return {
      objectId: objectId(n),
      userPrincipalName: name,
      displayName: `User Number ${n}`,
      givenName: 'User',
      surname: `Number ${n}`,
      department: 'Sales',
      mail: name,
      proxyAddresses: [`SMTP:${name}`],
      accountEnabled: true,
      onPremisesSyncEnabled: null,
      exchangePlan: true,
      mailbox: 'cloud',
      calendarPermissions: n === 0 ? [] : [{ address: dedicated, role: 'delegateWithPrivateEventAccess' as const }],
    };
  });
}

/** The sandbox as a process: what it costs must not be charged to who asks it. Told what to do on standard input, a line each. */
export async function graphTenant(port: number, count: number, latency: number): Promise<void> {
  const tenant = newTenant(manyUsers(count));
  tenant.latencyMs = latency;
  await startSandbox(tenant, port);
  let text = '';
  for await (const chunk of process.stdin) {
    text += String(chunk);
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
      const [order = '', value = ''] = text.slice(0, end).split(' ');
      text = text.slice(end + 1);
      if (order === 'rename')
        for (let n = 1; n <= Number(value); n++) {
          const user = tenant.users[n];
          if (user) user.displayName = `${user.displayName}!`;
        }
      if (order === 'throttle')
        tenant.throttle = Number(value) > 0 ? () => (Math.random() < Number(value) ? 1 : null) : null;
      if (order === 'lanes') tenant.batchesAtOnce = Number(value);
      if (order === 'forget') tenant.requests.length = 0;
      const count = (test: (path: string) => boolean) => tenant.requests.filter((request) => test(request.path)).length;
      process.stdout.write(
        `${JSON.stringify({ delta: count((at) => at.includes('/users/delta')), batches: count((at) => at.endsWith('/$batch')), tooEarly: tenant.askedTooEarly })}\n`,
      );
    }
  }
}

interface Told {
  delta: number;
  batches: number;
  tooEarly: number;
}

export async function openTenantProcess(count: number, latency = latencyMs) {
  const port = await freePort();
  const child = spawn(
    process.execPath,
    ['dist/test/bench/main.js', 'graph-tenant', ...[port, count, latency].map(String)],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
    },
  );
  const waiting: ((told: Told) => void)[] = [];
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => {
    text += String(chunk);
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
      waiting.shift()?.(JSON.parse(text.slice(0, end)) as Told);
      text = text.slice(end + 1);
    }
  });
  const tell = (order: string): Promise<Told> =>
    new Promise((resolve) => {
      waiting.push(resolve);
      child.stdin.write(`${order}\n`);
    });
  await tell('count');
  const url = `http://127.0.0.1:${port}`;
  return {
    url,
    tell,
    child,
    graph: openGraphClient(connectionTo({ url, tenant: newTenant([]) })),
  };
}

export async function graph(): Promise<void> {
  for (const count of sizes) if (count > 0) await firstSync(count);
  if (mailboxes > 0) await checkMailboxes();
}

async function firstSync(count: number): Promise<void> {
  const servers = await startServers();
  const folder = await mkdtemp(path.join(tmpdir(), 'usher-bench-'));
  const tenant = await openTenantProcess(count);
  const children: ChildProcess[] = [tenant.child];
  try {
    const directory = openDirectory(tenant.graph, openBatch(tenant.graph));
    const select = directory.selectUsers(['department']);
    const download = async (): Promise<number> => {
      const start = performance.now();
      let link: string | null = null;
      for (;;) {
        const page = await directory.usersPage(link, select);
        if (page.kind !== 'page') throw new Error('no page');
        link = page.link;
        if (page.finished) return (performance.now() - start) / 1000;
      }
    };
    // The tenant's own first look is charged to nobody.
    await download();
    const before = await download();

    await writeFile(path.join(folder, 'policy.yaml'), policy);
    const usher = spawn(
      process.execPath,
      [...(process.env.BENCH_NODE_ARGS?.split(' ') ?? []), 'dist/src/cli/main.js', 'work'],
      {
        stdio: ['ignore', 'ignore', 'inherit'],
        env: {
          PATH: process.env.PATH ?? '',
          USHER_DATABASE_URL: servers.serverUrl,
          USHER_QUEUE_URL: servers.redisUrl,
          USHER_POLICY: path.join(folder, 'policy.yaml'),
          USHER_GRAPH_TENANT_ID: newTenant([]).tenantId,
          USHER_GRAPH_CLIENT_ID: newTenant([]).clientId,
          USHER_GRAPH_CLIENT_SECRET: newTenant([]).clientSecret,
          USHER_GRAPH_BASE_URL: tenant.url,
          USHER_GRAPH_AUTHORITY: tenant.url,
          USHER_GRAPH_POLL_SECONDS: '1',
          USHER_LOG_LEVEL: 'error',
        },
      },
    );
    children.push(usher);
    const client = new pg.Client({ connectionString: servers.serverUrl });
    await client.connect();
    const runs = async () =>
      (
        await client
          .query(
            `select extract(epoch from ended_at - created_at)::float as seconds, report from runs where kind = 'poll' and state <> 'running' order by created_at`,
          )
          .catch(() => ({ rows: [] }))
      ).rows as { seconds: number; report: { requests: number; changes: number; pages: number; error?: string } }[];
    const [first] = await eventually(runs, (rows) => rows.length > 0, 600_000);
    const peak = /VmHWM:\s+(\d+)/.exec(await readFile(`/proc/${usher.pid}/status`, 'utf8'))?.[1];
    const after = await download();
    const floor = (before + after) / 2;
    const { rows } = await client.query('select count(*)::int as users from directory_users');
    console.log(
      `\nfirst sync of ${count}: ${first?.seconds.toFixed(1)} s, ${first?.report.pages} pages, ${rows[0].users} users stored${first?.report.error ? ` ${first.report.error}` : ''}; merely downloading ${floor.toFixed(1)} s (before ${before.toFixed(1)}, after ${after.toFixed(1)}); ratio ${((first?.seconds ?? 0) / floor).toFixed(2)}; memory ${Math.round(Number(peak) / 1024)} MB`,
    );
    for (const changed of [0, 10, 1000, 5000].filter((k) => k < count)) {
      const done = (await runs()).length;
      await tenant.tell('forget');
      await tenant.tell(`rename ${changed}`);
      await eventually(runs, (all) => all.length >= done + 2 + (changed > 0 ? 1 : 0), 120_000);
      const round = (await runs()).slice(done).sort((a, b) => b.report.changes - a.report.changes)[0];
      console.log(
        `  a round with ${changed} changes: ${round?.report.requests} requests, ${round?.report.changes} stored`,
      );
    }
    await client.end();
  } finally {
    for (const child of children) child.kill('SIGTERM');
    await new Promise((resolve) => setTimeout(resolve, 1500));
    for (const child of children) child.kill('SIGKILL');
    await servers.close();
    await rm(folder, { recursive: true, force: true });
  }
}

async function checkMailboxes(): Promise<void> {
  const tenant = await openTenantProcess(mailboxes + 1);
  try {
    const check = async (): Promise<{ seconds: number; most: number; parallelism: number }> => {
      const batch = openBatch(tenant.graph);
      const calendars = openCalendars(tenant.graph, batch, dedicated);
      const start = performance.now();
      const since = () => (performance.now() - start) / 1000;
      let done = 0;
      let most = 0;
      await Promise.all(
        Array.from({ length: mailboxes }, async (_one, n) => {
          const reading = await calendars.readDelegation([objectId(n + 1)]);
          if (reading.kind !== 'grants') throw new Error(reading.kind);
          done += 1;
          if (done === Math.floor(mailboxes * 0.9)) most = since();
        }),
      );
      return { seconds: since(), most, parallelism: batch.parallelism };
    };
    /** The floor: so many loops that send full batches one after the other, and look at nothing. */
    const floor = async (lanes: number): Promise<number> => {
      const start = performance.now();
      let next = 0;
      const lane = async (): Promise<void> => {
        while (next < mailboxes) {
          const first = next;
          next += 20;
          await tenant.graph.send('POST', '/$batch', {
            requests: Array.from({ length: Math.min(20, mailboxes - first) }, (_one, n) => ({
              id: String(n + 1),
              method: 'GET',
              url: `/users/${objectId(first + n + 1)}/calendar/calendarPermissions`,
            })),
          });
        }
      };
      await Promise.all(Array.from({ length: lanes }, lane));
      return (performance.now() - start) / 1000;
    };
    const line = (value: number) => value.toFixed(1);
    for (const lanes of [4, 8]) {
      await tenant.tell(`lanes ${lanes}`);
      const ideal = await floor(lanes);
      await tenant.tell('forget');
      const { seconds, parallelism } = await check();
      const told = await tenant.tell('count');
      console.log(
        `\n${mailboxes} mailboxes, ${lanes} batches at once granted: ${line(seconds)} s, ${told.batches} batches, parallelism found ${parallelism}; as fast as granted ${line(ideal)} s, ratio ${(seconds / ideal).toFixed(2)}`,
      );
    }
    await tenant.tell('lanes 4');
    const ideal = await floor(4);
    await tenant.tell('throttle 0.3');
    await tenant.tell('forget');
    const { seconds, most } = await check();
    const told = await tenant.tell('count');
    // Nine tenths of the mailboxes, each asked 1 / 0.7 times; the last ones wait for their own Retry-After again and again.
    const permitted = (0.9 / 0.7) * ideal;
    console.log(
      `${mailboxes} mailboxes with 30 % answered 429, 4 batches at once granted: ${line(most)} s for nine tenths, ${line(seconds)} s for all, ${told.batches} batches, asked too early ${told.tooEarly}; at the permitted rate ${line(permitted)} s, used ${((100 * permitted) / most).toFixed(0)} %`,
    );
  } finally {
    tenant.child.kill('SIGKILL');
  }
}
