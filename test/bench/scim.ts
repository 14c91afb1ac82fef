/**
 * `/scim/v2` beside a bare floor in the same run: Express with a single SQL statement a request and no SCIM at all. 100,000 users present,
 * 16 connections, server PostgreSQL and Redis on the same machine, the workers on. Medians of alternated runs.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import express from 'express';
import pg from 'pg';
import { freePort, startServers } from '../ground/servers.ts';
import { eventually, scimToken } from '../ground/usher.ts';

const present = Number(process.env.BENCH_USERS ?? 100_000);
const rounds = Number(process.env.BENCH_ROUNDS ?? 5);
const seconds = Number(process.env.BENCH_SECONDS ?? 3);
const connections = 16;

const policy = `
dedicatedMailbox: scheduling@contoso.com
delegation: ignored
sources: [{ name: scim, kind: scim, domains: [contoso.com] }]
rules: [{ name: Everybody, when: { domain: contoso.com }, bookingPages: [] }]
`;

export async function scim(): Promise<void> {
  const servers = await startServers();
  const folder = await mkdtemp(path.join(tmpdir(), 'usher-bench-'));
  const [usherPort, floorPort] = [await freePort(), await freePort()];
  const children: ChildProcess[] = [];
  try {
    const [usherDb, floorDb] = [
      await newDatabase(servers.serverUrl, 'usher_bench'),
      await newDatabase(servers.serverUrl, 'floor_bench'),
    ];
    await writeFile(path.join(folder, 'policy.yaml'), policy);
    const usher = spawn(
      process.execPath,
      [
        ...(process.env.BENCH_NODE_ARGS?.split(' ') ?? []),
        'dist/src/cli/main.js',
        'serve',
        ...(process.env.BENCH_SERVE_ARGS?.split(' ') ?? []),
      ],
      {
        stdio: 'inherit',
        env: {
          PATH: process.env.PATH ?? '',
          USHER_PORT: String(usherPort),
          USHER_DATABASE_URL: usherDb,
          USHER_QUEUE_URL: servers.redisUrl,
          USHER_POLICY: path.join(folder, 'policy.yaml'),
          USHER_SCIM_TOKEN: scimToken,
          USHER_ADMIN_TOKEN: 'bench-admin',
          USHER_LOG_LEVEL: 'error',
        },
      },
    );
    const floor = spawn(process.execPath, ['dist/test/bench/main.js', 'scim-floor', String(floorPort), floorDb], {
      stdio: 'inherit',
    });
    children.push(usher, floor);
    for (const port of [usherPort, floorPort])
      await eventually(
        () =>
          fetch(`http://127.0.0.1:${port}/healthz`).then(
            (response) => response.status,
            () => 0,
          ),
        (status) => status === 200,
        30_000,
      );

    await fill(usherDb, floorDb);
    await measure(usherPort, floorPort, usherDb, usher.pid ?? 0);
  } finally {
    for (const child of children) child.kill('SIGTERM');
    await Promise.all(
      children.map((child) => new Promise((resolve) => setTimeout(resolve, child.exitCode === null ? 3000 : 0))),
    );
    for (const child of children) child.kill('SIGKILL');
    await servers.close();
    await rm(folder, { recursive: true, force: true });
  }
}

async function newDatabase(server: string, name: string): Promise<string> {
  const client = new pg.Client({ connectionString: server });
  await client.connect();
  await client.query(`create database ${name}`);
  await client.end();
  const url = new URL(server);
  url.pathname = `/${name}`;
  return url.toString();
}

/** The same people in both, settled: a wanted person whose conditions are all true rests until tomorrow. */
async function fill(usherDb: string, floorDb: string): Promise<void> {
  const client = new pg.Client({ connectionString: usherDb });
  await client.connect();
  const condition = (type: string) =>
    `'${type}', jsonb_build_object('type', '${type}', 'status', 'true', 'reason', null, 'message', '', 'owner', 'nobody', 'generation', 1, 'evidence', '{}'::jsonb, 'since', now(), 'checkedAt', now(), 'nextCheckAt', now() + interval '1 day', 'attempts', 0)`;
  await client.query(
    `insert into people (person_id, lifecycle, wish, conditions, ready, next_at, source, external_id, user_name, display_name, email, active)
     select md5('p' || n)::uuid, 'wanted', jsonb_build_object('rule', 'Everybody', 'policyVersion', 'x', 'source', 'scim', 'userName', 'user' || n || '@contoso.com', 'displayName', 'User ' || n, 'givenName', null, 'familyName', null, 'email', 'user' || n || '@contoso.com', 'role', 'Member', 'licenses', '["scheduled-meetings"]'::jsonb, 'bookingPages', '[]'::jsonb, 'timeZone', null, 'invite', 'send', 'mailboxKeys', jsonb_build_array('user' || n || '@contoso.com'), 'faults', '[]'::jsonb),
       jsonb_build_object(${['Profile', 'Delegation', 'License', 'BookingPages'].map(condition).join(', ')}), true, now() + interval '1 day', 'scim', 'ext' || n, 'user' || n || '@contoso.com', 'User ' || n, 'user' || n || '@contoso.com', true
     from generate_series(1, $1) n`,
    [present],
  );
  await client.query(
    `insert into directory_users (resource_id, source, person_id, external_id, user_name, user_name_key, active, addresses, described, resource, created_at, display_key)
     select md5('u' || n)::uuid, 'scim', md5('p' || n)::uuid, 'ext' || n, 'user' || n || '@contoso.com', 'user' || n || '@contoso.com', true, array['user' || n || '@contoso.com'],
       jsonb_build_object('displayName', 'User ' || n, 'email', 'user' || n || '@contoso.com', 'addresses', jsonb_build_array('user' || n || '@contoso.com'), 'asked', '{"role":null,"licenses":[],"bookingPages":[]}'::jsonb),
       ${floorBody.replaceAll('$N', 'n')}, now() - interval '1 day' + n * interval '1 millisecond', 'user ' || n
     from generate_series(1, $1) n`,
    [present],
  );
  await client.query('vacuum analyze');
  await client.end();
  const other = new pg.Client({ connectionString: floorDb });
  await other.connect();
  await other.query(
    `insert into users (id, user_name, active, resource, created_at) select md5('u' || n)::uuid, 'user' || n || '@contoso.com', true, ${floorBody.replaceAll('$N', 'n')}, now() - interval '1 day' + n * interval '1 millisecond' from generate_series(1, $1) n`,
    [present],
  );
  await other.query('vacuum analyze');
  await other.end();
}

