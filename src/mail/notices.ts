/** Sends what those who run Usher must know, a few at a time; a server that is away is waited for, a refusal is tried again for two days. */
import { backoffMilliseconds } from '../domain/backoff.ts';
import { escaped } from '../domain/mails.ts';
import { asUsherError } from '../errors.ts';
import { keepAsking } from '../keep-asking.ts';
import type { Log } from '../log.ts';
import { type Notice, type NoticeChannel, type NoticeStore, noticeChannels } from '../ports.ts';
import type { Delivery, Mailer } from './smtp.ts';

export interface NoticeParts {
  store: NoticeStore;
  /** By channel; what this process has no way to send is left to others. */
  send: Partial<Record<NoticeChannel, (notice: Notice) => Promise<Delivery>>>;
  log: Log;
  random: () => number;
}

const everyMs = 2000;
const atOnce = 4;
const mostTries = 50;

export function keepNotifying(parts: NoticeParts): () => Promise<void> {
  const round = async (): Promise<void> => {
    const channels = noticeChannels.filter((channel) => parts.send[channel]);
    const due = await parts.store.takeNotices(channels, atOnce);
    await Promise.all(due.map((notice) => sendOne(parts, notice)));
  };
  return keepAsking(round, everyMs, (error) =>
    parts.log.warn({ err: error }, 'the notices could not be read; it is tried again'),
  );
}

/** A notice as a letter. */
export const byMail =
  (mailer: Pick<Mailer, 'send'>) =>
  ({ noticeId, recipient, subject, body }: Notice): Promise<Delivery> =>
    mailer.send({
      mailId: noticeId,
      to: { name: '', address: recipient },
      subject,
      text: body,
      html: `<pre style="font-family: inherit; white-space: pre-wrap">${escaped(body)}</pre>`,
    });

async function sendOne({ store, send, log, random }: NoticeParts, notice: Notice): Promise<void> {
  const { noticeId, channel, attempts } = notice;
  const sender = send[channel];
  if (!sender) return;
  const again = () => new Date(Date.now() + 5000 + 4 * backoffMilliseconds(attempts, random()));
  try {
    const delivery = await sender(notice);
    if (delivery.kind === 'accepted') return await store.noticeSent(noticeId);
    log.warn({ noticeId, channel, answer: delivery.answer }, 'a notice was refused');
    await store.noticeNotSent(noticeId, delivery.answer, delivery.permanent || attempts >= mostTries ? null : again());
  } catch (error) {
    const { code, message } = asUsherError(error);
    if (code !== 'mail_unavailable') throw error;
    await store.noticeNotSent(noticeId, message, again());
  }
}
