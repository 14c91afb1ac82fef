/** What the console shows of the outside: each connection looked at by itself, at most every few seconds however many look. */
import type { Connections, Health } from './api/operations.ts';
import type { Config } from './config.ts';
import { withoutSecret } from './domain/alerts.ts';
import { asUsherError } from './errors.ts';
import type { GraphClient } from './graph/client.ts';
import { consentLink, permissionsWanted, tryPermissions } from './graph/permissions.ts';
import type { Mailer } from './mail/smtp.ts';
import type { Store, WakeUps } from './ports.ts';

export interface ConnectionParts {
  config: Config;
  store: Pick<Store, 'alerts' | 'unsentNotices'>;
  wakeUps: Pick<WakeUps, 'check'>;
  graph: GraphClient | null;
  mailer: Pick<Mailer, 'verify'> | null;
  now: () => number;
}

const goodForMs = 10_000;
const patienceMs = 8_000;

export function openConnections(parts: ConnectionParts): () => Promise<Connections> {
  let known: { at: number; answer: Promise<Connections> } | null = null;
  return () => {
    if (!known || parts.now() - known.at > goodForMs) {
      const answer = look(parts);
      known = { at: parts.now(), answer };
      answer.catch(() => {
        known = null;
      });
    }
    return known.answer;
  };
}

async function look({ config, store, wakeUps, graph, mailer }: ConnectionParts): Promise<Connections> {
  const { policy } = config;
  const [alerts, unsent] = await Promise.all([store.alerts(), store.unsentNotices()]);
  const [queue, mail, tenant] = await Promise.all([
    attempt('queue', config.queueUrl ? 'Redis answers' : 'in PostgreSQL', () => wakeUps.check()),
    mailer
      ? attempt('mail', 'the mail server answers and lets us in', () => mailer.verify())
      : off('mail', 'Set USHER_SMTP_URL and USHER_MAIL_FROM; until then what would be mailed stays unsent.'),
    graph ? tryTenant(graph, config) : null,
  ]);
  const webhook: Health =
    policy.alerts.webhook && config.webhookSecret
      ? { connection: 'webhook', state: 'ok', found: withoutSecret(policy.alerts.webhook), next: null }
      : await off('webhook', 'Name alerts.webhook in the policy, and set USHER_WEBHOOK_SECRET.');
  for (const { channel, count, error } of unsent) {
    const health = channel === 'mail' ? mail : webhook;
    if (health.state === 'ok')
      Object.assign(health, {
        state: 'fault',
        found: `${count} could not be sent: ${error}`,
        next: 'It is tried again.',
      });
  }
  const accountTrouble = alerts.find(({ kind, resolvedAt }) => kind === 'account_connection' && !resolvedAt);
  return {
    account: policy.account.kind,
    queue: config.queueUrl ? 'redis' : 'postgres',
    mails: config.mail !== null,
    signIn: {
      entra: config.oidc !== null,
      links: config.mail !== null,
      groups: Object.fromEntries(Object.entries(policy.access).map(([role, ids]) => [role, ids ?? []])),
    },
    graph:
      config.graph && tenant
        ? {
            tenantId: config.graph.tenantId,
            clientId: config.graph.clientId,
            consentLink: consentLink(config.graph),
            ...tenant,
          }
        : null,
    alerts: { ...policy.alerts, webhook: policy.alerts.webhook && withoutSecret(policy.alerts.webhook) },
    health: [
      // Whoever reads this was answered out of it.
      {
        connection: 'database',
        state: 'ok',
        found: config.databaseUrl ? 'PostgreSQL answers' : 'embedded PostgreSQL',
        next: null,
      },
      queue,
      {
        connection: 'account',
        state: accountTrouble ? 'fault' : 'ok',
        found: accountTrouble?.message ?? (policy.account.kind === 'builtin' ? 'built-in' : 'OnceHub'),
        next: null,
      },
      tenant ? healthOf(tenant) : await off('graph', 'Set USHER_GRAPH_TENANT_ID and the credential of the app.'),
      mail,
      webhook,
    ],
  };
}

type Tenant = Pick<NonNullable<Connections['graph']>, 'permissions' | 'trouble'>;

const tryTenant = (graph: GraphClient, { policy }: Config): Promise<Tenant> =>
  tryPermissions(graph, permissionsWanted(policy)).then(
    (permissions) => ({ permissions, trouble: null }),
    (error: unknown) => ({ permissions: [], trouble: asUsherError(error).message }),
  );

function healthOf({ trouble, permissions }: Tenant): Health {
  const missing = permissions.filter(({ needed, state }) => needed && state === 'missing');
  if (trouble) return { connection: 'graph', state: 'fault', found: trouble, next: null };
  if (missing.length > 0)
    return {
      connection: 'graph',
      state: 'fault',
      found: `not permitted: ${missing.map(({ permission }) => permission).join(', ')}`,
      next: 'An admin of the tenant consents; the link is under Sources and settings.',
    };
  return { connection: 'graph', state: 'ok', found: 'the tenant answers', next: null };
}

async function attempt(connection: Health['connection'], found: string, work: () => Promise<unknown>): Promise<Health> {
  let timer: NodeJS.Timeout | undefined;
  try {
    await Promise.race([
      work(),
      new Promise((_resolve, reject) => {
        timer = setTimeout(() => reject(new Error(`no answer in ${patienceMs / 1000} s`)), patienceMs);
      }),
    ]);
    return { connection, state: 'ok', found, next: null };
  } catch (error) {
    const known = asUsherError(error);
    return {
      connection,
      state: 'fault',
      found: known.code === 'internal' ? (error as Error).message : known.message,
      next: known.code === 'internal' ? null : known.row.next,
    };
  } finally {
    clearTimeout(timer);
  }
}

const off = (connection: Health['connection'], next: string): Promise<Health> =>
  Promise.resolve({ connection, state: 'off', found: 'not connected', next });
