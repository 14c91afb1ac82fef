/**
 * `/sign-in`: with Entra ID, with a mailed link, or with the admin token. A mailed link shows a page with a button and only the button's POST uses it
 * up: scanners of mail open links. No page here has a script.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import express, { type Request, type Response, type Router } from 'express';
import { z } from 'zod';
import type { Access } from '../access.ts';
import type { Identity, IdentityPlatform, SignIn } from '../administration.ts';
import { looksLikeAddress } from '../domain/email-address.ts';
import type { Policy } from '../domain/policy.ts';
import { UsherError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { RateLimit } from '../rate-limit.ts';
import {
  cookieName,
  cookieOptions,
  giveSession,
  mustBeOurPage,
  readCookie,
  type Site,
  sessionCookie,
  takeReturn,
} from './caller.ts';
import { type Html, html, sendPage } from './html.ts';
import { type SignInWords, signInWords } from './sign-in-words.ts';

export interface SignInParts {
  access: Access;
  signIn: SignIn;
  identityPlatform: IdentityPlatform | null;
  /** Which of these groups somebody is in, asked of the directory where the token does not say; null when it can not be asked. */
  groupsAmong: ((objectId: string, groupIds: string[]) => Promise<string[]>) | null;
  policy: Policy;
  site: Site;
  mails: boolean;
  /** Keys what the browser keeps during a sign-in. */
  secret: string;
  log: Log;
  attempts: RateLimit;
}

/** Per address that asks: enough for an office behind one address, too few to try words. */
const attemptsPerSecond = 2;
const attemptsAtOnce = 60;

function limitAttempts(attempts: RateLimit, request: Request): void {
  attempts.take(request.ip ?? '', attemptsPerSecond, attemptsAtOnce);
}

const pendingCookie = 'usher-sign-in';
const pendingMinutes = 10;

