/**
 * Sends what is due in the outbox, a few at a time, in whichever process has the mail settings. A mail whose answer was lost is sent again; its
 * Message-ID stays the same.
 */
import type { DueMail, Outbox } from '../administration.ts';
import { backoffMilliseconds } from '../domain/backoff.ts';
import { letter } from '../domain/mails.ts';
import { asUsherError } from '../errors.ts';
import { keepAsking } from '../keep-asking.ts';
import type { Log } from '../log.ts';
import type { Mailer } from './smtp.ts';

export interface DeliveryParts {
  outbox: Outbox;
  mailer: Mailer;
  /** How people reach the sign-in page, without a slash at the end. */
  origin: () => string;
  log: Log;
  random: () => number;
}

const everyMs = 1000;
const atOnce = 4;
const tidyEveryMs = 60_000;
/** After the last of these a refused mail is left to a person. */
const refusedAgainAfterHours = [1, 6, 24, 72];
const mostSoftTries = 30;

export function keepDelivering(parts: DeliveryParts): { close(): Promise<void> } {
  const round = async (stopped: () => boolean): Promise<void> => {
    for (;;) {
      const due = stopped() ? [] : await parts.outbox.takeDue(atOnce);
      if (due.length === 0) return;
      const outcomes = await Promise.all(due.map((mail) => deliverOne(parts, mail)));
      // The server is away: the rest waits for the next round instead of knocking.
      if (outcomes.includes('away')) return;
    }
  };
  const stop = keepAsking(round, everyMs, (error) =>
    parts.log.warn({ err: error }, 'the outbox could not be read; it is tried again'),
  );
  return {
    async close() {
      await stop();
      parts.mailer.close();
    },
  };
}

/** What no request does: lines are served, and links, sessions and keys that serve nobody any more forgotten; with mail settings or without. */
export function keepTidy(outbox: Pick<Outbox, 'tidy'>, onError: (error: unknown) => void): () => Promise<void> {
  let running: Promise<void> = Promise.resolve();
  const look = (): void => {
    running = outbox.tidy().catch(onError);
  };
  look();
  const timer = setInterval(look, tidyEveryMs);
  return async () => {
    clearInterval(timer);
    await running;
  };
}

async function deliverOne(
  { outbox, mailer, origin, log, random }: DeliveryParts,
  mail: DueMail,
): Promise<'sent' | 'refused' | 'away'> {
  try {
    const fresh = await outbox.newLink(mail);
    // Gone, or at another address by now: the next round has it as it is then.
    if (!fresh) return 'refused';
    const { link, expiresAt } = fresh;
    const written = letter({
      kind: mail.kind,
      name: mail.name,
      host: new URL(origin()).host,
      link: `${origin()}/sign-in/${link}`,
      expiresAt,
    });
    const delivery = await mailer.send({
      mailId: mail.mailId,
      to: { name: mail.name, address: mail.recipient },
      ...written,
    });
    if (delivery.kind === 'accepted') {
      await outbox.sent(mail.mailId);
      return 'sent';
    }
    const hours = refusedAgainAfterHours[mail.attempts - 1];
    // A filter quotes what it dislikes: a link in its answer would stand in the outbox and in the log.
    const answer = delivery.answer.replaceAll(link, '…').replace(/\/sign-in\/\S+/g, '/sign-in/…');
    await outbox.dropLink(link);
    log.warn({ mailId: mail.mailId, answer }, 'a mail was refused');
    if (!delivery.permanent && mail.attempts < mostSoftTries)
      await outbox.notSent(mail.mailId, 'waiting', answer, later(mail.attempts, random));
    else if (delivery.permanent && hours !== undefined)
      await outbox.notSent(mail.mailId, 'refused', answer, new Date(Date.now() + hours * 3_600_000));
    else await outbox.notSent(mail.mailId, 'failed', answer, null);
    return 'refused';
  } catch (error) {
    const { code, message } = asUsherError(error);
    if (code !== 'mail_unavailable') throw error;
    await outbox.notSent(mail.mailId, 'waiting', message, later(mail.attempts, random));
    return 'away';
  }
}

/** From seconds to a quarter of an hour; a mail server that is down for a night loses nothing. */
function later(attempts: number, random: () => number): Date {
  return new Date(Date.now() + Math.min(15 * 60_000, 2000 + backoffMilliseconds(attempts, random())));
}
