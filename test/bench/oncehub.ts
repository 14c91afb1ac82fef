/**
 * A thousand people into a OnceHub account at its real limits, on a clock that runs a minute in a second: requests a person, and how long it takes beside
 * what the plan said beforehand. The administrator's hands are as quick as the sheets come.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { OnceHubSandbox } from '../../src/sandbox/oncehub.ts';
import { workThroughSheets } from '../ground/oncehub-administrator.ts';
import { startServers } from '../ground/servers.ts';
import { adminToken, call, startUsher } from '../ground/usher.ts';

const count = Number(process.env.BENCH_PEOPLE ?? 1000);
const clockSpeed = Number(process.env.BENCH_SPEED ?? 60);
const policy = `
account: { kind: oncehub, pools: { scheduled-meetings: ${count} }, nativeProvisioning: off }
delegation: ignored
sources: [{ name: csv, kind: csv, domains: [contoso.com] }]
rules: [{ name: Everybody, bookingPages: ["{userName.local}"] }]
bookingPages: { takeFrom: [admin@contoso.com] }
`;

export async function oncehub(): Promise<void> {
  const servers = await startServers();
  process.env.TEST_EMBEDDED_URL = servers.embeddedUrl;
  process.env.TEST_SERVER_URL = servers.serverUrl;
  process.env.TEST_REDIS_URL = servers.redisUrl;
  const usher = await startUsher({
    backend: 'server PostgreSQL',
    queue: 'redis',
    policy,
    // Of five a second, a sixtieth of a second is too short to tell from jitter; two hundred in five minutes is what holds everybody up.
    oncehub: {
      clockSpeed,
      userLimit: count + 10,
      seatsBought: count + 10,
      limits: { perSecond: 50, perWindow: 200, windowSeconds: 300 },
    },
  });
  const sandbox = usher.oncehub as OnceHubSandbox;
  try {
    for (let index = 0; index < count; index += 2)
      sandbox.administrator.createPage(`person.${index}`, 'USR-ADMIN0000001');
    const rows = Array.from(
      { length: count },
      (_one, index) => `person.${index}@contoso.com,Person,Number ${index},person.${index}@contoso.com`,
    );
    const plan = await call(
      `${usher.address}/api/v1/imports?name=people.csv`,
      'POST',
      ['userName,givenName,familyName,email', ...rows].join('\n'),
      { authorization: `Bearer ${adminToken}`, 'content-type': 'text/csv' },
    );
    const expected = plan.body.summary.secondsExpected * clockSpeed;
    const before = sandbox.account.requests.length;
    const startedAt = Date.now();
    await usher.api('POST', `/imports/${plan.body.importId}/apply`);
    let words = 0;
    let ready = 0;
    let firstReady = 0;
    for (let shown = 0; ready < count; ) {
      words += await workThroughSheets(usher, sandbox);
      ready = (await usher.api('GET', '/summary')).body.ready;
      if (ready > 0 && firstReady === 0) firstReady = Date.now() - startedAt;
      if (Date.now() - shown > 15_000) {
        shown = Date.now();
        console.log(`  ${minutes(Date.now() - startedAt)} min: ${ready} Ready, ${words} words said`);
      }
      await sleep(250);
    }
    const took = Date.now() - startedAt;
    const requests = sandbox.account.requests.slice(before);
    const refused = requests.filter((request) => request.status === 429).length;
    console.log(`people                    ${count}`);
    console.log(
      `requests                  ${requests.length}, ${(requests.length / count).toFixed(2)} a person, ${refused} refused`,
    );
    for (const [what, number] of Object.entries(tally(requests.map(({ method, path }) => `${method} ${shape(path)}`))))
      console.log(`  ${what.padEnd(34)} ${number}`);
    console.log(`the plan said             ${(expected / 60).toFixed(0)} min of the vendor's clock`);
    console.log(`it took                   ${minutes(took)} min; the first was Ready after ${minutes(firstReady)} min`);
    console.log(`tasks said to be done     ${words}`);
  } finally {
    await usher.close();
    await servers.close();
  }
}

const minutes = (realMs: number): string => ((realMs * clockSpeed) / 60_000).toFixed(1);
const shape = (path: string): string =>
  path
    .replace(/USR-\w+/g, 'ID')
    .replace(/email=[^&]+/, 'email=')
    .replace(/after=[^&]+/, 'after=');

function tally(list: string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const one of list) counts[one] = (counts[one] ?? 0) + 1;
  return counts;
}
