/**
 * Where the tenant tells that something changed (learn.microsoft.com/graph/change-notifications-delivery-webhooks). It only wakes the poller earlier: what
 * changed is read by delta. A notification counts when it carries the secret that was given with its subscription.
 */
import { timingSafeEqual } from 'node:crypto';
import express, { type Router } from 'express';
import { z } from 'zod';
import type { Log } from '../../log.ts';
import type { Subscriptions, SyncStore } from '../../ports.ts';

export interface NotificationParts {
  store: SyncStore;
  /** The polled sources of the policy. */
  sources: string[];
  log: Log;
}

const body = z.object({
  value: z
    .array(
      z.object({
        subscriptionId: z.string().max(200),
        clientState: z.string().max(200).nullish(),
        lifecycleEvent: z.string().max(100).nullish(),
      }),
    )
    .max(10_000),
});

export function notificationRouter({ store, sources, log }: NotificationParts): Router {
  const router = express.Router();
  router.post('/', async (request, response, next) => {
    const token = request.query.validationToken;
    if (typeof token !== 'string') {
      next();
      return;
    }
    // As plain text and nothing else: what a stranger sends here must not become a page.
    response
      .status(200)
      .set({ 'Content-Type': 'text/plain; charset=utf-8', 'X-Content-Type-Options': 'nosniff' })
      .send(token.slice(0, 2000));
  });
  router.use(express.json({ limit: 262_144 }));
  router.post('/', async (request, response) => {
    const parsed = body.safeParse(request.body);
    if (!parsed.success) {
      response.status(400).json({ error: 'A list of notifications is expected.' });
      return;
    }
    for (const source of sources) {
      const known = await store.subscriptions(source);
      const ours = parsed.data.value.filter((entry) => isOurs(known, entry));
      if (ours.length === 0) continue;
      // The subscription ends or ended: the next round asks anew.
      const ended = new Set(ours.filter((entry) => entry.lifecycleEvent).map((entry) => entry.subscriptionId));
      if (ended.size > 0)
        await store.keepSubscriptions(
          source,
          Object.fromEntries(
            Object.entries(known).map(([resource, one]) => [
              resource,
              ended.has(one.id) ? { ...one, expiresAt: new Date(0).toISOString() } : one,
            ]),
          ),
        );
      await store.requestSync(source, false);
    }
    // Stored before it is acknowledged; within the three seconds that the tenant waits.
    response.status(202).end();
  });
  router.use(((error, _request, response, next) => {
    if (response.headersSent) next(error);
    else if ((error as { status?: number }).status === 413 || (error as { status?: number }).status === 400)
      response.status((error as { status: number }).status).json({ error: 'The body can not be read.' });
    else {
      log.error({ err: error }, 'a change notification was not taken');
      // Another than 2xx: the tenant sends it again.
      response.status(503).end();
    }
  }) as express.ErrorRequestHandler);
  return router;
}

function isOurs(
  known: Subscriptions,
  { subscriptionId, clientState }: { subscriptionId: string; clientState?: string | null | undefined },
): boolean {
  const subscription = Object.values(known).find((one) => one.id === subscriptionId);
  if (!subscription || !clientState) return false;
  const [given, expected] = [Buffer.from(clientState), Buffer.from(subscription.clientState)];
  return given.length === expected.length && timingSafeEqual(given, expected);
}
