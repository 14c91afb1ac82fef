/** Runs, sources, tokens, what the providers sent, alerts, the policy in force. */
import { z } from 'zod';
import { type Access, hashToken, newToken } from '../access.ts';
import { csvLine } from '../csv.ts';
import { withoutSecret } from '../domain/alerts.ts';
import type { Policy } from '../domain/policy.ts';
import { mayDo } from '../domain/roles.ts';
import { UsherError } from '../errors.ts';
import type {
  AccessStore,
  AdminStore,
  AlertStore,
  PlanStore,
  ReconciliationStore,
  RequestLogStore,
  Run,
  ShownPerson,
  SyncStore,
} from '../ports.ts';
import { parse } from './parse.ts';
import { before, limit } from './people.ts';
import { type Route, route } from './route.ts';
import * as shapes from './shapes.ts';

export interface Reconciliations {
  /** Begins and answers the run; null: everybody. */
  reconcile(asked: { personIds: string[] | null; apply: boolean; by: string }): Promise<string>;
  /** Exactly what that run showed, of all its people or of some. */
  applyPlan(planId: string, only: string[] | null, by: string): Promise<string>;
}

/** How one connection is: tried, or heard of where trying costs something. */
export interface Health {
  connection: 'database' | 'queue' | 'account' | 'graph' | 'mail' | 'webhook';
  state: 'ok' | 'fault' | 'off';
  found: string;
  next: string | null;
}

/** What Usher is connected to, tried now. */
export interface Connections {
  account: string;
  queue: 'redis' | 'postgres';
  mails: boolean;
  signIn: { entra: boolean; links: boolean; groups: Record<string, string[]> };
  graph: {
    tenantId: string;
    clientId: string;
    consentLink: string;
    /** Null where every permission could be tried. */
    trouble: string | null;
    permissions: { permission: string; state: 'given' | 'missing' | 'unsure'; found: string; needed: boolean }[];
  } | null;
  /** As the policy says. */
  alerts: Policy['alerts'];
  health: Health[];
}

/** What can be done with policies. */
export interface Policies {
  /** The one in force, as YAML. */
  text: string;
  /** `text` is YAML, as in the file. Throws `invalid_value` with every fault and its line. */
  diff(text: string): Promise<Record<string, unknown>>;
  apply(runId: string, personIds: string[] | null, by: string): Promise<{ applied: number; stale: number }>;
}

export interface OperationParts {
  store: AdminStore & AccessStore & AlertStore & PlanStore & ReconciliationStore & RequestLogStore & SyncStore;
  policies: Policies;
  reconciler: Reconciliations;
  /** Looked at when somebody asks. */
  connections(): Promise<Connections>;
  access: Access;
  policy: Policy;
  /** Whether somebody can sign in without a token. */
  signInWithEntra: boolean;
  now: () => Date;
  findOne(who: string): Promise<ShownPerson>;
}

const requestsQuery = z.strictObject({
  source: z.string().max(100).optional(),
  status: z
    .string()
    .regex(/^[1-5]\d{0,2}$/)
    .optional(),
  who: z.string().max(320).optional(),
  limit,
  before,
});
const pollBody = z.strictObject({ full: z.boolean().default(false) });
const decisionBody = z.strictObject({
  only: z.array(z.string().min(1)).min(1).max(10_000).optional(),
  /** Only those who leave for this reason. */
  cause: z.enum(['inactive', 'deleted', 'out_of_scope', 'offboarded']).optional(),
});
const reconcileBody = z.strictObject({
  who: z.array(z.string().min(1)).min(1).max(10_000).optional(),
  apply: z.boolean().default(false),
});
const applyBody = z.strictObject({ only: z.array(z.string().min(1)).min(1).max(10_000).optional() });
const driftQuery = z.strictObject({ format: z.enum(['json', 'csv']).default('json') });
const driftColumns = ['kind', 'who', 'what', 'owner', 'since', 'mode', 'state', 'personId', 'accountUserId'] as const;
const mostDrift = 100_000;
const runIdIn = (params: Record<string, string>): string => parse(runParams, params).runId;
const runParams = z.object({ runId: z.uuid() });
const diffBody = z.strictObject({ policy: z.string().min(1).max(1_000_000) });
const tokenBody = z.strictObject({
  source: z.string().min(1).max(100),
  label: z.string().max(200).default(''),
  expiresInDays: z.number().int().min(1).max(3650).optional(),
});

