/** Whose word counts, for how long, and what happens to it when something else happens; and what is believed of a vendor that errs. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { contoso } from '../../src/sandbox/contoso.ts';
import type { OnceHubSandbox } from '../../src/sandbox/oncehub.ts';
import { eventually, scimUser, startUsher, type Usher } from '../ground/usher.ts';

const policy = `
account: { kind: oncehub, pools: { scheduled-meetings: 4 }, nativeProvisioning: off }
delegation: ignored
sources: [{ name: scim, kind: scim, domains: [${contoso.domain}] }]
rules:
  - { name: Nothing, when: { department: None }, licenses: [], teams: [Advisory] }
  - { name: Everybody, when: { domain: ${contoso.domain} }, teams: [Sales] }
leavers: { holdMinutes: 0 }
`;
const enterprise = 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User';
const oops = { status: 500, type: 'api_error', message: 'An unexpected error occurred.' };

let usher: Usher;
let oncehub: OnceHubSandbox;
let database: pg.Client;
beforeAll(async () => {
  usher = await startUsher({ policy, oncehub: { makesPages: false, limits: null } });
  oncehub = usher.oncehub as OnceHubSandbox;
  database = new pg.Client({ connectionString: usher.databaseUrl });
  await database.connect();
});
afterAll(async () => {
  await database.end();
  await usher.close();
});

// Each test has the brake for itself.
afterEach(() => database.query(`update removals set admitted_at = now() - interval '2 days' where state = 'admitted'`));

const person = async (local: string) => (await usher.api('GET', `/people/${local}@${contoso.domain}`)).body;
const license = async (local: string) =>
  (await person(local)).conditions.find((one: { type: string }) => one.type === 'License');
const tasksOf = async (local: string, state = 'open') =>
  (await usher.api('GET', `/tasks?who=${local}@${contoso.domain}&state=${state}`)).body.items;
const taskOf = (local: string, kind: string) =>
  eventually(
    async () => (await tasksOf(local)).find((task: { kind: string }) => task.kind === kind),
    (task) => task !== undefined,
  );
const done = async (task: { taskId: string }) =>
  (await usher.api('POST', `/tasks/${task.taskId}/done`, { by: 'Jane Doe' })).body;
const inAccount = (local: string) => oncehub.account.users.find((user) => user.email === `${local}@${contoso.domain}`);
const lookNow = (local: string) => usher.api('POST', `/people/${local}@${contoso.domain}/provision`, {});
const resourceOf = async (local: string) =>
  (await usher.scim('GET', `/Users?filter=userName eq "${local}@${contoso.domain}"`)).body.Resources[0].id;
const patch = async (local: string, ...Operations: unknown[]) =>
  usher.scim('PATCH', `/Users/${await resourceOf(local)}`, {
    schemas: ['urn:ietf:params:scim:api:messages:2.0:PatchOp'],
    Operations,
  });
const active = (local: string, value: boolean) => patch(local, { op: 'replace', path: 'active', value });
const ready = (local: string, isSo = true) =>
  eventually(
    () => person(local),
    (body) => body.ready === isSo,
  );
const newcomer = async (local: string, more: Record<string, unknown> = {}) => {
  const [givenName, familyName] = local.split('.');
  await usher.scim('POST', '/Users', scimUser(local, { name: { givenName, familyName }, ...more }));
  return taskOf(local, 'assign_seat');
};
/** By a word alone: nothing of theirs can be looked at. */
const readyByWord = async (local: string) => {
  await done(await newcomer(local));
  await ready(local);
};
const leave = async (local: string) => {
  await active(local, false);
  await done(await taskOf(local, 'free_seat'));
  await eventually(
    () => person(local),
    (body) => body.lifecycle === 'suspended',
  );
};
const ledger = async () => (await usher.api('GET', '/summary')).body.licenses['scheduled-meetings'];

