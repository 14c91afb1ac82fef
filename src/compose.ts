/** The only place where objects are built: Config in, running parts and close() out. */
import { stringify } from 'yaml';
import { hashToken, newToken, openAccess } from './access.ts';
import { openAdministration } from './account/administration.ts';
import { openBuiltinAccount } from './account/builtin.ts';
import type { AccountDatabase } from './account/database.ts';
import { foundAccount, makePages } from './account/founding.ts';
import { openOutbox } from './account/mails.ts';
import { openSignIn } from './account/sign-in.ts';
import { openEvents } from './api/events.ts';
import { type Config, ConfigError, type GraphConfig, parsePolicy } from './config.ts';
import { openConnections } from './connections.ts';
import { looksLikeAddress } from './domain/email-address.ts';
import type { Policy } from './domain/policy.ts';
import { UsherError } from './errors.ts';
import { openBatch } from './graph/batch.ts';
import { openCalendars } from './graph/calendars.ts';
import { openGraphClient } from './graph/client.ts';
import { openDirectory } from './graph/directory.ts';
import { openIdentityPlatform } from './graph/sign-in.ts';
import { countInFlight } from './in-flight.ts';
import { applyPlan, applyPolicy, diffPolicy, reconsiderPeople } from './intake/apply-policy.ts';
import { openByHand } from './intake/by-hand.ts';
import { openImporter } from './intake/csv/importer.ts';
import { openPoller } from './intake/graph/poller.ts';
import { gatherHints, openIntake } from './intake/record-change.ts';
import { defaultScimLimits } from './intake/scim/limits.ts';
import { openRequestLog } from './intake/scim/request-log.ts';
import { keepAsking } from './keep-asking.ts';
import type { Log } from './log.ts';
import { openLog } from './log.ts';
import { keepDelivering, keepTidy } from './mail/deliver.ts';
import { byMail, keepNotifying } from './mail/notices.ts';
import { openMailer } from './mail/smtp.ts';
import { openWebhook } from './mail/webhook.ts';
import type { Metrics } from './metrics.ts';
import { openMetrics } from './metrics.ts';
import { openOnceHub } from './oncehub/open.ts';
import type { Calendars, Directory, SchedulingAccount, Store, WakeUps } from './ports.ts';
import { openPostgresBackend, openRedisBackend, openWakeUps } from './queue/bullmq.ts';
import { openRateLimit } from './rate-limit.ts';
import { openReconciler } from './reconciliation/reconcile.ts';
import { buildApp, type Listening, listen } from './server.ts';
import { list, openDatabase, openGate, run, transaction } from './store/database.ts';
import { type EmbeddedPostgres, openEmbeddedPostgres } from './store/embedded-postgres.ts';
import { migrate } from './store/migrate.ts';
import { keepStatistics } from './store/statistics.ts';
import { openStore } from './store/store.ts';

/** What the steps need; `cli` hands in the function that starts them, so that nothing here knows the workers. */
export interface WorkerParts {
  store: Store;
  account: SchedulingAccount;
  calendars: Calendars | null;
  directory: Directory | null;
  policy: Policy;
  wakeUps: WakeUps;
  log: Log;
  metrics: Metrics;
  now: () => Date;
  random: () => number;
  /** Steps give way to requests of the same process. */
  quiet(): Promise<void>;
  /** A new look at people whose groups changed. */
  reconsider(personIds: string[]): Promise<void>;
}

export type StartWorkers = (parts: WorkerParts) => Promise<{ close(): Promise<void> }>;

export interface Running {
  /** Null when this process serves no HTTP. */
  address: string | null;
  database: 'started' | 'adopted' | 'joined' | 'server';
  /** Set when this start made the first admin token; it is not shown again. */
  newAdminToken: string | null;
  founded: boolean;
  log: Log;
  makePages(linkNames: string[]): Promise<number>;
  close(): Promise<void>;
}

export interface Options {
  http: boolean;
  startWorkers: StartWorkers | null;
  /** SCIM tokens that the caller made itself, by hash; each replaces the one of the start before. */
  fixedScimTokens?: { source: string; hash: string }[];
}

