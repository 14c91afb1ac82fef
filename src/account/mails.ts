/**
 * The outbox. A mail is written down in the transaction that makes the user, and sent by whichever process takes it: one that dies half-way leaves it
 * to the next after the lease. Its link is made for each attempt and only the hash is kept, so nobody can read a link out of the outbox.
 */

import { createHash, randomBytes } from 'node:crypto';
import type pg from 'pg';
import type { AccountAdministration, Act, Listed, Mail, Outbox } from '../administration.ts';
import { UsherError } from '../errors.ts';
import { isUuid } from '../ids.ts';
import { writeHistory } from './acts.ts';
import { type AccountDatabase, change } from './database.ts';
import { bindings, pageOf, readCursor } from './lists.ts';
import { serveLines } from './seats.ts';
import { putMail, voidLinks } from './users.ts';

interface Row {
  mail_id: string;
  account_user_id: string;
  kind: Mail['kind'];
  recipient: string;
  name: string;
  state: Mail['state'];
  attempts: number;
  last_error: string | null;
  created_at: Date;
  next_at: Date;
  sent_at: Date | null;
  place_key: string;
}

const mailFrom = (row: Row): Mail => ({
  mailId: row.mail_id,
  accountUserId: row.account_user_id,
  kind: row.kind,
  recipient: row.recipient,
  name: row.name,
  state: row.state,
  attempts: row.attempts,
  lastError: row.last_error,
  createdAt: row.created_at,
  nextAt: row.state === 'sent' || row.state === 'failed' ? null : row.next_at,
  sentAt: row.sent_at,
});

const selectMail = `select m.*, u.name, to_char(m.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as place_key
  from account_mails m join account_users u using (account_user_id)`;

/** How long a mail is one process's: longer than any time-out of the SMTP conversation. */
const leaseSeconds = 180;

/** A mailed invitation may lie in a mailbox over a holiday; a link that somebody asked for is used at once. */
export const linkHours = { invitation: 14 * 24, 'sign-in-link': 1 } as const;

export const hashLink = (link: string): string => createHash('sha256').update(link).digest('hex');

type MailActs = Pick<AccountAdministration, 'sendLink' | 'mails' | 'retryMail' | 'bounceMail'>;

export function mailActs(database: AccountDatabase): MailActs {
  const missing = (mailId: string): UsherError =>
    new UsherError('not_found', `The outbox has no mail ${mailId.slice(0, 100)}.`);
  const mail = async (mailId: string): Promise<Mail> => {
    const rows = isUuid(mailId)
      ? await database.query<Row>('account-mail', `${selectMail} where m.mail_id = $1`, [mailId])
      : [];
    if (!rows[0]) throw missing(mailId);
    return mailFrom(rows[0]);
  };
  return {
    async sendLink(accountUserId, act) {
      if (!isUuid(accountUserId)) throw new UsherError('not_found', 'The account has no such user.');
      const mailId = await change(database, async (client) => {
        const { rows } = await client.query<{
          email: string;
          person_id: string | null;
          signed_in_at: Date | null;
          suspended: boolean;
          sign_in_blocked: boolean;
        }>('select * from account_users where account_user_id = $1 for no key update', [accountUserId]);
        const user = rows[0];
        if (!user) throw new UsherError('not_found', `The account has no user ${accountUserId}.`);
        if (user.suspended || user.sign_in_blocked)
          throw new UsherError('account_refused', `${user.email} may not sign in; restore the user first.`);
        await voidLinks(client, [accountUserId]);
        await client.query(
          `delete from account_mails where account_user_id = $1 and state in ('waiting', 'refused', 'bounced', 'failed')`,
          [accountUserId],
        );
        const kind = user.signed_in_at ? 'sign-in-link' : 'invitation';
        const made = await putMail(client, accountUserId, user.email, kind);
        await client.query(
          'update account_users set invited_at = now() where account_user_id = $1 and signed_in_at is null',
          [accountUserId],
        );
        await writeHistory(client, user.person_id ?? accountUserId, act, {
          action: 'account.link_sent',
          before: null,
          after: { kind },
        });
        return made;
      });
      return mail(mailId);
    },

    async mails(query): Promise<Listed<Mail>> {
      const { values, bind } = bindings();
      const where = query.state ? `m.state = ${bind(query.state)}` : 'true';
      const counting = database.list<{ total: string }>(
        `select count(*) as total from account_mails m where ${where}`,
        [...values],
      );
      const place = query.cursor ? readCursor('mails', query.cursor) : null;
      const behind = place
        ? ` and (m.created_at, m.mail_id) < (${bind(place.key)}::timestamptz, ${bind(place.id)}::uuid)`
        : '';
      const [counted, rows] = await Promise.all([
        counting,
        database.list<Row>(
          `${selectMail} where ${where}${behind} order by m.created_at desc, m.mail_id desc limit ${bind(query.limit + 1)}`,
          values,
        ),
      ]);
      return pageOf(rows, query, 'mails', (row) => row.mail_id, mailFrom, counted);
    },

    async retryMail(mailId, act) {
      await byHand(mailId, act, 'account.mail_retried', { state: 'waiting' }, async (client, before) => {
        if (before.state === 'sent')
          throw new UsherError(
            'account_refused',
            'It was sent; send a new link with POST /api/v1/account/users/{accountUserId}/invitation.',
          );
        await client.query(`update account_mails set state = 'waiting', next_at = now() where mail_id = $1`, [mailId]);
      });
      return mail(mailId);
    },

    async bounceMail(mailId, reason, act) {
      await byHand(mailId, act, 'account.mail_bounced', { state: 'bounced' }, async (client) => {
        await client.query(
          `update account_mails set state = 'bounced', last_error = $2, sent_at = null, next_at = now() + interval '1 day' where mail_id = $1`,
          [mailId, reason],
        );
      });
      return mail(mailId);
    },
  };

  async function byHand(
    mailId: string,
    act: Act,
    action: string,
    after: Record<string, unknown>,
    work: (client: pg.PoolClient, before: { state: Mail['state'] }) => Promise<void>,
  ): Promise<void> {
    if (!isUuid(mailId)) throw missing(mailId);
    await change(database, async (client) => {
      const { rows } = await client.query<{ state: Mail['state']; subject_id: string }>(
        `select m.state, coalesce(u.person_id, u.account_user_id) as subject_id
         from account_mails m join account_users u using (account_user_id) where m.mail_id = $1 for update of m`,
        [mailId],
      );
      const row = rows[0];
      if (!row) throw missing(mailId);
      await work(client, row);
      await writeHistory(client, row.subject_id, act, { action, before: { mailId, state: row.state }, after });
    });
  }
}

