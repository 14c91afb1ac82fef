/** Asks again and again until closed, never twice at once. `ask` is told when it is to stop; answers how to close, which waits for what runs. */
export function keepAsking(
  ask: (stopped: () => boolean) => Promise<unknown>,
  everyMs: number,
  onError: (error: unknown) => void,
): () => Promise<void> {
  let stopped = false;
  let running: Promise<unknown> = Promise.resolve();
  let idle = true;
  const timer = setInterval(() => {
    if (!idle) return;
    idle = false;
    running = ask(() => stopped)
      .catch(onError)
      .finally(() => {
        idle = true;
      });
  }, everyMs);
  return async () => {
    stopped = true;
    clearInterval(timer);
    await running;
  };
}
