import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { backoffMilliseconds } from '../../src/domain/backoff.ts';
import { decidePages, type PageSight } from '../../src/domain/booking-page.ts';
import { admitRemoval, removalLimit } from '../../src/domain/brake.ts';
import { applyVerdict, countsByReason, heldBack, nextCheckAt, readiness } from '../../src/domain/conditions.ts';
import { type Candidate, correlate } from '../../src/domain/correlate.ts';
import { decideDelegation, type MailboxReading } from '../../src/domain/delegation.ts';
import { nextSteps } from '../../src/domain/next-steps.ts';
import { decideOffboard, type OffboardSight } from '../../src/domain/offboard.ts';
import { decideProfile } from '../../src/domain/profile.ts';
import {
  anAccountUser,
  aPage,
  aPerson,
  aPolicy,
  aWish,
  itIsTrue,
  minutes,
  now,
  theConditions,
} from '../ground/examples.ts';

describe('who is it', () => {
  const grants = { domains: ['contoso.com'] };
  const candidate = (more: Partial<Candidate>): Candidate => ({
    personId: 'p1',
    via: 'email',
    address: 'ana@contoso.com',
    ...more,
  });

  test('nobody alike is somebody new', () => {
    expect(correlate({ externalId: 'e' }, [], grants)).toEqual({ kind: 'new' });
  });
  test('the stronger key wins over the weaker', () => {
    expect(
      correlate({ externalId: 'e' }, [candidate({ personId: 'p2' }), candidate({ via: 'entraObjectId' })], grants),
    ).toMatchObject({ kind: 'link', personId: 'p1', via: 'entraObjectId' });
  });
  test('two by one key are ambiguous and wait', () => {
    expect(correlate({ externalId: null }, [candidate({}), candidate({ personId: 'p2' })], grants)).toEqual({
      kind: 'ambiguous',
      personIds: ['p1', 'p2'],
    });
  });
  test('e-mail counts only inside the domains that the source is granted', () => {
    expect(correlate({ externalId: null }, [candidate({ address: 'ana@fabrikam.com' })], grants)).toEqual({
      kind: 'new',
    });
    expect(correlate({ externalId: null }, [candidate({})], undefined)).toEqual({ kind: 'new' });
  });
  test('one source does not send one human twice', () => {
    expect(correlate({ externalId: 'e' }, [candidate({ heldBySource: true })], grants)).toEqual({ kind: 'new' });
  });
  test('a userName that another human had is no proof', () => {
    expect(
      correlate({ externalId: 'new' }, [candidate({ via: 'userName', externalIdInSource: 'old' })], grants),
    ).toEqual({ kind: 'new' });
    expect(
      correlate({ externalId: null }, [candidate({ via: 'userName', externalIdInSource: 'old' })], grants),
    ).toMatchObject({ kind: 'link' });
  });
});

describe('next steps', () => {
  const policy = aPolicy();
  test('user and delegation first, side by side', () => {
    expect(nextSteps(aPerson(), theConditions(), policy, now)).toEqual(['create-user', 'check-delegation']);
  });
  test('the seat waits for both, the pages for the seat', () => {
    expect(nextSteps(aPerson(), theConditions({ Profile: itIsTrue, Delegation: itIsTrue }), policy, now)).toEqual([
      'assign-license',
    ]);
    expect(
      nextSteps(
        aPerson(),
        theConditions({ Profile: itIsTrue, Delegation: { ...itIsTrue, status: 'false', reason: 'not_delegated' } }),
        policy,
        now,
      ),
    ).toEqual([]);
    expect(
      nextSteps(aPerson(), theConditions({ Profile: itIsTrue, Delegation: itIsTrue, License: itIsTrue }), policy, now),
    ).toEqual(['assign-booking-pages']);
  });
  test('delegation that is only advised holds nothing up', () => {
    expect(nextSteps(aPerson(), theConditions({ Profile: itIsTrue }), aPolicy({ delegation: 'advised' }), now)).toEqual(
      ['check-delegation', 'assign-license'],
    );
    expect(nextSteps(aPerson(), theConditions({ Profile: itIsTrue }), aPolicy({ delegation: 'ignored' }), now)).toEqual(
      ['assign-license'],
    );
  });
  test('a new wish makes everything due again, and everything true makes nothing due', () => {
    const all = theConditions({ Profile: itIsTrue, Delegation: itIsTrue, License: itIsTrue, BookingPages: itIsTrue });
    expect(nextSteps(aPerson(), all, policy, now)).toEqual([]);
    expect(nextSteps(aPerson({ generation: 2 }), all, policy, now)).toEqual(['create-user', 'check-delegation']);
    expect(nextSteps(aPerson(), all, policy, minutes(1441))).toEqual([
      'create-user',
      'check-delegation',
      'assign-license',
      'assign-booking-pages',
    ]);
  });
  test('what waited for the delegation goes on when it comes', () => {
    const conditions = theConditions({
      Profile: itIsTrue,
      Delegation: itIsTrue,
      License: { status: 'false', reason: 'needs_delegation', checkedAt: now },
    });
    expect(nextSteps(aPerson(), conditions, policy, now)).toEqual(['assign-license']);
  });
  test('a leaver is only offboarded, and nobody else is touched', () => {
    expect(nextSteps(aPerson({ lifecycle: 'leaving' }), theConditions(), policy, now)).toEqual(['offboard']);
    for (const lifecycle of ['held', 'gone', 'out_of_scope', 'suspended'] as const)
      expect(nextSteps(aPerson({ lifecycle }), theConditions(), policy, now)).toEqual([]);
  });
});

