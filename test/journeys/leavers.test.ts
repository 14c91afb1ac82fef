/** To whom a leaver's Booking pages go, and that all of it is back after a return. */
import { describe, expect, test } from '@jest/globals';
import { contoso, contosoTenant } from '../../src/sandbox/contoso.ts';
import { adminToken, call, eventually, scimUser, startUsher, type Usher } from '../ground/usher.ts';

const enterprise = 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User';
const policyOf = (source: string) => `
account: { kind: builtin, plan: paid, pools: { scheduled-meetings: 100, engagement: 2 } }
dedicatedMailbox: ${contoso.dedicatedMailbox}
sources: [{ name: people, kind: ${source}, domains: [${contoso.domain}] }]
rules: [{ name: Everybody, licenses: [scheduled-meetings], bookingPages: ["{userName.local}"] }]
bookingPages: { takeFrom: [${contoso.founder}] }
leavers: { holdMinutes: 0, pagesTo: manager }
brake: { maxRemovals: 100, maxPercent: 100 }
`;

const openThe = (usher: Usher) => {
  const person = async (local: string) => (await usher.api('GET', `/people/${local}@${contoso.domain}`)).body;
  const page = async (linkName: string) => {
    const { items } = (await usher.api('GET', `/account/booking-pages?filter=${linkName}`)).body;
    const { owner, enabled } = items.find((entry: { linkName: string }) => entry.linkName === linkName);
    return { owner: owner.email.split('@')[0], enabled };
  };
  const becomes = (local: string, lifecycle: string) =>
    eventually(
      () => person(local),
      (shown) => shown.lifecycle === lifecycle && (lifecycle !== 'wanted' || shown.ready),
      20_000,
    );
  return { person, page, becomes };
};

