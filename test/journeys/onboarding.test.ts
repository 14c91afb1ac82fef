/** Hundreds of people by a table: nothing before the plan is applied, each row once, and what is wrong comes back to be mended. */
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { adminToken, call, eventually, startUsher, type Usher } from '../ground/usher.ts';

const policy = `
account: { kind: builtin, plan: paid, pools: { scheduled-meetings: 60 }, administrator: { email: founder@contoso.com } }
dedicatedMailbox: scheduling@contoso.com
delegation: ignored
sources:
  - { name: scim, kind: scim, domains: [contoso.com] }
  - { name: csv, kind: csv, domains: [contoso.com] }
rules:
  - { name: Advisors, when: { department: Advisory }, licenses: [scheduled-meetings], bookingPages: from-directory }
  - { name: Everybody, when: { domain: contoso.com }, licenses: [scheduled-meetings], bookingPages: ["{userName.local}"] }
bookingPages: { createMissing: from-template }
leavers: { holdMinutes: 0 }
`;

let usher: Usher;
let folder: string;
beforeAll(async () => {
  usher = await startUsher({ policy });
  folder = await mkdtemp(path.join(tmpdir(), 'usher-onboard-'));
});
afterAll(async () => {
  await usher.close();
  await rm(folder, { recursive: true, force: true });
});

const send = (text: string, at: Usher = usher) =>
  call(`${at.address}/api/v1/imports?name=people.csv`, 'POST', text, {
    authorization: `Bearer ${adminToken}`,
    'content-type': 'text/csv',
  });
const rowsOf = async (id: string, query = '') =>
  (await usher.api('GET', `/imports/${id}/rows?limit=1000${query}`)).body.items;
const done = (id: string, at: Usher = usher) =>
  eventually(
    async () => (await at.api('GET', `/imports/${id}`)).body,
    (body) => body.state === 'done',
  );
const apply = async (id: string) => {
  expect((await usher.api('POST', `/imports/${id}/apply`)).status).toBe(202);
  return done(id);
};
const person = async (who: string) => (await usher.api('GET', `/people/${who}`)).body;

