/** Where a person's hand, a rule of the policy and a directory meet in one account: what each may do to the other. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { openOutbox } from '../../src/account/mails.ts';
import { list, openDatabase, run, transaction } from '../../src/store/database.ts';
import { type MailServer, startMailServer } from '../ground/mail-server.ts';
import { type Answer, call, eventually, startUsher, type Usher } from '../ground/usher.ts';

const policy = (pools = 'scheduled-meetings: 40, engagement: 2') => `
account: { kind: builtin, plan: paid, pools: { ${pools} }, administrator: { name: Founder, email: founder@contoso.com } }
dedicatedMailbox: scheduling@contoso.com
delegation: ignored
sources: [{ name: scim, kind: scim, domains: [contoso.com] }]
rules:
  - { name: Chatters, when: { department: Chat }, licenses: [scheduled-meetings, engagement] }
  - { name: Everybody, when: { domain: contoso.com }, licenses: [scheduled-meetings], bookingPages: ["{userName.local}"] }
bookingPages: { takeFrom: [founder@contoso.com], createMissing: from-template }
leavers: { holdMinutes: 60 }
`;

let usher: Usher;
let mails: MailServer;
let counter = 0;

beforeAll(async () => {
  mails = await startMailServer();
  usher = await startUsher({
    policy: policy(),
    config: { mail: { smtpUrl: mails.url, from: 'Scheduling <scheduling@contoso.com>' } },
  });
});
afterAll(async () => {
  await usher.close();
  await mails.close();
});

const scimUser = (local: string, more: Record<string, unknown> = {}) => ({
  schemas: ['urn:ietf:params:scim:schemas:core:2.0:User'],
  userName: `${local}@contoso.com`,
  externalId: `ext-${local}`,
  displayName: `Display ${local}`,
  active: true,
  ...more,
});
const enterprise = 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User';
/** Pushed by the directory, and waited for until the account has the user. */
async function pushed(more: Record<string, unknown> = {}, ready = true) {
  counter += 1;
  const local = `pushed${counter}`;
  const made = await usher.scim('POST', '/Users', scimUser(local, more));
  expect(made.status).toBe(201);
  const person = await eventually(
    async () => (await usher.api('GET', `/people/${local}@contoso.com`)).body,
    (body) => (ready ? body.ready : body.accountUserId !== null),
  );
  return {
    local,
    scimId: made.body.id as string,
    accountUserId: person.accountUserId as string,
    email: `${local}@contoso.com`,
  };
}
const person = async (local: string) => (await usher.api('GET', `/people/${local}@contoso.com`)).body;
const user = async (id: string) => (await usher.api('GET', `/account/users/${id}`)).body;
const provision = (local: string) => usher.api('POST', `/people/${local}@contoso.com/provision`, {});
const condition = (body: { conditions?: { type: string; reason: string; status: string }[] }, type: string) =>
  body.conditions?.find((row) => row.type === type);
async function byHand(more: Record<string, unknown> = {}) {
  counter += 1;
  const answer = await usher.api('POST', '/account/users', {
    name: `Hand ${counter}`,
    email: `hand${counter}@example.com`,
    ...more,
  });
  expect(answer.status).toBe(201);
  return answer.body;
}
async function signIn(of: { accountUserId: string; email: string }) {
  const { mailId } = (await usher.api('POST', `/account/users/${of.accountUserId}/invitation`)).body;
  await eventually(
    async () => (await usher.api('GET', '/account/mails?limit=500')).body.items,
    (items) => items.some((mail: { mailId: string; state: string }) => mail.mailId === mailId && mail.state === 'sent'),
  );
  const link = mails.linkTo(of.email);
  const answer = await fetch(link ?? '', { method: 'POST', redirect: 'manual' });
  const cookie = (answer.headers.get('set-cookie') ?? '').split(';')[0] ?? '';
  return (method: string, at: string, body?: unknown): Promise<Answer> =>
    call(`${usher.address}/api/v1${at}`, method, body, {
      cookie,
      origin: usher.address,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    });
}

