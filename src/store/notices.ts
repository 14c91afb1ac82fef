/** Mail to those who run Usher: written down where it is decided, sent by whichever process has the mail settings. */
import type pg from 'pg';
import { newId } from '../ids.ts';
import type { Notice, NoticeStore } from '../ports.ts';
import { run } from './database.ts';

export function noticeStore(pool: pg.Pool): NoticeStore {
  return {
    async putNotices(recipients, subject, body) {
      if (recipients.length === 0) return;
      await run(
        pool,
        {
          name: 'put-notices',
          text: `insert into notices (notice_id, recipient, subject, body)
                 select n.id, n.recipient, $3, $4 from unnest($1::uuid[], $2::text[]) as n (id, recipient)`,
        },
        [recipients.map(() => newId()), recipients, subject, body],
      );
    },

    async takeNotices(channels, limit) {
      const rows = await run<{
        notice_id: string;
        channel: Notice['channel'];
        recipient: string;
        subject: string;
        body: string;
        attempts: number;
      }>(
        pool,
        {
          name: 'take-notices',
          text: `update notices set attempts = attempts + 1, next_at = now() + interval '3 minutes' where notice_id in (
                   select notice_id from notices where state = 'waiting' and next_at <= now() and channel = any ($2::text[])
                     -- What nobody could send for days is no news any more: settings that come later bring no flood.
                     and created_at > now() - interval '3 days' order by next_at limit $1 for update skip locked)
                 returning notice_id, channel, recipient, subject, body, attempts`,
        },
        [limit, channels],
      );
      return rows.map((row) => ({
        noticeId: row.notice_id,
        channel: row.channel,
        recipient: row.recipient,
        subject: row.subject,
        body: row.body,
        attempts: row.attempts,
      }));
    },

    async noticeSent(noticeId) {
      await run(pool, { name: 'notice-sent', text: `update notices set state = 'sent' where notice_id = $1` }, [
        noticeId,
      ]);
    },

    async unsentNotices() {
      const rows = await run<{ channel: Notice['channel']; count: string; error: string | null }>(
        pool,
        {
          name: 'unsent-notices',
          text: `select channel, count(*) as count, (array_agg(last_error order by next_at desc))[1] as error
                 from notices where state = 'waiting' and last_error is not null group by channel`,
        },
        [],
      );
      return rows.map((row) => ({ channel: row.channel, count: Number(row.count), error: row.error ?? '' }));
    },

    async noticeNotSent(noticeId, error, nextAt) {
      await run(
        pool,
        {
          name: 'notice-not-sent',
          text: `update notices set last_error = $2, next_at = coalesce($3::timestamptz, next_at),
                   state = case when $3::timestamptz is null then 'failed' else state end where notice_id = $1`,
        },
        [noticeId, error, nextAt],
      );
    },
  };
}
