import { describe, expect, test } from '@jest/globals';
import { wishChanged } from '../../src/domain/person.ts';
import { wishFor } from '../../src/domain/wish.ts';
import { aDirectoryUser, aPolicy, aWish, minutes, now } from '../ground/examples.ts';

const known = (lifecycle: 'wanted' | 'out_of_scope' | 'suspended' | 'leaving' | 'held') => ({
  lifecycle,
  wish: aWish(),
  leave: null,
  leavingSince: null,
});
const twoSources = aPolicy({
  sources: [
    { name: 'scim', kind: 'scim' },
    { name: 'graph', kind: 'graph' },
  ],
});

describe('scope', () => {
  test('the first matching rule wins', () => {
    const policy = aPolicy({
      rules: [{ name: 'Sales', when: { department: 'sales' }, licenses: [] }, { name: 'Everybody' }],
    });
    expect(wishFor([aDirectoryUser({ department: 'Sales' })], policy, null).wish?.rule).toBe('Sales');
    expect(wishFor([aDirectoryUser({ department: 'Advice' })], policy, null).wish?.rule).toBe('Everybody');
  });

  test('nobody is in scope without a rule, and somebody who never was is no leaver', () => {
    const policy = aPolicy({ rules: [{ name: 'Other', when: { domain: 'fabrikam.com' } }] });
    expect(wishFor([aDirectoryUser()], policy, null)).toEqual({ lifecycle: 'out_of_scope', wish: null, leave: null });
    expect(wishFor([aDirectoryUser({ active: false })], aPolicy(), null).lifecycle).toBe('out_of_scope');
  });

  test('a group is matched by its immutable id where the rule gives one, whatever the name', () => {
    const policy = aPolicy({ rules: [{ name: 'Advisors', when: { group: { id: 'G-1', name: 'Advisors' } } }] });
    const inGroup = (ids: string[], name: string) =>
      wishFor([aDirectoryUser({ groups: [{ ids, name }] })], policy, null).lifecycle;
    expect(inGroup(['g-1'], 'Renamed')).toBe('wanted');
    expect(inGroup(['g-2'], 'Advisors')).toBe('out_of_scope');
  });

  test('when.source is true if any attached source matches', () => {
    const policy = {
      ...twoSources,
      rules: aPolicy({
        sources: [{ name: 'graph', kind: 'graph' }],
        rules: [{ name: 'Polled', when: { source: 'graph' } }],
      }).rules,
    };
    expect(wishFor([aDirectoryUser(), aDirectoryUser({ source: 'graph' })], policy, null).lifecycle).toBe('wanted');
    expect(
      wishFor([aDirectoryUser(), aDirectoryUser({ source: 'graph', active: false })], policy, null).lifecycle,
    ).toBe('out_of_scope');
  });
});

describe('the wish', () => {
  test('attributes come from the first source that holds the person', () => {
    const users = [
      aDirectoryUser({ source: 'graph', displayName: 'From Graph' }),
      aDirectoryUser({ displayName: 'From SCIM' }),
    ];
    expect(wishFor(users, twoSources, null).wish?.displayName).toBe('From SCIM');
  });

  test('page names are made from attributes, and a missing attribute is a fault of this wish', () => {
    const policy = aPolicy({ rules: [{ name: 'Everybody', bookingPages: ['{userName.local}', 'team-{department}'] }] });
    const wish = wishFor([aDirectoryUser()], policy, null).wish;
    expect(wish?.bookingPages).toEqual(['ana.ruiz']);
    expect(wish?.faults[0]).toContain('department');
    expect(wishFor([aDirectoryUser({ department: 'Pré-vente & Co' })], policy, null).wish?.bookingPages).toContain(
      'team-pré-vente-co',
    );
  });

  test('what the directory asks for never exceeds the maximum role of its source', () => {
    const ask = (maximumRole: 'Member' | 'Administrator') =>
      wishFor(
        [aDirectoryUser({ asked: { role: 'Administrator', licenses: ['x'], bookingPages: ['Mine'] } })],
        aPolicy({
          sources: [{ name: 'scim', kind: 'scim', maximumRole }],
          rules: [
            { name: 'Asked', role: 'from-directory', licenses: 'from-directory', bookingPages: 'from-directory' },
          ],
        }),
        null,
      ).wish;
    expect(ask('Member')).toMatchObject({ role: 'Member', licenses: ['x'], bookingPages: ['mine'] });
    expect(ask('Administrator')?.role).toBe('Administrator');
  });

  test('without a rule that says from-directory, what the directory asks for counts nothing', () => {
    const wish = wishFor(
      [aDirectoryUser({ asked: { role: 'Administrator', licenses: ['x'], bookingPages: ['y'] } })],
      aPolicy(),
      null,
    ).wish;
    expect(wish).toMatchObject({ role: 'Member', licenses: ['scheduled-meetings'], bookingPages: [] });
  });

  test('no address is a fault, not a guess', () => {
    expect(wishFor([aDirectoryUser({ email: null })], aPolicy(), null).wish?.faults[0]).toContain('no e-mail address');
    expect(wishFor([aDirectoryUser({ email: 'not an address' })], aPolicy(), null).wish?.faults[0]).toContain(
      'no e-mail address',
    );
  });

  test('the mailbox is looked for by its immutable id first', () => {
    const id = '7f9c0000-0000-4000-8000-000000000000';
    expect(
      wishFor([aDirectoryUser({ externalId: id, email: 'other@contoso.com' })], aPolicy(), null).wish?.mailboxKeys,
    ).toEqual([id, 'ana.ruiz@contoso.com', 'other@contoso.com']);
  });
});

