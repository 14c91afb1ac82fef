import { connect } from 'node:net';
import { brotliCompressSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { type Answer, call, eventually, scimToken, scimUser, someId, startUsher, type Usher } from '../ground/usher.ts';

let usher: Usher;
beforeAll(async () => {
  usher = await startUsher({ workers: false });
});
afterAll(() => usher.close());

const patchOf = (...operations: unknown[]) => ({
  schemas: ['urn:ietf:params:scim:api:messages:2.0:PatchOp'],
  Operations: operations,
});

function expectScimError(answer: Answer, status: number, scimType?: string): void {
  expect({
    status: answer.status,
    type: answer.headers.get('content-type')?.split(';')[0],
    body: answer.body,
  }).toMatchObject({
    status,
    type: 'application/scim+json',
    body: {
      schemas: ['urn:ietf:params:scim:api:messages:2.0:Error'],
      status: String(status),
      ...(scimType ? { scimType } : {}),
    },
  });
  if (!scimType) expect(answer.body).not.toHaveProperty('scimType');
  expect(answer.body.detail.length).toBeGreaterThan(10);
}

describe('without a valid token', () => {
  const bare = (headers: Record<string, string>, body?: unknown) =>
    call(`${usher.address}/scim/v2/Users`, body === undefined ? 'GET' : 'POST', body, headers);

  test.each([
    ['none', {}],
    ['another scheme', { authorization: 'Basic dXNlcjpwYXNz' }],
    ['an empty one', { authorization: 'Bearer ' }],
    ['a wrong one', { authorization: 'Bearer wrong' }],
    ['one that is nearly right', { authorization: `Bearer ${scimToken}x` }],
  ])('%s is answered with 401 and WWW-Authenticate', async (_name, headers) => {
    const answer = await bare(headers);
    expectScimError(answer, 401);
    expect(answer.headers.get('www-authenticate')).toContain('Bearer');
  });

  test('the token is judged before the body is read', async () => {
    expectScimError(
      await bare({ authorization: 'Bearer wrong', 'content-type': 'application/scim+json' }, '{ broken'),
      401,
    );
  });

  test('an admin token opens no SCIM, and a SCIM token no API', async () => {
    expectScimError(await bare({ authorization: 'Bearer test-admin-token-0123456789' }), 401);
    const answer = await call(`${usher.address}/api/v1/people`, 'GET', undefined, {
      authorization: `Bearer ${scimToken}`,
    });
    expect(answer.status).toBe(401);
    expect(answer.headers.get('content-type')).toContain('application/problem+json');
    expect(answer.body).toMatchObject({ code: 'unauthorized', status: 401 });
  });

  test('the only admin token is not revoked: nobody could administer any more', async () => {
    const { items } = (await usher.api('GET', '/tokens')).body;
    const admin = items.find((token: { kind: string }) => token.kind === 'admin');
    const refused = await usher.api('DELETE', `/tokens/${admin.tokenId}`);
    expect(refused.status).toBe(409);
    expect(refused.body.detail).toContain('the only admin token');
    expect((await usher.api('GET', '/tokens')).status).toBe(200);
  });

  test('a revoked token is dead at once', async () => {
    const made = (await usher.api('POST', '/tokens', { source: 'scim', label: 'to be revoked' })).body;
    const mine = () => bare({ authorization: `Bearer ${made.token}` });
    expect((await mine()).status).toBe(200);
    expect((await usher.api('DELETE', `/tokens/${made.tokenId}`)).status).toBe(204);
    expectScimError(await mine(), 401);
  });

  test('the database holds no token, only its hash', async () => {
    const { default: pg } = await import('pg');
    const client = new pg.Client({ connectionString: usher.databaseUrl });
    await client.connect();
    const { rows } = await client.query('select * from tokens');
    await client.end();
    expect(JSON.stringify(rows)).not.toContain(scimToken);
    expect(rows[0].hash).toMatch(/^[0-9a-f]{64}$/);
  });
});

describe('bodies that can not be taken', () => {
  test.each([
    ['broken JSON', '{"userName": ', 400, 'invalidSyntax'],
    ['a list', '[]', 400, 'invalidSyntax'],
    ['a text', '"x"', 400, 'invalidSyntax'],
    ['null', 'null', 400, 'invalidSyntax'],
    ['an empty body', '', 400, 'invalidSyntax'],
    ['no userName', { displayName: 'x' }, 400, 'invalidValue'],
    ['an empty userName', scimUser('x', { userName: '  ' }), 400, 'invalidValue'],
    ['a number as userName', scimUser('x', { userName: 5 }), 400, 'invalidValue'],
    ['a text as emails', scimUser('x', { emails: 5 }), 400, 'invalidValue'],
    ['an object as active', scimUser('x', { active: {} }), 400, 'invalidValue'],
    ['"yes" as active', scimUser('x', { active: 'yes' }), 400, 'invalidValue'],
    ['a list as name', scimUser('x', { name: ['a', 'b'] }), 400, 'invalidValue'],
    ['an over-long userName', scimUser('x', { userName: 'x'.repeat(513) }), 400, 'invalidValue'],
    ['an over-long displayName', scimUser('x', { displayName: 'x'.repeat(4097) }), 400, 'invalidValue'],
    ['U+0000', scimUser('x', { displayName: 'a\u0000b' }), 400, 'invalidValue'],
  ])('%s', async (_name, body, status, scimType) => {
    expectScimError(await usher.scim('POST', '/Users', body), status, scimType);
  });

  test('a body over 1 MB is refused, naming the limit, and the server goes on', async () => {
    const answer = await usher.scim(
      'POST',
      '/Users',
      JSON.stringify(scimUser('x', { displayName: 'x'.repeat(1_100_000) })),
    );
    expectScimError(answer, 413);
    expect(answer.body.detail).toContain('1048576');
    expect((await usher.scim('GET', '/Users?count=0')).status).toBe(200);
  });

  test.each(['text/plain', 'application/xml', 'application/scim+json; charset=latin1'])(
    'content type %s is refused',
    async (type) => {
      expectScimError(await usher.scim('POST', '/Users', scimUser('x'), { 'content-type': type }), 415);
    },
  );

  test('deeply nested JSON neither hangs nor fails the server', async () => {
    const deep = `{"userName":"deep@contoso.com","name":${'{"a":'.repeat(50_000)}1${'}'.repeat(50_000)}}`;
    expectScimError(await usher.scim('POST', '/Users', deep), 400, 'invalidSyntax');
  });

  test('__proto__ in a body pollutes nothing', async () => {
    const answer = await usher.scim(
      'POST',
      '/Users',
      '{"userName":"proto@contoso.com","__proto__":{"polluted":true},"name":{"__proto__":{"polluted":true},"givenName":"P"}}',
    );
    expect(answer.status).toBe(201);
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
    expect(JSON.stringify(answer.body)).not.toContain('polluted');
  });
});

describe('queries that can not be taken', () => {
  test.each([
    ['an unknown operator', 'userName xx "a"'],
    ['a missing value', 'userName eq'],
    ['an unknown attribute', 'shoeSize eq "5"'],
    ['a missing parenthesis', '(userName eq "a"'],
    ['something left over', 'userName eq "a" userName eq "b"'],
    ['an open quote', 'userName eq "a'],
    ['gt on a boolean', 'active gt true'],
    ['nested too deep', `${'('.repeat(5000)}userName eq "a"${')'.repeat(5000)}`],
    ['too many terms', Array(2000).fill('id pr').join(' or ')],
  ])('%s', async (_name, filter) => {
    expectScimError(await usher.scim('GET', `/Users?filter=${encodeURIComponent(filter)}`), 400, 'invalidFilter');
  });

  test('a count that is no number', async () => {
    expectScimError(await usher.scim('GET', '/Users?count=many'), 400, 'invalidValue');
  });

  test('the filter that kills a stock parser is answered at once', async () => {
    const bomb = `userName eq "${'\\a'.repeat(28)}`;
    expectScimError(await usher.scim('GET', `/Users?filter=${encodeURIComponent(bomb)}`), 400, 'invalidFilter');
    const wide = Array(24).fill('(userName eq "a" or userName eq "b")').join(' and ');
    expect((await usher.scim('GET', `/Users?filter=${encodeURIComponent(wide)}`)).status).toBe(200);
  });
});

describe('what does not exist or is not allowed', () => {
  test.each(['GET', 'PUT', 'PATCH', 'DELETE'])('%s of an unknown user is 404', async (method) => {
    const body =
      method === 'PUT'
        ? scimUser('x')
        : method === 'PATCH'
          ? patchOf({ op: 'replace', path: 'title', value: 'x' })
          : undefined;
    expectScimError(await usher.scim(method, `/Users/${someId()}`, body), 404);
    expectScimError(await usher.scim(method, '/Users/not-a-uuid', body), 404);
  });

  test('a taken userName is 409 uniqueness, in any letter case', async () => {
    expect((await usher.scim('POST', '/Users', scimUser('taken'))).status).toBe(201);
    expectScimError(await usher.scim('POST', '/Users', scimUser('TAKEN', { externalId: 'other' })), 409, 'uniqueness');
    expectScimError(
      await usher.scim('POST', '/Users', scimUser('another', { externalId: 'external-taken' })),
      409,
      'uniqueness',
    );
    const id = (await usher.scim('POST', '/Users', scimUser('second'))).body.id;
    expectScimError(
      await usher.scim(
        'PATCH',
        `/Users/${id}`,
        patchOf({ op: 'replace', path: 'userName', value: 'Taken@contoso.com' }),
      ),
      409,
      'uniqueness',
    );
    expectScimError(
      await usher.scim('PUT', `/Users/${id}`, scimUser('taken', { externalId: 'external-second' })),
      409,
      'uniqueness',
    );
  });

  test('of many creates of one userName at once, one wins', async () => {
    const answers = await Promise.all(
      Array.from({ length: 12 }, () => usher.scim('POST', '/Users', scimUser('race', { externalId: null }))),
    );
    expect(answers.map((answer) => answer.status).sort()).toEqual([201, ...Array(11).fill(409)]);
  });

  test('wrong methods and unknown endpoints', async () => {
    const answer = await usher.scim('DELETE', '/Users');
    expectScimError(answer, 405);
    expect(answer.headers.get('allow')).toBe('GET, POST');
    expectScimError(await usher.scim('POST', '/.search', {}), 501);
    expectScimError(await usher.scim('GET', '/Nothing'), 404);
    expectScimError(await usher.scim('GET', '/Me'), 501);
    expectScimError(await usher.scim('GET', '/Schemas?filter=x'), 403);
  });

  test('a PATCH that fails half-way changes nothing', async () => {
    const made = (await usher.scim('POST', '/Users', scimUser('atomic'))).body;
    const answer = await usher.scim(
      'PATCH',
      `/Users/${made.id}`,
      patchOf({ op: 'replace', path: 'title', value: 'changed' }, { op: 'replace', path: 'id', value: 'mine' }),
    );
    expectScimError(answer, 400, 'mutability');
    expect((await usher.scim('GET', `/Users/${made.id}`)).body).toEqual(made);
  });

  test('parallel PATCHes of one user all land', async () => {
    const { id } = (await usher.scim('POST', '/Users', scimUser('parallel'))).body;
    const attributes = ['title', 'nickName', 'locale', 'preferredLanguage', 'userType', 'timezone'];
    const answers = await Promise.all(
      attributes.map((path) => usher.scim('PATCH', `/Users/${id}`, patchOf({ op: 'add', path, value: path }))),
    );
    expect(answers.map((answer) => answer.status)).toEqual(attributes.map(() => 200));
    const { body } = await usher.scim('GET', `/Users/${id}`);
    expect(attributes.map((path) => body[path])).toEqual(attributes);
    expect(body.meta.version).toBe('W/"7"');
  });

  test('a stale If-Match is 412 and changes nothing', async () => {
    const { id, meta } = (await usher.scim('POST', '/Users', scimUser('stale'))).body;
    const change = (value: string, version: string) =>
      usher.scim('PATCH', `/Users/${id}`, patchOf({ op: 'replace', path: 'title', value }), { 'if-match': version });
    expect((await change('first', meta.version)).status).toBe(200);
    expectScimError(await change('second', meta.version), 412);
    expect((await usher.scim('GET', `/Users/${id}`)).body.title).toBe('first');
    expect((await usher.scim('GET', `/Users/${id}`, undefined, { 'if-none-match': 'W/"2"' })).status).toBe(304);
  });
});

test('a paused source is told to come again, and nothing is swallowed', async () => {
  await usher.api('POST', '/sources/scim/pause');
  const answer = await usher.scim('POST', '/Users', scimUser('paused'));
  expectScimError(answer, 503);
  expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
  await usher.api('POST', '/sources/scim/resume');
  expect((await usher.scim('POST', '/Users', scimUser('paused'))).status).toBe(201);
});

/** Bytes as they are, over a connection of their own; the whole answer as text. */
async function raw(text: string | Buffer): Promise<string> {
  const { hostname, port } = new URL(usher.address);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => socket.write(text));
    let answer = '';
    socket.setTimeout(5000, () => socket.destroy());
    socket.on('data', (chunk) => {
      answer += String(chunk);
      if (/\r\n\r\n/.test(answer)) socket.end();
    });
    socket.on('close', () => resolve(answer));
    socket.on('error', reject);
  });
}

