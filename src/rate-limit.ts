/** How often somebody may ask: a bucket per name that fills by the second. In memory: each process guards itself. */
import { UsherError } from './errors.ts';

export interface RateLimit {
  /** Throws `rate_limited` with the seconds to wait. */
  take(name: string, perSecond: number, burst: number): void;
  /** Whether there is any left, without taking. */
  check(name: string, perSecond: number, burst: number): void;
}

const mostNames = 10_000;

export function openRateLimit(now: () => number): RateLimit {
  const buckets = new Map<string, { left: number; at: number }>();
  const fill = (name: string, perSecond: number, burst: number) => {
    const at = now();
    const bucket = buckets.get(name) ?? { left: burst, at };
    const filled = { left: Math.min(burst, bucket.left + ((at - bucket.at) / 1000) * perSecond), at };
    buckets.delete(name);
    buckets.set(name, filled);
    if (buckets.size > mostNames) buckets.delete(buckets.keys().next().value ?? '');
    return filled;
  };
  const refuse = (left: number, perSecond: number): never => {
    throw new UsherError('rate_limited', 'Too many requests.', {
      retryAfterSeconds: Math.max(1, Math.ceil((1 - left) / perSecond)),
    });
  };
  return {
    take(name, perSecond, burst) {
      const bucket = fill(name, perSecond, burst);
      if (bucket.left < 1) refuse(bucket.left, perSecond);
      bucket.left -= 1;
    },
    check(name, perSecond, burst) {
      const bucket = fill(name, perSecond, burst);
      if (bucket.left < 1) refuse(bucket.left, perSecond);
    },
  };
}