describe('conditions', () => {
  test('one reason that leaves some unknown and others false counts them all', () => {
    expect(countsByReason({ false: { held: 2, no_mailbox: 1 }, unknown: { held: 3, throttled: 4 } })).toEqual({
      held: 5,
      no_mailbox: 1,
      throttled: 4,
    });
  });

  const verdict = { status: 'unknown', reason: 'throttled', message: 'later' } as const;
  test('unknown never turns a true condition false', () => {
    const before = theConditions({ Delegation: itIsTrue }).Delegation;
    expect(applyVerdict(before, verdict, 1, now, 0.5)).toMatchObject({ status: 'true', reason: null, attempts: 0 });
    const broken = { ...verdict, reason: 'connection_down' } as const;
    expect(applyVerdict(before, broken, 1, now, 0.5)).toMatchObject({ status: 'true', reason: null, attempts: 1 });
  });
  test('unknown says so where nothing was known of this wish', () => {
    const before = theConditions({ Delegation: itIsTrue }).Delegation;
    expect(applyVerdict(before, verdict, 2, now, 0.5)).toMatchObject({
      status: 'unknown',
      reason: 'throttled',
      generation: 2,
    });
  });
  test('Ready needs every required condition, true for the newest wish', () => {
    const all = theConditions({ Profile: itIsTrue, Delegation: itIsTrue, License: itIsTrue, BookingPages: itIsTrue });
    expect(readiness(aPerson(), all, aPolicy())).toEqual({ ready: true, reason: null });
    expect(readiness(aPerson({ generation: 2 }), all, aPolicy()).ready).toBe(false);
    expect(readiness(aPerson({ lifecycle: 'leaving' }), all, aPolicy()).ready).toBe(false);
    expect(
      readiness(
        aPerson(),
        theConditions({ ...all, Delegation: { status: 'false', reason: 'role_too_low' } }),
        aPolicy(),
      ),
    ).toEqual({ ready: false, reason: 'role_too_low' });
    expect(
      readiness(aPerson(), theConditions({ ...all, Delegation: {} }), aPolicy({ delegation: 'advised' })).ready,
    ).toBe(true);
  });
  test('losing delegation never takes a seat away', () => {
    const lost = { status: 'false', reason: 'not_delegated' } as const;
    expect(
      heldBack(
        aPerson(),
        theConditions({ Delegation: lost, License: itIsTrue, BookingPages: itIsTrue }),
        aPolicy(),
        now,
      ),
    ).toEqual([]);
    expect(
      heldBack(aPerson(), theConditions({ Delegation: lost }), aPolicy(), now).map((condition) => condition.reason),
    ).toEqual(['needs_delegation', 'needs_license']);
  });
  test('second looks are spread, daily for what is true and hourly for what is not', () => {
    const hours = (status: 'true' | 'false', spread: number) =>
      (nextCheckAt({ status, reason: null, message: '' }, now, spread).getTime() - now.getTime()) / 3_600_000;
    expect(hours('true', 0)).toBeCloseTo(12);
    expect(hours('true', 1)).toBeCloseTo(24);
    expect(hours('false', 0.5)).toBeCloseTo(1);
  });
});

