import { describe, expect, test } from '@jest/globals';
import { compileFilter } from '../../src/intake/scim/compile-filter.ts';
import { parseFilter, parsePatchPath } from '../../src/intake/scim/filter.ts';
import { userSchema } from '../../src/intake/scim/schema.ts';

const sql = (text: string) => compileFilter(parseFilter(text, userSchema));

describe('a filter', () => {
  test.each([
    ['userName eq "Ana@Contoso.com"', '$1', ['ana@contoso.com']],
    ['USERNAME EQ "x"', 'u.user_name_key', ['x']],
    ['externalId eq jyoung', 'u.external_id', ['jyoung']],
    ['active eq "True"', 'u.active', [true]],
    ['userName sw "100%_"', 'like', ['100\\%\\_%']],
    ['nickName co "a\\"b\\u0063"', 'nickName', ['%a"bc%']],
    ['displayName eq "ANA"', 'u.display_key', ['ana']],
    ['urn:ietf:params:scim:schemas:core:2.0:User:userName eq "x"', 'u.user_name_key', ['x']],
    ['urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department eq "D"', 'department', ['D']],
    ['emails[type eq "work" and value co "@contoso.com"]', 'jsonb_array_elements', ['work', '%@contoso.com%']],
    ['emails[type eq "work"].value eq "a@b"', 'jsonb_array_elements', ['a@b', 'work', 'a@b']],
    ['meta.lastModified gt "2026-01-01T00:00:00Z"', 'last_modified_at', ['2026-01-01T00:00:00.000Z']],
  ])('%s is SQL with its values beside it', (text, part, parameters) => {
    const compiled = sql(text);
    expect(compiled.sql).toContain(part);
    expect(compiled.parameters).toEqual(parameters);
  });

  test('not goes before and, and before or', () => {
    const filter = parseFilter('not (active eq true) and title pr or userName eq "x"', userSchema);
    expect(filter).toMatchObject({
      kind: 'or',
      terms: [{ kind: 'and', terms: [{ kind: 'not' }, { kind: 'present' }] }, { kind: 'compare' }],
    });
  });

  test('words and brackets inside quotes are text', () => {
    expect(sql('displayName eq "a) or (b] and \\"c"').parameters).toEqual(['a) or (b] and "c']);
  });

  test('a value never becomes part of the SQL', () => {
    const evil = `x'); drop table people; --`;
    const compiled = sql(`displayName eq ${JSON.stringify(evil)}`);
    expect(compiled.sql).not.toContain('drop');
    expect(compiled.parameters).toEqual([evil]);
  });

  // A parser that backtracks or branches does not come back from these; the test's own time-out would end it.
  test.each([
    ['escapes without an end', `userName eq "${'\\a'.repeat(4000)}`],
    ['open parentheses', '('.repeat(8000)],
    ['a chain of not', `${'not '.repeat(2000)}active eq true`],
    ['backslashes', `userName eq "${'\\'.repeat(8001)}`],
    ['dots', 'a.'.repeat(4000)],
    ['brackets', `emails[${'['.repeat(4000)}`],
  ])('of hostile make is refused: %s', (_name, text) => {
    expect(() => parseFilter(text, userSchema)).toThrow();
  });
});

test('a PATCH path names attribute, filter and part', () => {
  expect(parsePatchPath('addresses[type eq "work"].locality', userSchema)).toMatchObject({
    path: { attribute: { name: 'addresses' } },
    filter: { kind: 'compare' },
    sub: { name: 'locality' },
  });
});
