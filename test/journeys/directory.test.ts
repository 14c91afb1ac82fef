/** The directory poller, from a change in the tenant to the change in the account. */
import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { contoso, contosoTenant } from '../../src/sandbox/contoso.ts';
import type { Tenant, TenantUser } from '../../src/sandbox/tenant.ts';
import { eventually, scimUser, startUsher, type Usher } from '../ground/usher.ts';

const group = 'aaaaaaaa-0000-4000-8000-000000000001';
const inner = 'aaaaaaaa-0000-4000-8000-000000000002';
const policy = `
account: { kind: builtin, plan: paid, pools: { scheduled-meetings: 100 } }
dedicatedMailbox: ${contoso.dedicatedMailbox}
sources:
  - { name: graph, kind: graph, domains: [${contoso.domain}] }
  - { name: scim, kind: scim, domains: [${contoso.domain}] }
rules:
  - { name: Advisors, when: { group: { id: ${group} } }, bookingPages: [] }
bookingPages: { takeFrom: [${contoso.founder}] }
leavers: { holdMinutes: 0 }
brake: { maxRemovals: 100, maxPercent: 100 }
`;

let tenant: Tenant;
let usher: Usher;
const user = (local: string): TenantUser => {
  const found = [...tenant.users, ...tenant.deletedUsers].find((entry) =>
    entry.userPrincipalName.startsWith(`${local}@`),
  );
  if (!found) throw new Error(`no ${local}`);
  return found;
};
const id = (local: string) => user(local).objectId;
const outOf = (groupId: string, member: string): void => {
  for (const entry of tenant.groups)
    if (entry.objectId === groupId) entry.members = entry.members.filter((other) => other !== member);
};
const softDelete = (local: string): void => {
  const gone = user(local);
  tenant.users = tenant.users.filter((entry) => entry !== gone);
  tenant.deletedUsers.push(gone);
};
const restore = (local: string): void => {
  const back = user(local);
  tenant.deletedUsers = tenant.deletedUsers.filter((entry) => entry !== back);
  tenant.users.push(back);
};
const person = async (local: string) => (await usher.api('GET', `/people/${local}@${contoso.domain}`)).body;
const becomes = (local: string, isSo: (shown: { lifecycle: string; ready: boolean; personId: string }) => boolean) =>
  eventually(
    () => person(local),
    (shown) => shown.lifecycle !== undefined && isSo(shown),
    30_000,
  );
const polls = async () =>
  (await usher.api('GET', '/runs')).body.items.filter((run: { kind: string }) => run.kind === 'poll');
/** The directory is read once more from here on, to the end. */
const readOnce = async (): Promise<void> => {
  const before = (await usher.api('GET', '/sources/graph/sync')).body.lastFinishedAt;
  await usher.api('POST', '/sources/graph/poll', {});
  await eventually(
    async () => (await usher.api('GET', '/sources/graph/sync')).body,
    (sync) => sync.lastFinishedAt !== before && !sync.running,
    30_000,
  );
};

beforeEach(async () => {
  tenant = contosoTenant();
  tenant.groups = [
    { objectId: group, displayName: 'Advisors', members: ['ana.ruiz', 'bjorn.akesson', 'hoa.dang'].map(id) },
    { objectId: inner, displayName: 'Inner', members: [id('elif.yildiz')] },
  ];
  usher = await startUsher({ policy, tenant });
}, 60_000);
afterEach(() => usher.close());