export function operationRoutes({
  store,
  access,
  policy,
  signInWithEntra,
  policies,
  reconciler,
  connections,
  now,
  findOne,
}: OperationParts): Route[] {
  const polledSource = (name: string): string => {
    if (policy.sources.some((source) => source.name === name && source.kind === 'graph')) return name;
    throw new UsherError('not_found', `There is no source ${name.slice(0, 100)} that is polled.`);
  };
  const personIdsOf = (names: string[]): Promise<string[]> =>
    Promise.all(names.map(async (who) => (await findOne(who)).known.person.personId));
  const runOf = async (runId: string): Promise<Run> => {
    const found = await store.run(runId);
    if (!found) throw new UsherError('not_found', 'There is no such run.');
    return found;
  };
  return [
    route({
      method: 'get',
      path: '/runs',
      tag: 'Runs',
      summary: 'Runs of the poller and the reconciliation; what the brake holds comes first',
      operation: 'runs.read',
      answers: { 200: { description: 'The newest hundred.', schema: shapes.itemsOf(shapes.run) } },
      handle: async () => ({ body: { items: await store.runs() } }),
    }),
    ...(['approve', 'keep'] as const).map((decision) =>
      route({
        method: 'post',
        path: `/runs/{runId}/${decision}`,
        tag: 'Runs',
        summary: decision === 'approve' ? 'Let held removals happen, all or some' : 'Keep people whose removal is held',
        operation: 'runs.decide',
        body: decisionBody,
        answers: { 200: { description: 'How many were decided.', schema: z.looseObject({ decided: z.int() }) } },
        async handle({ params, body, caller }) {
          const personIds = body.only ? await personIdsOf(body.only) : undefined;
          const only = { personIds, cause: body.cause };
          const runId = runIdIn(params);
          const by = caller.cause.actor;
          // A plan of a changed policy is decided like what the brake holds.
          if ((await store.run(runId))?.kind === 'policy') {
            if (body.cause)
              throw new UsherError('invalid_value', 'cause: a plan of a policy has no reasons of leavers.');
            if (decision === 'keep')
              return { body: { decided: await store.decidePlanItems(runId, personIds ?? null, 'kept', by) } };
            const { applied, stale } = await policies.apply(runId, personIds ?? null, by);
            return { body: { decided: applied, stale } };
          }
          const decided = await store.decideRun(runId, decision, only, by);
          if (decided === null) throw new UsherError('not_found', 'There is no such run.');
          return { body: { decided } };
        },
      }),
    ),
    route({
      method: 'get',
      path: '/sources',
      tag: 'Sources',
      summary: 'Where people come from, and when each was last heard of',
      operation: 'sources.read',
      answers: { 200: { description: 'The sources.', schema: shapes.itemsOf(shapes.source) } },
      handle: async () => ({ body: { items: await store.sources() } }),
    }),
    ...(['pause', 'resume'] as const).map((act) =>
      route({
        method: 'post',
        path: `/sources/{name}/${act}`,
        tag: 'Sources',
        summary: act === 'pause' ? 'Take nothing from a source for now' : 'Take from a source again',
        operation: 'sources.manage',
        answers: { 200: { description: 'The sources.', schema: shapes.itemsOf(shapes.source) } },
        async handle({ params }) {
          const name = params.name ?? '';
          if (!(await store.pauseSource(name, act === 'pause')))
            throw new UsherError('not_found', `There is no source ${name.slice(0, 100)}.`);
          access.forget();
          return { body: { items: await store.sources() } };
        },
      }),
    ),
    route({
      method: 'get',
      path: '/sources/{name}/sync',
      tag: 'Sources',
      summary: 'Where the directory poller is',
      operation: 'sources.read',
      answers: {
        200: { description: 'Running, last finished, next.', schema: z.looseObject({ running: z.boolean() }) },
      },
      async handle({ params }) {
        const state = await store.syncState(polledSource(params.name ?? ''));
        return { body: state ?? { running: false, nextAt: null, lastFinishedAt: null } };
      },
    }),
    route({
      method: 'post',
      path: '/sources/{name}/poll',
      tag: 'Sources',
      summary: 'Read the directory now; full: true reads everything anew',
      operation: 'sources.manage',
      body: pollBody,
      answers: { 202: { description: 'Asked for.' } },
      async handle({ params, body }) {
        await store.requestSync(polledSource(params.name ?? ''), body.full);
        return { status: 202, body: { requested: true, full: body.full } };
      },
    }),
    route({
      method: 'get',
      path: '/tokens',
      tag: 'Sources',
      summary: 'Live tokens, without the tokens themselves',
      operation: 'tokens.manage',
      answers: { 200: { description: 'The tokens.', schema: shapes.itemsOf(shapes.token) } },
      handle: async ({ caller }) => ({
        body: {
          items: (await store.liveTokens())
            .filter((token) => token.kind === 'scim' || caller.asker.role === 'Administrator')
            .map(({ hash: _hash, ...token }) => token),
        },
      }),
    }),
    route({
      method: 'post',
      path: '/tokens',
      tag: 'Sources',
      summary: 'A SCIM token; it is shown this once',
      operation: 'tokens.manage',
      body: tokenBody,
      answers: { 201: { description: 'The token.', schema: shapes.token.extend({ token: z.string() }) } },
      async handle({ body }) {
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
        const { hash: _hash, ...stored } = await store.addToken({
          kind: 'scim',
          source: body.source,
          label: body.label,
          hash: hashToken(token),
          expiresAt: body.expiresInDays ? new Date(now().getTime() + body.expiresInDays * 86_400_000) : null,
        });
        access.forget();
        // The only time that the token itself is shown.
        return { status: 201, body: { ...stored, token } };
      },
    }),
    route({
      method: 'delete',
      path: '/tokens/{tokenId}',
      tag: 'Sources',
      summary: 'Revoke a token at once',
      operation: 'tokens.manage',
      answers: { 204: { description: 'Revoked.' } },
      async handle({ params, caller }) {
        const token = (await store.liveTokens()).find((one) => one.tokenId === params.tokenId);
        // An admin token is an Administrator's: an operator can not shut one out.
        if (token?.kind === 'admin' && caller.asker.role !== 'Administrator')
          throw new UsherError('forbidden', 'Only an Administrator revokes an admin token.');
        const isLast =
          token?.kind === 'admin' && (await store.liveTokens()).filter(({ kind }) => kind === 'admin').length === 1;
        if (isLast && !(signInWithEntra && policy.access.administrator?.length))
          throw new UsherError(
            'conflict',
            'This is the only admin token, and no group of the policy (access.administrator) signs in with Entra ID: without it, nobody might administer Usher. Name another one in USHER_ADMIN_TOKEN and restart.',
          );
        if (!token || !(await store.revokeToken(token.tokenId)))
          throw new UsherError('not_found', 'There is no such live token.');
        access.forget();
        return { status: 204 };
      },
    }),
    route({
      method: 'get',
      path: '/requests',
      tag: 'Sources',
      summary: 'What the identity providers sent, and what they were answered; without secrets',
      operation: 'requests.read',
      query: requestsQuery,
      answers: {
        200: {
          description: 'Newest first.',
          schema: shapes.itemsOf(shapes.loggedRequest).extend({ nextBefore: z.string().nullable() }),
        },
      },
      async handle({ query: { who, ...query } }) {
        const personId = who ? (await findOne(who)).known.person.personId : undefined;
        const items = await store.requests({ ...query, personId });
        return { body: { items, nextBefore: items.length === query.limit ? (items.at(-1)?.requestNo ?? null) : null } };
      },
    }),
    route({
      method: 'get',
      path: '/alerts',
      tag: 'Runs',
      summary: 'What an operator must know',
      operation: 'alerts.read',
      answers: { 200: { description: 'The alerts.', schema: shapes.itemsOf(shapes.alert) } },
      handle: async () => ({ body: { items: await store.alerts() } }),
    }),
    route({
      method: 'post',
      path: '/runs/reconcile',
      tag: 'Runs',
      summary:
        'Compare what is wished with what the account shows: one, some or all; apply: true corrects what the policy lets be corrected',
      operation: 'runs.decide',
      body: reconcileBody,
      answers: { 202: { description: 'The run; its differences are at /runs/{runId}/drift.', schema: shapes.run } },
      async handle({ body, caller }) {
        const personIds = body.who ? await personIdsOf(body.who) : null;
        const runId = await reconciler.reconcile({ personIds, apply: body.apply, by: caller.cause.actor });
        return { status: 202, headers: { Location: `/api/v1/runs/${runId}` }, body: await runOf(runId) };
      },
    }),
    route({
      method: 'post',
      path: '/runs/{runId}/apply',
      tag: 'Runs',
      summary:
        'Correct exactly what a reconciliation showed, all or some; what changed since is left alone as plan_stale and shown again',
      operation: 'runs.decide',
      body: applyBody,
      answers: { 202: { description: 'The run that corrects it.', schema: shapes.run } },
      async handle({ params, body, caller }) {
        const only = body.only ? await personIdsOf(body.only) : null;
        const runId = await reconciler.applyPlan(runIdIn(params), only, caller.cause.actor);
        return { status: 202, headers: { Location: `/api/v1/runs/${runId}` }, body: await runOf(runId) };
      },
    }),
    route({
      method: 'get',
      path: '/runs/{runId}',
      tag: 'Runs',
      summary: 'One run: how far it is, or what came of it',
      operation: 'runs.read',
      answers: { 200: { description: 'The run.', schema: shapes.run } },
      handle: async ({ params }) => ({ body: await runOf(runIdIn(params)) }),
    }),
    route({
      method: 'get',
      path: '/runs/{runId}/drift',
      tag: 'Runs',
      summary: 'What a reconciliation found: what, why, since when, who acts; as JSON or CSV to send on',
      operation: 'runs.read',
      query: driftQuery,
      answers: { 200: { description: 'The differences, by kind.', schema: shapes.itemsOf(shapes.drift) } },
      async handle({ params, query, response }) {
        const items = await store.driftOf(runIdIn(params), mostDrift);
        if (query.format === 'json') return { body: { items } };
        response.type('text/csv').set('Content-Disposition', 'attachment; filename="drift.csv"');
        response.write(`\uFEFF${csvLine(driftColumns)}`);
        for (const one of items)
          response.write(
            csvLine(
              driftColumns.map((column) => {
                const value = one[column];
                return value instanceof Date ? value.toISOString() : (value ?? '');
              }),
            ),
          );
        response.end();
        return undefined;
      },
    }),
    route({
      method: 'get',
      path: '/runs/{runId}/plan',
      tag: 'Runs',
      summary: 'What a stored plan would change, person by person',
      operation: 'runs.read',
      answers: { 200: { description: 'The first thousand.', schema: shapes.itemsOf(shapes.planItem) } },
      handle: async ({ params }) => ({ body: { items: await store.planItems(runIdIn(params), 1000) } }),
    }),
    route({
      method: 'post',
      path: '/policy/diff',
      tag: 'Runs',
      summary: 'What another policy would change: who would be wanted, who would lose something; nothing is done',
      operation: 'policy.read',
      body: diffBody,
      answers: { 200: { description: 'Counts, and the first thousand people.', schema: shapes.policyDiff } },
      handle: async ({ body }) => ({ body: await policies.diff(body.policy) }),
    }),
    route({
      method: 'get',
      path: '/connections',
      tag: 'Sources',
      summary:
        'What Usher is connected to; the permissions of the tenant are tried now, with the link by which its admin consents',
      operation: 'sources.read',
      answers: { 200: { description: 'The connections.', schema: shapes.connections } },
      handle: async () => ({ body: await connections() }),
    }),
    route({
      method: 'get',
      path: '/policy',
      tag: 'Runs',
      summary: 'The policy in force, with its text',
      operation: 'policy.read',
      answers: {
        200: { description: 'The policy.', schema: z.looseObject({ version: z.string(), text: z.string() }) },
      },
      async handle({ caller }) {
        const { webhook } = policy.alerts;
        if (!webhook || mayDo(caller.asker, 'sources.manage').allowed)
          return { body: { version: policy.version, policy, text: policies.text } };
        const hidden = withoutSecret(webhook);
        return {
          body: {
            version: policy.version,
            policy: { ...policy, alerts: { ...policy.alerts, webhook: hidden } },
            text: policies.text.replaceAll(webhook, hidden),
          },
        };
      },
    }),
  ];
}
