import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { normaliseResource, type Resource } from '../../src/intake/scim/normalise.ts';
import { applyPatch, type Operation, readOperations } from '../../src/intake/scim/patch.ts';
import { urns, userSchema } from '../../src/intake/scim/schema.ts';

const base = (): Resource => ({
  userName: 'ana@contoso.com',
  displayName: 'Ana',
  active: true,
  name: { givenName: 'Ana', familyName: 'Ruiz' },
  emails: [{ type: 'work', value: 'ana@contoso.com', primary: true }],
});
const operations = (...list: unknown[]): Operation[] =>
  readOperations({ schemas: [urns.patchOp], Operations: list }, 500);
const patch = (...list: unknown[]): Resource => applyPatch(base(), operations(...list), userSchema).resource;
const codeOf = (work: () => unknown): string => {
  try {
    work();
    return 'no error';
  } catch (error) {
    return (error as { code: string }).code;
  }
};

describe('the habits of identity providers', () => {
  test('operations in any case, "False" as a text (Entra ID)', () => {
    expect(patch({ op: 'Replace', path: 'active', value: 'False' }).active).toBe(false);
    expect(patch({ OP: 'ADD', PATH: 'ACTIVE', VALUE: 'true' }).active).toBe(true);
  });
  test('a value path creates its entry, by add and by replace (Entra ID)', () => {
    for (const op of ['Add', 'Replace']) {
      expect(patch({ op, path: 'phoneNumbers[type eq "mobile"].value', value: '+1' }).phoneNumbers).toEqual([
        { type: 'mobile', value: '+1' },
      ]);
      expect(patch({ op, path: 'addresses[type eq "work"].locality', value: 'Köln' }).addresses).toEqual([
        { type: 'work', locality: 'Köln' },
      ]);
      expect(patch({ op, path: 'roles[primary eq "True"].value', value: 'x' }).roles).toEqual([
        { primary: true, value: 'x' },
      ]);
    }
    expect(patch({ op: 'Replace', path: 'emails[type eq "WORK"].value', value: 'new@contoso.com' }).emails).toEqual([
      { type: 'work', value: 'new@contoso.com', primary: true },
    ]);
  });
  test('dotted and URN keys without a path (Entra ID with its flag)', () => {
    const result = patch({
      op: 'replace',
      value: {
        'name.givenName': 'Anna',
        [`${urns.enterprise}:department`]: 'Sales',
        displayName: 'Anna',
        id: 'ignored',
      },
    });
    expect(result).toMatchObject({
      name: { givenName: 'Anna', familyName: 'Ruiz' },
      displayName: 'Anna',
      [urns.enterprise]: { department: 'Sales' },
    });
    expect(result.id).toBeUndefined();
  });
  test('the manager as a text, an object or a list of one (Entra ID)', () => {
    for (const value of ['m1', { value: 'm1' }, [{ $ref: null, value: 'm1' }]]) {
      expect(patch({ op: 'Add', path: `${urns.enterprise}:manager`, value })[urns.enterprise]).toEqual({
        manager: { value: 'm1' },
      });
    }
    expect(
      applyPatch(
        { ...base(), [urns.enterprise]: { manager: { value: 'm1' } } },
        operations({ op: 'Remove', path: `${urns.enterprise}:manager` }),
        userSchema,
      ).resource[urns.enterprise],
    ).toBeUndefined();
  });
  test('a role as JSON in a text (Entra ID)', () => {
    expect(
      patch({ op: 'Add', path: 'roles', value: [{ value: '{"id":"1","value":"Admin","displayName":"Admin"}' }] }).roles,
    ).toHaveLength(1);
    expect(patch({ op: 'Add', path: 'roles', value: '{"value":"Admin","displayName":"Administrator"}' }).roles).toEqual(
      [{ value: 'Admin', display: 'Administrator' }],
    );
  });
  test('no path and only active (Okta)', () => {
    expect(patch({ op: 'replace', value: { active: false } }).active).toBe(false);
  });
  test('removal by a value list takes those values and no others (Entra ID)', () => {
    const two = {
      ...base(),
      emails: [
        { type: 'work', value: 'a' },
        { type: 'home', value: 'b' },
      ],
    };
    const remove = (value: unknown) =>
      applyPatch(two, operations({ op: 'Remove', path: 'emails', value }), userSchema).resource.emails;
    expect(remove([{ $ref: null, value: 'a' }])).toEqual([{ type: 'home', value: 'b' }]);
    expect(remove([])).toHaveLength(2);
    expect(remove([{ value: 'nobody' }])).toHaveLength(2);
  });
  test('an empty list of operations changes nothing (Microsoft validator)', () => {
    expect(applyPatch(base(), operations(), userSchema).changed).toBe(false);
  });
});