const floorBody = `jsonb_build_object('userName', 'user' || $N || '@contoso.com', 'externalId', 'ext' || $N, 'displayName', 'User ' || $N, 'name', jsonb_build_object('givenName', 'User', 'familyName', 'Nr ' || $N), 'active', true, 'emails', jsonb_build_array(jsonb_build_object('type', 'work', 'primary', true, 'value', 'user' || $N || '@contoso.com')))`;

/** The floor: Express and one named SQL statement a request. */
export async function scimFloor(port: number, database: string): Promise<void> {
  const pool = new pg.Pool({ connectionString: database, max: 16 });
  await pool.query(
    'create table users (id uuid primary key, user_name text not null unique, active boolean not null, resource jsonb not null, created_at timestamptz not null default now())',
  );
  await pool.query('create index on users (created_at, id)');
  const app = express();
  app.set('etag', false);
  app.get('/healthz', (_request, response) => void response.json({}));
  app.use(express.json());
  app.post('/Users', async (request, response) => {
    const { rows } = await pool.query({
      name: 'create',
      text: 'insert into users (id, user_name, active, resource) values ($1, $2, true, $3) returning *',
      values: [randomUUID(), request.body.userName, request.body],
    });
    response.status(201).json(rows[0]);
  });
  app.get('/Users/:id', async (request, response) => {
    const { rows } = await pool.query({
      name: 'get',
      text: 'select * from users where id = $1',
      values: [request.params.id],
    });
    response.json(rows[0]);
  });
  app.get('/Users', async (request, response) => {
    if (request.query.userName) {
      const { rows } = await pool.query({
        name: 'find',
        text: 'select * from users where user_name = $1',
        values: [request.query.userName],
      });
      response.json(rows);
      return;
    }
    const { rows } = await pool.query({
      name: 'list',
      text: 'select * from users order by created_at, id offset $1 limit $2',
      values: [Number(request.query.startIndex) - 1, Number(request.query.count)],
    });
    response.json(rows);
  });
  app.patch('/Users/:id', async (request, response) => {
    const { rows } = await pool.query({
      name: 'patch',
      text: 'update users set active = coalesce($2, active), resource = resource || $3 where id = $1 returning *',
      values: [request.params.id, request.body.active ?? null, request.body],
    });
    response.json(rows[0]);
  });
  app.listen(port, '127.0.0.1');
  await new Promise(() => undefined);
}

