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
import { asUsherError, UsherError } from '../../errors.ts';
import type { Log } from '../../log.ts';
import type { Cause, IntakeStore, StoredUser } from '../../ports.ts';
import type { Intake } from '../record-change.ts';
import { compileFilter } from './compile-filter.ts';
import { resourceTypes, schemaByUrn, schemaList, serviceProviderConfig } from './discovery.ts';
import { parseFilter } from './filter.ts';
import { scimLimits } from './limits.ts';
import { directoryUserFrom } from './mapping.ts';
import { checkUser, normaliseResource, type Resource, sameValues } from './normalise.ts';
import { applyPatch, readOperations } from './patch.ts';
import { type Projection, readProjection, representUser, versionOf } from './represent.ts';
import { urns, userSchema } from './schema.ts';

export interface ScimParts {
  store: IntakeStore;
  intake: Intake;
  access: Access;
  log: Log;
  /** How others reach us, without a path; null to go by the request. */
  publicUrl: string | null;
  now: () => Date;
}

/** What authentication found out about the caller. */
interface Caller {
  source: string;
  cause: Cause;
}

export function scimRouter(parts: ScimParts): Router {
  const router = express.Router({ caseSensitive: false });
  const { store, intake } = parts;
  const base = (request: Request): string =>
    `${parts.publicUrl ?? `${request.protocol}://${request.get('host') ?? 'localhost'}`}/scim/v2`;

  router.use(authenticate(parts));
  router.use(mediaType);
  router.use(express.json({ type: () => true, limit: scimLimits.bodyBytes, strict: false, inflate: true }));

  router.get('/ServiceProviderConfig', forbidFilter, (request, response) =>
    send(response, 200, serviceProviderConfig(base(request))),
  );
  router.get('/ResourceTypes', forbidFilter, (request, response) =>
    send(response, 200, list(resourceTypes(base(request)))),
  );
  router.get('/ResourceTypes/:name', (request, response) => {
    const found = resourceTypes(base(request)).find(
      (type) => type.id.toLowerCase() === request.params.name.toLowerCase(),
    );
    if (!found) throw new UsherError('not_found', `There is no resource type ${request.params.name}.`);
    send(response, 200, found);
  });
  router.get('/Schemas', forbidFilter, (request, response) => send(response, 200, list(schemaList(base(request)))));
  router.get('/Schemas/:urn', (request, response) => {
    const found = schemaByUrn(request.params.urn, base(request));
    if (!found) throw new UsherError('not_found', `There is no schema ${request.params.urn}.`);
    send(response, 200, found);
  });

  router.get('/Users', async (request, response) => {
    const query = readQuery(request.query);
    const page = await store.findUsers(callerOf(response).source, query);
    send(response, 200, {
      schemas: [urns.listResponse],
      totalResults: page.total,
      startIndex: query.offset + 1,
      itemsPerPage: page.items.length,
      Resources: page.items.map((user) => representUser(user, base(request), query.projection)),
    });
  });

  router.post('/Users', async (request, response) => {
    const { source, cause } = callerOf(response);
    const projection = readProjection(request.query, userSchema);
    const resource = normaliseResource(request.body, userSchema);
    checkUser(resource);
    const user = directoryUserFrom(resource, { source, resourceId: randomUUID(), activeSince: parts.now() });
    const stored = await intake.create(user, resource, cause);
    answerUser(request, response, 201, stored, projection);
  });

  router.get('/Users/:id', async (request, response) => {
    const projection = readProjection(request.query, userSchema);
    const stored = await store.findUser(callerOf(response).source, request.params.id);
    if (!stored) throw unknownUser(request.params.id);
    const wanted = request.get('if-none-match');
    if (wanted !== undefined && namesVersion(wanted, stored)) {
      response.status(304).set('ETag', versionOf(stored)).end();
      return;
    }
    answerUser(request, response, 200, stored, projection);
  });

  router.put('/Users/:id', async (request, response) => {
    const projection = readProjection(request.query, userSchema);
    const resource = normaliseResource(request.body, userSchema);
    checkUser(resource);
    const stored = await changeUser(request, response, () => resource);
    answerUser(request, response, 200, stored, projection);
  });

  router.patch('/Users/:id', async (request, response) => {
    const projection = readProjection(request.query, userSchema);
    const operations = readOperations(request.body);
    const stored = await changeUser(request, response, (before) => {
      const { resource, changed } = applyPatch(before, operations, userSchema);
      if (!changed) return before;
      checkUser(resource);
      return resource;
    });
    answerUser(request, response, 200, stored, projection);
  });

  router.delete('/Users/:id', async (request, response) => {
    const { source, cause } = callerOf(response);
    const removed = await intake.remove(
      source,
      String(request.params.id),
      (before) => checkIfMatch(request, before),
      cause,
    );
    if (!removed) throw unknownUser(String(request.params.id));
    response.status(204).end();
  });

  /** The same resource back means: nothing to write, and nothing moves. */
  async function changeUser(
    request: Request,
    response: Response,
    edit: (before: Resource) => Resource,
  ): Promise<StoredUser> {
    const { source, cause } = callerOf(response);
    const id = String(request.params.id);
    const stored = await intake.change(
      source,
      id,
      (before) => {
        checkIfMatch(request, before);
        const resource = edit(before.resource);
        if (resource === before.resource || sameValues(resource, before.resource)) return 'unchanged';
        return { user: directoryUserFrom(resource, { source, resourceId: id, activeSince: parts.now() }), resource };
      },
      cause,
    );
    if (!stored) throw unknownUser(id);
    return stored;
  }

  function answerUser(
    request: Request,
    response: Response,
    status: number,
    stored: StoredUser,
    projection: Projection,
  ): void {
    const body = representUser(stored, base(request), projection);
    response
      .set('ETag', versionOf(stored))
      .set(status === 201 ? 'Location' : 'Content-Location', `${base(request)}/Users/${stored.resourceId}`);
    send(response, status, body);
  }

  const allowed: Record<string, string> = {
    '/Users': 'GET, POST',
    '/Users/:id': 'GET, PUT, PATCH, DELETE',
    '/ServiceProviderConfig': 'GET',
    '/ResourceTypes': 'GET',
    '/Schemas': 'GET',
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
  router.use((request) => {
    throw new UsherError('not_found', `There is nothing at ${request.path}.`);
  });
  router.use(answerError(parts.log));
  return router;
}

/** The token is judged before the body is read; its source is all that the request can see. */
function authenticate({ access }: ScimParts): RequestHandler {
  return async (request, response, next) => {
    const token = await access.identify(request.get('authorization'), 'scim');
    const source = token.source ?? 'scim';
    const requestId = request.get('x-request-id')?.slice(0, 100) ?? randomUUID();
    response.set('X-Request-Id', requestId);
    if (await access.isPaused(source))
      throw new UsherError('source_paused', `Source ${source} is paused.`, { retryAfterSeconds: 300 });
    response.locals.caller = {
      source,
      cause: { actor: `scim:${source}`, by: `request:${requestId}` },
    } satisfies Caller;
    next();
  };
}

const callerOf = (response: Response): Caller => response.locals.caller as Caller;

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

const list = (resources: unknown[]) => ({
  schemas: [urns.listResponse],
  totalResults: resources.length,
  startIndex: 1,
  itemsPerPage: resources.length,
  Resources: resources,
});

const unknownUser = (id: string): UsherError =>
  new UsherError('not_found', `There is no user ${id.slice(0, 100)} in this source.`);

function readQuery(query: Record<string, unknown>) {
  const { filter: text } = query;
  if (text !== undefined && typeof text !== 'string')
    throw new UsherError('invalid_filter', 'filter is given more than once.');
  const startIndex = Math.max(1, readInteger(query.startIndex, 'startIndex') ?? 1);
  const count = Math.min(
    scimLimits.pageSize,
    Math.max(0, readInteger(query.count, 'count') ?? scimLimits.defaultPageSize),
  );
  return {
    filter: text === undefined || text.trim() === '' ? null : compileFilter(parseFilter(text, userSchema)),
    sort: null,
    offset: startIndex - 1,
    limit: count,
    projection: readProjection(query, userSchema),
  };
}

function readInteger(value: unknown, name: string): number | null {
  if (value === undefined || value === '') return null;
  if (typeof value !== 'string' || !/^-?\d{1,9}$/.test(value.trim()))
    throw new UsherError('invalid_value', `${name} must be a whole number.`);
  return Number(value);
}

/** RFC 7644 section 3.14, RFC 9110 section 13.1: a list of versions, or * for any. Weak and strong forms of our version are the same one. */
function namesVersion(header: string, stored: StoredUser): boolean {
  return header
    .split(',')
    .some((entry) => entry.trim() === '*' || entry.trim().replace(/^W\//, '') === `"${stored.version}"`);
}

function checkIfMatch(request: Request, stored: StoredUser): void {
  const wanted = request.get('if-match');
  if (wanted !== undefined && !namesVersion(wanted, stored))
    throw new UsherError('precondition_failed', `The user is at version ${versionOf(stored)} by now.`);
}

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
    const error = fromBodyParser(thrown) ?? asUsherError(thrown);
    const { status, scimType, next: what } = error.row;
    if (status >= 500) log.error({ err: error, path: request.path, method: request.method }, 'SCIM request failed');
    if (status === 401) response.set('WWW-Authenticate', 'Bearer realm="usher-scim"');
    if (status === 503 || status === 429) response.set('Retry-After', String(error.retryAfterSeconds ?? 30));
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
      return new UsherError('payload_too_large', `The body is larger than ${scimLimits.bodyBytes} bytes.`, {
        cause: thrown,
      });
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
