/**
 * `/api/v1`: what admins, the CLI and the console stand on, as a table of routes. Errors are problem+json (RFC 9457) with a stable code and
 * what to do next.
 */
import express, { type ErrorRequestHandler, type Router } from 'express';
import type { Access } from '../access.ts';
import type { AccountAdministration, SignIn } from '../administration.ts';
import { looksLikeAddress } from '../domain/email-address.ts';
import type { Policy } from '../domain/policy.ts';
import { mayDo } from '../domain/roles.ts';
import { asUsherError, UsherError } from '../errors.ts';
import type { Log } from '../log.ts';
import type {
  AccessStore,
  AdminStore,
  AlertStore,
  ImportStore,
  PlanStore,
  ReconciliationStore,
  RequestLogStore,
  SchedulingAccount,
  ShownPerson,
  StepStore,
  SyncStore,
  TaskStore,
  WakeUps,
} from '../ports.ts';
import { mailRoutes } from './account-mails.ts';
import { pageRoutes } from './account-pages.ts';
import { userRoutes } from './account-users.ts';
import { authenticate, type Caller, type Site } from './caller.ts';
import { delegationRoutes } from './delegation.ts';
import { eventRoutes, type Watched } from './events.ts';
import { type ImportParts, importRoutes } from './imports.ts';
import { type Connections, operationRoutes, type Policies, type Reconciliations } from './operations.ts';
import { type PeopleByHand, peopleRoutes } from './people.ts';
import { handlerOf, type Route } from './route.ts';
import { sessionRoutes } from './session.ts';
import { taskRoutes } from './tasks.ts';

export interface ApiParts {
  store: AdminStore &
    AccessStore &
    AlertStore &
    PlanStore &
    ReconciliationStore &
    RequestLogStore &
    SyncStore &
    ImportStore &
    TaskStore &
    Pick<StepStore, 'wakeWaitingForSeats'>;
  importer: ImportParts['importer'];
  policies: Policies;
  reconciler: Reconciliations;
  access: Access;
  account: SchedulingAccount;
  /** Null where the account is somebody else's product: it is administered there. */
  administration: AccountAdministration | null;
  signIn: SignIn;
  events: Watched;
  byHand: PeopleByHand;
  signInWithEntra: boolean;
  connections(): Promise<Connections>;
  wakeUps: WakeUps;
  policy: Policy;
  site: Site;
  log: Log;
  now: () => Date;
}

/** Every route, in the order of the documentation. */
export function apiRoutes(parts: ApiParts): Route[] {
  const { administration } = parts;
  const findOne = async (who: string): Promise<ShownPerson> => {
    const person = await parts.store.person(who);
    if (!person)
      throw new UsherError(
        'not_found',
        `Nobody is known as «${who.slice(0, 100)}». Use a personId, userName, e-mail address or externalId.`,
      );
    return person;
  };
  return [
    ...peopleRoutes({ ...parts, findOne }),
    ...delegationRoutes({ ...parts, findOne }),
    ...importRoutes(parts),
    ...operationRoutes({ ...parts, findOne }),
    ...taskRoutes({ ...parts, findOne }),
    ...(administration
      ? [
          ...userRoutes({ ...parts, administration }),
          ...pageRoutes({ ...parts, administration }),
          ...mailRoutes({ ...parts, administration }),
        ]
      : []),
    ...sessionRoutes(parts),
    ...eventRoutes(parts),
  ];
}

const mostBytes = 4_194_304;

export function apiRouter(parts: ApiParts, routes: Route[]): Router {
  const router = express.Router();
  router.use(authenticate(parts));
  router.use(express.json({ limit: mostBytes }));
  // A table of people is read row by row by its own route, whatever its length.
  router.use((request, response, next) =>
    request.path === '/imports'
      ? next()
      : express.text({ type: 'text/csv', limit: mostBytes })(request, response, next),
  );
  // People know addresses, not ids. Only whoever may list the users is told by the answer that somebody is one.
  router.param('accountUserId', (request, response, next, value: string) => {
    const { asker } = response.locals.caller as Caller;
    if (!looksLikeAddress(value) || !parts.administration || !mayDo(asker, 'users.list').allowed) return next();
    parts.administration
      .usersByEmail([value])
      .then((found) => {
        const user = [...found.values()][0];
        if (user) request.params.accountUserId = user.accountUserId;
        next();
      })
      .catch(next);
  });
  for (const route of routes) router[route.method](route.path.replace(/\{(\w+)\}/g, ':$1'), handlerOf(route));
  router.use((request) => {
    const at = request.originalUrl.split('?')[0];
    const path = request.path;
    const methods = routes
      .filter((route) => new RegExp(`^${route.path.replace(/\{\w+\}/g, '[^/]+')}$`).test(path))
      .map((route) => route.method.toUpperCase());
    if (methods.length > 0) {
      request.res?.set('Allow', methods.join(', '));
      throw new UsherError('method_not_allowed', `${at} takes ${methods.join(', ')}.`);
    }
    if (!parts.administration && path.startsWith('/account/'))
      throw new UsherError(
        'not_found',
        `There is nothing at ${at}: users, licenses and pages of a OnceHub account are administered in OnceHub. GET /api/v1/account says what Usher does there.`,
      );
    throw new UsherError('not_found', `There is nothing at ${at}.`);
  });
  router.use(answerProblem(parts.log));
  return router;
}

export function answerProblem(log: Log): ErrorRequestHandler {
  return (thrown: unknown, request, response, next) => {
    if (response.headersSent) {
      next(thrown);
      return;
    }
    const { type, status, limit } = (thrown ?? {}) as { type?: string; status?: number; limit?: number };
    const error =
      type === 'entity.too.large'
        ? new UsherError('payload_too_large', `The body is larger than ${limit ?? mostBytes} bytes.`)
        : type || status === 400
          ? new UsherError(
              'invalid_syntax',
              type?.startsWith('charset') || type?.startsWith('encoding')
                ? 'The encoding of the body is not supported; send UTF-8.'
                : type
                  ? 'The body is no JSON.'
                  : 'The address can not be read.',
              { cause: thrown },
            )
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