describe('a word', () => {
  test('ends with the leaver: whoever comes back is asked for anew, and whoever leaves again, too', async () => {
    await readyByWord('ann.one');
    await leave('ann.one');
    await active('ann.one', true);
    const again = await taskOf('ann.one', 'assign_seat');
    expect((await person('ann.one')).ready).toBe(false);
    await done(again);
    await ready('ann.one');
    await active('ann.one', false);
    const second = await taskOf('ann.one', 'free_seat');
    expect((await person('ann.one')).lifecycle).toBe('leaving');
    await done(second);
    await eventually(ledger, (counts) => counts.assigned === 0 && counts.reserved === 0);
  });

  test('of a user who was deleted says nothing of the one who was made instead', async () => {
    await readyByWord('bea.two');
    const before = inAccount('bea.two')?.id ?? '';
    oncehub.administrator.deleteUser(before);
    await lookNow('bea.two');
    expect(inAccount('bea.two')?.id).not.toBe(before);
    expect((await person('bea.two')).ready).toBe(false);
    expect((await taskOf('bea.two', 'assign_seat')).accountUserId).toBe(inAccount('bea.two')?.id);
    await leave('bea.two');
  });

  test('about a user who is no more is none: the user is made again, and asked for anew', async () => {
    const task = await newcomer('gus.gone');
    oncehub.administrator.deleteUser(task.accountUserId);
    await done(task);
    const again = await eventually(
      async () => (await tasksOf('gus.gone')).find((one: { kind: string }) => one.kind === 'assign_seat'),
      (one) => one !== undefined && one.accountUserId === inAccount('gus.gone')?.id,
    );
    expect(again.accountUserId).not.toBe(task.accountUserId);
    expect((await person('gus.gone')).ready).toBe(false);
    await leave('gus.gone');
  });

  test('that is refuted after its task was closed is told on the one that takes its place', async () => {
    await readyByWord('cora.three');
    oncehub.account.calendars.push({
      id: 'BKC-C',
      host: inAccount('cora.three')?.id ?? '',
      name: 'C',
      published: true,
    });
    await eventually(
      async () => {
        await lookNow('cora.three');
        return license('cora.three');
      },
      (seen) => seen.status === 'false',
      30_000,
    );
    const [task] = await tasksOf('cora.three');
    expect(task).toMatchObject({ kind: 'assign_seat', contradiction: expect.stringContaining('402') });
    expect((await license('cora.three')).message).toContain('Jane Doe said on');
    // Time slots answer that there is no seat: nobody is asked to take one.
    await active('cora.three', false);
    await eventually(
      () => person('cora.three'),
      (body) => body.lifecycle === 'suspended',
    );
    expect(await tasksOf('cora.three', 'all')).not.toContainEqual(expect.objectContaining({ kind: 'free_seat' }));
  });

  test('that runs out makes the condition unknown and is asked for again, once; a new one stands', async () => {
    await readyByWord('dina.four');
    await database.query(
      `update tasks set expires_at = now() - interval '1 minute', said_at = now() - interval '31 days' where who = 'dina.four'`,
    );
    await lookNow('dina.four');
    expect(await license('dina.four')).toMatchObject({ status: 'unknown', reason: 'evidence_expired' });
    const renewal = await taskOf('dina.four', 'confirm_seat');
    await lookNow('dina.four');
    expect((await tasksOf('dina.four')).map((task: { taskId: string }) => task.taskId)).toEqual([renewal.taskId]);
    expect((await license('dina.four')).reason).toBe('evidence_expired');
    await done(renewal);
    await ready('dina.four');
    await leave('dina.four');
  });

  test('is not lost on a step that is under way, and a plan takes nothing of it', async () => {
    const task = await newcomer('elsa.five');
    oncehub.account.latencyMs = 300;
    const looking = lookNow('elsa.five');
    await new Promise((resolve) => setTimeout(resolve, 150));
    await usher.api('POST', '/tasks/done', { taskIds: [task.taskId], by: 'Jane Doe' });
    await looking;
    oncehub.account.latencyMs = 0;
    await ready('elsa.five');
    await active('elsa.five', false);
    const seat = await taskOf('elsa.five', 'free_seat');
    oncehub.account.calendars.push({ id: 'BKC-E', host: inAccount('elsa.five')?.id ?? '', name: 'E', published: true });
    oncehub.account.seats.add(inAccount('elsa.five')?.id ?? '');
    await database.query(`update tasks set said_by = 'Jane Doe', said_at = now() where task_id = $1`, [seat.taskId]);
    await usher.api('POST', `/people/elsa.five@${contoso.domain}/provision`, { plan: true });
    const { rows } = await database.query('select said_by from tasks where task_id = $1', [seat.taskId]);
    expect(rows[0].said_by).toBe('Jane Doe');
    oncehub.administrator.unassignSeat(inAccount('elsa.five')?.id ?? '');
    await done(seat);
    await eventually(
      () => person('elsa.five'),
      (body) => body.lifecycle === 'suspended',
    );
  });
});

describe('the ledger', () => {
  test('forgets what nobody wishes any more: after a change of rule, and of a leaver whose user is gone', async () => {
    await newcomer('fay.six');
    await patch('fay.six', { op: 'add', path: `${enterprise}:department`, value: 'None' });
    // What was asked for may have been done: it is taken back, or said to be.
    await done(await taskOf('fay.six', 'take_seat'));
    await eventually(ledger, (counts) => counts.reserved === 0 && counts.assigned === 0);
    await readyByWord('gil.seven');
    await active('gil.seven', false);
    await taskOf('gil.seven', 'free_seat');
    oncehub.administrator.deleteUser(inAccount('gil.seven')?.id ?? '');
    await lookNow('gil.seven');
    expect((await person('gil.seven')).lifecycle).toBe('gone');
    expect(await ledger()).toMatchObject({ assigned: 0, reserved: 0 });
    expect(await tasksOf('gil.seven')).toEqual([]);
  });

  test('counts a seat that was asked for as taken until somebody says or shows that it is not', async () => {
    const [one] = [
      await newcomer('hal.eight'),
      await newcomer('ida.nine'),
      await newcomer('jon.ten'),
      await newcomer('kai.eleven'),
    ];
    await usher.scim('POST', '/Users', scimUser('leo.twelve', { name: { givenName: 'leo', familyName: 'twelve' } }));
    await eventually(
      () => license('leo.twelve'),
      (seen) => seen.reason === 'no_seats_left',
    );
    const before = oncehub.account.requests.length;
    await database.query(
      `update people set next_at = now(), conditions = jsonb_set(conditions, '{License,nextCheckAt}', to_jsonb(now())) where display_name = 'leo.twelve'`,
    );
    await new Promise((resolve) => setTimeout(resolve, 3500));
    // A look at the line costs the account nothing.
    expect(oncehub.account.requests).toHaveLength(before);
    await active('hal.eight', false);
    const seat = await taskOf('hal.eight', 'free_seat');
    expect(one.accountUserId).toBe(seat.accountUserId);
    expect((await license('leo.twelve')).reason).toBe('no_seats_left');
    await done(seat);
    await taskOf('leo.twelve', 'assign_seat');
  });
});