describe('what is changed by hand against a rule', () => {
  test('stays: the steps leave it alone and say so, until it is taken back', async () => {
    const ana = await pushed();
    const edited = await usher.api('PATCH', `/account/users/${ana.accountUserId}`, {
      name: 'By Hand',
      role: 'Administrator',
    });
    expect(edited.body).toMatchObject({ name: 'By Hand', role: 'Administrator' });
    expect(edited.body.managedBy.kept).toMatchObject({ name: {}, role: {} });
    await provision(ana.local);
    expect(await user(ana.accountUserId)).toMatchObject({ name: 'By Hand', role: 'Administrator' });
    expect((await person(ana.local)).ready).toBe(true);
    expect((await usher.api('DELETE', `/people/${ana.email}/kept/name`)).status).toBe(204);
    await eventually(
      () => user(ana.accountUserId),
      (body) => body.name === `Display ${ana.local}`,
    );
    for (const key of ['name', 'constructor', '__proto__'])
      expect((await usher.api('DELETE', `/people/${ana.email}/kept/${key}`)).status).toBe(404);
    const refused = await usher.api('PATCH', `/account/users/${ana.accountUserId}`, { name: 'X', keepByHand: false });
    expect([refused.status, refused.body.code]).toEqual([409, 'managed_by_rule']);
    expect(refused.body.detail).toContain('Everybody');
  });

  test('a license that was taken is not given again, and its pages come back with it when that is taken back', async () => {
    const ana = await pushed();
    const taken = await usher.api('DELETE', `/account/users/${ana.accountUserId}/licenses/scheduled-meetings`);
    expect(taken.body.disabledPages).toEqual([ana.local]);
    await provision(ana.local);
    expect((await user(ana.accountUserId)).licenses).toEqual([]);
    expect(condition(await person(ana.local), 'License')).toMatchObject({
      status: 'false',
      reason: 'awaiting_administrator',
    });
    await usher.api('DELETE', `/people/${ana.email}/kept/license:scheduled-meetings`);
    await eventually(
      () => person(ana.local),
      (body) => body.ready === true,
    );
  });

  test('one kind taken by hand is in nobody’s way for another', async () => {
    const chatter = await pushed({ [enterprise]: { department: 'Chat' } });
    expect((await user(chatter.accountUserId)).licenses).toEqual(['engagement', 'scheduled-meetings']);
    await usher.api('DELETE', `/account/users/${chatter.accountUserId}/licenses/scheduled-meetings`);
    const second = await pushed({ [enterprise]: { department: 'Chat' } });
    expect((await user(second.accountUserId)).licenses).toEqual(['engagement', 'scheduled-meetings']);
    await usher.api('DELETE', `/account/users/${chatter.accountUserId}/licenses/engagement`);
    const third = await pushed({ [enterprise]: { department: 'Chat' } });
    expect((await user(third.accountUserId)).licenses).toEqual(['engagement', 'scheduled-meetings']);
    for (const one of [second, third])
      await usher.api('DELETE', `/account/users/${one.accountUserId}/licenses/engagement`);
  });

  test('a deleted user is not made anew, a suspended one not restored, a page not taken back', async () => {
    const [gone, idle, giver] = [await pushed(), await pushed(), await pushed()];
    await usher.api('DELETE', `/account/users/${gone.accountUserId}`);
    await usher.api('POST', `/account/users/${idle.accountUserId}/suspend`);
    const founder = (await usher.api('GET', '/account/users?filter=founder@contoso.com')).body.items[0];
    const page = (await usher.api('GET', `/account/booking-pages?owner=${giver.accountUserId}`)).body.items[0];
    await usher.api('PUT', `/account/booking-pages/${page.pageId}/owner`, { ownerId: founder.accountUserId });
    for (const one of [gone, idle, giver]) await provision(one.local);
    expect((await usher.api('GET', `/account/users/${gone.accountUserId}`)).status).toBe(404);
    expect(condition(await person(gone.local), 'Profile')?.reason).toBe('awaiting_administrator');
    expect((await user(idle.accountUserId)).suspended).toBe(true);
    expect(condition(await person(giver.local), 'BookingPages')?.reason).toBe('owned_by_other');
    await usher.api('DELETE', `/people/${gone.email}/kept/user`);
    await eventually(
      () => person(gone.local),
      (body) => body.ready === true,
    );
  });

  test('addresses that were set by hand are not swapped back', async () => {
    const [ana, bob] = [await pushed(), await pushed()];
    await usher.api('PATCH', `/account/users/${ana.accountUserId}`, { email: `between-${ana.email}` });
    await usher.api('PATCH', `/account/users/${bob.accountUserId}`, { email: ana.email });
    await usher.api('PATCH', `/account/users/${ana.accountUserId}`, { email: bob.email });
    for (const one of [ana, bob]) await provision(one.local);
    expect((await user(ana.accountUserId)).email).toBe(bob.email);
    expect((await user(bob.accountUserId)).email).toBe(ana.email);
  });

  test('what is changed while somebody leaves is kept for the return', async () => {
    const ana = await pushed();
    const active = (value: boolean) =>
      usher.scim('PATCH', `/Users/${ana.scimId}`, {
        schemas: ['urn:ietf:params:scim:api:messages:2.0:PatchOp'],
        Operations: [{ op: 'replace', path: 'active', value }],
      });
    await active(false);
    await usher.api('PATCH', `/account/users/${ana.accountUserId}`, { name: 'Kept In The Hold' });
    await active(true);
    await eventually(
      () => person(ana.local),
      (body) => body.ready === true,
    );
    expect((await user(ana.accountUserId)).name).toBe('Kept In The Hold');
  });
});

