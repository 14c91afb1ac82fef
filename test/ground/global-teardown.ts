import type { Servers } from './servers.ts';

// biome-ignore lint/style/noDefaultExport: Jest takes the teardown from the default export only
export default async function tearDown(): Promise<void> {
  await (globalThis as { testServers?: Servers }).testServers?.close();
}