describe('leaving', () => {
  test.each([
    ['inactive', { active: false }],
    ['deleted', { deletedAt: now }],
  ] as const)('%s in the first source makes a leaver, who keeps the last wish', (cause, more) => {
    const result = wishFor(
      [aDirectoryUser(more), aDirectoryUser({ source: 'graph', activeSince: minutes(-60) })],
      twoSources,
      known('wanted'),
    );
    expect(result).toMatchObject({
      lifecycle: 'leaving',
      leave: { cause, source: 'scim', witness: 'explicit_request' },
    });
    expect(result.wish).not.toBeNull();
  });

  test('from another source it only detaches that source', () => {
    expect(
      wishFor([aDirectoryUser(), aDirectoryUser({ source: 'graph', deletedAt: now })], twoSources, known('wanted'))
        .lifecycle,
    ).toBe('wanted');
    expect(
      wishFor([aDirectoryUser(), aDirectoryUser({ source: 'graph', active: false })], twoSources, known('wanted'))
        .lifecycle,
    ).toBe('wanted');
  });

  test('a source that brings them in later than the first one let them go speaks for them', () => {
    const users = [aDirectoryUser({ deletedAt: now }), aDirectoryUser({ source: 'graph', activeSince: minutes(5) })];
    expect(wishFor(users, twoSources, known('suspended')).lifecycle).toBe('wanted');
  });

  test('out of every rule is a leaver; by a group it still needs its second witness', () => {
    const policy = aPolicy({ rules: [{ name: 'Everybody', when: { group: { id: 'g' } } }] });
    expect(wishFor([aDirectoryUser()], policy, known('wanted'))).toMatchObject({
      lifecycle: 'leaving',
      leave: { cause: 'out_of_scope', witness: 'group_change' },
    });
  });

  test.each(['suspended', 'leaving', 'held'] as const)(
    'somebody %s who is active again is wanted again',
    (lifecycle) => {
      expect(wishFor([aDirectoryUser()], aPolicy(), known(lifecycle)).lifecycle).toBe('wanted');
    },
  );
});

describe('what a change of policy takes', () => {
  const dropped = aPolicy({ rules: [{ name: 'Other', when: { domain: 'fabrikam.com' } }] });
  const kept = { ...known('wanted'), wish: aWish({ keptUnder: dropped.version }) };

  test('is kept until somebody approves, whatever attributes change meanwhile', () => {
    const result = wishFor([aDirectoryUser({ title: 'changed', displayName: 'New Name' })], dropped, kept);
    expect(result).toMatchObject({
      lifecycle: 'wanted',
      wish: { displayName: 'New Name', licenses: ['scheduled-meetings'] },
    });
  });
  test('is no shield against the source that lets the person go', () => {
    expect(wishFor([aDirectoryUser({ active: false })], dropped, kept).lifecycle).toBe('leaving');
  });
});

describe('somebody offboarded by hand', () => {
  const offboarded = {
    lifecycle: 'leaving' as const,
    wish: aWish(),
    leave: { cause: 'offboarded' as const, source: 'scim', witness: 'explicit_request' as const },
    leavingSince: minutes(10),
  };
  test('stays a leaver while the source merely goes on', () => {
    expect(wishFor([aDirectoryUser({ title: 'changed' })], aPolicy(), offboarded).lifecycle).toBe('leaving');
  });
  test('comes back when the source brings them in anew', () => {
    expect(wishFor([aDirectoryUser({ activeSince: minutes(20) })], aPolicy(), offboarded).lifecycle).toBe('wanted');
  });
});

test('a wish that comes back from the store with its keys in another order is the same wish', () => {
  const wish = aWish();
  const stored = Object.fromEntries(Object.entries(wish).reverse()) as unknown as typeof wish;
  expect(wishChanged(stored, wish)).toBe(false);
  expect(wishChanged(stored, { ...wish, displayName: 'Another' })).toBe(true);
});
