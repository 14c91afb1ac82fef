/** `usher demo`: the main job on the embedded default, with the sandbox, from a first start to people who can be booked. */
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { hashToken, newToken } from '../access.ts';
import { compose, type Running, type StartWorkers } from '../compose.ts';
import { parsePolicy, readSettings } from '../config.ts';
import { contoso, contosoPeople, contosoTenant } from '../sandbox/contoso.ts';
import { type Changes, playEntraCycle, playOktaCycle } from '../sandbox/providers.ts';
import { connectionTo, startSandbox } from '../sandbox/tenant.ts';
import { type ApiClient, keepTarget, keptTarget, openApiClient } from './api-client.ts';
import { type PersonShown, peopleTable, progressLine, type SummaryShown, summaryText } from './show.ts';

/** Of the thirty, two leave and five have a gap in the tenant: twenty-three need a seat. The founder has one too, so this is one too few. */
const seats = 23;

const policyText = `
account: { kind: builtin, plan: paid, pools: { scheduled-meetings: ${seats} } }
dedicatedMailbox: ${contoso.dedicatedMailbox}
delegation: required
sources:
  - { name: entra, kind: scim, domains: [${contoso.domain}], maximumRole: Member }
  - { name: okta, kind: scim, domains: [${contoso.domain}], maximumRole: Member }
  - { name: csv, kind: csv, domains: [${contoso.domain}] }
rules:
  - name: Everybody at Contoso
    when: { domain: ${contoso.domain} }
    role: Member
    licenses: [scheduled-meetings]
    bookingPages: ["{userName.local}"]
bookingPages: { takeFrom: [${contoso.founder}] }
leavers: { holdMinutes: 0, graceDays: 30 }
`;

const entraChanges: Changes = { renamed: { 'grazyna.wojcik': 'Nowak' }, disabled: ['ivan.petrov'] };
const oktaChanges: Changes = { renamed: { 'yara.said': 'Haddad' }, disabled: ['carmen.dangelo'] };

