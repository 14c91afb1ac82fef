import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { adminToken, call, eventually, plainPolicy, scimUser, startUsher, type Usher } from '../ground/usher.ts';

let usher: Usher;
const total = 57;
beforeAll(async () => {
  usher = await startUsher({ workers: false, policy: `${plainPolicy}` });
  for (let index = 0; index < total; index++)
    await usher.scim(
      'POST',
      '/Users',
      scimUser(`user${String(index).padStart(3, '0')}`, {
        title: `T${index % 3}`,
        ...(index % 2 ? { nickName: `n${index}` } : {}),
      }),
    );
});
afterAll(() => usher.close());

const get = async (at: string) => (await usher.scim('GET', at)).body;
const names = (body: { Resources: { userName: string }[] }) => body.Resources.map((user) => user.userName);
const patchOf = (...operations: unknown[]) => ({
  schemas: ['urn:ietf:params:scim:api:messages:2.0:PatchOp'],
  Operations: operations,
});

describe('discovery', () => {
  test('says what the server does', async () => {
    expect(await get('/ServiceProviderConfig')).toMatchObject({
      patch: { supported: true },
      bulk: { supported: true, maxOperations: 1000, maxPayloadSize: 1_048_576 },
      filter: { supported: true, maxResults: 200 },
      changePassword: { supported: false },
      sort: { supported: true },
      etag: { supported: true },
      pagination: {
        cursor: true,
        index: true,
        defaultPaginationMethod: 'index',
        defaultPageSize: 100,
        maxPageSize: 200,
        cursorTimeout: 3600,
      },
      authenticationSchemes: [{ type: 'oauthbearertoken' }],
    });
    expect((await get('/ResourceTypes')).Resources.map((type: { id: string }) => type.id)).toEqual(['User', 'Group']);
    expect((await get('/ResourceTypes/Group')).endpoint).toBe('/Groups');
    expect((await get('/Schemas')).totalResults).toBe(4);
    const schema = await get('/Schemas/urn:ietf:params:scim:schemas:core:2.0:User');
    const attribute = (name: string) => schema.attributes.find((entry: { name: string }) => entry.name === name);
    expect(attribute('userName')).toMatchObject({ required: true, caseExact: false, uniqueness: 'server' });
    expect(attribute('password').returned).toBe('never');
    expect(JSON.stringify(schema)).not.toContain('canonicalValues');
  });
});

describe('paging', () => {
  test('by index: every user once, totals right, past the end nothing, count 0 and negative only the total', async () => {
    const seen: string[] = [];
    for (let startIndex = 1; startIndex <= total; startIndex += 10) {
      const page = await get(`/Users?startIndex=${startIndex}&count=10`);
      expect(page).toMatchObject({ totalResults: total, startIndex, itemsPerPage: page.Resources.length });
      seen.push(...names(page));
    }
    expect(new Set(seen).size).toBe(total);
    expect(await get(`/Users?startIndex=1000&count=10`)).toMatchObject({
      totalResults: total,
      itemsPerPage: 0,
      Resources: [],
    });
    for (const count of [0, -5])
      expect(await get(`/Users?count=${count}`)).toMatchObject({ totalResults: total, itemsPerPage: 0, Resources: [] });
    expect(await get('/Users?startIndex=-3&count=1')).toMatchObject({ startIndex: 1 });
    // Not on a page's edge, and never read before.
    expect(names(await get('/Users?startIndex=14&count=3'))).toEqual(seen.slice(13, 16));
  });

  test('by cursor: every user once, the last page has no next cursor', async () => {
    const seen: string[] = [];
    let page = await get('/Users?cursor=&count=19');
    for (;;) {
      seen.push(...names(page));
      if (!page.nextCursor) break;
      expect(page.nextCursor).toMatch(/^[A-Za-z0-9._-]+$/);
      page = await get(`/Users?cursor=${page.nextCursor}&count=19`);
    }
    expect(seen).toHaveLength(total);
    expect(new Set(seen).size).toBe(total);
  });

  test('a cursor is bound to its query and count, and can not be made up', async () => {
    const { nextCursor } = await get('/Users?cursor=&count=5');
    expect(await get(`/Users?cursor=${nextCursor}x&count=5`)).toMatchObject({
      status: '400',
      scimType: 'invalidCursor',
    });
    expect(await get(`/Users?cursor=${nextCursor}&count=6`)).toMatchObject({
      status: '400',
      scimType: 'invalidCursor',
    });
    expect(await get(`/Users?cursor=${nextCursor}&count=5&filter=${encodeURIComponent('title pr')}`)).toMatchObject({
      status: '400',
      scimType: 'invalidCursor',
    });
    expect(await get(`/Users?cursor=&count=many`)).toMatchObject({ status: '400', scimType: 'invalidCount' });
  });

  test('a user who is made or deleted is counted at once', async () => {
    expect((await get('/Users?count=0')).totalResults).toBe(total);
    const { id } = (await usher.scim('POST', '/Users', scimUser('zz-extra'))).body;
    expect((await get('/Users?count=0')).totalResults).toBe(total + 1);
    await usher.scim('DELETE', `/Users/${id}`);
    expect((await get('/Users?count=0')).totalResults).toBe(total);
  });
});

