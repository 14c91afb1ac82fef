/** Everybody beside what the account shows: on demand and by the clock, corrected or only told, and a second run writes nothing. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { contoso } from '../../src/sandbox/contoso.ts';
import { faultOfCron, nextTime } from '../../src/schedule.ts';
import { freshDatabase } from '../ground/databases.ts';
import { adminToken, call, eventually, scimUser, startUsher, type Usher } from '../ground/usher.ts';

const policy = (reconcile: string) => `
account: { kind: builtin, plan: paid, pools: { scheduled-meetings: 50 } }
delegation: ignored
sources: [{ name: scim, kind: scim, domains: [${contoso.domain}] }]
rules: [{ name: Everybody, when: { domain: ${contoso.domain} }, bookingPages: ["{userName.local}"] }]
bookingPages: { createMissing: from-template }
reconcile: { ${reconcile} }
`;
const locals = ['ann', 'bob', 'cyd', 'dan', 'eve'];

let usher: Usher;
let database: pg.Client;
let databaseUrl: string;
let drop: () => Promise<void>;
const start = (reconcile = '') => startUsher({ databaseUrl, policy: policy(reconcile) });
beforeAll(async () => {
  ({ url: databaseUrl, drop } = await freshDatabase('embedded PostgreSQL'));
  usher = await start();
  database = new pg.Client({ connectionString: databaseUrl });
  await database.connect();
  for (const local of locals) await usher.scim('POST', '/Users', scimUser(local));
  await ready(5);
});
afterAll(async () => {
  await usher.close();
  await database.end();
  await drop();
});

const ready = (count: number) =>
  eventually(
    async () => (await usher.api('GET', '/summary')).body.ready,
    (seen) => seen === count,
  );
const reconcile = async (body: Record<string, unknown> = {}) => {
  const { runId } = (await usher.api('POST', '/runs/reconcile', body)).body;
  const run = await eventually(
    async () => (await usher.api('GET', `/runs/${runId}`)).body,
    (seen) => seen.state !== 'running',
  );
  const drift = (await usher.api('GET', `/runs/${runId}/drift`)).body.items as {
    kind: string;
    who: string;
    what: string;
    state: string;
  }[];
  return { run, drift };
};
/** Behind Usher's back: somebody writes into the account itself. */
const breakAll = async () => {
  await database.query(`update account_users set name = 'Renamed' where email = 'ann@contoso.com'`);
  await database.query(`update account_pages set enabled = false, disabled_by = 'license' where link_name = 'bob'`);
  await database.query(
    `update account_pages set enabled = false, disabled_by = 'license' where owner_id = (select account_user_id from account_users where email = 'cyd@contoso.com')`,
  );
  await database.query(
    `delete from account_licenses where account_user_id = (select account_user_id from account_users where email = 'cyd@contoso.com')`,
  );
};

describe('a reconciliation', () => {
  test('finds nothing where all is as it is wished, and writes nothing but that', async () => {
    const before = (await database.query('select count(*) from history')).rows[0].count;
    const { run, drift } = await reconcile();
    expect(run).toMatchObject({ kind: 'reconcile', state: 'done', report: { people: 5, found: 0 } });
    expect(drift).toEqual([]);
    expect((await database.query('select count(*) from history')).rows[0].count).toBe(before);
  });

  test('says what is otherwise, of whom, and who acts; and does nothing before it is told to', async () => {
    await breakAll();
    await usher.api('POST', '/account/users', { name: 'Stranger', email: 'stranger@contoso.com' });
    const { drift } = await reconcile();
    expect(drift.map(({ kind, who, state }) => [kind, who.split('@')[0], state])).toEqual([
      ['bookingPages', 'bob', 'found'],
      ['bookingPages', 'cyd', 'found'],
      ['license', 'cyd', 'found'],
      ['profile', 'ann', 'found'],
      ['unknownUsers', 'stranger', 'found'],
    ]);
    expect(drift.find(({ kind }) => kind === 'profile')?.what).toBe('changed by hand: name is Renamed, wished ann');
    const { rows } = await database.query(`select name from account_users where email = 'ann@contoso.com'`);
    expect(rows[0].name).toBe('Renamed');
    const one = await reconcile({ who: ['bob@contoso.com'] });
    expect(one.drift.map(({ who }) => who)).toEqual(['bob@contoso.com']);
    const csv = await call(`${usher.address}/api/v1/runs/${one.run.runId}/drift?format=csv`, 'GET', undefined, {
      authorization: `Bearer ${adminToken}`,
    });
    expect(csv.body).toContain('bookingPages,bob@contoso.com,«bob» is disabled,account_administrator');
  });

  test('applied as a plan it does exactly what was shown; what changed since is left alone and shown again', async () => {
    const { run: plan } = await reconcile({ who: ['ann@contoso.com', 'bob@contoso.com', 'dan@contoso.com'] });
    expect(plan.report).toMatchObject({ found: 2, corrected: 0 });
    // Since then: ann has another wrong name, bob was mended by hand, and dan's page is disabled.
    await database.query(`update account_users set name = 'Renamed Again' where email = 'ann@contoso.com'`);
    await database.query(`update account_pages set enabled = true, disabled_by = null where link_name = 'bob'`);
    await database.query(`update account_pages set enabled = false, disabled_by = 'license' where link_name = 'dan'`);
    const apply = async (runId: string, body: Record<string, unknown> = {}) => {
      const begun = await usher.api('POST', `/runs/${runId}/apply`, body);
      if (begun.status !== 202) return begun;
      const run = await eventually(
        async () => (await usher.api('GET', `/runs/${begun.body.runId}`)).body,
        (seen) => seen.state !== 'running',
      );
      return { status: 202, body: { ...run, drift: (await usher.api('GET', `/runs/${run.runId}/drift`)).body.items } };
    };
    const stale = await apply(plan.runId);
    expect(stale.body.report).toMatchObject({ corrected: 0, stale: 2 });
    expect(
      stale.body.drift.map(({ who, state, what }: Record<string, string>) => [who?.split('@')[0], state, what]),
    ).toEqual([
      ['bob', 'plan_stale', 'not so any more: «bob» is disabled'],
      ['ann', 'plan_stale', 'changed by hand: name is Renamed Again, wished ann'],
    ]);
    // Whoever was in order then is looked at by nobody.
    const pageOf = async (name: string) =>
      (await database.query('select enabled from account_pages where link_name = $1', [name])).rows[0].enabled;
    expect(await pageOf('dan')).toBe(false);

    const fresh = await reconcile({ who: ['ann@contoso.com', 'dan@contoso.com'] });
    const some = await apply(fresh.run.runId, { only: ['dan@contoso.com'] });
    expect(some.body.report).toMatchObject({ people: 1, corrected: 1, stale: 0 });
    await eventually(
      () => pageOf('dan'),
      (enabled) => enabled === true,
    );
    expect((await apply(some.body.runId)).body).toMatchObject({ code: 'conflict' });
    expect((await apply('00000000-0000-4000-8000-000000000000')).status).toBe(404);
    await database.query(`update account_pages set enabled = false, disabled_by = 'license' where link_name = 'bob'`);
  });

  test('corrects what the policy lets be corrected, by the steps, and finds it no more', async () => {
    const { run } = await reconcile({ apply: true });
    expect(run.report).toMatchObject({ found: 5, corrected: 4 });
    await eventually(
      async () => (await reconcile()).drift.map(({ kind }) => kind),
      (kinds) => JSON.stringify(kinds) === '["unknownUsers"]',
    );
    await ready(5);
    const { items } = (await usher.api('GET', '/people/ann@contoso.com/history')).body;
    expect(items[0]).toMatchObject({ action: 'user.updated' });
  });
});

