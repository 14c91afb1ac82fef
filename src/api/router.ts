/**
 * `/api/v1`: what admins, the CLI and the console stand on. Errors are problem+json (RFC 9457) with a stable code and what to do next.
 */
import express, {
  type ErrorRequestHandler,
  type Request,
  type RequestHandler,
  type Response,
  type Router,
} from 'express';
import { z } from 'zod';
import { type Access, hashToken, newToken } from '../access.ts';
import { conditionTypes, readiness, reasons } from '../domain/conditions.ts';
import { lifecycles } from '../domain/person.ts';
import type { Policy } from '../domain/policy.ts';
import { asLinkName } from '../domain/template.ts';
import { asUsherError, UsherError } from '../errors.ts';
import type { Log } from '../log.ts';
import type {
  AccessStore,
  AdminStore,
  Cause,
  Provision,
  RequestLogStore,
  SchedulingAccount,
  ShownPerson,
  SyncStore,
  WakeUps,
} from '../ports.ts';
import { delegationRouter } from './delegation.ts';
import { parse } from './parse.ts';

export interface ApiParts {
  store: AdminStore & AccessStore & RequestLogStore & SyncStore;
  access: Access;
  account: SchedulingAccount;
  wakeUps: WakeUps;
  policy: Policy;
  /** Makes pages of the built-in account, owned by its founder until somebody is wished to own them. */
  makePages(linkNames: string[]): Promise<number>;
  log: Log;
  now: () => Date;
}

/** How long a provision is waited for before the caller gets its address instead. */
const waitForProvisionMs = 30_000;

