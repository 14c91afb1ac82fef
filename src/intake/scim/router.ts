/**
 * `/scim/v2`: the SCIM 2.0 service provider (RFC 7643, RFC 7644). A request is judged in this order: token, source, media type, size, syntax,
 * meaning. Every answer, a refusal too, is `application/scim+json`; a database outage is 503 and never 404, which would tell an identity
 * provider that everybody is gone.
 */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Access } from '../../access.ts';
import type { Policy } from '../../domain/policy.ts';
import { asUsherError, UsherError } from '../../errors.ts';
import type { Log } from '../../log.ts';
import type { GroupStore, IntakeStore, RequestLogStore } from '../../ports.ts';
import { openRateLimit, type RateLimit } from '../../rate-limit.ts';
import type { Intake } from '../record-change.ts';
import { runBulk } from './bulk.ts';
import { resourceTypes, schemaByUrn, schemaList, serviceProviderConfig } from './discovery.ts';
import type { Asked, Caller, Endpoint, Reply } from './endpoint.ts';
import { groupsEndpoint } from './groups.ts';
import { type Exchange, openExchange, readJson, send } from './http.ts';
import type { ScimLimits } from './limits.ts';
import { openListing } from './listing.ts';
import type { RequestLog } from './request-log.ts';
import { urns } from './schema.ts';
import { usersEndpoint } from './users.ts';

export interface ScimParts {
  store: IntakeStore & GroupStore & RequestLogStore;
  intake: Intake;
  access: Access;
  policy: Policy;
  limits: ScimLimits;
  requestLog: RequestLog;
  log: Log;
  /** How others reach us, without a path; null to go by the request. */
  publicUrl: string | null;
  now: () => Date;
}

export function scimHandler(parts: ScimParts): (request: IncomingMessage, response: ServerResponse) => void {
  const { store, intake, limits, now } = parts;
  const listing = openListing(limits, () => store.cursorSecret(), now);
  const endpoints: Record<string, Endpoint> = {
    Users: usersEndpoint({ store, intake, listing, limits, now }),
    Groups: groupsEndpoint({ store, listing, limits }),
  };
  const routes = routeTable(endpoints, limits);
  const authenticate = openAuthentication(
    parts,
    openRateLimit(() => now().getTime()),
  );

  const perform = async (exchange: Exchange): Promise<Reply> => {
    const caller = await authenticate(exchange);
    const { request } = exchange;
    const route = routes(exchange);
    // A GET may carry any type and body: Okta sends a type with every request.
    if (request.method !== 'GET' && request.method !== 'HEAD' && request.method !== 'DELETE')
      exchange.body = await readJson(request, limits.bodyBytes);
    return route({
      base: exchange.base,
      caller,
      query: exchange.query,
      ifMatch: request.headers['if-match'],
      ifNoneMatch: request.headers['if-none-match'],
      body: exchange.body,
    });
  };

  return (request, response) => {
    const at = now();
    const given = request.headers['x-request-id'];
    const requestId = typeof given === 'string' && given !== '' ? given.slice(0, 100) : randomUUID();
    const exchange = openExchange(request, response, parts.publicUrl, requestId);
    perform(exchange)
      .then((reply) => answer(exchange, reply))
      .catch((error: unknown) => answerError(exchange, error, parts.log))
      // Every request that showed a live token is written down, with what it sent and what it was answered.
      .finally(() => {
        if (!exchange.caller) return;
        parts.requestLog.add({
          requestId,
          source: exchange.caller.source,
          at,
          method: request.method ?? '',
          path: loggedPath(request.url ?? ''),
          status: response.statusCode,
          tookMs: now().getTime() - at.getTime(),
          body: exchange.body,
          answer: exchange.refusal,
        });
      });
  };
}

type Route = (asked: Asked, id: string, exchange: Exchange) => Promise<Reply> | Reply;

/** Path → method → what answers. A path of two parts ends in an id, but for `.search`. */
function routeTable(endpoints: Record<string, Endpoint>, limits: ScimLimits) {
  const table: Record<string, Record<string, Route>> = {};
  for (const [name, endpoint] of Object.entries(endpoints)) {
    const path = `/${name.toLowerCase()}`;
    table[path] = { GET: (asked) => endpoint.list(asked), POST: (asked) => endpoint.create(asked) };
    table[`${path}/.search`] = {
      POST: (asked) => endpoint.list({ ...asked, query: readSearchBody(asked.body) }),
    };
    table[`${path}/:id`] = {
      GET: (asked, id) => endpoint.read(asked, id),
      PUT: (asked, id) => endpoint.replace(asked, id),
      PATCH: (asked, id) => endpoint.patch(asked, id),
      DELETE: (asked, id) => endpoint.remove(asked, id),
    };
  }
  table['/bulk'] = { POST: (asked) => runBulk(asked, endpoints, limits) };
  table['/serviceproviderconfig'] = {
    GET: (asked) => discovered(asked, (base) => serviceProviderConfig(base, limits)),
  };
  const listed = (all: (base: string) => unknown[]) => (base: string) => {
    const resources = all(base);
    return {
      schemas: [urns.listResponse],
      totalResults: resources.length,
      startIndex: 1,
      itemsPerPage: resources.length,
      Resources: resources,
    };
  };
  const one = (found: object | null | undefined, { path }: Exchange): Reply => {
    if (!found) throw nothingAt(path);
    return { status: 200, body: found as Record<string, unknown> };
  };
  table['/resourcetypes'] = { GET: (asked) => discovered(asked, listed(resourceTypes)) };
  table['/resourcetypes/:id'] = {
    GET: (asked, id, exchange) =>
      one(
        resourceTypes(asked.base).find((type) => type.id.toLowerCase() === id.toLowerCase()),
        exchange,
      ),
  };
  table['/schemas'] = { GET: (asked) => discovered(asked, listed(schemaList)) };
  table['/schemas/:id'] = { GET: (asked, id, exchange) => one(schemaByUrn(id, asked.base), exchange) };

  /** Judged before the body is read: a method that is not allowed is that, whatever was sent with it. */
  return (exchange: Exchange): ((asked: Asked) => Promise<Reply> | Reply) => {
    const [, first = '', second, ...more] = exchange.path.replace(/\/$/, '').split('/');
    const station = `/${first.toLowerCase()}`;
    if (station === '/me')
      throw new UsherError('not_implemented', '/Me is not offered: a token belongs to a source, not to a user.');
    if (station === '/.search')
      throw new UsherError('not_implemented', 'Search one resource type: /Users/.search or /Groups/.search.');
    const searches = second?.toLowerCase() === '.search';
    const methods =
      table[second === undefined ? station : searches ? `${station}/.search` : `${station}/:id`] ??
      (searches ? table[`${station}/:id`] : undefined);
    if (!methods || more.length > 0) throw nothingAt(exchange.path);
    const route = methods[exchange.request.method === 'HEAD' ? 'GET' : (exchange.request.method ?? '')];
    if (!route) {
      exchange.response.setHeader('Allow', Object.keys(methods).join(', '));
      throw new UsherError('method_not_allowed', `Use ${Object.keys(methods).join(', ')}.`);
    }
    const id = decoded(second ?? '');
    return (asked) => route(asked, id, exchange);
  };
}