test('an id is found by every method or by none, in whatever letter case', async () => {
  const { id } = (await usher.scim('POST', '/Users', scimUser('zz-case'))).body;
  expect((await usher.scim('GET', `/Users/${id.toUpperCase()}`)).status).toBe(200);
  expect(
    (await usher.scim('PATCH', `/Users/${id.toUpperCase()}`, patchOf({ op: 'add', path: 'title', value: 'x' }))).body
      .id,
  ).toBe(id);
  expect((await usher.scim('DELETE', `/Users/${id.toUpperCase()}`)).status).toBe(204);
});

describe('sorting', () => {
  test('by attribute, case-blind, missing ones last, both ways, with either paging', async () => {
    const sorted = names(await get('/Users?sortBy=userName&count=100'));
    expect(sorted).toEqual([...sorted].sort());
    expect(names(await get('/Users?sortBy=USERNAME&sortOrder=descending&count=100'))).toEqual([...sorted].reverse());
    const byNick = (await get('/Users?sortBy=nickName&count=100')).Resources.map(
      (user: { nickName?: string }) => user.nickName,
    );
    expect(byNick.slice(28).every((nick: unknown) => nick === undefined)).toBe(true);
    expect(names(await get('/Users?sortBy=emails.value&count=3'))).toEqual(sorted.slice(0, 3));
    const first = await get('/Users?sortBy=userName&cursor=&count=30');
    const second = await get(`/Users?sortBy=userName&cursor=${first.nextCursor}&count=30`);
    expect([...names(first), ...names(second)]).toEqual(sorted);
    expect(await get('/Users?sortBy=shoeSize')).toMatchObject({ status: '400', scimType: 'invalidPath' });
  });
});

describe('/.search', () => {
  test('equals GET with the same parameters', async () => {
    const filter = 'title eq "T1" and userName sw "user0"';
    const posted = (
      await usher.scim('POST', '/Users/.search', {
        schemas: ['urn:ietf:params:scim:api:messages:2.0:SearchRequest'],
        filter,
        attributes: ['userName', 'title'],
        startIndex: 1,
        count: 7,
        sortBy: 'userName',
      })
    ).body;
    const got = await get(
      `/Users?filter=${encodeURIComponent(filter)}&attributes=userName,title&startIndex=1&count=7&sortBy=userName`,
    );
    expect(posted).toEqual(got);
    expect((await usher.scim('POST', '/Users/.search', { count: 0 })).body).toMatchObject({
      totalResults: total,
      Resources: [],
    });
  });
});

