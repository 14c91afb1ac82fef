import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { freePort } from '../ground/servers.ts';
import { eventually, startProcess } from '../ground/usher.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'usher-demo-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test('the demo ends with a table of who is Ready, finds its data again, and leaves nothing behind', async () => {
  const port = await freePort();
  const env = { USHER_PORT: String(port), USHER_DATA_DIR: folder };
  const ready = /(\d+) of (\d+) people are Ready/;
  const addresses: string[] = [];
  for (const start of ['first', 'second']) {
    const demo = startProcess(['demo'], env);
    const output = await eventually(
      () => Promise.resolve(demo.output()),
      (text) => text.includes('Ctrl-C stops everything'),
      90_000,
    );
    expect(output).toContain(start === 'first' ? 'Contoso is founded' : 'found again');
    expect(ready.exec(output)?.slice(1)).toEqual(['22', '28']);
    expect(output).toMatch(/Seats «scheduled-meetings»: 23 of 23 assigned, 1 waiting/);
    for (const reason of ['not_delegated', 'shared_not_delegated', 'no_mailbox', 'no_seats_left', 'suspended'])
      expect(output).toContain(reason);
    expect(output).toContain('Exchange admin');
    addresses.push(/SCIM +(http\S+)/.exec(output)?.[1] ?? '');

    const status = startProcess(['status', 'chidi.okafor@contoso.com'], env);
    expect(await status.exited).toBe(0);
    expect(status.output()).toContain('not_delegated');

    demo.child.kill('SIGINT');
    expect(await demo.exited).toBe(0);
    // The port is free again.
    await new Promise<void>((resolve, reject) => {
      const server = createServer();
      server.once('error', reject);
      server.listen(port, '127.0.0.1', () => server.close(() => resolve()));
    });
  }
  expect(addresses).toEqual(Array(2).fill(`http://127.0.0.1:${port}/scim/v2`));
}, 180_000);
