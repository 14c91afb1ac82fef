/** Into a OnceHub account: users by its API, seats and pages by an administrator's hand, and nothing believed that can be looked at. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { contoso } from '../../src/sandbox/contoso.ts';
import type { OnceHubSandbox } from '../../src/sandbox/oncehub.ts';
import { adminToken, call, eventually, scimUser, startUsher, type Usher } from '../ground/usher.ts';

const policy = `
account: { kind: oncehub, pools: { scheduled-meetings: 100 }, nativeProvisioning: off }
delegation: ignored
sources: [{ name: scim, kind: scim, domains: [${contoso.domain}] }, { name: csv, kind: csv, domains: [${contoso.domain}] }]
rules:
  - { name: Sales, when: { department: Sales }, teams: [Sales], bookingPages: ["{userName.local}"] }
  - { name: Everybody, when: { domain: ${contoso.domain} }, bookingPages: ["{userName.local}"] }
bookingPages: { takeFrom: [${contoso.founder}] }
leavers: { holdMinutes: 0 }
`;

const named = (local: string, givenName: string, familyName: string, more: Record<string, unknown> = {}) =>
  scimUser(local, { name: { givenName, familyName }, displayName: `${givenName} ${familyName}`, ...more });

interface ShownCondition {
  type: string;
  status: string;
  reason: string | null;
  message: string;
  evidence: Record<string, unknown>;
}

describe('into a OnceHub account', () => {
  let usher: Usher;
  let oncehub: OnceHubSandbox;
  beforeAll(async () => {
    usher = await startUsher({ policy, oncehub: {} });
    oncehub = usher.oncehub as OnceHubSandbox;
    oncehub.administrator.createPage('carl.gray', 'USR-ADMIN0000001');
  });
  afterAll(() => usher.close());

  const person = async (local: string) => (await usher.api('GET', `/people/${local}@${contoso.domain}`)).body;
  const condition = async (local: string, type: string): Promise<ShownCondition> =>
    (await person(local)).conditions.find((one: { type: string }) => one.type === type);
  const tasksOf = async (local: string, state = 'open') =>
    (await usher.api('GET', `/tasks?who=${local}@${contoso.domain}&state=${state}`)).body.items;
  const taskOf = (local: string, kind: string) =>
    eventually(
      async () => (await tasksOf(local)).find((task: { kind: string }) => task.kind === kind),
      (task) => task !== undefined,
    );
  const inAccount = (local: string) =>
    oncehub.account.users.find((user) => user.email === `${local}@${contoso.domain}`);
  const pagesOf = (local: string) => oncehub.account.pages.filter((page) => page.ownerId === inAccount(local)?.id);
  const posts = () =>
    oncehub.account.requests.filter((request) => request.method === 'POST' && request.path === '/users');

  test('a pushed person becomes a user at once, and the seat a task with its page beside it', async () => {
    const page = oncehub.administrator.createPage('ana.ruiz', 'USR-ADMIN0000001');
    await usher.scim('POST', '/Users', named('ana.ruiz', 'Ana', 'Ruiz'));
    const task = await taskOf('ana.ruiz', 'assign_seat');
    expect(inAccount('ana.ruiz')).toMatchObject({ first_name: 'Ana', last_name: 'Ruiz', role_name: 'Member' });
    expect(task).toMatchObject({
      title: 'Assign Ana Ruiz a «scheduled-meetings» seat',
      role: 'account_administrator',
      accountUserId: inAccount('ana.ruiz')?.id,
      wants: { seats: ['scheduled-meetings'], pages: [{ linkName: 'ana.ruiz', act: 'hand_over', pageId: page.id }] },
    });
    expect(task.instructions.join(' ')).toContain('admin@contoso.com');
    expect(await condition('ana.ruiz', 'License')).toMatchObject({
      status: 'false',
      reason: 'awaiting_administrator',
      message: expect.stringContaining('Assign Ana Ruiz'),
    });
    expect((await person('ana.ruiz')).accountUserId).toBe(inAccount('ana.ruiz')?.id);
    // Found by address before anything was made; and only what the API takes was sent.
    const looked = oncehub.account.requests.find((request) => request.path.startsWith('/users?email=ana.ruiz'));
    expect(looked).toBeDefined();
    expect(JSON.parse(String(posts()[0]?.body))).toEqual({
      email: 'ana.ruiz@contoso.com',
      first_name: 'Ana',
      last_name: 'Ruiz',
      role_name: 'Member',
    });
    expect((await usher.api('GET', '/summary')).body.licenses['scheduled-meetings']).toEqual({
      bought: 100,
      assigned: 0,
      reserved: 1,
      waiting: 0,
    });
  });

  test('what the administrator did is seen, and closes the task: the person is Ready', async () => {
    const task = await taskOf('ana.ruiz', 'assign_seat');
    const user = inAccount('ana.ruiz');
    oncehub.administrator.assignSeat(user?.id ?? '');
    oncehub.administrator.givePage(task.wants.pages[0].pageId, user?.id ?? '');
    oncehub.administrator.enablePage(task.wants.pages[0].pageId);
    const answer = await usher.api('POST', `/tasks/${task.taskId}/done`, { by: 'Jane Doe' });
    expect(answer).toMatchObject({ status: 200, body: { state: 'done', closedBy: expect.stringContaining('active') } });
    await eventually(
      () => person('ana.ruiz'),
      (body) => body.ready,
    );
    expect((await condition('ana.ruiz', 'License')).evidence).toMatchObject({ level: 'shown' });
    expect(await tasksOf('ana.ruiz')).toEqual([]);
    expect((await usher.api('GET', '/summary')).body.licenses['scheduled-meetings']).toMatchObject({ assigned: 1 });
  });

  test('the page that OnceHub made for a new user is preferred to making another one', async () => {
    await usher.scim('POST', '/Users', named('bob.stone', 'Bob', 'Stone'));
    const task = await taskOf('bob.stone', 'assign_seat');
    const [own] = pagesOf('bob.stone');
    expect(task.wants.pages).toMatchObject([{ linkName: 'bob.stone', act: 'use_own', pageId: own?.id }]);
    oncehub.administrator.assignSeat(inAccount('bob.stone')?.id ?? '');
    oncehub.administrator.enablePage(own?.id ?? '');
    await usher.api('POST', `/tasks/${task.taskId}/done`, { by: 'Jane Doe' });
    await eventually(
      () => person('bob.stone'),
      (body) => body.ready,
    );
    expect((await condition('bob.stone', 'BookingPages')).message).toContain('bobstone');
  });

  test('a word without evidence opens the next step; a false word about a page is found and said', async () => {
    await usher.scim('POST', '/Users', named('carl.gray', 'Carl', 'Gray'));
    const seat = await taskOf('carl.gray', 'assign_seat');
    const said = await usher.api('POST', `/tasks/${seat.taskId}/done`, { by: 'Jane Doe' });
    expect(said.body).toMatchObject({ state: 'done', closedBy: expect.stringContaining('word of Jane Doe') });
    const license = await eventually(
      () => condition('carl.gray', 'License'),
      (seen) => seen.status === 'true',
    );
    expect(license.evidence).toMatchObject({ level: 'word', saidBy: 'Jane Doe' });
    const pages = await taskOf('carl.gray', 'own_pages');
    const lie = await usher.api('POST', `/tasks/${pages.taskId}/done`, { by: 'Jane Doe' });
    expect(lie).toMatchObject({
      status: 202,
      body: { state: 'open', contradiction: expect.stringContaining('Jane Doe said on') },
    });
    expect((await condition('carl.gray', 'BookingPages')).message).toContain('not all of them are theirs');
    expect((await person('carl.gray')).ready).toBe(false);
  });

  test('a false word about a seat is found where time slots can be asked for', async () => {
    await usher.scim('POST', '/Users', named('dora.lake', 'Dora', 'Lake'));
    const seat = await taskOf('dora.lake', 'assign_seat');
    oncehub.account.calendars.push({
      id: 'BKC-DORA',
      host: inAccount('dora.lake')?.id ?? '',
      name: 'Dora',
      published: true,
    });
    // The list of calendars is kept for a while; a look on demand does not wait for that.
    await usher.api('POST', `/people/dora.lake@${contoso.domain}/provision`, {});
    const lie = await eventually(
      async () => (await usher.api('POST', `/tasks/${seat.taskId}/done`, { by: 'Jane Doe' })).body,
      (body) => body.contradiction !== null,
    );
    expect(lie.contradiction).toContain('402');
    expect(await condition('dora.lake', 'License')).toMatchObject({
      status: 'false',
      reason: 'awaiting_administrator',
    });
    oncehub.administrator.assignSeat(inAccount('dora.lake')?.id ?? '');
    const truth = await usher.api('POST', `/tasks/${seat.taskId}/done`, { by: 'Jane Doe' });
    expect(truth.body).toMatchObject({ state: 'done', closedBy: expect.stringContaining('time slots') });
  });

  test('a rename is done at once, and a change of the address is a task, never a new user', async () => {
    const before = inAccount('ana.ruiz')?.id;
    const id = (await usher.scim('GET', `/Users?filter=userName eq "ana.ruiz@${contoso.domain}"`)).body.Resources[0].id;
    await usher.scim('PATCH', `/Users/${id}`, {
      schemas: ['urn:ietf:params:scim:api:messages:2.0:PatchOp'],
      Operations: [
        { op: 'replace', path: 'name.familyName', value: 'Nowak' },
        { op: 'replace', path: 'emails[type eq "work"].value', value: `ana.nowak@${contoso.domain}` },
      ],
    });
    const task = await taskOf('ana.ruiz', 'change_email');
    expect(inAccount('ana.ruiz')).toMatchObject({ id: before, last_name: 'Nowak' });
    expect(task).toMatchObject({ accountUserId: before, wants: { email: `ana.nowak@${contoso.domain}` } });
    expect(posts().filter((post) => String(post.body).includes('ana.'))).toHaveLength(1);
    oncehub.administrator.changeEmail(before ?? '', `ana.nowak@${contoso.domain}`);
    const done = await usher.api('POST', `/tasks/${task.taskId}/done`, { by: 'Jane Doe' });
    expect(done.body).toMatchObject({ state: 'done' });
    await eventually(
      () => person('ana.ruiz'),
      (body) => body.ready,
    );
  });

  test('teams: what a rule names is given, and what was given by hand survives', async () => {
    await usher.scim(
      'POST',
      '/Users',
      named('emma.hill', 'Emma', 'Hill', {
        'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User': { department: 'Sales' },
      }),
    );
    await taskOf('emma.hill', 'assign_seat');
    expect(inAccount('emma.hill')?.teams).toEqual(['TM-SALES0000001']);
    const user = inAccount('emma.hill');
    if (user) user.teams = ['TM-ADVIS0000001'];
    await usher.api('POST', `/people/emma.hill@${contoso.domain}/provision`, {});
    expect(inAccount('emma.hill')?.teams.sort()).toEqual(['TM-ADVIS0000001', 'TM-SALES0000001']);
  });

  test('a user who is there already is adopted, the Account Owner is never touched, and somebody without a family name waits', async () => {
    oncehub.account.users.unshift({
      object: 'user',
      id: 'USR-FRITZ',
      first_name: 'F.',
      last_name: 'Vogel',
      email: `Fritz.Vogel@${contoso.domain}`,
      status: 'active',
      role_name: 'Team Manager',
      timezone: 'Europe/Berlin',
      teams: [],
    });
    await usher.scim('POST', '/Users', named('fritz.vogel', 'Fritz', 'Vogel'));
    await usher.scim('POST', '/Users', named('owner', 'Olive', 'Else'));
    await usher.scim('POST', '/Users', scimUser('mononym', { name: { givenName: 'Mononym' } }));
    await taskOf('fritz.vogel', 'assign_seat');
    expect(oncehub.account.users.find((user) => user.id === 'USR-FRITZ')).toMatchObject({
      first_name: 'Fritz',
      role_name: 'Team Manager',
    });
    const profile = (local: string, reason: string) =>
      eventually(
        () => condition(local, 'Profile'),
        (seen) => seen.reason === reason,
      );
    await profile('owner', 'account_owner_protected');
    expect((await profile('mononym', 'invalid_profile')).message).toContain('familyName');
    expect(oncehub.account.users.find((user) => user.role_name === 'Account Owner')?.last_name).toBe('Owner');
  });

  test('each refusal of a create is told apart', async () => {
    oncehub.account.elsewhere.add(`gina.moss@${contoso.domain}`);
    await usher.scim('POST', '/Users', named('gina.moss', 'Gina', 'Moss'));
    await usher.scim('POST', '/Users', named('hugo.reed', 'Hu[go]', 'Reed'));
    const profile = (local: string, reason: string) =>
      eventually(
        () => condition(local, 'Profile'),
        (seen) => seen.reason === reason,
      );
    expect((await profile('gina.moss', 'email_taken_elsewhere')).message).toContain('another OnceHub account');
    expect((await profile('hugo.reed', 'invalid_profile')).message).toContain('first name');
    oncehub.account.userLimit = 3;
    await usher.scim('POST', '/Users', named('ivy.snow', 'Ivy', 'Snow'));
    await profile('ivy.snow', 'user_limit');
    const sent = posts().length;
    await usher.scim('POST', '/Users', named('jack.frost', 'Jack', 'Frost'));
    await profile('jack.frost', 'user_limit');
    expect(posts()).toHaveLength(sent);
    const alerts = (await usher.api('GET', '/alerts')).body.items.map((alert: { kind: string }) => alert.kind);
    expect(alerts).toContain('user_limit');
  });

  test('a seat that OnceHub took on a billing date is found, and asked for again', async () => {
    oncehub.administrator.unassignSeat(inAccount('bob.stone')?.id ?? '');
    await usher.api('POST', `/people/bob.stone@${contoso.domain}/provision`, {});
    const license = await condition('bob.stone', 'License');
    expect(license).toMatchObject({ status: 'false', reason: 'awaiting_administrator' });
    expect(license.message).toContain('What showed the seat is gone');
    expect(await taskOf('bob.stone', 'assign_seat')).toBeDefined();
    expect((await person('bob.stone')).ready).toBe(false);
  });

  test('a leaver: pages with their bookings, then the seat, then nothing more; the user stays', async () => {
    const user = inAccount('ana.nowak');
    const [page] = oncehub.account.pages.filter((one) => one.link === 'ana.ruiz');
    oncehub.account.bookings.push({
      id: 'BKNG-1',
      owner: user?.id ?? '',
      booking_page: page?.id ?? '',
      subject: 'Advice',
      status: 'scheduled',
      starting_time: '2099-01-01T10:00:00Z',
    });
    const id = (await usher.scim('GET', `/Users?filter=userName eq "ana.ruiz@${contoso.domain}"`)).body.Resources[0].id;
    await usher.scim('PATCH', `/Users/${id}`, {
      schemas: ['urn:ietf:params:scim:api:messages:2.0:PatchOp'],
      Operations: [{ op: 'replace', path: 'active', value: false }],
    });
    const pages = await taskOf('ana.ruiz', 'hand_over_pages');
    expect(pages.wants.bookings).toMatchObject([{ bookingId: 'BKNG-1', subject: 'Advice' }]);
    expect(pages.wants.heir).toBe('owner@contoso.com');
    expect((await tasksOf('ana.ruiz')).map((task: { kind: string }) => task.kind)).toEqual(['hand_over_pages']);
    for (const one of oncehub.account.pages.filter((own) => own.ownerId === user?.id))
      oncehub.administrator.givePage(one.id, 'USR-OWNER0000001');
    await usher.api('POST', `/tasks/${pages.taskId}/done`, { by: 'Jane Doe' });
    const seat = await taskOf('ana.ruiz', 'free_seat');
    expect(seat.wants.seats).toEqual(['scheduled-meetings']);
    const before = (await usher.api('GET', '/summary')).body.licenses['scheduled-meetings'].assigned;
    oncehub.administrator.unassignSeat(user?.id ?? '');
    await usher.api('POST', `/tasks/${seat.taskId}/done`, { by: 'Jane Doe' });
    await eventually(
      () => person('ana.ruiz'),
      (body) => body.lifecycle === 'suspended',
    );
    expect(await tasksOf('ana.ruiz')).toEqual([]);
    expect(inAccount('ana.nowak')).toBeDefined();
    expect((await usher.api('GET', '/summary')).body.licenses['scheduled-meetings'].assigned).toBe(before - 1);
    expect(oncehub.account.requests.filter((request) => request.method === 'DELETE')).toEqual([]);
  });

  test('the account says how each step is carried out, and the administration of the built-in one is not there', async () => {
    const account = (await usher.api('GET', '/account')).body;
    expect(account).toMatchObject({ kind: 'oncehub', capabilities: { steps: { 'assign-license': { mode: 'task' } } } });
    expect((await usher.api('GET', '/account/users')).status).toBe(404);
  });

  test('worksheets and the CSV: out, filled in, and in again', async () => {
    const { items } = (await usher.api('GET', '/tasks/worksheets')).body;
    expect(items.find((sheet: { kind: string }) => sheet.kind === 'assign_seat')?.title).toMatch(
      /^Assign \d+ seats?, with/,
    );
    const csv = (await usher.api('GET', '/tasks?kind=own_pages&format=csv')).body as string;
    const [head, row] = csv.replace('\uFEFF', '').split('\r\n');
    expect(head).toBe(
      'taskId,kind,who,email,accountUserId,seat,pages,newEmail,heir,futureBookings,dueAt,whatToDo,note,done,doneBy',
    );
    const taskId = row?.split(',')[0] ?? '';
    const answer = await call(
      `${usher.address}/api/v1/tasks/done`,
      'POST',
      `taskId;done;done by\n${taskId};yes;Jane Doe\n`,
      { authorization: `Bearer ${adminToken}`, 'content-type': 'text/csv' },
    );
    expect(answer.body).toEqual({ said: 1, notOpen: [] });
    await eventually(
      async () => (await usher.api('GET', `/tasks/${taskId}`)).body,
      (task) => task.contradiction !== null,
    );
    const wrong = await call(`${usher.address}/api/v1/tasks/done`, 'POST', `taskId,done\n${taskId},maybe\n`, {
      authorization: `Bearer ${adminToken}`,
      'content-type': 'text/csv',
    });
    expect(wrong).toMatchObject({ status: 400, body: { detail: expect.stringContaining('line 2: done: «maybe»') } });
  });
});