describe('attributes and excludedAttributes', () => {
  test('cut the answer of every method, keep id and schemas, and never what is stored', async () => {
    const made = (
      await usher.scim(
        'POST',
        '/Users?attributes=name.givenName',
        scimUser('cut', { name: { givenName: 'G', familyName: 'F' } }),
      )
    ).body;
    expect(made).toEqual({ schemas: expect.any(Array), id: expect.any(String), name: { givenName: 'G' } });
    const patched = await usher.scim(
      'PATCH',
      `/Users/${made.id}?attributes=userName`,
      patchOf({ op: 'add', path: 'title', value: 'x' }),
    );
    expect(Object.keys(patched.body).sort()).toEqual(['id', 'schemas', 'userName']);
    const whole = await get(`/Users/${made.id}`);
    expect(whole).toMatchObject({
      name: { givenName: 'G', familyName: 'F' },
      title: 'x',
      emails: [{ value: 'cut@contoso.com' }],
    });
    expect((await get(`/Users/${made.id}?excludedAttributes=emails,name.familyName,id`)).name).toEqual({
      givenName: 'G',
    });
    await usher.scim('DELETE', `/Users/${made.id}`);
  });

  test('conditions and ready are shown to who asks by name, and move no version', async () => {
    const urn = 'urn:ietf:params:scim:schemas:extension:usher:2.0:User';
    const { id } = (await usher.scim('POST', '/Users', scimUser('asked'))).body;
    const plain = await get(`/Users/${id}`);
    expect(plain[urn]).toBeUndefined();
    const asked = await get(`/Users/${id}?attributes=${urn}:conditions,${urn}:ready,meta`);
    expect(asked[urn]).toMatchObject({
      ready: false,
      conditions: [{ type: 'Profile', status: 'unknown', reason: 'not_checked_yet' }, {}, {}, {}],
    });
    expect(asked.meta).toEqual(plain.meta);
    expect(
      (await usher.scim('PATCH', `/Users/${id}`, patchOf({ op: 'replace', path: `${urn}:ready`, value: true }))).body,
    ).toMatchObject({ status: '400', scimType: 'mutability' });
    await usher.scim('DELETE', `/Users/${id}`);
  });
});

describe('/Bulk', () => {
  const bulk = (Operations: unknown[], more = {}) =>
    usher.scim('POST', '/Bulk', {
      schemas: ['urn:ietf:params:scim:api:messages:2.0:BulkRequest'],
      Operations,
      ...more,
    });

  test('resolves references forwards, backwards and in a circle', async () => {
    const { status, body } = await bulk([
      {
        method: 'POST',
        path: '/Groups',
        bulkId: 'g1',
        data: { displayName: 'One', members: [{ value: 'bulkId:u1' }, { value: 'bulkId:g2' }] },
      },
      {
        method: 'POST',
        path: '/Groups',
        bulkId: 'g2',
        data: { displayName: 'Two', members: [{ value: 'bulkId:g1' }] },
      },
      { method: 'POST', path: '/Users', bulkId: 'u1', data: scimUser('bulk1') },
      { method: 'PATCH', path: '/Users/bulkId:u1', data: patchOf({ op: 'add', path: 'title', value: 'bulk' }) },
    ]);
    expect(status).toBe(200);
    expect(body.Operations.map((operation: { status: string }) => operation.status)).toEqual([
      '201',
      '201',
      '201',
      '200',
    ]);
    const [one, two, user] = body.Operations.map((operation: { location: string }) =>
      operation.location.split('/').at(-1),
    );
    const members = async (id: string) =>
      (await get(`/Groups/${id}`)).members.map((member: { value: string }) => member.value).sort();
    expect(await members(one)).toEqual([user, two].sort());
    expect(await members(two)).toEqual([one]);
    expect((await get(`/Users/${user}`)).title).toBe('bulk');
    await usher.scim('DELETE', `/Users/${user}`);
  });

  test('stops at failOnErrors, tells each error, refuses too much', async () => {
    const bad = { method: 'POST', path: '/Users', bulkId: 'b', data: {} };
    expect((await bulk([bad, bad, bad], { failOnErrors: 2 })).body.Operations).toHaveLength(2);
    expect((await bulk([bad])).body.Operations[0]).toMatchObject({
      status: '400',
      response: { scimType: 'invalidValue' },
    });
    expect((await bulk([{ method: 'PATCH', path: '/Users/bulkId:nobody', data: {} }])).body.Operations[0].status).toBe(
      '400',
    );
    expect((await bulk(Array(1001).fill(bad))).status).toBe(413);
    expect((await bulk([{ method: 'POST', path: '/Nothing', bulkId: 'x', data: {} }])).status).toBe(400);
  });
});

