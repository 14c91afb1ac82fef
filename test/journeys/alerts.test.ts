/** What an operator must know reaches them: by mail and by a signed post, once when it begins and once when it is over, also after the receiver was away. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { contoso } from '../../src/sandbox/contoso.ts';
import { freshDatabase } from '../ground/databases.ts';
import { type MailServer, startMailServer } from '../ground/mail-server.ts';
import { eventually, scimUser, startUsher, type Usher } from '../ground/usher.ts';
import { startWebhookReceiver, type WebhookReceiver } from '../ground/webhook-receiver.ts';

const secret = 'a-secret-of-twenty-four-bytes';
const policy = (webhook: string) => `
account: { kind: builtin, plan: paid, pools: { scheduled-meetings: 9 } }
dedicatedMailbox: ${contoso.dedicatedMailbox}
delegation: ignored
sources: [{ name: scim, kind: scim, domains: [${contoso.domain}], silentAfterHours: 1 }, { name: csv, kind: csv, silentAfterHours: 1 }]
rules: [{ name: Everybody, when: { domain: ${contoso.domain} } }]
leavers: { holdMinutes: 0 }
alerts: { mail: [ops@contoso.com], webhook: "${webhook}", heartbeatHours: 24 }
`;

let usher: Usher;
let mails: MailServer;
let receiver: WebhookReceiver;
let database: pg.Client;
let drop: () => Promise<void>;
let databaseUrl: string;
const start = () =>
  startUsher({
    databaseUrl,
    policy: policy(receiver.url),
    config: { mail: { smtpUrl: mails.url, from: 'Usher <usher@contoso.com>' }, webhookSecret: secret },
  });

beforeAll(async () => {
  ({ url: databaseUrl, drop } = await freshDatabase('embedded PostgreSQL'));
  mails = await startMailServer();
  receiver = await startWebhookReceiver(secret);
  usher = await start();
  database = new pg.Client({ connectionString: databaseUrl });
  await database.connect();
});
afterAll(async () => {
  await usher.close();
  await database.end();
  await mails.close();
  await receiver.close();
  await drop();
});

/** The watch looks once a minute, and at each start. */
const again = async () => {
  await usher.close();
  usher = await start();
};
const posts = (type: string, kind: string) =>
  receiver.received.filter((post) => post.type === type && post.data.kind === kind);
const letters = (subject: string) => mails.received.filter((mail) => mail.text.includes(`Subject: ${subject}`));

test('six leavers are held: one letter, one post, each signed; decided by reason and one by one, and then it is over', async () => {
  const locals = ['ann', 'bob', 'cyd', 'dan', 'eve', 'fay'];
  for (const local of locals) await usher.scim('POST', '/Users', scimUser(local));
  await eventually(
    async () => (await usher.api('GET', '/summary')).body.ready,
    (ready) => ready === 6,
  );
  const ids = (await usher.scim('GET', '/Users')).body.Resources as { id: string; userName: string }[];
  for (const { id, userName } of ids)
    await (userName.startsWith('fay')
      ? usher.scim('DELETE', `/Users/${id}`)
      : usher.scim('PATCH', `/Users/${id}`, {
          schemas: ['urn:ietf:params:scim:api:messages:2.0:PatchOp'],
          Operations: [{ op: 'replace', path: 'active', value: false }],
        }));
  const heldNow = async () =>
    (await usher.api('GET', '/runs')).body.items.flatMap(
      (run: { runId: string; removals: { state: string; cause: string; userName: string }[] }) =>
        run.removals.filter((removal) => removal.state === 'held').map((removal) => ({ ...removal, runId: run.runId })),
    );
  const held = await eventually(heldNow, (removals) => removals.length === 3);
  await again();
  await eventually(
    () => Promise.resolve([posts('alert.raised', 'held_run').length, letters('Usher: removals are held').length]),
    (counts) => counts[0] === 1 && counts[1] === 1,
  );
  const [post] = posts('alert.raised', 'held_run');
  expect(post).toMatchObject({
    isSigned: true,
    data: { message: expect.stringContaining('3 removals of source scim') },
  });
  expect(post?.data.message).toContain(`usher approve ${held[0].runId}`);

  // By reason, then one by one; what is left is kept.
  const runId = held[0].runId as string;
  const byReason = held.filter((removal: { cause: string }) => removal.cause === 'deleted').length;
  expect((await usher.api('POST', `/runs/${runId}/approve`, { cause: 'deleted' })).body).toEqual({ decided: byReason });
  const left = await heldNow();
  expect(
    (await usher.api('POST', `/runs/${runId}/keep`, { only: [left[0].userName], cause: 'inactive' })).body,
  ).toEqual({ decided: 1 });
  await usher.api('POST', `/runs/${runId}/approve`, {});
  await again();
  await eventually(
    () =>
      Promise.resolve([posts('alert.resolved', 'held_run').length, letters('Usher: over: removals are held').length]),
    (counts) => counts[0] === 1 && counts[1] === 1,
  );
  expect(posts('alert.raised', 'held_run')).toHaveLength(1);
});

test('a receiver that was away gets it later, with the id of the first attempt; tables may stay away; a heartbeat came once', async () => {
  receiver.answer = 503;
  await database.query(`update sources set last_heard_at = now() - interval '3 hours'`);
  await again();
  await eventually(
    async () =>
      (
        await database.query(
          `select notice_id, last_error from notices where channel = 'webhook' and state = 'waiting' and attempts > 0`,
        )
      ).rows,
    (rows) => rows.length === 1 && rows[0].last_error === 'the webhook answered 503',
  );
  const [{ notice_id: noticeId }] = (
    await database.query(`select notice_id from notices where state = 'waiting' and channel = 'webhook'`)
  ).rows;
  receiver.answer = 204;
  await database.query(`update notices set next_at = now() where state = 'waiting'`);
  await eventually(
    () => Promise.resolve(posts('alert.raised', 'source_silent')),
    (found) => found.length === 1 && found[0]?.id === noticeId,
  );
  expect(receiver.received.filter((post) => post.type === 'heartbeat')).toHaveLength(1);
});

test('seats that run out are told with how many wait, and when there are enough again', async () => {
  for (const local of ['gus', 'hal', 'ida', 'jon', 'kim', 'leo', 'mia', 'nan'])
    await usher.scim('POST', '/Users', scimUser(local));
  await eventually(
    async () => (await usher.api('GET', '/summary')).body.licenses['scheduled-meetings'].waiting,
    (waiting) => waiting > 0,
  );
  await again();
  await eventually(
    () => Promise.resolve(posts('alert.raised', 'seats_low')),
    (found) => found.length === 1 && /wait/.test(found[0]?.data.message ?? ''),
  );
});
