/** The console in a real browser, as the people use it who look at it all day. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { contoso, contosoTenant } from '../../src/sandbox/contoso.ts';
import { openBrowser, openPage, photograph, signIn, violations, type Watched } from '../ground/browser.ts';
import { eventually, scimUser, startUsher, type Usher } from '../ground/usher.ts';

const policy = `
account: { kind: builtin, plan: paid, pools: { scheduled-meetings: 60 }, administrator: { email: ${contoso.founder} } }
dedicatedMailbox: ${contoso.dedicatedMailbox}
assistedGrant: { enabled: true, pilot: [jose.nunez@${contoso.domain}] }
sources:
  - { name: scim, kind: scim, domains: [${contoso.domain}] }
  - { name: csv, kind: csv, domains: [${contoso.domain}] }
  - { name: console, kind: console, domains: [${contoso.domain}] }
rules: [{ name: Everybody, when: { domain: ${contoso.domain} }, licenses: [scheduled-meetings], bookingPages: ["{userName.local}"] }]
bookingPages: { createMissing: from-template }
leavers: { holdMinutes: 0 }
brake: { maxRemovals: 3 }
`;
const pages = ['/', '/users', '/onboard', '/delegation', '/runs', '/tasks', '/sources'];

let browser: Browser;
let usher: Usher;
let watched: Watched;
let page: Page;
const tenant = contosoTenant();

beforeAll(async () => {
  [browser, usher] = await Promise.all([openBrowser(), startUsher({ policy, tenant })]);
  watched = await openPage(browser, usher);
  page = watched.page;
  await signIn(page);
}, 120_000);
afterAll(async () => {
  await browser.close();
  await usher.close();
});

const heading = (name: string | RegExp) => page.getByRole('heading', { name });

describe('signed in with the admin token', () => {
  test('whoever is not signed in comes to the sign-in, and a wrong token is refused', async () => {
    const other = await openPage(browser, usher);
    await other.page.goto('/users');
    expect(new URL(other.page.url()).pathname).toBe('/sign-in');
    // And, once signed in, to where one wanted to go.
    await signIn(other.page);
    expect(new URL(other.page.url()).pathname).toBe('/users');
    await other.page.getByRole('button', { name: 'Sign out' }).click();
    await other.page.getByLabel('Admin token').waitFor();
    await other.page.getByLabel('Admin token').fill('wrong');
    await other.page.locator('form[action="/sign-in/token"] button').click();
    await other.page.getByText('This is no admin token that is live').waitFor();
    await other.context.close();
  });

  test('its files come compressed, and are kept for a year; a file that is not there is none', async () => {
    const html = await (await page.request.get('/', { headers: { accept: 'text/html' } })).text();
    const script = /src="(\/assets\/[^"]+)"/.exec(html)?.[1] ?? '';
    const asked = await fetch(`${usher.address}${script}`, { headers: { 'accept-encoding': 'gzip' } });
    expect(asked.headers.get('content-encoding')).toBe('gzip');
    expect(asked.headers.get('cache-control')).toContain('immutable');
    expect((await fetch(`${usher.address}/assets/nothing.js`)).status).toBe(404);
  });

  test('the first screen of an empty installation says how to begin', async () => {
    await heading('Nobody is here yet').waitFor();
    await page.getByRole('link', { name: 'Onboard people from a table' }).waitFor();
    await page.getByRole('link', { name: 'Add somebody by hand' }).waitFor();
    const health = page.getByRole('region', { name: 'Connections' });
    await health.getByText('not permitted: Calendars.ReadWrite').waitFor();
    await health.getByText('Set USHER_SMTP_URL and USHER_MAIL_FROM').waitFor();
    expect(await health.getByRole('img', { name: 'Works' }).count()).toBe(3);
    await photograph(page, 'home-empty');
  });

  test('a table is dropped, read as a plan, mended in place, applied, and watched to Ready', async () => {
    await page.getByRole('link', { name: 'Onboard', exact: true }).click();
    await page.getByLabel(/Drop a CSV file here/).setInputFiles({
      name: 'people.csv',
      mimeType: 'text/csv',
      buffer: Buffer.from(
        'Email,Display name,Active\nana.ruiz@contoso.com,Ana Ruiz,yes\nbjorn.akesson@contoso.com,Björn Åkesson,yes\nchidi.okafor@contoso.com,Chidi Okafor,yes\nhoa.dang@contoso,com,Hoa,yes\n',
      ),
    });
    await heading('people.csv').waitFor();
    await page.getByText('Planned; nothing is done yet').waitFor();
    expect((await usher.api('GET', '/summary')).body.people).toBe(0);
    await heading('Rows that were not taken: 1').waitFor();
    expect(await violations(page)).toEqual([]);
    await photograph(page, 'onboard-plan');
    await page.getByRole('button', { name: 'Do what this plan says' }).click();
    // Chidi's calendar is not delegated; the other two become Ready before one's eyes.
    await page.getByText('2 of 3 people are Ready').waitFor();
    await page.getByRole('img', { name: /^Ready a minute: .* since/ }).waitFor();
    await photograph(page, 'onboard-applied');
    await page.getByRole('link', { name: 'Who is not Ready, and why' }).click();
    await page.getByRole('link', { name: 'Chidi Okafor' }).waitFor();
    expect(page.url()).toContain('ready=false');
  }, 60_000);

  test('a table with headings that nobody knows is mapped column by column', async () => {
    await page.goto('/onboard');
    await page.getByLabel(/Drop a CSV file here/).setInputFiles({
      name: 'staff.csv',
      mimeType: 'text/csv',
      buffer: Buffer.from('Contact;Human\nana.ruiz@contoso.com;Ana Ruiz\n'),
    });
    await page.getByText('The CSV has no column').waitFor();
    expect(await page.getByRole('button', { name: 'Read with this mapping' }).isDisabled()).toBe(true);
    await page.getByLabel('Contact').selectOption('email');
    await page.getByLabel('Human').selectOption('email');
    await page.getByText('email is chosen for two columns.').waitFor();
    await page.getByLabel('Human').selectOption('displayName');
    expect(await violations(page)).toEqual([]);
    await page.getByRole('button', { name: 'Read with this mapping' }).click();
    await heading('staff.csv').waitFor();
    await page.getByText('As they are', { exact: true }).waitFor();
  });

  test('a delegation that is missing is seen, and mended while one watches', async () => {
    await page.getByRole('link', { name: 'Delegation', exact: true }).click();
    await page.getByRole('link', { name: 'Chidi Okafor' }).waitFor();
    await photograph(page, 'delegation');
    await page.getByRole('button', { name: 'PowerShell for these people' }).click();
    await page.getByText('Add-MailboxFolderPermission').first().waitFor();
    const chidi = tenant.users.find((user) => user.userPrincipalName.startsWith('chidi.okafor'));
    if (!chidi) throw new Error('nobody');
    chidi.calendarPermissions = [{ address: contoso.dedicatedMailbox, role: 'delegateWithPrivateEventAccess' }];
    await page.getByRole('button', { name: /Check again.*Chidi Okafor/ }).click();
    await page.getByText('Every calendar that is needed is delegated.').waitFor();
    await page.getByRole('link', { name: 'Home' }).click();
    await page.getByText('of 3 people can be booked').waitFor();
    await page.getByRole('img', { name: '100%' }).waitFor();
  }, 60_000);

  test('a person shows the four steps with evidence, runs them now, and its history', async () => {
    await page.getByRole('link', { name: 'Users', exact: true }).click();
    await page.getByLabel('Name or e-mail').fill('chidi');
    await eventually(
      () => Promise.resolve(page.url()),
      (url) => url.includes('filter=chidi'),
    );
    await page.getByRole('link', { name: 'Chidi Okafor' }).click();
    await heading('The four steps').waitFor();
    await page.getByRole('button', { name: 'Provision now' }).click();
    await page.getByRole('status', { name: 'What was done' }).getByText('As wished').first().waitFor();
    await page.getByText('page.created', { exact: true }).waitFor();
    expect(await violations(page)).toEqual([]);
    await photograph(page, 'person');
    await page.goBack();
    expect(page.url()).toContain('filter=chidi');
  }, 60_000);

  test('a held run is approved in part, and the rest is kept', async () => {
    const locals = ['one', 'two', 'three', 'four', 'five', 'six'];
    const ids: string[] = [];
    for (const local of locals) ids.push((await usher.scim('POST', '/Users', scimUser(local))).body.id);
    await eventually(
      // Whoever leaves before a user was made leaves nothing to take.
      async () => (await usher.api('GET', '/summary')).body.conditions.Profile.true,
      (count) => count === 9,
    );
    for (const id of ids) await usher.scim('DELETE', `/Users/${id}`);
    const held = await eventually(
      async () => (await usher.api('GET', '/runs')).body.items.find((run: { state: string }) => run.state === 'held'),
      (run) => run?.removals.filter((removal: { state: string }) => removal.state === 'held').length === 3,
    );
    await page.getByRole('link', { name: /^Runs/ }).click();
    await page.getByRole('link', { name: 'Leavers' }).click();
    const names: string[] = held.removals.map((removal: { displayName: string }) => removal.displayName);
    await page.getByRole('checkbox', { name: `Choose ${names[0]}`, exact: true }).check();
    await photograph(page, 'run-held');
    expect(await violations(page)).toEqual([]);
    await page.getByRole('button', { name: 'Remove 1' }).click();
    await page.getByRole('row', { name: new RegExp(`${names[0]}.*Removal approved`) }).waitFor();
    await page.getByRole('button', { name: 'Keep all 2' }).click();
    await page.getByRole('button', { name: 'Yes: Keep all 2' }).click();
    await page.getByRole('row', { name: new RegExp(`${names[1]}.*Kept`) }).waitFor();
    // Nothing is left to press, and whoever was kept is told as that.
    expect(await page.getByRole('button', { name: /^Keep|^Remove/ }).count()).toBe(0);
    await page.getByRole('link', { name: names[1] ?? '' }).click();
    await page.getByText('Somebody decided to keep this user').first().waitFor();
    const after = (await usher.api('GET', `/runs/${held.runId}`)).body.removals.map(
      ({ state }: { state: string }) => state,
    );
    expect(after.sort()).toEqual(['admitted', 'kept', 'kept']);
  }, 60_000);

  test('a token is made, shown once, and revoked; the tenant shows its permissions', async () => {
    await page.goto('/sources');
    await page.getByText('Calendars.ReadBasic').waitFor();
    const consent = await page.getByRole('link', { name: 'Consent, as an admin of the tenant' }).getAttribute('href');
    expect(consent).toContain(`/${tenant.tenantId}/adminconsent?client_id=`);
    await page.getByLabel('What it is for').fill('Okta');
    await page.getByRole('button', { name: 'Make a token' }).click();
    const token = await page.locator('[role=status] .tokenvalue').textContent();
    const asked = await fetch(`${usher.address}/scim/v2/Users`, { headers: { authorization: `Bearer ${token}` } });
    expect(asked.status).toBe(200);
    await page.reload();
    await page.getByText('Okta').first().waitFor();
    expect(await page.content()).not.toContain(token);
    // The next one beside it, until the provider has it; then the one before is revoked.
    await page.getByRole('button', { name: /^Rotate.*Okta/ }).click();
    const next = await page.locator('[role=status] .tokenvalue').textContent();
    expect(next).not.toBe(token);
    const old = page
      .getByRole('region', { name: 'SCIM address and tokens' })
      .getByRole('listitem')
      .filter({ hasText: 'Okta' })
      .first();
    await old.getByRole('button', { name: 'Revoke …' }).click();
    await old.getByRole('button', { name: 'Yes: Revoke' }).click();
    const status = (bearer: string | null) =>
      fetch(`${usher.address}/scim/v2/Users`, { headers: { authorization: `Bearer ${bearer}` } }).then((a) => a.status);
    await eventually(
      () => Promise.all([status(token), status(next)]),
      ([before, now]) => before === 401 && now === 200,
    );
    // The policy in force, to be edited: every fault is told with its line, and nothing is done by looking.
    await page.getByText('The policy in force').click();
    await page.getByRole('button', { name: 'Edit a copy of it' }).click();
    const text = page.getByLabel('Try an edited policy (YAML); nothing is done');
    await text.fill((await text.inputValue()).replace('contoso.com', 'fabrikam.com').replace('Everybody', '[}'));
    await page.getByRole('button', { name: 'What would this change?' }).click();
    await page.getByRole('alert').waitFor();
  });

  test('somebody is added by hand, after what it would mean; changed by hand; offboarded, and taken back', async () => {
    await page.getByRole('link', { name: 'Users', exact: true }).click();
    await page.getByRole('button', { name: 'Add user' }).click();
    const dialog = page.getByRole('dialog', { name: 'Add user' });
    await dialog.getByLabel('E-mail address').fill('ana.ruiz@contoso.com');
    await dialog.getByRole('button', { name: 'What would this do?' }).click();
    await dialog.getByText('Known already, joined').waitFor();
    await dialog.getByLabel('E-mail address').fill('dara.oshea@contoso.com');
    await dialog.getByLabel('First name', { exact: true }).fill('Dara');
    await dialog.getByLabel('Last name', { exact: true }).fill("O'Shea");
    await dialog.getByRole('button', { name: 'What would this do?' }).click();
    await dialog.getByText('licenses: scheduled-meetings; Booking pages: dara.oshea').waitFor();
    expect(await violations(page)).toEqual([]);
    await photograph(page, 'users-add');
    await dialog.getByRole('button', { name: 'Add this person' }).click();
    await page.getByRole('link', { name: "Dara O'Shea was added." }).click();
    await heading("Dara O'Shea").waitFor();
    await page.getByText('console: active').waitFor();

    await page.getByRole('region', { name: 'What the sources say' }).getByRole('button', { name: 'Edit' }).click();
    const edit = page.getByRole('dialog', { name: 'Edit' });
    await edit.getByLabel('Department').fill('Advisory');
    await edit.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('region', { name: 'What the sources say' }).getByText('Advisory').waitFor();

    await page.getByRole('button', { name: 'Offboard …' }).click();
    await page.getByRole('button', { name: 'Yes: Offboard' }).click();
    await page.getByText('because: Offboarded by hand').waitFor();
    await photograph(page, 'person-leaving');
    await page.getByRole('button', { name: 'Take the leaving back …' }).click();
    await page.getByRole('button', { name: 'Yes: Take the leaving back' }).click();
    await page.getByRole('button', { name: 'Provision now' }).waitFor();
  }, 60_000);

  test('a delegation is granted by Usher where the policy lets it, after for whom', async () => {
    await usher.scim('POST', '/Users', scimUser('jose.nunez'));
    await page.getByRole('link', { name: 'Delegation', exact: true }).click();
    // Without the permission Graph refuses, and the list says so.
    await page.getByText('Graph refused the grant for jose.nunez').waitFor();
    tenant.permissions.add('Calendars.ReadWrite');
    await page.getByRole('button', { name: 'For whom would it be granted now?' }).click();
    await page
      .getByRole('listitem')
      .filter({ hasText: `jose.nunez@${contoso.domain}` })
      .waitFor();
    expect(await violations(page)).toEqual([]);
    await photograph(page, 'delegation-grant');
    await page.getByRole('button', { name: 'Grant 1 now …' }).click();
    await page.getByRole('button', { name: 'Yes: Grant 1 now' }).click();
    await page.getByText('Being granted and read back: 1').waitFor();
    await page.getByRole('link', { name: 'jose.nunez' }).waitFor({ state: 'detached' });
    await eventually(
      async () => (await usher.api('GET', `/people/jose.nunez@${contoso.domain}`)).body.ready,
      (ready) => ready,
    );
  }, 60_000);

  test('what is done to many is said of each first, and of each after; one who can not holds up nobody', async () => {
    await page.goto('/users?filter=contoso.com');
    await page.getByRole('button', { name: /^Choose all/ }).click();
    const bulk = page.getByRole('region', { name: 'Chosen people' });
    await bulk.getByLabel('What to do').selectOption('restore');
    await bulk.getByRole('button', { name: 'What would be done?' }).click();
    await bulk.getByRole('heading', { name: 'What would be done; nothing was' }).waitFor();
    await bulk.getByRole('listitem').filter({ hasText: 'Ana Ruiz: Nothing: Wanted' }).waitFor();
    await bulk.getByRole('listitem').filter({ hasText: 'one: Not possible: Every source deleted' }).waitFor();
    expect(await violations(page)).toEqual([]);
    await photograph(page, 'users-bulk');
    await bulk.getByRole('button', { name: 'Do it' }).click();
    await bulk.getByRole('heading', { name: 'What was done' }).waitFor();
    await bulk.getByRole('listitem').filter({ hasText: 'Ana Ruiz: Nothing: Wanted' }).waitFor();
    // Whom the source deleted nobody brings back by hand.
    await bulk.getByRole('listitem').filter({ hasText: 'one: Failed: Every source deleted this person' }).waitFor();
  }, 60_000);

  test('what a rule manages is refused by its name, then kept by hand, then taken back', async () => {
    const { personId } = (await usher.api('GET', '/people/ana.ruiz@contoso.com')).body;
    await page.goto(`/people/${personId}`);
    const account = page.getByRole('region', { name: 'In the scheduling account' });
    await account.getByRole('button', { name: 'Edit' }).click();
    await account.getByLabel('Name').fill('Ana Maria Ruiz');
    await account.getByRole('button', { name: 'Save' }).click();
    await account.getByText('Rule «Everybody» manages this').waitFor();
    expect(await violations(page)).toEqual([]);
    await account.getByRole('button', { name: 'Keep it by hand' }).click();
    await account.getByRole('heading', { name: 'Kept by hand' }).waitFor();
    await photograph(page, 'person-kept');
    await account.getByRole('button', { name: 'Take back' }).click();
    await account.getByRole('heading', { name: 'Kept by hand' }).waitFor({ state: 'detached' });
    await eventually(
      async () => (await usher.api('GET', '/account/users?filter=ana.ruiz')).body.items[0].name,
      (name) => name === 'Ana Ruiz',
    );
  }, 60_000);

  test.each(pages)(
    '%s has nothing that axe finds, in light and in dark, narrow and zoomed, and asks nothing from elsewhere',
    async (at) => {
      for (const [colorScheme, width] of [
        ['light', 1280],
        ['dark', 1280],
        ['light', 360],
      ] as const) {
        await page.emulateMedia({ colorScheme });
        await page.setViewportSize({ width, height: 900 });
        await page.goto(at);
        await page.getByRole('heading', { level: 1 }).waitFor();
        await page.waitForLoadState('domcontentloaded');
        await page.locator('.fui-Spinner').first().waitFor({ state: 'detached' });
        expect([colorScheme, width, await violations(page)]).toEqual([colorScheme, width, []]);
        await photograph(page, `${at === '/' ? 'home' : at.slice(1)}-${colorScheme}-${width}`);
        // 360 px is also 200 % of 720: the page itself never scrolls sideways.
        expect(
          await page.evaluate<number>('document.documentElement.scrollWidth - window.innerWidth'),
        ).toBeLessThanOrEqual(0);
      }
      await page.emulateMedia({ colorScheme: 'light' });
      await page.setViewportSize({ width: 1280, height: 900 });
    },
    60_000,
  );

  test('in German, with numbers and dates as Germans write them', async () => {
    const german = await openPage(browser, usher, { locale: 'de-DE' });
    await german.page.goto('/sign-in');
    await german.page.getByRole('heading', { name: 'Anmelden' }).waitFor();
    expect(await violations(german.page)).toEqual([]);
    await signIn(german.page);
    await german.page.getByRole('heading', { name: 'Was noch fehlt' }).waitFor();
    expect(await german.page.evaluate('document.documentElement.lang')).toBe('de');
    await german.page.getByLabel('Sprache').selectOption('en');
    await german.page.getByRole('heading', { name: 'What is in the way' }).waitFor();
    await german.context.close();
  });

  test('by the keyboard alone: over the navigation into the list, to a person, and a step run', async () => {
    await page.goto('/');
    await page.getByRole('heading', { level: 1 }).waitFor();
    await page.keyboard.press('Tab');
    expect(await page.evaluate('document.activeElement.textContent')).toBe('Skip to the content');
    const focus = async (text: RegExp): Promise<void> => {
      for (let presses = 0; presses < 60; presses++) {
        if (text.test(await page.evaluate<string>("document.activeElement?.textContent ?? ''"))) return;
        await page.keyboard.press('Tab');
      }
      throw new Error(`the keyboard never came to ${text}`);
    };
    await focus(/^Users$/);
    await page.keyboard.press('Enter');
    await heading('Users').waitFor();
    await page.getByRole('link', { name: 'Ana Ruiz' }).waitFor();
    await focus(/^Ana Ruiz$/);
    await page.keyboard.press('Enter');
    await heading('The four steps').waitFor();
    await focus(/^What would be done\?$/);
    await page.keyboard.press('Enter');
    await page.getByRole('status', { name: 'What was done' }).waitFor();
    // A question that is not answered gives the focus back; so does what goes away by what was done with it.
    const focused = () => page.evaluate<string>("document.activeElement?.textContent ?? ''");
    await focus(/^Offboard …$/);
    await page.keyboard.press('Enter');
    await page.getByRole('alertdialog').waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('alertdialog').waitFor({ state: 'detached' });
    expect(await focused()).toBe('Offboard …');
    await page.goto('/users');
    await page.getByRole('checkbox', { name: 'Choose Ana Ruiz' }).check();
    const unpick = page.getByRole('button', { name: 'Choose nobody' });
    await unpick.focus();
    await page.keyboard.press('Enter');
    await unpick.waitFor({ state: 'detached' });
    expect(await page.evaluate('document.activeElement !== document.body')).toBe(true);
  }, 60_000);

  test('a wrong address is none, and leads back', async () => {
    const answer = await page.goto('/nowhere/at/all');
    expect(answer?.status()).toBe(404);
    await heading('There is nothing here').waitFor();
    await page.getByRole('link', { name: 'Home' }).click();
    await page.getByRole('heading', { level: 1, name: 'Home' }).waitFor();
    expect((await fetch(`${usher.address}/nowhere`)).headers.get('content-type')).toContain('application/problem+json');
  });

  test('whoever signs out in one tab is signed out in the other, and is not kept guessing', async () => {
    const one = await openPage(browser, usher);
    await signIn(one.page);
    const two = await one.context.newPage();
    await two.goto('/users');
    await two.getByRole('heading', { level: 1, name: 'Users' }).waitFor();
    await one.page.getByRole('button', { name: 'Sign out' }).click();
    await two.getByLabel('Admin token').waitFor({ timeout: 20_000 });
    expect(new URL(two.url()).pathname).toBe('/sign-in');
    await one.context.close();
  }, 40_000);

  test('while the server is away it says so, and goes on by itself when it is back', async () => {
    await page.goto('/users');
    await page.getByRole('link', { name: 'Ana Ruiz' }).waitFor();
    await watched.context.setOffline(true);
    await page.getByLabel('Name or e-mail').fill('nobody-like-that');
    await page.getByText('Usher does not answer').waitFor();
    await watched.context.setOffline(false);
    await page.getByRole('button', { name: 'Try again' }).click();
    await page.getByText('Nobody is like that.').waitFor();
  }, 60_000);

  test('a page that can not be loaded takes nothing else with it, and is loaded once it can be', async () => {
    const other = await openPage(browser, usher);
    await signIn(other.page);
    await other.page.route('**/assets/runs-*.js', (route) => route.abort());
    await other.page.getByRole('link', { name: /^Runs/ }).click();
    await other.page.getByRole('alert').waitFor();
    await other.page.getByRole('link', { name: 'Delegation', exact: true }).click();
    await other.page.getByRole('heading', { level: 1, name: 'Delegation' }).waitFor();
    await other.page.unroute('**/assets/runs-*.js');
    await other.page.getByRole('link', { name: /^Runs/ }).click();
    await other.page.getByRole('button', { name: 'Try again' }).click();
    await other.page.getByRole('heading', { level: 1, name: 'Runs' }).waitFor();
    await other.context.close();
  }, 30_000);

  test('a list of which a part is refused asks once, and not for ever', async () => {
    const other = await openPage(browser, usher);
    await signIn(other.page);
    let asked = 0;
    await usher.scim('POST', '/Users', scimUser('somebody.else'));
    const [person] = (await usher.api('GET', '/people?limit=1')).body.items;
    await other.page.route('**/api/v1/people?*', (route) => {
      asked += 1;
      return new URL(route.request().url()).searchParams.get('offset') !== '0'
        ? route.fulfill({ status: 400, json: { code: 'invalid_value', detail: 'no further' } })
        : route.fulfill({
            json: {
              items: Array.from({ length: 200 }, (_one, n) => ({ ...person, personId: `p${n}` })),
              nextCursor: 'more',
              total: 1000,
            },
          });
    });
    await other.page.goto('/users');
    await other.page.getByRole('region', { name: 'Users' }).waitFor();
    await other.page.evaluate("document.querySelector('.scroll.tall').scrollTo(0, 20000)");
    await other.page.getByText('no further').waitFor();
    const before = asked;
    await new Promise((resolve) => setTimeout(resolve, 2000));
    // Once a second and page, where something changed meanwhile.
    expect(asked - before).toBeLessThan(6);
    await other.context.close();
  }, 30_000);

  test('the browser had nothing to complain of: no script fault, nothing that the page’s policy refused, nothing from elsewhere', () => {
    expect(watched.complaints.filter((line) => !line.includes('ERR_INTERNET_DISCONNECTED'))).toEqual([]);
  });
});
