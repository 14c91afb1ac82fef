/** `usher onboard`: a table of people as a plan first; then applied, watched, stopped and resumed. */
import { createReadStream } from 'node:fs';
import { access, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, InvalidArgumentError } from 'commander';
import type { ImportSummary } from '../domain/import-plan.ts';
import { type ApiClient, ApiRefusal } from './api-client.ts';
import { table } from './table.ts';

interface ImportShown {
  importId: string;
  name: string;
  state: string;
  createdAt: string;
  summary: ImportSummary | null;
  progress: { rows: Record<string, number>; people: number; ready: number; conditions: Record<string, number> };
  earlierPlan?: { importId: string; agrees: boolean } | null;
}

interface Options {
  apply?: string | boolean;
  stop?: string;
  resume?: string;
  list?: boolean;
  wait?: boolean;
  errors?: string;
  json?: boolean;
}

export function onboardCommand(
  program: Command,
  api: () => Promise<ApiClient>,
  say: (line: string) => void,
  setExitCode: (code: number) => void,
): void {
  program
    .command('onboard')
    .description('people from a CSV file: a plan first, then applied; stopped and resumed at any row')
    .argument('[file]', 'CSV with headings in the first line; UTF-8 or UTF-16, commas, semicolons or tabs')
    .option('--apply [plan]', 'do what this plan says; with a file: what its last plan says, if it still says the same')
    .option('--stop <plan>', 'stop behind the row that is at work')
    .option('--resume <plan>', 'go on with the rows that wait')
    .option('--list', 'the newest imports')
    .option('--wait', 'wait until everybody who can be is Ready')
    .option('--errors <file>', 'write the rows that are wrong there, to be mended and sent again')
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      `
Examples:
  usher onboard people.csv                      the plan; nothing is done
  usher onboard people.csv --errors wrong.csv   and the rows that are wrong
  usher onboard --apply PLAN --wait             do it, and wait
  usher onboard people.csv --apply              do it, if the plan from before still says the same
  usher onboard --stop PLAN ; usher onboard --resume PLAN

Columns, in any order: userName or email (one is needed), displayName, givenName, familyName, externalId, department, title, timeZone,
active (false: the person leaves), role, licenses, bookingPages ... The exports of the Exchange and Entra admin centres are understood.
Exit codes: 0 done, 1 a fault, 2 wrong usage, 3 rows are wrong, the plan does not agree, or not everybody is Ready.`,
    )
    .action(async (file: string | undefined, options: Options) => {
      const asked = [file, options.stop, options.resume, options.list, typeof options.apply === 'string'].filter(
        Boolean,
      );
      if (asked.length !== 1)
        throw new InvalidArgumentError('name one file, or one of --apply PLAN, --stop PLAN, --resume PLAN, --list');
      const client = await api();
      if (options.list) return list(client, options, say);
      let shown: ImportShown;
      if (file) {
        await access(file);
        shown = await upload(client, file);
        if (options.apply === true) {
          if (!shown.earlierPlan?.agrees) {
            show(shown, options, say);
            await problems(client, shown, options, say);
            const why = shown.earlierPlan
              ? 'The plan from before does not say the same any more'
              : 'There was no plan of this file yet';
            say(`${why}, so nothing was done. Look at this one, then: usher onboard --apply ${shown.importId}`);
            setExitCode(3);
            return;
          }
          shown = await move(client, shown.earlierPlan.importId, 'apply');
        } else {
          show(shown, options, say);
          await problems(client, shown, options, say);
          const wrong = (shown.summary?.kinds.faulty ?? 0) + (shown.summary?.kinds.ambiguous ?? 0);
          if (!options.json)
            say(`Nothing was done. To do what this plan says: usher onboard --apply ${shown.importId}`);
          if (wrong > 0) setExitCode(3);
          return;
        }
      } else if (typeof options.apply === 'string') shown = await move(client, options.apply, 'apply');
      else if (options.resume) shown = await move(client, options.resume, 'resume');
      else shown = await move(client, options.stop ?? '', 'stop');

      if (options.stop) {
        say(
          options.json
            ? JSON.stringify(shown, null, 2)
            : `Stopped: ${shown.progress.rows.waiting} rows wait. To go on: usher onboard --resume ${shown.importId}`,
        );
        return;
      }
      shown = await watch(client, shown, options, say);
      if (options.json) say(JSON.stringify(shown, null, 2));
      else say(outcome(shown));
      await problems(client, shown, options, say);
      const { plan_stale: stale = 0, failed = 0 } = shown.progress.rows;
      if (stale + failed > 0 || (options.wait && shown.progress.ready < shown.progress.people)) setExitCode(3);
    });
}

