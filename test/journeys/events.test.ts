/** Whoever watches is told that something changed, and reads what it is now where it is. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { adminToken, call, eventually, scimUser, startUsher, type Usher } from '../ground/usher.ts';

let usher: Usher;
beforeAll(async () => {
  usher = await startUsher();
});
afterAll(() => usher.close());

interface Told {
  event: string;
  // biome-ignore lint/suspicious/noExplicitAny: a test reads what came
  data: any;
}

/** Reads the stream as a browser does. */
async function watch(at: Usher): Promise<{ told: Told[]; headers: Headers; ended: Promise<void>; close(): void }> {
  const stop = new AbortController();
  const response = await fetch(`${at.address}/api/v1/events`, {
    headers: { authorization: `Bearer ${adminToken}` },
    signal: stop.signal,
  });
  const told: Told[] = [];
  const read = async (): Promise<void> => {
    let text = '';
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      text += new TextDecoder().decode(chunk);
      for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
        const event = /^event: (.*)$/m.exec(text.slice(0, end))?.[1];
        const data = /^data: (.*)$/m.exec(text.slice(0, end))?.[1];
        if (event && data) told.push({ event, data: JSON.parse(data) });
        text = text.slice(end + 2);
      }
    }
  };
  const ended = read().catch(() => undefined);
  return { told, headers: response.headers, ended, close: () => stop.abort() };
}

test('whoever is worked on is named; an import shows how far it is; whoever does not watch costs nothing', async () => {
  const before = await usher.scim('POST', '/Users', scimUser('before'));
  expect(before.status).toBe(201);
  const watching = await watch(usher);
  expect(watching.headers.get('content-type')).toContain('text/event-stream');
  await eventually(
    () => Promise.resolve(watching.told),
    (told) => told.some(({ event }) => event === 'hello'),
  );
  // The first look only says where history stands.
  await new Promise((resolve) => setTimeout(resolve, 1500));
  await usher.scim('POST', '/Users', scimUser('ana.ruiz'));
  const { personId } = (await usher.api('GET', '/people/ana.ruiz@contoso.com')).body;
  await eventually(
    () => Promise.resolve(watching.told),
    (told) => told.some(({ event, data }) => event === 'people' && data.personIds.includes(personId)),
  );
  const run = await usher.api('POST', '/runs/reconcile', {});
  await eventually(
    () => Promise.resolve(watching.told),
    (told) => told.some(({ event, data }) => event === 'run' && data.runId === run.body.runId && data.state === 'done'),
  );
  await usher.api('POST', '/sources/scim/pause');
  await eventually(
    () => Promise.resolve(watching.told),
    (told) => told.some(({ event }) => event === 'attention'),
  );
  // Nothing is said twice: once all is quiet, so is the stream.
  await new Promise((resolve) => setTimeout(resolve, 6000));
  const quiet = watching.told.length;
  await new Promise((resolve) => setTimeout(resolve, 3000));
  expect(watching.told.length).toBe(quiet);
  watching.close();
}, 60_000);

test('needs somebody who may read, and ends with the server', async () => {
  expect((await call(`${usher.address}/api/v1/events`, 'GET', undefined, {})).status).toBe(401);
  // Whoever signs out is told nothing more.
  const begun = await call(
    `${usher.address}/api/v1/session`,
    'POST',
    { token: adminToken },
    { 'content-type': 'application/json' },
  );
  const cookie = (begun.headers.get('set-cookie') ?? '').split(';')[0] ?? '';
  const mine = await fetch(`${usher.address}/api/v1/events`, { headers: { cookie } });
  expect(mine.status).toBe(200);
  await call(`${usher.address}/api/v1/session`, 'DELETE', undefined, { cookie, origin: usher.address });
  await mine.text();

  const other = await startUsher({ databaseUrl: usher.databaseUrl, workers: false });
  const watching = await watch(other);
  const startedAt = Date.now();
  await other.close();
  await watching.ended;
  expect(Date.now() - startedAt).toBeLessThan(5000);
}, 30_000);