describe('a table', () => {
  test('is a plan first: who is new, known, wrong; seats and pages; and nothing is done', async () => {
    await usher.scim('POST', '/Users', {
      schemas: ['urn:ietf:params:scim:schemas:core:2.0:User'],
      userName: 'known@contoso.com',
      externalId: 'known',
      active: true,
    });
    const before = (await usher.api('GET', '/summary')).body.people;
    const made = await send(
      'Email;Display name;Active\r\nana@contoso.com;Ana;yes\r\nknown@contoso.com;Known;\r\nbob@contoso,com;Bob;\r\nana@contoso.com;Again;\r\ngone@contoso.com;Gone;no\r\nout@elsewhere.com;Out;\r\n',
    );
    expect(made.status).toBe(201);
    expect(made.body).toMatchObject({
      state: 'planned',
      summary: {
        rows: 6,
        kinds: { new: 2, known: 1, changed: 0, leaver: 0, unchanged: 1, ambiguous: 0, faulty: 2 },
        outOfScope: 1,
        pages: { wished: 2, missing: 0 },
      },
      earlierPlan: null,
    });
    expect(made.body.summary.seats['scheduled-meetings']).toMatchObject({ missing: 0 });
    const faulty = await rowsOf(made.body.importId, '&kind=faulty');
    expect(faulty).toMatchObject([
      {
        line: 4,
        note: expect.stringContaining('no e-mail address'),
        suggestion: expect.stringContaining('bob@contoso.com'),
      },
      { line: 5, note: expect.stringContaining('line 2 already') },
    ]);
    expect((await usher.api('GET', '/summary')).body.people).toBe(before);
    const again = await send('email\nnobody-else@contoso.com\n');
    expect(again.body.earlierPlan).toBeNull();
  });

  test('applied, makes people Ready; the same table again finds everybody as they are, and writes nothing', async () => {
    const text = `userName,displayName,department\n${Array.from({ length: 20 }, (_one, n) => `p${n}@contoso.com,Person ${n},Sales`).join('\n')}\n`;
    const first = (await send(text)).body;
    const applied = await apply(first.importId);
    expect(applied.progress.rows).toMatchObject({ applied: 20, failed: 0, plan_stale: 0, waiting: 0 });
    await eventually(
      async () => (await usher.api('GET', `/imports/${first.importId}`)).body.progress,
      (progress) => progress.ready === 20,
    );
    expect(await person('p7@contoso.com')).toMatchObject({ source: 'csv', displayName: 'Person 7', ready: true });
    const second = (await send(text)).body;
    expect(second.summary.kinds).toMatchObject({ new: 0, unchanged: 20 });
    const history = async () => (await usher.api('GET', '/people/p7@contoso.com/history')).body.items.length;
    const before = await history();
    await apply(second.importId);
    expect(await history()).toBe(before);
  });

  test('brings pages beside people where the rule leaves them to it; where it does not, the plan says so', async () => {
    const made = await send(
      'email,department,booking pages\nada@contoso.com,Advisory,advice-ada; First Call\nabe@contoso.com,Sales,extra-abe\nart@contoso.com,Sales,art\n',
    );
    expect(made.body.summary).toMatchObject({ kinds: { new: 3 }, cellsNotUsed: 1, pages: { wished: 4 } });
    expect((await rowsOf(made.body.importId)).map(({ note }: { note: string | null }) => note)).toEqual([
      null,
      expect.stringContaining('bookingPages: not used, because rule «Everybody» says it for everybody'),
      null,
    ]);
    await apply(made.body.importId);
    const ada = await eventually(
      () => person('ada@contoso.com'),
      (body) => body.ready,
    );
    const { items } = (await usher.api('GET', `/account/booking-pages?owner=${ada.accountUserId}`)).body;
    expect(items.map(({ linkName }: { linkName: string }) => linkName).sort()).toEqual(['advice-ada', 'first-call']);
  });

  test('an absent row or column takes nothing; active false is a leaver', async () => {
    const made = (await send('email,active\np1@contoso.com,false\n')).body;
    expect(made.summary.kinds).toMatchObject({ leaver: 1 });
    await apply(made.importId);
    await eventually(
      () => person('p1@contoso.com'),
      (body) => ['leaving', 'suspended'].includes(body.lifecycle),
    );
    expect(await person('p2@contoso.com')).toMatchObject({ lifecycle: 'wanted', ready: true });
  });

  test('a person who changed since the plan was made is left alone, and shown', async () => {
    const made = (
      await send('email,title\np3@contoso.com,Advisor\np4@contoso.com,Advisor\nfresh@contoso.com,Advisor\n')
    ).body;
    expect(made.summary.kinds).toMatchObject({ changed: 2, new: 1 });
    await apply((await send('email,title\np3@contoso.com,Director\n')).body.importId);
    await usher.scim('POST', '/Users', {
      schemas: ['urn:ietf:params:scim:schemas:core:2.0:User'],
      userName: 'fresh@contoso.com',
      externalId: 'fresh',
      active: true,
    });
    const applied = await apply(made.importId);
    expect(applied.progress.rows).toMatchObject({ applied: 1, plan_stale: 2 });
    expect(await rowsOf(made.importId, '&state=plan_stale')).toMatchObject([
      { who: 'p3@contoso.com', result: expect.stringContaining('changed since') },
      { who: 'fresh@contoso.com', result: expect.stringContaining('came since') },
    ]);
  });

  test('what was wrong comes back as a table, and mended it is taken', async () => {
    const made = (await send('Login;E-Mail;Note\nmend;mend@contoso,com;keep me\nfine;fine@contoso.com;\n')).body;
    await apply(made.importId);
    const errors = await call(`${usher.address}/api/v1/imports/${made.importId}/errors`, 'GET', undefined, {
      authorization: `Bearer ${adminToken}`,
    });
    expect(errors.body.split('\r\n')).toEqual([
      'Login,E-Mail,Note,line,fault,suggestion',
      'mend,"mend@contoso,com",keep me,2,"email: «mend@contoso,com» is no e-mail address",email: mend@contoso.com',
      '',
    ]);
    const mended = (await send(errors.body.replace('"mend@contoso,com"', 'mend@contoso.com'))).body;
    expect(mended.summary.kinds).toMatchObject({ new: 1, faulty: 0 });
  });

  test('one that breaks off on its way is told as that, and is no fault of ours', async () => {
    const before = (await usher.api('GET', '/imports')).body.items.length;
    await new Promise<void>((resolve) => {
      const sending = request(`${usher.address}/api/v1/imports?name=broken.csv`, {
        method: 'POST',
        headers: { authorization: `Bearer ${adminToken}`, 'content-type': 'text/csv', 'content-length': '1000000' },
      });
      sending.on('error', () => resolve());
      sending.write(`email\n${'somebody@contoso.com\n'.repeat(1000)}`);
      setTimeout(() => sending.destroy(), 300);
    });
    const [broken] = await eventually(
      async () => (await usher.api('GET', '/imports')).body.items,
      (items) => items.length === before + 1 && items[0].state === 'failed',
    );
    expect(broken).toMatchObject({
      name: 'broken.csv',
      failure: 'The file broke off before its end, and nothing of it was taken. Send it again.',
    });
  });

  test('a row that is not taken is in nobody’s way', async () => {
    const made = (await send('email,active\nway@contoso.com,perhaps\nway@contoso.com,yes\nway@contoso.com,yes\n')).body;
    expect((await rowsOf(made.importId)).map(({ kind, note }: { kind: string; note: string }) => [kind, note])).toEqual(
      [
        ['faulty', 'active: «perhaps» is neither true nor false'],
        ['new', null],
        ['faulty', expect.stringContaining('stands in line 3 already')],
      ],
    );
  });

  test('only a plan can be applied, once, and only a running one stopped', async () => {
    const made = (await send('email\nonce@contoso.com\n')).body;
    expect((await usher.api('POST', `/imports/${made.importId}/stop`)).body.code).toBe('account_refused');
    await apply(made.importId);
    expect((await usher.api('POST', `/imports/${made.importId}/apply`)).body.code).toBe('account_refused');
    expect((await usher.api('POST', '/imports/00000000-0000-4000-8000-000000000000/apply')).status).toBe(404);
    for (const [text, code] of [
      ['', 'invalid_syntax'],
      ['foo\n1\n', 'invalid_syntax'],
      ['PK\u0003\u0004\u0000\u0000 a workbook', 'invalid_syntax'],
      ['email\n', 'invalid_value'],
    ]) {
      const answer = await send(text ?? '');
      expect([answer.status, answer.body.code]).toEqual([400, code]);
    }
    // None of them is left as if it were still being read.
    const { items } = (await usher.api('GET', '/imports')).body;
    expect(items.filter(({ state }: { state: string }) => state === 'reading')).toEqual([]);
  });
});

