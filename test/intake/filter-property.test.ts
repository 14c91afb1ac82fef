/** The filter compiler against a plain evaluator in memory: the same filter selects the same users. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { compileFilter } from '../../src/intake/scim/compile-filter.ts';
import { type Filter, parseFilter } from '../../src/intake/scim/filter.ts';
import type { Resource } from '../../src/intake/scim/normalise.ts';
import { type AttributePath, urns, userSchema } from '../../src/intake/scim/schema.ts';
import { type Database, openDatabase } from '../../src/store/database.ts';
import { scimUser, startUsher, type Usher } from '../ground/usher.ts';

let usher: Usher;
let database: Database;
let users: Resource[];
beforeAll(async () => {
  usher = await startUsher({ workers: false });
  const texts = ['a', 'A', 'ab', 'Äb', 'b%', 'b_c', '"q"', 'x y', ''];
  for (let index = 0; index < 24; index++) {
    await usher.scim('POST', '/Users', {
      ...scimUser(`u${index}`),
      ...(index % 4 ? { title: texts[index % texts.length] } : {}),
      ...(index % 3 ? { nickName: texts[(index * 5) % texts.length] } : {}),
      active: index % 5 !== 0,
      emails:
        index % 6 === 0
          ? []
          : [
              { type: index % 2 ? 'work' : 'Home', value: `u${index}@contoso.com`, primary: true },
              ...(index % 7 ? [] : [{ type: 'other', value: `second${index}@contoso.com` }]),
            ],
      ...(index % 2
        ? { [urns.enterprise]: { department: texts[index % texts.length], manager: { value: `m${index % 3}` } } }
        : {}),
    });
  }
  users = (await usher.scim('GET', '/Users?count=200')).body.Resources;
  database = openDatabase(usher.databaseUrl, { onError: () => undefined });
});
afterAll(async () => {
  await database.close();
  await usher.close();
});

const fold = (value: unknown, exact: boolean) => (exact ? String(value) : String(value).toLowerCase());

/** Written down as the RFC says it, without a thought of SQL. */
function evaluate(filter: Filter, holder: Resource, inside: boolean): boolean {
  switch (filter.kind) {
    case 'and':
      return filter.terms.every((term) => evaluate(term, holder, inside));
    case 'or':
      return filter.terms.some((term) => evaluate(term, holder, inside));
    case 'not':
      return !evaluate(filter.term, holder, inside);
    case 'values':
      return valuesOf(filter.path, holder, false).some((value) => evaluate(filter.filter, value as Resource, true));
    case 'present':
      return valuesOf(filter.path, holder, !inside && filter.path.sub !== null).some(
        (value) => value !== undefined && value !== '' && !(Array.isArray(value) && value.length === 0),
      );
    case 'compare': {
      const values = valuesOf(filter.path, holder, true).filter((value) => value !== undefined);
      const { attribute, sub } = filter.path;
      const list = !inside && attribute?.multiValued;
      if (values.length === 0) return filter.operator === 'ne' && !list;
      return values.some((value) => {
        const exact =
          (
            sub ??
            (attribute?.type === 'complex'
              ? attribute.subAttributes.find((entry) => entry.name === 'value')
              : attribute)
          )?.caseExact ?? false;
        const [left, right] = [fold(value, exact), fold(filter.value, exact)];
        if (filter.operator === 'eq') return left === right;
        if (filter.operator === 'ne') return left !== right;
        if (filter.operator === 'co') return left.includes(right);
        if (filter.operator === 'sw') return left.startsWith(right);
        return left.endsWith(right);
      });
    }
  }
}

function valuesOf({ extension, attribute, sub }: AttributePath, holder: Resource, leaf: boolean): unknown[] {
  const from = extension ? ((holder[extension] ?? {}) as Resource) : holder;
  const value = from[attribute?.name ?? ''];
  const list = Array.isArray(value) ? value : value === undefined ? [] : [value];
  if (sub) return list.map((entry) => (entry as Resource)[sub.name]);
  return leaf && attribute?.type === 'complex' ? list.map((entry) => (entry as Resource).value) : list;
}

const text = fc.constantFrom(
  'a',
  'A',
  'ab',
  'äB',
  'b%',
  '%',
  '_',
  '"q"',
  'x y',
  'u1',
  'U11@CONTOSO.COM',
  'contoso',
  'm1',
  'work',
  'HOME',
);
const operator = fc.constantFrom('eq', 'ne', 'co', 'sw', 'ew', 'EQ', 'Co');
const compare = (names: string[]) =>
  fc
    .tuple(fc.constantFrom(...names), operator, text)
    .map(([name, op, value]) => `${name} ${op} ${JSON.stringify(value)}`);
const plain = [
  'userName',
  'USERNAME',
  'title',
  'nickName',
  'displayName',
  'emails',
  'emails.value',
  'emails.type',
  'externalId',
  `${urns.enterprise}:department`,
  `${urns.enterprise}:manager`,
  `${urns.user}:title`,
];
const { filter } = fc.letrec<{ filter: string; inner: string }>((tie) => ({
  inner: fc.oneof(
    { depthSize: 'small' },
    compare(['type', 'value']),
    fc.constant('primary eq true'),
    fc.tuple(tie('inner'), fc.constantFrom('and', 'or'), tie('inner')).map(([a, word, b]) => `${a} ${word} ${b}`),
    tie('inner').map((inner) => `not (${inner})`),
  ),
  filter: fc.oneof(
    { depthSize: 'small' },
    compare(plain),
    fc.constantFrom('active eq true', 'active ne false', 'title pr', 'nickName pr', 'emails pr', 'not (title pr)'),
    tie('inner').map((inner) => `emails[${inner}]`),
    fc
      .tuple(tie('filter'), fc.constantFrom('and', 'or', 'OR'), tie('filter'))
      .map(([a, word, b]) => `${a} ${word} ${b}`),
    tie('filter').map((inner) => `(${inner})`),
    tie('filter').map((inner) => `not (${inner})`),
  ),
}));

test('selects the same users as a plain evaluator', async () => {
  await fc.assert(
    fc.asyncProperty(filter, async (candidate) => {
      const parsed = parseFilter(candidate, userSchema);
      const compiled = compileFilter(parsed);
      const { rows } = await database.pool.query<{ resource_id: string }>(
        `select resource_id from directory_users u where ${compiled.sql}`,
        compiled.parameters,
      );
      const expected = users.filter((user) => evaluate(parsed, user, false)).map((user) => user.id);
      expect(rows.map((row) => row.resource_id).sort()).toEqual(expected.sort());
    }),
    { numRuns: 400 },
  );
}, 60_000);
