/**
 * The way to Microsoft Graph: a token, a request, a translated answer.
 *
 * `@microsoft/microsoft-graph-client` carries the requests over a middleware of our own: its stock chain retries POSTs, sleeps inside
 * the process, and drops the token on hosts it does not know.
 */
import { Client, type Context, type Middleware, ResponseType } from '@microsoft/microsoft-graph-client';
import type { GraphConfig } from '../config.ts';
import { UsherError } from '../errors.ts';
import { openTokens } from './tokens.ts';

export interface GraphAnswer {
  status: number;
  /** The vendor's error code, for statuses above 299. */
  code: string | null;
  body: Record<string, unknown>;
  /** `Location` of an answer that has one: 410 says where to begin anew. */
  location: string | null;
  /** How near the limit the tenant says we are, `x-ms-throttle-limit-percentage`: 1 is at it; 0 when it says nothing. */
  load: number;
}

export type GraphMethod = 'GET' | 'POST' | 'PATCH' | 'DELETE';

export interface GraphClient {
  /**
   * `path` is relative to the version (`/users/{id}`), or a link that Graph gave, to be followed as it is.
   * Throws `throttled`, `graph_unavailable`, `connection_down`; every other status is an answer.
   */
  get(path: string, headers?: Record<string, string>): Promise<GraphAnswer>;
  send(method: GraphMethod, path: string, body?: unknown): Promise<GraphAnswer>;
  /** Does this link lead to the Graph of this connection? */
  owns(link: string): boolean;
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

  const once = async (
    method: GraphMethod,
    path: string,
    headers: Record<string, string>,
    body: unknown,
  ): Promise<GraphAnswer> => {
    // Outside the client, which would turn our own faults into its own.
    const token = await tokens.get();
    const all = { Authorization: `Bearer ${token}`, Accept: 'application/json', ...headers };
    let response: Response;
    try {
      if (/^https?:/i.test(path)) {
        // The client takes an absolute http link for a path, and takes a link apart: one that Graph gave is opaque.
        const link = ownLink(config, path);
        response = await fetch(link, {
          headers: all,
          redirect: 'manual',
          signal: AbortSignal.timeout(requestTimeoutMs),
        });
      } else {
        const request = client.api(path).headers(all).responseType(ResponseType.RAW);
        response = (await (method === 'GET'
          ? request.get()
          : method === 'DELETE'
            ? request.delete()
            : method === 'POST'
              ? request.post(body)
              : request.patch(body))) as Response;
      }
    } catch (error) {
      if (error instanceof UsherError) throw error;
      throw new UsherError('graph_unavailable', 'Microsoft Graph does not answer.', { cause: error });
    }
    return readAnswer(response);
  };

  const send = async (
    method: GraphMethod,
    path: string,
    headers: Record<string, string> = {},
    body?: unknown,
  ): Promise<GraphAnswer> => {
    const answer = await once(method, path, headers, body);
    if (answer.status !== 401) return answer;
    // The token may have been withdrawn early: a fresh one is tried once.
    tokens.forget();
    const again = await once(method, path, headers, body);
    if (again.status === 401)
      throw new UsherError(
        'connection_down',
        `Microsoft Graph refuses the token of app ${config.clientId} (${again.code ?? '401'}).`,
      );
    return again;
  };

  return {
    get: (path, headers) => send('GET', path, headers),
    send: (method, path, body) => send(method, path, {}, body),
    owns: (link) => isOwn(config, link),
  };
}

/** The token goes to Graph's own host and to no other, whatever a link says. */
function ownLink(config: GraphConfig, link: string): string {
  if (!isOwn(config, link))
    throw new UsherError('graph_unavailable', `Microsoft Graph gave a link to another host (${new URL(link).host}).`);
  return link;
}

function isOwn(config: GraphConfig, link: string): boolean {
  const url = new URL(link);
  const own = new URL(config.baseUrl);
  return url.host === own.host && url.protocol === own.protocol;
}

async function readAnswer(response: Response): Promise<GraphAnswer> {
  const text = await response.text().catch((cause: unknown) => {
    throw new UsherError('graph_unavailable', 'The answer of Microsoft Graph broke off.', { cause });
  });
  let body: Record<string, unknown> = {};
  if (text !== '' || response.status === 200) {
    try {
      const parsed: unknown = JSON.parse(text);
      if (parsed !== null && typeof parsed === 'object') body = parsed as Record<string, unknown>;
      else throw new TypeError('no object');
    } catch (cause) {
      // A sign-in page or a cut answer with 200 is no answer; an empty reading must never look like an empty tenant.
      if (response.ok)
        throw new UsherError(
          'graph_unavailable',
          `Microsoft Graph answered ${response.status} without readable JSON.`,
          {
            cause,
          },
        );
    }
  }
  return judge(response.status, body, {
    retryAfter: response.headers.get('retry-after'),
    location: response.headers.get('location'),
    load: Number(response.headers.get('x-ms-throttle-limit-percentage') ?? 0) || 0,
  });
}

/** One answer, alone or out of a $batch. Throws `throttled` and `graph_unavailable`. */
export function judge(
  status: number,
  body: Record<string, unknown>,
  {
    retryAfter = null,
    location = null,
    load = 0,
  }: { retryAfter?: string | null; location?: string | null; load?: number },
): GraphAnswer {
  const error = body.error as { code?: unknown } | undefined;
  const code = typeof error?.code === 'string' ? error.code : null;
  if (status === 429 || ((status === 503 || status === 504) && retryAfter !== null)) {
    const retryAfterSeconds = readRetryAfter(retryAfter);
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
  return { status, code, body, location, load };
}

/** Seconds or an HTTP date (RFC 9110 section 10.2.3). */
export function readRetryAfter(header: string | null, now = Date.now()): number | null {
  if (header === null) return null;
  // Never at once: a clock that goes wrong, or a zero, must not make a loop of it; never beyond a day.
  if (/^\s*\d+(\.\d+)?\s*$/.test(header)) return Math.min(86_400, Math.max(1, Math.ceil(Number(header))));
  const date = Date.parse(header);
  return Number.isNaN(date) ? null : Math.min(86_400, Math.max(1, Math.ceil((date - now) / 1000)));
}
