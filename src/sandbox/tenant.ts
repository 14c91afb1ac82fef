/**
 * A make-believe Microsoft 365 tenant over HTTP: the token endpoint, users, calendar permissions. For trial runs and tests, where the vendor's
 * cloud can not be reached. It answers as the vendor's documentation says, refusals and limits included.
 */
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';

export type CalendarRole =
  | 'freeBusyRead'
  | 'limitedRead'
  | 'read'
  | 'write'
  | 'delegateWithoutPrivateEventAccess'
  | 'delegateWithPrivateEventAccess'
  | 'custom';

export interface TenantUser {
  objectId: string;
  userPrincipalName: string;
  displayName: string;
  mail: string | null;
  proxyAddresses: string[];
  accountEnabled: boolean;
  onPremisesSyncEnabled: boolean | null;
  /** Has an enabled Exchange Online plan. */
  exchangePlan: boolean;
  mailbox: 'cloud' | 'none' | 'on_premises';
  /** Address → role on the primary calendar. */
  calendarPermissions: { address: string; role: CalendarRole }[];
}

export interface Tenant {
  tenantId: string;
  clientId: string;
  clientSecret: string;
  users: TenantUser[];
  /** Consented application permissions. */
  permissions: Set<string>;
  /** Addresses outside the application access policy. */
  outsidePolicy: Set<string>;
  /** Every request, for tests that count. */
  requests: { method: string; path: string; status: number }[];
  /** Milliseconds that every Graph answer takes. */
  latencyMs: number;
  /** The next answers, before the tenant itself is asked: a fault to play. */
  faults: { status: number; code: string; retryAfterSeconds?: number; path?: RegExp }[];
}

export interface Sandbox {
  url: string;
  tenant: Tenant;
  close(): Promise<void>;
}

/** The Graph connection of an Usher that talks to this sandbox instead of the cloud. */
export function connectionTo({ url, tenant }: Sandbox) {
  const { tenantId, clientId, clientSecret } = tenant;
  return {
    tenantId,
    clientId,
    clientSecret,
    baseUrl: url,
    authority: url,
    scope: 'https://graph.microsoft.com/.default',
    ownAuthority: true,
  };
}

export function newTenant(users: TenantUser[]): Tenant {
  return {
    tenantId: '5f2c9b0e-3d0f-4a55-9f0e-6f1f7a3c1e01',
    clientId: '0a7d3b1c-93d1-4a53-8a9b-2f51c55d7b02',
    clientSecret: 'sandbox-secret',
    users,
    permissions: new Set(['User.Read.All', 'Calendars.ReadBasic']),
    outsidePolicy: new Set(),
    requests: [],
    latencyMs: 0,
    faults: [],
  };
}