export async function compose(config: Config, options: Options): Promise<Running> {
  const closers: (() => Promise<void>)[] = [];
  const close = once(async () => {
    // In reverse: what was built last leans on what was built first.
    for (const closer of closers.reverse()) await closer();
  });
  try {
    return await build(config, options, closers, close);
  } catch (error) {
    await close().catch(() => undefined);
    throw error;
  }
}

async function build(
  config: Config,
  options: Options,
  closers: (() => Promise<void>)[],
  close: () => Promise<void>,
): Promise<Running> {
  const log = openLog(config.logLevel);
  const metrics = openMetrics();
  const inFlight = countInFlight();
  const { policy } = config;
  const now = () => new Date();

  const { url, how } = await openDatabaseServer(config, closers);
  await migrate(url);
  const database = openDatabase(url, {
    max: 16,
    name: options.http ? 'usher' : 'usher-worker',
    onError: (error) => log.debug({ err: error }, 'an idle database connection ended'),
  });
  closers.push(() => database.close());
  closers.push(keepStatistics(database.lists, (error) => log.debug({ err: error }, 'the tables were not analysed')));
  const store = openStore(
    database,
    policy.rules.some((rule) => rule.when.group),
    { mail: config.mail ? policy.alerts.mail : [], webhook: policy.alerts.webhook },
  );
  await store.syncSources(policy.sources);

  const gate = openGate(10);
  const accountDatabase = {
    query: <R extends Record<string, unknown>>(name: string, text: string, values: unknown[]) =>
      run<R>(database.pool, { name, text }, values),
    list: <R extends Record<string, unknown>>(text: string, values: unknown[]) => list<R>(database.lists, text, values),
    transaction: <T>(work: Parameters<typeof transaction<T>>[1]) => gate(() => transaction(database.pool, work)),
  };
  const accountSettings = {
    plan: policy.account.plan,
    heir: looksLikeAddress(policy.leavers.pagesTo) ? policy.leavers.pagesTo : null,
  };
  const founderEmail =
    policy.account.administrator?.email ??
    policy.bookingPages.takeFrom?.[0] ??
    `administrator@${policy.dedicatedMailbox?.split('@')[1] ?? 'localhost'}`;
  await ownsDatabase(accountDatabase, policy.account.kind);
  const isBuiltin = policy.account.kind === 'builtin';
  const founding = !isBuiltin
    ? null
    : await foundAccount(accountDatabase, {
        name: policy.account.administrator?.name ?? 'Founding Administrator',
        email: founderEmail,
        pools: poolsOf(policy),
        plan: policy.account.plan,
        isNamed: Boolean(policy.account.administrator ?? policy.bookingPages.takeFrom?.[0]),
      });
  for (const [kind, kept] of Object.entries(founding?.shrunkTo ?? {}))
    log.warn({ kind, kept }, 'the policy says fewer seats than are assigned; the pool keeps what is assigned');
  const unlicensed =
    'No Administrator who can act has a license, and no seat is free for one (rule 9). Buy or free a seat.';
  if (!founding?.administratorUnlicensed) await store.resolveAlert('no_licensed_administrator');
  else if (await store.raiseAlert('no_licensed_administrator', 'no_licensed_administrator', unlicensed))
    log.error(unlicensed);
  if (!isBuiltin && policy.account.nativeProvisioning === undefined)
    log.warn(
      'Is OnceHub’s own Entra provisioning off for the people whom Usher manages? It deletes users that are unassigned there. Say so in the policy: account.nativeProvisioning: off',
    );
  const account =
    config.oncehub && !isBuiltin
      ? await openOnceHub({
          config: config.oncehub,
          database: accountDatabase,
          pools: poolsOf(policy),
          alerts: store,
          log,
          now: Date.now,
        })
      : openBuiltinAccount(accountDatabase, accountSettings);

  const backend = config.queueUrl
    ? openRedisBackend(config.queueUrl, config.queueCheck, log)
    : await openPostgresBackend(url);
  const wakeUps = openWakeUps(backend, log);
  closers.push(() => wakeUps.close());

  const changed = await applyPolicy(store, policy);
  if (changed && (changed.changed > 0 || changed.waiting > 0))
    log.warn(
      { ...changed, policyVersion: policy.version },
      'the policy changed: additions run; removals and changes of role wait',
    );

  const newAdminToken = await ensureTokens(store, config);
  for (const { source, hash } of options.fixedScimTokens ?? [])
    await store.addToken({
      kind: 'scim',
      source,
      label: `of this start, ${source}`,
      hash,
      expiresAt: null,
      fixed: true,
    });
  const tenant = config.graph ? openTenant(config.graph, policy) : null;
  const polled = tenant ? policy.sources.filter((source) => source.kind === 'graph') : [];
  let queueTrouble: string | null = null;

  if (options.startWorkers) {
    const start = options.startWorkers;
    const parts: WorkerParts = {
      store,
      account,
      calendars: tenant?.calendars ?? null,
      directory: tenant?.directory ?? null,
      policy,
      wakeUps,
      log,
      metrics,
      now,
      random: Math.random,
      quiet: () => inFlight.quiet(),
      reconsider: (personIds: string[]) => reconsiderPeople(store, policy, personIds),
    };
    const waiting = startWhenQueueIsSafe(
      () => wakeUps.check(),
      () => start(parts),
      (trouble) => {
        if (trouble && trouble !== queueTrouble) log.error({ trouble }, 'the workers wait for the queue');
        queueTrouble = trouble;
      },
    );
    closers.push(waiting.close);
    await waiting.firstTry;
    if (tenant && config.graph)
      closers.push(
        keepPolling(
          polled.map(({ name }) =>
            openPoller({
              store,
              directory: tenant.directory,
              policy,
              source: name,
              pollSeconds: config.graph?.pollSeconds ?? 300,
              notificationUrl: config.graph?.notificationUrl ?? null,
              hints: gatherHints(wakeUps, 20, (count) => metrics.hintsDropped.inc(count)),
              reconsider: (personIds) => reconsiderPeople(store, policy, personIds),
              log,
              now,
            }),
          ),
          (error) => log.warn({ err: error }, 'the poller could not begin; it is tried again'),
        ),
      );
  }

  const reconciler = openReconciler({ store, account, policy, wakeUps, log, now });
  closers.push(() => reconciler.close());
  if (options.startWorkers)
    closers.push(
      keepAsking(
        () => reconciler.scheduled(),
        10_000,
        (error) => log.warn({ err: error }, 'the reconciliation could not run; it is tried again'),
      ),
    );

  let address: string | null = null;
  const site = {
    origin: () => config.publicUrl ?? address ?? `http://${hostInUrl(config.host)}:${config.port}`,
  };
  closers.push(
    keepTidy(openOutbox(accountDatabase), (error) => log.debug({ err: error }, 'old rows were not forgotten')),
  );
  const mailer = config.mail ? openMailer(config.mail) : null;
  closers.push(
    keepNotifying({
      store,
      send: {
        ...(mailer ? { mail: byMail(mailer) } : {}),
        ...(config.webhookSecret ? { webhook: openWebhook(config.webhookSecret) } : {}),
      },
      log,
      random: Math.random,
    }),
  );
  if (mailer) {
    // In every process that has the settings: whoever takes a mail first sends it.
    const delivering = keepDelivering({
      outbox: openOutbox(accountDatabase),
      mailer,
      origin: site.origin,
      log,
      random: Math.random,
    });
    closers.push(() => delivering.close());
  }
  if (options.http) {
    const sessionSecret = config.sessionSecret ?? `session:${await store.cursorSecret()}`;
    // Somebody else's product is administered there.
    const administration = isBuiltin
      ? openAdministration(accountDatabase, accountSettings, founderEmail, policy.delegation)
      : null;
    const signIn = openSignIn(accountDatabase, sessionSecret, policy.access);
    const access = openAccess(store);
    const touching = setInterval(
      () => void access.flush().catch((error: unknown) => log.debug({ err: error }, 'last use was not written')),
      5000,
    );
    const hints = gatherHints(wakeUps, 20, (count) => metrics.hintsDropped.inc(count));
    const intake = openIntake({
      store,
      hints,
      policy,
      now,
      oneSource: policy.sources.filter(({ kind }) => kind !== 'graph' || polled.length > 0).length <= 1,
    });
    const bulkHints = gatherHints(wakeUps, 20, (count) => metrics.hintsDropped.inc(count), 'bulk');
    const byHand = openByHand({ store, intake, account, policy, hints, now });
    const importer = openImporter({ store, account, policy, hints: bulkHints, log, now });
    const requestLog = openRequestLog(store, log);
    const events = openEvents(store, log);
    const app = buildApp({
      scim: {
        store,
        intake,
        access,
        policy,
        limits: { ...defaultScimLimits, ...config.scimLimits },
        requestLog,
        log,
        publicUrl: config.publicUrl,
        now,
      },
      api: {
        store,
        access,
        account,
        wakeUps,
        policy,
        administration,
        importer,
        byHand,
        signInWithEntra: config.oidc !== null,
        reconciler,
        connections: openConnections({ config, store, wakeUps, graph: tenant?.graph ?? null, mailer, now: Date.now }),
        policies: {
          text: config.policyText || textOf(policy),
          diff: async (text) => {
            const other = readPolicyText(text);
            return { version: other.version, ...(await diffPolicy(store, other, 1000)) };
          },
          apply: (runId, personIds, by) => applyPlan(store, policy, runId, personIds, by),
        },
        signIn,
        events,
        site,
        log,
        now,
      },
      signIn: {
        access,
        signIn,
        identityPlatform: config.oidc ? openIdentityPlatform(config.oidc) : null,
        groupsAmong: tenant ? groupsAmong(tenant.directory) : null,
        policy,
        site,
        mails: config.mail !== null,
        secret: sessionSecret,
        attempts: openRateLimit(Date.now),
        log,
      },
      console: { signIn, site },
      notifications: config.graph?.notificationUrl ? { store, sources: polled.map(({ name }) => name), log } : null,
      store,
      metrics,
      inFlight,
      log,
      troubles: () => (queueTrouble ? [queueTrouble] : []),
    });
    const listening: Listening = await listen(app, config.host, config.port);
    address = config.publicUrl ?? `http://${hostInUrl(config.host)}:${listening.port}`;
    closers.push(async () => {
      events.close();
      await listening.close();
      clearInterval(touching);
      await Promise.all([hints.flush(), bulkHints.flush()]);
      await requestLog.close();
      await access.flush().catch(() => undefined);
    });
    // Closed before what it leans on: a row that is at work still leaves its hint.
    closers.push(
      // Imports that are to be applied go on in whichever serving process takes them, also after a crash.
      keepAsking(importer.work, 500, (error) =>
        log.warn({ err: error }, 'an import could not go on; it is tried again'),
      ),
    );
  }

  return {
    address,
    database: how,
    newAdminToken,
    founded: founding?.founded ?? false,
    log,
    makePages: (linkNames) => makePages(accountDatabase, linkNames, founderEmail),
    close,
  };
}