describe('the line for a seat', () => {
  let scarce: Usher;
  const seats = async () =>
    (await scarce.api('GET', '/account/licenses')).body.items.find(
      (row: { kind: string }) => row.kind === 'scheduled-meetings',
    );
  const hold = async (email: string) =>
    (await scarce.api('POST', '/account/users', { name: email, email, licenses: ['scheduled-meetings'] })).body
      .accountUserId;
  const waitFor = async (email: string) => {
    const made = (await scarce.api('POST', '/account/users', { name: email, email })).body.accountUserId;
    const answer = await scarce.api('POST', `/account/users/${made}/licenses`, {
      kind: 'scheduled-meetings',
      wait: true,
    });
    return { id: made as string, answer };
  };
  const licenses = async (id: string) => (await scarce.api('GET', `/account/users/${id}`)).body.licenses;
  beforeAll(async () => {
    scarce = await startUsher({ policy: policy('scheduled-meetings: 3') });
  });
  afterAll(() => scarce.close());

  test('somebody whom a rule brought there and a hand, too, has one place, and both seats are free afterwards', async () => {
    const [x, y] = [await hold('x@example.com'), await hold('y@example.com')];
    await scarce.scim('POST', '/Users', scimUser('inline'));
    const waiting = await eventually(
      async () => (await scarce.api('GET', '/people/inline@contoso.com')).body,
      (body) => condition(body, 'License')?.reason === 'no_seats_left',
    );
    const again = await scarce.api('POST', `/account/users/${waiting.accountUserId}/licenses`, {
      kind: 'scheduled-meetings',
      wait: true,
    });
    expect([again.status, again.body.place]).toEqual([202, 1]);
    expect(await seats()).toMatchObject({ waiting: 1 });
    expect((await scarce.api('DELETE', `/account/users/${x}/licenses/scheduled-meetings`)).status).toBe(200);
    await eventually(
      () => licenses(waiting.accountUserId),
      (kinds) => kinds.length === 1,
    );
    expect((await scarce.api('DELETE', `/account/users/${y}`)).status).toBe(200);
    expect(await seats()).toMatchObject({ assigned: 2, waiting: 0, reserved: 0, free: 1 });
    await scarce.api('DELETE', `/account/users/${x}`);
    await scarce.api('DELETE', `/account/users/${waiting.accountUserId}`);
  });

  test('a license that was taken by hand and waited for by hand again is the rule’s when it comes from the line', async () => {
    await scarce.scim('POST', '/Users', scimUser('back'));
    const ready = await eventually(
      async () => (await scarce.api('GET', '/people/back@contoso.com')).body,
      (body) => body.ready === true,
    );
    await scarce.api('DELETE', `/account/users/${ready.accountUserId}/licenses/scheduled-meetings`);
    const [x, y] = [await hold('x3@example.com'), await hold('y3@example.com')];
    const asked = await scarce.api('POST', `/account/users/${ready.accountUserId}/licenses`, {
      kind: 'scheduled-meetings',
      wait: true,
    });
    expect(asked.status).toBe(202);
    await scarce.api('DELETE', `/account/users/${x}`);
    await eventually(
      async () => (await scarce.api('GET', '/people/back@contoso.com')).body,
      (body) => body.ready === true && Object.keys(body.kept).length === 0,
    );
    for (const id of [y, ready.accountUserId]) await scarce.api('DELETE', `/account/users/${id}`);
  });

  test('somebody who waits by hand and is then brought by the directory has one place', async () => {
    const [x, y] = [await hold('x4@example.com'), await hold('y4@example.com')];
    const first = await waitFor('adopted@contoso.com');
    expect(first.answer.status).toBe(202);
    await scarce.scim('POST', '/Users', scimUser('adopted'));
    await eventually(
      async () => (await scarce.api('GET', '/people/adopted@contoso.com')).body,
      (body) => condition(body, 'License')?.reason === 'no_seats_left',
    );
    expect(await seats()).toMatchObject({ waiting: 1 });
    for (const id of [x, y, first.id]) await scarce.api('DELETE', `/account/users/${id}`);
  });

  test('a suspended user is passed over; joining, leaving and being served stand in the history', async () => {
    const [x, y] = [await hold('x2@example.com'), await hold('y2@example.com')];
    const first = await waitFor('first@example.com');
    const second = await waitFor('second@example.com');
    const third = await waitFor('third@example.com');
    expect([first, second, third].map(({ answer }) => [answer.status, answer.body.place])).toEqual([
      [202, 1],
      [202, 2],
      [202, 3],
    ]);
    await scarce.api('POST', `/account/users/${first.id}/suspend`);
    await scarce.api('DELETE', `/account/users/${second.id}/licenses/scheduled-meetings`);
    await scarce.api('DELETE', `/account/users/${x}`);
    expect(await licenses(first.id)).toEqual([]);
    expect(await licenses(third.id)).toEqual(['scheduled-meetings']);
    const actions = async (id: string) =>
      (await scarce.api('GET', `/account/users/${id}/history`)).body.items.map((row: { action: string }) => row.action);
    expect(await actions(second.id)).toEqual(['account.line_left', 'account.line_joined', 'account.user_invited']);
    expect(await actions(third.id)).toEqual([
      'account.license_assigned',
      'account.line_joined',
      'account.user_invited',
    ]);
    for (const id of [y, first.id, second.id, third.id]) await scarce.api('DELETE', `/account/users/${id}`);
    expect(await seats()).toMatchObject({ assigned: 1, waiting: 0 });
  });
});

