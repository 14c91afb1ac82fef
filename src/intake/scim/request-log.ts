/**
 * What the identity providers really sent, for an admin to read: gathered and written in batches, after the answer. Secrets and passwords are
 * left out. Under load reads are left out too; writes and refusals never are, unless the database is away.
 */
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
      if (gathered.length < mostGathered) gathered.push({ ...request, body: withoutSecrets(request.body) });
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

/** As JSON text. The long ones are left out before anything walks them, and only those that name a secret are walked at all. */
export function withoutSecrets(body: unknown): string | null {
  if (body === undefined || body === null) return null;
  const text = JSON.stringify(body);
  if (text.length > mostBodyCharacters) return JSON.stringify({ leftOut: `${text.length} characters` });
  if (!secretNames.test(text)) return text;
  const hidden = JSON.stringify(body, (key, value: unknown) => (secretNames.test(key) ? '[left out]' : value));
  // A PATCH names the attribute in its path and carries the value beside it.
  return JSON.stringify(
    JSON.parse(hidden, (_key, value: unknown) => {
      const operation = value as { path?: unknown; value?: unknown } | null;
      return operation !== null && typeof operation === 'object' && secretNames.test(String(operation.path ?? ''))
        ? { ...operation, value: '[left out]' }
        : value;
    }),
  );
}