export function apiRouter(parts: ApiParts): Router {
  const { store, account, access, wakeUps, policy } = parts;
  const router = express.Router();
  router.use(authenticate(access));
  router.use(express.json({ limit: 1_048_576 }));

  router.get('/people', async (request, response) => {
    const query = parse(peopleQuery, request.query);
    const page = await store.people({
      ...query,
      ready: query.ready === undefined ? undefined : query.ready === 'true',
    });
    response.json({
      items: page.items.map((person) => showPerson(person, policy)),
      nextCursor: page.nextCursor,
      total: page.total,
    });
  });

  router.get('/people/:who', async (request, response) => {
    response.json(showPerson(await find(request), policy));
  });

  router.get('/people/:who/history', async (request, response) => {
    const query = parse(historyQuery, request.query);
    const person = await find(request);
    const rows = await store.history(person.known.person.personId, query.limit, query.before ?? null);
    response.json({
      items: rows.map((row) => ({
        historyId: row.historyId,
        at: row.at,
        actor: row.cause.actor,
        cause: row.cause.by,
        action: row.action,
        before: row.before,
        after: row.after,
      })),
      nextBefore: rows.length === query.limit ? (rows.at(-1)?.historyId ?? null) : null,
    });
  });

  router.post('/people/:who/provision', async (request, response) => {
    const { plan } = parse(provisionBody, request.body ?? {});
    const person = await find(request);
    const provision = await store.requestProvision(person.known.person.personId, plan, callerOf(response).actor);
    // Best effort: the sweeper picks up a request whose hint was lost.
    await wakeUps.hint('express', [provision.provisionId], true);
    const finished = await waitFor(() => store.provision(provision.provisionId), waitForProvisionMs);
    if (finished?.result) response.json(finished.result);
    else
      response
        .status(202)
        .location(`/api/v1/provisions/${provision.provisionId}`)
        .json({ provisionId: provision.provisionId, ready: false, steps: [] });
  });

  router.get('/provisions/:id', async (request, response) => {
    const provision = await store.provision(request.params.id);
    if (!provision) throw new UsherError('not_found', 'There is no such request.');
    if (provision.result) response.json(provision.result);
    else response.status(202).json({ provisionId: provision.provisionId, ready: false, steps: [] });
  });

  router.post('/people/:who/offboard', async (request, response) => {
    const person = await find(request);
    const { personId } = person.known.person;
    if (!(await store.offboard(personId, callerOf(response))))
      throw new UsherError(
        'conflict',
        `${person.displayName ?? person.userName} is ${person.known.person.lifecycle}; only somebody wanted can leave.`,
      );
    await wakeUps.hint('offboard', [personId], true);
    response.status(202).json(showPerson(await find(request), policy));
  });

  router.get('/summary', async (_request, response) => {
    const [summary, licenses] = await Promise.all([store.summary(), account.licenseCounts()]);
    response.json({ ...summary, licenses });
  });

  router.get('/runs', async (_request, response) => {
    response.json({ items: await store.runs() });
  });

  for (const decision of ['approve', 'keep'] as const) {
    router.post(`/runs/:runId/${decision}`, async (request, response) => {
      const body = parse(decisionBody, request.body ?? {});
      const only = body.only
        ? await Promise.all(body.only.map(async (who) => (await findOne(who)).known.person.personId))
        : null;
      const decided = await store.decideRun(
        parse(z.uuid(), request.params.runId),
        decision,
        only,
        callerOf(response).actor,
      );
      if (decided === null) throw new UsherError('not_found', 'There is no such run.');
      response.json({ decided });
    });
  }

  router.get('/sources', async (_request, response) => {
    response.json({ items: await store.sources() });
  });

  for (const act of ['pause', 'resume'] as const) {
    router.post(`/sources/:name/${act}`, async (request, response) => {
      if (!(await store.pauseSource(request.params.name, act === 'pause')))
        throw new UsherError('not_found', `There is no source ${request.params.name}.`);
      access.forget();
      response.json({ items: await store.sources() });
    });
  }

  router.get('/sources/:name/sync', async (request, response) => {
    const state = await store.syncState(polledSource(request.params.name));
    response.json(state ?? { running: false, nextAt: null, lastFinishedAt: null });
  });

  router.post('/sources/:name/poll', async (request, response) => {
    const { full } = parse(pollBody, request.body ?? {});
    await store.requestSync(polledSource(request.params.name), full);
    response.status(202).json({ requested: true, full });
  });

  router.get('/tokens', async (_request, response) => {
    response.json({ items: (await store.liveTokens()).map(({ hash: _hash, ...token }) => token) });
  });

  router.post('/tokens', async (request, response) => {
    const body = parse(tokenBody, request.body ?? {});
    const source = policy.sources.find((entry) => entry.name === body.source);
    if (source?.kind !== 'scim')
      throw new UsherError(
        'invalid_value',
        `source: ${body.source} is no SCIM source of the policy; known: ${policy.sources
          .filter((entry) => entry.kind === 'scim')
          .map((entry) => entry.name)
          .join(', ')}.`,
      );
    const token = newToken('scim');
    const expiresAt = body.expiresInDays ? new Date(parts.now().getTime() + body.expiresInDays * 86_400_000) : null;
    const { hash: _hash, ...stored } = await store.addToken({
      kind: 'scim',
      source: body.source,
      label: body.label,
      hash: hashToken(token),
      expiresAt,
    });
    access.forget();
    // The only time that the token itself is shown.
    response.status(201).json({ ...stored, token });
  });

  router.delete('/tokens/:tokenId', async (request, response) => {
    if (!(await store.revokeToken(request.params.tokenId)))
      throw new UsherError('not_found', 'There is no such live token.');
    access.forget();
    response.status(204).end();
  });

  router.get('/requests', async (request, response) => {
    const { who, ...query } = parse(requestsQuery, request.query);
    const personId = who ? (await findOne(who)).known.person.personId : undefined;
    const items = await store.requests({ ...query, personId });
    response.json({ items, nextBefore: items.length === query.limit ? (items.at(-1)?.requestNo ?? null) : null });
  });

  router.get('/alerts', async (_request, response) => {
    response.json({ items: await store.alerts() });
  });

  router.post('/account/booking-pages', async (request, response) => {
    const { linkNames } = parse(pagesBody, request.body ?? {});
    response.status(201).json({ made: await parts.makePages(linkNames.map(asLinkName)) });
  });

  router.use('/delegation', delegationRouter({ store, wakeUps, policy, now: parts.now, findOne }));

  router.get('/policy', (_request, response) => {
    response.json({ version: policy.version, policy });
  });

  router.use((request) => {
    throw new UsherError('not_found', `There is nothing at ${request.originalUrl.split('?')[0]}.`);
  });
  router.use(answerProblem(parts.log));
  return router;

  function polledSource(name: string): string {
    if (policy.sources.some((source) => source.name === name && source.kind === 'graph')) return name;
    throw new UsherError('not_found', `There is no source ${name.slice(0, 100)} that is polled.`);
  }

  async function find(request: Request): Promise<ShownPerson> {
    return findOne(String(request.params.who));
  }

  async function findOne(who: string): Promise<ShownPerson> {
    const person = await store.person(who);
    if (!person)
      throw new UsherError(
        'not_found',
        `Nobody is known as «${who.slice(0, 100)}». Use a personId, userName, e-mail address or externalId.`,
      );
    return person;
  }
}

const limit = z.coerce.number().int().min(1).max(500).default(100);

