/**
 * What the identity providers really sent, for an admin to read: gathered and written in batches, after the answer. Secrets and passwords are
 * left out. Under load reads are left out too; writes and refusals never are, unless the database is away.
 */
import { storable } from '../../domain/storable-text.ts';
import type { Log } from '../../log.ts';
import type { LoggedRequest, RequestLogStore } from '../../ports.ts';

export interface RequestLog {
  add(request: LoggedRequest): void;
  flush(): Promise<void>;
}

const writeEveryMs = 250;
const mostGathered = 5000;
const readsPerSecond = 50;
const keepDays = 14;
const mostBodyCharacters = 16_384;

export function openRequestLog(store: RequestLogStore, log: Log): RequestLog & { close(): Promise<void> } {
  let gathered: LoggedRequest[] = [];
  let reads = 0;
  let second = 0;
  let writing: Promise<void> = Promise.resolve();
  const write = (): Promise<void> => {
    const batch = gathered;
    gathered = [];
    if (batch.length > 0) {
      writing = writing
        .then(() => store.logRequests(batch))
        // What one of them spoils the others need not: each by itself.
        .catch(() => Promise.all(batch.map((request) => store.logRequests([request]))).then(() => undefined))
        .catch((error: unknown) => log.warn({ err: error, requests: batch.length }, 'requests were not logged'));
    }
    return writing;
  };
  const timer = setInterval(() => void write(), writeEveryMs);
  const pruning = setInterval(() => void store.pruneRequests(keepDays).catch(() => undefined), 3_600_000);
  timer.unref();
  pruning.unref();
  return {
    add(request) {
      const now = Math.floor(request.at.getTime() / 1000);
      if (now !== second) [second, reads] = [now, 0];
      const plainRead = request.method === 'GET' && request.status < 400;
      if (plainRead && ++reads > readsPerSecond) return;
      if (gathered.length < mostGathered)
        gathered.push({
          ...request,
          requestId: storable(request.requestId),
          path: storable(request.path),
          answer: request.answer === null ? null : storable(request.answer),
          body: withoutSecrets(request.body),
        });
    },
    flush: write,
    async close() {
      clearInterval(timer);
      clearInterval(pruning);
      await write();
    },
  };
}

const secretNames = /password|secret|token|authorization/i;

/** As JSON text. The long ones are left out before anything walks them. */
export function withoutSecrets(body: unknown): string | null {
  if (body === undefined || body === null) return null;
  const text = JSON.stringify(body);
  if (text.length > mostBodyCharacters) return JSON.stringify({ leftOut: `${text.length} characters` });
  // A text whose quotes or escapes could hide a secret is no JSON of ours to look into.
  if (typeof body === 'string') return JSON.stringify(secretNames.test(body) ? '[left out]' : storable(body));
  const plain = !secretNames.test(text);
  const hidden = (value: unknown): unknown => {
    if (typeof value === 'string') return !plain && /password\W/i.test(value) ? '[left out]' : storable(value);
    if (value === null || typeof value !== 'object') return value;
    if (Array.isArray(value)) return value.map(hidden);
    const entries = Object.entries(value);
    // A PATCH names the attribute in its path, in any letter case, and carries the value beside it.
    const path = entries.find(([key]) => key.toLowerCase() === 'path')?.[1];
    const aboutSecret = !plain && typeof path === 'string' && secretNames.test(path);
    return Object.fromEntries(
      entries.map(([key, entry]) => [
        storable(key),
        !plain && (secretNames.test(key) || (aboutSecret && /^(path|value)$/i.test(key)))
          ? '[left out]'
          : hidden(entry),
      ]),
    );
  };
  return JSON.stringify(hidden(body));
}