describe('plan and pools', () => {
  const withPolicy = (pools: string, plan: string, databaseUrl?: string) =>
    startUsher({
      policy: policy(pools)
        .replace('plan: paid', `plan: ${plan}`)
        .replace(/.*Chatters.*\n/, ''),
      workers: false,
      ...(databaseUrl ? { databaseUrl } : {}),
    });
  const restarted = async (usherBefore: Usher, pools: string, plan: string): Promise<Usher> => {
    await usherBefore.running.close();
    await usherBefore.sandbox.close();
    return withPolicy(pools, plan, usherBefore.databaseUrl);
  };

  test('with one license a choice of type is refused with that reason, and nobody needs one', async () => {
    const small = await withPolicy('scheduled-meetings: 1', 'paid');
    try {
      const chosen = await small.api('POST', '/account/users', { name: 'A', email: 'a@example.com', role: 'Member' });
      expect([chosen.status, chosen.body.code]).toEqual([409, 'one_license_account']);
      expect(chosen.body.detail).toContain('rule 4');
      const made = await small.api('POST', '/account/users', { name: 'A', email: 'a@example.com' });
      expect(made.body.role).toBe('Member');
      const changed = await small.api('PATCH', `/account/users/${made.body.accountUserId}`, { role: 'Administrator' });
      expect(changed.body.code).toBe('one_license_account');
    } finally {
      await small.close();
    }
  });

  test('a paid plan gives an Administrator the license when one is there, and says when none is', async () => {
    let account = await withPolicy('scheduled-meetings: 2', 'free');
    const first = account;
    try {
      const members = await Promise.all(
        ['a', 'b'].map(
          async (name) =>
            (
              await account.api('POST', '/account/users', {
                name,
                email: `${name}@example.com`,
                licenses: ['scheduled-meetings'],
              })
            ).body,
        ),
      );
      expect(members.map((member) => member.licenses)).toEqual([['scheduled-meetings'], ['scheduled-meetings']]);
      account = await restarted(account, 'scheduled-meetings: 2', 'paid');
      expect((await account.api('GET', '/alerts')).body.items).toMatchObject([
        { kind: 'no_licensed_administrator', resolvedAt: null },
      ]);
      await account.api('DELETE', `/account/users/${members[0].accountUserId}`);
      account = await restarted(account, 'scheduled-meetings: 2', 'paid');
      const founder = (await account.api('GET', '/account/users?role=Administrator')).body.items[0];
      expect(founder.licenses).toEqual(['scheduled-meetings']);
      expect((await account.api('GET', '/alerts')).body.items[0].resolvedAt).not.toBeNull();
    } finally {
      await account.close();
      await first.close().catch(() => undefined);
    }
  });

  test('a pool that shrank below what was given comes down as seats come back, and one that grew serves the line', async () => {
    let account = await withPolicy('scheduled-meetings: 4', 'paid');
    const first = account;
    try {
      const ids: string[] = [];
      for (const name of ['a', 'b', 'c'])
        ids.push(
          (
            await account.api('POST', '/account/users', {
              name,
              email: `${name}@example.com`,
              licenses: ['scheduled-meetings'],
            })
          ).body.accountUserId,
        );
      account = await restarted(account, 'scheduled-meetings: 2', 'paid');
      const pool = async () => (await account.api('GET', '/account/licenses')).body.items[0];
      expect(await pool()).toMatchObject({ bought: 4, assigned: 4 });
      for (const id of ids) await account.api('DELETE', `/account/users/${id}`);
      expect(await pool()).toMatchObject({ bought: 2, assigned: 1 });
      await account.api('POST', '/account/users', {
        name: 'd',
        email: 'd@example.com',
        licenses: ['scheduled-meetings'],
      });
      const late = (await account.api('POST', '/account/users', { name: 'e', email: 'e@example.com' })).body
        .accountUserId;
      expect(
        (await account.api('POST', `/account/users/${late}/licenses`, { kind: 'scheduled-meetings', wait: true }))
          .status,
      ).toBe(202);
      account = await restarted(account, 'scheduled-meetings: 3', 'paid');
      expect((await account.api('GET', `/account/users/${late}`)).body.licenses).toEqual(['scheduled-meetings']);
    } finally {
      await account.close();
      await first.close().catch(() => undefined);
    }
  });
});