describe('delegation', () => {
  const dedicated = { kind: 'known', addresses: ['scheduling@contoso.com', 'bookings@contoso.com'] } as const;
  const decide = (reading: MailboxReading) => {
    const { status, reason } = decideDelegation(reading, { ...dedicated, addresses: [...dedicated.addresses] }, 'Ana');
    return [status, reason];
  };
  const grants = (...list: [string | null, string][]): MailboxReading => ({
    kind: 'grants',
    grants: list.map(([address, level]) => ({ address, level: level as 'read' })),
    readBy: 'x',
  });
  const byDefault: [null, string] = [null, 'free_busy'];

  test.each([
    [grants(byDefault, ['scheduling@contoso.com', 'delegate']), ['true', null]],
    [grants(byDefault, ['BOOKINGS@Contoso.com', 'delegate_with_private']), ['true', null]],
    [grants(byDefault, ['scheduling@contoso.com', 'write']), ['false', 'shared_not_delegated']],
    [grants(byDefault, ['scheduling@contoso.com', 'read']), ['false', 'role_too_low']],
    [grants(byDefault, ['scheduling@contoso.com', 'custom']), ['false', 'role_too_low']],
    [grants(byDefault), ['false', 'not_delegated']],
    [grants(byDefault, ['somebody@contoso.com', 'delegate']), ['false', 'not_delegated']],
    [grants(['scheduling@contoso.com', 'read'], ['bookings@contoso.com', 'delegate']), ['true', null]],
    [grants(), ['unknown', 'inconclusive']],
    [grants([null, 'delegate']), ['false', 'not_delegated']],
    [{ kind: 'person_not_found' }, ['false', 'no_mailbox']],
    [{ kind: 'access_denied', dedicatedMailboxReadable: true }, ['false', 'outside_access_policy']],
    [{ kind: 'access_denied', dedicatedMailboxReadable: false }, ['unknown', 'no_consent']],
    [{ kind: 'access_denied', dedicatedMailboxReadable: null }, ['unknown', 'inconclusive']],
    [{ kind: 'not_supported' }, ['unknown', 'inconclusive']],
    [{ kind: 'mailbox_unavailable', evidence: null }, ['unknown', 'inconclusive']],
    [
      {
        kind: 'mailbox_unavailable',
        evidence: { exchangePlanEnabled: false, syncedFromOnPremises: false, hasAddresses: true },
      },
      ['false', 'no_mailbox'],
    ],
    [
      {
        kind: 'mailbox_unavailable',
        evidence: { exchangePlanEnabled: false, syncedFromOnPremises: true, hasAddresses: true },
      },
      ['false', 'mailbox_on_premises'],
    ],
    [
      {
        kind: 'mailbox_unavailable',
        evidence: { exchangePlanEnabled: true, syncedFromOnPremises: true, hasAddresses: true },
      },
      ['unknown', 'inconclusive'],
    ],
  ] as [MailboxReading, unknown][])('%j → %j', (reading, expected) => {
    expect(decide(reading)).toEqual(expected);
  });
  test('a missing dedicated mailbox is said before anything else', () => {
    expect(decideDelegation(grants(byDefault), { kind: 'missing', address: 'x@y' }, 'Ana').reason).toBe(
      'dedicated_mailbox_missing',
    );
  });
  test('what evidence can not decide names both causes', () => {
    expect(
      decideDelegation({ kind: 'mailbox_unavailable', evidence: null }, { ...dedicated, addresses: [] }, 'Ana').message,
    ).toMatch(/license.*own Exchange Server/);
  });
});

