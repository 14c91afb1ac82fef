/** Who sees what: a Member their own page, a viewer everything and no button, an Exchange admin the delegations. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { contoso, contosoTenant, stableId } from '../../src/sandbox/contoso.ts';
import { openBrowser, openPage, photograph, violations } from '../ground/browser.ts';
import { eventually, oidcOf, scimUser, startUsher, type Usher } from '../ground/usher.ts';

const groupOf = (name: string) => stableId(`group ${name}`);
const policy = `
account: { kind: builtin, plan: paid, pools: { scheduled-meetings: 100 }, administrator: { email: ${contoso.founder} } }
dedicatedMailbox: ${contoso.dedicatedMailbox}
sources: [{ name: scim, kind: scim, domains: [${contoso.domain}] }]
rules: [{ name: Everybody, when: { domain: ${contoso.domain} }, licenses: [scheduled-meetings], bookingPages: ["{userName.local}"] }]
bookingPages: { createMissing: from-template }
access: { viewer: [${groupOf('viewers')}], exchange_admin: [${groupOf('exchange')}] }
`;
const tenant = contosoTenant();
let browser: Browser;
let usher: Usher;

beforeAll(async () => {
  for (const [name, local] of [
    ['viewers', 'priya.sharma'],
    ['exchange', 'elif.yildiz'],
  ] as const)
    tenant.groups.push({ objectId: groupOf(name), displayName: name, members: [stableId(local)] });
  [browser, usher] = await Promise.all([
    openBrowser(),
    startUsher({
      tenant,
      policy,
      config: { oidc: oidcOf(tenant) },
    }),
  ]);
  tenant.redirectUris.push(`${usher.address}/sign-in/entra/callback`);
  // Chidi's calendar is not delegated.
  for (const local of ['ana.ruiz', 'chidi.okafor'])
    await usher.scim('POST', '/Users', scimUser(local, { externalId: stableId(local) }));
  await eventually(
    async () => (await usher.api('GET', '/people/chidi.okafor@contoso.com')).body,
    (person) => person.accountUserId !== null && person.reason === 'not_delegated',
  );
  await eventually(
    async () => (await usher.api('GET', '/people/ana.ruiz@contoso.com')).body.ready,
    (ready) => ready === true,
  );
}, 120_000);
afterAll(async () => {
  await browser.close();
  await usher.close();
});

async function as(local: string, work: (page: Page) => Promise<void>): Promise<void> {
  tenant.atTheKeyboard = stableId(local);
  const { page, context } = await openPage(browser, usher);
  try {
    await page.goto('/sign-in');
    await page.getByRole('link', { name: 'Sign in with Microsoft' }).click();
    await page.getByRole('heading', { level: 1 }).waitFor();
    await work(page);
  } finally {
    await context.close();
  }
}

test(
  'a Member sees the own calendar connection with instructions, pages and profile, wherever they go, and mends it',
  () =>
    as('chidi.okafor', async (page) => {
      await page.getByRole('heading', { name: 'Calendar connection' }).waitFor();
      await page.getByText('is not delegated').first().waitFor();
      await page.getByText('Outlook on the web (Microsoft').click();
      await page.getByText(`Enter ${contoso.dedicatedMailbox}`).waitFor();
      expect(await violations(page)).toEqual([]);
      await photograph(page, 'member');
      const chidi = tenant.users.find((user) => user.objectId === stableId('chidi.okafor'));
      if (!chidi) throw new Error('nobody');
      chidi.calendarPermissions = [{ address: contoso.dedicatedMailbox, role: 'delegateWithPrivateEventAccess' }];
      await page.getByRole('button', { name: 'Check again' }).click();
      await page.getByText('is delegated to').first().waitFor();
      await page.getByLabel('Phone').fill('+49 30 1234');
      await page.getByLabel('A week begins on').selectOption('Sunday');
      await page.getByLabel('reminders').uncheck();
      await page.getByLabel('Time zone, as Europe/Berlin').fill('Mars/Base');
      await page.getByRole('button', { name: 'Save' }).click();
      await page.getByText('must be an IANA time zone').waitFor();
      await page.getByLabel('Time zone, as Europe/Berlin').fill('Africa/Lagos');
      await page.getByRole('button', { name: 'Save' }).click();
      await page.getByText('Saved').waitFor();
      const own = (await usher.api('GET', '/account/users?filter=chidi.okafor')).body.items[0];
      expect((await usher.api('GET', `/account/users/${own.accountUserId}`)).body).toMatchObject({
        phone: '+49 30 1234',
        timeZone: 'Africa/Lagos',
        dateTime: { weekStart: 'Sunday' },
        notifications: { bookingReminders: false, bookingScheduled: true },
      });
      await page.getByRole('button', { name: /^Switch off/ }).click();
      await page.getByRole('button', { name: /^Switch on/ }).click();
      await page.getByRole('button', { name: /^Switch off/ }).waitFor();
      // The lists are nobody's but the administrators', and neither is the stream.
      await page.goto('/users');
      await page.getByRole('heading', { name: 'Calendar connection' }).waitFor();
      expect(await page.getByRole('navigation').count()).toBe(0);
      expect((await page.request.get('/api/v1/people')).status()).toBe(403);
      expect((await page.request.get('/api/v1/events')).status()).toBe(403);
    }),
  60_000,
);

test(
  'a viewer reads everything, and is offered nothing that would be refused',
  () =>
    as('priya.sharma', async (page) => {
      await page.getByRole('heading', { name: 'What is in the way' }).waitFor();
      await page.getByRole('link', { name: 'Users', exact: true }).click();
      await page
        .getByRole('link', { name: 'Ana Ruiz' })
        .or(page.getByRole('link', { name: 'ana.ruiz' }))
        .click();
      await page.getByRole('heading', { name: 'The four steps' }).waitFor();
      expect(await page.getByRole('button', { name: 'Provision now' }).count()).toBe(0);
      await page.getByRole('link', { name: 'Sources and settings' }).click();
      await page.getByRole('heading', { name: 'Set-up guides' }).waitFor();
      expect(await page.getByRole('heading', { name: 'SCIM address and tokens' }).count()).toBe(0);
      for (const name of ['Onboard', 'Runs', 'Tasks', 'Delegation']) {
        await page.getByRole('link', { name: new RegExp(`^${name}`) }).click();
        await page.getByRole('heading', { level: 1, name }).waitFor();
      }
      for (const name of ['Check all of them again', 'Compare everybody now', 'Add user'])
        expect(await page.getByRole('button', { name }).count()).toBe(0);
      await page.getByRole('link', { name: 'Onboard' }).click();
      expect(await page.locator('input[type=file]').count()).toBe(0);
      const origin = { origin: usher.address };
      expect((await page.request.post('/api/v1/runs/reconcile', { data: {}, headers: origin })).status()).toBe(403);
    }),
  60_000,
);

test(
  'an Exchange admin checks delegations and brings tables, and decides no removal',
  () =>
    as('elif.yildiz', async (page) => {
      await page.getByRole('link', { name: 'Onboard' }).click();
      await page.locator('input[type=file]').waitFor();
      await page.getByRole('link', { name: 'Runs' }).click();
      await page.getByRole('heading', { level: 1, name: 'Runs' }).waitFor();
      expect(await page.getByRole('button', { name: 'Compare everybody now' }).count()).toBe(0);
      // A form of another site that rides on the session is refused.
      const elsewhere = { origin: 'https://elsewhere.example' };
      expect((await page.request.post('/api/v1/delegation/check', { data: {}, headers: elsewhere })).status()).toBe(
        403,
      );
      const own = { origin: usher.address };
      expect((await page.request.post('/api/v1/delegation/check', { data: {}, headers: own })).status()).toBe(202);
    }),
  60_000,
);

test('an Administrator who becomes a Member meanwhile is left with what a Member sees', async () => {
  const { accountUserId } = (await usher.api('GET', '/people/ana.ruiz@contoso.com')).body;
  const become = (role: string) => usher.api('PATCH', `/account/users/${accountUserId}`, { role });
  expect((await become('Administrator')).status).toBe(200);
  await as('ana.ruiz', async (page) => {
    await page.getByRole('heading', { name: 'What is in the way' }).waitFor();
    expect((await become('Member')).status).toBe(200);
    await page.getByRole('heading', { name: 'Calendar connection' }).waitFor({ timeout: 20_000 });
    expect(await page.getByRole('navigation').count()).toBe(0);
  });
}, 60_000);