describe('who may become whom', () => {
  test('a directory does not change the address of somebody whom a hand made an Administrator', async () => {
    const boss = await pushed();
    await usher.api('PATCH', `/account/users/${boss.accountUserId}`, { role: 'Administrator' });
    await usher.scim('PATCH', `/Users/${boss.scimId}`, {
      schemas: ['urn:ietf:params:scim:api:messages:2.0:PatchOp'],
      Operations: [{ op: 'replace', path: 'userName', value: 'mallory@contoso.com' }],
    });
    await usher.api('POST', '/people/mallory@contoso.com/provision', {});
    expect((await user(boss.accountUserId)).email).toBe(boss.email);
    expect(condition((await usher.api('GET', '/people/mallory@contoso.com')).body, 'Profile')?.reason).toBe(
      'adoption_needs_approval',
    );
  });

  test('a session that ended by leaving does not live again with the return', async () => {
    const ana = await pushed();
    const api = await signIn(ana);
    expect((await api('GET', '/session')).status).toBe(200);
    for (const value of [false, true]) {
      await usher.scim('PATCH', `/Users/${ana.scimId}`, {
        schemas: ['urn:ietf:params:scim:api:messages:2.0:PatchOp'],
        Operations: [{ op: 'replace', path: 'active', value }],
      });
      await eventually(
        () => api('GET', '/session'),
        (answer) => answer.status === 401,
      );
      if (value)
        await eventually(
          () => person(ana.local),
          (body) => body.ready === true,
        );
    }
    expect((await api('GET', '/session')).status).toBe(401);
  });

  test('a Member neither learns who has a user here nor takes a name that a rule keeps for somebody', async () => {
    const member = await byHand({ licenses: ['scheduled-meetings'] });
    const api = await signIn(member);
    const answers = await Promise.all(
      ['founder@contoso.com', 'nobody@example.com'].map((owner) =>
        api('POST', '/account/booking-pages', { linkName: 'probe', owner }),
      ),
    );
    expect(answers.map((answer) => [answer.status, answer.body.detail])).toEqual([
      [403, answers[0]?.body.detail],
      [403, answers[0]?.body.detail],
    ]);
    const waiting = await pushed({}, false);
    const page = (await usher.api('GET', `/account/booking-pages?filter=${waiting.local}`)).body.items[0];
    if (page) await usher.api('DELETE', `/account/booking-pages/${page.pageId}`);
    const squat = await api('POST', '/account/booking-pages', { linkName: waiting.local });
    expect(squat.status).toBe(409);
    const csv = await call(`${usher.address}/api/v1/account/booking-pages`, 'POST', 'linkName\na\n', {
      authorization: 'Bearer test-admin-token-0123456789',
      'content-type': 'text/csv',
    });
    expect(csv.status).toBe(201);
    expect((await api('GET', '/account/booking-pages?owner=00000000-0000-4000-8000-000000000000')).status).toBe(403);
  });

  test('a page that an Administrator disabled is enabled by an Administrator', async () => {
    const member = await byHand({ licenses: ['scheduled-meetings'] });
    const api = await signIn(member);
    const made = await api('POST', '/account/booking-pages', { linkName: `of-${member.accountUserId}` });
    const at = `/account/booking-pages/${made.body.pages[0].pageId}`;
    expect((await api('PATCH', at, { enabled: false })).status).toBe(200);
    expect((await api('PATCH', at, { enabled: true })).status).toBe(200);
    await usher.api('PATCH', at, { enabled: false, why: 'audit' });
    expect((await api('PATCH', at, { enabled: true })).status).toBe(403);
    expect((await usher.api('PATCH', at, { enabled: true })).status).toBe(200);
  });
});