describe('the user in the account', () => {
  const decide = (
    own: Parameters<typeof decideProfile>[1]['own'],
    sameEmail: Parameters<typeof decideProfile>[1]['sameEmail'] = null,
    person = aPerson(),
    policy = aPolicy(),
  ) => decideProfile(person, { own, sameEmail, sameEmailMovesAway: false }, policy);
  const reasonOf = (decision: ReturnType<typeof decide>) =>
    decision.kind === 'verdict' ? decision.verdict.reason : decision.kind;

  test('is created when nobody has the address', () => {
    expect(decide(null).kind).toBe('create');
  });
  test('is left alone when it is right, in any letter case', () => {
    expect(decide(anAccountUser({ email: 'ANA.ruiz@contoso.com' }))).toMatchObject({
      kind: 'verdict',
      verdict: { status: 'true' },
    });
  });
  test('is mended in what differs only', () => {
    expect(decide(anAccountUser({ name: 'Old', role: 'Administrator' }))).toMatchObject({
      kind: 'update',
      changes: { name: 'Ana Ruiz', role: 'Member' },
      restore: false,
    });
  });
  test('is restored when it was suspended', () => {
    expect(decide(anAccountUser({ suspended: true, signInBlocked: true }))).toMatchObject({
      kind: 'update',
      restore: true,
    });
  });
  test('an existing Member is adopted inside the granted domains', () => {
    expect(decide(null, anAccountUser({ personId: null })).kind).toBe('adopt');
    const ungranted = aPolicy({ sources: [{ name: 'scim', kind: 'scim' }] });
    expect(reasonOf(decide(null, anAccountUser({ personId: null }), aPerson(), ungranted))).toBe(
      'adoption_needs_approval',
    );
  });
  test('an existing Administrator is never adopted without approval', () => {
    expect(reasonOf(decide(null, anAccountUser({ personId: null, role: 'Administrator' })))).toBe(
      'adoption_needs_approval',
    );
  });
  test("somebody else's user is never taken over", () => {
    expect(reasonOf(decide(null, anAccountUser({ personId: 'another' })))).toBe('email_taken_elsewhere');
    expect(reasonOf(decide(anAccountUser(), anAccountUser({ accountUserId: 'b', personId: null })))).toBe(
      'email_taken_elsewhere',
    );
  });
  test('two who swap their addresses exchange them', () => {
    const [own, sameEmail] = [
      anAccountUser({ email: 'old@contoso.com' }),
      anAccountUser({ accountUserId: 'b', personId: 'another' }),
    ];
    expect(decideProfile(aPerson(), { own, sameEmail, sameEmailMovesAway: true }, aPolicy())).toMatchObject({
      kind: 'exchange',
      changes: {},
    });
  });
  test('the account owner is never changed', () => {
    expect(reasonOf(decide(anAccountUser({ protected: true, name: 'Old' })))).toBe('account_owner_protected');
  });
  test('an ambiguous person and a faulty wish wait', () => {
    expect(reasonOf(decide(null, null, aPerson({ ambiguousWith: ['a', 'b'] })))).toBe('ambiguous_match');
    expect(reasonOf(decide(null, null, aPerson({ wish: aWish({ faults: ['x'] }) })))).toBe('invalid_profile');
  });
});

describe('Booking pages', () => {
  const admin = anAccountUser({
    accountUserId: 'admin',
    personId: null,
    email: 'admin@contoso.com',
    role: 'Administrator',
  });
  const sight = (more: Partial<PageSight>): PageSight => ({
    linkName: 'ana.ruiz',
    page: aPage(),
    owner: admin,
    alsoWishedBy: [],
    wishedForOwner: false,
    ownerLeaves: false,
    keptByHand: null,
    ...more,
  });
  const decide = (more: Partial<PageSight>, takeFrom?: string[], createMissing = false) => {
    const decision = decidePages('me', [sight(more)], takeFrom, createMissing);
    return [decision.actions.map((action) => action.kind), decision.blocked?.reason ?? null];
  };

  test('are taken from an Administrator to whom no rule gives them, and enabled', () => {
    expect(decide({})).toEqual([['take', 'enable'], null]);
    expect(decide({ wishedForOwner: true })).toEqual([[], 'owned_by_other']);
  });
  test('are taken only from those the policy names, where it names some', () => {
    expect(decide({}, ['ADMIN@contoso.com'])).toEqual([['take', 'enable'], null]);
    expect(decide({}, ['other@contoso.com'])).toEqual([[], 'owned_by_other']);
  });
  test("are never taken from another Member, but from a leaver's hands", () => {
    const member = anAccountUser({ accountUserId: 'admin', role: 'Member' });
    expect(decide({ owner: member })).toEqual([[], 'owned_by_other']);
    expect(decide({ owner: member, ownerLeaves: true })).toEqual([['take', 'enable'], null]);
  });
  test('wished for two people go to nobody', () => {
    expect(decide({ alsoWishedBy: ['p2'] })).toEqual([[], 'claimed_twice']);
  });
  test('that a human disabled are reported, not enabled', () => {
    expect(decide({ page: aPage({ ownerId: 'me', disabledBy: 'boss@contoso.com' }) })).toEqual([[], 'page_disabled']);
    expect(decide({ page: aPage({ ownerId: 'me', disabledBy: 'license' }) })).toEqual([['enable'], null]);
  });
  test('that are missing are said', () => {
    expect(decide({ page: null, owner: null })).toEqual([[], 'page_missing']);
    expect(decide({ page: null, owner: null }, undefined, true)).toEqual([['create'], null]);
  });
  test('that are right need nothing', () => {
    expect(decide({ page: aPage({ ownerId: 'me', enabled: true }) })).toEqual([[], null]);
  });
});

