/** The account's rules as values: who may do what, what can be booked, what a pool needs, what is left of an erased name. */
import { describe, expect, test } from '@jest/globals';
import { bookable } from '../../src/domain/bookable.ts';
import { forecast } from '../../src/domain/license.ts';
import { letter } from '../../src/domain/mails.ts';
import { decideProfile } from '../../src/domain/profile.ts';
import { pseudonymise } from '../../src/domain/pseudonym.ts';
import {
  type Asker,
  accountFunctions,
  type FunctionName,
  mayDo,
  mayUse,
  type OperationName,
  operations,
  operatorRoles,
  switchesOf,
} from '../../src/domain/roles.ts';
import { anAccountUser, aPerson, aPolicy, aWish } from '../ground/examples.ts';

const asker = (more: Partial<Asker> = {}): Asker => ({
  accountUserId: 'me',
  role: 'Member',
  operatorRoles: [],
  switches: {},
  ...more,
});
const admin = asker({ role: 'Administrator' });
const names = Object.keys(accountFunctions) as FunctionName[];

describe('who may do what', () => {
  test('rule 14 has its eighteen functions, and a Member has none of them for what is not theirs', () => {
    const fourteen = names.filter((name) => accountFunctions[name].rule.startsWith('14.'));
    expect(fourteen.map((name) => Number(accountFunctions[name].rule.slice(3)))).toEqual(
      Array.from({ length: 18 }, (_one, index) => index + 1),
    );
    for (const name of fourteen) expect([name, mayUse(asker(), name, 'somebody else').allowed]).toEqual([name, false]);
    expect(mayUse(asker(), 'trigger_zaps', 'me').allowed).toBe(true);
  });

  test('an Administrator reaches everything but the two privacies of rule 12, and Zaps before the switch of rule 16', () => {
    const refused = names.filter((name) => !mayUse(admin, name, 'somebody else').allowed);
    expect(refused).toEqual(['trigger_zaps', 'view_others_integrations', 'view_others_connection_details']);
    expect(mayUse(asker({ role: 'Administrator', switches: { triggerAllZaps: true } }), 'trigger_zaps').allowed).toBe(
      true,
    );
  });

  test('rules 13, 15 and 16: defaults by role, and each switch turns its own', () => {
    expect(mayUse(asker(), 'create_booking_pages').allowed).toBe(true);
    expect(mayUse(asker({ switches: { createBookingPages: false } }), 'create_booking_pages').allowed).toBe(false);
    expect(mayUse(asker(), 'process_refunds').allowed).toBe(false);
    expect(mayUse(admin, 'process_refunds').allowed).toBe(true);
    expect(mayUse(asker({ switches: { processRefunds: true } }), 'process_refunds').allowed).toBe(true);
    expect(
      mayUse(asker({ role: 'Administrator', switches: { processRefunds: false } }), 'process_refunds').allowed,
    ).toBe(false);
    expect(switchesOf('Member')).toEqual(['createBookingPages', 'processRefunds']);
    expect(switchesOf('Administrator')).toEqual(['triggerAllZaps', 'processRefunds']);
  });

  test('every no says why, and every operation is for somebody', () => {
    const all = Object.keys(operations) as OperationName[];
    for (const name of all) {
      for (const who of [
        asker(),
        asker({ role: null }),
        ...operatorRoles.map((role) => asker({ role: null, operatorRoles: [role] })),
      ]) {
        const decision = mayDo(who, name, 'somebody else');
        if (!decision.allowed) expect([name, decision.reason.length > 20]).toEqual([name, true]);
      }
    }
    const nobodyDoes = all.filter((name) => !mayDo(admin, name, 'me').allowed && !mayDo(asker(), name, 'me').allowed);
    expect(nobodyDoes).toEqual([]);
  });

  test('an operator role does its own, never the account’s', () => {
    const may = (role: (typeof operatorRoles)[number]) =>
      (Object.keys(operations) as OperationName[]).filter(
        (name) => mayDo(asker({ accountUserId: null, role: null, operatorRoles: [role] }), name).allowed,
      );
    expect(may('viewer')).toEqual([
      'people.read',
      'imports.read',
      'tasks.read',
      'runs.read',
      'sources.read',
      'alerts.read',
      'policy.read',
      'delegation.read',
      'users.list',
      'users.read',
      'licenses.read',
      'pages.list',
      'pages.read',
      'session.read',
    ]);
    for (const role of operatorRoles)
      for (const name of ['users.manage', 'licenses.assign', 'pages.assign', 'people.keep', 'sessions.manage'] as const)
        expect([role, name, may(role).includes(name)]).toEqual([role, name, false]);
    expect(may('idp_admin')).toContain('tokens.manage');
    expect(may('exchange_admin')).toContain('delegation.check');
  });
});