describe('mailed links', () => {
  test('an answer of the mail server that quotes the link opens nothing', async () => {
    const wanted = { name: 'Quoted', email: 'quoted@example.com' };
    mails.quoteLinks.add(wanted.email);
    await usher.api('POST', '/account/users', wanted);
    const mail = await eventually(
      async () =>
        (await usher.api('GET', '/account/mails?limit=500')).body.items.find(
          (item: { recipient: string }) => item.recipient === wanted.email,
        ),
      (item) => item?.state === 'refused',
    );
    expect(mail.lastError).toContain('bad URL');
    expect(mail.lastError).not.toMatch(/sign-in\/[\w-]{20}/);
    const quoted = mails.quoted.at(-1) ?? '';
    expect(quoted).toMatch(/\/sign-in\/[\w-]{40}/);
    expect((await fetch(quoted, { method: 'POST', redirect: 'manual' })).status).toBe(410);
  });

  test('a mail that was about to go to a former address gets no link', async () => {
    const { accountUserId, email } = await byHand({ invite: 'suppress' });
    const database = openDatabase(usher.databaseUrl, { max: 2, onError: () => undefined });
    try {
      const outbox = openOutbox({
        query: (name, text, values) => run(database.pool, { name, text }, values),
        list: (text, values) => list(database.lists, text, values),
        transaction: (work) => transaction(database.pool, work),
      });
      const mail = { mailId: '', accountUserId, kind: 'invitation' as const, recipient: email, name: 'x', attempts: 1 };
      const { rows } = await database.pool.query<{ mail_id: string }>(
        `insert into account_mails (mail_id, account_user_id, kind, recipient, subject, state) values (gen_random_uuid(), $1, 'invitation', $2, 'x', 'sent') returning mail_id`,
        [accountUserId, email],
      );
      mail.mailId = rows[0]?.mail_id ?? '';
      expect(await outbox.newLink(mail)).not.toBeNull();
      await usher.api('PATCH', `/account/users/${accountUserId}`, { email: `new-${email}` });
      expect(await outbox.newLink(mail)).toBeNull();
    } finally {
      await database.close();
    }
  });

  test('the forms of the sign-in pages work in a browser that hides where it comes from, and tell it to say', async () => {
    const page = await fetch(`${usher.address}/sign-in`);
    expect(page.headers.get('referrer-policy')).toBe('same-origin');
    expect(page.headers.get('content-security-policy')).toMatch(/default-src 'none'/);
    const post = (headers: Record<string, string>) =>
      fetch(`${usher.address}/sign-in/token`, {
        method: 'POST',
        redirect: 'manual',
        headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
        body: 'token=test-admin-token-0123456789',
      });
    expect((await post({ origin: 'null', 'sec-fetch-site': 'same-origin' })).status).toBe(303);
    expect((await post({ origin: usher.address })).status).toBe(303);
    expect((await post({ origin: 'null', 'sec-fetch-site': 'cross-site' })).status).toBe(403);
    expect((await post({ origin: 'null' })).status).toBe(403);
  });
});