async function upload(client: ApiClient, file: string): Promise<ImportShown> {
  return (await client.upload(
    `/imports?name=${encodeURIComponent(path.basename(file))}`,
    createReadStream(file),
  )) as unknown as ImportShown;
}

async function move(client: ApiClient, plan: string, doing: 'apply' | 'stop' | 'resume'): Promise<ImportShown> {
  return (await client.send('POST', `/imports/${encodeURIComponent(plan)}/${doing}`)) as unknown as ImportShown;
}

async function list(client: ApiClient, options: Options, say: (line: string) => void): Promise<void> {
  const { items } = (await client.get('/imports')) as unknown as { items: ImportShown[] };
  if (options.json) say(JSON.stringify(items, null, 2));
  else if (items.length === 0) say('There are no imports.');
  else
    say(
      table(
        ['Plan', 'State', 'Rows', 'Made', 'File'],
        items.map((item) => [item.importId, item.state, String(item.summary?.rows ?? '-'), item.createdAt, item.name]),
      ),
    );
}

function show(shown: ImportShown, options: Options, say: (line: string) => void): void {
  if (options.json) say(JSON.stringify(shown, null, 2));
  else say(planText(shown));
}

export function planText({ importId, name, summary }: Pick<ImportShown, 'importId' | 'name' | 'summary'>): string {
  if (!summary) return `${name} could not be read.`;
  const { kinds, calendars, pages } = summary;
  const count = (number: number, what: string) => [String(number).padStart(7), what] as const;
  const lines = [
    count(kinds.new, 'new'),
    count(kinds.known, 'known already, and joined'),
    count(kinds.changed, 'changed'),
    count(kinds.leaver, 'leaving (active is false)'),
    count(kinds.unchanged, 'as they are'),
    count(kinds.ambiguous, 'could be more than one person: not touched'),
    count(kinds.faulty, 'wrong: not touched'),
  ].filter(([number]) => Number(number) > 0);
  const seats = Object.entries(summary.seats).map(
    ([kind, { needed, left, missing }]) =>
      `  ${kind}: ${needed} needed, ${left === null ? 'unlimited' : `${left} left`}${missing > 0 ? `; ${missing === 1 ? '1 person' : `${missing} people`} will wait for a seat` : ''}`,
  );
  return [
    `Plan ${importId}: ${name}, ${summary.rows} rows`,
    ...lines.map(([number, what]) => `${number}  ${what}`),
    ...(summary.outOfScope > 0
      ? [`${String(summary.outOfScope).padStart(7)}  of them match no rule of the policy: nothing is made of them`]
      : []),
    ...(summary.cellsNotUsed
      ? [
          `${String(summary.cellsNotUsed).padStart(7)}  of them have a role, licenses or pages that are not used: their rule says it for everybody («bookingPages: from-directory» in the rule would use the column)`,
        ]
      : []),
    ...(seats.length > 0 ? ['Seats', ...seats] : []),
    `Calendars: ${calendars.delegated} delegated, ${calendars.notDelegated} not, ${calendars.toBeChecked} to be checked`,
    ...(pages.wished > 0
      ? [
          `Booking pages: ${pages.wished} wished, ${pages.missing} missing, ${pages.ownedByOthers} owned by somebody else${pages.claimedTwice > 0 ? `, ${pages.claimedTwice} claimed twice` : ''}`,
        ]
      : []),
    ...byHandLines(summary),
    `Time: about ${seconds(summary.secondsExpected)}${byHand(summary) ? ' of requests to the account, and the administrator’s own time' : ''}, if nothing is in the way`,
  ].join('\n');
}

/** What the plan leaves to an administrator's hands. */
function byHandLines(summary: ImportSummary): string[] {
  if (!byHand(summary)) return [];
  const seats = Object.values(summary.seats).reduce((sum, { needed, missing }) => sum + needed - missing, 0);
  return [
    `By hand: an account administrator assigns ${seats} seats and sees to ${summary.pages.wished} Booking pages, as tasks («usher tasks»)`,
  ];
}

