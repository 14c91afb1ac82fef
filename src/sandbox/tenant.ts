/**
 * A make-believe Microsoft 365 tenant over HTTP, for trial runs and tests, where the vendor's cloud can not be reached: the token endpoint and the part of
 * Microsoft Graph that Usher speaks. It answers as the vendor's documentation says, refusals and limits included. What stands here is the tenant and
 * its door; `graph-api.ts` answers.
 */
import { createPublicKey, randomUUID, verify } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type Answer, graphError, openGraphApi } from './graph-api.ts';
import { openSignInDoor } from './sign-in.ts';

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
  givenName?: string | null;
  surname?: string | null;
  department?: string | null;
  jobTitle?: string | null;
  companyName?: string | null;
  mail: string | null;
  proxyAddresses: string[];
  accountEnabled: boolean;
  userType?: 'Member' | 'Guest';
  onPremisesSyncEnabled: boolean | null;
  /** Object id. */
  manager?: string | null;
  /** Has an enabled Exchange Online plan. */
  exchangePlan: boolean;
  mailbox: 'cloud' | 'none' | 'on_premises';
  userPurpose?: 'user' | 'shared' | 'room' | 'equipment';
  deliveryOption?: 'sendToDelegateOnly' | 'sendToDelegateAndInformationToPrincipal' | 'sendToDelegateAndPrincipal';
  /** Address → role on the primary calendar. */
  calendarPermissions: { address: string; role: CalendarRole }[];
}

export interface TenantGroup {
  objectId: string;
  displayName: string;
  /** Object ids of users and groups. A soft-deleted user stays a member. */
  members: string[];
}

export interface Tenant {
  tenantId: string;
  clientId: string;
  clientSecret: string;
  /** The certificate that the app registration knows: its public key as PEM and its SHA-256 as base64url; null: none. */
  certificate: { publicKey: string; sha256: string } | null;
  /** The assertion that the trusted outside issuer would sign. */
  federatedAssertion: string | null;
  /** Where a sign-in may come back to. */
  redirectUris: string[];
  /** The object id of whoever signs in next; null: nobody does. */
  atTheKeyboard: string | null;
  users: TenantUser[];
  /** Soft-deleted, restorable for 30 days. */
  deletedUsers: TenantUser[];
  groups: TenantGroup[];
  /** Consented application permissions. */
  permissions: Set<string>;
  /** Addresses outside the application access policy. */
  outsidePolicy: Set<string>;
  /** Every request, for tests that count; the ones inside a $batch too, as `$batch` and their own path. */
  requests: { method: string; path: string; status: number }[];
  /** Milliseconds that every Graph answer takes. */
  latencyMs: number;
  /** The next answers, before the tenant itself is asked: a fault to play. */
  faults: { status: number; code: string; retryAfterSeconds?: number; path?: RegExp }[];
  /** Asked for each request to a mailbox: seconds to wait, or null to go on. */
  throttle: ((path: string) => number | null) | null;
  /** How many $batch requests may run at once; above it 429. */
  batchesAtOnce: number;
  /** Requests to a mailbox that came before its Retry-After was over. */
  askedTooEarly: number;
  delta: {
    pageSize: number;
    /** Every so-manieth page is empty; 0: none is. */
    emptyEvery: number;
    /** A page begins with the last so-many of the page before. */
    repeat: number;
    expired: false | 'gone' | 'syncStateNotFound';
  };
  /** Object ids that a direct question calls members, whatever the groups say: a delta that was replayed too late. */
  membersStill: Set<string>;
  /** Who asked to be told of changes. */
  subscriptions: { id: string; resource: string; notificationUrl: string; clientState: string; expiresAt: string }[];
  /** What POST of a calendar permission does. */
  grants: 'work' | 'refuse' | 'lie';
}

export interface Sandbox {
  url: string;
  tenant: Tenant;
  close(): Promise<void>;
}

/** The Graph connection of an Usher that talks to this sandbox instead of the cloud. */
export function connectionTo({ url, tenant }: Pick<Sandbox, 'url' | 'tenant'>) {
  const { tenantId, clientId, clientSecret } = tenant;
  return {
    tenantId,
    clientId,
    credential: { kind: 'secret' as const, secret: clientSecret },
    baseUrl: url,
    authority: url,
    scope: 'https://graph.microsoft.com/.default',
    ownAuthority: true,
    pollSeconds: 300,
    notificationUrl: null,
  };
}

export function newTenant(users: TenantUser[], groups: TenantGroup[] = []): Tenant {
  return {
    tenantId: '5f2c9b0e-3d0f-4a55-9f0e-6f1f7a3c1e01',
    clientId: '0a7d3b1c-93d1-4a53-8a9b-2f51c55d7b02',
    clientSecret: 'sandbox-secret',
    certificate: null,
    federatedAssertion: null,
    redirectUris: [],
    atTheKeyboard: null,
    users,
    deletedUsers: [],
    groups,
    permissions: new Set(['User.Read.All', 'GroupMember.Read.All', 'Calendars.ReadBasic']),
    outsidePolicy: new Set(),
    requests: [],
    latencyMs: 0,
    faults: [],
    throttle: null,
    batchesAtOnce: 16,
    askedTooEarly: 0,
    delta: { pageSize: 200, emptyEvery: 0, repeat: 0, expired: false },
    membersStill: new Set(),
    subscriptions: [],
    grants: 'work',
  };
}

