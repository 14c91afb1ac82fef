#!/usr/bin/env node
/** The `usher` command. Exit codes: 0 done, 1 a fault, 2 wrong usage or settings, 3 not everything asked for is true yet. */
import { realpathSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { startWorkers } from '../../workers/main.ts';
import { compose, type StartWorkers } from '../compose.ts';
import { ConfigError, notActedOn, parsePolicy, policyJsonSchema, readConfig } from '../config.ts';
import { doctor } from '../doctor.ts';
import { steps } from '../domain/next-steps.ts';
import { UsherError } from '../errors.ts';
import type { QueueName } from '../ports.ts';
import { backup, restore } from '../store/backup.ts';
import { openEmbeddedPostgres } from '../store/embedded-postgres.ts';
import { migrate } from '../store/migrate.ts';
import { type ApiClient, ApiRefusal, findTarget, keepTarget, openApiClient } from './api-client.ts';
import { addCompletion } from './completion.ts';
import { delegationCommands } from './delegation.ts';
import { demo } from './demo.ts';
import { onboardCommand } from './onboard.ts';
import { reconcileCommand } from './reconcile.ts';
import {
  type PersonShown,
  type PlanItemShown,
  type PolicyDiffShown,
  peopleTable,
  personCard,
  policyDiffText,
  type RunShown,
  runText,
  type SummaryShown,
  summaryText,
} from './show.ts';
import { table } from './table.ts';
import { tasksCommand } from './tasks.ts';

export async function main(argv: string[], env: NodeJS.ProcessEnv): Promise<number> {
  const say = (line: string) => void process.stdout.write(`${line}\n`);
  let exitCode = 0;
  const api = async (): Promise<ApiClient> => openApiClient(await findTarget(env));
  const print = (json: boolean | undefined, value: unknown, text: () => string) =>
    say(json ? JSON.stringify(value, null, 2) : text());
  const id = (text: string) => encodeURIComponent(text);

  const program = new Command('usher')
    .description(
      'Brings people from a directory into a scheduling account, ready to be booked, without those people doing anything.',
    )
    .exitOverride()
    .configureHelp({ showGlobalOptions: true });

  program
    .command('demo')
    .description('everything on the embedded default, with the sandbox: watch thirty people become bookable')
    .option('--oncehub', 'into a make-believe OnceHub account, with an administrator who works through the tasks')
    .action(async (options: { oncehub?: boolean }) => {
      const stop = untilStopped();
      const kind = options.oncehub ? 'oncehub' : 'builtin';
      const running = await demo(env, startWorkers as StartWorkers, say, stop.signal, kind);
      await stop.done;
      say('\nStopping …');
      await running.close();
    });

  program
    .command('serve')
    .description(
      'the HTTP process: SCIM, API, health; with the workers in it unless told otherwise; brings the database up to date first',
    )
    .option('--no-workers', 'leave the steps to «usher work»')
    .action(async (options: { workers: boolean }) => {
      const config = await readConfig(env);
      const stop = untilStopped();
      const running = await compose(config, {
        http: true,
        startWorkers: options.workers ? (startWorkers as StartWorkers) : null,
      });
      if (running.newAdminToken) {
        say(`The first admin token, shown once: ${running.newAdminToken}`);
        if (!config.databaseUrl)
          await keepTarget(config.dataDir, { url: running.address ?? '', token: running.newAdminToken });
      }
      say(
        `Usher listens at ${running.address}  (SCIM ${running.address}/scim/v2, API ${running.address}/api/v1, database ${running.database})`,
      );
      if (config.policy.rules.length === 0)
        say(
          'The policy has no rule, so nobody is in scope. Copy config/policy.example.yaml to config/policy.yaml and edit it.',
        );
      for (const line of notActedOn(config.policy, env)) say(`Not acted on by this version: ${line}.`);
      await stop.done;
      await running.close();
    });

  program
    .command('work')
    .description('a worker process')
    .option('--only <step>', `one queue only: ${[...steps, 'express'].join(', ')}`, asQueueName)
    .action(async (options: { only?: QueueName }) => {
      const config = await readConfig(env);
      const stop = untilStopped();
      const start: StartWorkers = (parts) => startWorkers(parts, options.only ? [options.only] : undefined);
      const running = await compose(config, { http: false, startWorkers: start });
      say(`Working${options.only ? ` on ${options.only}` : ''} (database ${running.database}).`);
      await stop.done;
      await running.close();
    });

  program
    .command('migrate')
    .description('bring the database up to date')
    .action(async () => {
      const config = await readConfig(env);
      const embedded = config.databaseUrl ? null : await openEmbeddedPostgres(config.dataDir);
      try {
        const { applied } = await migrate(config.databaseUrl ?? embedded?.connectionString ?? '');
        say(applied.length > 0 ? `Applied: ${applied.join(', ')}.` : 'The database is up to date.');
      } finally {
        await embedded?.close();
      }
    });

  const onDatabase = async <T>(work: (url: string) => Promise<T>): Promise<T> => {
    const config = await readConfig(env);
    const embedded = config.databaseUrl ? null : await openEmbeddedPostgres(config.dataDir);
    try {
      const url = config.databaseUrl ?? embedded?.connectionString ?? '';
      await migrate(url);
      return await work(url);
    } finally {
      await embedded?.close();
    }
  };
  const rowsIn = (rows: Record<string, number>): number => Object.values(rows).reduce((sum, count) => sum + count, 0);
  program
    .command('backup')
    .description(
      'everything of the database into one file, while Usher runs; it holds personal data and hashes of tokens',
    )
    .argument('<file>', 'as usher.backup; a file of that name is replaced when the new one is whole')
    .action(async (file: string) => {
      const { rows } = await onDatabase((url) => backup(url, file));
      say(`${file} is written: ${rows.people ?? 0} people, ${rowsIn(rows)} rows.`);
    });
  program
    .command('restore')
    .description('a backup into an empty database of the same version; with no process of Usher running')
    .argument('<file>', 'from «usher backup»')
    .option('--replace', 'what is in the database goes')
    .action(async (file: string, options: { replace?: boolean }) => {
      const { rows, madeAt } = await onDatabase((url) => restore(url, file, options.replace ?? false));
      say(
        `Restored as of ${madeAt}: ${rows.people ?? 0} people, ${rowsIn(rows)} rows. What changed since is found by the next looks; the identity provider sends what it sent since at its next cycle.`,
      );
    });

  program
    .command('status')
    .description("one person's conditions and history, or everybody's summary")
    .argument('[who]', 'userName, e-mail address, externalId or personId')
    .option('--json', 'as JSON')
    .action(async (who: string | undefined, options: { json?: boolean }) => {
      const client = await api();
      if (!who) {
        const [summary, people] = await Promise.all([
          client.get('/summary'),
          client.get('/people?limit=200&ready=false'),
        ]);
        const open = (people as unknown as { items: PersonShown[]; total: number }).items;
        print(options.json, summary, () =>
          [summaryText(summary as unknown as SummaryShown), ...(open.length > 0 ? ['', peopleTable(open)] : [])].join(
            '\n',
          ),
        );
        return;
      }
      const [person, history] = await Promise.all([
        client.get(`/people/${id(who)}`),
        client.get(`/people/${id(who)}/history?limit=20`),
      ]);
      print(options.json, { ...person, history: history.items }, () => {
        const rows = (history.items as { at: string; actor: string; action: string; cause: string }[]).map((row) => [
          row.at,
          row.action,
          row.actor,
          row.cause,
        ]);
        return [
          personCard(person as unknown as PersonShown),
          '',
          table(['When', 'What', 'Who', 'Because of'], rows),
        ].join('\n');
      });
    });

  program
    .command('provision')
    .description('one person now, each step with what was seen and done')
    .argument('<who>', 'userName, e-mail address, externalId or personId')
    .option('--plan', 'say what would be done, and do nothing')
    .option('--json', 'as JSON')
    .action(async (who: string, options: { plan?: boolean; json?: boolean }) => {
      const result = await (await api()).send('POST', `/people/${id(who)}/provision`, { plan: options.plan ?? false });
      const rows = (
        result.steps as { step: string; outcome: string; reason: string | null; message: string; tookMs: number }[]
      ).map((row) => [row.step, row.outcome, row.reason ?? '-', `${row.tookMs} ms`, row.message]);
      print(options.json, result, () =>
        [
          table(['Step', 'Outcome', 'Reason', 'Took', 'What'], rows),
          '',
          result.ready ? 'Ready.' : options.plan ? 'Nothing was done.' : 'Not Ready yet.',
        ].join('\n'),
      );
      if (!result.ready && !options.plan) exitCode = 3;
    });

  program
    .command('offboard')
    .description('a leaver: sign-in ends at once where the account can, the rest follows after the hold and the brake')
    .argument('<who>', 'userName, e-mail address, externalId or personId')
    .option('--undo', 'take it back, as long as the directory and the policy want the person')
    .action(async (who: string, options: { undo?: boolean }) => {
      const act = options.undo ? 'restore' : 'offboard';
      const person = (await (await api()).send('POST', `/people/${id(who)}/${act}`)) as unknown as PersonShown;
      say(
        `${person.displayName ?? person.userName} is ${person.lifecycle}. «usher status ${person.userName}» shows how it goes on.`,
      );
    });

  program
    .command('runs')
    .description('runs, and what waits for a decision: removals that the brake holds, plans of a changed policy')
    .argument('[run]', 'one run: who, what, and what became of it')
    .option('--json', 'as JSON')
    .action(async (run: string | undefined, options: { json?: boolean }) => {
      if (run) {
        const shown = (await (await api()).get('/runs')) as unknown as { items: RunShown[] };
        const found = shown.items.find((one) => one.runId === run);
        if (!found) throw new ApiRefusal(404, `There is no run ${run}.`, '«usher runs» lists them.');
        const plan = (await (await api()).get(`/runs/${id(run)}/plan`)) as unknown as { items: PlanItemShown[] };
        print(options.json, { ...found, plan: plan.items }, () => runText(found, plan.items));
        return;
      }
      const runs = await (await api()).get('/runs');
      const items = runs.items as {
        runId: string;
        kind: string;
        state: string;
        source: string | null;
        expiresAt: string | null;
        waiting: number;
        removals: { state: string }[];
      }[];
      print(options.json, runs, () =>
        items.length === 0
          ? 'There are no runs.'
          : table(
              ['Run', 'Kind', 'State', 'Source', 'Waiting', 'Expires to keep'],
              items.map((run) => [
                run.runId,
                run.kind,
                run.state,
                run.source ?? '-',
                String(run.waiting + run.removals.filter((removal) => removal.state === 'held').length),
                run.expiresAt ?? '-',
              ]),
            ),
      );
    });

  for (const [name, description] of [
    ['approve', 'let the removals of a held run go on'],
    ['keep', 'refuse the removals of a held run'],
  ] as const) {
    program
      .command(name)
      .description(description)
      .argument('<run>', 'the run, from «usher runs»')
      .option('--only <who...>', 'only these people')
      .option('--reason <reason>', 'only those who leave for this reason: inactive, deleted, out_of_scope, offboarded')
      .action(async (run: string, options: { only?: string[]; reason?: string }) => {
        const result = await (await api()).send('POST', `/runs/${id(run)}/${name}`, {
          ...(options.only ? { only: options.only } : {}),
          ...(options.reason ? { cause: options.reason } : {}),
        });
        say(
          `${result.decided} ${name === 'approve' ? 'approved' : 'kept'}.${result.stale ? ` ${result.stale} changed since and were left alone; a new plan shows them.` : ''}`,
        );
      });
  }

  delegationCommands(program, api, say);
  onboardCommand(program, api, say, (code) => {
    exitCode = code;
  });
  tasksCommand(program, api, say, (code) => {
    exitCode = code;
  });
  reconcileCommand(program, api, say, (code) => {
    exitCode = code;
  });

  const token = program.command('token').description('SCIM tokens; two may be live per source, for rotation');
  token
    .command('create')
    .argument('<source>', 'a SCIM source of the policy')
    .option('--label <text>', 'what it is for', '')
    .option('--days <number>', 'days until it expires', asDays)
    .option('--json', 'as JSON')
    .action(async (source: string, options: { label: string; days?: number; json?: boolean }) => {
      const made = await (await api()).send('POST', '/tokens', {
        source,
        label: options.label,
        ...(options.days ? { expiresInDays: options.days } : {}),
      });
      print(options.json, made, () => `The token of source ${source}, shown once: ${made.token}`);
    });
  token
    .command('list')
    .option('--json', 'as JSON')
    .action(async (options: { json?: boolean }) => {
      const { items } = (await (await api()).get('/tokens')) as {
        items: {
          tokenId: string;
          kind: string;
          source: string | null;
          label: string;
          createdAt: string;
          expiresAt: string | null;
          lastUsedAt: string | null;
        }[];
      };
      print(options.json, items, () =>
        table(
          ['Token', 'Kind', 'Source', 'Created', 'Expires', 'Last used', 'Label'],
          items.map((row) => [
            row.tokenId,
            row.kind,
            row.source ?? '-',
            row.createdAt,
            row.expiresAt ?? 'never',
            row.lastUsedAt ?? 'never',
            row.label,
          ]),
        ),
      );
    });
  token
    .command('revoke')
    .argument('<token>', 'the token id, from «usher token list»')
    .action(async (tokenId: string) => {
      await (await api()).send('DELETE', `/tokens/${id(tokenId)}`);
      say('Revoked.');
    });

  const source = program.command('source').description('where people come from');
  source
    .command('list')
    .option('--json', 'as JSON')
    .action(async (options: { json?: boolean }) => {
      const { items } = (await (await api()).get('/sources')) as {
        items: { name: string; kind: string; pausedAt: string | null; lastHeardAt: string | null }[];
      };
      print(options.json, items, () =>
        table(
          ['Source', 'Kind', 'Paused', 'Last heard of'],
          items.map((row) => [row.name, row.kind, row.pausedAt ?? 'no', row.lastHeardAt ?? 'never']),
        ),
      );
    });
  source
    .command('poll')
    .description('read the directory of a polled source now')
    .argument('<source>')
    .option('--full', 'everything anew, instead of what changed')
    .action(async (name: string, options: { full?: boolean }) => {
      await (await api()).send('POST', `/sources/${id(name)}/poll`, { full: options.full ?? false });
      say(`${name} is read now. «usher runs» shows what came of it.`);
    });
  for (const act of ['pause', 'resume'] as const) {
    source
      .command(act)
      .argument('<source>')
      .action(async (name: string) => {
        await (await api()).send('POST', `/sources/${id(name)}/${act}`);
        say(`${name}: ${act === 'pause' ? 'paused; its requests are answered with 503 and come again' : 'resumed'}.`);
      });
  }

  program
    .command('doctor')
    .description('every connection, permission and setting tried, with the fix for each fault')
    .option('--json', 'as JSON')
    .action(async (options: { json?: boolean }) => {
      const findings = await doctor(env);
      print(options.json, { findings }, () =>
        [
          ...findings.map((finding) =>
            [
              `${{ ok: '✓', warning: '!', fault: '✗' }[finding.state]} ${finding.what}: ${finding.found}`,
              ...(finding.fix && finding.state !== 'ok' ? [`    → ${finding.fix}`] : []),
            ].join('\n'),
          ),
          '',
          `${findings.filter((finding) => finding.state === 'fault').length} faults, ${findings.filter((finding) => finding.state === 'warning').length} warnings.`,
        ].join('\n'),
      );
      if (findings.some((finding) => finding.state === 'fault')) exitCode = 1;
    });

  const policyCommand = program.command('policy').description('the policy file');
  policyCommand
    .command('check')
    .description('every fault of the policy, with its line')
    .argument('[file]', 'instead of USHER_POLICY')
    .action(async (file: string | undefined) => {
      const name = file ?? env.USHER_POLICY ?? 'config/policy.yaml';
      const policy = parsePolicy(await readFile(name, 'utf8'), name);
      say(
        `${name} is right: ${policy.rules.length} rules, ${policy.sources.length} sources, version ${policy.version}.`,
      );
      for (const line of notActedOn(policy, {})) say(`Not acted on by this version: ${line}.`);
    });
  policyCommand
    .command('diff')
    .description('what an edited policy would change for whom; nothing is done')
    .argument('[file]', 'instead of USHER_POLICY')
    .option('--json', 'as JSON')
    .action(async (file: string | undefined, options: { json?: boolean }) => {
      const name = file ?? env.USHER_POLICY ?? 'config/policy.yaml';
      const text = await readFile(name, 'utf8');
      // Faults are told with the lines of the file, before anybody is asked.
      parsePolicy(text, name);
      const diff = (await (await api()).send('POST', '/policy/diff', { policy: text })) as unknown as PolicyDiffShown;
      print(options.json, diff, () => policyDiffText(diff));
      if (diff.takes > 0) exitCode = 3;
    });
  policyCommand
    .command('schema')
    .description('the JSON schema of the policy, for editors')
    .action(() => say(JSON.stringify(policyJsonSchema(), null, 2)));
  addCompletion(program, argv);

  try {
    await program.parseAsync(argv, { from: 'user' });
    return exitCode;
  } catch (error) {
    return explain(error, env);
  }
}

/** What went wrong, who can mend it, what next; never a stack for something expected. */
function explain(error: unknown, env: NodeJS.ProcessEnv): number {
  const complain = (text: string) => void process.stderr.write(`${text}\n`);
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof ConfigError) {
    complain(error.message);
    return 2;
  }
  if (error instanceof ApiRefusal) {
    complain(`${error.message}${error.next ? ` ${error.next}` : ''}`);
    return 1;
  }
  if (error instanceof UsherError) {
    complain(`${error.row.title}: ${error.message} ${error.row.next}`);
    return 1;
  }
  const { code, message, port, path: file } = error as NodeJS.ErrnoException & { port?: number };
  if (code === 'EADDRINUSE') complain(`Port ${port} is taken by another program. Set USHER_PORT to a free one.`);
  else if (code === 'ENOENT' && file) complain(`${file} is not there.`);
  else
    complain(
      env.USHER_LOG_LEVEL === 'debug' && error instanceof Error ? String(error.stack) : `Usher failed: ${message}`,
    );
  return 1;
}

function asQueueName(text: string): QueueName {
  if (![...steps, 'express'].includes(text))
    throw new InvalidArgumentError(`use one of ${[...steps, 'express'].join(', ')}`);
  return text as QueueName;
}

function asDays(text: string): number {
  if (!/^\d+$/.test(text) || Number(text) < 1) throw new InvalidArgumentError('use a whole number of days');
  return Number(text);
}

/** The first signal asks to stop; the second ends at once. */
function untilStopped(): { signal: AbortSignal; done: Promise<void> } {
  const controller = new AbortController();
  const done = new Promise<void>((resolve) => {
    const stop = () => {
      if (controller.signal.aborted) process.exit(130);
      controller.abort();
      resolve();
    };
    process.on('SIGINT', stop);
    process.on('SIGTERM', stop);
  });
  return { signal: controller.signal, done };
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  // «usher ... | head»: whoever reads has read enough.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
  process.exitCode = await main(process.argv.slice(2), process.env);
  // Whatever a library still holds open must not keep a finished command alive; what was said is read first, also by a slow pipe.
  await Promise.all([process.stdout, process.stderr].map((out) => new Promise((resolve) => out.write('', resolve))));
  process.exit(process.exitCode);
}