describe('over plain HTTP', () => {
  const head = `authorization: Bearer ${scimToken}\r\nhost: usher\r\n`;

  test('the absolute form of an address is the same request', async () => {
    expect(await raw(`GET http://usher/scim/v2/Users?count=0 HTTP/1.1\r\n${head}\r\n`)).toMatch(/^HTTP\/1.1 200/);
  });

  test('a method that is not allowed is 405 with Allow, whatever body it has or has not', async () => {
    for (const [method, at] of [
      ['OPTIONS', '/Users'],
      ['POST', '/ServiceProviderConfig'],
      ['PUT', '/Users'],
    ] as const) {
      const answer = await usher.scim(method, at);
      expectScimError(answer, 405);
      expect(answer.headers.get('allow')).toMatch(/GET/);
    }
    expectScimError(await usher.scim('POST', '/Nope'), 404);
  });

  test('a small body that unpacks without end is refused', async () => {
    const bomb = brotliCompressSync(Buffer.alloc(64_000_000, ' '));
    const answers = await Promise.all(
      Array.from({ length: 5 }, () =>
        raw(
          Buffer.concat([
            Buffer.from(
              `POST /scim/v2/Users HTTP/1.1\r\n${head}content-type: application/json\r\ncontent-encoding: br\r\ncontent-length: ${bomb.length}\r\n\r\n`,
            ),
            bomb,
          ]),
        ),
      ),
    );
    for (const answer of answers) expect(answer).toMatch(/^HTTP\/1.1 413/);
  });

  test('text that is no UTF-8 is refused', async () => {
    const body = Buffer.concat([Buffer.from('{"userName":"'), Buffer.from([0xff, 0xfe]), Buffer.from('"}')]);
    const answer = await raw(
      Buffer.concat([
        Buffer.from(
          `POST /scim/v2/Users HTTP/1.1\r\n${head}content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`,
        ),
        body,
      ]),
    );
    expect(answer).toMatch(/^HTTP\/1.1 400/);
  });
});

