/** SMTP, by nodemailer. What the server said decides: 4xx is tried again soon, 5xx is a refusal (RFC 5321 section 4.2.1), silence is an outage. */
import { createTransport } from 'nodemailer';
import type { MailConfig } from '../config.ts';
import { UsherError } from '../errors.ts';

export interface OutgoingMail {
  mailId: string;
  to: { name: string; address: string };
  subject: string;
  text: string;
  html: string;
}

export type Delivery = { kind: 'accepted' } | { kind: 'refused'; permanent: boolean; answer: string };

export interface Mailer {
  /** Throws `mail_unavailable` when the server can not be reached or does not let us in. */
  send(mail: OutgoingMail): Promise<Delivery>;
  verify(): Promise<void>;
  close(): void;
}

/** Well below the lease of a mail in the outbox. */
const patienceMs = 20_000;

export function openMailer(config: MailConfig): Mailer {
  const transport = createTransport({
    url: config.smtpUrl,
    pool: true,
    maxConnections: 4,
    connectionTimeout: patienceMs,
    greetingTimeout: patienceMs,
    socketTimeout: patienceMs * 2,
    // A template is ours; what stands in it is not to fetch files or addresses.
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  const away = (cause: unknown): UsherError =>
    new UsherError('mail_unavailable', `The mail server: ${(cause as Error).message}`, { cause });
  return {
    async send(mail) {
      try {
        await transport.sendMail({
          from: config.from,
          to: mail.to,
          subject: mail.subject,
          text: mail.text,
          html: mail.html,
          // The same of a repeated attempt: mail systems drop the second of two that are one.
          messageId: `<${mail.mailId}@usher.${hostOf(config.from)}>`,
          headers: { 'Auto-Submitted': 'auto-generated', 'X-Auto-Response-Suppress': 'All' },
        });
        return { kind: 'accepted' };
      } catch (error) {
        const { responseCode, response, command, code } = error as {
          responseCode?: number;
          response?: string;
          command?: string;
          code?: string;
        };
        // About this mail: its addresses or its content. Anything else is about the server, and every mail.
        const isAboutMail = code === 'EENVELOPE' || code === 'EMESSAGE' || ['RCPT TO', 'DATA'].includes(command ?? '');
        if (responseCode && isAboutMail && responseCode !== 421)
          return { kind: 'refused', permanent: responseCode >= 500, answer: (response ?? '').slice(0, 500) };
        throw away(error);
      }
    },
    async verify() {
      try {
        await transport.verify();
      } catch (error) {
        throw away(error);
      }
    },
    close: () => transport.close(),
  };
}

function hostOf(from: string): string {
  return /@([\w.-]+)/.exec(from)?.[1] ?? 'localhost';
}