interface Call {
  method: string;
  path: string;
  body?: unknown;
}

const md5Uuid = async (text: string): Promise<string> => {
  const { createHash } = await import('node:crypto');
  const hex = createHash('md5').update(text).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
};

async function measure(usherPort: number, floorPort: number, usherDb: string, usherPid: number): Promise<void> {
  const ids = await Promise.all(
    Array.from({ length: Math.min(present, 20_000) }, (_one, index) => md5Uuid(`u${index + 1}`)),
  );
  let fresh = 0;
  const anyId = () => ids[Math.floor(Math.random() * ids.length)];
  const anyName = () => `user${1 + Math.floor(Math.random() * present)}@contoso.com`;
  const newUser = () => {
    const name = `fresh${fresh++}-${process.pid}@contoso.com`;
    return {
      userName: name,
      externalId: name,
      displayName: 'Fresh One',
      name: { givenName: 'Fresh', familyName: 'One' },
      active: true,
      emails: [{ type: 'work', primary: true, value: name }],
    };
  };
  const patchOp = (...operations: unknown[]) => ({
    schemas: ['urn:ietf:params:scim:api:messages:2.0:PatchOp'],
    Operations: operations,
  });
  let serial = 0;
  const kinds: Record<string, { usher: () => Call; floor: () => Call }> = {
    create: {
      usher: () => ({
        method: 'POST',
        path: '/scim/v2/Users',
        body: { schemas: ['urn:ietf:params:scim:schemas:core:2.0:User'], ...newUser() },
      }),
      floor: () => ({ method: 'POST', path: '/Users', body: newUser() }),
    },
    get: {
      usher: () => ({ method: 'GET', path: `/scim/v2/Users/${anyId()}` }),
      floor: () => ({ method: 'GET', path: `/Users/${anyId()}` }),
    },
    find: {
      usher: () => ({
        method: 'GET',
        path: `/scim/v2/Users?filter=${encodeURIComponent(`userName eq "${anyName()}"`)}`,
      }),
      floor: () => ({ method: 'GET', path: `/Users?userName=${encodeURIComponent(anyName())}` }),
    },
    patch: {
      usher: () => ({
        method: 'PATCH',
        path: `/scim/v2/Users/${anyId()}`,
        body: patchOp({ op: 'Replace', path: 'title', value: `T${serial++}` }),
      }),
      floor: () => ({ method: 'PATCH', path: `/Users/${anyId()}`, body: { title: `T${serial++}` } }),
    },
    disable: {
      usher: () => ({
        method: 'PATCH',
        path: `/scim/v2/Users/${anyId()}`,
        body: patchOp({ op: 'Replace', path: 'active', value: serial++ % 2 ? 'False' : 'True' }),
      }),
      floor: () => ({ method: 'PATCH', path: `/Users/${anyId()}`, body: { active: serial++ % 2 === 0 } }),
    },
    'page of 50': {
      usher: () => ({
        method: 'GET',
        path: `/scim/v2/Users?startIndex=${1 + 50 * Math.floor(Math.random() * 200)}&count=50`,
      }),
      floor: () => ({ method: 'GET', path: `/Users?startIndex=${1 + 50 * Math.floor(Math.random() * 200)}&count=50` }),
    },
  };
  console.log(
    `\n${'operation'.padEnd(12)} ${'usher/s'.padStart(8)} ${'floor/s'.padStart(8)} ${'ratio'.padStart(6)} ${'p99'.padStart(7)} ${'floor p99'.padStart(9)}   medians of ${rounds} alternated runs of ${seconds} s`,
  );
  for (const [name, { usher, floor }] of Object.entries(kinds).filter(
    ([kind]) => !process.env.BENCH_ONLY || process.env.BENCH_ONLY.split(',').includes(kind),
  )) {
    const results: { ours: Load; theirs: Load }[] = [];
    for (let round = 0; round < rounds; round++) {
      const theirs = await load(floorPort, floor, connections, seconds);
      const ours = await load(usherPort, usher, connections, seconds);
      results.push({ ours, theirs });
    }
    const middle = (pick: (result: (typeof results)[number]) => number) =>
      results.map(pick).sort((a, b) => a - b)[Math.floor(rounds / 2)] ?? 0;
    const failed = results.reduce((sum, result) => sum + result.ours.failed + result.theirs.failed, 0);
    console.log(
      `${name.padEnd(12)} ${String(Math.round(middle((result) => result.ours.perSecond))).padStart(8)} ${String(Math.round(middle((result) => result.theirs.perSecond))).padStart(8)} ${middle(
        (result) => result.ours.perSecond / result.theirs.perSecond,
      )
        .toFixed(2)
        .padStart(6)} ${middle((result) => result.ours.p99)
        .toFixed(1)
        .padStart(7)} ${middle((result) => result.theirs.p99)
        .toFixed(1)
        .padStart(9)}${failed > 0 ? `   ${failed} FAILED` : ''}`,
    );
  }
  const deep = await load(
    usherPort,
    () => ({ method: 'GET', path: `/scim/v2/Users?startIndex=${Math.max(1, present - 10_000)}&count=50` }),
    1,
    1,
  );
  const shallow = await load(usherPort, () => ({ method: 'GET', path: '/scim/v2/Users?startIndex=1&count=50' }), 1, 1);
  console.log(
    `page at row 1: ${(1000 / shallow.perSecond).toFixed(1)} ms, at row ${present - 10_000}: ${(1000 / deep.perSecond).toFixed(1)} ms`,
  );
  const mixed = Object.entries(kinds)
    .filter(([name]) => name !== 'page of 50')
    .map(([, kind]) => kind.usher);
  const paced = await load(
    usherPort,
    () => (mixed[Math.floor(Math.random() * mixed.length)] as () => Call)(),
    connections,
    10,
    250,
  );
  console.log(`250/s mixed: p50 ${paced.p50.toFixed(1)} ms, p99 ${paced.p99.toFixed(1)} ms, ${paced.failed} failed`);
  const { readFile } = await import('node:fs/promises');
  const memory = /VmHWM:\s+(\d+)/.exec(await readFile(`/proc/${usherPid}/status`, 'utf8').catch(() => ''))?.[1];
  if (memory) console.log(`memory of usher serve, highest: ${Math.round(Number(memory) / 1024)} MB`);
  const client = new pg.Client({ connectionString: usherDb });
  await client.connect();
  const { rows } = await client.query(
    `select (select count(*) from directory_users) as users, (select count(*) from history where action = 'user.received') as received, (select count(*) from people where jsonb_typeof(conditions) = 'object') as people`,
  );
  console.log(
    `counted in the database: ${rows[0].users} users, ${rows[0].people} people, ${rows[0].received} created with history by this run`,
  );
  await client.end();
}

