/** People whom an administrator adds by hand: a source like any other, beside those that come by themselves. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { contoso } from '../../src/sandbox/contoso.ts';
import { eventually, scimUser, startUsher, type Usher } from '../ground/usher.ts';

const sources = `sources: [{ name: scim, kind: scim, domains: [${contoso.domain}] }, { name: console, kind: console, domains: [${contoso.domain}] }]`;
const policy = `
account: { kind: builtin, pools: { scheduled-meetings: 20 } }
dedicatedMailbox: ${contoso.dedicatedMailbox}
${sources}
rules: [{ name: Everybody, when: { domain: ${contoso.domain} }, licenses: [scheduled-meetings], bookingPages: ["{userName.local}"] }]
bookingPages: { createMissing: from-template }
leavers: { holdMinutes: 0 }
brake: { maxRemovals: 100, maxPercent: 100 }
`;

let usher: Usher;
const at = (local: string) => `${local}@${contoso.domain}`;
const person = async (local: string) => (await usher.api('GET', `/people/${at(local)}`)).body;
const becomes = (local: string, lifecycle: string) =>
  eventually(
    () => person(local),
    (shown) => shown.lifecycle === lifecycle && (lifecycle !== 'wanted' || shown.ready),
  );

beforeAll(async () => {
  usher = await startUsher({ policy });
}, 60_000);
afterAll(() => usher.close());

test('somebody added by hand is shown as a plan first, and is Ready as anybody is', async () => {
  const wished = { email: at('ana.ruiz'), givenName: 'Ana', familyName: 'Ruiz', department: 'Advisory' };
  const plan = await usher.api('POST', '/people', { ...wished, plan: true });
  expect(plan.status).toBe(200);
  expect(plan.body).toMatchObject({
    kind: 'new',
    lifecycle: 'wanted',
    wish: { role: 'Member', licenses: ['scheduled-meetings'], bookingPages: ['ana.ruiz'] },
  });
  expect((await usher.api('GET', '/people')).body.total).toBe(0);

  const added = await usher.api('POST', '/people', wished);
  expect(added.status).toBe(201);
  expect(added.body).toMatchObject({ source: 'console', displayName: 'Ana Ruiz', rule: 'Everybody' });
  await becomes('ana.ruiz', 'wanted');
  expect((await usher.api('GET', `/people/${at('ana.ruiz')}/sources`)).body.items).toMatchObject([
    { source: 'console', kind: 'console', department: 'Advisory', active: true, deletedAt: null },
  ]);
  expect((await usher.api('GET', '/sources')).body.items).toContainEqual(
    expect.objectContaining({ name: 'console', lastHeardAt: expect.any(String) }),
  );
});

test('whoever is known is not added twice, and whoever no rule wants is told so before', async () => {
  expect((await usher.api('POST', '/people', { email: at('ana.ruiz') })).status).toBe(409);
  expect((await usher.api('POST', '/people', { email: at('ana.ruiz'), plan: true })).body).toMatchObject({
    kind: 'unchanged',
  });
  expect((await usher.api('POST', '/people', { email: 'ana@fabrikam.com', plan: true })).body).toMatchObject({
    kind: 'new',
    lifecycle: 'out_of_scope',
    note: expect.stringContaining('no rule of the policy matches'),
  });
  const wrong = await usher.api('POST', '/people', { email: 'ana@contoso,com', timeZone: 'Mars/Base' });
  expect(wrong.status).toBe(400);
  expect(wrong.body.detail).toContain('email: «ana@contoso,com» is no e-mail address; perhaps ana@contoso.com');
  expect(wrong.body.detail).toContain('timeZone: «Mars/Base» is no IANA time zone');
  expect((await usher.api('POST', '/people', {})).body.detail).toContain('userName: is empty');
  expect((await usher.api('POST', '/people', { email: at('x'), nickName: 'X' })).status).toBe(400);
});

test('what was said by hand is changed by hand, and cleared; what a directory said is changed there', async () => {
  const changed = await usher.api('PATCH', `/people/${at('ana.ruiz')}`, {
    displayName: 'Ana M. Ruiz',
    department: null,
  });
  expect(changed.body.displayName).toBe('Ana M. Ruiz');
  await eventually(
    async () => (await usher.api('GET', `/account/users/${changed.body.accountUserId}`)).body.name,
    (name) => name === 'Ana M. Ruiz',
  );
  const [said] = (await usher.api('GET', `/people/${at('ana.ruiz')}/sources`)).body.items;
  expect(said).toMatchObject({ department: null, givenName: 'Ana', userName: at('ana.ruiz') });

  await usher.scim('POST', '/Users', scimUser('bjorn.akesson'));
  const refused = await usher.api('PATCH', `/people/${at('bjorn.akesson')}`, { displayName: 'B' });
  expect(refused.status).toBe(409);
  expect(refused.body.detail).toContain('comes from scim');

  // A new address, for somebody who goes by it: still the same person.
  const { personId } = await person('ana.ruiz');
  expect((await usher.api('PATCH', `/people/${personId}`, { email: at('hoa.dang') })).body).toMatchObject({
    personId,
    userName: at('hoa.dang'),
  });
  await usher.api('PATCH', `/people/${personId}`, { email: at('ana.ruiz') });
  await becomes('ana.ruiz', 'wanted');
});

test('one whom the directory sends, too, stays one person', async () => {
  const { personId } = await person('ana.ruiz');
  await usher.scim('POST', '/Users', scimUser('ana.ruiz'));
  expect((await person('ana.ruiz')).personId).toBe(personId);
  expect((await usher.api('GET', `/people/${personId}/sources`)).body.items).toHaveLength(2);
  expect((await usher.api('POST', '/people', { email: at('bjorn.akesson'), plan: true })).body).toMatchObject({
    kind: 'known',
    note: 'known from scim',
  });
});

test('a leaving by hand is taken back as long as the directory wants the person', async () => {
  await becomes('bjorn.akesson', 'wanted');
  const { accountUserId } = await person('bjorn.akesson');
  const nothing = await usher.api('POST', `/people/${at('bjorn.akesson')}/restore`);
  expect(nothing.status).toBe(409);
  await usher.api('POST', `/people/${at('bjorn.akesson')}/offboard`);
  await becomes('bjorn.akesson', 'suspended');
  const plan = await usher.api('POST', `/people/${at('bjorn.akesson')}/restore`, { plan: true });
  expect([plan.status, plan.body.lifecycle]).toEqual([200, 'suspended']);
  const back = await usher.api('POST', `/people/${at('bjorn.akesson')}/restore`);
  expect(back.body).toMatchObject({ lifecycle: 'wanted', leave: null });
  expect((await becomes('bjorn.akesson', 'wanted')).accountUserId).toBe(accountUserId);
  const history = (await usher.api('GET', `/people/${at('bjorn.akesson')}/history`)).body.items;
  expect(history.map(({ action }: { action: string }) => action)).toContain('person.restored');

  const { body } = await usher.scim('GET', `/Users?filter=userName eq "${at('bjorn.akesson')}"`, undefined);
  await usher.scim('PATCH', `/Users/${body.Resources[0].id}`, {
    schemas: ['urn:ietf:params:scim:api:messages:2.0:PatchOp'],
    Operations: [{ op: 'replace', path: 'active', value: false }],
  });
  await becomes('bjorn.akesson', 'suspended');
  const refused = await usher.api('POST', `/people/${at('bjorn.akesson')}/restore`);
  expect(refused.status).toBe(409);
  expect(refused.body.detail).toContain('Source scim says that this person is not active');
});

test('a removal that the brake held is nothing to decide any more once it is taken back', async () => {
  const small = await startUsher({ policy: policy.replace('maxRemovals: 100, maxPercent: 100', 'maxRemovals: 0') });
  try {
    const locals = ['ana.ruiz', 'bjorn.akesson', 'hoa.dang', 'chidi.okafor'];
    for (const local of locals) await small.api('POST', '/people', { email: at(local) });
    await eventually(
      async () => (await small.api('GET', '/summary')).body.conditions.Profile.true,
      (made) => made === 4,
    );
    for (const local of locals) await small.api('POST', `/people/${at(local)}/offboard`);
    const held = () =>
      small.api('GET', '/runs').then(({ body }) => body.items.find((run: { state: string }) => run.state === 'held'));
    const { removals } = await eventually(held, (run) => run?.removals.length === 1);
    expect((await small.api('POST', `/people/${removals[0].personId}/restore`)).status).toBe(200);
    await eventually(held, (run) => run === undefined);
    const [run] = (await small.api('GET', '/runs')).body.items;
    expect(run.removals[0]).toMatchObject({
      state: 'kept',
      decidedBy: 'nobody: the person came back',
      decidedAt: expect.any(String),
    });
  } finally {
    await small.close();
  }
}, 60_000);

test('a paused source takes nobody; a policy without one says what to add', async () => {
  await usher.api('POST', '/sources/console/pause');
  const paused = await usher.api('POST', '/people', { email: at('chidi.okafor') });
  expect(paused.status).toBe(503);
  expect((await usher.api('POST', '/people', { email: at('chidi.okafor'), plan: true })).body.kind).toBe('new');
  await usher.api('POST', '/sources/console/resume');

  const without = await startUsher({ policy: policy.replace(sources, '') });
  try {
    const refused = await without.api('POST', '/people', { email: at('ana.ruiz') });
    expect(refused.status).toBe(400);
    expect(refused.body.detail).toContain('{ name: console, kind: console, domains: [contoso.com] }');
  } finally {
    await without.close();
  }
}, 60_000);

describe('at the same moment, and against the grain', () => {
  let other: Usher;
  const add = (described: Record<string, unknown>) => other.api('POST', '/people', described);
  const active = (id: string, value: boolean) =>
    other.scim('PATCH', `/Users/${id}`, {
      schemas: ['urn:ietf:params:scim:api:messages:2.0:PatchOp'],
      Operations: [{ op: 'replace', path: 'active', value }],
    });
  const shown = async (who: string) => (await other.api('GET', `/people/${who}`)).body;
  const total = async (filter: string) => (await other.api('GET', `/people?filter=${filter}`)).body.total;
  beforeAll(async () => {
    other = await startUsher({ policy, workers: false });
  }, 60_000);
  afterAll(() => other.close());

  test('one human by hand and from the directory is one person', async () => {
    const locals = Array.from({ length: 40 }, (_one, n) => `same${n}`);
    await Promise.all(
      locals.flatMap((local) => [other.scim('POST', '/Users', scimUser(local)), add({ email: at(local) })]),
    );
    expect(await total('same')).toBe(40);
  });

  test('twenty at once of one address are one person, whatever else is said of them', async () => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_one, n) => add({ email: at('twenty'), userName: `twenty-${n}` })),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([201, ...Array.from({ length: 19 }, () => 409)]);
    expect(await total('twenty')).toBe(1);
  });

  test('nobody is given what somebody else is known by', async () => {
    await other.scim('POST', '/Users', scimUser('taken'));
    await add({ email: at('bo') });
    for (const changes of [{ email: at('taken') }, { userName: at('taken') }, { email: at('twenty') }]) {
      const refused = await other.api('PATCH', `/people/${at('bo')}`, changes);
      expect([changes, refused.status]).toEqual([changes, 409]);
    }
    expect((await shown(at('bo'))).email).toBe(at('bo'));
  });

  test('taking back beside a directory that says otherwise never ends against the directory', async () => {
    const people = await Promise.all(
      Array.from({ length: 20 }, async (_one, n) => {
        const { id } = (await other.scim('POST', '/Users', scimUser(`race${n}`))).body;
        await other.api('POST', `/people/${at(`race${n}`)}/offboard`);
        return { id, who: (await shown(at(`race${n}`))).personId };
      }),
    );
    const client = new pg.Client({ connectionString: other.databaseUrl });
    await client.connect();
    try {
      for (const [n, { id, who }] of people.entries()) {
        // Both wait for the row, so that they truly meet.
        await client.query('begin');
        await client.query('select 1 from people where person_id = $1 for update', [who]);
        const acts = [
          () => (n % 2 === 0 ? active(id, false) : other.scim('DELETE', `/Users/${id}`, undefined)),
          () => other.api('POST', `/people/${who}/restore`),
        ];
        const both = (n % 4 > 1 ? acts.reverse() : acts).map((act) => act());
        await new Promise((resolve) => setTimeout(resolve, 30));
        await client.query('commit');
        await Promise.all(both);
        expect((await shown(who)).lifecycle).not.toBe('wanted');
      }
    } finally {
      await client.end();
    }
  }, 60_000);

  test('whom the directory deleted, and an administrator added, an administrator takes back', async () => {
    await add({ email: at('both') });
    const { id } = (await other.scim('POST', '/Users', scimUser('both'))).body;
    await other.scim('DELETE', `/Users/${id}`, undefined);
    expect((await shown(at('both'))).lifecycle).toBe('leaving');
    expect((await other.api('POST', `/people/${at('both')}/restore`)).body.lifecycle).toBe('wanted');
    // And stays: the source that deleted them has nothing more to say.
    await other.api('PATCH', `/people/${at('both')}`, { department: 'Advisory' });
    expect((await shown(at('both'))).lifecycle).toBe('wanted');
  });

  test('a change that changes nothing writes nothing; lists are taken as they are; one that would let somebody go asks first', async () => {
    await add({ email: at('cy'), bookingPages: ['team, berlin', 'a|b'] });
    const { personId } = await shown(at('cy'));
    const [said] = (await other.api('GET', `/people/${personId}/sources`)).body.items;
    expect(said.asked.bookingPages).toEqual(['team, berlin', 'a|b']);
    await other.api('PATCH', `/people/${personId}`, { department: 'X' });
    const rows = async () => (await other.api('GET', `/people/${personId}/history`)).body.items.length;
    const before = await rows();
    for (const same of [{}, { department: 'X' }, { email: at('cy') }])
      expect((await other.api('PATCH', `/people/${personId}`, same)).status).toBe(200);
    expect(await rows()).toBe(before);
    const asked = await other.api('PATCH', `/people/${personId}`, { email: 'cy@fabrikam.com' });
    expect([asked.status, asked.body.code]).toEqual([409, 'would_leave']);
    expect((await shown(personId)).lifecycle).toBe('wanted');
    const meant = await other.api('PATCH', `/people/${personId}`, { email: 'cy@fabrikam.com', mayLeave: true });
    expect(meant.body.lifecycle).toBe('leaving');
    for (const wrong of [{ displayName: 'a\nb' }, { bookingPages: [''] }, { licenses: 'x' }, { email: 7 }])
      expect((await other.api('PATCH', `/people/${personId}`, wrong)).status).toBe(400);
  });

  test('somebody added by mistake is erased: no directory would bring them again', async () => {
    await add({ email: 'typo@nowhere.org' });
    const { personId } = await shown('typo@nowhere.org');
    expect((await other.api('DELETE', `/people/${personId}/personal-data`)).status).toBe(200);
    expect((await add({ email: 'typo@nowhere.org', plan: true })).body.kind).toBe('new');
  });
});

test('what waits under a changed policy waits further after somebody was let go by mistake and taken back', async () => {
  const first = await startUsher({ policy });
  const { databaseUrl } = first;
  let second: Usher | null = null;
  try {
    await first.api('POST', '/people', { email: at('ana.ruiz') });
    await eventually(
      async () => (await first.api('GET', `/people/${at('ana.ruiz')}`)).body.ready,
      (ready) => ready,
    );
    second = await startUsher({
      databaseUrl,
      workers: false,
      policy: policy.replace('licenses: [scheduled-meetings], bookingPages: ["{userName.local}"]', 'licenses: []'),
    });
    const waits = async () =>
      (await second?.api('GET', '/runs'))?.body.items.find((run: { kind: string }) => run.kind === 'policy');
    const { runId } = await waits();
    await second.api('POST', `/people/${at('ana.ruiz')}/offboard`);
    const back = await second.api('POST', `/people/${at('ana.ruiz')}/restore`);
    expect(back.body).toMatchObject({
      lifecycle: 'wanted',
      licenses: ['scheduled-meetings'],
      bookingPages: ['ana.ruiz'],
    });
    expect((await second.api('POST', `/runs/${runId}/approve`, {})).body).toMatchObject({ decided: 1, stale: 0 });
    expect((await second.api('GET', `/people/${at('ana.ruiz')}`)).body.licenses).toEqual([]);
  } finally {
    await second?.close();
    await first.close();
  }
}, 60_000);
