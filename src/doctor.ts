/** `usher doctor`: every connection, permission and setting tried, with the fix for each fault. It opens what it tries itself, so it works while nothing else runs. */

import { builtinSteps } from './account/builtin.ts';
import { type Config, ConfigError, notActedOn, readConfig } from './config.ts';
import { asUsherError } from './errors.ts';
import { openGraphClient } from './graph/client.ts';
import { consentLink, permissionsWanted, tryPermissions } from './graph/permissions.ts';
import { openLog } from './log.ts';
import { openMailer } from './mail/smtp.ts';
import { oncehubCapabilities } from './oncehub/capabilities.ts';
import { tryOnceHub } from './oncehub/try.ts';
import { openRedisBackend, openWakeUps } from './queue/bullmq.ts';
import { openDatabase } from './store/database.ts';
import { openEmbeddedPostgres } from './store/embedded-postgres.ts';
import { migrate } from './store/migrate.ts';

export interface Finding {
  state: 'ok' | 'warning' | 'fault';
  what: string;
  found: string;
  fix?: string;
}

export async function doctor(env: NodeJS.ProcessEnv): Promise<Finding[]> {
  const findings: Finding[] = [];
  let config: Config;
  try {
    config = await readConfig(env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.faults.map((fault) => ({
      state: 'fault',
      what: 'settings',
      found: fault,
      fix: 'Correct the setting or the line of the policy.',
    }));
  }
  findings.push({ state: 'ok', what: 'settings', found: `read; policy version ${config.policy.version}` });
  for (const line of notActedOn(config.policy, env)) findings.push({ state: 'warning', what: 'settings', found: line });
  await lookAtDatabase(config, findings);
  await lookAtQueue(config, findings);
  lookAtPolicy(config, findings);
  await lookAtTenant(config, findings);
  await lookAtOnceHub(config, findings);
  await lookAtMail(config, findings);
  return findings;
}

async function lookAtDatabase(config: Config, findings: Finding[]): Promise<void> {
  const embedded = config.databaseUrl ? null : await openEmbeddedPostgres(config.dataDir);
  try {
    const url = config.databaseUrl ?? embedded?.connectionString ?? '';
    await migrate(url);
    const database = openDatabase(url, { max: 1, onError: () => undefined });
    try {
      const { rows } = await database.pool.query<{ version: string }>(
        `select current_setting('server_version') as version`,
      );
      const version = rows[0]?.version ?? '';
      findings.push(
        Number.parseInt(version, 10) >= 14
          ? { state: 'ok', what: 'PostgreSQL', found: `${version}, up to date` }
          : { state: 'fault', what: 'PostgreSQL', found: version, fix: 'Use PostgreSQL 14 or newer.' },
      );
    } finally {
      await database.close();
    }
  } catch (error) {
    findings.push({
      state: 'fault',
      what: 'PostgreSQL',
      found: asUsherError(error).message,
      fix: 'Check USHER_DATABASE_URL, and that the server takes connections from here.',
    });
  } finally {
    await embedded?.close();
  }
}

async function lookAtQueue(config: Config, findings: Finding[]): Promise<void> {
  if (!config.queueUrl) {
    findings.push({ state: 'ok', what: 'queue', found: 'in the same PostgreSQL' });
    return;
  }
  const log = openLog('silent');
  const wakeUps = openWakeUps(openRedisBackend(config.queueUrl, config.queueCheck, log), log);
  try {
    await wakeUps.check();
    findings.push({ state: 'ok', what: 'queue', found: 'Redis answers, with settings that lose nothing' });
  } catch (error) {
    const { message, row } = asUsherError(error);
    findings.push({ state: 'fault', what: 'queue', found: message, fix: row.next });
  } finally {
    await wakeUps.close();
  }
}

async function lookAtMail({ mail, publicUrl }: Config, findings: Finding[]): Promise<void> {
  const what = 'mail';
  if (!mail) {
    findings.push({
      state: 'warning',
      what,
      found:
        'no mail server: what Usher itself would mail (invitations of the built-in account, reminders, alerts) stays unsent',
      fix: 'Set USHER_SMTP_URL and USHER_MAIL_FROM.',
    });
    return;
  }
  const mailer = openMailer(mail);
  try {
    await mailer.verify();
    findings.push({ state: 'ok', what, found: 'the mail server answers and lets us in' });
  } catch (error) {
    findings.push({ state: 'fault', what, found: asUsherError(error).message, fix: 'Check USHER_SMTP_URL.' });
  } finally {
    mailer.close();
  }
  if (!publicUrl)
    findings.push({
      state: 'warning',
      what,
      found: 'USHER_PUBLIC_URL is not set: links in mails lead to this machine only',
      fix: 'Set USHER_PUBLIC_URL to how people reach Usher.',
    });
}

async function lookAtOnceHub({ oncehub, policy }: Config, findings: Finding[]): Promise<void> {
  const isOnceHub = policy.account.kind === 'oncehub';
  const { steps } = isOnceHub ? oncehubCapabilities : { steps: builtinSteps };
  if (isOnceHub && oncehub) {
    const tried = await tryOnceHub(oncehub);
    findings.push(
      tried.works
        ? { state: 'ok', what: 'OnceHub', found: tried.found }
        : { state: 'fault', what: 'OnceHub', found: tried.found, fix: tried.fix },
    );
    findings.push({
      state: 'warning',
      what: 'OnceHub',
      found: 'every new user is mailed an invitation; OnceHub’s API can not leave it out',
      fix: 'Tell people that they may ignore it.',
    });
    if (policy.account.nativeProvisioning === undefined)
      findings.push({
        state: 'warning',
        what: 'OnceHub',
        found:
          'whether its own Entra provisioning manages the same people is not said; it deletes users that are unassigned there, for good',
        fix: 'Switch it off for them, then say account.nativeProvisioning: off in the policy.',
      });
    if (Object.keys(policy.account.pools).length === 0)
      findings.push({
        state: 'warning',
        what: 'OnceHub',
        found: 'no pools: OnceHub’s API does not tell how many seats were bought, so none are counted',
        fix: 'Say in account.pools how many seats Usher may ask for.',
      });
  }
  for (const [step, { mode, how, evidence }] of Object.entries(steps))
    findings.push({
      state: 'ok',
      what: step,
      found: `${{ automatic: 'by itself', task: 'by an administrator’s hand', observe: 'only looked at' }[mode]}: ${how}; known by: ${evidence}`,
    });
}

function lookAtPolicy({ policy }: Config, findings: Finding[]): void {
  if (policy.rules.length === 0)
    findings.push({
      state: 'warning',
      what: 'policy',
      found: 'no rule, so nobody is in scope',
      fix: 'Add rules to the policy.',
    });
  if (policy.account.kind === 'builtin' && Object.keys(policy.account.pools).length === 0)
    findings.push({
      state: 'warning',
      what: 'policy',
      found: 'no pools: seats are unlimited',
      fix: 'Say in account.pools what was bought.',
    });
  const pools = Object.keys(policy.account.pools);
  const uncounted = policy.rules
    .flatMap((rule) => (Array.isArray(rule.licenses) ? rule.licenses : []))
    .filter((kind) => pools.length > 0 && !pools.includes(kind));
  if (uncounted.length > 0)
    findings.push({
      state: 'warning',
      what: 'policy',
      found: `rules give ${[...new Set(uncounted)].map((kind) => `«${kind}»`).join(', ')}, of which account.pools says nothing: as many as anybody wishes`,
      fix: `Add the number to account.pools, which knows ${pools.map((kind) => `«${kind}»`).join(', ')}.`,
    });
  if (policy.delegation !== 'ignored' && !policy.dedicatedMailbox)
    findings.push({
      state: 'fault',
      what: 'policy',
      found: 'no dedicatedMailbox: no delegation can be checked',
      fix: 'Name the mailbox of the corporate connection.',
    });
}

async function lookAtTenant(config: Config, findings: Finding[]): Promise<void> {
  const { graph, policy } = config;
  if (!graph) {
    findings.push({
      state: policy.delegation === 'ignored' ? 'ok' : 'warning',
      what: 'Microsoft Graph',
      found: 'not connected: no directory is polled, no delegation checked',
      fix: 'Set USHER_GRAPH_TENANT_ID, USHER_GRAPH_CLIENT_ID and a secret, certificate or identity.',
    });
    return;
  }
  const client = openGraphClient(graph);
  const consent = `A tenant admin opens ${consentLink(graph)} after the permission was added under App registrations, API permissions, Application permissions.`;
  try {
    const permissions = await tryPermissions(client, permissionsWanted(policy));
    findings.push({ state: 'ok', what: 'Microsoft Graph', found: `a token from ${graph.authority}` });
    for (const { permission, state, needed, found } of permissions) {
      if (state === 'given') findings.push({ state: 'ok', what: permission, found });
      else if (!needed)
        findings.push({
          state: state === 'missing' ? 'ok' : 'warning',
          what: permission,
          found: `not given, and not needed: ${optional[permission] ?? found}`,
        });
      else findings.push({ state: state === 'missing' ? 'fault' : 'warning', what: permission, found, fix: consent });
    }
    if (policy.dedicatedMailbox) {
      const mailbox = await client.get(`/users/${encodeURIComponent(policy.dedicatedMailbox)}?$select=id`);
      if (mailbox.status === 404)
        findings.push({
          state: 'fault',
          what: 'dedicated mailbox',
          found: `${policy.dedicatedMailbox} is not in the tenant`,
          fix: 'Create it, or correct dedicatedMailbox in the policy.',
        });
    }
  } catch (error) {
    const { message, row } = asUsherError(error);
    findings.push({ state: 'fault', what: 'Microsoft Graph', found: message, fix: row.next });
  }
  findings.push({
    state: 'warning',
    what: 'EWS',
    found:
      'Since October 2026 Exchange Online blocks Exchange Web Services by default, and from April 2027 for good. Usher uses none; the scheduling product’s own corporate connection may.',
    fix: 'Ask the scheduling vendor whether its connection still uses EWS. Until it is moved, an Exchange admin sets EWSEnabled and puts its app id on EWSAllowedAppIDs.',
  });
  findings.push({
    state: 'ok',
    what: 'Exchange Server on premises',
    found: 'mailboxes there can not be checked from the cloud; they are shown as mailbox_on_premises',
  });
}

const optional: Record<string, string> = {
  'GroupMember.Read.All': 'no rule asks for a group of a polled source',
  'MailboxSettings.Read': 'whether meeting requests reach the person, too, is not checked',
};