describe('what can be booked', () => {
  const page = { linkName: 'ana', enabled: true, disabledBy: null, disabledWhy: null };
  const owner = anAccountUser({ licenses: [{ kind: 'scheduled-meetings', givenByUsher: true, rule: null }] });
  const delegated = { status: 'true' as const, reason: null, message: '' };
  test.each([
    ['everything is there', {}, 'true', null],
    ['no owner', { owner: null }, 'false', 'page_missing'],
    ['a suspended owner', { owner: { ...owner, suspended: true } }, 'false', 'owner_suspended'],
    [
      'no license',
      { owner: { ...owner, licenses: [{ kind: 'engagement', givenByUsher: false, rule: null }] } },
      'false',
      'needs_license',
    ],
    [
      'no delegation',
      { delegation: { status: 'false' as const, reason: 'not_delegated' as const, message: 'x' } },
      'false',
      'not_delegated',
    ],
    [
      'nothing read yet',
      { delegation: { status: 'unknown' as const, reason: null, message: 'x' } },
      'unknown',
      'not_checked_yet',
    ],
    ['nobody in the directory', { delegation: null }, 'unknown', 'not_checked_yet'],
    ['a disabled page', { page: { ...page, enabled: false } }, 'false', 'page_disabled'],
  ])('with %s', (_what, more, verdict, reason) => {
    expect(bookable({ page, owner, delegation: delegated, ...more }, 'required')).toMatchObject({
      bookable: verdict,
      reason,
    });
  });
  test('where delegation is not required, it is not asked', () => {
    for (const policy of ['advised', 'ignored'] as const)
      expect(bookable({ page, owner, delegation: null }, policy).bookable).toBe('true');
  });
});

test.each([
  [{ bought: 20, assigned: 11, waiting: 12 }, 0, 9, 3, '12 people wait for 9 seats: 3 more must be bought or freed.'],
  [{ bought: 10, assigned: 9, waiting: 1 }, 0, 1, 0, '1 person waits for 1 seat.'],
  [{ bought: 10, assigned: 4, waiting: 0 }, 6, 0, 0, null],
  [{ bought: null, assigned: 4, waiting: 2 }, null, 2, 0, null],
])('a pool of %j: free, reserved, missing, and a sentence', (counts, free, reserved, missing, message) => {
  expect(forecast(counts)).toEqual({ free, reserved, missing, message });
});

describe('letters', () => {
  const write = (name: string) =>
    letter({
      kind: 'invitation',
      name,
      host: 'usher.contoso.com',
      link: 'https://x/sign-in/abc',
      expiresAt: new Date('2026-12-06T12:00:00Z'),
    });
  test('have one link in text and HTML, and say until when', () => {
    const { subject, text, html } = write('Ana <Ruiz>');
    expect(subject).toContain('usher.contoso.com');
    for (const body of [text, html]) {
      expect(body).toContain('https://x/sign-in/abc');
      expect(body).toContain('2026-12-06 12:00 UTC');
    }
    expect(html).toContain('Ana &lt;Ruiz&gt;');
  });
  test('are not written by a name', () => {
    expect(write('Ivy,\n\nyour password expires\n').text).toMatch(
      /^Hello Ivy, your password expires,\n\nan Administrator/,
    );
    for (const name of ['renew at https://evil.example', 'www.evil.example', 'x'.repeat(101), '\n'])
      expect(write(name).text).toMatch(/^Hello,\n\nan Administrator/);
  });
});

test('an erased name is gone from every row, and what happened stays', () => {
  const before = {
    email: 'ana@contoso.com',
    role: 'Member',
    was: [{ name: 'Ana Ruiz', suspended: false }],
    note: 'taken from ANA@contoso.com',
    count: 3,
  };
  expect(pseudonymise(before, ['ana@contoso.com', 'Ana Ruiz'], 'erased-1')).toEqual({
    email: 'erased-1',
    role: 'Member',
    was: [{ name: 'erased-1', suspended: false }],
    note: 'erased-1',
    count: 3,
  });
  // Of somebody else's row only what names the erased one goes, and only as a whole.
  expect(
    pseudonymise({ email: 'joann@contoso.com', by: 'from ann@contoso.com.' }, ['ann@contoso.com'], 'erased-1', true),
  ).toEqual({ email: 'joann@contoso.com', by: 'from erased-1.' });
  expect(pseudonymise({ name: 'Bob', to: 'ana@contoso.com' }, ['ana@contoso.com'], 'erased-1', true)).toEqual({
    name: 'Bob',
    to: 'erased-1',
  });
});

describe('an Administrator whom a hand made', () => {
  const wish = aWish({ email: 'mallory@contoso.com', role: 'Member' });
  const boss = anAccountUser({ email: 'boss@contoso.com', role: 'Administrator' });
  const kept = { role: { by: 'admin', at: 'now' } };
  test('keeps the address against the directory', () => {
    const decision = decideProfile(
      aPerson({ wish, kept, accountUserOrigin: 'created' }),
      { own: boss, sameEmail: null, sameEmailMovesAway: false },
      aPolicy(),
    );
    expect(decision).toMatchObject({ kind: 'verdict', verdict: { reason: 'adoption_needs_approval' } });
  });
  test('is not one half of a swap', () => {
    const other = anAccountUser({ accountUserId: 'other', email: 'mallory@contoso.com', role: 'Administrator' });
    const decision = decideProfile(
      aPerson({ wish, accountUserOrigin: 'created' }),
      { own: anAccountUser({ email: 'ana@contoso.com' }), sameEmail: other, sameEmailMovesAway: true },
      aPolicy(),
    );
    expect(decision.kind).toBe('verdict');
  });
});
