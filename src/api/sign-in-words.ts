/** The sign-in pages in the language that the browser asks for. */
import type { Response } from 'express';

const en = {
  language: 'en',
  signIn: 'Sign in',
  notSignedIn: 'Not signed in',
  back: 'Back to sign-in',
  withMicrosoft: 'Sign in with Microsoft',
  withLink: 'With a link by mail',
  email: 'E-mail address',
  sendLink: 'Send me a link',
  noMail: 'Links by mail are not sent yet: an operator sets USHER_SMTP_URL.',
  withToken: 'With the admin token',
  token: 'Admin token',
  noMicrosoft: 'Sign-in with Microsoft is not set up here.',
  notBegun: 'This sign-in was not begun here, or took too long.',
  microsoftRefused: (why: string) => `Microsoft did not sign you in${why}.`,
  noToken: 'This is no admin token that is live.',
  lookMailbox: 'Look into your mailbox',
  linkSent:
    'If somebody with that address is in this account and may sign in, a mail with a link is on its way. It works for one hour, once.',
  aboutTo: (at: string) => `You are about to sign in at ${at} as`,
  booked: 'You can be booked without signing in. Close this page if you did not expect it.',
  suspended: 'Your user is suspended. Ask an Administrator of the account.',
  nobody: (who: string) =>
    `${who} is neither a user of this account nor in a group that the policy gives access to. An Administrator adds the user, or an operator the group (policy: access).`,
  elsewhere: 'Another site sent you here. Begin again.',
  gone: 'This link was used, has expired, or was replaced by a newer one.',
  askAgain: 'Ask for a new one at /sign-in.',
  askAdministrator: 'Ask an Administrator to send a new one.',
};
export type SignInWords = typeof en;

const de: SignInWords = {
  language: 'de',
  signIn: 'Anmelden',
  notSignedIn: 'Nicht angemeldet',
  back: 'Zurück zur Anmeldung',
  withMicrosoft: 'Mit Microsoft anmelden',
  withLink: 'Mit einem Link per E-Mail',
  email: 'E-Mail-Adresse',
  sendLink: 'Link senden',
  noMail: 'Links per E-Mail werden noch nicht versendet: Ein Betreiber setzt USHER_SMTP_URL.',
  withToken: 'Mit dem Admin-Token',
  token: 'Admin-Token',
  noMicrosoft: 'Die Anmeldung mit Microsoft ist hier nicht eingerichtet.',
  notBegun: 'Diese Anmeldung wurde nicht hier begonnen oder dauerte zu lange.',
  microsoftRefused: (why) => `Microsoft hat Sie nicht angemeldet${why}.`,
  noToken: 'Das ist kein gültiges Admin-Token.',
  lookMailbox: 'Sehen Sie in Ihr Postfach',
  linkSent:
    'Wenn jemand mit dieser Adresse zu diesem Konto gehört und sich anmelden darf, ist eine E-Mail mit einem Link unterwegs. Er gilt eine Stunde lang, einmal.',
  aboutTo: (at) => `Sie melden sich an bei ${at} als`,
  booked: 'Sie können ohne Anmeldung gebucht werden. Schließen Sie diese Seite, wenn Sie sie nicht erwartet haben.',
  suspended: 'Ihr Benutzer ist gesperrt. Fragen Sie einen Administrator des Kontos.',
  nobody: (who) =>
    `${who} ist weder Benutzer dieses Kontos noch in einer Gruppe, der die Richtlinie Zugang gibt. Ein Administrator fügt den Benutzer hinzu, oder ein Betreiber die Gruppe (Richtlinie: access).`,
  elsewhere: 'Eine andere Seite hat Sie hierher geschickt. Beginnen Sie von vorn.',
  gone: 'Dieser Link wurde benutzt, ist abgelaufen oder durch einen neueren ersetzt.',
  askAgain: 'Fordern Sie unter /sign-in einen neuen an.',
  askAdministrator: 'Bitten Sie einen Administrator um einen neuen.',
};

export const signInWords = (response: Response): SignInWords =>
  response.req.acceptsLanguages('en', 'de') === 'de' ? de : en;
