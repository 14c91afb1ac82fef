/** Sends what those who run Usher must know, a few at a time; a server that is away is waited for, a refusal is tried again for two days. */
import { backoffMilliseconds } from '../domain/backoff.ts';
import { asUsherError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Notice, NoticeStore } from '../ports.ts';
import type { Mailer } from './smtp.ts';

export interface NoticeParts {
  store: NoticeStore;
  mailer: Pick<Mailer, 'send'>;
  log: Log;
  random: () => number;
}

const everyMs = 2000;
const atOnce = 4;
const mostTries = 50;

export function keepNotifying(parts: NoticeParts): () => Promise<void> {
  let stopped = false;
  let running: Promise<void> = Promise.resolve();
  let timer: NodeJS.Timeout | undefined;
  const round = async (): Promise<void> => {
    const due = await parts.store.takeNotices(atOnce);
    await Promise.all(due.map((notice) => sendOne(parts, notice)));
  };
  const plan = (): void => {
    timer = setTimeout(() => {
      running = round()
        .catch((error: unknown) => parts.log.warn({ err: error }, 'the notices could not be read; it is tried again'))
        .finally(() => {
          if (!stopped) plan();
        });
    }, everyMs);
  };
  plan();
  return async () => {
    stopped = true;
    clearTimeout(timer);
    await running;
  };
}

async function sendOne({ store, mailer, log, random }: NoticeParts, notice: Notice): Promise<void> {
  const { noticeId, recipient, subject, body, attempts } = notice;
  const again = () => new Date(Date.now() + 5000 + 4 * backoffMilliseconds(attempts, random()));
  try {
    const delivery = await mailer.send({
      mailId: noticeId,
      to: { name: '', address: recipient },
      subject,
      text: body,
      html: `<pre style="font-family: inherit; white-space: pre-wrap">${escaped(body)}</pre>`,
    });
    if (delivery.kind === 'accepted') return await store.noticeSent(noticeId);
    log.warn({ noticeId, recipient, answer: delivery.answer }, 'a notice was refused');
    await store.noticeNotSent(noticeId, delivery.answer, delivery.permanent || attempts >= mostTries ? null : again());
  } catch (error) {
    const { code, message } = asUsherError(error);
    if (code !== 'mail_unavailable') throw error;
    await store.noticeNotSent(noticeId, message, again());
  }
}

const escaped = (text: string): string =>
  text.replace(/[&<>"]/g, (sign) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[sign] ?? sign);