describe('RFC 7644 section 3.5.2', () => {
  test('add appends what is not there, and what is there changes nothing', () => {
    expect(patch({ op: 'add', path: 'emails', value: [{ type: 'home', value: 'h@x' }] }).emails).toHaveLength(2);
    expect(
      applyPatch(
        base(),
        operations({ op: 'add', path: 'emails', value: [{ type: 'work', value: 'ana@contoso.com', primary: true }] }),
        userSchema,
      ).changed,
    ).toBe(false);
  });
  test('replace without a filter replaces the whole list, also without a path', () => {
    expect(patch({ op: 'replace', path: 'emails', value: [{ value: 'n' }] }).emails).toEqual([{ value: 'n' }]);
    expect(patch({ op: 'replace', value: { emails: [{ value: 'n' }] } }).emails).toEqual([{ value: 'n' }]);
  });
  test('replace of a complex value changes only what is named', () => {
    expect(patch({ op: 'replace', path: 'name', value: { familyName: 'X' } }).name).toEqual({
      givenName: 'Ana',
      familyName: 'X',
    });
  });
  test('a new primary value takes the place of the old one', () => {
    const emails = patch({ op: 'add', path: 'emails', value: { type: 'home', value: 'h', primary: true } })
      .emails as Resource[];
    expect(emails.map((email) => email.primary)).toEqual([false, true]);
  });
  test('remove of a list, of the selected, of a part of the selected', () => {
    expect(patch({ op: 'remove', path: 'emails' }).emails).toBeUndefined();
    expect(patch({ op: 'remove', path: 'emails[type eq "home"]' }).emails).toHaveLength(1);
    expect(patch({ op: 'remove', path: 'emails[type eq "work"]' }).emails).toBeUndefined();
    expect(patch({ op: 'remove', path: 'emails[type eq "work"].primary' }).emails).toEqual([
      { type: 'work', value: 'ana@contoso.com' },
    ]);
    expect(patch({ op: 'remove', path: 'name.familyName' }).name).toEqual({ givenName: 'Ana' });
  });
  test('paths in any case, and fully qualified', () => {
    expect(patch({ op: 'replace', path: 'DISPLAYNAME', value: 'X' }).displayName).toBe('X');
    expect(patch({ op: 'replace', path: `${urns.user}:displayName`, value: 'X' }).displayName).toBe('X');
    expect(patch({ op: 'replace', path: `${urns.user.toUpperCase()}:name.GIVENNAME`, value: 'X' }).name).toMatchObject({
      givenName: 'X',
    });
    expect(patch({ op: 'add', path: urns.enterprise, value: { department: 'D' } })[urns.enterprise]).toEqual({
      department: 'D',
    });
  });
  test.each([
    ['a remove without a path', { op: 'remove' }, 'no_target'],
    ['a remove of a required attribute', { op: 'remove', path: 'userName' }, 'mutability'],
    ['a read-only attribute', { op: 'replace', path: 'meta.created', value: 'x' }, 'mutability'],
    ['groups', { op: 'add', path: 'groups', value: [{ value: 'g' }] }, 'mutability'],
    ['an unknown attribute', { op: 'add', path: 'shoeSize', value: 5 }, 'invalid_path'],
    ['a broken path', { op: 'add', path: 'emails[type eq', value: 5 }, 'invalid_path'],
    ['a filter that creates nothing', { op: 'replace', path: 'emails[value co "zzz"].type', value: 'x' }, 'no_target'],
    ['a wrong type', { op: 'replace', path: 'displayName', value: {} }, 'invalid_value'],
    ['no value', { op: 'add', path: 'displayName' }, 'invalid_value'],
    ['an unknown op', { op: 'move', path: 'displayName' }, 'invalid_syntax'],
  ])('%s is refused', (_name, operation, code) => {
    expect(codeOf(() => patch(operation))).toBe(code);
  });
  test('a body without the PatchOp schema, or with operations that are no objects, is refused', () => {
    expect(codeOf(() => readOperations({ Operations: [] }, 500))).toBe('invalid_syntax');
    expect(codeOf(() => readOperations({ schemas: [urns.patchOp], Operations: [null] }, 500))).toBe('invalid_syntax');
    expect(
      codeOf(() =>
        readOperations(
          { schemas: [urns.patchOp], Operations: Array(501).fill({ op: 'add', path: 'title', value: 'x' }) },
          500,
        ),
      ),
    ).toBe('too_many');
  });
});

