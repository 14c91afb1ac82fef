import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { decideDelegation, deliveryWarning } from '../../src/domain/delegation.ts';
import { openBatch } from '../../src/graph/batch.ts';
import { openCalendars } from '../../src/graph/calendars.ts';
import { openGraphClient, readRetryAfter } from '../../src/graph/client.ts';
import { contoso, contosoTenant } from '../../src/sandbox/contoso.ts';
import { connectionTo, type Sandbox, startSandbox, type TenantUser } from '../../src/sandbox/tenant.ts';

let sandbox: Sandbox;
beforeEach(async () => {
  sandbox = await startSandbox(contosoTenant());
});
afterEach(() => sandbox.close());

const calendars = (more: { clientSecret?: string } = {}) => {
  const connection = connectionTo(sandbox);
  const graph = openGraphClient({
    ...connection,
    credential: { kind: 'secret', secret: more.clientSecret ?? sandbox.tenant.clientSecret },
  });
  return openCalendars(graph, openBatch(graph), contoso.dedicatedMailbox);
};
const user = (local: string): TenantUser => {
  const found = sandbox.tenant.users.find((entry) => entry.userPrincipalName.startsWith(`${local}@`));
  if (!found) throw new Error(`no ${local}`);
  return found;
};
const verdictOf = async (keys: string[]) => {
  const reader = calendars();
  const { status, reason } = decideDelegation(
    await reader.readDelegation(keys),
    await reader.dedicatedMailbox(contoso.dedicatedMailbox),
    'somebody',
  );
  return [status, reason];
};

describe('a mailbox', () => {
  test('is found by object id, by user principal name, and by the next key when the first is unknown', async () => {
    expect(await verdictOf([user('ana.ruiz').objectId])).toEqual(['true', null]);
    expect(await verdictOf(['ana.ruiz@contoso.com'])).toEqual(['true', null]);
    expect(await verdictOf(['7f9c0000-0000-4000-8000-000000000000', 'ana.ruiz@contoso.com'])).toEqual(['true', null]);
    expect(await verdictOf(['nobody@contoso.com'])).toEqual(['false', 'no_mailbox']);
  });

  test.each([
    ['no license', { mailbox: 'none', exchangePlan: false } as const, ['false', 'no_mailbox']],
    ['a license and no mailbox yet', { mailbox: 'none', exchangePlan: true } as const, ['false', 'no_mailbox']],
    [
      'one on premises',
      { mailbox: 'on_premises', exchangePlan: false, onPremisesSyncEnabled: true } as const,
      ['false', 'mailbox_on_premises'],
    ],
    [
      'synced and licensed, which evidence can not decide',
      { mailbox: 'none', exchangePlan: true, onPremisesSyncEnabled: true } as const,
      ['unknown', 'inconclusive'],
    ],
  ])('with %s', async (_name, more, expected) => {
    Object.assign(user('ana.ruiz'), more);
    expect(await verdictOf(['ana.ruiz@contoso.com'])).toEqual(expected);
  });

  test('outside the access policy is told from a missing consent by the dedicated mailbox', async () => {
    sandbox.tenant.outsidePolicy.add('ana.ruiz@contoso.com');
    expect(await verdictOf(['ana.ruiz@contoso.com'])).toEqual(['false', 'outside_access_policy']);
    sandbox.tenant.permissions.delete('Calendars.ReadBasic');
    expect(await verdictOf(['ana.ruiz@contoso.com'])).toEqual(['unknown', 'no_consent']);
  });

  test('without a dedicated mailbox in the tenant', async () => {
    sandbox.tenant.users = sandbox.tenant.users.filter((entry) => entry.userPrincipalName !== contoso.dedicatedMailbox);
    expect(await verdictOf(['ana.ruiz@contoso.com'])).toEqual(['false', 'dedicated_mailbox_missing']);
  });
});