const peopleQuery = z.object({
  filter: z.string().max(200).optional(),
  condition: z.enum([...conditionTypes]).optional(),
  status: z.enum(['true', 'false', 'unknown']).optional(),
  reason: z.enum(Object.keys(reasons) as [keyof typeof reasons]).optional(),
  source: z.string().max(100).optional(),
  lifecycle: z.enum(lifecycles).optional(),
  ready: z.enum(['true', 'false']).optional(),
  limit,
  cursor: z.string().max(2000).optional(),
});

const historyQuery = z.object({
  limit,
  before: z
    .string()
    .regex(/^\d{1,18}$/)
    .optional(),
});
const requestsQuery = z.object({
  source: z.string().max(100).optional(),
  status: z
    .string()
    .regex(/^[1-5]\d{0,2}$/)
    .optional(),
  who: z.string().max(320).optional(),
  limit,
  before: z
    .string()
    .regex(/^\d{1,18}$/)
    .optional(),
});
const pollBody = z.strictObject({ full: z.boolean().default(false) });
const provisionBody = z.strictObject({ plan: z.boolean().default(false) });
const decisionBody = z.strictObject({ only: z.array(z.string().min(1)).min(1).max(10_000).optional() });
const pagesBody = z.strictObject({ linkNames: z.array(z.string().trim().min(1).max(200)).min(1).max(10_000) });
const tokenBody = z.strictObject({
  source: z.string().min(1).max(100),
  label: z.string().max(200).default(''),
  expiresInDays: z.number().int().min(1).max(3650).optional(),
});

export function showPerson(shown: ShownPerson, policy: Policy) {
  const { person, conditions } = shown.known;
  const state = readiness(person, conditions, policy);
  return {
    personId: person.personId,
    source: shown.source,
    externalId: shown.externalId,
    userName: shown.userName,
    displayName: shown.displayName,
    email: shown.email,
    active: shown.active,
    role: person.wish?.role ?? null,
    lifecycle: person.lifecycle,
    accountUserId: person.accountUserId,
    ready: state.ready,
    reason: state.reason,
    generation: person.generation,
    rule: person.wish?.rule ?? null,
    licenses: person.wish?.licenses ?? [],
    bookingPages: person.wish?.bookingPages ?? [],
    leave: person.leave && { ...person.leave, since: person.leavingSince },
    conditions: conditionTypes.map((type) => {
      const condition = conditions[type];
      return {
        type,
        status: condition.status,
        reason: condition.reason,
        message: condition.message,
        owner: condition.owner,
        generation: condition.generation,
        evidence: condition.evidence,
        since: condition.since,
        checkedAt: condition.checkedAt,
        nextCheckAt: condition.nextCheckAt,
        attempts: condition.attempts,
      };
    }),
  };
}

function authenticate(access: Access): RequestHandler {
  return async (request, response, next) => {
    const token = await access.identify(request.get('authorization'), 'admin');
    response.locals.caller = {
      actor: `admin:${token.label}`,
      by: `request:${request.get('x-request-id')?.slice(0, 100) ?? 'api'}`,
    } satisfies Cause;
    next();
  };
}

const callerOf = (response: Response): Cause => response.locals.caller as Cause;

/** Rows are written by a worker, perhaps in another process; the row is what is waited for. */
async function waitFor(read: () => Promise<Provision | null>, milliseconds: number): Promise<Provision | null> {
  const until = Date.now() + milliseconds;
  for (let pause = 20; ; pause = Math.min(pause * 1.5, 500)) {
    const provision = await read();
    if (!provision || provision.result || Date.now() > until) return provision;
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

export function answerProblem(log: Log): ErrorRequestHandler {
  return (thrown: unknown, request, response, next) => {
    if (response.headersSent) {
      next(thrown);
      return;
    }
    const { type, status } = (thrown ?? {}) as { type?: string; status?: number };
    const error =
      type === 'entity.too.large'
        ? new UsherError('payload_too_large', 'The body is larger than 1 MB.')
        : type || status === 400
          ? new UsherError('invalid_syntax', 'The body is no JSON.', { cause: thrown })
          : asUsherError(thrown);
    const { row } = error;
    if (row.status >= 500) log.error({ err: error, path: request.path, method: request.method }, 'API request failed');
    if (row.status === 401) response.set('WWW-Authenticate', 'Bearer realm="usher-api"');
    if (row.status === 503 || row.status === 429) response.set('Retry-After', String(error.retryAfterSeconds ?? 30));
    response
      .status(row.status)
      .type('application/problem+json')
      .send(
        JSON.stringify({
          type: `urn:usher:error:${error.code}`,
          title: row.title,
          status: row.status,
          code: error.code,
          detail: error.message,
          next: row.next,
        }),
      );
  };
}