export async function startSandbox(tenant: Tenant, port = 0): Promise<Sandbox> {
  const tokens = new Map<string, number>();
  const api = openGraphApi(tenant);
  const door = openSignInDoor(tenant);
  const server: Server = createServer((request, response) => {
    void handle(request, response);
  });

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', `http://${request.headers.host ?? 'sandbox'}`);
    let answer: Answer;
    try {
      const body = await readBody(request);
      if (url.pathname.endsWith('/oauth2/v2.0/token')) answer = giveToken(tenant, tokens, door, url, body);
      else if (url.pathname.endsWith('/oauth2/v2.0/authorize')) answer = door.authorize(url);
      else if (url.pathname === '/managed-identity') answer = giveManagedToken(tokens, request, url);
      else {
        const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
        answer =
          (tokens.get(token) ?? 0) < Date.now()
            ? graphError(401, 'InvalidAuthenticationToken', 'Access token is empty, invalid or has expired.')
            : await api(
                request.method ?? 'GET',
                url,
                body,
                String(request.headers['content-type'] ?? ''),
                String(request.headers.prefer ?? ''),
              );
      }
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

async function readBody(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request) text += String(chunk);
  return text;
}

const expiresIn = 3599;

function newToken(tokens: Map<string, number>): string {
  const token = `sandbox.${randomUUID()}`;
  tokens.set(token, Date.now() + expiresIn * 1000);
  return token;
}

/** OAuth 2.0 client credentials and authorization codes, with the refusals of the Microsoft identity platform. */
function giveToken(
  tenant: Tenant,
  tokens: Map<string, number>,
  door: ReturnType<typeof openSignInDoor>,
  url: URL,
  body: string,
): Answer {
  const path = url.pathname;
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
  const isSignIn = form.get('grant_type') === 'authorization_code';
  if (!isSignIn && form.get('grant_type') !== 'client_credentials')
    return refuse(400, 'unsupported_grant_type', 70003, 'The grant type is not supported.');
  if (form.get('client_id') !== tenant.clientId)
    return refuse(400, 'unauthorized_client', 700016, 'Application was not found in the directory.');
  const assertion = form.get('client_assertion');
  if (assertion !== null) {
    if (form.get('client_assertion_type') !== 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer')
      return refuse(400, 'invalid_request', 50027, 'The assertion type is not supported.');
    if (assertion !== tenant.federatedAssertion && !isSignedBy(assertion, tenant.certificate, tenant.clientId))
      return refuse(401, 'invalid_client', 700027, 'The certificate used to sign the client assertion is not known.');
  } else if (form.get('client_secret') !== tenant.clientSecret)
    return refuse(401, 'invalid_client', 7000215, 'Invalid client secret provided.');
  if (isSignIn) {
    const given = door.redeem(form, url.origin);
    if (!given)
      return refuse(400, 'invalid_grant', 70008, 'The provided authorization code is invalid or has expired.');
    return {
      status: 200,
      body: {
        token_type: 'Bearer',
        expires_in: expiresIn,
        ext_expires_in: expiresIn,
        access_token: newToken(tokens),
        ...given,
      },
    };
  }
  if (!form.get('scope')?.includes('/.default'))
    return refuse(400, 'invalid_scope', 70011, 'The scope is not valid; use /.default.');
  return {
    status: 200,
    body: { token_type: 'Bearer', expires_in: expiresIn, ext_expires_in: expiresIn, access_token: newToken(tokens) },
  };
}

/** RFC 7523, as the platform takes it: PS256 with the SHA-256 thumbprint of the certificate in the header. */
function isSignedBy(assertion: string, certificate: Tenant['certificate'], clientId: string): boolean {
  if (!certificate) return false;
  const [head = '', payload = '', signature = ''] = assertion.split('.');
  try {
    const header = JSON.parse(Buffer.from(head, 'base64url').toString()) as Record<string, unknown>;
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, unknown>;
    return (
      header.alg === 'PS256' &&
      header['x5t#S256'] === certificate.sha256 &&
      claims.sub === clientId &&
      Number(claims.exp) * 1000 > Date.now() &&
      verify(
        'sha256',
        Buffer.from(`${head}.${payload}`),
        { key: createPublicKey(certificate.publicKey), padding: 6, saltLength: 32 },
        Buffer.from(signature, 'base64url'),
      )
    );
  } catch {
    return false;
  }
}

/** The managed identity endpoint of App Service: no secret, but a header that only the host knows. */
function giveManagedToken(tokens: Map<string, number>, request: IncomingMessage, url: URL): Answer {
  if (request.headers['x-identity-header'] !== 'sandbox-host' || !url.searchParams.get('resource'))
    return { status: 400, body: { statusCode: 400, message: 'No managed identity found for the given header.' } };
  return {
    status: 200,
    body: {
      access_token: newToken(tokens),
      expires_on: String(Math.floor(Date.now() / 1000) + expiresIn),
      resource: url.searchParams.get('resource'),
      token_type: 'Bearer',
    },
  };
}