describe('the directory poller', () => {
  test('joiner, mover, leaver and restore end as they should, each the same person', async () => {
    await becomes('ana.ruiz', (shown) => shown.ready);
    await becomes('bjorn.akesson', (shown) => shown.ready);
    expect(await person('elif.yildiz')).toMatchObject({ lifecycle: 'out_of_scope', ready: false });

    // A joiner who comes into the group before the directory shows them: the member row waits for the user.
    const local = 'new.comer';
    const joiner: TenantUser = {
      ...user('ana.ruiz'),
      objectId: randomUUID(),
      userPrincipalName: `${local}@${contoso.domain}`,
      displayName: 'New Comer',
      mail: `${local}@${contoso.domain}`,
      proxyAddresses: [`SMTP:${local}@${contoso.domain}`],
    };
    tenant.groups[0]?.members.push(joiner.objectId);
    await readOnce();
    tenant.users.push(joiner);
    const { personId } = await becomes(local, (shown) => shown.ready);

    // A mover: in through a group inside the group, and out again.
    tenant.groups[0]?.members.push(inner);
    await becomes('elif.yildiz', (shown) => shown.ready);
    outOf(group, inner);
    await becomes('elif.yildiz', (shown) => shown.lifecycle === 'suspended');

    // A leaver is soft-deleted and stays a member; restored, they are the same person.
    softDelete(local);
    await becomes(local, (shown) => shown.lifecycle === 'suspended');
    restore(local);
    const back = await becomes(local, (shown) => shown.lifecycle === 'wanted' && shown.ready);
    expect(back.personId).toBe(personId);

    // Disabled is a leaver, too; a rename is the same person.
    user('hoa.dang').accountEnabled = false;
    await becomes('hoa.dang', (shown) => shown.lifecycle === 'suspended');
    const renamed = await person('bjorn.akesson');
    Object.assign(user('bjorn.akesson'), {
      userPrincipalName: `bjorn.new@${contoso.domain}`,
      mail: `bjorn.new@${contoso.domain}`,
    });
    expect((await becomes('bjorn.new', (shown) => shown.ready)).personId).toBe(renamed.personId);
  }, 120_000);

  test('the same human pushed by SCIM and found in the tenant is one person', async () => {
    await becomes('ana.ruiz', (shown) => shown.ready);
    const { personId } = await person('ana.ruiz');
    const made = await usher.scim('POST', '/Users', scimUser('ana.ruiz', { externalId: id('ana.ruiz') }));
    expect(made.status).toBe(201);
    expect((await person('ana.ruiz')).personId).toBe(personId);
    await readOnce();
    const all = (await usher.api('GET', '/people?filter=ana.ruiz')).body.items;
    expect(all.map((shown: { personId: string }) => shown.personId)).toEqual([personId]);
  }, 60_000);

  test('an expired link reads everything anew and removes nobody, whoever the new read does not show', async () => {
    await becomes('ana.ruiz', (shown) => shown.ready);
    for (const expired of ['gone', 'syncStateNotFound'] as const) {
      tenant.delta.expired = expired;
      await readOnce();
      const runs = await polls();
      expect(runs.some((run: { report: { resync: string | null } }) => run.report?.resync !== null)).toBe(true);
    }
    expect(await person('ana.ruiz')).toMatchObject({ lifecycle: 'wanted', ready: true });

    // Somebody vanished while the link was dead: a full read can not say so, a direct read can.
    softDelete('ana.ruiz');
    tenant.delta.expired = 'gone';
    await becomes('ana.ruiz', (shown) => shown.lifecycle === 'suspended');
  }, 90_000);

  test('a full read that shows nobody removes nobody, and says so', async () => {
    await becomes('ana.ruiz', (shown) => shown.ready);
    const everybody = tenant.users;
    const groups = tenant.groups;
    tenant.users = [];
    tenant.groups = [];
    await usher.api('POST', '/sources/graph/poll', { full: true });
    await eventually(
      async () => (await usher.api('GET', '/alerts')).body.items.map((alert: { kind: string }) => alert.kind),
      (kinds) => kinds.includes('directory_empty') && kinds.includes('groups_empty'),
      30_000,
    );
    tenant.users = everybody;
    tenant.groups = groups;
    await readOnce();
    const summary = (await usher.api('GET', '/summary')).body;
    expect(summary.lifecycles.leaving ?? 0).toBe(0);
    expect(await person('ana.ruiz')).toMatchObject({ lifecycle: 'wanted' });
  }, 90_000);

  test('empty pages, repeated users and a page that breaks cost nobody', async () => {
    tenant.delta = { pageSize: 4, emptyEvery: 2, repeat: 2, expired: false };
    tenant.faults.push(
      { status: 503, code: 'UnknownError', path: /delta/ },
      { status: 429, code: 'TooManyRequests', retryAfterSeconds: 1, path: /delta/ },
    );
    await usher.api('POST', '/sources/graph/poll', { full: true });
    await readOnce();
    expect((await usher.api('GET', '/people?source=graph&limit=500')).body.total).toBe(tenant.users.length);
    await becomes('ana.ruiz', (shown) => shown.ready);
  }, 60_000);

  test('a change of groups that a direct read contradicts takes nobody out, nor does one that nobody can confirm', async () => {
    await becomes('ana.ruiz', (shown) => shown.ready);
    tenant.membersStill.add(id('ana.ruiz'));
    outOf(group, id('ana.ruiz'));
    await readOnce();
    expect(await person('ana.ruiz')).toMatchObject({ lifecycle: 'wanted', ready: true });
    tenant.groups[0]?.members.push(id('ana.ruiz'));
    await readOnce();

    // The question is not answered: the round waits for it.
    tenant.membersStill.clear();
    tenant.faults.push(...Array.from({ length: 4 }, () => ({ status: 503, code: 'X', path: /checkMemberGroups/ })));
    outOf(group, id('bjorn.akesson'));
    await becomes('bjorn.akesson', (shown) => shown.lifecycle === 'suspended');
    expect(tenant.faults).toEqual([]);
    expect(await person('ana.ruiz')).toMatchObject({ lifecycle: 'wanted', ready: true });
  }, 120_000);

  test('a name that goes from one human to another within one page stops nobody', async () => {
    await becomes('ana.ruiz', (shown) => shown.ready);
    const [first, second] = [user('ana.ruiz'), user('bjorn.akesson')];
    const { personId } = await person('ana.ruiz');
    const names = (one: TenantUser) => ({
      userPrincipalName: one.userPrincipalName,
      mail: one.mail,
      proxyAddresses: one.proxyAddresses,
    });
    const [a, b] = [names(first), names(second)];
    Object.assign(first, b);
    Object.assign(second, a);
    const swapped = await eventually(
      async () => (await usher.api('GET', `/people/${personId}`)).body,
      (shown) => shown.email === b.mail && shown.ready,
      60_000,
    );
    expect(swapped.personId).toBe(personId);

    // Deleted, and the name given to a newcomer, in one change.
    softDelete('hoa.dang');
    const heir: TenantUser = { ...user('hoa.dang'), objectId: randomUUID(), displayName: 'Another Hoa' };
    tenant.users.push(heir);
    tenant.groups[0]?.members.push(heir.objectId);
    await eventually(
      async () => (await usher.api('GET', '/people?filter=hoa.dang&limit=50')).body.items,
      (items) => items.some((shown: { externalId: string }) => shown.externalId === heir.objectId),
      30_000,
    );
  }, 120_000);

  test('a full read whose last part breaks off is finished later, and finds who is missing', async () => {
    await becomes('ana.ruiz', (shown) => shown.ready);
    softDelete('ana.ruiz');
    tenant.delta.expired = 'gone';
    // The direct read of who is missing fails for a while, after the pages were stored.
    tenant.faults.push(...Array.from({ length: 6 }, () => ({ status: 503, code: 'X', path: /^\/\$batch$/ })));
    await becomes('ana.ruiz', (shown) => shown.lifecycle === 'suspended');
  }, 120_000);

  test('guests and disabled accounts are told apart, and nobody of them is in scope', async () => {
    user('hoa.dang').userType = 'Guest';
    await readOnce();
    await becomes('hoa.dang', (shown) => ['suspended', 'out_of_scope', 'leaving'].includes(shown.lifecycle));
  }, 60_000);
});