test('a place, a text or a name that can not be read is told, never a failure of ours', async () => {
  const cursor = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const id = '00000000-0000-4000-8000-000000000000';
  const asked: [string, string, unknown?][] = [
    ['GET', `/account/users?sort=createdAt&cursor=${cursor(['createdAt', 'garbage', id])}`],
    ['GET', `/account/users?sort=status&cursor=${cursor(['status', 'x/y', id])}`],
    ['GET', `/account/mails?cursor=${cursor(['mails', 'x', id])}`],
    ['GET', '/account/users?unknown=1'],
    ['GET', '/account/users?limit=0'],
    ['POST', '/account/users', { name: '\ud800', email: 'a@example.com' }],
    ['POST', '/account/booking-pages', { linkName: 'x', title: '\ud800' }],
    ['POST', '/account/booking-pages', { title: 'no link' }],
    ['POST', '/account/booking-pages/from-template', { template: '{hasOwnProperty}' }],
    ['POST', '/account/booking-pages/from-template', { template: '{constructor}' }],
    ['POST', '/account/booking-pages/from-template', { template: 'the-same' }],
  ];
  for (const [method, at, body] of asked) {
    const answer = await usher.api(method, at, body);
    expect([at, answer.status, answer.body.code]).toEqual([at, 400, 'invalid_value']);
  }
  expect((await usher.api('POST', '/account/booking-pages', { title: 'no link' })).body.detail).toContain('linkName');
  for (const at of [
    '/account/users/xyz',
    '/account/users/xyz/history',
    `/account/users/${id}/history`,
    '/account/booking-pages/xyz',
  ])
    expect((await usher.api('GET', at)).status).toBe(404);
  expect((await usher.api('PUT', '/account/users', {})).body.code).toBe('method_not_allowed');
});

