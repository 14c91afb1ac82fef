import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { contoso, contosoPeople, contosoTenant } from '../../src/sandbox/contoso.ts';
import { type Sandbox, startSandbox } from '../../src/sandbox/tenant.ts';
import { openEmbeddedPostgres } from '../../src/store/embedded-postgres.ts';
import { freePort, startRedisServer, waitForRedis } from '../ground/servers.ts';
import {
  adminToken,
  call,
  eventually,
  plainPolicy,
  scimToken,
  scimUser,
  startProcess,
  startUsher,
} from '../ground/usher.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'usher-faults-'));
});
afterEach(async () => {
  // A PostgreSQL that a killed process left behind is adopted and stopped.
  await (await openEmbeddedPostgres(path.join(folder, 'data'))).close();
  await rm(folder, { recursive: true, force: true });
});

describe('kill -9 of the whole process', () => {
  let sandbox: Sandbox;
  beforeEach(async () => {
    sandbox = await startSandbox(contosoTenant());
  });
  afterEach(() => sandbox.close());

  test('three times in the middle: everybody ends where they would have ended, each user created once', async () => {
    const port = await freePort();
    await writeFile(path.join(folder, 'policy.yaml'), plainPolicy.replace('["{userName.local}"]', '[]'));
    sandbox.tenant.latencyMs = 40;
    const env = {
      USHER_PORT: String(port),
      USHER_DATA_DIR: path.join(folder, 'data'),
      USHER_POLICY: path.join(folder, 'policy.yaml'),
      USHER_SCIM_TOKEN: scimToken,
      USHER_ADMIN_TOKEN: adminToken,
      USHER_GRAPH_TENANT_ID: sandbox.tenant.tenantId,
      USHER_GRAPH_CLIENT_ID: sandbox.tenant.clientId,
      USHER_GRAPH_CLIENT_SECRET: sandbox.tenant.clientSecret,
      USHER_GRAPH_BASE_URL: sandbox.url,
      USHER_GRAPH_AUTHORITY: sandbox.url,
      USHER_LOG_LEVEL: 'silent',
    };
    const base = `http://127.0.0.1:${port}`;
    const up = () =>
      eventually(
        async () =>
          fetch(`${base}/readyz`)
            .then((response) => response.status)
            .catch(() => 0),
        (status) => status === 200,
        30_000,
      );
    const accepted: string[] = [];
    const push = async (local: string): Promise<void> => {
      // Like an identity provider: no answer, or 409 for what a lost answer had created, is asked again in the next cycle.
      const answer = await call(`${base}/scim/v2/Users`, 'POST', scimUser(local), {
        authorization: `Bearer ${scimToken}`,
        'content-type': 'application/scim+json',
      }).catch(() => null);
      if (answer?.status === 201 || answer?.status === 409) accepted.push(local);
    };
    const people = contosoPeople.map((person) => person.local);

    let usher = startProcess(['serve'], env);
    for (let round = 0; round < 3; round++) {
      await up();
      const pushing = Promise.all(people.slice(round * 10, round * 10 + 10).map(push));
      await new Promise((resolve) => setTimeout(resolve, 30 + round * 60));
      usher.child.kill('SIGKILL');
      await usher.exited;
      await pushing;
      usher = startProcess(['serve'], env);
    }
    await up();
    for (const local of people) if (!accepted.includes(local)) await push(local);
    expect(new Set(accepted)).toEqual(new Set(people));

    const api = async (at: string) =>
      (await call(`${base}/api/v1${at}`, 'GET', undefined, { authorization: `Bearer ${adminToken}` })).body;
    const summary = await eventually(
      () => api('/summary'),
      (body) =>
        body.ready === 25 &&
        body.conditions.Profile.true === 30 &&
        body.conditions.Delegation.false.not_delegated === 3,
      75_000,
    );
    expect(summary.licenses['scheduled-meetings']).toMatchObject({ assigned: 26, waiting: 0 });
    usher.child.kill('SIGTERM');
    expect(await usher.exited).toBe(0);

    const embedded = await openEmbeddedPostgres(path.join(folder, 'data'));
    const client = new pg.Client({ connectionString: embedded.connectionString });
    await client.connect();
    const users = await client.query(
      'select person_id, count(*) from account_users where person_id is not null group by 1',
    );
    const created = await client.query(`select person_id from history where action = 'user.created'`);
    await client.end();
    await embedded.close();
    expect(users.rows).toHaveLength(30);
    expect(users.rows.every((row) => row.count === '1')).toBe(true);
    expect(new Set(created.rows.map((row) => row.person_id)).size).toBe(created.rows.length);
  }, 180_000);
});

