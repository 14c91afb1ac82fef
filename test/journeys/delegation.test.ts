/** Delegation withdrawn and given back, the report, the script, the assisted grant, and the warning about meeting messages. */
import { afterEach, describe, expect, test } from '@jest/globals';
import { contoso, contosoTenant } from '../../src/sandbox/contoso.ts';
import type { TenantUser } from '../../src/sandbox/tenant.ts';
import { adminToken, eventually, plainPolicy, scimUser, startUsher, type Usher } from '../ground/usher.ts';

let usher: Usher;
afterEach(() => usher.close());

const policy = plainPolicy.replace('["{userName.local}"]', '[]');
const user = (local: string): TenantUser => {
  const found = usher.sandbox.tenant.users.find((entry) => entry.userPrincipalName.startsWith(`${local}@`));
  if (!found) throw new Error(`no ${local}`);
  return found;
};
const push = (...locals: string[]) => Promise.all(locals.map((local) => usher.scim('POST', '/Users', scimUser(local))));
const delegationOf = async (local: string) =>
  (await usher.api('GET', `/people/${local}@${contoso.domain}`)).body.conditions.find(
    (condition: { type: string }) => condition.type === 'Delegation',
  );
const becomes = (local: string, status: string, reason: string | null) =>
  eventually(
    () => delegationOf(local),
    (condition) => condition.status === status && condition.reason === reason,
  );

describe('delegation', () => {
  test('withdrawn and given back is found when somebody says look, and a seat is never taken for it', async () => {
    usher = await startUsher({ policy });
    await push('ana.ruiz');
    await becomes('ana.ruiz', 'true', null);
    await eventually(
      async () => (await usher.api('GET', '/summary')).body.ready,
      (ready) => ready === 1,
    );
    const kept = user('ana.ruiz').calendarPermissions;
    user('ana.ruiz').calendarPermissions = [];
    const check = () => usher.api('POST', '/delegation/check', { who: [`ana.ruiz@${contoso.domain}`] });
    expect((await check()).body).toEqual({ checking: 1 });
    await becomes('ana.ruiz', 'false', 'not_delegated');
    expect((await usher.api('GET', '/summary')).body.licenses['scheduled-meetings'].assigned).toBe(2);
    user('ana.ruiz').calendarPermissions = kept;
    await usher.api('POST', '/delegation/check', {});
    await becomes('ana.ruiz', 'true', null);
  });

  test('the report says who, why and who acts; the script names exactly those whom it can help', async () => {
    usher = await startUsher({ policy });
    await push('ana.ruiz', 'chidi.okafor', 'maeve.obrien', 'priya.sharma');
    await becomes('chidi.okafor', 'false', 'not_delegated');
    await becomes('maeve.obrien', 'false', 'shared_not_delegated');
    await becomes('priya.sharma', 'false', 'no_mailbox');
    const { body: report } = await usher.api('GET', '/delegation');
    expect(report).toMatchObject({ total: 3, byReason: { not_delegated: 1, shared_not_delegated: 1, no_mailbox: 1 } });
    const text = async (at: string) =>
      (await fetch(`${usher.address}/api/v1${at}`, { headers: { authorization: `Bearer ${adminToken}` } })).text();
    const script = await text('/delegation/script');
    expect(script).toContain('chidi.okafor');
    expect(script).toContain('maeve.obrien');
    expect(script).not.toContain('priya.sharma');
    expect(script).not.toContain('ana.ruiz');
    const csv = await text('/delegation?format=csv');
    expect(csv.split('\r\n')[0]).toContain('mailbox,name');
    expect(csv.trim().split('\r\n')).toHaveLength(4);
    expect((await usher.api('GET', '/delegation/instructions')).body.ways.length).toBeGreaterThanOrEqual(2);
    expect((await usher.api('GET', '/delegation/script?who=nobody@contoso.com')).status).toBe(404);
    const second = (await usher.api('GET', '/delegation?limit=1&offset=1')).body;
    expect(second).toMatchObject({ total: 3, byReason: report.byReason, items: [{ name: 'maeve.obrien' }] });
    const one = (await usher.api('GET', '/delegation?limit=5&reason=no_mailbox')).body;
    expect(one).toMatchObject({ total: 1, byReason: report.byReason, items: [{ name: 'priya.sharma' }] });
    const refused = await usher.api('POST', '/delegation/grant', {});
    expect(refused.status).toBe(400);
    expect(refused.body.detail).toContain('assistedGrant: { enabled: true');
  });

  test('the assisted grant keeps to its pilot, and believes the calendar, not the answer', async () => {
    const tenant = contosoTenant();
    tenant.permissions.add('Calendars.ReadWrite');
    usher = await startUsher({
      tenant,
      policy: `${policy}assistedGrant: { enabled: true, pilot: ["Chidi.Okafor@${contoso.domain}", "maeve.obrien@${contoso.domain}"] }\n`,
    });
    await push('chidi.okafor', 'maeve.obrien', 'jose.nunez');
    await becomes('chidi.okafor', 'true', null);
    await becomes('maeve.obrien', 'true', null);
    await becomes('jose.nunez', 'false', 'not_delegated');
    const history = (await usher.api('GET', `/people/chidi.okafor@${contoso.domain}/history`)).body.items;
    expect(history.map((row: { action: string }) => row.action)).toContain('delegation.granted');

    // Withdrawn by somebody: found, shown, and granted again when an admin says so.
    user('chidi.okafor').calendarPermissions = [];
    tenant.grants = 'lie';
    await usher.api('POST', '/delegation/check', { all: true });
    await becomes('chidi.okafor', 'false', 'not_delegated');
    tenant.grants = 'work';
    const plan = await usher.api('POST', '/delegation/grant', { plan: true });
    expect(plan.body).toMatchObject({ granting: 1, items: [{ mailbox: `chidi.okafor@${contoso.domain}` }] });
    expect(user('chidi.okafor').calendarPermissions).toEqual([]);
    const others = structuredClone(user('jose.nunez').calendarPermissions);
    expect((await usher.api('POST', '/delegation/grant', {})).body).toEqual({ granting: 1 });
    await becomes('chidi.okafor', 'true', null);
    expect(user('jose.nunez').calendarPermissions).toEqual(others);

    tenant.grants = 'lie';
    user('chidi.okafor').calendarPermissions = [];
    await usher.api('POST', '/delegation/check', { who: [`chidi.okafor@${contoso.domain}`] });
    const lied = await becomes('chidi.okafor', 'false', 'not_delegated');
    expect(lied.message).toContain('Graph accepted the grant');
  });
});