describe('one human’s data', () => {
  test('an export says nothing of others who came in the same request, and an erasure reaches every table', async () => {
    await usher.scim('POST', '/Bulk', {
      schemas: ['urn:ietf:params:scim:api:messages:2.0:BulkRequest'],
      Operations: [
        { method: 'POST', path: '/Users', bulkId: '1', data: scimUser('eve') },
        {
          method: 'POST',
          path: '/Users',
          bulkId: '2',
          data: scimUser('victim', { phoneNumbers: [{ value: '+49-SECRET' }] }),
        },
      ],
    });
    const eve = await eventually(
      () => person('eve'),
      (body) => body.ready === true,
    );
    const data = await usher.api('GET', '/people/eve@contoso.com/personal-data');
    expect(JSON.stringify(data.body)).not.toMatch(/victim|SECRET/);
    expect((await usher.api('DELETE', '/people/eve@contoso.com/personal-data')).body.code).toBe('account_refused');
    const found = (await usher.scim('GET', '/Users?filter=userName eq "eve@contoso.com"')).body.Resources[0];
    expect((await usher.scim('DELETE', `/Users/${found.id}`)).status).toBe(204);
    await usher.api('POST', `/account/users/${eve.accountUserId}/suspend`);
    const client = new pg.Client({ connectionString: usher.databaseUrl });
    await client.connect();
    try {
      // What was sent a moment ago is on its way into the log.
      await eventually(
        async () => (await usher.api('GET', '/requests?limit=100')).body.items,
        (items) => items.some((item: { path: string }) => item.path.includes('eve@contoso')),
      );
      // The hold is an hour; the clock of the test is not moved, the person is.
      await client.query(`update people set lifecycle = 'suspended' where person_id = $1`, [eve.personId]);
      const erased = await usher.api('DELETE', `/people/${eve.personId}/personal-data`);
      expect(erased.status).toBe(200);
      const { rows: tables } = await client.query<{ name: string }>(
        `select relname as name from pg_stat_user_tables where schemaname = 'public'`,
      );
      const traces: string[] = [];
      for (const { name } of tables) {
        const { rows } = await client.query(
          `select t::text as row from ${name} t where t::text ilike '%eve@contoso%' or t::text ilike '%Display eve%'`,
        );
        traces.push(...rows.map((row: { row: string }) => `${name}: ${row.row.slice(0, 200)}`));
      }
      expect(traces).toEqual([]);
    } finally {
      await client.end();
    }
    const again = await usher.scim('POST', '/Users', scimUser('eve'));
    expect(again.status).toBe(201);
    const back = await eventually(
      () => person('eve'),
      (body) => body.ready === true,
    );
    expect(back.personId).not.toBe(eve.personId);
  });

  test('an erasure takes nothing of others: neither those whose address ends the same, nor who acted, nor their keys', async () => {
    const others = [await byHand({ email: 'joann@example.com', name: 'Jo Ann' })];
    const ann = await byHand({ email: 'ann@example.com', name: 'Ann' });
    const rows = async () =>
      JSON.stringify((await usher.api('GET', `/account/users/${others[0].accountUserId}/history`)).body.items);
    const before = await rows();
    expect((await usher.api('DELETE', `/account/users/${ann.accountUserId}/personal-data`)).status).toBe(200);
    expect(await rows()).toBe(before);
    expect(before).toContain('admin:USHER_ADMIN_TOKEN');
  });

  test('of a user who was deleted before, what the history still says can be taken out and erased', async () => {
    const dora = await byHand({ name: 'Dora Deleted' });
    await usher.api('DELETE', `/account/users/${dora.accountUserId}`);
    expect((await usher.api('GET', `/account/users/${dora.accountUserId}/personal-data`)).status).toBe(200);
    expect((await usher.api('DELETE', `/account/users/${dora.accountUserId}/personal-data`)).status).toBe(200);
    const history = JSON.stringify((await usher.api('GET', `/account/users/${dora.accountUserId}/history`)).body);
    expect(history).not.toMatch(/Dora|hand\d+@example/);
  });
});
