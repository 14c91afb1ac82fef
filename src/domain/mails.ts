/** What the account writes to its users: in text and in HTML, with one link. */

export interface MailFacts {
  kind: 'invitation' | 'sign-in-link';
  name: string;
  /** The host that people know the account by. */
  host: string;
  link: string;
  expiresAt: Date | null;
}

export interface Letter {
  subject: string;
  text: string;
  html: string;
}

/** In the outbox a mail is shown without what would open the account. */
export const hiddenLink = '(the link is in the mail itself)';

/** A name is a line of its own words: what looks like more than a name is left out, so that nobody writes letters in ours. */
function greeted(name: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is replaced
  const line = name.replace(/[\u0000-\u001f\u007f\u2028\u2029\s]+/g, ' ').trim();
  return line === '' || line.length > 100 || /:\/\/|www\./i.test(line) ? '' : ` ${line}`;
}

export function letter({ kind, name, host, link, expiresAt }: MailFacts): Letter {
  const until = expiresAt ? ` until ${expiresAt.toISOString().slice(0, 16).replace('T', ' ')} UTC` : '';
  const [subject, opening, closing] =
    kind === 'invitation'
      ? [
          `You are invited to the scheduling account at ${host}`,
          'an Administrator added you to your organisation’s scheduling account, so that others can book time with you.',
          'You need not do anything: you can be booked without signing in. Sign in if you want to see your profile and your Booking pages.',
        ]
      : [
          `Your sign-in link for ${host}`,
          'here is the link to sign in to your scheduling account.',
          'If you did not ask for it, do nothing: nobody can sign in without this mail.',
        ];
  const validity = `The link works once${until}.`;
  const text = `Hello${greeted(name)},\n\n${opening}\n\n${link}\n\n${validity}\n${closing}\n`;
  const html = `<!doctype html><html lang="en"><body style="font:16px/1.5 system-ui,sans-serif"><p>Hello${escaped(greeted(name))},</p><p>${escaped(opening)}</p><p><a href="${escaped(link)}" style="display:inline-block;padding:.6rem 1.2rem;border-radius:.3rem;background:#0f5ea8;color:#ffffff;text-decoration:none">Sign in</a></p><p>${escaped(validity)}<br>${escaped(closing)}</p><p style="color:#555555;font-size:14px">Or copy this address into your browser:<br>${escaped(link)}</p></body></html>`;
  return { subject, text, html };
}

const escapes: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
export const escaped = (text: string): string => text.replace(/[&<>"']/g, (letterOf) => escapes[letterOf] ?? '');