const hostInUrl = (host: string): string => (host.includes(':') ? `[${host}]` : host);

/** Which of the groups somebody is in, asked one by one; an answer that the tenant does not give is no membership. */
function groupsAmong(directory: Directory): (objectId: string, groupIds: string[]) => Promise<string[]> {
  return async (objectId, groupIds) => {
    const answers = await Promise.all(groupIds.map((id) => directory.isMember(objectId, id, 'User')));
    return groupIds.filter((_id, index) => answers[index] === true);
  };
}

/** Everything that stands on one connection to the tenant: one token, one gathering of batches. */
function openTenant(config: GraphConfig, policy: Policy) {
  const graph = openGraphClient(config);
  const batch = openBatch(graph);
  return {
    graph,
    calendars: openCalendars(graph, batch, policy.dedicatedMailbox ?? null),
    directory: openDirectory(graph, batch),
  };
}

/** Looks every second whether a round is due; when is kept in PostgreSQL, and who polls, too. */
function keepPolling(pollers: ReturnType<typeof openPoller>[], onError: (error: unknown) => void): () => Promise<void> {
  const loops = pollers.map((poller) => {
    const stop = keepAsking(() => poller.poll(), 1000, onError);
    return async () => {
      poller.close();
      await stop();
    };
  });
  return async () => void (await Promise.all(loops.map((stop) => stop())));
}

