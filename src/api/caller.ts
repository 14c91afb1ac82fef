/**
 * Who calls: a bearer token, or the session of a cookie. A browser sends a cookie along with requests that another site made it send, so a
 * change by cookie needs a sign that our own page asks: Sec-Fetch-Site or Origin, which browsers set and pages can not, or a header that only a
 * page of ours may add.
 */
import { randomUUID } from 'node:crypto';
import type { CookieOptions, Request, RequestHandler, Response } from 'express';
import type { Access } from '../access.ts';
import type { Principal, SignIn } from '../administration.ts';
import { type Asker, operatorRoles } from '../domain/roles.ts';
import { UsherError } from '../errors.ts';
import type { Cause } from '../ports.ts';

export interface Caller {
  asker: Asker;
  cause: Cause;
  name: string;
  how: 'token' | Principal['how'];
  sessionId: string | null;
  expiresAt: Date | null;
}

export interface Site {
  /** How browsers reach us, without a slash at the end. */
  origin(): string;
}

const safeMethods = new Set(['GET', 'HEAD', 'OPTIONS']);

/** `__Host-`: over https only, for this host only (RFC 6265bis section 4.1.3.2); a trial over http on loopback can not have it. */
export function cookieName(site: Site, name: string): string {
  return site.origin().startsWith('https:') ? `__Host-${name}` : name;
}

export function cookieOptions(site: Site): CookieOptions {
  return { httpOnly: true, sameSite: 'lax', secure: site.origin().startsWith('https:'), path: '/' };
}

export function readCookie(request: Request, name: string): string | null {
  for (const part of (request.get('cookie') ?? '').split(';')) {
    const at = part.indexOf('=');
    if (at > 0 && part.slice(0, at).trim() === name) return part.slice(at + 1).trim();
  }
  return null;
}

export const sessionCookie = 'usher-session';

export function giveSession(response: Response, site: Site, value: string): void {
  response.cookie(cookieName(site, sessionCookie), value, cookieOptions(site));
}

/** Throws `forbidden` where nothing shows that our own page asks. */
export function mustBeOurPage(request: Request, site: Site): void {
  const fetchSite = request.get('sec-fetch-site');
  const origin = request.get('origin');
  const own = new URL(site.origin()).host;
  const isOwnHost = (text: string): boolean => {
    try {
      return [own, request.get('host')].includes(new URL(text).host);
    } catch {
      return false;
    }
  };
  // A privacy setting may hide the origin of our own page; the browser's own word on the site then stands alone.
  const isHidden = origin === 'null' && fetchSite === 'same-origin';
  if (origin !== undefined && !isHidden && !isOwnHost(origin))
    throw new UsherError('cross_site', 'Another site asked for this (Origin).');
  if (fetchSite !== undefined && fetchSite !== 'same-origin' && fetchSite !== 'none')
    throw new UsherError('cross_site', 'Another site asked for this (Sec-Fetch-Site).');
  if (origin === undefined && fetchSite === undefined && !request.get('x-usher-csrf'))
    throw new UsherError(
      'cross_site',
      'A change with a session needs an Origin of this site, or the header X-Usher-CSRF with any value.',
    );
}

const returnCookie = 'usher-return';

/** Where somebody wanted to go who has to sign in first. */
export function keepReturn(request: Request, response: Response, site: Site): void {
  response.cookie(cookieName(site, returnCookie), request.originalUrl.slice(0, 1000), {
    ...cookieOptions(site),
    maxAge: 10 * 60_000,
  });
}

/** A path of ours and nothing else, whatever the cookie says: once. */
export function takeReturn(request: Request, response: Response, site: Site): string {
  const kept = readCookie(request, cookieName(site, returnCookie));
  response.clearCookie(cookieName(site, returnCookie), cookieOptions(site));
  try {
    const path = decodeURIComponent(kept ?? '');
    const url = new URL(path, site.origin());
    return path.startsWith('/') && url.origin === new URL(site.origin()).origin ? url.pathname + url.search : '/';
  } catch {
    return '/';
  }
}

export interface CallerParts {
  access: Access;
  signIn: SignIn;
  site: Site;
}

/** Throws `unauthorized`. With the session that a cookie stands for, where it is by cookie. */
export async function identify(
  { access, signIn, site }: CallerParts,
  request: Request,
  by: string,
): Promise<{ caller: Caller; principal: Principal | null }> {
  const cookie = readCookie(request, cookieName(site, sessionCookie));
  if (request.get('authorization') === undefined && cookie) {
    const principal = await signIn.find(cookie);
    if (!principal) throw new UsherError('unauthorized', 'The session has ended. Sign in again at /sign-in.');
    return { caller: callerOf(principal, by), principal };
  }
  const token = await access.identify(request.get('authorization'), 'admin');
  const caller: Caller = {
    asker: { accountUserId: null, role: 'Administrator', operatorRoles, switches: {} },
    cause: { actor: `admin:${token.label}`, by },
    name: token.label,
    how: 'token',
    sessionId: null,
    expiresAt: token.expiresAt,
  };
  return { caller, principal: null };
}

export function authenticate(parts: CallerParts): RequestHandler {
  const { site } = parts;
  return async (request, response, next) => {
    // The caller's own id, or one that is made up and told, so that a row of the history leads to its request.
    const requestId =
      request
        .get('x-request-id')
        ?.replace(/[^\w.:-]/g, '')
        .slice(0, 100) || randomUUID();
    response.set('X-Request-Id', requestId);
    const { caller, principal } = await identify(parts, request, `request:${requestId}`).catch((error: unknown) => {
      // Whoever can not be asked for at this moment is still signed in.
      const isEnded = error instanceof UsherError && error.code === 'unauthorized';
      if (isEnded && request.get('authorization') === undefined && readCookie(request, cookieName(site, sessionCookie)))
        response.clearCookie(cookieName(site, sessionCookie), cookieOptions(site));
      throw error;
    });
    if (principal) {
      if (!safeMethods.has(request.method)) mustBeOurPage(request, site);
      if (principal.renewed) giveSession(response, site, principal.renewed);
      response.set('Cache-Control', 'no-store');
    }
    response.locals.caller = caller;
    next();
  };
}

function callerOf(principal: Principal, by: string): Caller {
  const { accountUserId, role, operatorRoles: roles, switches } = principal;
  return {
    asker: { accountUserId, role, operatorRoles: roles, switches },
    cause: {
      actor: accountUserId
        ? `user:${accountUserId}`
        : principal.how === 'token'
          ? `admin:${principal.name}`
          : `operator:${principal.objectId}`,
      by,
    },
    name: principal.name,
    how: principal.how,
    sessionId: principal.sessionId,
    expiresAt: principal.expiresAt,
  };
}
