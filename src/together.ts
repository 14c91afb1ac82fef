/** Calls that come at the same moment are answered together: one statement for many people in place of one each. */
import DataLoader from 'dataloader';

export interface TogetherOptions<K, R> {
  /** Answers in the order of the keys; an `Error` fails only its own call. */
  all(keys: readonly K[]): Promise<(R | Error)[]>;
  /** Where `all` fails as a whole, each is tried alone: one that is refused fails nobody else. */
  alone?(key: K): Promise<R>;
  /** A failure of which nobody knows whether it was done all the same: nothing is tried again. */
  isUnknown?(error: unknown): boolean;
  most?: number;
}

/** How many of a kind are under way at once: whoever comes meanwhile waits for the next, which is the larger for it. */
const atOnce = 2;

export function together<K, R>({
  all,
  alone,
  isUnknown = () => false,
  most = 200,
}: TogetherOptions<K, R>): (key: K) => Promise<R> {
  const waiting: (() => void)[] = [];
  let running = 0;
  const pump = (): void => {
    while (running < atOnce && waiting.length > 0) {
      running += 1;
      waiting.shift()?.();
    }
  };
  const each = (keys: readonly K[], one: (key: K) => Promise<R>): Promise<(R | Error)[]> =>
    Promise.all(keys.map((key) => one(key).catch((error: unknown) => asError(error))));
  const loader = new DataLoader<K, R>(
    async (keys) => {
      try {
        const [only] = keys;
        if (alone && keys.length === 1 && only !== undefined) return await each(keys, alone);
        return await all(keys).catch((error: unknown) => {
          if (!alone || keys.length === 1 || isUnknown(error)) throw error;
          return each(keys, alone);
        });
      } finally {
        running -= 1;
        pump();
      }
    },
    {
      cache: false,
      maxBatchSize: most,
      batchScheduleFn: (dispatch) => {
        waiting.push(dispatch);
        setImmediate(pump);
      },
    },
  );
  return (key) => loader.load(key);
}

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)));
