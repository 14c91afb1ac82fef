/**
 * Reads of many mailboxes, gathered from all workers of the process into `$batch` requests of 20 (learn.microsoft.com/graph/json-batching).
 *
 * How many batches run at once is found out: one more for each round that went well, half when the tenant pushes back. A mailbox that is throttled
 * waits by itself, as long as it was told to, and is asked again alone; the others go on. No mailbox is asked twice at once.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import DataLoader from 'dataloader';
import { UsherError } from '../errors.ts';
import { type GraphAnswer, type GraphClient, judge } from './client.ts';

export interface Batch {
  /** `path` is relative to the version. Throws as the client does; `throttled` only when the wait is longer than a worker should sit. */
  get(path: string, mailbox: string): Promise<GraphAnswer>;
  /** How many batches may run at once now. */
  readonly parallelism: number;
}

const batchSize = 20;
const startWith = 2;
const mostAtOnce = 16;
/** How long a number of batches that was refused is not tried again. Milliseconds. */
const ceilingForMs = 60_000;
/** How long an open batch waits for company while nothing else keeps it waiting. Milliseconds. */
const lingerMs = 15;
/** What a caller sits out here in all; a longer wait goes back to the queue. Seconds. */
const patienceSeconds = 12;

export function openBatch(graph: GraphClient): Batch {
  const slots = openSlots();
  const loader = new DataLoader<string, GraphAnswer>((paths) => sendBatch(graph, paths, slots), {
    cache: false,
    maxBatchSize: batchSize,
    batchScheduleFn: (dispatch) => slots.schedule(dispatch),
  });
  const tails = new Map<string, Promise<unknown>>();

  const patiently = async (path: string): Promise<GraphAnswer> => {
    let waited = 0;
    for (;;) {
      try {
        return await loader.load(path);
      } catch (error) {
        if (!(error instanceof UsherError) || error.code !== 'throttled') throw error;
        const seconds = error.retryAfterSeconds ?? Math.min(8, 1 + waited);
        waited += seconds;
        if (waited > patienceSeconds)
          throw new UsherError('throttled', error.message, { retryAfterSeconds: seconds, cause: error });
        // A little later than asked: usage keeps counting while one is throttled.
        await sleep(seconds * 1000 + Math.random() * 200);
      }
    }
  };

  return {
    get parallelism() {
      return slots.limit();
    },
    get(path, mailbox) {
      const key = mailbox.toLowerCase();
      const before = tails.get(key);
      const mine = before !== undefined ? before.then(() => patiently(path)) : patiently(path);
      const tail = mine
        .catch(() => undefined)
        .finally(() => {
          if (tails.get(key) === tail) tails.delete(key);
        });
      tails.set(key, tail);
      return mine;
    },
  };
}

interface Slots {
  schedule(dispatch: () => void): void;
  /** A batch begins; the answer ends it with how it went. */
  begin(): { end(result: { throttled: number; of: number; load: number }): void; refused(pauseSeconds: number): void };
  /** Waits while the whole connection is asked to pause. */
  untilOpen(): Promise<void>;
  limit(): number;
}

