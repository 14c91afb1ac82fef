/**
 * One request to the OnceHub API v2: paced, time-boxed, and its answer told apart by status and `type`, never by message (help.oncehub.com, OpenAPI
 * description of August 2026). Nothing is repeated here: who asked looks first.
 */

import type { OnceHubConfig } from '../config.ts';
import { UsherError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Pace, Share } from './pace.ts';

export interface OnceHubAnswer {
  status: number;
  body: Record<string, unknown>;
  /** Of a refusal: which field. */
  param: string | null;
  message: string;
}

export type OnceHubCall = (
  share: Share,
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE',
  path: string,
  body?: Record<string, unknown>,
  /** Later than this it is not sent any more. */
  sendBefore?: number,
) => Promise<OnceHubAnswer>;

/** Well below a step's time, with the look that follows a time-out inside it. */
export const requestTimeoutMs = 7000;
/** How long nobody asks after a refused key or plan. */
const pauseSeconds = 300;

export function openOnceHubClient(
  config: OnceHubConfig,
  pace: Pace,
  log: Pick<Log, 'debug' | 'warn'>,
  onTrouble: (code: 'account_connection_down' | 'plan_has_no_api' | null, why: string) => Promise<void>,
): OnceHubCall {
  let keyInUse = 0;
  let wasTroubled = true;

  const once = async (
    method: string,
    path: string,
    body: Record<string, unknown> | undefined,
    key: string,
  ): Promise<OnceHubAnswer & { type: string | null; retryAfter: string | null }> => {
    let response: Response;
    let text: string;
    try {
      response = await fetch(`${config.baseUrl}${path}`, {
        method,
        headers: {
          'API-Key': key,
          Accept: 'application/json',
          ...(body ? { 'Content-Type': 'application/json' } : {}),
        },
        ...(body ? { body: JSON.stringify(body) } : {}),
        redirect: 'manual',
        signal: AbortSignal.timeout(requestTimeoutMs),
      });
      text = await response.text();
    } catch (cause) {
      throw new UsherError('account_unavailable', 'OnceHub does not answer.', { cause });
    }
    const { status } = response;
    log.debug({ method, path: path.split('?')[0], status, requestId: response.headers.get('request-id') }, 'OnceHub');
    let parsed: unknown = null;
    try {
      parsed = JSON.parse(text);
    } catch {
      // told below, where it matters
    }
    if (status >= 300 && status < 400)
      throw new UsherError('account_unavailable', `OnceHub answered with a redirect (${status}).`);
    // A sign-in page or a cut answer is no answer; an empty reading must never look like an empty account.
    if (response.ok && (parsed === null || typeof parsed !== 'object'))
      throw new UsherError('account_unavailable', `OnceHub answered ${status} without readable JSON.`);
    const fields = (Array.isArray(parsed) ? { items: parsed } : (parsed ?? {})) as Record<string, unknown>;
    return {
      status,
      body: fields,
      type: typeof fields.type === 'string' ? fields.type : null,
      param: typeof fields.param === 'string' ? fields.param : null,
      message: typeof fields.message === 'string' ? fields.message : `status ${status}`,
      retryAfter: response.headers.get('retry-after'),
    };
  };

  const trouble = async (code: 'account_connection_down' | 'plan_has_no_api', why: string): Promise<never> => {
    wasTroubled = true;
    await pace.pause(code, why, pauseSeconds / config.clockSpeed);
    await onTrouble(code, why);
    throw new UsherError(code, why);
  };

  return async (share, method, path, body, sendBefore = Number.POSITIVE_INFINITY) => {
    const paced = async (of: Share, key: number): ReturnType<typeof once> => {
      const ended = await pace.take(of);
      try {
        if (Date.now() > sendBefore)
          throw new UsherError('throttled', 'There was no time left to send it.', { retryAfterSeconds: 5 });
        return await once(method, path, body, config.apiKeys[key] ?? '');
      } finally {
        await ended();
      }
    };
    const key = keyInUse;
    let answer = await paced(share, key);
    if (answer.status === 401 && config.apiKeys.length > 1) {
      // The other than the one that was refused just now, whatever others found out meanwhile.
      keyInUse = (key + 1) % config.apiKeys.length;
      answer = await paced('follow', keyInUse);
    }
    if (answer.status === 401)
      await trouble('account_connection_down', 'OnceHub refuses the API key: it was revoked, or is another account’s.');
    if (answer.status === 403 && answer.type === 'authentication_error')
      await trouble('plan_has_no_api', 'OnceHub says that the plan of the account does not include the API.');
    if (answer.status === 429) {
      const seconds = await pace.slowDown(readSeconds(answer.retryAfter));
      log.warn({ path: path.split('?')[0], seconds }, 'OnceHub asks us to slow down');
      throw new UsherError('throttled', 'OnceHub asks us to slow down.', { retryAfterSeconds: seconds });
    }
    if (answer.status >= 500) throw new UsherError('account_unavailable', `OnceHub answered ${answer.status}.`);
    await pace.works();
    if (wasTroubled) {
      wasTroubled = false;
      await onTrouble(null, '');
    }
    return answer;
  };
}

/** Not documented by the vendor; honoured where it comes. Seconds or an HTTP date, never beyond an hour. */
function readSeconds(header: string | null): number | null {
  if (header === null) return null;
  const seconds = /^\d+$/.test(header.trim()) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.min(3600, Math.max(1, seconds)) : null;
}