export async function demo(
  env: NodeJS.ProcessEnv,
  startWorkers: StartWorkers,
  say: (line: string) => void,
  stopped: AbortSignal,
): Promise<{ close(): Promise<void> }> {
  const settings = readSettings(env);
  const dataDir = path.join(settings.dataDir, 'demo');
  const sandbox = await startSandbox(contosoTenant());
  let running: Running | undefined;
  const close = async (): Promise<void> => {
    await running?.close();
    await sandbox.close();
  };
  try {
    const tokens = { entra: newToken('scim'), okta: newToken('scim') };
    const adminToken = env.USHER_ADMIN_TOKEN || (await keptTarget(dataDir))?.token || newToken('admin');
    running = await compose(
      {
        ...settings,
        port: env.USHER_PORT ? settings.port : await portOr(settings.port, settings.host),
        dataDir,
        databaseUrl: null,
        queueUrl: null,
        scimToken: null,
        adminToken,
        logLevel: env.USHER_LOG_LEVEL ? settings.logLevel : 'error',
        policy: parsePolicy(policyText, 'the demo policy'),
        graph: connectionTo(sandbox),
      },
      {
        http: true,
        startWorkers,
        fixedScimTokens: Object.entries(tokens).map(([source, token]) => ({ source, hash: hashToken(token) })),
      },
    );
    const address = running.address ?? '';
    await keepTarget(dataDir, { url: address, token: adminToken });
    const renamedPages = Object.entries({ ...entraChanges.renamed, ...oktaChanges.renamed }).map(
      ([local, name]) => `${local.split('.')[0]}.${name.toLowerCase()}`,
    );
    const pages = await running.makePages([...contosoPeople.map((person) => person.local), ...renamedPages]);

    say(
      running.founded
        ? 'Contoso is founded: one Administrator, one pool of seats, and Booking pages that nobody is bookable on yet.'
        : 'Contoso is here from an earlier start; its people are found again.',
    );
    say(`  database   embedded PostgreSQL, ${running.database}, in ${path.relative('.', dataDir) || dataDir}`);
    say(`  tenant     sandbox Microsoft 365 at ${sandbox.url}, ${sandbox.tenant.users.length} users`);
    say(
      `  account    ${seats} seats «scheduled-meetings», ${pages > 0 ? `${pages} Booking pages` : 'Booking pages as they were'}`,
    );
    say(`  SCIM       ${address}/scim/v2`);
    say('');

    const api = openApiClient({ url: address, token: adminToken });
    const entra = contosoPeople.filter((person) => person.provider === 'entra');
    const okta = contosoPeople.filter((person) => person.provider === 'okta');
    const scim = `http://127.0.0.1:${new URL(address).port}/scim/v2`;
    await Promise.all([
      playEntraCycle({ url: scim, token: tokens.entra }, entra, { renamed: {}, disabled: [] }, (what) =>
        say(`Entra ID   ${what}`),
      ),
      playOktaCycle({ url: scim, token: tokens.okta }, okta, { renamed: {}, disabled: [] }, (what) =>
        say(`Okta       ${what}`),
      ),
    ]);
    await watch(api, say, stopped);
    say('');
    await playEntraCycle({ url: scim, token: tokens.entra }, entra, entraChanges, (what) => say(`Entra ID   ${what}`));
    await playOktaCycle({ url: scim, token: tokens.okta }, okta, oktaChanges, (what) => say(`Okta       ${what}`));
    await watch(api, say, stopped);

    const { items } = (await api.get('/people?limit=200')) as unknown as { items: PersonShown[] };
    const order = (person: PersonShown) => (person.lifecycle !== 'wanted' ? 2 : person.ready ? 0 : 1);
    say('');
    say(peopleTable(items.sort((a, b) => order(a) - order(b) || a.userName.localeCompare(b.userName))));
    say('');
    say(summaryText((await api.get('/summary')) as unknown as SummaryShown));
    say('');
    say(
      `The API answers at ${address}/api/v1 with the admin token in ${path.join(path.relative('.', dataDir) || dataDir, 'cli.json')}. In another terminal:`,
    );
    say('  npx usher status                          everybody');
    say('  npx usher status chidi.okafor@contoso.com one person, each condition');
    say('  npx usher provision ana.ruiz@contoso.com  one person now, each step');
    say('  npx usher onboard people.csv              your own table: a plan first');
    say(`People sign in at ${address}/sign-in; the API is described at ${address}/docs.`);
    say('Ctrl-C stops everything; the data stays for the next start.');
    return { close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Until nothing moves any more: everybody was looked at, and nobody is on the way out. */
async function watch(api: ApiClient, say: (line: string) => void, stopped: AbortSignal): Promise<void> {
  let shown = '';
  let quietRounds = 0;
  const until = Date.now() + 120_000;
  while (quietRounds < 4 && Date.now() < until && !stopped.aborted) {
    const summary = (await api.get('/summary')) as unknown as SummaryShown;
    const line = progressLine(summary);
    if (line !== shown) say(`           ${line}`);
    const unfinished =
      Object.values(summary.conditions).some((counts) => (counts.unknown.not_checked_yet ?? 0) > 0) ||
      (summary.lifecycles.leaving ?? 0) > 0 ||
      Object.values(summary.licenses).some(
        (counts) => counts.bought !== null && counts.bought > counts.assigned && counts.waiting > 0,
      );
    quietRounds = line === shown && !unfinished ? quietRounds + 1 : 0;
    shown = line;
    await sleep(150, undefined, { signal: stopped }).catch(() => undefined);
  }
}

/** The wished port, or any other where that one is taken: a demo never fails because of somebody else's server. */
async function portOr(port: number, host: string): Promise<number> {
  const { createServer } = await import('node:net');
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(0));
    server.listen(port, host, () => server.close(() => resolve(port)));
  });
}
