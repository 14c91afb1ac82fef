/** The HTTP side: SCIM on Node's own server, beside the API, health and metrics in an Express application. */
import { createServer, type RequestListener, type Server } from 'node:http';
import express from 'express';
import { type ConsoleParts, consoleRouter } from './api/console.ts';
import { docsPage } from './api/docs.ts';
import { sendPage } from './api/html.ts';
import { openApiDocument } from './api/openapi.ts';
import { type ApiParts, answerProblem, apiRouter, apiRoutes } from './api/router.ts';
import { type SignInParts, sessionByToken, signInRouter, signOut } from './api/sign-in.ts';
import type { InFlight } from './in-flight.ts';
import { type NotificationParts, notificationRouter } from './intake/graph/notifications.ts';
import { isScim } from './intake/scim/http.ts';
import { type ScimParts, scimHandler } from './intake/scim/router.ts';
import type { Log } from './log.ts';
import type { Metrics } from './metrics.ts';
import type { Store } from './ports.ts';

export interface ServerParts {
  scim: ScimParts;
  api: ApiParts;
  signIn: SignInParts;
  console: ConsoleParts;
  /** Null where no change notifications are asked for. */
  notifications: NotificationParts | null;
  store: Store;
  metrics: Metrics;
  inFlight: InFlight;
  log: Log;
  /** What stands in the way of working, beside the database; empty when nothing does. */
  troubles: () => string[];
}

export function buildApp(parts: ServerParts): RequestListener {
  const scim = scimHandler(parts.scim);
  const app = express();
  app.disable('x-powered-by');
  // Our versions are the only ETags: Express's body hash would contradict them.
  app.set('etag', false);
  app.set('trust proxy', 'loopback');
  app.get('/healthz', (_request, response) => void response.json({ status: 'ok' }));
  app.get('/readyz', async (_request, response) => {
    const troubles = parts.troubles();
    try {
      await parts.store.ping();
    } catch {
      troubles.unshift('the database does not answer');
    }
    response.status(troubles.length > 0 ? 503 : 200).json({ ready: troubles.length === 0, troubles });
  });
  app.get('/metrics', async (_request, response) => {
    response.type(parts.metrics.registry.contentType).send(await parts.metrics.registry.metrics());
  });
  if (parts.notifications) app.use('/graph/notifications', notificationRouter(parts.notifications));
  const routes = apiRoutes(parts.api);
  app.get('/openapi.json', (_request, response) => {
    response.json(openApiDocument(routes, parts.api.site.origin()));
  });
  app.get('/docs', (_request, response) => sendPage(response, 200, 'The API of Usher', docsPage(routes)));
  app.use('/api/v1/session', sessionByToken(parts.signIn));
  app.use('/api/v1', apiRouter(parts.api, routes));
  app.use('/sign-in', signInRouter(parts.signIn));
  app.use('/sign-out', signOut(parts.signIn));
  const site = consoleRouter(parts.console);
  app.use(site.router);
  app.get('/', (_request, response) => {
    response.json({
      name: 'usher',
      scim: '/scim/v2',
      api: '/api/v1',
      docs: '/docs',
      openapi: '/openapi.json',
      signIn: '/sign-in',
      health: '/healthz',
      ready: '/readyz',
      metrics: '/metrics',
    });
  });
  app.use(site.nowhere);
  app.use((request, response) => {
    response
      .status(404)
      .type('application/problem+json')
      .send(
        JSON.stringify({
          type: 'urn:usher:error:not_found',
          title: 'There is nothing here',
          status: 404,
          code: 'not_found',
          detail: `There is nothing at ${request.path}.`,
          next: 'See /docs, /api/v1 and /scim/v2.',
        }),
      );
  });
  app.use(answerProblem(parts.log));
  return (request, response) => {
    const url = request.url ?? '/';
    const toScim = isScim(url);
    // Whoever merely watches keeps nobody waiting.
    const counts = !url.startsWith('/api/v1/events');
    if (counts) parts.inFlight.begin();
    response.on('close', () => {
      if (counts) parts.inFlight.end();
      const area = toScim ? 'scim' : url.startsWith('/api') ? 'api' : 'other';
      parts.metrics.requests.inc({ area, method: request.method ?? '', status: String(response.statusCode) });
    });
    if (toScim) scim(request, response);
    else app(request, response);
  };
}

export interface Listening {
  port: number;
  close(): Promise<void>;
}

export async function listen(app: RequestListener, host: string, port: number): Promise<Listening> {
  // A filter may be 8 KB before it is percent-encoded; Node would refuse its request line.
  const server: Server = createServer({ maxHeaderSize: 65_536 }, app);
  let closing = false;
  // A client that keeps its connection busy is told to open a new one, elsewhere, and ours ends with its answer.
  server.prependListener('request', (_request, response) => {
    if (closing) response.setHeader('Connection', 'close');
  });
  // Longer than the idle time-outs of the usual proxies in front, so that they, not we, end a connection.
  server.keepAliveTimeout = 65_000;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => resolve());
  });
  return {
    port: (server.address() as { port: number }).port,
    close: () =>
      new Promise((resolve) => {
        // Running requests get ten seconds; idle connections none.
        const force = setTimeout(() => server.closeAllConnections(), 10_000);
        server.close(() => {
          clearTimeout(force);
          resolve();
        });
        closing = true;
        server.closeIdleConnections();
      }),
  };
}
