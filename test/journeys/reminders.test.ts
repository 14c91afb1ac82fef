/** Overdue work is brought to mind: one letter for all of it, as often as the policy says, and an alert while there is any. */
import { expect, test } from '@jest/globals';
import pg from 'pg';
import { contoso } from '../../src/sandbox/contoso.ts';
import { freshDatabase } from '../ground/databases.ts';
import { startMailServer } from '../ground/mail-server.ts';
import { eventually, scimUser, startUsher } from '../ground/usher.ts';

const policy = `
account: { kind: oncehub, pools: { scheduled-meetings: 4 }, nativeProvisioning: off }
delegation: ignored
sources: [{ name: scim, kind: scim, domains: [${contoso.domain}] }]
rules: [{ name: Everybody, when: { domain: ${contoso.domain} } }]
alerts: { mail: [ops@contoso.com, desk@contoso.com] }
tasks: { remindEveryDays: 0.5 }
`;

test('overdue tasks are mailed once, also after a refusal of the server, and are an alert until they are done', async () => {
  const { url: databaseUrl, drop } = await freshDatabase('embedded PostgreSQL');
  const mails = await startMailServer();
  const config = { mail: { smtpUrl: mails.url, from: 'Usher <usher@contoso.com>' } };
  const options = { policy, databaseUrl, oncehub: { makesPages: false }, config };
  const first = await startUsher(options);
  for (const local of ['ann.one', 'bob.two']) {
    const [givenName, familyName] = local.split('.');
    await first.scim('POST', '/Users', scimUser(local, { name: { givenName, familyName } }));
  }
  await eventually(
    async () => (await first.api('GET', '/tasks')).body.total,
    (total) => total === 2,
  );
  await first.close();
  const database = new pg.Client({ connectionString: databaseUrl });
  await database.connect();
  await database.query(`update tasks set due_at = now() - interval '1 hour'`);
  mails.refusals.set('desk@contoso.com', { code: 451, text: '4.7.1 try again later' });
  const second = await startUsher(options);
  try {
    await eventually(
      () => Promise.resolve(mails.received),
      (received) => received.length === 1,
    );
    expect(mails.received[0]?.to).toEqual(['ops@contoso.com']);
    expect(mails.received[0]?.text).toContain('Usher: 2 tasks are overdue');
    expect(mails.received[0]?.text).toContain('Assign ann.one a');
    mails.refusals.clear();
    await database.query(`update notices set next_at = now() where state = 'waiting'`);
    await eventually(
      () => Promise.resolve(mails.received),
      (received) => received.length === 2,
    );
    const alerts = (await second.api('GET', '/alerts')).body.items;
    expect(alerts).toContainEqual(expect.objectContaining({ kind: 'task_overdue', resolvedAt: null }));
    const { items } = (await second.api('GET', '/tasks?overdue=true')).body;
    expect(items.map((task: { reminders: number }) => task.reminders)).toEqual([1, 1]);
  } finally {
    await second.close();
    await database.end();
    await mails.close();
    await drop();
  }
});
