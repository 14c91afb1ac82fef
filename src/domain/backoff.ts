/** Full jitter (the whole wait is random below the cap): 1 s doubling to 15 min, without end. Milliseconds. */
export function backoffMilliseconds(attempts: number, random: number): number {
  const cap = Math.min(15 * 60_000, 1000 * 2 ** Math.min(attempts, 20));
  return Math.max(200, Math.round(cap * random));
}
