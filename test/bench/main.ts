import { account } from './account.ts';
import { graph, graphTenant } from './graph.ts';
import { latency } from './latency.ts';
import { onboard } from './onboard.ts';
import { oncehub } from './oncehub.ts';
import { scim, scimFloor } from './scim.ts';

const benches: Record<string, () => Promise<void>> = { latency, scim, graph, account, oncehub, onboard };
const wanted = process.argv.slice(2);
if (wanted[0] === 'scim-floor') await scimFloor(Number(wanted[1]), wanted[2] ?? '');
if (wanted[0] === 'graph-tenant') await graphTenant(Number(wanted[1]), Number(wanted[2]), Number(wanted[3]));
for (const [name, run] of Object.entries(benches)) if (wanted.length === 0 || wanted.includes(name)) await run();
process.exit(0);
