/** What the adapter makes of a vendor that is slow, refuses, cuts the line, or acts after it said nothing. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { ErrorCode } from '../../src/errors.ts';
import type { NewAccountUser } from '../../src/ports.ts';
import { newOnceHubId, type OnceHubUser } from '../../src/sandbox/oncehub.ts';
import { type OnceHubGround, openOnceHubGround } from '../ground/oncehub.ts';
import { eventually } from '../ground/usher.ts';

let ground: OnceHubGround;
beforeEach(async () => {
  ground = await openOnceHubGround('embedded PostgreSQL', { limits: null });
});
afterEach(() => ground.close());

const ana = (personId: string, more: Partial<NewAccountUser> = {}): NewAccountUser => ({
  personId,
  name: 'Ana Ruiz',
  givenName: 'Ana',
  familyName: 'Ruiz',
  email: 'ana.ruiz@contoso.com',
  role: 'Member',
  teams: [],
  timeZone: null,
  invite: 'send',
  ...more,
});
const aUser = (more: Partial<OnceHubUser> = {}): OnceHubUser => ({
  object: 'user',
  id: newOnceHubId('USR'),
  first_name: 'Some',
  last_name: 'Body',
  email: `${newOnceHubId('some')}@contoso.com`,
  status: 'active',
  role_name: 'Member',
  timezone: 'Europe/Berlin',
  teams: [],
  ...more,
});
const codeOf = (work: Promise<unknown>): Promise<ErrorCode | 'done'> =>
  work.then(
    () => 'done' as const,
    (error: { code: ErrorCode }) => error.code,
  );
const sent = (method: string, path = /./) =>
  ground.sandbox.account.requests.filter((request) => request.method === method && path.test(request.path));
const misbehave = (
  method: string,
  path: RegExp,
  answer: (typeof ground.sandbox.account.misbehaviours)[number]['answer'],
  more: { effectAfterMs?: number; times?: number } = {},
) => ground.sandbox.account.misbehaviours.push({ method, path, answer, times: 1, ...more });
const users = () => ground.sandbox.account.users.filter((user) => user.email === 'ana.ruiz@contoso.com');
const oops = { status: 500, type: 'api_error', message: 'An unexpected error occurred.' };

describe('a create', () => {
  test('that took effect and answered 500 is found by a look, and not repeated', async () => {
    const { personId, fence } = await ground.person();
    misbehave('POST', /^\/users$/, oops, { effectAfterMs: 0 });
    const made = await ground.account.at('soon').createUser(ana(personId), fence);
    expect(made.accountUserId).toBe(users()[0]?.id);
    expect(sent('POST')).toHaveLength(1);
  });

  test('whose effect comes after the line was cut waits, and is then found: one user, one POST', async () => {
    const { personId, fence } = await ground.person();
    misbehave('POST', /^\/users$/, 'close', { effectAfterMs: 400 });
    expect(await codeOf(ground.account.at('soon').createUser(ana(personId), fence))).toBe('account_unavailable');
    expect(users()).toEqual([]);
    expect(await codeOf(ground.account.at('soon').createUser(ana(personId), fence))).toBe('throttled');
    await eventually(
      () => Promise.resolve(users()),
      (found) => found.length === 1,
    );
    expect((await ground.account.at('soon').findByPerson(personId, null))?.accountUserId).toBe(users()[0]?.id);
    expect(sent('POST')).toHaveLength(1);
  });

  test('that was never recorded, because the process died, is found by the intent that was', async () => {
    const { personId } = await ground.person();
    await ground.database.pool.query('insert into vendor_users (person_id, email_key) values ($1, $2)', [
      personId,
      'ana.ruiz@contoso.com',
    ]);
    ground.sandbox.account.users.unshift(aUser({ email: 'Ana.Ruiz@contoso.com' }));
    expect(await ground.account.at('soon').findByPerson(personId, null)).toMatchObject({
      personId,
      email: 'Ana.Ruiz@contoso.com',
    });
  });

  test('under a lost fence sends nothing; while an earlier call may still act, a second one waits', async () => {
    const { personId, fence } = await ground.person();
    await ground.database.pool.query(
      `insert into vendor_effects (person_id, fence, what, until) values ($1, 1, 'create', now() + interval '3 seconds')`,
      [personId],
    );
    expect(await codeOf(ground.account.at('soon').createUser(ana(personId), fence))).toBe('throttled');
    await ground.overtake(fence);
    expect(await codeOf(ground.account.at('soon').createUser(ana(personId), fence))).toBe('fence_lost');
    expect(sent('POST')).toEqual([]);
  });

  test('sends what the API takes and nothing else, and nothing at all without both names', async () => {
    const { personId, fence } = await ground.person();
    expect(await codeOf(ground.account.createUser(ana(personId, { familyName: null }), fence))).toBe('invalid_profile');
    await ground.account.at('soon').createUser(ana(personId, { teams: ['TM-SALES0000001'] }), fence);
    expect(Object.keys(JSON.parse(String(sent('POST')[0]?.body)) as object).sort()).toEqual([
      'email',
      'first_name',
      'last_name',
      'role_name',
      'teams',
    ]);
    expect(sent('POST')).toHaveLength(1);
  });

  test('of an address that another of our people has, and of one in another account, are told apart', async () => {
    const first = await ground.person();
    await ground.account.at('soon').createUser(ana(first.personId), first.fence);
    const second = await ground.person();
    expect(await codeOf(ground.account.at('soon').createUser(ana(second.personId), second.fence))).toBe(
      'email_taken_elsewhere',
    );
    // Made by somebody else between the look and the create: looked at again, and then it may be adopted.
    ground.sandbox.account.users.unshift(aUser({ email: 'NEW@contoso.com' }));
    const third = await ground.person();
    expect(
      await codeOf(
        ground.account.at('soon').createUser(ana(third.personId, { email: 'new@contoso.com' }), third.fence),
      ),
    ).toBe('conflict');
    expect(sent('POST')).toHaveLength(3);
  });

  test('beyond the user limit stops every create for a while, says so once, and begins again by itself', async () => {
    ground.sandbox.account.userLimit = 1;
    const [one, two] = [await ground.person(), await ground.person()];
    expect(await codeOf(ground.account.at('soon').createUser(ana(one.personId), one.fence))).toBe('user_limit');
    expect(
      await codeOf(ground.account.at('soon').createUser(ana(two.personId, { email: 'b@contoso.com' }), two.fence)),
    ).toBe('user_limit');
    expect(sent('POST')).toHaveLength(1);
    expect(await ground.alerts()).toEqual(['user_limit']);
    ground.sandbox.account.userLimit = 10;
    await ground.database.pool.query(`update vendor_connection set no_creates_until = now() - interval '1 second'`);
    await ground.account.at('soon').createUser(ana(one.personId), one.fence);
    expect(await ground.alerts()).toEqual([]);
  });
});

describe('the connection', () => {
  test('a refused key, or a plan without API, stops every request of every process, and is an alert until it works', async () => {
    ground.sandbox.account.apiKeys = ['another'];
    const other = await ground.another();
    expect(await codeOf(ground.account.at('soon').findByEmail('a@contoso.com'))).toBe('account_connection_down');
    const before = ground.sandbox.account.requests.length;
    expect(await codeOf(other.at('soon').findByEmail('a@contoso.com'))).toBe('account_connection_down');
    expect(ground.sandbox.account.requests).toHaveLength(before);
    expect(await ground.alerts()).toEqual(['account_connection']);
    ground.sandbox.account.apiKeys = ['sandbox-oncehub-key'];
    await ground.database.pool.query(`update vendor_connection set paused_until = now()`);
    expect(await codeOf(other.at('soon').findByEmail('a@contoso.com'))).toBe('done');
    expect(await codeOf(ground.account.at('soon').findByEmail('a@contoso.com'))).toBe('done');
    expect(await ground.alerts()).toEqual([]);
    ground.sandbox.account.hasApi = false;
    expect(await codeOf(ground.account.at('soon').findByEmail('a@contoso.com'))).toBe('plan_has_no_api');
  });

  test('429 keeps everybody away: as long as it says, else longer each time', async () => {
    const busy = { status: 429, type: 'rate_limit_error', message: 'Request rate limit exceeded' };
    misbehave('GET', /users/, { ...busy, retryAfterSeconds: 40 });
    const error = await ground.account
      .at('soon')
      .findByEmail('a@contoso.com')
      .catch((thrown: { code: string; retryAfterSeconds: number }) => thrown);
    expect(error).toMatchObject({ code: 'throttled' });
    expect((error as { retryAfterSeconds: number }).retryAfterSeconds).toBeGreaterThan(38);
    expect(await codeOf(ground.account.at('soon').findByEmail('a@contoso.com'))).toBe('throttled');
    expect(sent('GET', /email=/)).toHaveLength(1);
  });

  test.each([
    ['a sign-in page with 200', 'html' as const],
    ['a cut line', 'close' as const],
    ['a redirect', { status: 302, type: 'x', message: 'moved' }],
    ['a fault', oops],
  ])('%s is no answer: nobody is absent because of it', async (_name, answer) => {
    misbehave('GET', /^\/users/, answer, { times: 9 });
    expect(await codeOf(ground.account.at('soon').findByEmail('a@contoso.com'))).toBe('account_unavailable');
    expect(await codeOf(ground.account.at('background').findById('USR-1'))).toBe('account_unavailable');
  });
});

describe('reading', () => {
  test('one list serves everybody whose turn it is, whatever its length', async () => {
    ground.sandbox.account.users.unshift(...Array.from({ length: 250 }, () => aUser()));
    const ids = ground.sandbox.account.users.map((user) => user.id);
    const found = await Promise.all(ids.map((id) => ground.account.at('background').findById(id)));
    expect(found.every((user) => user !== null)).toBe(true);
    expect(sent('GET', /^\/users\?/)).toHaveLength(3);
    expect(sent('GET', /^\/users\/USR/)).toEqual([]);
  });

  test('whoever is not in the list is asked for alone before they count as gone; a gone one is told of', async () => {
    const { personId, fence } = await ground.person();
    const made = await ground.account.at('soon').createUser(ana(personId), fence);
    ground.sandbox.administrator.deleteUser(made.accountUserId);
    expect(await ground.account.at('urgent').findByPerson(personId, made.accountUserId)).toBeNull();
    expect(sent('GET', new RegExp(`^/users/${made.accountUserId}`))).toHaveLength(1);
    expect(await ground.alerts()).toEqual(['user_deleted_in_account']);
  });
});

describe('a change', () => {
  test('of a user who is gone, or is the Account Owner, is told apart; an empty one is not sent', async () => {
    const { personId, fence } = await ground.person();
    const made = await ground.account.at('soon').createUser(ana(personId), fence);
    await ground.account.at('soon').updateUser(made.accountUserId, {}, fence);
    expect(sent('PATCH')).toEqual([]);
    expect(await codeOf(ground.account.at('soon').updateUser(ground.founderId, { givenName: 'X' }, fence))).toBe(
      'account_owner_protected',
    );
    ground.sandbox.administrator.deleteUser(made.accountUserId);
    expect(await codeOf(ground.account.at('soon').updateUser(made.accountUserId, { givenName: 'X' }, fence))).toBe(
      'conflict',
    );
    expect(await codeOf(ground.account.at('soon').deleteUser(made.accountUserId, null, fence))).toBe('done');
  });

  test('an Administrator is demoted or deleted only where another one is known to have a seat', async () => {
    ground.sandbox.account.users.unshift(aUser({ id: 'USR-BOSS', role_name: 'Administrator' }));
    const { fence } = await ground.person();
    const demote = () => codeOf(ground.account.at('urgent').updateUser('USR-BOSS', { role: 'Member' }, fence));
    expect(await demote()).toBe('last_licensed_administrator');
    expect(await codeOf(ground.account.at('urgent').deleteUser('USR-BOSS', null, fence))).toBe(
      'last_licensed_administrator',
    );
    const page = ground.sandbox.administrator.createPage('owner-page', ground.founderId);
    ground.sandbox.administrator.enablePage(page.id);
    expect(await demote()).toBe('done');
  });
});