const nothingAt = (path: string): UsherError =>
  new UsherError('not_found', `There is nothing at ${path.slice(0, 100)}.`);

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch (error) {
    throw new UsherError('invalid_syntax', 'The request can not be read.', { cause: error });
  }
}

/** A question that names a secret is not written down. */
function loggedPath(url: string): string {
  const path = url.slice(0, 2000);
  return /password/i.test(decodeLoosely(path)) ? `${path.split('?')[0]}?[left out]` : path;
}

function decodeLoosely(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** RFC 7644 section 4: discovery ignores sorting and paging, and refuses a filter. */
function discovered(asked: Asked, document: (base: string) => object): Reply {
  if (asked.query.filter !== undefined) throw new UsherError('forbidden', 'A discovery endpoint takes no filter.');
  return { status: 200, body: document(asked.base) as Record<string, unknown> };
}

function answer(exchange: Exchange, reply: Reply): void {
  const headers: Record<string, string> = {};
  if (reply.version) headers.ETag = reply.version;
  if (reply.location) headers[reply.status === 201 ? 'Location' : 'Content-Location'] = reply.location;
  send(exchange, reply.status, headers, reply.body);
}

/** RFC 7644 section 3.4.3: the same parameters as a GET, in a body. */
function readSearchBody(body: unknown): Record<string, unknown> {
  if (body === null || typeof body !== 'object' || Array.isArray(body))
    throw new UsherError('invalid_syntax', 'The body must be a JSON object.');
  const names = ['attributes', 'excludedAttributes', 'filter', 'sortBy', 'sortOrder', 'startIndex', 'count', 'cursor'];
  const entries = Object.entries(body).map(
    ([key, value]) => [names.find((name) => name.toLowerCase() === key.toLowerCase()), value] as const,
  );
  return Object.fromEntries(entries.filter(([name, value]) => name !== undefined && value !== null));
}

/** Who fails to show a live token this often is asked to wait; a live one is never kept waiting by another's failures behind one proxy. */
const failuresPerSecond = 0.2;
const failuresAtOnce = 20;

/** The token is judged before the body is read; its source is all that the request can see. */
function openAuthentication({ access, policy }: ScimParts, rates: RateLimit): (exchange: Exchange) => Promise<Caller> {
  const limitOf = new Map(policy.sources.map((source) => [source.name, source.requestsPerSecond]));
  return async (exchange) => {
    const { request, requestId, address } = exchange;
    const token = await access.identify(request.headers.authorization, 'scim').catch((error: unknown) => {
      if (error instanceof UsherError && error.code === 'unauthorized')
        rates.take(`address ${address}`, failuresPerSecond, failuresAtOnce);
      throw error;
    });
    const source = token.source ?? 'scim';
    exchange.caller = { source, cause: { actor: `scim:${source}`, by: `request:${requestId}` } };
    if (await access.isPaused(source))
      throw new UsherError('source_paused', `Source ${source} is paused.`, { retryAfterSeconds: 300 });
    const perSecond = limitOf.get(source);
    if (perSecond) rates.take(`source ${source}`, perSecond, Math.max(1, perSecond));
    return exchange.caller;
  };
}

/** RFC 7644 section 3.12: status is a string, scimType only where table 9 has one. */
function answerError(exchange: Exchange, thrown: unknown, log: Log): void {
  const { request, response } = exchange;
  if (response.headersSent) {
    log.error({ err: thrown, path: exchange.path }, 'a SCIM answer broke off');
    response.destroy();
    return;
  }
  const error = asUsherError(thrown);
  const { status, scimType, next } = error.row;
  if (status >= 500 && status !== 501)
    log.error({ err: error, path: exchange.path, method: request.method }, 'SCIM request failed');
  const headers: Record<string, string> = {};
  if (status === 401) headers['WWW-Authenticate'] = 'Bearer realm="usher-scim"';
  if (status === 503 || status === 429) headers['Retry-After'] = String(error.retryAfterSeconds ?? 30);
  exchange.refusal = error.message;
  send(exchange, status, headers, {
    schemas: [urns.error],
    status: String(status),
    ...(scimType ? { scimType } : {}),
    detail: `${error.message} ${next}`,
  });
}