describe('a return', () => {
  test('whose first look fails leaves no task of the leaver behind', async () => {
    await active('ida.nine', false);
    await taskOf('ida.nine', 'free_seat');
    oncehub.account.misbehaviours.push({ method: 'GET', path: /^\/users/, answer: oops, times: 1 });
    // What was read of the user a moment ago is too old by then: a minute of theirs is a second here.
    await new Promise((resolve) => setTimeout(resolve, 1200));
    await active('ida.nine', true);
    await eventually(
      async () => (await tasksOf('ida.nine')).map((task: { kind: string }) => task.kind),
      (kinds) => kinds.length === 1 && kinds[0] === 'assign_seat',
      40_000,
    );
    expect(oncehub.account.misbehaviours.every((one) => one.times === 0)).toBe(true);
  }, 60_000);
});

describe('what is believed of the account', () => {
  test('a change that got no answer is looked at before anything is true', async () => {
    await done((await tasksOf('jon.ten'))[0]);
    await ready('jon.ten');
    oncehub.account.misbehaviours.push({ method: 'PATCH', path: /./, answer: oops, effectAfterMs: 0, times: 1 });
    await patch('jon.ten', { op: 'replace', path: 'name.familyName', value: 'Wrong' });
    await eventually(
      () => Promise.resolve(inAccount('jon.ten')?.last_name),
      (name) => name === 'Wrong',
    );
    await patch('jon.ten', { op: 'replace', path: 'name.familyName', value: 'ten' });
    await eventually(
      () => Promise.resolve(inAccount('jon.ten')?.last_name),
      (name) => name === 'ten',
      40_000,
    );
    await ready('jon.ten');
  }, 60_000);

  test('a change that takes effect late is not overlooked by a look before it', async () => {
    oncehub.account.misbehaviours.push({ method: 'PATCH', path: /./, answer: 'close', effectAfterMs: 900, times: 1 });
    await patch('jon.ten', { op: 'replace', path: 'name.familyName', value: 'Late' });
    await eventually(
      () => Promise.resolve(oncehub.account.misbehaviours.every((one) => one.times === 0)),
      (isSent) => isSent,
    );
    await patch('jon.ten', { op: 'replace', path: 'name.familyName', value: 'ten' });
    await eventually(
      () => Promise.resolve(inAccount('jon.ten')?.last_name),
      (name) => name === 'Late',
    );
    await eventually(
      () => Promise.resolve(inAccount('jon.ten')?.last_name),
      (name) => name === 'ten',
      40_000,
    );
  }, 60_000);

  test('teams that somebody gave by hand a moment ago survive the next change of ours', async () => {
    const user = inAccount('jon.ten');
    if (user) user.teams = [...user.teams, 'TM-HAND'];
    oncehub.account.teams.push({ object: 'team', id: 'TM-HAND', name: 'By hand' });
    await patch('jon.ten', { op: 'add', path: `${enterprise}:department`, value: 'None' });
    await eventually(
      () => Promise.resolve(inAccount('jon.ten')?.teams.slice().sort()),
      (teams) => JSON.stringify(teams) === JSON.stringify(['TM-ADVIS0000001', 'TM-HAND']),
    );
  });

  test('lists of an account without anybody in it are no reading: nobody loses what they have', async () => {
    await done((await tasksOf('kai.eleven'))[0]);
    const page = oncehub.administrator.createPage('kai.eleven', inAccount('kai.eleven')?.id ?? '');
    oncehub.administrator.assignSeat(inAccount('kai.eleven')?.id ?? '');
    oncehub.administrator.enablePage(page.id);
    await lookNow('kai.eleven');
    await ready('kai.eleven');
    oncehub.account.misbehaviours.push({ method: 'GET', path: /\?/, answer: 'empty', times: 1000 });
    await new Promise((resolve) => setTimeout(resolve, 1200));
    await lookNow('kai.eleven');
    oncehub.account.misbehaviours.length = 0;
    expect(await license('kai.eleven')).toMatchObject({ status: 'true' });
  });
});