describe('the request log', () => {
  const logged = async (id: string) =>
    (await usher.api('GET', '/requests?limit=500')).body.items.find(
      (request: { requestId: string }) => request.requestId === id,
    );

  test('keeps the neighbours of a request that holds what can not be stored', async () => {
    await Promise.all([
      usher.scim('GET', '/Users/%00', undefined, { 'x-request-id': 'spoiled' }),
      usher.scim('POST', '/Users', scimUser('beside.a.nul'), { 'x-request-id': 'beside' }),
      usher.scim(
        'POST',
        '/Users',
        { ...scimUser('with.a.nul'), nothingOfOurs: 'a\u0000b' },
        { 'x-request-id': 'inside' },
      ),
    ]);
    for (const id of ['spoiled', 'beside', 'inside'])
      await eventually(
        () => logged(id),
        (entry) => entry !== undefined,
      );
  });

  test('shows no password, however it is spelt', async () => {
    const { body } = await usher.scim('POST', '/Users', scimUser('has.password'));
    const secret = 'Correct-Horse-9';
    await usher.scim('PATCH', `/Users/${body.id}`, patchOf({ Op: 'Replace', Path: 'Password', Value: secret }), {
      'x-request-id': 'pw-1',
    });
    const asked = await usher.scim('GET', `/Users?filter=${encodeURIComponent(`password eq "${secret}"`)}`, undefined, {
      'x-request-id': 'pw-2',
    });
    expectScimError(asked, 403, 'sensitive');
    await usher.scim('POST', '/Users/.search', { filter: `password sw "${secret}"` }, { 'x-request-id': 'pw-3' });
    for (const id of ['pw-1', 'pw-2', 'pw-3']) {
      const entry = await eventually(
        () => logged(id),
        (found) => found !== undefined,
      );
      expect(JSON.stringify(entry)).not.toContain(secret);
    }
  });
});

