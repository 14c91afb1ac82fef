/** From the SCIM create to Ready, one person at a time on an idle machine: median and worst of thirty, on both queues. */

import { contosoPeople } from '../../src/sandbox/contoso.ts';
import { startServers } from '../ground/servers.ts';
import { eventually, plainPolicy, scimUser, startUsher } from '../ground/usher.ts';

export async function latency(): Promise<void> {
  const servers = await startServers();
  process.env.TEST_EMBEDDED_URL = servers.embeddedUrl;
  process.env.TEST_SERVER_URL = servers.serverUrl;
  process.env.TEST_REDIS_URL = servers.redisUrl;
  try {
    for (const [name, backend, queue] of [
      ['embedded PostgreSQL, its own queue', 'embedded PostgreSQL', 'postgres'],
      ['server PostgreSQL, Redis', 'server PostgreSQL', 'redis'],
    ] as const) {
      const usher = await startUsher({ backend, queue, policy: plainPolicy });
      // Everybody's calendar is delegated here: the way is measured, not the gaps.
      const delegated =
        usher.sandbox.tenant.users.find((user) => user.userPrincipalName.startsWith('ana.ruiz'))?.calendarPermissions ??
        [];
      for (const user of usher.sandbox.tenant.users)
        Object.assign(user, { mailbox: 'cloud', calendarPermissions: delegated });
      await usher.running.makePages(contosoPeople.map((person) => person.local));
      const times: number[] = [];
      for (const { local } of contosoPeople) {
        const started = performance.now();
        await usher.scim('POST', '/Users', scimUser(local));
        await eventually(
          async () => (await usher.api('GET', `/people/${local}@contoso.com`)).body,
          (body) => body.ready === true,
        );
        times.push(performance.now() - started);
      }
      times.sort((a, b) => a - b);
      console.log(
        `${name}: median ${Math.round(times[15] ?? 0)} ms, worst ${Math.round(times.at(-1) ?? 0)} ms of ${times.length} (looked at every 50 ms)`,
      );
      await usher.close();
    }
  } finally {
    await servers.close();
  }
}