export function signInRouter(parts: SignInParts): Router {
  const { signIn, identityPlatform, site, log } = parts;
  const router = express.Router();
  const form = express.urlencoded({ extended: false, limit: 10_000 });
  router.use((request, _response, next) => {
    if (request.method === 'POST') limitAttempts(parts.attempts, request);
    next();
  });

  router.get('/', (_request, response) => {
    const words = signInWords(response);
    sendPage(response, 200, words.signIn, choices(parts, words), words.language);
  });

  router.get('/entra', async (_request, response) => {
    if (!identityPlatform) return void refuse(response, 404, ({ noMicrosoft }) => noMicrosoft);
    const { url, pending } = await identityPlatform.begin(redirectUri());
    const until = Date.now() + pendingMinutes * 60_000;
    response.cookie(cookieName(site, pendingCookie), seal(parts.secret, { ...pending, until }), {
      ...cookieOptions(site),
      maxAge: pendingMinutes * 60_000,
    });
    response.set('Cache-Control', 'no-store').redirect(303, url);
  });

  router.get('/entra/callback', async (request, response) => {
    const sealed = readCookie(request, cookieName(site, pendingCookie));
    response.clearCookie(cookieName(site, pendingCookie), cookieOptions(site));
    const pending = sealed ? unseal(parts.secret, sealed) : null;
    const { code, state, error } = request.query;
    if (
      !identityPlatform ||
      !pending ||
      pending.until < Date.now() ||
      typeof state !== 'string' ||
      state !== pending.state
    )
      return void refuse(response, 400, ({ notBegun }) => notBegun);
    if (typeof code !== 'string')
      return void refuse(response, 401, ({ microsoftRefused }) =>
        microsoftRefused(typeof error === 'string' ? ` (${error.slice(0, 100)})` : ''),
      );
    try {
      const identity = await identityPlatform.finish(code, pending, redirectUri());
      await beginFor(identity, request, response);
    } catch (thrown) {
      if (!(thrown instanceof UsherError) || thrown.code !== 'sign_in_failed') throw thrown;
      log.warn({ err: thrown }, 'a sign-in with Entra ID failed');
      refuse(response, 401, () => thrown.message);
    }
  });

  router.post('/token', form, async (request, response) => {
    if (!isOurs(request, response)) return;
    const given = String((request.body as { token?: string } | undefined)?.token ?? '').trim();
    try {
      await beginWithToken(parts, response, given);
    } catch (error) {
      if (!(error instanceof UsherError) || error.code !== 'unauthorized') throw error;
      return void refuse(response, 401, ({ noToken }) => noToken);
    }
    response.redirect(303, takeReturn(request, response, site));
  });

  router.post('/link', form, async (request, response) => {
    if (!isOurs(request, response)) return;
    const email = String((request.body as { email?: string } | undefined)?.email ?? '').trim();
    if (!parts.mails) return void refuse(response, 404, ({ noMail }) => noMail);
    // The same words, as quickly, whoever asks: who has a user here is nobody's business.
    if (looksLikeAddress(email))
      void signIn.askForLink(email).catch((error: unknown) => log.warn({ err: error }, 'a link was not written'));
    const words = signInWords(response);
    sendPage(response, 202, words.lookMailbox, html`<p>${words.linkSent}</p>`, words.language);
  });

  router.get('/:link', async (request, response) => {
    const found = await signIn.peek(String(request.params.link));
    if (!found) return void refuse(response, 410, (words) => gone(parts, words));
    const words = signInWords(response);
    sendPage(
      response,
      200,
      words.signIn,
      html`<p>${words.aboutTo(new URL(site.origin()).host)} <strong>${found.name}</strong> (${found.email}).</p>
<form method="post"><button type="submit">${words.signIn}</button></form>
<p class="muted">${words.booked}</p>`,
      words.language,
    );
  });

  router.post('/:link', form, async (request, response) => {
    if (!isOurs(request, response)) return;
    const used = await signIn.useLink(String(request.params.link));
    if (!used) return void refuse(response, 410, (words) => gone(parts, words));
    giveSession(response, site, used.session);
    response.set('Cache-Control', 'no-store').redirect(303, takeReturn(request, response, site));
  });

  return router;

  function redirectUri(): string {
    return `${site.origin()}/sign-in/entra/callback`;
  }

  /** A user of the account signs in as that user; whoever is in a group of the policy's `access`, with its roles; both where both are so. */
  async function beginFor(identity: Identity, request: Request, response: Response): Promise<void> {
    const user = await signIn.userOf(identity);
    if (user.kind === 'suspended') return void refuse(response, 403, ({ suspended }) => suspended);
    const groups = await groupsOf(identity);
    if (user.kind === 'nobody' && groups.length === 0)
      return void refuse(response, 403, ({ nobody }) => nobody(identity.userName ?? identity.name));
    const value = await signIn.begin({
      accountUserId: user.kind === 'user' ? user.accountUserId : null,
      tokenId: null,
      objectId: identity.objectId,
      name: identity.userName ?? identity.name,
      groups,
      how: 'entra',
    });
    giveSession(response, site, value);
    response.set('Cache-Control', 'no-store').redirect(303, takeReturn(request, response, site));
  }

  /** Those of the policy's groups that somebody is in. */
  async function groupsOf(identity: Identity): Promise<string[]> {
    const all = [
      ...new Set(Object.values(parts.policy.access).flatMap((ids) => (ids ?? []).map((id) => id.toLowerCase()))),
    ];
    if (all.length === 0) return [];
    let groups = identity.groups;
    if (groups === null) {
      // More groups than a token can hold: the directory is asked for those that count.
      if (!parts.groupsAmong)
        throw new UsherError(
          'sign_in_failed',
          'You are in more groups than a token can hold, and Usher is not connected to Microsoft Graph to ask. An operator sets USHER_GRAPH_*, or limits the groups claim to assigned groups.',
        );
      groups = await parts.groupsAmong(identity.objectId, all);
    }
    const member = new Set(groups.map((id) => id.toLowerCase()));
    return all.filter((id) => member.has(id));
  }

  function isOurs(request: Request, response: Response): boolean {
    try {
      // A form of a browser without Fetch Metadata still sends Origin; a client without a browser has no cookie to steal.
      if (request.get('origin') !== undefined || request.get('sec-fetch-site') !== undefined)
        mustBeOurPage(request, site);
      return true;
    } catch {
      refuse(response, 403, ({ elsewhere }) => elsewhere);
      return false;
    }
  }
}

