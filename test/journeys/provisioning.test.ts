import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { contoso, contosoPeople } from '../../src/sandbox/contoso.ts';
import { playEntraCycle, playOktaCycle } from '../../src/sandbox/providers.ts';
import { eventually, plainPolicy, scimToken, scimUser, startUsher, type Usher } from '../ground/usher.ts';

const stacks = [
  { name: 'embedded PostgreSQL with its own queue', backend: 'embedded PostgreSQL', queue: 'postgres' },
  { name: 'server PostgreSQL with Redis', backend: 'server PostgreSQL', queue: 'redis' },
] as const;

describe.each(stacks)('from an identity provider to Ready, on $name', ({ backend, queue }) => {
  let usher: Usher;
  beforeAll(async () => {
    usher = await startUsher({ backend, queue });
    await usher.running.makePages([...contosoPeople.map((person) => person.local), 'grazyna.nowak']);
  });
  afterAll(() => usher.close());

  const person = async (who: string) => (await usher.api('GET', `/people/${encodeURIComponent(who)}`)).body;

  test('thirty people of two providers end where the tenant and the pool let them', async () => {
    const target = { url: `${usher.address}/scim/v2`, token: scimToken };
    const quiet = () => undefined;
    await playEntraCycle(target, contosoPeople.slice(0, 18), { renamed: {}, disabled: [] }, quiet);
    await playOktaCycle(target, contosoPeople.slice(18), { renamed: {}, disabled: [] }, quiet);
    const summary = await eventually(
      async () => (await usher.api('GET', '/summary')).body,
      (body) =>
        body.ready === 25 &&
        body.conditions.BookingPages.true === 25 &&
        body.conditions.BookingPages.false.needs_license === 5,
    );
    expect(summary.people).toBe(30);
    expect(summary.conditions.Delegation).toEqual({
      true: 25,
      false: { not_delegated: 3, shared_not_delegated: 1, no_mailbox: 1 },
      unknown: {},
    });
    expect(summary.licenses['scheduled-meetings']).toMatchObject({ bought: 100, assigned: 26, waiting: 0 });
  });

  test('whoever is not Ready says why and who must act', async () => {
    const chidi = await person('chidi.okafor@contoso.com');
    const delegation = chidi.conditions.find((condition: { type: string }) => condition.type === 'Delegation');
    expect(delegation).toMatchObject({ status: 'false', reason: 'not_delegated', owner: 'exchange_admin' });
    expect(delegation.message).toContain('Add-MailboxFolderPermission');
    const license = chidi.conditions.find((condition: { type: string }) => condition.type === 'License');
    expect(license).toMatchObject({ status: 'false', reason: 'needs_delegation', owner: 'nobody' });
  });

  test('a second cycle of the provider writes nothing', async () => {
    const before = (await person('ana.ruiz@contoso.com')).generation;
    await playEntraCycle(
      { url: `${usher.address}/scim/v2`, token: scimToken },
      contosoPeople.slice(0, 18),
      { renamed: {}, disabled: [] },
      () => undefined,
    );
    const history = (await usher.api('GET', '/people/ana.ruiz@contoso.com/history')).body.items;
    expect((await person('ana.ruiz@contoso.com')).generation).toBe(before);
    // Received once, then the four steps.
    expect(history).toHaveLength(5);
  });

  test('a rename stays the same person and the same user, and takes the page of the new name', async () => {
    const before = await person('grazyna.wojcik@contoso.com');
    await playEntraCycle(
      { url: `${usher.address}/scim/v2`, token: scimToken },
      contosoPeople.slice(0, 18),
      { renamed: { 'grazyna.wojcik': 'Nowak' }, disabled: [] },
      () => undefined,
    );
    const after = await eventually(
      () => person('grazyna.nowak@contoso.com'),
      (body) => body.ready === true,
    );
    expect(after.personId).toBe(before.personId);
    expect(after.accountUserId).toBe(before.accountUserId);
  });

  test('a delegation that is given later makes its person Ready on demand', async () => {
    const chidi = usher.sandbox.tenant.users.find((user) => user.userPrincipalName.startsWith('chidi'));
    chidi?.calendarPermissions.push({
      address: contoso.dedicatedMailbox.toUpperCase(),
      role: 'delegateWithPrivateEventAccess',
    });
    const { status, body } = await usher.api('POST', '/people/chidi.okafor@contoso.com/provision', { plan: false });
    expect(status).toBe(200);
    expect(body.ready).toBe(true);
    expect(body.steps.map((step: { step: string; outcome: string }) => [step.step, step.outcome])).toEqual([
      ['create-user', 'nothing_to_do'],
      ['check-delegation', 'nothing_to_do'],
      ['assign-license', 'done'],
      ['assign-booking-pages', 'done'],
    ]);
  });

  test('a plan does nothing', async () => {
    const uma = usher.sandbox.tenant.users.find((user) => user.userPrincipalName.startsWith('uma'));
    uma?.calendarPermissions.push({ address: contoso.dedicatedMailbox, role: 'delegateWithPrivateEventAccess' });
    const before = await person('uma.iyer@contoso.com');
    const { body } = await usher.api('POST', '/people/uma.iyer@contoso.com/provision', { plan: true });
    expect(body.ready).toBe(false);
    expect(await person('uma.iyer@contoso.com')).toEqual(before);
  });

  test('somebody disabled leaves safely, and comes back as the same person and the same user', async () => {
    const before = await person('ivan.petrov@contoso.com');
    const found = (
      await usher.scim('GET', `/Users?filter=${encodeURIComponent('userName eq "IVAN.PETROV@contoso.com"')}`)
    ).body;
    const id = found.Resources[0].id;
    const patch = (value: unknown) =>
      usher.scim('PATCH', `/Users/${id}`, {
        schemas: ['urn:ietf:params:scim:api:messages:2.0:PatchOp'],
        Operations: [{ op: 'Replace', path: 'active', value }],
      });
    expect((await patch('False')).body.active).toBe(false);
    const left = await eventually(
      () => person(before.personId),
      (body) => body.lifecycle === 'suspended',
    );
    expect(left.ready).toBe(false);
    const summary = (await usher.api('GET', '/summary')).body;
    expect(summary.lifecycles.suspended).toBe(1);
    expect((await patch('True')).status).toBe(200);
    const back = await eventually(
      () => person(before.personId),
      (body) => body.ready === true,
    );
    expect(back.accountUserId).toBe(before.accountUserId);
  });

  test('DELETE and a later POST of the same human is a new resource and the same person', async () => {
    const before = await person('elif.yildiz@contoso.com');
    const id = (await usher.scim('GET', `/Users?filter=${encodeURIComponent('userName eq "elif.yildiz@contoso.com"')}`))
      .body.Resources[0].id;
    expect((await usher.scim('DELETE', `/Users/${id}`)).status).toBe(204);
    expect((await usher.scim('GET', `/Users/${id}`)).status).toBe(404);
    expect((await usher.scim('DELETE', `/Users/${id}`)).status).toBe(404);
    await eventually(
      () => person(before.personId),
      (body) => body.lifecycle === 'suspended',
    );
    const again = await usher.scim(
      'POST',
      '/Users',
      scimUser('elif.yildiz', {
        externalId: contosoPeople.find((entry) => entry.local === 'elif.yildiz')?.objectId,
        displayName: 'Elif Yıldız',
      }),
    );
    expect(again.status).toBe(201);
    expect(again.body.id).not.toBe(id);
    const back = await eventually(
      () => person(before.personId),
      (body) => body.ready === true,
    );
    expect(back.accountUserId).toBe(before.accountUserId);
  });
});

