/**
 * `/api/v1/events`: server-sent events (HTML Living Standard, section 9.2) for whoever watches. An event says that something changed, and of whom; what it is now
 * is read where it is: nothing is told here that a request would not tell.
 *
 * | event | data |
 * |---|---|
 * | `people` | `personIds`: whose history grew, up to a hundred; `more`: others, too |
 * | `import` | `importId`, `state`, `progress` |
 * | `run` | `runId`, `kind`, `state` |
 * | `attention` | an alert, an open task, a held removal or a paused source came or went |
 *
 * One look a second for all who watch in this process, and none while nobody does.
 */
import type { Response } from 'express';
import { mayDo } from '../domain/roles.ts';
import { UsherError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { ImportStore, Pulse, PulseStore } from '../ports.ts';
import { type CallerParts, identify } from './caller.ts';
import { type Route, route } from './route.ts';

export interface EventParts extends CallerParts {
  events: Watched;
}

export interface Watched {
  /** `mayStill` is asked now and then: a stream does not outlive the session, the token or the role that opened it. */
  add(response: Response, mayStill: () => Promise<boolean>): void;
  close(): void;
}

const everyMs = 1000;
const beatMs = 5000;
const mostUnread = 1_000_000;
const mostWatching = 500;
const mostPeople = 100;
const mostRows = 2000;
/** A row may commit behind one with a higher number: so many looks back are read again. */
const looksBack = 4;

export function openEvents(store: PulseStore & Pick<ImportStore, 'importProgress'>, log: Log): Watched {
  const watching = new Map<Response, () => Promise<boolean>>();
  let timer: NodeJS.Timeout | undefined;
  let floors: string[] = [];
  let seen = new Set<string>();
  let told = new Map<string, string>();
  let beatAt = 0;

  const send = (event: string, data: unknown): void => {
    const text = `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
    for (const response of watching.keys()) {
      // Whoever does not read any more is let go, and comes back.
      if (response.writableLength > mostUnread) response.destroy();
      else response.write(text);
    }
  };
  /** Only what is otherwise than at the last look. */
  const tellOnce = (event: string, key: string, data: unknown): void => {
    const text = JSON.stringify(data);
    if (told.get(key) === text) return;
    told.set(key, text);
    send(event, data);
  };

  async function look(): Promise<void> {
    const first = floors.length === 0;
    const pulse: Pulse = await store.pulse(floors[0] ?? null, mostRows);
    floors = [...floors, pulse.historyId].slice(-looksBack);
    const fresh = pulse.changed.filter(({ id }) => !seen.has(id));
    seen = new Set(pulse.changed.map(({ id }) => id));
    const personIds = [...new Set(fresh.map(({ personId }) => personId))];
    if (personIds.length > 0)
      send('people', { personIds: personIds.slice(0, mostPeople), more: personIds.length > mostPeople });
    for (const { importId, state } of pulse.imports)
      tellOnce('import', importId, { importId, state, progress: await store.importProgress(importId) });
    for (const run of pulse.runs) tellOnce('run', run.runId, run);
    if (first) told.set('attention', JSON.stringify({ mark: pulse.mark }));
    tellOnce('attention', 'attention', { mark: pulse.mark });
    if (Date.now() - beatAt > beatMs) {
      beatAt = Date.now();
      for (const [response, mayStill] of watching)
        if (await mayStill()) response.write(': still here\n\n');
        else response.end();
    }
  }

  const plan = (): void => {
    timer = setTimeout(() => {
      look()
        .catch((error: unknown) => log.debug({ err: error }, 'what changed could not be looked at'))
        .finally(() => {
          if (watching.size > 0) plan();
          else stop();
        });
    }, everyMs);
  };
  const stop = (): void => {
    clearTimeout(timer);
    timer = undefined;
    floors = [];
    seen = new Set();
    told = new Map();
  };

  return {
    add(response, mayStill) {
      if (watching.size >= mostWatching) throw new UsherError('too_many', 'Too many watch here already.');
      response.set({ 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store', 'X-Accel-Buffering': 'no' });
      response.flushHeaders();
      // Whoever was cut off reads everything anew: what was missed meanwhile is not kept.
      response.write('retry: 2000\nevent: hello\ndata: {}\n\n');
      watching.set(response, mayStill);
      response.on('close', () => watching.delete(response));
      if (!timer) plan();
    },
    close() {
      for (const response of watching.keys()) response.end();
      watching.clear();
      stop();
    },
  };
}

export function eventRoutes(parts: EventParts): Route[] {
  const { events } = parts;
  return [
    route({
      method: 'get',
      path: '/events',
      tag: 'Events',
      summary:
        'Server-sent events: people, import, run, attention. Each says what changed; what it is now is read where it is',
      operation: 'people.read',
      answers: {
        200: { description: 'A stream that ends when the caller closes it.', contentType: 'text/event-stream' },
      },
      async handle({ request, response }) {
        events.add(response, () =>
          identify(parts, request, 'events').then(
            ({ caller }) => mayDo(caller.asker, 'people.read').allowed,
            () => false,
          ),
        );
      },
    }),
  ];
}
