/** The API described: the document is valid, every address of it answers, and the answers are of the shape that it says. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { call, eventually, scimUser, startUsher, type Usher } from '../ground/usher.ts';

interface Operation {
  operationId: string;
  responses: Record<string, { content?: Record<string, { schema: object }> }>;
  parameters: { name: string; in: string }[];
}

let usher: Usher;
let document: { paths: Record<string, Record<string, Operation>> };

beforeAll(async () => {
  usher = await startUsher();
  document = (await call(`${usher.address}/openapi.json`, 'GET', undefined, {})).body;
  await usher.scim('POST', '/Users', scimUser('ana.ruiz'));
  await eventually(
    async () => (await usher.api('GET', '/people/ana.ruiz@contoso.com')).body,
    (body) => body.accountUserId !== null,
  );
});
afterAll(() => usher.close());

test('the document is valid OpenAPI 3.1, and every operation has a name of its own', async () => {
  const result = await new Validator().validate(structuredClone(document) as unknown as Record<string, unknown>);
  expect(result.errors ?? []).toEqual([]);
  expect(result.valid).toBe(true);
  const ids = Object.values(document.paths).flatMap((path) =>
    Object.values(path).map((operation) => operation.operationId),
  );
  expect(new Set(ids).size).toBe(ids.length);
});

test('every list and every thing that can be read answers in the shape that the document says', async () => {
  const person = (await usher.api('GET', '/people/ana.ruiz@contoso.com')).body;
  await usher.api('POST', '/account/booking-pages', { linkName: 'described', ownerId: person.accountUserId });
  const page = (await usher.api('GET', '/account/booking-pages?filter=described')).body.items[0];
  const values: Record<string, string> = {
    who: person.personId,
    accountUserId: person.accountUserId,
    pageId: page.pageId,
    kind: 'scheduled-meetings',
  };
  // More fields may stand beside those that are said; the formats are the fields' own business.
  const ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true });
  let looked = 0;
  for (const [path, operations] of Object.entries(document.paths)) {
    const operation = operations.get;
    const names = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1] ?? '');
    // What needs a thing that is not here (a run, a provision, a polled source), is nobody else's to read, or never ends.
    if (!operation || names.some((name) => !(name in values)) || /\/(integrations|events)$/.test(path)) continue;
    const at = path.replace('/api/v1', '').replace(/\{(\w+)\}/g, (_all, name: string) => values[name] ?? '');
    const answer = await usher.api('GET', at);
    expect([at, answer.status]).toEqual([at, 200]);
    const schema = operation.responses['200']?.content?.['application/json']?.schema;
    if (!schema) continue;
    const validate = ajv.compile(schema);
    validate(answer.body);
    expect([at, validate.errors ?? []]).toEqual([at, []]);
    looked += 1;
  }
  expect(looked).toBeGreaterThan(20);
});

test('nothing of the API answers without a token or a session, and /docs names every address', async () => {
  const docs = await (await fetch(`${usher.address}/docs`)).text();
  for (const [path, operations] of Object.entries(document.paths)) {
    if (path !== '/api/v1/session') expect(docs).toContain(path);
    for (const method of Object.keys(operations)) {
      const at = path.replace(/\{\w+\}/g, 'x');
      const answer = await call(`${usher.address}${at}`, method.toUpperCase(), undefined, {});
      if (!(path === '/api/v1/session' && method === 'post'))
        expect([method, at, answer.status]).toEqual([method, at, 401]);
    }
  }
});