interface Load {
  perSecond: number;
  p50: number;
  p99: number;
  failed: number;
}

/** A closed loop of keep-alive connections; with `pace`, so many starts a second. */
async function load(port: number, next: () => Call, width: number, forSeconds: number, pace?: number): Promise<Load> {
  const agent = new Agent({ keepAlive: true, maxSockets: width });
  const times: number[] = [];
  let failed = 0;
  const start = performance.now();
  const end = start + forSeconds * 1000;
  let started = 0;
  const lane = async (): Promise<void> => {
    while (performance.now() < end) {
      if (pace) {
        const due = start + (started++ / pace) * 1000;
        const wait = due - performance.now();
        if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
      }
      const at = performance.now();
      const status = await send(agent, port, next());
      times.push(performance.now() - at);
      if (status < 200 || status > 299) failed += 1;
    }
  };
  await Promise.all(Array.from({ length: width }, lane));
  agent.destroy();
  const took = (performance.now() - start) / 1000;
  times.sort((a, b) => a - b);
  return {
    perSecond: times.length / took,
    p50: times[Math.floor(times.length * 0.5)] ?? 0,
    p99: times[Math.floor(times.length * 0.99)] ?? 0,
    failed,
  };
}

function send(agent: Agent, port: number, { method, path: at, body }: Call): Promise<number> {
  return new Promise((resolve) => {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const sent = request(
      {
        agent,
        host: '127.0.0.1',
        port,
        method,
        path: at,
        headers: {
          authorization: `Bearer ${scimToken}`,
          ...(text ? { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) } : {}),
        },
      },
      (response) => {
        response.on('data', () => undefined);
        response.on('end', () => resolve(response.statusCode ?? 0));
      },
    );
    sent.on('error', () => resolve(0));
    sent.end(text);
  });
}