const email = fc.record({ type: fc.constantFrom('work', 'home', 'other'), value: fc.constantFrom('a', 'b', 'c', 'd') });

test('whatever the operations, the input stays as it was, one address at most is primary, and a second run of a replace changes nothing', () => {
  const operation = fc.oneof(
    fc.record({
      op: fc.constantFrom('add', 'Replace'),
      path: fc.constant('emails'),
      value: fc.array(
        fc.record({ type: fc.constantFrom('work', 'home'), value: fc.constantFrom('a', 'b'), primary: fc.boolean() }),
        { maxLength: 3 },
      ),
    }),
    fc.record({
      op: fc.constantFrom('add', 'replace'),
      path: fc.constantFrom('emails[type eq "work"].value', 'emails[type eq "home"].value'),
      value: fc.constantFrom('a', 'b'),
    }),
    fc.record({
      op: fc.constant('remove'),
      path: fc.constantFrom('emails[type eq "work"]', 'emails[primary eq true]', 'emails'),
    }),
  );
  fc.assert(
    fc.property(fc.array(email, { maxLength: 4 }), fc.array(operation, { maxLength: 5 }), (emails, list) => {
      const before = normaliseResource({ userName: 'x', emails }, userSchema);
      const copy = structuredClone(before);
      const { resource, changed } = applyPatch(before, operations(...list), userSchema);
      expect(before).toEqual(copy);
      expect(
        ((resource.emails ?? []) as Resource[]).filter((entry) => entry.primary === true).length,
      ).toBeLessThanOrEqual(1);
      if (!changed) expect(resource).toEqual(before);
      const replaced = applyPatch(
        resource,
        operations({ op: 'replace', path: 'emails', value: emails }),
        userSchema,
      ).resource;
      expect(
        applyPatch(replaced, operations({ op: 'replace', path: 'emails', value: emails }), userSchema).changed,
      ).toBe(false);
    }),
  );
});

test('a PATCH as large as it may be ends, and one that makes a list too long is refused', () => {
  const many = Array.from({ length: 240 }, (_one, index) => ({ type: 'other', value: `v${index}` }));
  applyPatch(
    { ...base(), emails: many },
    operations(...Array.from({ length: 50 }, () => ({ op: 'add', path: 'emails', value: many }))),
    userSchema,
  );
  expect(
    codeOf(() =>
      applyPatch(
        { ...base(), emails: many },
        operations(
          ...Array.from({ length: 20 }, (_one, index) => ({
            op: 'add',
            path: 'emails',
            value: [{ type: 'x', value: `new${index}` }],
          })),
        ),
        userSchema,
      ),
    ),
  ).toBe('too_many');
});
