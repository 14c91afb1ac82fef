/** `/docs`: the API described, from the same rows as `/openapi.json`; no script, nothing from elsewhere. */
import { accountFunctions, operations } from '../domain/roles.ts';
import { type Html, html } from './html.ts';
import type { Route } from './route.ts';

export function docsPage(routes: Route[]): Html {
  const tags = [...new Set(routes.map((route) => route.tag))];
  return html`<p>Every address stands below <code>/api/v1</code>. Send <code>Authorization: Bearer</code> with an admin token, or sign in at <a href="/sign-in">/sign-in</a>. The machine-readable description, with every field, is <a href="/openapi.json">/openapi.json</a>.</p>
<p>Errors are <code>application/problem+json</code> with <code>code</code>, <code>detail</code> and <code>next</code>. Lists take <code>limit</code> and <code>cursor</code>. Creates take <code>Idempotency-Key</code>, writes <code>If-Match</code> with an <code>ETag</code> that was given.</p>
${tags.map(
  (tag) =>
    html`<h2>${tag}</h2><dl>${routes
      .filter((route) => route.tag === tag)
      .map(
        (
          route,
        ) => html`<dt><code>${route.method.toUpperCase()} /api/v1${route.path}</code></dt><dd>${route.summary}</dd>
<dd class="muted">For who may ${accountFunctions[operations[route.operation].account].title}${operatorsOf(route)}.${route.creates ? ' Takes Idempotency-Key.' : ''}${route.matches ? ' Takes If-Match.' : ''}</dd>`,
      )}</dl>`,
)}`;
}

function operatorsOf(route: Route): string {
  const operators: readonly string[] = operations[route.operation].operators;
  return operators.length > 0 ? `, or ${operators.join(', ')}` : '';
}