describe('what one request may cost', () => {
  test('a PATCH whose filters compare too much is refused before it compares', async () => {
    const { body } = await usher.scim('POST', '/Users', {
      ...scimUser('many.values'),
      emails: Array.from({ length: 200 }, (_one, n) => ({
        type: 'other',
        value: `${'x'.repeat(500)}${n}@contoso.com`,
      })),
    });
    const path = `emails[${Array.from({ length: 200 }, () => 'value co "q"').join(' or ')}]`;
    expectScimError(
      await usher.scim('PATCH', `/Users/${body.id}`, patchOf(...Array(200).fill({ op: 'remove', path }))),
      400,
      'tooMany',
    );
  });

  test('an object of thousands of attributes is refused', async () => {
    const many = Object.fromEntries(Array.from({ length: 5000 }, (_one, n) => [`k${n}`, 1]));
    expectScimError(await usher.scim('POST', '/Users', { ...scimUser('many.keys'), ...many }), 400, 'tooMany');
  });
});

test('fifty PATCHes of one user at once all land', async () => {
  const { body } = await usher.scim('POST', '/Users', scimUser('fifty.patches'));
  const answers = await Promise.all(
    Array.from({ length: 50 }, (_one, n) =>
      usher.scim(
        'PATCH',
        `/Users/${body.id}`,
        patchOf({ op: 'add', path: 'emails', value: [{ type: 'other', value: `e${n}@contoso.com` }] }),
      ),
    ),
  );
  expect(answers.map((answer) => answer.status)).toEqual(Array(50).fill(200));
  expect((await usher.scim('GET', `/Users/${body.id}`)).body.emails.length).toBeGreaterThanOrEqual(50);
});

