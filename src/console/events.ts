/** `/api/v1/events`: what changed is asked for anew; nothing is kept here that the API does not have. */
import { type QueryClient, useQueryClient } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import type { Import } from './api.ts';

export function useEvents(enabled: boolean): 'live' | 'away' {
  const client = useQueryClient();
  const [state, setState] = useState<'live' | 'away'>('live');
  useEffect(() => {
    if (!enabled) return;
    const source = new EventSource('/api/v1/events');
    const anew = gather(client);
    let wasAway = false;
    source.addEventListener('hello', () => {
      setState('live');
      // What changed while nobody listened.
      if (wasAway) void client.invalidateQueries();
      wasAway = false;
    });
    source.onerror = () => {
      wasAway = true;
      setState('away');
    };
    source.addEventListener('people', (event) => {
      const { personIds } = JSON.parse(event.data) as { personIds: string[] };
      anew(['summary'], ['people'], ['delegation'], ...personIds.map((id) => ['person', id]));
    });
    source.addEventListener('import', (event) => {
      const { importId, state: now, progress } = JSON.parse(event.data) as Import;
      client.setQueryData<Import>(['import', importId], (known) => known && { ...known, state: now, progress });
      anew(['imports']);
    });
    source.addEventListener('run', (event) =>
      anew(['runs'], ['run', (JSON.parse(event.data) as { runId: string }).runId]),
    );
    source.addEventListener('attention', () => anew(['alerts'], ['tasks'], ['runs'], ['sources']));
    return () => source.close();
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
      for (const queryKey of waiting.values()) void client.invalidateQueries({ queryKey });
      waiting.clear();
    }, 1000);
  };
}
