/** Requests in the works, counted; steps of the same process give way to them, but never stop. */
export interface InFlight {
  begin(): void;
  end(): void;
  /** Resolves when hardly anybody waits for an answer; while many do, for one caller after the other, a few a second. */
  quiet(): Promise<void>;
}

/** Up to this many requests at once are no crowd. */
const crowd = 1;
const lookAgainMs = 25;
/** What still gets through a crowd. */
const throughEveryMs = 250;

export function countInFlight(): InFlight {
  let running = 0;
  let nextThroughAt = 0;
  return {
    begin() {
      running += 1;
    },
    end() {
      running -= 1;
    },
    async quiet() {
      while (running > crowd) {
        if (performance.now() >= nextThroughAt) {
          nextThroughAt = performance.now() + throughEveryMs;
          return;
        }
        await new Promise((resolve) => setTimeout(resolve, lookAgainMs));
      }
    },
  };
}