export async function startSandbox(tenant: Tenant, port = 0): Promise<Sandbox> {
  const tokens = new Map<string, number>();
  const inFlight = new Map<string, number>();
  const server: Server = createServer((request, response) => {
    void handle(tenant, tokens, inFlight, request, response);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve());
  });
  const { port: listening } = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${listening}`,
    tenant,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

interface Answer {
  status: number;
  body?: unknown;
  headers?: Record<string, string>;
}

async function handle(
  tenant: Tenant,
  tokens: Map<string, number>,
  inFlight: Map<string, number>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://sandbox');
  let answer: Answer;
  try {
    answer = url.pathname.endsWith('/oauth2/v2.0/token')
      ? giveToken(tenant, tokens, url.pathname, await readBody(request))
      : await graph(tenant, tokens, inFlight, request, url);
  } catch {
    answer = graphError(500, 'UnknownError', 'the sandbox failed');
  }
  tenant.requests.push({
    method: request.method ?? 'GET',
    path: `${url.pathname}${url.search}`,
    status: answer.status,
  });
  response.writeHead(answer.status, {
    'content-type': 'application/json',
    'request-id': randomUUID(),
    ...answer.headers,
  });
  response.end(answer.body === undefined ? undefined : JSON.stringify(answer.body));
}

async function readBody(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request) text += String(chunk);
  return text;
}

/** OAuth 2.0 client credentials, with the refusals of the Microsoft identity platform. */
function giveToken(tenant: Tenant, tokens: Map<string, number>, path: string, body: string): Answer {
  const form = new URLSearchParams(body);
  const refuse = (status: number, error: string, number: number, text: string): Answer => ({
    status,
    body: {
      error,
      error_description: `AADSTS${number}: ${text}`,
      error_codes: [number],
      timestamp: new Date().toISOString(),
      trace_id: randomUUID(),
      correlation_id: randomUUID(),
    },
  });
  if (path.split('/')[1] !== tenant.tenantId) return refuse(400, 'invalid_request', 90002, 'Tenant not found.');
  if (form.get('grant_type') !== 'client_credentials')
    return refuse(400, 'unsupported_grant_type', 70003, 'The grant type is not supported.');
  if (form.get('client_id') !== tenant.clientId)
    return refuse(400, 'unauthorized_client', 700016, 'Application was not found in the directory.');
  if (form.get('client_secret') !== tenant.clientSecret)
    return refuse(401, 'invalid_client', 7000215, 'Invalid client secret provided.');
  if (!form.get('scope')?.includes('/.default'))
    return refuse(400, 'invalid_scope', 70011, 'The scope is not valid; use /.default.');
  const token = `sandbox.${randomUUID()}`;
  const expiresIn = 3599;
  tokens.set(token, Date.now() + expiresIn * 1000);
  return {
    status: 200,
    body: { token_type: 'Bearer', expires_in: expiresIn, ext_expires_in: expiresIn, access_token: token },
  };
}

const graphError = (status: number, code: string, message: string, headers: Record<string, string> = {}): Answer => ({
  status,
  headers,
  body: { error: { code, message, innerError: { date: new Date().toISOString(), 'request-id': randomUUID() } } },
});

/** How many requests of one app to one mailbox run at once (learn.microsoft.com/graph/throttling-limits). */
const mailboxConcurrency = 4;

async function graph(
  tenant: Tenant,
  tokens: Map<string, number>,
  inFlight: Map<string, number>,
  request: IncomingMessage,
  url: URL,
): Promise<Answer> {
  const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
  if ((tokens.get(token) ?? 0) < Date.now())
    return graphError(401, 'InvalidAuthenticationToken', 'Access token is empty, invalid or has expired.');
  const path = url.pathname.replace(/^\/v1\.0/, '');
  if (path === url.pathname) return graphError(400, 'BadRequest', 'Only v1.0 is served.');
  const faultAt = tenant.faults.findIndex((fault) => !fault.path || fault.path.test(path));
  const fault = faultAt === -1 ? undefined : tenant.faults.splice(faultAt, 1)[0];
  if (fault)
    return graphError(
      fault.status,
      fault.code,
      'A fault that was asked for.',
      fault.retryAfterSeconds === undefined ? {} : { 'retry-after': String(fault.retryAfterSeconds) },
    );

  const permissions = /^\/users\/([^/]+)\/calendar\/calendarPermissions$/.exec(path);
  const user = /^\/users\/([^/]+)$/.exec(path);
  const key = decodeURIComponent((permissions ?? user)?.[1] ?? '');
  if (request.method !== 'GET' || (!permissions && !user))
    return graphError(400, 'BadRequest', `Resource not found for the segment '${path}'.`);
  const found = findUser(tenant, key, Boolean(permissions));

  if (permissions) {
    const running = inFlight.get(key) ?? 0;
    if (running >= mailboxConcurrency)
      return graphError(429, 'ApplicationThrottled', 'Application is over its MailboxConcurrency limit.', {
        'retry-after': '1',
      });
    inFlight.set(key, running + 1);
    try {
      await pause(tenant.latencyMs);
      return listPermissions(tenant, found);
    } finally {
      inFlight.set(key, (inFlight.get(key) ?? 1) - 1);
    }
  }
  await pause(tenant.latencyMs);
  if (!tenant.permissions.has('User.Read.All'))
    return graphError(403, 'Authorization_RequestDenied', 'Insufficient privileges to complete the operation.');
  if (!found)
    return graphError(
      404,
      'Request_ResourceNotFound',
      `Resource '${key}' does not exist or one of its queried reference-property objects are not present.`,
    );
  return { status: 200, body: showUser(found, url.searchParams.get('$select')) };
}

const pause = (milliseconds: number): Promise<void> =>
  milliseconds > 0 ? new Promise((resolve) => setTimeout(resolve, milliseconds)) : Promise.resolve();

/** By object id or user principal name; Exchange's own resources also by any address. */
function findUser(tenant: Tenant, key: string, byAddress: boolean): TenantUser | undefined {
  const wanted = key.toLowerCase();
  return tenant.users.find(
    (user) =>
      user.objectId === wanted ||
      user.userPrincipalName.toLowerCase() === wanted ||
      (byAddress &&
        (user.mail?.toLowerCase() === wanted ||
          user.proxyAddresses.some((address) => address.toLowerCase() === `smtp:${wanted}`))),
  );
}

function listPermissions(tenant: Tenant, user: TenantUser | undefined): Answer {
  if (![...tenant.permissions].some((permission) => permission.startsWith('Calendars.')))
    return graphError(403, 'ErrorAccessDenied', 'Access is denied. Check credentials and try again.');
  if (!user) return graphError(404, 'Request_ResourceNotFound', 'The user does not exist.');
  if (tenant.outsidePolicy.has(user.userPrincipalName))
    return graphError(403, 'ErrorAccessDenied', 'Access to OData is disabled.');
  if (user.mailbox !== 'cloud')
    return graphError(
      404,
      'MailboxNotEnabledForRESTAPI',
      'The mailbox is either inactive, soft-deleted, or is hosted on-premise.',
    );
  const inside = ['freeBusyRead', 'limitedRead', 'read', 'write'];
  return {
    status: 200,
    body: {
      '@odata.context': `https://graph.microsoft.com/v1.0/$metadata#users('${user.objectId}')/calendar/calendarPermissions`,
      value: [
        {
          id: 'RGVmYXVsdA==',
          isRemovable: false,
          isInsideOrganization: true,
          role: 'freeBusyRead',
          allowedRoles: ['none', ...inside],
          emailAddress: { name: 'My Organization' },
        },
        ...user.calendarPermissions.map(({ address, role }) => ({
          id: Buffer.from(`recipient:${address}`).toString('base64'),
          isRemovable: true,
          isInsideOrganization: true,
          role,
          allowedRoles: [...inside, 'delegateWithoutPrivateEventAccess', 'delegateWithPrivateEventAccess'],
          emailAddress: { name: address.split('@')[0], address },
        })),
      ],
    },
  };
}

function showUser(user: TenantUser, select: string | null): Record<string, unknown> {
  const whole: Record<string, unknown> = {
    id: user.objectId,
    userPrincipalName: user.userPrincipalName,
    displayName: user.displayName,
    mail: user.mail,
    proxyAddresses: user.proxyAddresses,
    accountEnabled: user.accountEnabled,
    userType: 'Member',
    onPremisesSyncEnabled: user.onPremisesSyncEnabled,
    assignedPlans: user.exchangePlan
      ? [
          {
            service: 'exchange',
            capabilityStatus: 'Enabled',
            servicePlanId: 'efb87545-963c-4e0d-99df-69c6916d9eb0',
            assignedDateTime: '2026-01-01T00:00:00Z',
          },
        ]
      : [],
  };
  const wanted = select?.split(',') ?? ['userPrincipalName', 'displayName', 'mail'];
  return {
    '@odata.context': 'https://graph.microsoft.com/v1.0/$metadata#users/$entity',
    ...Object.fromEntries(Object.entries(whole).filter(([name]) => name === 'id' || wanted.includes(name))),
  };
}