describe('faults of the tenant', () => {
  const read = () => calendars().readDelegation(['ana.ruiz@contoso.com']);

  test('429 is a wait, as long as Retry-After says', async () => {
    sandbox.tenant.faults.push({ status: 429, code: 'ApplicationThrottled', retryAfterSeconds: 70 });
    await expect(read()).rejects.toMatchObject({ code: 'throttled', retryAfterSeconds: 70 });
  });
  test('a short wait is sat out, and the mailbox not asked before it is over', async () => {
    sandbox.tenant.throttle = (() => {
      let times = 0;
      return () => (times++ < 2 ? 1 : null);
    })();
    expect((await read()).kind).toBe('grants');
    expect(sandbox.tenant.askedTooEarly).toBe(0);
  });
  test.each([500, 502, 503])('%i is no answer about the mailbox', async (status) => {
    sandbox.tenant.faults.push({ status, code: 'UnknownError' });
    await expect(read()).rejects.toMatchObject({ code: 'graph_unavailable' });
  });
  test('a token that was withdrawn is replaced once', async () => {
    sandbox.tenant.faults.push({ status: 401, code: 'InvalidAuthenticationToken', path: /batch/ });
    expect((await read()).kind).toBe('grants');
    sandbox.tenant.faults.push(
      { status: 401, code: 'InvalidAuthenticationToken', path: /batch/ },
      { status: 401, code: 'InvalidAuthenticationToken', path: /batch/ },
    );
    await expect(read()).rejects.toMatchObject({ code: 'connection_down' });
  });
  test('a wrong secret is a broken connection, named', async () => {
    await expect(calendars({ clientSecret: 'wrong' }).readDelegation(['x@contoso.com'])).rejects.toMatchObject({
      code: 'connection_down',
      message: expect.stringContaining('invalid_client'),
    });
  });
  test('many callers share one token request', async () => {
    const reader = calendars();
    await Promise.all(
      ['ana.ruiz', 'bjorn.akesson', 'hoa.dang', 'elif.yildiz'].map((local) =>
        reader.readDelegation([`${local}@contoso.com`]),
      ),
    );
    expect(sandbox.tenant.requests.filter((request) => request.path.includes('/token'))).toHaveLength(1);
  });
  test('a tenant that is away is no answer about the mailbox', async () => {
    const reader = calendars();
    await sandbox.close();
    await expect(reader.readDelegation(['x@contoso.com'])).rejects.toMatchObject({
      code: expect.stringMatching(/connection_down|graph_unavailable/),
    });
  });
});

test('who receives meeting requests is read where the app may ask, and a delegate alone is a warning', async () => {
  const reader = calendars();
  expect(await reader.readDelivery(user('ana.ruiz').objectId)).toBeNull();
  sandbox.tenant.permissions.add('MailboxSettings.Read');
  const alone = await reader.readDelivery(user('ana.ruiz').objectId);
  expect(alone).toEqual({ meetingMessages: 'delegate_only', purpose: 'user' });
  expect(deliveryWarning({ meetingMessages: 'delegate_only', purpose: 'user' }, 'Ana')).toContain(
    'My delegates and me',
  );
  user('ana.ruiz').deliveryOption = 'sendToDelegateAndPrincipal';
  expect((await reader.readDelivery(user('ana.ruiz').objectId))?.meetingMessages).toBe('delegate_and_person');
  expect(deliveryWarning({ meetingMessages: 'delegate_and_person', purpose: 'user' }, 'Ana')).toBeNull();
  expect(deliveryWarning({ meetingMessages: 'delegate_and_person', purpose: 'room' }, 'Ana')).toContain('room');
});

test('the dedicated mailbox is known by any of its addresses; a gateway that answers 404 says nothing about it', async () => {
  const reader = calendars();
  expect(await reader.dedicatedMailbox('Bookings@contoso.com')).toMatchObject({ kind: 'known' });
  expect(await calendars().dedicatedMailbox('nobody@contoso.com')).toEqual({
    kind: 'missing',
    address: 'nobody@contoso.com',
  });
  sandbox.tenant.faults.push({ status: 404, code: 'UnknownError' });
  expect((await calendars().dedicatedMailbox(contoso.dedicatedMailbox)).kind).toBe('unreadable');
});

test('Retry-After is seconds or a date', () => {
  const at = Date.parse('2026-11-22T12:00:00Z');
  expect([
    readRetryAfter('120', at),
    readRetryAfter('Sun, 22 Nov 2026 12:00:30 GMT', at),
    readRetryAfter('soon', at),
    readRetryAfter(null, at),
  ]).toEqual([120, 30, null, null]);
});