describe('the brake', () => {
  const brake = aPolicy().brake;
  test('limit = max(3, min(maxRemovals, maxPercent of those Ready or suspended))', () => {
    expect([0, 29, 49, 50, 100, 200, 5000].map((base) => removalLimit(base, brake))).toEqual([3, 3, 4, 5, 10, 20, 20]);
  });
  test('per source and in total', () => {
    expect(admitRemoval({ admitted: 2, base: 0 }, { admitted: 2, base: 0 }, brake)).toEqual({ admitted: true });
    expect(admitRemoval({ admitted: 3, base: 0 }, { admitted: 3, base: 1000 }, brake)).toMatchObject({
      admitted: false,
      scope: 'source',
      limit: 3,
    });
    expect(admitRemoval({ admitted: 0, base: 0 }, { admitted: 20, base: 1000 }, brake)).toMatchObject({
      admitted: false,
      scope: 'total',
      limit: 20,
    });
  });
});

describe('a leaver', () => {
  const policy = aPolicy({ leavers: { holdMinutes: 60 } });
  const person = aPerson({ lifecycle: 'leaving', leavingSince: now, accountUserId: 'u', accountUserOrigin: 'created' });
  const heir = anAccountUser({ accountUserId: 'heir', role: 'Administrator' });
  const licensed = anAccountUser({
    signInBlocked: true,
    licenses: [{ kind: 'scheduled-meetings', givenByUsher: true, rule: 'Everybody' }],
  });
  const sight = (more: Partial<OffboardSight>): OffboardSight => ({
    user: licensed,
    pages: [aPage()],
    heir,
    heirIsNamed: false,
    removal: 'admitted',
    ...more,
  });
  const next = (more: Partial<OffboardSight>, at = minutes(61), who = person, under = policy) => {
    const decision = decideOffboard(who, sight(more), under, at);
    return decision.kind === 'act'
      ? decision.action.kind
      : decision.kind === 'done'
        ? decision.lifecycle
        : decision.kind === 'ask'
          ? `ask:${decision.what}`
          : `${decision.kind}:${decision.why}`;
  };

  test('loses the sign-in at once, and nothing else before the hold is over', () => {
    expect(next({ user: anAccountUser() }, now)).toBe('block_sign_in');
    expect(next({}, minutes(59))).toBe('wait:hold');
  });
  test('loses nothing that the brake did not admit', () => {
    expect(next({ removal: 'none' })).toBe('ask_brake');
    expect(next({ removal: 'held' })).toBe('blocked:held');
    expect(next({ removal: 'kept' })).toBe('blocked:kept');
  });
  test('hands over pages before the seat, and the seat before the suspension', () => {
    expect(next({})).toBe('hand_over_pages');
    expect(next({ heir: null })).toBe('blocked:no_heir');
    expect(next({ pages: [] })).toBe('free_seats');
    expect(next({ pages: [], user: { ...licensed, licenses: [] } })).toBe('suspend');
    expect(next({ pages: [], user: { ...licensed, licenses: [], suspended: true } })).toBe('suspended');
  });
  test('is deleted only where the policy says so, after the grace', () => {
    const deleting = aPolicy({ leavers: { holdMinutes: 0, graceDays: 30, delete: true } });
    const gone = { pages: [], user: { ...licensed, licenses: [], suspended: true } };
    const suspended = { ...person, suspendedAt: now };
    expect(next(gone, minutes(60), person, deleting)).toBe('suspended');
    expect(next(gone, minutes(60), suspended, deleting)).toBe('wait:grace');
    expect(next(gone, minutes(31 * 1440), suspended, deleting)).toBe('delete');
  });
  test('whose user is not ours loses nothing', () => {
    expect(next({ user: { ...licensed, personId: null } }, minutes(61), { ...person, accountUserOrigin: null })).toBe(
      'gone',
    );
    expect(next({}, minutes(61), { ...person, accountUserOrigin: null })).toBe('hand_over_pages');
  });
});

test('a retry waits at random below a cap that doubles up to a quarter of an hour', () => {
  fc.assert(
    fc.property(fc.nat(200), fc.double({ min: 0, max: 1, noNaN: true }), (attempts, random) => {
      const wait = backoffMilliseconds(attempts, random);
      return wait >= 200 && wait <= 15 * 60_000;
    }),
  );
});
