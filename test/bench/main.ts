import { latency } from './latency.ts';

const benches: Record<string, () => Promise<void>> = { latency };
const wanted = process.argv.slice(2);
for (const [name, run] of Object.entries(benches)) if (wanted.length === 0 || wanted.includes(name)) await run();
process.exit(0);
