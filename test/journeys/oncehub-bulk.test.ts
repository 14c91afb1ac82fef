/** Two hundred people from a table to Ready in a OnceHub account, within its limits, with an administrator who works through worksheets. */
import { expect, test } from '@jest/globals';
import { contoso } from '../../src/sandbox/contoso.ts';
import type { OnceHubSandbox } from '../../src/sandbox/oncehub.ts';
import { newTenant, type TenantUser } from '../../src/sandbox/tenant.ts';
import { workThroughSheets } from '../ground/oncehub-administrator.ts';
import { adminToken, call, eventually, startUsher } from '../ground/usher.ts';

const count = 200;
const policy = `
account: { kind: oncehub, pools: { scheduled-meetings: ${count} }, nativeProvisioning: off }
dedicatedMailbox: ${contoso.dedicatedMailbox}
sources: [{ name: csv, kind: csv, domains: [${contoso.domain}] }]
rules: [{ name: Everybody, bookingPages: ["{userName.local}"] }]
bookingPages: { takeFrom: [${contoso.founder}] }
`;

const local = (index: number) => `person.${String(index).padStart(3, '0')}`;
const mailbox = (name: string, delegated: boolean): TenantUser => ({
  objectId: `00000000-0000-4000-8000-${name.replace(/\D/g, '').padStart(12, '0')}`,
  userPrincipalName: `${name}@${contoso.domain}`,
  displayName: name,
  mail: `${name}@${contoso.domain}`,
  proxyAddresses: [`SMTP:${name}@${contoso.domain}`],
  accountEnabled: true,
  onPremisesSyncEnabled: null,
  exchangePlan: true,
  mailbox: 'cloud',
  calendarPermissions: delegated
    ? [{ address: contoso.dedicatedMailbox, role: 'delegateWithPrivateEventAccess' as const }]
    : [],
});

test('two hundred people of a table become Ready, the limits are kept, and every task ends by what was seen', async () => {
  const tenant = newTenant([
    mailbox('scheduling', false),
    ...Array.from({ length: count }, (_one, index) => mailbox(local(index), true)),
  ]);
  const usher = await startUsher({
    policy,
    tenant, // A minute in a second makes of a few milliseconds of jitter a good part of one: the five a second are held elsewhere.
    oncehub: { limits: { perSecond: 50, perWindow: 200, windowSeconds: 300 } },
    queue: 'redis',
    backend: 'server PostgreSQL',
  });
  const oncehub = usher.oncehub as OnceHubSandbox;
  try {
    // Half of the pages are there already; the others have the one that OnceHub makes.
    for (let index = 0; index < count; index += 2) oncehub.administrator.createPage(local(index), 'USR-ADMIN0000001');
    const rows = Array.from(
      { length: count },
      (_one, index) => `${local(index)}@${contoso.domain},Person,Number ${index},${local(index)}@${contoso.domain}`,
    );
    const plan = await call(
      `${usher.address}/api/v1/imports?name=people.csv`,
      'POST',
      ['userName,givenName,familyName,email', ...rows].join('\n'),
      { authorization: `Bearer ${adminToken}`, 'content-type': 'text/csv' },
    );
    const { summary } = plan.body;
    expect(summary).toMatchObject({
      kinds: { new: count },
      seats: { 'scheduled-meetings': { needed: count, left: count, missing: 0 } },
      pages: { wished: count, missing: 0 },
    });
    expect(summary.byHand.map((entry: { step: string }) => entry.step)).toContain('assign-license');
    // What one person takes, at the limits of the (faster) clock.
    expect(summary.secondsExpected).toBe(Math.ceil((count * 5) / ((200 / 300) * 0.95 * 60)));
    await usher.api('POST', `/imports/${plan.body.importId}/apply`);

    let worked = 0;
    const ready = await eventually(
      async () => {
        worked += await workThroughSheets(usher, oncehub);
        return (await usher.api('GET', '/summary')).body;
      },
      (body) => body.ready === count,
      100_000,
    );
    expect(ready.licenses['scheduled-meetings']).toEqual({ bought: count, assigned: count, reserved: 0, waiting: 0 });
    expect(worked).toBeGreaterThanOrEqual(count);
    const open = (await usher.api('GET', '/tasks')).body;
    expect(open.total).toBe(0);
    const done = (await usher.api('GET', '/tasks?state=done&limit=500')).body.items;
    expect(done.every((task: { closedBy: string }) => /active/.test(task.closedBy))).toBe(true);
    // A request that a busy machine holds for half a second is half a minute late on this clock, and may be refused; it comes again. Strictly: pace.test.ts.
    const refused = oncehub.account.requests.filter((request) => request.status === 429);
    expect(refused.length).toBeLessThan(oncehub.account.requests.length / 100);
    const posts = oncehub.account.requests.filter((request) => request.method === 'POST' && request.status === 200);
    expect(posts).toHaveLength(count);
    expect(new Set(oncehub.account.users.map((user) => user.email)).size).toBe(count + 2);
    // A look, a create, a look at the pages before and after, and lists read whole; on a slow machine a minute of this clock is soon over, and more is read anew.
    expect(oncehub.account.requests.length / count).toBeLessThan(8);
  } finally {
    await usher.close();
  }
}, 150_000);
