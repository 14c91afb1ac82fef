/**
 * The console's files, as Vite made them. The page is the same for every address of it; each answer has a nonce of its own, by which the page's
 * style sheets (written by script, rule by rule) are known. No script in the page, nothing from elsewhere, in no frame.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import compression from 'compression';
import express, { type RequestHandler, Router } from 'express';
import type { SignIn } from '../administration.ts';
import { cookieName, giveSession, keepReturn, readCookie, type Site, sessionCookie } from './caller.ts';

export interface ConsoleParts {
  signIn: SignIn;
  site: Site;
}

/** Where `npm run build` puts them, seen from the compiled file and from the source. */
const folder = ['../../console', '../../dist/console']
  .map((path) => fileURLToPath(new URL(path, import.meta.url)))
  .find((path) => existsSync(`${path}/index.html`));

/** The addresses that the page itself reads; the same as in `src/console/app.tsx`. */
export const consolePaths = [
  '/',
  '/users',
  '/people/:who',
  '/onboard',
  '/onboard/:importId',
  '/delegation',
  '/runs',
  '/runs/:runId',
  '/tasks',
  '/sources',
  '/me',
];

/** `nowhere` is for the end of all routes: whoever follows a wrong address finds the way back. */
export function consoleRouter({ signIn, site }: ConsoleParts): { router: Router; nowhere: RequestHandler } {
  const router = Router();
  const page = folder ? readFileSync(`${folder}/index.html`, 'utf8') : null;
  if (folder)
    router.use(
      '/assets',
      compression(),
      // Their names hold a hash of what is in them.
      express.static(`${folder}/assets`, { immutable: true, maxAge: '365d', index: false }),
    );
  const show: RequestHandler = async (request, response, next) => {
    if (request.accepts(['json', 'html']) !== 'html') return next();
    const value = readCookie(request, cookieName(site, sessionCookie));
    const principal = value ? await signIn.find(value) : null;
    if (!principal) {
      keepReturn(request, response, site);
      response.redirect(303, '/sign-in');
      return;
    }
    if (principal.renewed) giveSession(response, site, principal.renewed);
    const nonce = randomBytes(18).toString('base64');
    response
      .set({
        'Content-Security-Policy': `default-src 'none'; script-src 'self'; style-src 'self' 'nonce-${nonce}'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'`,
        'Cache-Control': 'no-store',
        'Referrer-Policy': 'same-origin',
        'X-Content-Type-Options': 'nosniff',
      })
      .type('html')
      .send((page ?? notBuilt).replace('{nonce}', nonce));
  };
  router.get(consolePaths, show);
  const nowhere: RequestHandler = (request, response, next) => {
    if (request.method !== 'GET' || /^\/(api|scim|assets|graph)(\/|$)/.test(request.path)) return next();
    response.status(404);
    return show(request, response, next);
  };
  return { router, nowhere };
}

const notBuilt =
  '<!doctype html><html lang="en"><title>Usher</title><h1>Usher</h1><p>The console was not built: run «npm run build».</p></html>';