/** Of a policy that no file holds. */
function textOf({ version: _version, ...policy }: Policy): string {
  return stringify(policy);
}

/** A policy that somebody sent, with every fault told as in the file. */
function readPolicyText(text: string): Policy {
  try {
    return parsePolicy(text, 'policy');
  } catch (error) {
    if (error instanceof ConfigError) throw new UsherError('invalid_value', error.faults.join(' | '), { cause: error });
    throw error;
  }
}

/** The ids of one account mean nothing in another: a database serves the kind of account that it began with. */
async function ownsDatabase(database: AccountDatabase, kind: string): Promise<void> {
  const rows = await database.query<{ value: string }>(
    'account-kind',
    `with made as (insert into facts (key, value)
       select 'account_kind', case when exists (select 1 from account_users) then 'builtin' else $1 end on conflict do nothing returning value)
     select value from made union all select value from facts where key = 'account_kind'`,
    [kind],
  );
  const before = rows[0]?.value;
  if (before && before !== kind)
    throw new ConfigError([
      `account.kind: this database belongs to the account «${before}»; its ids mean nothing in «${kind}». Give USHER_DATABASE_URL (or USHER_DATA_DIR) a database of its own.`,
    ]);
}

async function openDatabaseServer(
  config: Config,
  closers: (() => Promise<void>)[],
): Promise<{ url: string; how: Running['database'] }> {
  if (config.databaseUrl) return { url: config.databaseUrl, how: 'server' };
  const embedded: EmbeddedPostgres = await openEmbeddedPostgres(config.dataDir);
  closers.push(() => embedded.close());
  return { url: embedded.connectionString, how: embedded.how };
}

