/**
 * `/scim/v2`: the SCIM 2.0 service provider (RFC 7643, RFC 7644). A request is judged in this order: token, source, media type, size, syntax,
 * meaning. Every answer, a refusal too, is `application/scim+json`; a database outage is 503 and never 404, which would tell an identity
 * provider that everybody is gone.
 */
import { randomUUID } from 'node:crypto';
import express, {
  type ErrorRequestHandler,
  type Request,
  type RequestHandler,
  type Response,
  type Router,
} from 'express';
import type { Access } from '../../access.ts';
import type { Policy } from '../../domain/policy.ts';
import { asUsherError, UsherError } from '../../errors.ts';
import type { Log } from '../../log.ts';
import type { GroupStore, IntakeStore, RequestLogStore } from '../../ports.ts';
import type { Intake } from '../record-change.ts';
import { runBulk } from './bulk.ts';
import { resourceTypes, schemaByUrn, schemaList, serviceProviderConfig } from './discovery.ts';
import type { Asked, Caller, Endpoint, Reply } from './endpoint.ts';
import { groupsEndpoint } from './groups.ts';
import type { ScimLimits } from './limits.ts';
import { openListing } from './listing.ts';
import { openRateLimit, type RateLimit } from './rate-limit.ts';
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

export function scimRouter(parts: ScimParts): Router {
  const router = express.Router({ caseSensitive: false });
  const { store, intake, limits, now } = parts;
  const listing = openListing(limits, () => store.cursorSecret(), now);
  const endpoints: Record<string, Endpoint> = {
    Users: usersEndpoint({ store, intake, listing, now }),
    Groups: groupsEndpoint({ store, listing, limits }),
  };
  const base = (request: Request): string =>
    `${parts.publicUrl ?? `${request.protocol}://${request.get('host') ?? 'localhost'}`}/scim/v2`;
  const asked = (request: Request, response: Response): Asked => ({
    base: base(request),
    caller: response.locals.caller as Caller,
    query: request.query,
    ifMatch: request.get('if-match'),
    ifNoneMatch: request.get('if-none-match'),
    body: request.body,
  });

  router.use(logged(parts));
  router.use(
    authenticate(
      parts,
      openRateLimit(() => now().getTime()),
    ),
  );
  router.use(mediaType);
  router.use(
    express.json({
      type: () => true,
      limit: limits.bodyBytes,
      strict: false,
      inflate: true,
      verify: (_request, _response, body) => checkDepth(body),
    }),
  );

  // What is asked most is matched first.
  for (const [name, endpoint] of Object.entries(endpoints)) {
    router.get(`/${name}`, async (request, response) =>
      answer(response, await endpoint.list(asked(request, response))),
    );
    router.post(`/${name}`, async (request, response) =>
      answer(response, await endpoint.create(asked(request, response))),
    );
    router.post(`/${name}/.search`, async (request, response) => {
      answer(response, await endpoint.list({ ...asked(request, response), query: readSearchBody(request.body) }));
    });
    router.get(`/${name}/:id`, async (request, response) =>
      answer(response, await endpoint.read(asked(request, response), request.params.id)),
    );
    router.put(`/${name}/:id`, async (request, response) =>
      answer(response, await endpoint.replace(asked(request, response), request.params.id)),
    );
    router.patch(`/${name}/:id`, async (request, response) =>
      answer(response, await endpoint.patch(asked(request, response), request.params.id)),
    );
    router.delete(`/${name}/:id`, async (request, response) =>
      answer(response, await endpoint.remove(asked(request, response), request.params.id)),
    );
  }

  const discovery = express.Router();
  discovery.get('/ServiceProviderConfig', forbidFilter, (request, response) => {
    send(response, 200, serviceProviderConfig(base(request), limits));
  });
  for (const [path, all, one] of [
    [
      '/ResourceTypes',
      resourceTypes,
      (id: string, at: string) => resourceTypes(at).find((type) => type.id.toLowerCase() === id.toLowerCase()),
    ],
    ['/Schemas', schemaList, schemaByUrn],
  ] as const) {
    discovery.get(path, forbidFilter, (request, response) => {
      const resources = all(base(request));
      send(response, 200, {
        schemas: [urns.listResponse],
        totalResults: resources.length,
        startIndex: 1,
        itemsPerPage: resources.length,
        Resources: resources,
      });
    });
    discovery.get(`${path}/:id`, (request, response) => {
      const found = one(request.params.id, base(request));
      if (!found) throw new UsherError('not_found', `There is nothing at ${path}/${request.params.id.slice(0, 100)}.`);
      send(response, 200, found);
    });
  }
  router.use(discovery);

  router.post('/Bulk', async (request, response) =>
    answer(response, await runBulk(asked(request, response), endpoints, limits)),
  );

  const allowed: Record<string, string> = {
    '/Users': 'GET, POST',
    '/Users/.search': 'POST',
    '/Users/:id': 'GET, PUT, PATCH, DELETE',
    '/Groups': 'GET, POST',
    '/Groups/.search': 'POST',
    '/Groups/:id': 'GET, PUT, PATCH, DELETE',
    '/Bulk': 'POST',
    '/ServiceProviderConfig': 'GET',
    '/ResourceTypes': 'GET',
    '/ResourceTypes/:id': 'GET',
    '/Schemas': 'GET',
    '/Schemas/:id': 'GET',
  };
  for (const [path, methods] of Object.entries(allowed)) {
    router.all(path, (_request, response) => {
      response.set('Allow', methods);
      throw new UsherError('method_not_allowed', `Use ${methods}.`);
    });
  }
  router.all('/Me', () => {
    throw new UsherError('not_implemented', '/Me is not offered: a token belongs to a source, not to a user.');
  });
  router.all('/.search', () => {
    throw new UsherError('not_implemented', 'Search one resource type: /Users/.search or /Groups/.search.');
  });
  router.use((request) => {
    throw new UsherError('not_found', `There is nothing at ${request.path}.`);
  });
  router.use(answerError(parts.log));
  return router;
}