const forgetEveryMs = 3_600_000;

export function openOutbox(database: AccountDatabase): Outbox {
  let forgotAt = 0;
  return {
    async takeDue(limit) {
      const rows = await database.query<Row>(
        'account-take-mails',
        `with due as (
           select m.mail_id from account_mails m join account_users b using (account_user_id)
           where m.state in ('waiting', 'refused', 'bounced') and m.next_at <= now() and not (b.suspended or b.sign_in_blocked)
           order by m.next_at limit $1 for update of m skip locked)
         update account_mails m set next_at = now() + make_interval(secs => $2), attempts = m.attempts + 1, last_attempt_at = now(),
           -- To the address of now: who was renamed meanwhile is written to there.
           recipient = u.email
         from due, account_users u where m.mail_id = due.mail_id and u.account_user_id = m.account_user_id
         returning m.*, u.name`,
        [limit, leaseSeconds],
      );
      return rows.map((row) => ({
        mailId: row.mail_id,
        accountUserId: row.account_user_id,
        kind: row.kind,
        recipient: row.recipient,
        name: row.name,
        attempts: row.attempts,
      }));
    },

    async newLink(mail) {
      const link = randomBytes(32).toString('base64url');
      const expiresAt = new Date(Date.now() + linkHours[mail.kind] * 3_600_000);
      // The user is locked: a change of the address that comes after finds the link and makes it void.
      const kept = await change(database, (client) =>
        client.query(
          `insert into account_sign_in_tokens (hash, account_user_id, mail_id, expires_at)
           select $1, u.account_user_id, m.mail_id, $4 from account_mails m join account_users u using (account_user_id)
           where m.mail_id = $3 and u.account_user_id = $2 and u.email = $5 and not (u.suspended or u.sign_in_blocked) for share of u`,
          [hashLink(link), mail.accountUserId, mail.mailId, expiresAt, mail.recipient],
        ),
      );
      return kept.rowCount ? { link, expiresAt } : null;
    },

    async dropLink(link) {
      await database.query('account-drop-link', 'delete from account_sign_in_tokens where hash = $1', [hashLink(link)]);
    },

    async sent(mailId) {
      await database.query(
        'account-mail-sent',
        `update account_mails set state = 'sent', sent_at = now(), last_error = null where mail_id = $1`,
        [mailId],
      );
    },

    async notSent(mailId, state, error, nextAt) {
      await database.query(
        'account-mail-not-sent',
        'update account_mails set state = $2, last_error = $3, next_at = coalesce($4, next_at) where mail_id = $1',
        [mailId, state, error, nextAt],
      );
    },

    async tidy() {
      await serveLines(database);
      if (Date.now() - forgotAt < forgetEveryMs) return;
      forgotAt = Date.now();
      for (const [name, text] of Object.entries({
        links: `delete from account_sign_in_tokens where expires_at < now() - interval '7 days'`,
        sessions: 'delete from account_sessions where expires_at < now()',
        keys: `delete from account_idempotency where created_at < now() - interval '7 days'`,
      }))
        await database.query(`account-tidy-${name}`, text, []);
    },
  };
}
