import { expect, jest, test } from '@jest/globals';
import { openBatch } from '../../src/graph/batch.ts';
import type { GraphClient } from '../../src/graph/client.ts';

test('nobody is lost on a machine that stands still for a moment while a batch is opened', async () => {
  // Between any two looks at the clock more time passes than an open batch waits for company.
  let clock = 0;
  jest.spyOn(performance, 'now').mockImplementation(() => {
    clock += 20;
    return clock;
  });
  const asked: number[] = [];
  const graph: GraphClient = {
    get: () => Promise.reject(new Error('only batches are sent here')),
    owns: () => true,
    send: (_method, _path, body) => {
      const { requests } = body as { requests: { id: string }[] };
      asked.push(requests.length);
      const responses = requests.map(({ id }) => ({ id, status: 200, body: { value: [] } }));
      return Promise.resolve({ status: 200, code: null, body: { responses }, location: null, load: 0 });
    },
  };
  const batch = openBatch(graph);
  const answers = await Promise.all(Array.from({ length: 90 }, (_one, n) => batch.get(`/users/${n}`, `user${n}`)));
  expect(answers).toHaveLength(90);
  expect(asked.reduce((sum, count) => sum + count, 0)).toBe(90);
}, 10_000);