/** Which batch may go, and when. A batch is full as soon as the loader opens the next one. */
function openSlots(): Slots {
  const waiting: { dispatch: () => void; since: number }[] = [];
  let limit = startWith;
  let running = 0;
  let epoch = 0;
  let usual = 0;
  let pausedUntil = 0;
  let knownCeiling = mostAtOnce;
  let knownUntil = 0;
  let timer: NodeJS.Timeout | undefined;

  const pump = (): void => {
    clearTimeout(timer);
    timer = undefined;
    while (waiting.length > 0 && running < Math.floor(limit)) {
      const first = waiting[0] as (typeof waiting)[number];
      const isOpen = waiting.length === 1;
      const lingers = lingerMs - (performance.now() - first.since);
      if (isOpen && lingers > 0) {
        timer = setTimeout(pump, lingers);
        return;
      }
      waiting.shift();
      running += 1;
      first.dispatch();
    }
  };

  return {
    schedule(dispatch) {
      waiting.push({ dispatch, since: performance.now() });
      // Never at once: the loader puts the first key into a batch after it has asked for its turn, and one that went empty would keep that key for ever.
      queueMicrotask(pump);
    },
    begin() {
      const began = epoch;
      const beside = running;
      const pushedBack = (): void => {
        if (began !== epoch) return;
        limit = Math.max(1, Math.floor(limit / 2));
        epoch += 1;
      };
      return {
        end({ throttled, of, load }) {
          running -= 1;
          const share = throttled / of;
          // Single mailboxes that are busy say nothing of the others; more of them than usual, or the tenant's own word, does.
          if (load >= 1 || share > usual + 0.25) pushedBack();
          else if (load < 0.8) {
            // What was refused lately is not tried again at once.
            const isKnown = performance.now() < knownUntil;
            // Up to what was granted a moment ago one more a batch, into the unknown one more a round trip.
            limit = Math.min(isKnown ? knownCeiling : mostAtOnce, limit + (isKnown ? 1 : 1 / Math.floor(limit)));
          }
          usual = 0.9 * usual + 0.1 * share;
          pump();
        },
        refused(pauseSeconds) {
          const now = performance.now();
          pausedUntil = Math.max(pausedUntil, now + pauseSeconds * 1000);
          knownCeiling = Math.max(1, Math.min(now < knownUntil ? knownCeiling : mostAtOnce, beside - 1));
          knownUntil = now + ceilingForMs;
          pushedBack();
        },
      };
    },
    async untilOpen() {
      for (let rest = pausedUntil - performance.now(); rest > 0; rest = pausedUntil - performance.now())
        await sleep(rest);
    },
    limit: () => Math.floor(limit),
  };
}

async function sendBatch(
  graph: GraphClient,
  paths: readonly string[],
  slots: Slots,
): Promise<(GraphAnswer | UsherError)[]> {
  const { end, refused } = slots.begin();
  const result = { throttled: 0, of: paths.length, load: 0 };
  try {
    const outer = await sendPatiently(graph, paths, slots, refused);
    result.load = outer.load;
    if (outer.status >= 300 || !Array.isArray(outer.body.responses))
      throw new UsherError('graph_unavailable', `Microsoft Graph refused a batch (${outer.code ?? outer.status}).`);
    const answers = new Map(
      (outer.body.responses as { id?: unknown }[]).map((response) => [String(response.id), response]),
    );
    return paths.map((_path, index) => {
      const answer = readInner(answers.get(String(index + 1)));
      if (answer instanceof UsherError && answer.code === 'throttled') result.throttled += 1;
      return answer;
    });
  } catch (error) {
    if (!(error instanceof UsherError)) throw error;
    return paths.map(() => error);
  } finally {
    end(result);
  }
}

/** A batch that is refused as a whole comes again as a whole, once the whole connection may go on. */
async function sendPatiently(
  graph: GraphClient,
  paths: readonly string[],
  slots: Slots,
  refused: (pauseSeconds: number) => void,
): Promise<GraphAnswer> {
  let waited = 0;
  for (;;) {
    await slots.untilOpen();
    try {
      return await graph.send('POST', '/$batch', {
        requests: paths.map((url, index) => ({ id: String(index + 1), method: 'GET', url })),
      });
    } catch (error) {
      if (!(error instanceof UsherError) || error.code !== 'throttled') throw error;
      const seconds = error.retryAfterSeconds ?? 2;
      refused(seconds);
      waited += seconds;
      if (waited > patienceSeconds) throw error;
    }
  }
}

/** An outer 200 says nothing about what is inside; an id that does not come back is as good as a broken connection. */
function readInner(response: unknown): GraphAnswer | UsherError {
  const { status, headers, body } = (response ?? {}) as {
    status?: unknown;
    headers?: Record<string, unknown>;
    body?: unknown;
  };
  if (typeof status !== 'number')
    return new UsherError('graph_unavailable', 'A batch came back without one of its answers.');
  const retryAfter = Object.entries(headers ?? {}).find(([name]) => name.toLowerCase() === 'retry-after')?.[1];
  if (status === 401) return new UsherError('graph_unavailable', 'The token ended inside a batch.');
  try {
    const whole = body !== null && typeof body === 'object' ? (body as Record<string, unknown>) : {};
    return judge(status, whole, { retryAfter: retryAfter === undefined ? null : String(retryAfter) });
  } catch (error) {
    if (error instanceof UsherError) return error;
    throw error;
  }
}
