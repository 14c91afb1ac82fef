/** Lists read whole and kept for a while: one reading serves everybody who asks. A reading that must stop half-way goes on where it was. */
import { UsherError } from '../errors.ts';
import type { OnceHubCall } from './client.ts';
import type { Share } from './pace.ts';

export interface Gathered<T> {
  /** Read no earlier than this; throws what the reading throws. */
  get(share: Share, notBefore: number): Promise<{ items: T[]; readAt: number }>;
  /** What we changed ourselves is known without reading it again. */
  amend(change: (items: T[]) => T[]): void;
  /** Something happened that nobody knows the end of. */
  forget(): void;
}

/** A list of some tens of thousands is the vendor's largest account many times over. */
const mostPages = 1000;

export function gather<T>(
  call: OnceHubCall,
  path: string,
  read: (item: unknown) => T,
  now: () => number,
  /** Asked before an empty list is believed; throws where it may not be. */
  mayBeEmpty: (share: Share) => Promise<void> = () => Promise.resolve(),
): Gathered<T> {
  let kept: { items: T[]; readAt: number } | undefined;
  let partial: { items: T[]; after: string | null; startedAt: number } | undefined;
  let running: Promise<{ items: T[]; readAt: number }> | undefined;

  const readOn = async (share: Share, notBefore: number): Promise<{ items: T[]; readAt: number }> => {
    // The age is that of its first page: what came later may be newer, never older.
    if (!partial || partial.startedAt < notBefore || now() - partial.startedAt > 600_000)
      partial = { items: [], after: null, startedAt: now() };
    for (let page = 0; ; page++) {
      const query = new URLSearchParams({ limit: '100' });
      if (partial.after) query.set('after', partial.after);
      const { status, body, message } = await call(
        page === 0 ? share : 'follow',
        'GET',
        `${path}${path.includes('?') ? '&' : '?'}${query}`,
      );
      if (status !== 200 || !Array.isArray(body.data)) {
        partial = undefined;
        throw new UsherError('account_unavailable', `OnceHub does not give the list ${path}: ${message}.`);
      }
      const data = body.data as { id?: unknown }[];
      partial.items.push(...data.map(read));
      const last = data.at(-1)?.id;
      if (body.has_more !== true) break;
      if (typeof last !== 'string' || last === partial.after || page > mostPages) {
        partial = undefined;
        throw new UsherError('account_unavailable', `OnceHub’s list ${path} does not come to an end.`);
      }
      partial.after = last;
    }
    if (partial.items.length === 0) {
      const { startedAt } = partial;
      partial = undefined;
      await mayBeEmpty('follow');
      kept = { items: [], readAt: startedAt };
      return kept;
    }
    kept = { items: partial.items, readAt: partial.startedAt };
    partial = undefined;
    return kept;
  };

  return {
    async get(share, notBefore) {
      if (kept && kept.readAt >= notBefore) return kept;
      // A reading that began too early serves whoever asked then, and the next one those who ask now.
      for (let other = running; other !== undefined; other = running) {
        // What another's reading failed at may not stop this one: it has its own patience.
        const read = await other.catch(() => null);
        if (read && read.readAt >= notBefore) return read;
      }
      running = readOn(share, notBefore).finally(() => {
        running = undefined;
      });
      return running;
    },
    forget() {
      kept = undefined;
    },
    amend(change) {
      if (kept) kept = { ...kept, items: change(kept.items) };
    },
  };
}