/** Every kind that a rule gives and every pool that was bought; a kind without a number is unlimited. */
function poolsOf(policy: Policy): Record<string, number | null> {
  const pools: Record<string, number | null> = { 'scheduled-meetings': null };
  for (const rule of policy.rules)
    if (Array.isArray(rule.licenses)) for (const kind of rule.licenses) pools[kind] = null;
  return { ...pools, ...policy.account.pools };
}

/** The tokens that exist from the first start. Answers a fresh admin token when there was none. */
async function ensureTokens(store: Store, config: Config): Promise<string | null> {
  const unset = [config.scimToken ? null : 'USHER_SCIM_TOKEN', config.adminToken ? null : 'USHER_ADMIN_TOKEN'].filter(
    (label) => label !== null,
  );
  await store.retireSettingTokens(unset);
  if (config.scimToken) {
    const sources = config.policy.sources.filter((source) => source.kind === 'scim');
    const source = sources.find((entry) => entry.name === 'scim') ?? sources[0];
    if (source)
      await store.addToken({
        kind: 'scim',
        source: source.name,
        label: 'USHER_SCIM_TOKEN',
        hash: hashToken(config.scimToken),
        expiresAt: null,
        fixed: true,
      });
  }
  if (config.adminToken) {
    await store.addToken({
      kind: 'admin',
      source: null,
      label: 'USHER_ADMIN_TOKEN',
      hash: hashToken(config.adminToken),
      expiresAt: null,
      fixed: true,
    });
    return null;
  }
  if ((await store.liveTokens()).some((token) => token.kind === 'admin')) return null;
  const token = newToken('admin');
  await store.addToken({
    kind: 'admin',
    source: null,
    label: 'first administrator',
    hash: hashToken(token),
    expiresAt: null,
    fixed: true,
  });
  return token;
}

/** A queue with the wrong settings is refused at once; one that is away is waited for, and SCIM goes on meanwhile. */
function startWhenQueueIsSafe(
  check: () => Promise<void>,
  start: () => Promise<{ close(): Promise<void> }>,
  report: (trouble: string | null) => void,
) {
  let running: { close(): Promise<void> } | undefined;
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  const attempt = async (): Promise<void> => {
    try {
      await check();
    } catch (error) {
      if (error instanceof UsherError && error.code === 'queue_unavailable') {
        report(error.message);
        if (!stopped) timer = setTimeout(() => void attempt().catch((unsafe: unknown) => report(String(unsafe))), 3000);
        return;
      }
      throw error;
    }
    if (stopped) return;
    report(null);
    running = await start();
  };
  return {
    firstTry: attempt(),
    async close() {
      stopped = true;
      clearTimeout(timer);
      await running?.close();
    },
  };
}

function once(work: () => Promise<void>): () => Promise<void> {
  let done: Promise<void> | undefined;
  return () => (done ??= work());
}
