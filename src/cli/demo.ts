/** `usher demo`: the main job on the embedded default, with the sandbox, from a first start to people who can be booked. */
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { hashToken, newToken } from '../access.ts';
import { compose, type Running, type StartWorkers } from '../compose.ts';
import { parsePolicy, readSettings } from '../config.ts';
import { contoso, contosoPeople, contosoTenant } from '../sandbox/contoso.ts';
import { newOnceHubAccount, type OnceHubSandbox, startOnceHub } from '../sandbox/oncehub.ts';
import { type Changes, playEntraCycle, playOktaCycle } from '../sandbox/providers.ts';
import { connectionTo, startSandbox } from '../sandbox/tenant.ts';
import { type ApiClient, keepTarget, keptTarget, openApiClient } from './api-client.ts';
import { type PersonShown, peopleTable, progressLine, type SummaryShown, summaryText } from './show.ts';

/** Five minutes of OnceHub's limits in as many seconds. */
const clockSpeed = 60;

/** Of the thirty, two leave and five have a gap in the tenant: twenty-three need a seat. The founder has one too, so this is one too few. */
const seats = 23;

const policyText = (account: string) => `
account: { ${account}, pools: { scheduled-meetings: ${seats} } }
dedicatedMailbox: ${contoso.dedicatedMailbox}
delegation: required
sources:
  - { name: entra, kind: scim, domains: [${contoso.domain}], maximumRole: Member }
  - { name: okta, kind: scim, domains: [${contoso.domain}], maximumRole: Member }
  - { name: csv, kind: csv, domains: [${contoso.domain}] }
  - { name: console, kind: console, domains: [${contoso.domain}] }
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
  kind: 'builtin' | 'oncehub' = 'builtin',
): Promise<{ close(): Promise<void> }> {
  const settings = readSettings(env);
  const dataDir = path.join(settings.dataDir, kind === 'builtin' ? 'demo' : 'demo-oncehub');
  // The make-believe account forgets everything when it stops: so does what was known of it.
  if (kind === 'oncehub') await rm(dataDir, { recursive: true, force: true });
  const oncehub = kind === 'oncehub' ? await startOnceHub(newOnceHubAccount({ clockSpeed })) : null;
  const sandbox = await startSandbox(contosoTenant());
  let running: Running | undefined;
  const close = async (): Promise<void> => {
    await running?.close();
    await sandbox.close();
    await oncehub?.close();
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
        policy: parsePolicy(
          policyText(oncehub ? 'kind: oncehub, nativeProvisioning: off' : 'kind: builtin, plan: paid'),
          'the demo policy',
        ),
        graph: connectionTo(sandbox),
        oncehub: oncehub && { baseUrl: oncehub.url, apiKeys: [oncehub.apiKey], clockSpeed },
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
    const linkNames = [...contosoPeople.map((person) => person.local), ...renamedPages];
    const pages = oncehub ? makePagesByHand(oncehub, linkNames) : await running.makePages(linkNames);

    say(
      oncehub
        ? 'Contoso has a OnceHub account: its API makes users, and an administrator does the rest by hand, asked by tasks.'
        : running.founded
          ? 'Contoso is founded: one Administrator, one pool of seats, and Booking pages that nobody is bookable on yet.'
          : 'Contoso is here from an earlier start; its people are found again.',
    );
    say(`  database   embedded PostgreSQL, ${running.database}, in ${path.relative('.', dataDir) || dataDir}`);
    say(`  tenant     sandbox Microsoft 365 at ${sandbox.url}, ${sandbox.tenant.users.length} users`);
    if (oncehub) say(`  OnceHub    sandbox at ${oncehub.url}, its limits on a clock ${clockSpeed} times as fast`);
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
    await watch(api, say, stopped, oncehub !== null);
    if (oncehub) await playAdministrator(api, oncehub, say, stopped);
    say('');
    await playEntraCycle({ url: scim, token: tokens.entra }, entra, entraChanges, (what) => say(`Entra ID   ${what}`));
    await playOktaCycle({ url: scim, token: tokens.okta }, okta, oktaChanges, (what) => say(`Okta       ${what}`));
    await watch(api, say, stopped, oncehub !== null);
    if (oncehub) await playAdministrator(api, oncehub, say, stopped);

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
    if (oncehub) say('  npx usher tasks                           what an administrator is asked to do by hand');
    say(`People sign in at ${address}/sign-in; the API is described at ${address}/docs.`);
    say('');
    say(`The console: ${address}/  Sign in with this admin token: ${adminToken}`);
    say(oncehub ? 'Ctrl-C stops everything.' : 'Ctrl-C stops everything; the data stays for the next start.');
    return { close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The pages are there before anybody owns them, as in an account that was set up by hand. */
function makePagesByHand(oncehub: OnceHubSandbox, linkNames: string[]): number {
  const owner = oncehub.account.users.find((user) => user.email === contoso.founder)?.id ?? '';
  for (const name of linkNames) oncehub.administrator.createPage(name, owner);
  return linkNames.length;
}

interface DemoTask {
  taskId: string;
  title: string;
  kind: string;
  accountUserId: string;
  wants: { seats: string[]; pages: { pageId: string; act: string }[]; email: string | null };
}

/** The administrator's part: reads the sheet, does what it says in OnceHub's own pages, says so; and is believed where it can be seen. */
async function playAdministrator(
  api: ApiClient,
  { account, administrator }: OnceHubSandbox,
  say: (line: string) => void,
  stopped: AbortSignal,
): Promise<void> {
  const owner = account.users.find((user) => user.role_name === 'Account Owner')?.id ?? '';
  for (let round = 0; round < 12 && !stopped.aborted; round++) {
    const items = await nextTasks(api, stopped);
    if (items.length === 0) return;
    const sheets = (await api.get('/tasks/worksheets')) as unknown as { items: { title: string }[] };
    for (const sheet of sheets.items) say(`tasks      ${sheet.title}`);
    for (const { kind, accountUserId, wants } of items) {
      if (wants.email) administrator.changeEmail(accountUserId, wants.email);
      if (kind === 'free_seat') administrator.unassignSeat(accountUserId);
      else if (wants.seats.length > 0) administrator.assignSeat(accountUserId);
      for (const page of wants.pages) {
        administrator.givePage(page.pageId, kind === 'hand_over_pages' ? owner : accountUserId);
        if (kind !== 'hand_over_pages') administrator.enablePage(page.pageId);
      }
    }
    await api.send('POST', '/tasks/done', { taskIds: items.map((task) => task.taskId), by: 'Adam Admin' });
    say(`Adam Admin ${items.length} done in OnceHub, and said so; each is looked at`);
    await watch(api, say, stopped, true);
  }
}

/** What is open and was not said to be done; waited for a few seconds, since requests to OnceHub keep its pace. */
async function nextTasks(api: ApiClient, stopped: AbortSignal): Promise<DemoTask[]> {
  for (let until = Date.now() + 6000; !stopped.aborted && Date.now() < until; ) {
    const { items } = (await api.get('/tasks?limit=500&said=false')) as unknown as { items: DemoTask[] };
    if (items.length > 0) return items;
    await sleep(250, undefined, { signal: stopped }).catch(() => undefined);
  }
  return [];
}

/** Until nothing moves any more: everybody was looked at, and nobody is on the way out. */
async function watch(api: ApiClient, say: (line: string) => void, stopped: AbortSignal, byHand = false): Promise<void> {
  let shown = '';
  let quietRounds = 0;
  const until = Date.now() + 120_000;
  while (quietRounds < 4 && Date.now() < until && !stopped.aborted) {
    const summary = (await api.get('/summary')) as unknown as SummaryShown;
    const line = progressLine(summary);
    if (line !== shown) say(`           ${line}`);
    // Where an administrator's hand is awaited, seats and leavers wait for it.
    const unfinished =
      Object.values(summary.conditions).some((counts) => (counts.unknown.not_checked_yet ?? 0) > 0) ||
      (!byHand && (summary.lifecycles.leaving ?? 0) > 0) ||
      Object.values(summary.licenses).some(
        (counts) => !byHand && counts.bought !== null && counts.bought > counts.assigned && counts.waiting > 0,
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
