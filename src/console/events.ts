/** `/api/v1/events`: what changed is asked for anew; nothing is kept here that the API does not have. */
import { type Query, type QueryClient, useQueryClient } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import type { Import } from './api.ts';

export function useEvents(enabled: boolean): 'live' | 'away' {
  const client = useQueryClient();
  const [state, setState] = useState<'live' | 'away'>('live');
  useEffect(() => {
    if (!enabled) return;
    const anew = gather(client);
    let source: EventSource;
    let timer: number | undefined;
    let wasAway = false;
    const open = (): void => {
      source = new EventSource('/api/v1/events');
      source.addEventListener('hello', () => {
        setState('live');
        // What changed while nobody listened.
        if (wasAway) void client.invalidateQueries();
        wasAway = false;
      });
      source.onerror = () => {
        wasAway = true;
        setState('away');
        // An answer that was no stream ends it for good: a proxy whose server was away, say.
        if (source.readyState !== EventSource.CLOSED) return;
        // Or whoever looks is signed out, elsewhere perhaps, or may less than before: asking finds out.
        void client.invalidateQueries({ queryKey: ['session'] });
        timer = window.setTimeout(open, 3000);
      };
      source.addEventListener('people', (event) => {
        const { personIds, more } = JSON.parse(event.data) as { personIds: string[]; more: boolean };
        anew(['summary'], ['people'], ['delegation'], ...(more ? [['person']] : personIds.map((id) => ['person', id])));
      });
      source.addEventListener('import', (event) => {
        const { importId, state: now, progress } = JSON.parse(event.data) as Import;
        client.setQueryData<Import>(['import', importId], (known) => known && { ...known, state: now, progress });
        anew(['imports'], ['import', importId, 'pace']);
      });
      source.addEventListener('run', (event) =>
        anew(['runs'], ['run', (JSON.parse(event.data) as { runId: string }).runId]),
      );
      source.addEventListener('attention', () => anew(['alerts'], ['tasks'], ['runs'], ['sources']));
    };
    open();
    return () => {
      clearTimeout(timer);
      source.close();
    };
  }, [client, enabled]);
  return state;
}

/** Asked for once a second at most, however much is told. */
function gather(client: QueryClient): (...keys: string[][]) => void {
  const waiting = new Map<string, string[]>();
  let timer: number | undefined;
  return (...keys) => {
    for (const key of keys) waiting.set(key.join('/'), key);
    if (timer !== undefined) return;
    timer = window.setTimeout(() => {
      timer = undefined;
      for (const queryKey of waiting.values()) void client.invalidateQueries({ queryKey, predicate: isSmall });
      waiting.clear();
    }, 1000);
  };
}

/** A long list is not read anew at each change: it is when one comes back to it. */
function isSmall({ state }: Query): boolean {
  const { pages, items } = (state.data ?? {}) as { pages?: unknown[]; items?: unknown[] };
  return (pages?.length ?? 0) <= 2 && (items?.length ?? 0) <= 500;
}