describe('what an admin sees of a source', () => {
  test('each request with what was sent, without the password, by person', async () => {
    const made = await usher.scim('POST', '/Users', scimUser('logged', { password: 'p4ss' }), {
      'x-request-id': 'req-logged-1',
    });
    await usher.scim(
      'PATCH',
      `/Users/${made.body.id}`,
      patchOf({ op: 'replace', path: 'password', value: 'hunter2' }),
      { 'x-request-id': 'req-logged-2' },
    );
    await usher.scim('POST', '/Users', { bad: true });
    const items = await eventually(
      async () => (await usher.api('GET', '/requests?source=scim&limit=10')).body.items,
      (list) => list.some((entry: { body: unknown }) => JSON.stringify(entry.body) === '{"bad":true}'),
    );
    expect(JSON.stringify(items)).not.toMatch(/p4ss|hunter2|test-scim-token/);
    expect(items.find((entry: { requestId: string }) => entry.requestId === 'req-logged-1')).toMatchObject({
      method: 'POST',
      status: 201,
      body: { userName: 'logged@contoso.com', password: '[left out]' },
    });
    expect(items.find((entry: { status: number }) => entry.status === 400).answer).toContain('userName');
    const own = (await usher.api('GET', '/requests?who=logged@contoso.com')).body.items;
    expect(own.map((entry: { requestId: string }) => entry.requestId)).toEqual(['req-logged-1']);
    expect((await usher.api('GET', '/sources')).body.items[0]).toMatchObject({ name: 'scim', kind: 'scim' });
    await usher.scim('DELETE', `/Users/${made.body.id}`);
  });
});

test('two sources see nothing of each other, and one human in both is one person', async () => {
  const two = await startUsher({
    workers: false,
    policy: plainPolicy.replace(
      'sources: [{ name: scim, kind: scim, domains: [contoso.com] }]',
      'sources: [{ name: scim, kind: scim, domains: [contoso.com] }, { name: other, kind: scim, domains: [contoso.com] }, { name: stranger, kind: scim }]',
    ),
  });
  const token = async (source: string) => (await two.api('POST', '/tokens', { source })).body.token;
  const as = async (source: string) => {
    const bearer = await token(source);
    return (method: string, at: string, body?: unknown) =>
      call(`${two.address}/scim/v2${at}`, method, body, {
        authorization: `Bearer ${bearer}`,
        'content-type': 'application/scim+json',
      });
  };
  const [other, stranger] = [await as('other'), await as('stranger')];
  const mine = (await two.scim('POST', '/Users', scimUser('shared'))).body;
  expect((await other('GET', `/Users/${mine.id}`)).status).toBe(404);
  expect((await other('DELETE', `/Users/${mine.id}`)).status).toBe(404);
  const theirs = (await other('POST', '/Users', scimUser('shared', { externalId: 'their-key' }))).body;
  expect(theirs.id).not.toBe(mine.id);
  expect((await other('GET', '/Users')).body.totalResults).toBe(1);
  expect((await two.api('GET', '/summary')).body.people).toBe(1);
  // A source without a claim on the domain takes over nobody.
  await stranger('POST', '/Users', scimUser('shared', { externalId: 'stranger-key' }));
  expect((await two.api('GET', '/summary')).body.people).toBe(2);
  // DELETE from another source only detaches that source.
  expect((await other('DELETE', `/Users/${theirs.id}`)).status).toBe(204);
  expect((await two.api('GET', '/people?source=scim')).body.items[0].lifecycle).toBe('wanted');
  await two.close();
});

test('a source that asks too fast, and somebody who guesses tokens, are told to wait', async () => {
  const slow = await startUsher({
    workers: false,
    policy: plainPolicy.replace('domains: [contoso.com] }]', 'domains: [contoso.com], requestsPerSecond: 3 }]'),
  });
  const answers = await Promise.all(Array.from({ length: 12 }, () => slow.scim('GET', '/Users?count=0')));
  const refused = answers.filter((answer) => answer.status === 429);
  expect(refused.length).toBeGreaterThan(5);
  expect(Number(refused[0]?.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
  expect(refused[0]?.body).toMatchObject({ status: '429' });
  const guesses = await Promise.all(
    Array.from({ length: 40 }, (_one, index) =>
      call(`${slow.address}/scim/v2/Users`, 'GET', undefined, { authorization: `Bearer guess${index}` }),
    ),
  );
  expect(new Set(guesses.map((answer) => answer.status))).toEqual(new Set([401, 429]));
  // Whoever holds a live token at the same address is not kept waiting by that.
  await eventually(
    () => slow.scim('GET', '/Users?count=0'),
    (answer) => answer.status === 200,
  );
  expect(
    (await call(`${slow.address}/api/v1/summary`, 'GET', undefined, { authorization: `Bearer ${adminToken}` })).status,
  ).toBe(200);
  await slow.close();
});