describe('change notifications', () => {
  test('wake the poller, count only with their secret, and are asked for anew when they end', async () => {
    const watched = await startUsher({ policy, tenant: contosoTenant(), notified: true });
    try {
      const { tenant: told } = watched.sandbox;
      const subscription = await eventually(
        async () => told.subscriptions.find((entry) => entry.resource === '/users'),
        (found) => found !== undefined,
      );
      const address = `${watched.address}/graph/notifications`;
      const state = async () => (await watched.api('GET', '/sources/graph/sync')).body;
      const { lastFinishedAt } = await eventually(state, (sync) => sync.lastFinishedAt !== null && !sync.running);
      const notify = (value: unknown[]) =>
        fetch(address, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ value }),
        });
      const entry = { subscriptionId: subscription?.id, clientState: subscription?.clientState, changeType: 'updated' };

      expect((await notify([{ ...entry, clientState: 'made up' }])).status).toBe(202);
      expect((await notify([])).status).toBe(202);
      await new Promise((resolve) => setTimeout(resolve, 2500));
      expect((await state()).lastFinishedAt).toBe(lastFinishedAt);

      expect((await notify([entry])).status).toBe(202);
      const again = await eventually(state, (sync) => sync.lastFinishedAt !== lastFinishedAt && !sync.running);

      const before = told.subscriptions.find((one) => one.id === subscription?.id)?.expiresAt;
      await notify([{ ...entry, lifecycleEvent: 'reauthorizationRequired' }]);
      await eventually(state, (sync) => sync.lastFinishedAt !== again.lastFinishedAt && !sync.running);
      expect(told.subscriptions.find((one) => one.id === subscription?.id)?.expiresAt).not.toBe(before);

      const page = await fetch(`${address}?validationToken=${encodeURIComponent('<b>x</b>')}`, { method: 'POST' });
      expect(page.headers.get('content-type')).toContain('text/plain');
      expect(
        (await fetch(address, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{ broken' }))
          .status,
      ).toBe(400);
    } finally {
      await watched.close();
    }
  }, 60_000);
});