describe('leavers.pagesTo: manager', () => {
  test('a provider names the manager by id; whoever comes back finds every page and its state as it was', async () => {
    const usher = await startUsher({ policy: policyOf('scim') });
    try {
      await usher.running.makePages(['ana.ruiz', 'bjorn.akesson', 'hoa.dang']);
      const { person, page, becomes } = openThe(usher);
      const bjorn = (await usher.scim('POST', '/Users', scimUser('bjorn.akesson'))).body.id;
      const ana = (
        await usher.scim('POST', '/Users', scimUser('ana.ruiz', { [enterprise]: { manager: { value: bjorn } } }))
      ).body.id;
      const active = (id: string, value: boolean) =>
        usher.scim('PATCH', `/Users/${id}`, {
          schemas: ['urn:ietf:params:scim:api:messages:2.0:PatchOp'],
          Operations: [{ op: 'replace', path: 'active', value }],
        });
      await becomes('bjorn.akesson', 'wanted');
      const { accountUserId } = await becomes('ana.ruiz', 'wanted');
      // Two more that no rule names: one in use, one that she switched off.
      const made = await usher.api('POST', '/account/booking-pages', {
        pages: [
          { linkName: 'ana-sales', ownerId: accountUserId },
          { linkName: 'ana-old', ownerId: accountUserId, enabled: false },
        ],
      });
      expect(made.status).toBe(201);
      // A seat that no rule wishes.
      expect(
        (await usher.api('POST', `/account/users/${accountUserId}/licenses`, { kind: 'engagement' })).status,
      ).toBeLessThan(300);
      const licenses = async () => (await usher.api('GET', `/account/users/${accountUserId}`)).body.licenses;
      expect(await licenses()).toEqual(['engagement', 'scheduled-meetings']);

      await active(ana, false);
      await becomes('ana.ruiz', 'suspended');
      expect(await licenses()).toEqual([]);
      expect(await page('ana.ruiz')).toEqual({ owner: 'bjorn.akesson', enabled: true });
      expect(await page('ana-sales')).toEqual({ owner: 'bjorn.akesson', enabled: true });
      expect(await page('ana-old')).toEqual({ owner: 'bjorn.akesson', enabled: false });

      await active(ana, true);
      const back = await becomes('ana.ruiz', 'wanted');
      expect(back.accountUserId).toBe(accountUserId);
      expect(await page('ana.ruiz')).toEqual({ owner: 'ana.ruiz', enabled: true });
      expect(await page('ana-sales')).toEqual({ owner: 'ana.ruiz', enabled: true });
      expect(await page('ana-old')).toEqual({ owner: 'ana.ruiz', enabled: false });
      expect(await page('bjorn.akesson')).toEqual({ owner: 'bjorn.akesson', enabled: true });
      expect(await licenses()).toEqual(['engagement', 'scheduled-meetings']);
      // Still an Administrator's gift: looking again takes nothing.
      await usher.api('POST', `/people/ana.ruiz@${contoso.domain}/provision`, {});
      expect(await licenses()).toEqual(['engagement', 'scheduled-meetings']);

      // What the manager gave on meanwhile stays there.
      await active(ana, false);
      await becomes('ana.ruiz', 'suspended');
      const { items } = (await usher.api('GET', '/account/booking-pages?filter=ana-sales')).body;
      const founder = (await usher.api('GET', `/account/users?filter=${contoso.founder}`)).body.items[0].accountUserId;
      await usher.api('PUT', `/account/booking-pages/${items[0].pageId}/owner`, { ownerId: founder });
      await active(ana, true);
      await becomes('ana.ruiz', 'wanted');
      expect((await page('ana-sales')).owner).toBe(contoso.founder.split('@')[0]);
      expect((await page('ana-old')).owner).toBe('ana.ruiz');

      // A manager who leaves, too, inherits nothing: an Administrator does, and the page is not open.
      await active(bjorn, false);
      await becomes('bjorn.akesson', 'suspended');
      await active(ana, false);
      // The fourth removal of a small account on one day: the brake wants somebody's word.
      await becomes('ana.ruiz', 'held');
      const held = (await usher.api('GET', '/runs')).body.items.find((run: { state: string }) => run.state === 'held');
      await usher.api('POST', `/runs/${held.runId}/approve`, {});
      await becomes('ana.ruiz', 'suspended');
      expect(await page('ana.ruiz')).toEqual({ owner: contoso.founder.split('@')[0], enabled: false });
      expect((await person('ana.ruiz')).ready).toBe(false);
    } finally {
      await usher.close();
    }
  }, 120_000);

  test('a table names the manager by address', async () => {
    const usher = await startUsher({ policy: policyOf('csv') });
    try {
      await usher.running.makePages(['ana.ruiz', 'bjorn.akesson', 'hoa.dang']);
      const { page, becomes } = openThe(usher);
      const feed = async (table: string) => {
        const plan = await call(`${usher.address}/api/v1/imports?name=people.csv`, 'POST', table, {
          authorization: `Bearer ${adminToken}`,
          'content-type': 'text/csv',
        });
        expect((await usher.api('POST', `/imports/${plan.body.importId}/apply`)).status).toBeLessThan(300);
      };
      await feed(
        `userName,displayName,manager\nana.ruiz@${contoso.domain},Ana Ruiz,Bjorn.Akesson@${contoso.domain}\nbjorn.akesson@${contoso.domain},Björn Åkesson,\n`,
      );
      await becomes('ana.ruiz', 'wanted');
      await becomes('bjorn.akesson', 'wanted');
      await feed(`userName,active\nana.ruiz@${contoso.domain},no\n`);
      await becomes('ana.ruiz', 'suspended');
      expect(await page('ana.ruiz')).toEqual({ owner: 'bjorn.akesson', enabled: true });
    } finally {
      await usher.close();
    }
  }, 60_000);

  test('a polled tenant is asked for the manager when somebody is disabled', async () => {
    const tenant = contosoTenant();
    const usher = await startUsher({ policy: policyOf('graph'), tenant });
    try {
      await usher.running.makePages(['ana.ruiz', 'bjorn.akesson', 'hoa.dang']);
      const { page, becomes } = openThe(usher);
      const user = (local: string) => {
        const found = tenant.users.find((entry) => entry.userPrincipalName.startsWith(`${local}@`));
        if (!found) throw new Error(`no ${local}`);
        return found;
      };
      user('ana.ruiz').manager = user('hoa.dang').objectId;
      await becomes('ana.ruiz', 'wanted');
      await becomes('hoa.dang', 'wanted');
      user('ana.ruiz').accountEnabled = false;
      await usher.api('POST', '/sources/people/poll', {});
      await becomes('ana.ruiz', 'suspended');
      expect(await page('ana.ruiz')).toEqual({ owner: 'hoa.dang', enabled: true });
    } finally {
      await usher.close();
    }
  }, 90_000);
});
