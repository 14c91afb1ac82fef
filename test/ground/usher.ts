/** A whole Usher in this process or in one of its own, with the sandbox tenant, and a SCIM client and API client to drive it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { compose, type Running } from '../../src/compose.ts';
import { type Config, parsePolicy } from '../../src/config.ts';
import { defaultScimLimits } from '../../src/intake/scim/limits.ts';
import { contoso, contosoTenant } from '../../src/sandbox/contoso.ts';
import {
  newOnceHubAccount,
  type OnceHubAccount,
  type OnceHubSandbox,
  startOnceHub,
} from '../../src/sandbox/oncehub.ts';
import { connectionTo, type Sandbox, startSandbox, type Tenant } from '../../src/sandbox/tenant.ts';
import { startWorkers } from '../../workers/main.ts';
import { type BackendName, freshDatabase, redisUrl } from './databases.ts';
import { freePort } from './servers.ts';

export const scimToken = 'test-scim-token-0123456789';
export const adminToken = 'test-admin-token-0123456789';

export const plainPolicy = `
account: { kind: builtin, plan: paid, pools: { scheduled-meetings: 100 } }
dedicatedMailbox: ${contoso.dedicatedMailbox}
sources: [{ name: scim, kind: scim, domains: [${contoso.domain}] }]
rules:
  - { name: Everybody, when: { domain: ${contoso.domain} }, licenses: [scheduled-meetings], bookingPages: ["{userName.local}"] }
bookingPages: { takeFrom: [${contoso.founder}] }
leavers: { holdMinutes: 0 }
`;

export interface Answer {
  status: number;
  headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: a test reads what came, and fails where it is something else
  body: any;
}

export interface Usher {
  address: string;
  sandbox: Sandbox;
  /** Where the account is a OnceHub account. */
  oncehub: OnceHubSandbox | null;
  running: Running;
  databaseUrl: string;
  scim(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>;
  api(method: string, path: string, body?: unknown): Promise<Answer>;
  close(): Promise<void>;
}

export interface UsherOptions {
  backend?: BackendName;
  queue?: 'postgres' | 'redis';
  policy?: string;
  tenant?: Tenant;
  /** Poll this rarely, and let the tenant tell of changes. */
  notified?: boolean;
  workers?: boolean;
  /** Provision into a OnceHub account in the sandbox; its clock, and ours for it, run a minute in a second. */
  oncehub?: Partial<OnceHubAccount>;
  databaseUrl?: string;
  queueUrl?: string;
  config?: Partial<Config>;
}

