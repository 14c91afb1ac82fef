import { chromiumBinary } from './browser.ts';
import { type Servers, startServers } from './servers.ts';

/** Jest calls this once before all tests; the addresses reach them by the environment. */
// biome-ignore lint/style/noDefaultExport: Jest takes the setup from the default export only
export default async function setUp(): Promise<void> {
  const servers = await startServers();
  // Once, before any test: three files at once would each want to install it.
  process.env.TEST_CHROMIUM = chromiumBinary();
  process.env.TEST_EMBEDDED_URL = servers.embeddedUrl;
  process.env.TEST_SERVER_URL = servers.serverUrl;
  process.env.TEST_REDIS_URL = servers.redisUrl;
  (globalThis as { testServers?: Servers }).testServers = servers;
}
