/** Work that no call can do: shown, said to be done, contradicted by what is seen, and closed by it. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Browser } from 'playwright-core';
import { contoso } from '../../src/sandbox/contoso.ts';
import { openBrowser, openPage, photograph, signIn, violations } from '../ground/browser.ts';
import { eventually, scimUser, startUsher, type Usher } from '../ground/usher.ts';

const policy = `
account: { kind: oncehub, pools: { scheduled-meetings: 10 }, nativeProvisioning: off }
delegation: ignored
sources: [{ name: scim, kind: scim, domains: [${contoso.domain}] }]
rules: [{ name: Everybody, when: { domain: ${contoso.domain} }, bookingPages: ["{userName.local}"] }]
`;
let browser: Browser;
let usher: Usher;
beforeAll(async () => {
  [browser, usher] = await Promise.all([openBrowser(), startUsher({ policy, oncehub: { limits: null } })]);
  await usher.scim('POST', '/Users', scimUser('ann.one', { name: { givenName: 'Ann', familyName: 'One' } }));
  await eventually(
    async () => (await usher.api('GET', '/tasks')).body.total,
    (total) => total === 1,
  );
}, 120_000);
afterAll(async () => {
  await browser.close();
  await usher.close();
});

test('a task stays open while what is seen speaks against the word, and is closed once it is so', async () => {
  const { page, complaints } = await openPage(browser, usher);
  await signIn(page);
  await page.getByRole('link', { name: /^Tasks/ }).click();
  await page.getByRole('button', { name: 'Show 1' }).click();
  await page.getByRole('button', { name: 'It is done' }).waitFor();
  expect(await violations(page)).toEqual([]);
  await photograph(page, 'tasks');
  const [task] = (await usher.api('GET', '/tasks')).body.items;
  usher.oncehub?.administrator.assignSeat(task.accountUserId);
  await page.getByRole('button', { name: 'It is done' }).click();
  // The seat is believed, since nothing can be looked at yet; the page can be, and is still off.
  await page
    .getByText('Switch on the Booking page')
    .or(page.getByText('switch on the Booking pages'))
    .first()
    .waitFor();
  await page.getByRole('button', { name: 'Show 1' }).click();
  await page.getByRole('button', { name: 'It is done' }).click();
  await page.getByRole('status').filter({ hasText: 'said on' }).waitFor();
  await photograph(page, 'tasks-contradicted');
  for (const wanted of task.wants.pages) usher.oncehub?.administrator.enablePage(wanted.pageId);
  await page.getByRole('button', { name: 'It is done' }).click();
  await page.getByText('No task is open.').waitFor();
  const person = (await usher.api('GET', `/people/ann.one@${contoso.domain}`)).body;
  expect(person.conditions.find(({ type }: { type: string }) => type === 'License').status).toBe('true');
  expect(complaints).toEqual([]);
}, 90_000);