describe('the database away', () => {
  test('is 503 with Retry-After, never 404 or 401, and nothing is half written', async () => {
    const embedded = await openEmbeddedPostgres(path.join(folder, 'data'));
    const usher = await startUsher({ databaseUrl: embedded.connectionString, workers: false });
    const made = (await usher.scim('POST', '/Users', scimUser('before'))).body;
    await embedded.close();
    for (const [method, at, body] of [
      ['GET', `/Users/${made.id}`, undefined],
      ['GET', '/Users?filter=userName%20eq%20%22before@contoso.com%22', undefined],
      ['POST', '/Users', scimUser('during')],
      ['DELETE', `/Users/${made.id}`, undefined],
    ] as const) {
      const answer = await usher.scim(method, at, body);
      expect([method, answer.status]).toEqual([method, 503]);
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
      expect(answer.headers.get('content-type')).toContain('application/scim+json');
    }
    expect((await fetch(`${usher.address}/readyz`)).status).toBe(503);
    expect((await fetch(`${usher.address}/healthz`)).status).toBe(200);
    const again = await openEmbeddedPostgres(path.join(folder, 'data'));
    const found = await eventually(
      () => usher.scim('GET', `/Users?filter=${encodeURIComponent('userName pr')}`),
      (answer) => answer.status === 200,
    );
    expect(found.body.totalResults).toBe(1);
    await usher.close();
    await again.close();
  }, 60_000);
});

describe('Redis', () => {
  test('lost in the middle, with all it knew, costs time only', async () => {
    const port = await freePort();
    let redis = startRedisServer(port, folder);
    const queueUrl = `redis://127.0.0.1:${port}`;
    await waitForRedis(queueUrl);
    const usher = await startUsher({ queueUrl, policy: plainPolicy.replace('["{userName.local}"]', '[]') });
    redis.kill('SIGKILL');
    for (const local of ['ana.ruiz', 'bjorn.akesson'])
      expect((await usher.scim('POST', '/Users', scimUser(local))).status).toBe(201);
    await rm(path.join(folder, 'appendonlydir'), { recursive: true, force: true });
    redis = startRedisServer(port, folder);
    await waitForRedis(queueUrl);
    await eventually(
      async () => (await usher.api('GET', '/summary')).body,
      (body) => body.ready === 2,
      75_000,
    );
    await usher.close();
    redis.kill('SIGTERM');
  }, 120_000);

  test.each([
    ['evicts', ['--maxmemory-policy', 'allkeys-lru'], 'maxmemory-policy noeviction'],
    ['keeps no append-only file', ['--appendonly', 'no'], 'appendonly yes'],
  ])('that %s is refused with the command that mends it', async (_name, settings, command) => {
    const port = await freePort();
    const redis = startRedisServer(port, folder, settings);
    await waitForRedis(`redis://127.0.0.1:${port}`);
    await expect(startUsher({ queueUrl: `redis://127.0.0.1:${port}` })).rejects.toThrow(command);
    redis.kill('SIGTERM');
  });
});

describe('settings and policy with faults', () => {
  test('the process does not start, and prints each fault with its line', async () => {
    const policy = path.join(folder, 'policy.yaml');
    await writeFile(
      policy,
      'dedicatedMailbox: nobody\nrules:\n  - name: A\n    role: Administrator\n    bookingPages: ["{shoeSize}"]\n    colour: red\nbrake:\n  window: soon\n',
    );
    const usher = startProcess(['serve'], {
      USHER_POLICY: policy,
      USHER_PORT: 'many',
      USHER_GRAPH_TENANT_ID: 'x',
      USHER_GRAPH_BASE_URL: 'http://graph.example.com',
      USHER_DATA_DIR: path.join(folder, 'data'),
      USHER_PROT: '1',
    });
    expect(await usher.exited).toBe(2);
    const output = usher.output();
    for (const expected of [
      'USHER_PROT',
      'USHER_PORT',
      'USHER_GRAPH_BASE_URL',
      'policy.yaml:1: dedicatedMailbox',
      'policy.yaml:6: rules.0.colour',
      'policy.yaml:8: brake.window',
    ])
      expect(output).toContain(expected);
    expect(output).not.toContain('    at ');
  });

  test(`a policy that demands a delegation names the mailbox, and an Administrator rule its group`, async () => {
    const policy = path.join(folder, 'policy.yaml');
    await writeFile(
      policy,
      `rules:\n  - name: A\n    role: Administrator\n  - name: A\n    when: { source: ${contoso.domain} }\n`,
    );
    const usher = startProcess(['policy', 'check', policy], {});
    expect(await usher.exited).toBe(2);
    for (const expected of ['dedicatedMailbox', 'immutable id', 'listed twice', 'no source is named'])
      expect(usher.output()).toContain(expected);
  });
});