describe('by the policy', () => {
  test('what is only reported is left as it is, and the condition says so', async () => {
    await usher.close();
    usher = await start('drift: { profile: report, license: report, bookingPages: report }');
    await breakAll();
    const { run, drift } = await reconcile({ apply: true });
    expect(run.report).toMatchObject({ corrected: 0 });
    expect(drift.length).toBe(5);
    await usher.api('POST', '/people/ann@contoso.com/provision', {});
    await usher.api('POST', '/people/cyd@contoso.com/provision', {});
    const conditionOf = async (who: string, type: string) =>
      (await usher.api('GET', `/people/${who}@contoso.com`)).body.conditions.find(
        (one: { type: string }) => one.type === type,
      );
    for (const [who, type] of [
      ['ann', 'Profile'],
      ['cyd', 'License'],
    ] as const)
      expect(await conditionOf(who, type)).toMatchObject({
        status: 'false',
        reason: 'awaiting_administrator',
        message: expect.stringContaining('The policy reports such changes'),
      });
    // Looked at again, it is still left alone.
    await usher.api('POST', '/people/ann@contoso.com/provision', {});
    const { rows } = await database.query(`select name from account_users where email = 'ann@contoso.com'`);
    expect(rows[0].name).toBe('Renamed');
  });

  test('by the clock, once for two processes, and once after a downtime', async () => {
    await usher.close();
    await database.query(
      `insert into facts (key, value) values ('reconcile_next_at', (now() - interval '3 days')::text) on conflict (key) do update set value = excluded.value`,
    );
    const scheduled = 'at: "0 3 * * *", timeZone: Europe/Berlin';
    const count = async () =>
      Number(
        (await database.query(`select count(*) from runs where kind = 'reconcile' and report ->> 'by' = 'schedule'`))
          .rows[0].count,
      );
    usher = await start(scheduled);
    const other = await start(scheduled);
    try {
      await eventually(count, (runs) => runs === 1, 30_000);
      await new Promise((resolve) => setTimeout(resolve, 11_000));
      expect(await count()).toBe(1);
      const { rows } = await database.query(`select value from facts where key = 'reconcile_next_at'`);
      const next = new Date(rows[0].value);
      expect(next.getTime()).toBeGreaterThan(Date.now());
      expect(new Intl.DateTimeFormat('de', { hour: '2-digit', timeZone: 'Europe/Berlin' }).format(next)).toContain(
        '03',
      );
    } finally {
      await other.close();
    }
    // What was broken for the report is corrected now: this policy lets it be.
    await ready(5);
  }, 60_000);

  test('a time that can not be read is a fault of the policy', () => {
    expect(faultOfCron('0 3 * * *', 'Europe/Berlin')).toBeNull();
    expect(faultOfCron('0 25 * * *', 'UTC')).toContain('can not be read');
    expect(faultOfCron('at three', 'UTC')).toContain('five fields');
    // The night in which two o'clock comes twice has one half past two for us.
    const first = nextTime('30 2 * * *', 'Europe/Berlin', new Date('2026-10-24T22:00:00Z'));
    const second = nextTime('30 2 * * *', 'Europe/Berlin', first);
    expect(second.getTime() - first.getTime()).toBeGreaterThan(23 * 3_600_000);
  });
});