async function beginWithToken(
  { access, signIn, site }: Pick<SignInParts, 'access' | 'signIn' | 'site'>,
  response: Response,
  given: string,
) {
  const token = await access.identify(`Bearer ${given}`, 'admin');
  const value = await signIn.begin({
    accountUserId: null,
    tokenId: token.tokenId,
    objectId: null,
    name: token.label,
    groups: [],
    how: 'token',
  });
  giveSession(response, site, value);
  return token;
}

/** `POST /api/v1/session`: a session for whoever holds the admin token, as the console signs in. */
export function sessionByToken({
  access,
  signIn,
  site,
  attempts,
}: Pick<SignInParts, 'access' | 'signIn' | 'site' | 'attempts'>): Router {
  const router = express.Router();
  router.post('/', (request, _response, next) => {
    limitAttempts(attempts, request);
    next();
  });
  router.post('/', express.json({ limit: 10_000 }), async (request, response) => {
    if (request.get('origin') !== undefined || request.get('sec-fetch-site') !== undefined)
      mustBeOurPage(request, site);
    const body = z.strictObject({ token: z.string().min(1).max(500) }).safeParse(request.body ?? {});
    if (!body.success) throw new UsherError('invalid_value', 'token: send the admin token.');
    const token = await beginWithToken({ access, signIn, site }, response, body.data.token);
    response.status(201).json({ name: token.label, how: 'token' });
  });
  return router;
}

export function signOut({ signIn, site }: Pick<SignInParts, 'signIn' | 'site'>): Router {
  const router = express.Router();
  router.post('/', async (request, response) => {
    mustBeOurPage(request, site);
    const value = readCookie(request, cookieName(site, sessionCookie));
    const principal = value ? await signIn.find(value) : null;
    if (principal) await signIn.end(principal.sessionId);
    response.clearCookie(cookieName(site, sessionCookie), cookieOptions(site)).redirect(303, '/sign-in');
  });
  return router;
}

function choices({ identityPlatform, mails }: SignInParts, words: SignInWords): Html {
  return html`${identityPlatform ? html`<p><a class="button" href="/sign-in/entra">${words.withMicrosoft}</a></p>` : ''}
${
  mails
    ? html`<h2>${words.withLink}</h2><form method="post" action="/sign-in/link"><label for="email">${words.email}</label><input id="email" name="email" type="email" autocomplete="email" required><button type="submit">${words.sendLink}</button></form>`
    : html`<p class="muted">${words.noMail}</p>`
}
<h2>${words.withToken}</h2><form method="post" action="/sign-in/token"><label for="token">${words.token}</label><input id="token" name="token" type="password" autocomplete="off" required><button type="submit">${words.signIn}</button></form>`;
}

const gone = ({ mails }: SignInParts, words: SignInWords): string =>
  `${words.gone} ${mails ? words.askAgain : words.askAdministrator}`;

function refuse(response: Response, status: number, why: (words: SignInWords) => string): void {
  const words = signInWords(response);
  sendPage(
    response,
    status,
    words.notSignedIn,
    html`<p>${why(words)}</p><p><a href="/sign-in">${words.back}</a></p>`,
    words.language,
  );
}

interface Sealed {
  state: string;
  nonce: string;
  verifier: string;
  until: number;
}

const mac = (secret: string, text: string): Buffer => createHmac('sha256', secret).update(`sign-in:${text}`).digest();

function seal(secret: string, value: Sealed): string {
  const text = Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${text}.${mac(secret, text).toString('base64url')}`;
}

function unseal(secret: string, sealed: string): Sealed | null {
  const [text, proof] = sealed.split('.');
  if (!text || !proof) return null;
  const given = Buffer.from(proof, 'base64url');
  const own = mac(secret, text);
  if (given.length !== own.length || !timingSafeEqual(given, own)) return null;
  return JSON.parse(Buffer.from(text, 'base64url').toString()) as Sealed;
}
