/** `/` for a browser: who is signed in, the own profile, Booking pages and calendar connection, and the way out. No script. */
import type { RequestHandler } from 'express';
import type { AccountAdministration, SignIn } from '../administration.ts';
import { delegationHelp } from '../domain/delegation-help.ts';
import type { Policy } from '../domain/policy.ts';
import type { AdminStore } from '../ports.ts';
import { cookieName, giveSession, readCookie, type Site, sessionCookie } from './caller.ts';
import { html, sendPage } from './html.ts';

export interface HomeParts {
  administration: AccountAdministration | null;
  signIn: SignIn;
  store: Pick<AdminStore, 'person'>;
  policy: Policy;
  site: Site;
}

export function homePage({ administration, signIn, store, policy, site }: HomeParts): RequestHandler {
  return async (request, response, next) => {
    if (!request.accepts(['json', 'html']) || request.accepts(['json', 'html']) === 'json') return next();
    const value = readCookie(request, cookieName(site, sessionCookie));
    const principal = value ? await signIn.find(value) : null;
    if (!principal) {
      response.redirect(303, '/sign-in');
      return;
    }
    if (principal.renewed) giveSession(response, site, principal.renewed);
    const out = html`<form method="post" action="/sign-out"><button type="submit">Sign out</button></form>`;
    const roles = [principal.role, ...principal.operatorRoles].filter(Boolean).join(', ');
    if (!administration || !principal.accountUserId) {
      sendPage(
        response,
        200,
        'Usher',
        html`<p>You are signed in as <strong>${principal.name}</strong> (${roles}).</p><p>The API is described at <a href="/docs">/docs</a>.</p>${out}`,
      );
      return;
    }
    const user = await administration.user(principal.accountUserId);
    const pages = await administration.pages({
      ownerId: user.accountUserId,
      sort: 'title',
      descending: false,
      limit: 100,
    });
    const person = user.personId ? await store.person(user.personId) : null;
    const delegation = person?.known.conditions.Delegation;
    sendPage(
      response,
      200,
      user.name,
      html`<dl><dt>E-mail</dt><dd>${user.email}</dd><dt>Role</dt><dd>${user.role}</dd><dt>Licenses</dt><dd>${user.licenses.join(', ') || 'None'}</dd><dt>Time zone</dt><dd>${user.timeZone ?? 'not set'}</dd></dl>
<h2>Calendar connection</h2><p>${delegation?.message ?? 'Nobody in the directory is behind this user, so no calendar is known.'}</p>
${
  delegation && delegation.status !== 'true' && policy.dedicatedMailbox
    ? delegationHelp(policy.dedicatedMailbox).map(
        (way) => html`<h3>${way.title}</h3><ol>${way.steps.map((step) => html`<li>${step}</li>`)}</ol>`,
      )
    : ''
}
<h2>Booking pages</h2>${
        pages.items.length === 0
          ? html`<p>You own no Booking page.</p>`
          : html`<ul>${pages.items.map((page) => html`<li><strong>${page.title}</strong> <span class="muted">(${page.linkName})</span>: ${page.bookable.message}</li>`)}</ul>`
      }${out}`,
    );
  };
}
