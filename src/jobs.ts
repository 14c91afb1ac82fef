/** All queues in one place: their names, how many people each works on at once, and the limits of hints. */
import type { QueueName } from './ports.ts';

/** Many at once, because what they ask of PostgreSQL and of Microsoft Graph is asked together; how many batches Graph takes is found out. */
export const queueConcurrency: Record<QueueName, number> = {
  'create-user': 100,
  'check-delegation': 200,
  'assign-license': 100,
  'assign-booking-pages': 50,
  offboard: 4,
  express: 4,
};

/** Where every account request waits for its turn, more at once only wait inside their lease. */
export const pacedConcurrency = 8;

export const queueNames = Object.keys(queueConcurrency) as QueueName[];

/** The backlog is the table; a queue holds no more than this many hints. */
export const mostHintsPerQueue = 5000;

/** Of an import and of the sweep: so few that whoever comes by a source meanwhile is served in seconds. */
export const mostBulkHints = 1000;

/** Up to this many hints of one moment go before the others. */
export const aHandful = 10;

/** How long a worker may hold a person. An effect is time-boxed well below, so that a takeover never meets a running one. Seconds. */
export const leaseSeconds = 30;
export const effectSeconds = 20;

/** How often the due list is read. Milliseconds. */
export const sweepEveryMs = 2000;
/** While more people are due than the queues take. */
export const sweepSoonMs = 250;

/** How many people one sweep takes. */
export const sweepBatch = 500;
export const sweepAtLeast = 50;
