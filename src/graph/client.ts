/**
 * The way to Microsoft Graph: a token, a request, a translated answer.
 *
 * `@microsoft/microsoft-graph-client` carries the requests over a middleware of our own: its stock chain retries POSTs, sleeps inside
 * the process, and drops the token on hosts it does not know. `@azure/msal-node` gets the token; it has no single flight, so callers share one promise.
 */
import { ConfidentialClientApplication } from '@azure/msal-node';
import { Client, type Context, type Middleware, ResponseType } from '@microsoft/microsoft-graph-client';
import type { GraphConfig } from '../config.ts';
import { UsherError } from '../errors.ts';

export interface GraphAnswer {
  status: number;
  /** The vendor's error code, for statuses above 299. */
  code: string | null;
  body: Record<string, unknown>;
}

export interface GraphClient {
  /** `path` is relative to the version: `/users/{id}`. Throws `throttled`, `graph_unavailable`, `connection_down`; every other status is an answer. */
  get(path: string): Promise<GraphAnswer>;
}

const requestTimeoutMs = 15_000;

export function openGraphClient(config: GraphConfig): GraphClient {
  const tokens = openTokens(config);
  const transport: Middleware = {
    async execute(context: Context) {
      const url = typeof context.request === 'string' ? context.request : context.request.url;
      context.response = await fetch(url, {
        ...context.options,
        redirect: 'manual',
        signal: AbortSignal.timeout(requestTimeoutMs),
      });
    },
  };
  const client = Client.initWithMiddleware({
    middleware: transport,
    baseUrl: `${config.baseUrl}/`,
    defaultVersion: 'v1.0',
  });

  const send = async (path: string): Promise<GraphAnswer> => {
    // Outside the client, which would turn our own faults into its own.
    const token = await tokens.get();
    let response: Response;
    try {
      const request = client.api(path).header('Authorization', `Bearer ${token}`).header('Accept', 'application/json');
      response = (await request.responseType(ResponseType.RAW).get()) as Response;
    } catch (error) {
      throw new UsherError('graph_unavailable', 'Microsoft Graph does not answer.', { cause: error });
    }
    return readAnswer(response);
  };

  return {
    async get(path) {
      const answer = await send(path);
      if (answer.status !== 401) return answer;
      // The token may have been withdrawn early: a fresh one is tried once.
      tokens.forget();
      const again = await send(path);
      if (again.status === 401)
        throw new UsherError(
          'connection_down',
          `Microsoft Graph refuses the token of app ${config.clientId} (${again.code ?? '401'}).`,
        );
      return again;
    },
  };
}

async function readAnswer(response: Response): Promise<GraphAnswer> {
  const text = await response.text();
  let body: Record<string, unknown> = {};
  try {
    const parsed: unknown = JSON.parse(text);
    if (parsed !== null && typeof parsed === 'object') body = parsed as Record<string, unknown>;
    else throw new TypeError('no object');
  } catch (cause) {
    // A sign-in page or a cut answer with 200 is no answer; an empty reading must never look like an empty tenant.
    if (response.ok)
      throw new UsherError('graph_unavailable', `Microsoft Graph answered ${response.status} without readable JSON.`, {
        cause,
      });
  }
  const error = body.error as { code?: unknown } | undefined;
  const code = typeof error?.code === 'string' ? error.code : null;
  const { status } = response;
  if (status === 429 || ((status === 503 || status === 504) && response.headers.has('retry-after'))) {
    const retryAfterSeconds = readRetryAfter(response.headers.get('retry-after'));
    throw new UsherError(
      'throttled',
      'Microsoft Graph asks to slow down.',
      retryAfterSeconds === null ? {} : { retryAfterSeconds },
    );
  }
  if (status >= 500 && code !== 'ErrorNotSupported')
    throw new UsherError('graph_unavailable', `Microsoft Graph answered ${status}${code ? ` ${code}` : ''}.`);
  if (status >= 300 && status < 400)
    throw new UsherError('graph_unavailable', `Microsoft Graph answered with a redirect (${status}).`);
  if (code === 'MailboxMoveInProgress' || code === 'ErrorMailboxMoveInProgress')
    throw new UsherError('graph_unavailable', 'The mailbox is being moved.');
  return { status, code, body };
}

/** Seconds or an HTTP date (RFC 9110 section 10.2.3). */
export function readRetryAfter(header: string | null, now = Date.now()): number | null {
  if (header === null) return null;
  if (/^\s*\d+\s*$/.test(header)) return Number(header);
  const date = Date.parse(header);
  return Number.isNaN(date) ? null : Math.max(0, Math.ceil((date - now) / 1000));
}

interface Tokens {
  get(): Promise<string>;
  forget(): void;
}

function openTokens(config: GraphConfig): Tokens {
  const application = () =>
    new ConfidentialClientApplication({
      auth: {
        clientId: config.clientId,
        authority: config.ownAuthority
          ? `https://login.microsoftonline.com/${config.tenantId}`
          : `${config.authority}/${config.tenantId}`,
        clientSecret: config.clientSecret,
        // MSAL insists on https for an authority; its metadata may name any token endpoint.
        ...(config.ownAuthority ? { authorityMetadata: metadata(config) } : {}),
      },
    });
  let client = application();
  let inFlight: Promise<string> | undefined;
  let fresh = false;
  return {
    async get() {
      inFlight ??= acquire(client, config, fresh).finally(() => {
        inFlight = undefined;
        fresh = false;
      });
      return inFlight;
    },
    forget() {
      fresh = true;
      // MSAL also throttles itself after a refusal; a new instance does not remember.
      client = application();
    },
  };
}

async function acquire(
  client: ConfidentialClientApplication,
  config: GraphConfig,
  skipCache: boolean,
): Promise<string> {
  try {
    const result = await client.acquireTokenByClientCredential({ scopes: [config.scope], skipCache });
    if (!result?.accessToken) throw new Error('no token in the answer');
    return result.accessToken;
  } catch (cause) {
    const { errorCode, errorNo } = cause as { errorCode?: string; errorNo?: string };
    const why = [errorCode, errorNo && `AADSTS${errorNo}`].filter(Boolean).join(' ');
    throw new UsherError(
      'connection_down',
      `No token from ${config.authority}${why ? `: ${why}` : ''}. Check tenant, client id and secret.`,
      { cause },
    );
  }
}

function metadata(config: GraphConfig): string {
  const base = `${config.authority}/${config.tenantId}`;
  return JSON.stringify({
    issuer: `${base}/v2.0`,
    authorization_endpoint: `${base}/oauth2/v2.0/authorize`,
    token_endpoint: `${base}/oauth2/v2.0/token`,
    jwks_uri: `${base}/discovery/v2.0/keys`,
  });
}
