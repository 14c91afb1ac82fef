/** `usher reconcile`: what is wished beside what the account shows; a plan first, then with --apply. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type { ApiClient } from './api-client.ts';
import { table } from './table.ts';

interface RunShown {
  runId: string;
  state: string;
  report: { people?: number; found?: number; corrected?: number; stale?: number; error?: string } | null;
}

interface DriftShown {
  kind: string;
  who: string;
  what: string;
  owner: string;
  since: string | null;
  mode: string;
  state: string;
}

export function reconcileCommand(
  program: Command,
  api: () => Promise<ApiClient>,
  say: (line: string) => void,
  exit: (code: number) => void,
): void {
  program
    .command('reconcile')
    .description(
      'compare what is wished with what the account shows: users, seats, pages, delegations, users that nobody knows',
    )
    .argument('[who...]', 'only these people; otherwise everybody')
    .option(
      '--apply [run]',
      'correct what the policy lets be corrected (reconcile.drift); with a run: exactly what that one showed. Without it nothing is done',
    )
    .option('--csv', 'the differences as CSV, to send on')
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      `
Examples:
  $ usher reconcile                     what is otherwise than it should be, and who acts
  $ usher reconcile --apply RUN         correct exactly what that run showed; what changed since is left alone
  $ usher reconcile --apply             look and correct in one go
  $ usher reconcile ana@contoso.com     one person
Exit code 3: differences are left.`,
    )
    .action(async (who: string[], options: { apply?: boolean | string; csv?: boolean; json?: boolean }) => {
      const client = await api();
      const named = typeof options.apply === 'string' ? options.apply : null;
      const plan = named && runId.test(named) ? named : null;
      // «--apply ana@contoso.com» means the person.
      const people = named && !plan ? [named, ...who] : who;
      let run = (await client.send(
        'POST',
        plan ? `/runs/${plan}/apply` : '/runs/reconcile',
        plan
          ? people.length > 0
            ? { only: people }
            : {}
          : { ...(people.length > 0 ? { who: people } : {}), apply: Boolean(options.apply) },
      )) as unknown as RunShown;
      while (run.state === 'running') {
        await sleep(250);
        run = (await client.get(`/runs/${run.runId}`)) as unknown as RunShown;
      }
      if (run.state === 'failed') {
        say(`The reconciliation could not be finished: ${run.report?.error ?? 'see the log'}`);
        exit(1);
        return;
      }
      const { found = 0, corrected = 0, people: looked = 0, stale = 0 } = run.report ?? {};
      if (found > corrected) exit(3);
      if (options.csv) {
        process.stdout.write(await client.text(`/runs/${run.runId}/drift?format=csv`));
        return;
      }
      const { items } = (await client.get(`/runs/${run.runId}/drift`)) as unknown as { items: DriftShown[] };
      if (options.json) {
        say(JSON.stringify({ ...run, drift: items }, null, 2));
        return;
      }
      if (found === 0) {
        say(`${looked} people are as they are wished. Nothing was written.`);
        return;
      }
      say(
        table(
          ['Kind', 'Who', 'What becomes of it', 'Who acts', 'What'],
          items.map((one) => [one.kind, one.who, becomes(one), one.owner, one.what]),
        ),
      );
      say('');
      say(
        `${found} differences of ${looked} people${options.apply ? `; ${corrected} are being corrected («usher status WHO» shows how)` : '; nothing was done'}${stale > 0 ? `; ${stale} are not what the plan showed and were left alone` : ''}. Run ${run.runId}.`,
      );
      if (!options.apply && items.some((one) => one.mode === 'correct'))
        say(`To correct exactly this: usher reconcile --apply ${run.runId}`);
    });
}

const runId = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i;

function becomes({ state, mode }: DriftShown): string {
  if (state === 'corrected') return 'corrected now';
  if (state === 'plan_stale') return 'left alone: not what the plan showed';
  return mode === 'correct' ? 'with --apply' : 'reported only';
}
