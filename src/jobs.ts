/** All queues in one place: their names, how many people each works on at once, and the limits of hints. */
import type { QueueName } from './ports.ts';

export const queueConcurrency: Record<QueueName, number> = {
  'create-user': 8,
  // Many at once, because they are gathered into batches of 20; how many batches run is found out.
  'check-delegation': 100,
  'assign-license': 8,
  'assign-booking-pages': 8,
  offboard: 4,
  express: 4,
};

export const queueNames = Object.keys(queueConcurrency) as QueueName[];

/** The backlog is the table; a queue holds no more than this many hints. */
export const mostHintsPerQueue = 5000;

/** How long a worker may hold a person. An effect is time-boxed well below, so that a takeover never meets a running one. Seconds. */
export const leaseSeconds = 30;
export const effectSeconds = 20;

/** How often the due list is read. Milliseconds. */
export const sweepEveryMs = 2000;

/** How many people one sweep takes. */
export const sweepBatch = 500;