test('stopped half-way and gone on with, also after the process died: each row once', async () => {
  let other = await startUsher({ policy, workers: false });
  const { databaseUrl } = other;
  try {
    const count = 1500;
    const made = (
      await send(`email\n${Array.from({ length: count }, (_one, n) => `many${n}@contoso.com`).join('\n')}\n`, other)
    ).body;
    await other.api('POST', `/imports/${made.importId}/apply`);
    await eventually(
      async () => (await other.api('GET', `/imports/${made.importId}`)).body.progress.rows.applied,
      (applied) => applied > 50,
    );
    expect((await other.api('POST', `/imports/${made.importId}/stop`)).status).toBe(202);
    const stopped = (await other.api('GET', `/imports/${made.importId}`)).body;
    expect(stopped.state).toBe('stopped');
    await other.api('POST', `/imports/${made.importId}/resume`);
    // Ends in the middle: what was written and not settled is found as it is.
    await other.running.close();
    await other.sandbox.close();
    const client = new pg.Client({ connectionString: databaseUrl });
    await client.connect();
    await client.query(
      `update import_rows set state = 'waiting' where line in (select line from import_rows where state = 'applied' order by line limit 40)`,
    );
    await client.query(`update imports set lease_until = '-infinity'`);
    await client.end();
    other = await startUsher({ policy, workers: false, databaseUrl });
    const finished = await done(made.importId, other);
    expect(finished.progress.rows).toMatchObject({ applied: count, failed: 0, plan_stale: 0 });
    expect((await other.api('GET', '/summary')).body.people).toBe(count);
  } finally {
    await other.close();
  }
});

describe('the command', () => {
  const run = (...args: string[]) =>
    new Promise<{ code: number | null; out: string }>((resolve) => {
      const child = spawn(process.execPath, ['dist/src/cli/main.js', ...args], {
        env: { ...process.env, USHER_PUBLIC_URL: usher.address, USHER_ADMIN_TOKEN: adminToken, USHER_DATA_DIR: folder },
      });
      let out = '';
      child.stdout.on('data', (part: Buffer) => {
        out += String(part);
      });
      child.stderr.on('data', (part: Buffer) => {
        out += String(part);
      });
      child.on('close', (code) => resolve({ code, out }));
    });

  test('shows the plan, does nothing without it, applies it, waits, and writes what is wrong', async () => {
    const file = path.join(folder, 'people.csv');
    await writeFile(file, 'email,displayName\ncli1@contoso.com,One\ncli2@contoso.com,Two\nbroken@contoso,com,Three\n');
    const first = await run('onboard', file, '--apply');
    expect(first.code).toBe(3);
    expect(first.out).toContain('There was no plan of this file yet');
    expect((await usher.api('GET', '/people/cli1@contoso.com')).status).toBe(404);
    const second = await run('onboard', file, '--apply', '--wait', '--errors', path.join(folder, 'errors.csv'));
    expect(second.out).toMatch(/2 rows applied, 1 left alone[\s\S]*2 of 2 people are Ready/);
    expect(second.code).toBe(0);
    expect(await readFile(path.join(folder, 'errors.csv'), 'utf8')).toContain('broken@contoso');
    await writeFile(file, 'email,displayName\ncli1@contoso.com,Renamed\n');
    const plan = await run('onboard', file, '--json');
    const { importId } = JSON.parse(plan.out.slice(0, plan.out.lastIndexOf('}') + 1));
    expect((await run('onboard', '--apply', importId)).code).toBe(0);
    expect((await run('onboard', '--list')).out).toContain(importId);
    expect((await person('cli1@contoso.com')).displayName).toBe('Renamed');
    const nothing = await run('onboard', path.join(folder, 'absent.csv'));
    expect([nothing.code, nothing.out.includes('is not there')]).toEqual([1, true]);
    expect((await run('onboard')).code).toBe(2);
  });
});