export async function startUsher(options: UsherOptions = {}): Promise<Usher> {
  const database = options.databaseUrl
    ? { url: options.databaseUrl, drop: () => Promise.resolve() }
    : await freshDatabase(options.backend ?? 'embedded PostgreSQL');
  const sandbox = await startSandbox(options.tenant ?? contosoTenant());
  const oncehub = options.oncehub
    ? await startOnceHub(newOnceHubAccount({ clockSpeed: 60, ...options.oncehub }))
    : null;
  const port = options.notified ? await freePort() : 0;
  const config: Config = {
    host: '127.0.0.1',
    port,
    publicUrl: null,
    dataDir: 'never-used',
    databaseUrl: database.url,
    queueUrl:
      options.queueUrl ?? (options.queue === 'redis' ? `${redisUrl()}/${1 + Math.floor(Math.random() * 15)}` : null),
    queueCheck: 'strict',
    scimToken,
    adminToken,
    graph: options.notified
      ? {
          ...connectionTo(sandbox),
          pollSeconds: 3600,
          notificationUrl: `http://127.0.0.1:${port}/graph/notifications`,
        }
      : { ...connectionTo(sandbox), pollSeconds: 1 },
    oncehub: oncehub && {
      baseUrl: oncehub.url,
      apiKeys: [oncehub.apiKey],
      clockSpeed: oncehub.account.clockSpeed,
    },
    oidc: null,
    mail: null,
    webhookSecret: null,
    sessionSecret: null,
    scimLimits: defaultScimLimits,
    ...options.config,
    ...(options.config?.oidc ? { oidc: { ...options.config.oidc, authority: sandbox.url } } : {}),
    logLevel: process.env.TEST_LOG ?? 'silent',
    policy: parsePolicy(options.policy ?? plainPolicy, 'test policy'),
  };
  const running = await compose(config, {
    http: true,
    startWorkers: options.workers === false ? null : startWorkers,
  }).catch(async (error: unknown) => {
    await sandbox.close();
    await oncehub?.close();
    await database.drop();
    throw error;
  });
  const address = running.address ?? '';
  return {
    address,
    sandbox,
    oncehub,
    running,
    databaseUrl: database.url,
    scim: (method, at, body, headers) =>
      call(`${address}/scim/v2${at}`, method, body, {
        authorization: `Bearer ${scimToken}`,
        'content-type': 'application/scim+json',
        ...headers,
      }),
    api: (method, at, body) =>
      call(`${address}/api/v1${at}`, method, body, {
        authorization: `Bearer ${adminToken}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      }),
    async close() {
      await running.close();
      await sandbox.close();
      await oncehub?.close();
      await database.drop();
    },
  };
}

export async function call(
  url: string,
  method: string,
  body: unknown,
  headers: Record<string, string>,
): Promise<Answer> {
  const raw = typeof body === 'string' || body === undefined;
  const response = await fetch(url, {
    method,
    headers,
    ...(body === undefined ? {} : { body: raw ? (body as string) : JSON.stringify(body) }),
  });
  const text = await response.text();
  let parsed: unknown = text;
  try {
    parsed = text === '' ? null : JSON.parse(text);
  } catch {
    // kept as text
  }
  return { status: response.status, headers: response.headers, body: parsed };
}

/** Until it is so, or the time is up; then the last failure is the test's. */
export async function eventually<T>(
  look: () => Promise<T>,
  isSo: (value: T) => boolean,
  milliseconds = 20_000,
): Promise<T> {
  const until = Date.now() + milliseconds;
  for (;;) {
    const value = await look();
    if (isSo(value)) return value;
    if (Date.now() > until)
      throw new Error(`not so after ${milliseconds} ms: ${JSON.stringify(value, null, 2).slice(0, 3000)}`);
    await sleep(50);
  }
}

export function scimUser(local: string, more: Record<string, unknown> = {}) {
  return {
    schemas: ['urn:ietf:params:scim:schemas:core:2.0:User'],
    userName: `${local}@${contoso.domain}`,
    externalId: `external-${local}`,
    displayName: local,
    active: true,
    emails: [{ type: 'work', primary: true, value: `${local}@${contoso.domain}` }],
    ...more,
  };
}

/** The app registration by which people sign in, in the sandbox's tenant. */
export const oidcOf = ({ tenantId, clientId, clientSecret }: Tenant): NonNullable<Config['oidc']> => ({
  tenantId,
  clientId,
  clientSecret,
  authority: 'set below',
  ownAuthority: true,
});

/** `usher` in a process of its own, as a user starts it. */
export interface UsherProcess {
  child: ChildProcess;
  output(): string;
  exited: Promise<number | null>;
}

export function startProcess(args: string[], env: Record<string, string>): UsherProcess {
  let output = '';
  const child = spawn(process.execPath, [path.resolve('dist/src/cli/main.js'), ...args], {
    env: { PATH: process.env.PATH ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child.stdout?.on('data', (chunk) => {
    output += chunk;
  });
  child.stderr?.on('data', (chunk) => {
    output += chunk;
  });
  const exited = new Promise<number | null>((resolve) => child.on('exit', resolve));
  return { child, output: () => output, exited };
}

export const someId = (): string => randomUUID();
