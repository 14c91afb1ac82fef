/** Prometheus metrics; one registry a process, handed in. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

export type Metrics = ReturnType<typeof openMetrics>;

export function openMetrics() {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  return {
    registry,
    requests: new Counter({
      name: 'usher_http_requests_total',
      help: 'HTTP requests by area, method and status.',
      labelNames: ['area', 'method', 'status'],
      registers: [registry],
    }),
    steps: new Counter({
      name: 'usher_steps_total',
      help: 'Steps run, by step and outcome.',
      labelNames: ['step', 'outcome'],
      registers: [registry],
    }),
    stepSeconds: new Histogram({
      name: 'usher_step_seconds',
      help: 'How long a step took.',
      labelNames: ['step'],
      buckets: [0.005, 0.02, 0.1, 0.5, 2, 10],
      registers: [registry],
    }),
    sweptBack: new Counter({
      name: 'usher_swept_back_total',
      help: 'People whose time had come and who were hinted again.',
      registers: [registry],
    }),
    hintsDropped: new Counter({
      name: 'usher_hints_dropped_total',
      help: 'Hints that a full or absent queue did not take; the sweeper brings them back.',
      registers: [registry],
    }),
    ready: new Gauge({
      name: 'usher_people_ready',
      help: 'People who are Ready, at the last summary.',
      registers: [registry],
    }),
  };
}