function answer(response: Response, reply: Reply): void {
  if (reply.version) response.set('ETag', reply.version);
  if (reply.location) response.set(reply.status === 201 ? 'Location' : 'Content-Location', reply.location);
  if (reply.body === undefined) response.status(reply.status).end();
  else send(response, reply.status, reply.body);
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
function authenticate({ access, policy }: ScimParts, rates: RateLimit): RequestHandler {
  const limitOf = new Map(policy.sources.map((source) => [source.name, source.requestsPerSecond]));
  return async (request, response, next) => {
    const from = `address ${request.ip ?? ''}`;
    const token = await access.identify(request.get('authorization'), 'scim').catch((error: unknown) => {
      if (error instanceof UsherError && error.code === 'unauthorized')
        rates.take(from, failuresPerSecond, failuresAtOnce);
      throw error;
    });
    const source = token.source ?? 'scim';
    response.locals.caller = {
      source,
      cause: { actor: `scim:${source}`, by: `request:${response.locals.requestId}` },
    } satisfies Caller;
    if (await access.isPaused(source))
      throw new UsherError('source_paused', `Source ${source} is paused.`, { retryAfterSeconds: 300 });
    const perSecond = limitOf.get(source);
    if (perSecond) rates.take(`source ${source}`, perSecond, Math.max(1, perSecond));
    next();
  };
}

/** Every request that showed a live token is written down, with what it sent and what it was answered. */
function logged({ requestLog, now }: ScimParts): RequestHandler {
  return (request, response, next) => {
    const at = now();
    const requestId = request.get('x-request-id')?.slice(0, 100) ?? randomUUID();
    response.locals.requestId = requestId;
    response.set('X-Request-Id', requestId);
    response.on('finish', () => {
      const caller = response.locals.caller as Caller | undefined;
      if (!caller) return;
      requestLog.add({
        requestId,
        source: caller.source,
        at,
        method: request.method,
        path: request.originalUrl.slice(0, 2000),
        status: response.statusCode,
        tookMs: now().getTime() - at.getTime(),
        body: request.body as unknown,
        answer: (response.locals.refusal as string | undefined) ?? null,
      });
    });
    next();
  };
}

/** Deeper than any SCIM resource; what walks a body may recurse this far. */
const deepestBody = 32;

/** Counts brackets outside of texts, before anything is parsed: one pass, no recursion. */
function checkDepth(body: Buffer): void {
  let depth = 0;
  let inText = false;
  for (let at = 0; at < body.length; at++) {
    const byte = body[at];
    if (inText) {
      if (byte === 0x5c) at++;
      else if (byte === 0x22) inText = false;
    } else if (byte === 0x22) inText = true;
    else if (byte === 0x7b || byte === 0x5b) {
      if (++depth > deepestBody)
        throw new UsherError('invalid_syntax', `The body is nested deeper than ${deepestBody}.`);
    } else if (byte === 0x7d || byte === 0x5d) depth--;
  }
}

/** RFC 7644 section 3.1 and 3.8. A GET may carry any type: Okta sends one with every request. */
const mediaType: RequestHandler = (request, _response, next) => {
  if (['GET', 'HEAD', 'DELETE'].includes(request.method)) {
    next();
    return;
  }
  if (request.get('content-length') === '0') throw new UsherError('invalid_syntax', 'The body is empty.');
  const [type = '', ...parameters] = (request.get('content-type') ?? 'application/scim+json')
    .toLowerCase()
    .split(';')
    .map((part) => part.trim());
  if (type !== 'application/scim+json' && type !== 'application/json')
    throw new UsherError('unsupported_media_type', `${type} is not supported.`);
  const charset = parameters
    .find((parameter) => parameter.startsWith('charset='))
    ?.slice(8)
    .replace(/"/g, '');
  if (charset && charset !== 'utf-8' && charset !== 'utf8')
    throw new UsherError('unsupported_media_type', `charset ${charset} is not supported.`);
  next();
};

/** RFC 7644 section 4: discovery ignores sorting and paging, and refuses a filter. */
const forbidFilter: RequestHandler = (request, _response, next) => {
  if (request.query.filter !== undefined) throw new UsherError('forbidden', 'A discovery endpoint takes no filter.');
  next();
};

function send(response: Response, status: number, body: unknown): void {
  response.status(status).type('application/scim+json').send(JSON.stringify(body));
}

/** RFC 7644 section 3.12: status is a string, scimType only where table 9 has one. */
function answerError(log: Log): ErrorRequestHandler {
  return (thrown: unknown, request, response, next) => {
    if (response.headersSent) {
      next(thrown);
      return;
    }
    const error = thrown instanceof UsherError ? thrown : (fromBodyParser(thrown) ?? asUsherError(thrown));
    const { status, scimType, next: what } = error.row;
    if (status >= 500 && status !== 501)
      log.error({ err: error, path: request.path, method: request.method }, 'SCIM request failed');
    if (status === 401) response.set('WWW-Authenticate', 'Bearer realm="usher-scim"');
    if (status === 503 || status === 429) response.set('Retry-After', String(error.retryAfterSeconds ?? 30));
    response.locals.refusal = error.message;
    send(response, status, {
      schemas: [urns.error],
      status: String(status),
      ...(scimType ? { scimType } : {}),
      detail: `${error.message} ${what}`,
    });
  };
}

/** body-parser's own refusals, by their type. */
function fromBodyParser(thrown: unknown): UsherError | null {
  const { type } = (thrown ?? {}) as { type?: string };
  switch (type) {
    case 'entity.parse.failed':
      return new UsherError('invalid_syntax', 'The body is no JSON.', { cause: thrown });
    case 'entity.too.large':
      return new UsherError(
        'payload_too_large',
        `The body is larger than ${(thrown as { limit?: number }).limit ?? 0} bytes.`,
        {
          cause: thrown,
        },
      );
    case 'encoding.unsupported':
    case 'charset.unsupported':
      return new UsherError('unsupported_media_type', 'The encoding is not supported.', { cause: thrown });
    case 'request.aborted':
    case 'request.size.invalid':
    case 'stream.encoding.set':
    case 'entity.verify.failed':
      return new UsherError('invalid_syntax', 'The body did not arrive whole.', { cause: thrown });
    default:
      return (thrown as { status?: number } | null)?.status === 400
        ? new UsherError('invalid_syntax', 'The request can not be read.', { cause: thrown })
        : null;
  }
}