test('a connection that breaks inside a change of a group is 503, and the process goes on', async () => {
  const { body: group } = await usher.scim('POST', '/Groups', {
    schemas: ['urn:ietf:params:scim:schemas:core:2.0:Group'],
    displayName: 'Broken off',
  });
  const other = new pg.Client({ connectionString: usher.databaseUrl });
  await other.connect();
  await other.query('begin');
  await other.query('select 1 from groups where group_id = $1 for update', [group.id]);
  const waiting = usher.scim(
    'PATCH',
    `/Groups/${group.id}`,
    patchOf({ op: 'replace', path: 'displayName', value: 'Anew' }),
  );
  await eventually(
    async () =>
      (
        await other.query(
          `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
        )
      ).rowCount,
    (count) => (count ?? 0) > 0,
  );
  const answer = await waiting;
  expectScimError(answer, 503);
  expect(answer.headers.get('retry-after')).not.toBeNull();
  await other.query('rollback');
  await other.end();
  expect((await usher.scim('GET', '/Groups?count=1')).status).toBe(200);
});

test('a user whose row is held does not hold up the others', async () => {
  const { body } = await usher.scim('POST', '/Users', scimUser('held.row'));
  const other = new pg.Client({ connectionString: usher.databaseUrl });
  await other.connect();
  await other.query('begin');
  await other.query(
    'select 1 from people where person_id = (select person_id from directory_users where resource_id = $1) for update',
    [body.id],
  );
  let held = true;
  const waiting = usher
    .scim('PATCH', `/Users/${body.id}`, patchOf({ op: 'replace', path: 'displayName', value: 'Later' }))
    .finally(() => {
      held = false;
    });
  const beside = await Promise.all(
    Array.from({ length: 16 }, (_one, n) => usher.scim('POST', '/Users', scimUser(`beside.held.${n}`))),
  );
  expect(beside.map((answer) => answer.status)).toEqual(Array(16).fill(201));
  expect(held).toBe(true);
  await other.query('rollback');
  await other.end();
  expect((await waiting).status).toBe(200);
});
