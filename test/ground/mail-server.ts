/** A real SMTP server in this process, that remembers what it took and refuses what it is told to. */
import { SMTPServer } from 'smtp-server';

export interface ReceivedMail {
  from: string;
  to: string[];
  /** As it came over the wire, quoted-printable undone. */
  text: string;
}

export interface MailServer {
  url: string;
  received: ReceivedMail[];
  /** Answers for a recipient: an SMTP code and text. Deleted: accepted. */
  refusals: Map<string, { code: number; text: string }>;
  /** Recipients whose mail is refused with the link quoted, as filters do; and what was quoted. */
  quoteLinks: Set<string>;
  quoted: string[];
  /** The newest sign-in link that was mailed to this address. */
  linkTo(address: string): string | null;
  close(): Promise<void>;
}

export async function startMailServer(port = 0): Promise<MailServer> {
  const received: ReceivedMail[] = [];
  const refusals: MailServer['refusals'] = new Map();
  const quoteLinks = new Set<string>();
  const quoted: string[] = [];
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS'],
    onRcptTo(address, _session, done) {
      const refusal = refusals.get(address.address.toLowerCase());
      done(refusal ? Object.assign(new Error(refusal.text), { responseCode: refusal.code }) : undefined);
    },
    onData(stream, session, done) {
      const parts: Buffer[] = [];
      stream.on('data', (part: Buffer) => parts.push(part));
      stream.on('end', () => {
        const to = session.envelope.rcptTo.map((entry) => entry.address.toLowerCase());
        if (to.some((address) => quoteLinks.has(address))) {
          const link = /https?:\/\/\S+\/sign-in\/[\w-]{40,}/.exec(unquoted(Buffer.concat(parts).toString()))?.[0] ?? '';
          quoted.push(link);
          done(Object.assign(new Error(`5.7.1 message refused, bad URL: ${link}`), { responseCode: 550 }));
          return;
        }
        received.push({
          from: session.envelope.mailFrom ? session.envelope.mailFrom.address : '',
          to,
          text: unquoted(Buffer.concat(parts).toString()),
        });
        done();
      });
    },
  });
  server.on('error', () => undefined);
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', () => resolve()));
  const { port: listening } = server.server.address() as { port: number };
  return {
    url: `smtp://127.0.0.1:${listening}`,
    received,
    refusals,
    quoteLinks,
    quoted,
    linkTo(address) {
      const mail = received.findLast((entry) => entry.to.includes(address.toLowerCase()));
      return mail ? (/https?:\/\/\S+\/sign-in\/[\w-]{40,}/.exec(mail.text)?.[0] ?? null) : null;
    },
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

function unquoted(text: string): string {
  return text
    .replace(/=\r?\n/g, '')
    .replace(/(?:=[0-9A-F]{2})+/g, (bytes) => Buffer.from(bytes.replaceAll('=', ''), 'hex').toString());
}