describe('seats that run out', () => {
  let usher: Usher;
  beforeAll(async () => {
    // One seat for the founding Administrator, two for the three people.
    usher = await startUsher({ policy: plainPolicy.replace('scheduled-meetings: 100', 'scheduled-meetings: 3') });
    await usher.running.makePages(['ana.ruiz', 'bjorn.akesson', 'hoa.dang']);
  });
  afterAll(() => usher.close());

  test('the last one waits in line, and gets the seat that a leaver frees', async () => {
    const locals = ['ana.ruiz', 'bjorn.akesson', 'hoa.dang'];
    const ids: string[] = [];
    for (const local of locals) ids.push((await usher.scim('POST', '/Users', scimUser(local))).body.id);
    const summary = await eventually(
      async () => (await usher.api('GET', '/summary')).body,
      (body) => body.ready === 2 && body.conditions.License.false.no_seats_left === 1,
    );
    expect(summary.licenses['scheduled-meetings']).toMatchObject({ bought: 3, assigned: 3, waiting: 1 });
    const waiting = (await usher.api('GET', '/people?reason=no_seats_left')).body.items[0];
    expect(waiting.conditions.find((condition: { type: string }) => condition.type === 'License').message).toContain(
      'place 1',
    );
    const ready = (await usher.api('GET', '/people?ready=true')).body.items[0];
    const leaver = ids[locals.findIndex((local) => ready.userName.startsWith(local))];
    await usher.scim('DELETE', `/Users/${leaver}`);
    await eventually(
      async () => (await usher.api('GET', `/people/${waiting.personId}`)).body,
      (body) => body.ready === true,
    );
    expect((await usher.api('GET', '/summary')).body.licenses['scheduled-meetings']).toMatchObject({
      assigned: 3,
      waiting: 0,
    });
  });
});

