/** The built-in account over its API: every rule of what a scheduling account does with users, as an Administrator and as a Member meet it. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { backendNames } from '../ground/databases.ts';
import { type MailServer, startMailServer } from '../ground/mail-server.ts';
import { type Answer, call, eventually, startUsher, type Usher } from '../ground/usher.ts';

const policy = (pools: string, plan = 'paid') => `
account: { kind: builtin, plan: ${plan}, pools: { ${pools} } }
dedicatedMailbox: scheduling@contoso.com
delegation: ignored
sources: [{ name: scim, kind: scim, domains: [contoso.com] }]
rules:
  - { name: Everybody, when: { domain: contoso.com }, licenses: [scheduled-meetings], bookingPages: ["{userName.local}"] }
bookingPages: { takeFrom: [founder@contoso.com], createMissing: from-template }
leavers: { holdMinutes: 0 }
access: { administrator: [group-admins], viewer: [group-viewers], operator: [group-operators] }
`;

let counter = 0;
const someone = (more: Record<string, unknown> = {}) => {
  counter += 1;
  return { name: `Person ${counter}`, email: `person${counter}@example.com`, ...more };
};

describe.each(backendNames)('the built-in account on %s', (backend) => {
  let usher: Usher;
  let mails: MailServer;
  let founder: string;

  beforeAll(async () => {
    mails = await startMailServer();
    usher = await startUsher({
      backend,
      policy: policy('scheduled-meetings: 40, engagement: 3'),
      config: { mail: { smtpUrl: mails.url, from: 'Scheduling <scheduling@contoso.com>' } },
    });
    const users = await usher.api('GET', '/account/users?role=Administrator');
    founder = users.body.items[0].accountUserId;
  });
  afterAll(async () => {
    await usher.close();
    await mails.close();
  });

  const invite = async (more: Record<string, unknown> = {}) => {
    const answer = await usher.api('POST', '/account/users', someone(more));
    expect(answer.status).toBe(201);
    return answer.body;
  };
  const user = async (id: string) => (await usher.api('GET', `/account/users/${id}`)).body;
  const makePage = async (ownerId: string, more: Record<string, unknown> = {}) => {
    counter += 1;
    const answer = await usher.api('POST', '/account/booking-pages', { linkName: `page-${counter}`, ownerId, ...more });
    expect(answer.status).toBe(201);
    return answer.body.pages[0].pageId as string;
  };
  const page = async (id: string) => (await usher.api('GET', `/account/booking-pages/${id}`)).body;
  const pages = async (ownerId: string) =>
    (await usher.api('GET', `/account/booking-pages?owner=${ownerId}`)).body.items;

  /** Signs in by the mailed link, as a person with a browser would. */
  const signIn = async (of: { accountUserId: string; email: string }) => {
    // An earlier one may be void, and comes late or never.
    const { mailId } = (await usher.api('POST', `/account/users/${of.accountUserId}/invitation`)).body;
    await eventually(
      async () => (await usher.api('GET', '/account/mails?limit=500')).body.items,
      (items) =>
        items.some((mail: { mailId: string; state: string }) => mail.mailId === mailId && mail.state === 'sent'),
    );
    const link = mails.linkTo(of.email);
    const answer = await fetch(link ?? '', { method: 'POST', redirect: 'manual', headers: { origin: usher.address } });
    expect(answer.status).toBe(303);
    const cookie = (answer.headers.get('set-cookie') ?? '').split(';')[0] ?? '';
    return as(cookie);
  };
  const as =
    (cookie: string) =>
    (method: string, at: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> =>
      call(`${usher.address}/api/v1${at}`, method, body, {
        cookie,
        origin: usher.address,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      });

  describe('users', () => {
    test('rule 1: one user management for all products: settings of both stand on one user', async () => {
      const { accountUserId } = await invite({ licenses: ['scheduled-meetings', 'engagement'] });
      const edited = await usher.api('PATCH', `/account/users/${accountUserId}`, {
        productSettings: { scheduling: { bufferMinutes: 15 }, engagement: { takesChats: true } },
      });
      expect(edited.body.productSettings).toMatchObject({
        scheduling: { bufferMinutes: 15 },
        engagement: { takesChats: true },
      });
      expect(edited.body.licenses).toEqual(['engagement', 'scheduled-meetings']);
      await usher.api('DELETE', `/account/users/${accountUserId}`);
    });

    test('rule 2: the list shows name, e-mail, role, integrations, licenses and status, and is filtered by name', async () => {
      await invite({ name: 'Žofia Filterová', role: 'Administrator' });
      const found = await usher.api('GET', `/account/users?filter=${encodeURIComponent('žofia')}`);
      expect(found.body.items).toMatchObject([
        {
          name: 'Žofia Filterová',
          role: 'Administrator',
          integrations: 'None',
          licenses: [],
          status: 'Invited (Pending)',
        },
      ]);
      expect(found.body.total).toBe(1);
      const none = await usher.api('GET', '/account/users?filter=%25');
      expect(none.body.items).toEqual([]);
      const { email } = found.body.items[0];
      expect((await usher.api('GET', `/account/users/${email}`)).body.name).toBe('Žofia Filterová');
      expect((await usher.api('GET', '/account/users/nobody@example.com')).status).toBe(404);
      expect((await usher.api('GET', `/account/permissions?user=${email}`)).body.role).toBe('Administrator');
    });

    test('the list goes on behind its cursor in every sort and direction, and shows each user once', async () => {
      for (const sort of [
        'name',
        'email',
        'role',
        'status',
        'createdAt',
        '-name',
        '-email',
        '-role',
        '-status',
        '-createdAt',
      ]) {
        const seen: string[] = [];
        let cursor: string | null = null;
        let total = 0;
        do {
          const at: string = `/account/users?limit=2&sort=${sort}${cursor ? `&cursor=${cursor}` : ''}`;
          const list: Answer = await usher.api('GET', at);
          expect(list.status).toBe(200);
          seen.push(...list.body.items.map((item: { accountUserId: string }) => item.accountUserId));
          cursor = list.body.nextCursor;
          total = list.body.total;
        } while (cursor);
        expect(new Set(seen).size).toBe(seen.length);
        expect(seen.length).toBe(total);
      }
    });

    test('rule 3: the status is Invited (Pending) until the first sign-in, and a suspension is a flag of its own', async () => {
      const invited = await invite();
      expect(invited.status).toBe('Invited (Pending)');
      await usher.api('POST', `/account/users/${invited.accountUserId}/suspend`);
      expect(await user(invited.accountUserId)).toMatchObject({ status: 'Invited (Pending)', suspended: true });
      await usher.api('POST', `/account/users/${invited.accountUserId}/restore`);
      await signIn(invited);
      expect(await user(invited.accountUserId)).toMatchObject({ status: 'Has signed in', suspended: false });
    });

    test('rule 4: an Administrator changes anyone’s type at any time, and there can be several', async () => {
      const { accountUserId } = await invite({ role: 'Member' });
      const up = await usher.api('PATCH', `/account/users/${accountUserId}`, { role: 'Administrator' });
      expect(up.body.role).toBe('Administrator');
      const down = await usher.api('PATCH', `/account/users/${accountUserId}`, { role: 'Member' });
      expect(down.body.role).toBe('Member');
    });

    test('rules 5 and 20: an invited user gets a mail with a sign-in link, and may ignore it', async () => {
      const invited = await invite({ role: 'Member' });
      const link = await eventually(
        () => Promise.resolve(mails.linkTo(invited.email)),
        (value) => value !== null,
      );
      expect(link).toContain(`${usher.address}/sign-in/`);
      const mail = mails.received.find((entry) => entry.to.includes(invited.email));
      expect(mail?.text).toMatch(/text\/plain[\s\S]*text\/html/);
      expect(mail?.text).toContain(invited.name);
    });

    test('rules 6 and 7: the license is decided after creation, and an Administrator edits all settings', async () => {
      const { accountUserId } = await invite();
      expect((await usher.api('POST', `/account/users/${accountUserId}/licenses`, { kind: 'engagement' })).status).toBe(
        201,
      );
      const edited = await usher.api('PATCH', `/account/users/${accountUserId}`, {
        name: 'Renamed',
        phone: '+49 30 1234',
        jobTitle: 'Advisor',
        timeZone: 'Europe/Berlin',
        notifications: { bookingReminders: false },
        dateTime: { timeFormat: '12h', weekStart: 'Sunday' },
      });
      expect(edited.body).toMatchObject({
        name: 'Renamed',
        phone: '+49 30 1234',
        jobTitle: 'Advisor',
        timeZone: 'Europe/Berlin',
        notifications: { bookingReminders: false, bookingScheduled: true },
        dateTime: { timeFormat: '12h', weekStart: 'Sunday', dateFormat: 'YYYY-MM-DD' },
      });
      await usher.api('DELETE', `/account/users/${accountUserId}`);
    });

    test('rules 8 and 9: the last Administrator with a license can not be deleted, demoted, unlicensed or suspended', async () => {
      const refusals = await Promise.all([
        usher.api('DELETE', `/account/users/${founder}`),
        usher.api('PATCH', `/account/users/${founder}`, { role: 'Member' }),
        usher.api('DELETE', `/account/users/${founder}/licenses/${(await user(founder)).licenses[0]}`),
        usher.api('POST', `/account/users/${founder}/suspend`),
      ]);
      for (const refusal of refusals)
        expect([refusal.status, refusal.body.code]).toEqual([409, 'last_licensed_administrator']);
      expect(await user(founder)).toMatchObject({ role: 'Administrator', suspended: false });
    });

    test('rule 8: anybody else can be deleted, licensed or not', async () => {
      for (const licenses of [[], ['scheduled-meetings']]) {
        const { accountUserId } = await invite({ licenses });
        expect((await usher.api('DELETE', `/account/users/${accountUserId}`)).status).toBe(200);
        expect((await usher.api('GET', `/account/users/${accountUserId}`)).status).toBe(404);
      }
    });

    test('rule 10: deleting a user hands every page to the heir, else to the longest-standing licensed Administrator', async () => {
      const owner = await invite({ licenses: ['scheduled-meetings'] });
      const ids = [await makePage(owner.accountUserId), await makePage(owner.accountUserId)];
      const gone = await usher.api('DELETE', `/account/users/${owner.accountUserId}`);
      expect(gone.body).toMatchObject({ heirId: founder });
      for (const id of ids) expect(await page(id)).toMatchObject({ owner: { accountUserId: founder }, enabled: false });

      const second = await invite({ licenses: ['scheduled-meetings'] });
      const member = await invite({ licenses: ['scheduled-meetings'] });
      const toMember = await usher.api('DELETE', `/account/users/${second.accountUserId}?heir=${member.accountUserId}`);
      expect([toMember.status, toMember.body.code]).toEqual([400, 'invalid_value']);
      const heir = await invite({ licenses: ['scheduled-meetings'], role: 'Administrator' });
      const kept = await makePage(second.accountUserId);
      await usher.api('DELETE', `/account/users/${second.accountUserId}?heir=${heir.accountUserId}`);
      expect(await page(kept)).toMatchObject({ owner: { accountUserId: heir.accountUserId }, enabled: true });
      await usher.api('DELETE', `/account/users/${heir.accountUserId}`);
    });

    test('rule 11: unassigning the license disables the owner’s pages, and assigning it again does not enable them', async () => {
      const owner = await invite({ licenses: ['scheduled-meetings'] });
      const id = await makePage(owner.accountUserId);
      expect(await page(id)).toMatchObject({ enabled: true, bookable: { bookable: 'true' } });
      await usher.api('DELETE', `/account/users/${owner.accountUserId}/licenses/scheduled-meetings`);
      expect(await page(id)).toMatchObject({
        enabled: false,
        bookable: { bookable: 'false', reason: 'needs_license' },
      });
      expect((await usher.api('PATCH', `/account/booking-pages/${id}`, { enabled: true })).body.code).toBe(
        'needs_license',
      );
      await usher.api('POST', `/account/users/${owner.accountUserId}/licenses`, { kind: 'scheduled-meetings' });
      expect(await page(id)).toMatchObject({ enabled: false, bookable: { reason: 'page_disabled' } });
      await usher.api('DELETE', `/account/users/${owner.accountUserId}`);
    });

    test('a wrong field is named with every fault at once, and nothing is changed', async () => {
      const bad = await usher.api('POST', '/account/users', { name: '', email: 'nobody', role: 'Owner', extra: 1 });
      expect(bad.status).toBe(400);
      for (const field of ['name', 'email', 'role', 'extra']) expect(bad.body.detail).toContain(field);
      const twice = await usher.api('POST', '/account/users', { ...someone(), email: (await user(founder)).email });
      expect([twice.status, twice.body.code]).toEqual([409, 'email_taken_elsewhere']);
    });

    test('an ETag that is not of now changes nothing', async () => {
      const { accountUserId } = await invite();
      const { headers } = await usher.api('GET', `/account/users/${accountUserId}`);
      const etag = headers.get('etag') ?? '';
      const withTag = (tag: string, name: string) =>
        call(
          `${usher.address}/api/v1/account/users/${accountUserId}`,
          'PATCH',
          { name },
          {
            authorization: 'Bearer test-admin-token-0123456789',
            'content-type': 'application/json',
            'if-match': tag,
          },
        );
      expect((await withTag(etag, 'First')).status).toBe(200);
      const late = await withTag(etag, 'Second');
      expect([late.status, late.body.code]).toEqual([412, 'precondition_failed']);
      expect((await user(accountUserId)).name).toBe('First');
    });

    test('the same Idempotency-Key makes one user, also at the same moment, and another body under it is refused', async () => {
      const wanted = someone();
      const send = (body: unknown) =>
        call(`${usher.address}/api/v1/account/users`, 'POST', body, {
          authorization: 'Bearer test-admin-token-0123456789',
          'content-type': 'application/json',
          'idempotency-key': `key-${backend}`,
        });
      const answers = await Promise.all([send(wanted), send(wanted), send(wanted), send(wanted)]);
      expect(new Set(answers.map((answer) => answer.body.accountUserId)).size).toBe(1);
      expect(answers.map((answer) => answer.status)).toEqual([201, 201, 201, 201]);
      expect((await send(someone())).body.code).toBe('idempotency_key_reused');
    });
  });

  describe('licenses', () => {
    test('a pool is never exceeded, whoever comes at once, and the line is served in its order when a seat is free', async () => {
      const people = await Promise.all(Array.from({ length: 6 }, () => invite()));
      const pool = async () =>
        (await usher.api('GET', '/account/licenses')).body.items.find(
          (row: { kind: string }) => row.kind === 'engagement',
        );
      const free = (await pool()).free as number;
      const answers = await Promise.all(
        people.map((person) =>
          usher.api('POST', `/account/users/${person.accountUserId}/licenses`, { kind: 'engagement', wait: true }),
        ),
      );
      const winners = people.filter((_person, index) => answers[index]?.status === 201);
      expect(winners).toHaveLength(free);
      expect(await pool()).toMatchObject({ free: 0, waiting: 6 - free, missing: 6 - free });
      expect((await pool()).forecast).toMatch(new RegExp(`^${6 - free} p\\w+ waits? for 0 seats`));
      const line = (await usher.api('GET', '/account/licenses/engagement/waiting')).body.items;
      expect(line.map((place: { place: number }) => place.place)).toEqual(
        line.map((_place: unknown, index: number) => index + 1),
      );
      const refused = await usher.api('POST', `/account/users/${founder}/licenses`, { kind: 'engagement' });
      expect([refused.status, refused.body.code]).toEqual([409, 'no_seats_left']);
      for (const winner of winners)
        await usher.api('DELETE', `/account/users/${winner.accountUserId}/licenses/engagement`);
      for (const [index, place] of line.entries())
        expect((await user(place.accountUserId)).licenses).toEqual(index < free ? ['engagement'] : []);
      for (const person of people) await usher.api('DELETE', `/account/users/${person.accountUserId}`);
      expect(await pool()).toMatchObject({ assigned: 3 - free, waiting: 0 });
    });

    test('an unknown kind and a second assignment are told apart', async () => {
      const { accountUserId } = await invite({ licenses: ['scheduled-meetings'] });
      const unknown = await usher.api('POST', `/account/users/${accountUserId}/licenses`, { kind: 'gold' });
      expect([unknown.status, unknown.body.code]).toEqual([400, 'invalid_value']);
      const again = await usher.api('POST', `/account/users/${accountUserId}/licenses`, { kind: 'scheduled-meetings' });
      expect(again.body).toMatchObject({ assigned: true });
      await usher.api('DELETE', `/account/users/${accountUserId}`);
    });

    test('an invitation whose license is not to be had makes nobody', async () => {
      const wanted = someone({ licenses: ['gold'] });
      expect((await usher.api('POST', '/account/users', wanted)).status).toBe(400);
      expect((await usher.api('GET', `/account/users?filter=${wanted.email}`)).body.total).toBe(0);
    });
  });

  describe('Booking pages', () => {
    test('pages come one by one, by CSV in any order of columns, and from a template; all or none', async () => {
      const owner = await invite({ licenses: ['scheduled-meetings'] });
      const csv = (text: string, query = '') =>
        call(`${usher.address}/api/v1/account/booking-pages${query}`, 'POST', text, {
          authorization: 'Bearer test-admin-token-0123456789',
          'content-type': 'text/csv',
        });
      const made = await csv(
        `\uFEFFOwner email;Title;Link name;Active\r\n${owner.email};"Rates; fees";rates-${backend.slice(0, 3)};yes\r\n;Free;free-${backend.slice(0, 3)};no\r\n`,
      );
      expect(made.status).toBe(201);
      expect(made.body).toMatchObject({ made: 2, existing: [] });
      expect((await pages(owner.accountUserId))[0]).toMatchObject({ title: 'Rates; fees', enabled: true });
      expect((await csv(`linkName\nrates-${backend.slice(0, 3)}\n`)).body.code).toBe('uniqueness');
      const again = await csv(`linkName\nrates-${backend.slice(0, 3)}\n`, '?whenTaken=skip');
      expect(again.body).toMatchObject({ made: 0, existing: [`rates-${backend.slice(0, 3)}`] });
      const wrong = await csv(`linkName,owner,enabled\nfine,,\nwrong,nobody@example.com,\n,,\nodd,,maybe\n`);
      expect(wrong.status).toBe(400);
      for (const line of ['line 3', 'line 4', 'line 5']) expect(wrong.body.detail).toContain(line);
      expect((await usher.api('GET', '/account/booking-pages?filter=fine')).body.total).toBe(0);
      const template = await usher.api('POST', '/account/booking-pages/from-template', {
        template: 'meet-{email.local}',
        title: 'Meet {name}',
        users: [owner.accountUserId],
      });
      expect(template.body.pages[0].linkName).toBe(`meet-${owner.email.split('@')[0]}`);
      await usher.api('DELETE', `/account/users/${owner.accountUserId}`);
    });

    test('who disabled a page and why is kept; a rename keeps the page', async () => {
      const id = await makePage(founder);
      const disabled = await usher.api('PATCH', `/account/booking-pages/${id}`, { enabled: false, why: 'holiday' });
      expect(disabled.body).toMatchObject({
        enabled: false,
        disabledBy: 'admin:USHER_ADMIN_TOKEN',
        disabledWhy: 'holiday',
      });
      const renamed = await usher.api('PATCH', `/account/booking-pages/${id}`, {
        title: 'New',
        linkName: `New Name ${id}`,
      });
      expect(renamed.body).toMatchObject({ title: 'New', linkName: `new-name-${id}`, enabled: false });
      expect((await usher.api('DELETE', `/account/booking-pages/${id}`)).status).toBe(204);
      expect((await usher.api('GET', `/account/booking-pages/${id}`)).status).toBe(404);
    });

    test('rule 19: whether a page can be booked says the first thing in the way', async () => {
      const owner = await invite();
      const id = await makePage(owner.accountUserId);
      expect((await page(id)).bookable).toMatchObject({ bookable: 'false', reason: 'needs_license' });
      await usher.api('POST', `/account/users/${owner.accountUserId}/licenses`, { kind: 'scheduled-meetings' });
      await usher.api('PATCH', `/account/booking-pages/${id}`, { enabled: true });
      expect((await page(id)).bookable).toMatchObject({ bookable: 'true', reason: null });
      await usher.api('POST', `/account/users/${owner.accountUserId}/suspend`);
      expect((await page(id)).bookable).toMatchObject({ bookable: 'false', reason: 'owner_suspended' });
      await usher.api('DELETE', `/account/users/${owner.accountUserId}`);
    });
  });

  describe('a Member who signed in', () => {
    test('rules 12 to 14: sees the own profile, pages and calendar, and nothing that is private to others', async () => {
      const member = await invite({ licenses: ['scheduled-meetings'] });
      const other = await invite({ licenses: ['scheduled-meetings'] });
      const others = await makePage(other.accountUserId);
      const mine = await makePage(member.accountUserId);
      const api = await signIn(member);
      expect((await api('GET', '/session')).body).toMatchObject({
        role: 'Member',
        accountUserId: member.accountUserId,
      });
      expect((await api('GET', `/account/users/${member.accountUserId}`)).body.email).toBe(member.email);
      expect((await api('GET', `/account/users/${member.accountUserId}/calendar`)).status).toBe(200);
      const own = await api('GET', '/account/booking-pages');
      expect(own.body.items.map((item: { pageId: string }) => item.pageId)).toEqual([mine]);
      expect(
        (await api('PATCH', `/account/users/${member.accountUserId}`, { phone: '1', timeZone: 'Asia/Tokyo' })).status,
      ).toBe(200);
      for (const field of [
        { role: 'Administrator' },
        { email: 'a@example.com' },
        { name: 'X' },
        { switches: { createBookingPages: true } },
      ])
        expect((await api('PATCH', `/account/users/${member.accountUserId}`, field)).body.code).toBe('forbidden');
      const forbidden: [string, string, unknown?][] = [
        ['GET', '/account/users'],
        ['GET', `/account/users/${other.accountUserId}`],
        ['GET', `/account/users/${other.accountUserId}/calendar`],
        ['GET', `/account/users/${other.accountUserId}/history`],
        ['GET', `/account/users/${other.accountUserId}/personal-data`],
        ['GET', `/account/permissions?user=${other.accountUserId}`],
        ['PATCH', `/account/users/${other.accountUserId}`, { phone: '2' }],
        ['POST', '/account/users', someone()],
        ['DELETE', `/account/users/${other.accountUserId}`],
        ['DELETE', `/account/users/${member.accountUserId}`],
        ['POST', `/account/users/${member.accountUserId}/licenses`, { kind: 'engagement' }],
        ['DELETE', `/account/users/${member.accountUserId}/licenses/scheduled-meetings`],
        ['GET', `/account/booking-pages/${others}`],
        ['PATCH', `/account/booking-pages/${others}`, { enabled: false }],
        ['PUT', `/account/booking-pages/${mine}/owner`, { ownerId: other.accountUserId }],
        ['POST', '/account/booking-pages', { linkName: 'for-another', ownerId: other.accountUserId }],
        ['GET', '/people'],
        ['GET', '/summary'],
        ['GET', '/delegation'],
        ['GET', '/tokens'],
        ['GET', '/requests'],
        ['GET', '/account/mails'],
        ['GET', '/account/licenses'],
        ['GET', '/account/history'],
        ['POST', '/tokens', { source: 'scim' }],
      ];
      for (const [method, at, body] of forbidden) {
        const answer = await api(method, at, body);
        expect([method, at, answer.status, answer.body.code]).toEqual([method, at, 403, 'forbidden']);
        expect(answer.body.detail.length).toBeGreaterThan(20);
      }
    });

    test('rule 13: creates Booking pages by default, and not once the switch is off', async () => {
      const member = await invite({ licenses: ['scheduled-meetings'] });
      const api = await signIn(member);
      const made = await api('POST', '/account/booking-pages', { linkName: `own-${member.accountUserId}` });
      expect(made.status).toBe(201);
      expect(made.body.pages[0]).toMatchObject({ ownerId: member.accountUserId, enabled: true });
      await usher.api('PATCH', `/account/users/${member.accountUserId}`, { switches: { createBookingPages: false } });
      const refused = await api('POST', '/account/booking-pages', { linkName: `more-${member.accountUserId}` });
      expect([refused.status, refused.body.code]).toEqual([403, 'forbidden']);
      await usher.api('PATCH', `/account/users/${member.accountUserId}`, { switches: { createBookingPages: null } });
      expect((await api('POST', '/account/booking-pages', { linkName: `more-${member.accountUserId}` })).status).toBe(
        201,
      );
    });

    test('rules 14 to 16: the permissions name every function with the reason of a no, and follow the switches', async () => {
      const member = await invite();
      const permissions = async (query = '') =>
        Object.fromEntries(
          (await usher.api('GET', `/account/permissions${query}`)).body.permissions.map((row: { function: string }) => [
            row.function,
            row,
          ]),
        );
      const of = await permissions(`?user=${member.accountUserId}`);
      const fourteen = Object.values(of as Record<string, { rule: string; allowed: boolean; reason: string }>).filter(
        (row) => row.rule.startsWith('14.'),
      );
      expect(fourteen).toHaveLength(18);
      for (const row of fourteen)
        expect([row.rule, row.allowed, row.reason.length > 10]).toEqual([row.rule, false, true]);
      expect(of.process_refunds.allowed).toBe(false);
      expect(of.trigger_zaps).toMatchObject({ allowed: false, scope: 'own' });
      await usher.api('PATCH', `/account/users/${member.accountUserId}`, { switches: { processRefunds: true } });
      expect((await permissions(`?user=${member.accountUserId}`)).process_refunds.allowed).toBe(true);
      const wrongSwitch = await usher.api('PATCH', `/account/users/${member.accountUserId}`, {
        switches: { triggerAllZaps: true },
      });
      expect(wrongSwitch.status).toBe(400);
      const admin = await permissions(`?user=${founder}`);
      expect(admin.process_refunds.allowed).toBe(true);
      expect(admin.trigger_zaps.allowed).toBe(false);
      await usher.api('PATCH', `/account/users/${founder}`, { switches: { triggerAllZaps: true } });
      expect((await permissions(`?user=${founder}`)).trigger_zaps.allowed).toBe(true);
      expect(admin.view_others_connection_details).toMatchObject({ allowed: false, rule: '12' });
      const integrations = await usher.api('GET', `/account/users/${member.accountUserId}/integrations`);
      expect([integrations.status, integrations.body.code]).toEqual([403, 'forbidden']);
    });
  });

  describe('sign-in', () => {
    test('opening a mailed link uses nothing up; its button does, once', async () => {
      const invited = await invite();
      const link = await eventually(
        () => Promise.resolve(mails.linkTo(invited.email)),
        (value) => value !== null,
      );
      for (let scan = 0; scan < 3; scan++) {
        const opened = await fetch(link ?? '');
        expect(opened.status).toBe(200);
        expect(await opened.text()).toContain(invited.email);
        await fetch(link ?? '', { method: 'HEAD' });
      }
      expect((await user(invited.accountUserId)).status).toBe('Invited (Pending)');
      const presses = await Promise.all(
        Array.from({ length: 5 }, () => fetch(link ?? '', { method: 'POST', redirect: 'manual' })),
      );
      expect(presses.map((press) => press.status).sort()).toEqual([303, 410, 410, 410, 410]);
      const cookie = presses.find((press) => press.status === 303)?.headers.get('set-cookie') ?? '';
      expect(cookie).toMatch(/HttpOnly/i);
      expect(cookie).toMatch(/SameSite=Lax/i);
      expect((await user(invited.accountUserId)).status).toBe('Has signed in');
      expect((await fetch(link ?? '')).status).toBe(410);
    });

    test('a link that was sent again makes the earlier one void, and so does another address', async () => {
      const invited = await invite();
      const first = await eventually(
        () => Promise.resolve(mails.linkTo(invited.email)),
        (value) => value !== null,
      );
      expect((await usher.api('POST', `/account/users/${invited.accountUserId}/invitation`)).status).toBe(202);
      const second = await eventually(
        () => Promise.resolve(mails.linkTo(invited.email)),
        (value) => value !== null && value !== first,
      );
      expect((await fetch(first ?? '')).status).toBe(410);
      expect((await fetch(second ?? '')).status).toBe(200);
      await usher.api('PATCH', `/account/users/${invited.accountUserId}`, { email: `moved-${invited.email}` });
      expect((await fetch(second ?? '')).status).toBe(410);
    });

    test('a suspended user’s session ends at once, and a foreign page can not use one', async () => {
      const member = await invite();
      const api = await signIn(member);
      const foreign = await api(
        'PATCH',
        `/account/users/${member.accountUserId}`,
        { phone: '9' },
        { origin: 'https://evil.example' },
      );
      expect([foreign.status, foreign.body.code]).toEqual([403, 'cross_site']);
      expect((await api('GET', '/session')).status).toBe(200);
      await usher.api('POST', `/account/users/${member.accountUserId}/suspend`);
      expect((await api('GET', '/session')).status).toBe(401);
      await usher.api('POST', `/account/users/${member.accountUserId}/restore`);
      expect((await api('GET', '/session')).status).toBe(401);
    });

    test('the admin token opens a session, which ends by signing out', async () => {
      const wrong = await call(
        `${usher.address}/api/v1/session`,
        'POST',
        { token: 'nope' },
        { 'content-type': 'application/json' },
      );
      expect(wrong.status).toBe(401);
      const begun = await call(
        `${usher.address}/api/v1/session`,
        'POST',
        { token: 'test-admin-token-0123456789' },
        { 'content-type': 'application/json' },
      );
      expect(begun.status).toBe(201);
      const api = as((begun.headers.get('set-cookie') ?? '').split(';')[0] ?? '');
      expect((await api('GET', '/account/users')).status).toBe(200);
      expect((await api('DELETE', '/session')).status).toBe(204);
      expect((await api('GET', '/account/users')).status).toBe(401);
    });

    test('a refused mail is shown with what the server said and tried again; the outbox shows no link', async () => {
      const wanted = someone();
      mails.refusals.set(wanted.email, { code: 550, text: 'no such mailbox here' });
      await usher.api('POST', '/account/users', wanted);
      const find = async () =>
        (await usher.api('GET', '/account/mails?limit=500')).body.items.find(
          (item: { recipient: string }) => item.recipient === wanted.email,
        );
      const refused = await eventually(find, (mail) => mail?.state === 'refused');
      expect(refused).toMatchObject({ attempts: 1, sentAt: null });
      expect(refused.lastError).toContain('no such mailbox');
      expect(refused.nextAt).not.toBeNull();
      expect(refused.text).not.toContain('/sign-in/');
      mails.refusals.delete(wanted.email);
      await usher.api('POST', `/account/mails/${refused.mailId}/retry`);
      expect(await eventually(find, (mail) => mail?.state === 'sent')).toMatchObject({ lastError: null, attempts: 2 });
      const bounced = await usher.api('POST', `/account/mails/${refused.mailId}/bounced`, { reason: 'mailbox full' });
      expect(bounced.body).toMatchObject({ state: 'bounced', lastError: 'mailbox full' });
    });
  });

  describe('history and one human’s data', () => {
    test('every change by hand has its row, with actor, before and after', async () => {
      const { accountUserId } = await invite();
      await usher.api('PATCH', `/account/users/${accountUserId}`, { name: 'After' });
      await usher.api('POST', `/account/users/${accountUserId}/licenses`, { kind: 'scheduled-meetings' });
      const rows = (await usher.api('GET', `/account/users/${accountUserId}/history`)).body.items;
      expect(rows.map((row: { action: string }) => row.action)).toEqual([
        'account.license_assigned',
        'account.user_updated',
        'account.user_invited',
      ]);
      expect(rows[1]).toMatchObject({ actor: 'admin:USHER_ADMIN_TOKEN', after: { name: 'After' } });
      expect(rows[1].before.name).toMatch(/^Person/);
      const before = rows.length;
      await usher.api('PATCH', `/account/users/${accountUserId}`, { name: 'After' });
      expect((await usher.api('GET', `/account/users/${accountUserId}/history`)).body.items).toHaveLength(before);
    });

    test('one user’s data can be taken out whole and erased, and the history says nothing of who it was', async () => {
      const secretive = await invite({ name: 'Very Private', licenses: ['scheduled-meetings'] });
      const id = await makePage(secretive.accountUserId);
      await usher.api('PATCH', `/account/users/${secretive.accountUserId}`, { phone: '+1 555 0199' });
      const data = await usher.api('GET', `/account/users/${secretive.accountUserId}/personal-data`);
      expect(JSON.stringify(data.body)).toContain('+1 555 0199');
      expect(data.body.pages).toHaveLength(1);
      const erased = await usher.api('DELETE', `/account/users/${secretive.accountUserId}/personal-data`);
      expect(erased.body.pseudonym).toMatch(/^erased-/);
      expect((await page(id)).owner.accountUserId).toBe(founder);
      const history = JSON.stringify(
        (await usher.api('GET', `/account/users/${secretive.accountUserId}/history`)).body,
      );
      expect(history).toContain(erased.body.pseudonym);
      for (const trace of ['Very Private', secretive.email, '555 0199']) expect(history).not.toContain(trace);
      expect((await usher.api('GET', '/account/users?filter=Very+Private')).body.total).toBe(0);
    });
  });
});