const byHand = (summary: ImportSummary): boolean =>
  (summary.byHand ?? []).some(({ step }) => step === 'assign-license');

/** The rows that are wrong: the first on the terminal, all in the file. */
async function problems(
  client: ApiClient,
  shown: ImportShown,
  options: Options,
  say: (line: string) => void,
): Promise<void> {
  if (options.errors) {
    await writeFile(options.errors, await client.text(`/imports/${shown.importId}/errors`));
    say(`${options.errors} has the rows that were not taken, each with what is wrong. Mend it and send it again.`);
  }
  if (options.json) return;
  const rows: { line: number; who: string; note: string | null; result: string | null; suggestion: string | null }[] =
    [];
  for (const query of ['kind=faulty', 'kind=ambiguous', 'state=plan_stale', 'state=failed'])
    rows.push(
      ...((await client.get(`/imports/${shown.importId}/rows?${query}&limit=20`)).items as unknown as typeof rows),
    );
  if (rows.length === 0) return;
  say('');
  say(
    table(
      ['Line', 'Who', 'What is wrong', 'Perhaps'],
      rows.slice(0, 20).map((row) => [String(row.line), row.who, row.result ?? row.note ?? '', row.suggestion ?? '-']),
    ),
  );
  say('');
}

async function watch(
  client: ApiClient,
  started: ImportShown,
  options: Options,
  say: (line: string) => void,
): Promise<ImportShown> {
  const begun = Date.now();
  const isTerminal = Boolean(process.stdout.isTTY) && !options.json;
  let shown = started;
  let told = '';
  let quietSince = Date.now();
  let lastReady = -1;
  let appliedAfter: number | null = null;
  for (;;) {
    shown = (await client.get(`/imports/${started.importId}`)) as unknown as ImportShown;
    const { rows, people, ready } = shown.progress;
    const total = Object.values(rows).reduce((sum, count) => sum + count, 0);
    if (shown.state !== 'applying') appliedAfter ??= (Date.now() - begun) / 1000;
    const line = progressLine(shown, total - (rows.waiting ?? 0), total, appliedAfter ?? (Date.now() - begun) / 1000);
    if (isTerminal) process.stdout.write(`\r\u001b[K${line}`);
    else if (!options.json && line !== told) say(line);
    told = line;
    if (ready !== lastReady) quietSince = Date.now();
    lastReady = ready;
    const applied = shown.state !== 'applying';
    // Whoever still waits for somebody else's hand is not waited for longer than half a minute without a change.
    if (applied && (!options.wait || ready >= people || Date.now() - quietSince > 30_000)) break;
    await sleep(isTerminal ? 250 : 1000);
  }
  if (isTerminal) process.stdout.write('\n');
  if (shown.state === 'failed') throw new ApiRefusal(0, 'The import failed.', null);
  return shown;
}

function progressLine(shown: ImportShown, done: number, total: number, elapsed: number): string {
  const share = total === 0 ? 1 : done / total;
  const width = 24;
  const bar = '█'.repeat(Math.round(share * width)).padEnd(width, '░');
  const rate = elapsed > 1 ? done / elapsed : 0;
  const left = rate > 0 && done < total ? `, ${seconds(Math.ceil((total - done) / rate))} left` : '';
  const { people, ready, conditions } = shown.progress;
  const parts = Object.entries(conditions).map(([type, count]) => `${type} ${count}`);
  return `${bar} ${done}/${total} rows${rate > 0 ? `, ${Math.round(rate)}/s` : ''}${left} · Ready ${ready}/${people} · ${parts.join(', ')}`;
}

function outcome(shown: ImportShown): string {
  const { rows, people, ready } = shown.progress;
  return [
    `${shown.name}: ${shown.state}.`,
    `${rows.applied ?? 0} rows applied, ${rows.left ?? 0} left alone, ${rows.plan_stale ?? 0} not any more what the plan saw, ${rows.failed ?? 0} failed, ${rows.waiting ?? 0} waiting.`,
    `${ready} of ${people} people are Ready. «usher status» shows what blocks the others.`,
    ...((rows.waiting ?? 0) > 0 ? [`To go on: usher onboard --resume ${shown.importId}`] : []),
  ].join('\n');
}

function seconds(count: number): string {
  if (count < 90) return `${count} s`;
  if (count < 5400) return `${Math.round(count / 60)} min`;
  return `${(count / 3600).toFixed(1)} h`;
}