describe('a waiting list', () => {
  test('is not held up by somebody who can not take the seat any more', async () => {
    const usher = await startUsher({
      policy: plainPolicy
        .replace('scheduled-meetings: 100', 'scheduled-meetings: 2')
        .replace('["{userName.local}"]', '[]'),
    });
    const create = async (local: string) => (await usher.scim('POST', '/Users', scimUser(local))).body.id as string;
    const reasonOf = async (local: string) =>
      (await usher.api('GET', `/people/${local}@contoso.com`)).body.conditions.find(
        (condition: { type: string }) => condition.type === 'License',
      ).reason;
    const holder = await create('ana.ruiz');
    await eventually(
      async () => (await usher.api('GET', '/summary')).body,
      (body) => body.ready === 1,
    );
    for (const local of ['bjorn.akesson', 'hoa.dang']) {
      await create(local);
      await eventually(
        () => reasonOf(local),
        (reason) => reason === 'no_seats_left',
      );
    }
    const first = usher.sandbox.tenant.users.find((user) => user.userPrincipalName.startsWith('bjorn'));
    if (first) first.calendarPermissions = [];
    await usher.api('POST', '/people/bjorn.akesson@contoso.com/provision', {});
    expect(await reasonOf('bjorn.akesson')).toBe('needs_delegation');
    await usher.scim('DELETE', `/Users/${holder}`);
    await eventually(
      async () => (await usher.api('GET', '/people/hoa.dang@contoso.com')).body,
      (body) => body.ready === true,
    );
    await usher.close();
  });
});

test('two people who swap their addresses in one cycle both end with the right one', async () => {
  const usher = await startUsher({ policy: plainPolicy.replace('["{userName.local}"]', '[]') });
  const mail = (local: string) => [{ type: 'work', primary: true, value: `${local}@contoso.com` }];
  const create = async (name: string, local: string) =>
    (await usher.scim('POST', '/Users', scimUser(name, { emails: mail(local) }))).body.id as string;
  const both = () =>
    Promise.all(
      ['ana.ruiz', 'bjorn.akesson'].map(async (name) => (await usher.api('GET', `/people/${name}@contoso.com`)).body),
    );
  const [ana, bjorn] = [await create('ana.ruiz', 'first'), await create('bjorn.akesson', 'second')];
  await eventually(both, (people) => people.every((person) => person.ready));
  const before = (await both()).map((person) => person.accountUserId);
  const patch = (id: string, value: string) =>
    usher.scim('PATCH', `/Users/${id}`, {
      schemas: ['urn:ietf:params:scim:api:messages:2.0:PatchOp'],
      Operations: [{ op: 'Replace', path: 'emails[type eq "work"].value', value }],
    });
  await patch(ana, 'second@contoso.com');
  await patch(bjorn, 'first@contoso.com');
  const after = await eventually(
    both,
    ([first, second]) =>
      first.ready &&
      second.ready &&
      first.conditions[0].evidence.email === 'second@contoso.com' &&
      second.conditions[0].evidence.email === 'first@contoso.com',
  );
  expect(after.map((person) => person.accountUserId)).toEqual(before);

  // Both at the same moment, again and again: neither step undoes what the other's exchange did.
  for (const [a, b] of [
    ['first', 'second'],
    ['second', 'first'],
    ['first', 'second'],
    ['second', 'first'],
  ]) {
    await Promise.all([patch(ana, `${a}@contoso.com`), patch(bjorn, `${b}@contoso.com`)]);
    await eventually(
      both,
      ([first, second]) =>
        first.ready &&
        second.ready &&
        first.conditions[0].evidence.email === `${a}@contoso.com` &&
        second.conditions[0].evidence.email === `${b}@contoso.com`,
    );
  }
  await usher.close();
}, 120_000);

describe('the brake', () => {
  let usher: Usher;
  beforeAll(async () => {
    usher = await startUsher({ policy: plainPolicy.replace('["{userName.local}"]', '[]') });
  });
  afterAll(() => usher.close());

  test('holds what goes beyond three removals in a small organisation, and lets a person decide', async () => {
    const locals = contosoPeople
      .filter(
        (person) => !['chidi.okafor', 'jose.nunez', 'uma.iyer', 'maeve.obrien', 'priya.sharma'].includes(person.local),
      )
      .slice(0, 6);
    const ids: string[] = [];
    for (const { local } of locals) ids.push((await usher.scim('POST', '/Users', scimUser(local))).body.id);
    await eventually(
      async () => (await usher.api('GET', '/summary')).body,
      (body) => body.ready === 6,
    );
    for (const id of ids) await usher.scim('DELETE', `/Users/${id}`);
    const held = await eventually(
      async () => (await usher.api('GET', '/summary')).body,
      (body) => (body.lifecycles.suspended ?? 0) === 3 && (body.lifecycles.held ?? 0) === 3,
    );
    expect(held.licenses['scheduled-meetings'].assigned).toBe(4);
    const run = (await usher.api('GET', '/runs')).body.items[0];
    expect(run).toMatchObject({ state: 'held', kind: 'leavers', source: 'scim' });
    expect(run.removals).toHaveLength(3);
    const one = run.removals[0].personId;
    expect((await usher.api('POST', `/runs/${run.runId}/approve`, { only: [one] })).body).toEqual({ decided: 1 });
    await eventually(
      async () => (await usher.api('GET', `/people/${one}`)).body,
      (body) => body.lifecycle === 'suspended',
    );
    expect((await usher.api('POST', `/runs/${run.runId}/keep`, {})).body).toEqual({ decided: 2 });
    const end = (await usher.api('GET', '/summary')).body;
    expect(end.lifecycles).toMatchObject({ suspended: 4, held: 2 });
    expect(end.licenses['scheduled-meetings'].assigned).toBe(3);
  });
});
