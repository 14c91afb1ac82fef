/** `usher tasks`: work that only people can do. Out as a list or CSV, back in as a word that is looked at. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import type { Command } from 'commander';
import { type ApiClient, ApiRefusal } from './api-client.ts';
import { table } from './table.ts';

interface TaskShown {
  taskId: string;
  kind: string;
  title: string;
  instructions: string[];
  dueAt: string;
  saidBy: string | null;
  contradiction: string | null;
}

interface SheetShown {
  title: string;
  kind: string;
  role: string;
  dueAt: string;
  tasks: number;
  overdue: number;
  saidDone: number;
}

interface TasksOptions {
  kind?: string;
  overdue?: boolean;
  csv?: boolean;
  done?: string[];
  by?: string;
  json?: boolean;
}

export function tasksCommand(
  program: Command,
  api: () => Promise<ApiClient>,
  say: (line: string) => void,
  exit: (code: number) => void,
): void {
  program
    .command('tasks')
    .description('open work items: what an administrator must do by hand, because the account has no call for it')
    .argument('[who]', 'of this person only: userName, e-mail address, externalId or personId')
    .option('--kind <kind>', 'one sheet only, as assign_seat')
    .option('--overdue', 'only what is overdue')
    .option('--csv', 'as CSV, to work through; fill in «done», and send it back with --done')
    .option('--done <file-or-task...>', 'these are done: a CSV from --csv, or task ids')
    .option('--by <name>', 'whose word it is; otherwise whoever is signed in')
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      `
Examples:
  $ usher tasks                                    the worksheets, and the tasks on them
  $ usher tasks --kind assign_seat --csv > seats.csv
  $ usher tasks --done seats.csv --by "Jane Doe"   each is looked at: what is not so stays open`,
    )
    .action(async (who: string | undefined, options: TasksOptions) => {
      const client = await api();
      if (options.done) {
        const answer = await sayDone(client, options.done, options.by);
        if (options.json) say(JSON.stringify(answer, null, 2));
        else {
          say(
            answer.said > 0
              ? `${answer.said} said to be done; each is looked at now. «usher tasks» shows what is still open, and why.`
              : 'No open task was said to be done: write yes into the column «done» of the rows that are.',
          );
          if (answer.notOpen.length > 0) say(`Not open, and left alone: ${answer.notOpen.join(', ')}.`);
        }
        if (answer.said === 0) exit(3);
        return;
      }
      const query = new URLSearchParams({
        ...(options.kind ? { kind: options.kind } : {}),
        ...(options.overdue ? { overdue: 'true' } : {}),
        ...(who ? { who } : {}),
      });
      if (options.csv) {
        // With its byte order mark, which the client drops: spreadsheets take a file without one for the local code page.
        process.stdout.write(`\uFEFF${await client.text(`/tasks?${query}&format=csv`)}`);
        return;
      }
      const page = (await client.get(`/tasks?${query}&limit=200`)) as unknown as { items: TaskShown[]; total: number };
      const { items: sheets } = (await client.get('/tasks/worksheets')) as unknown as { items: SheetShown[] };
      if (options.json) {
        say(JSON.stringify({ ...page, worksheets: sheets }, null, 2));
        return;
      }
      if (page.total === 0) {
        say('There is nothing to do by hand.');
        return;
      }
      if (!who && !options.kind && !options.overdue) {
        say(
          table(
            ['Worksheet', 'Who', 'Due', 'Overdue', 'Kind'],
            sheets.map((sheet) => [
              sheet.title,
              sheet.role,
              sheet.dueAt.slice(0, 10),
              String(sheet.overdue),
              sheet.kind,
            ]),
          ),
        );
        say('');
      }
      say(
        table(
          ['Task', 'Due', 'What'],
          page.items.map((task) => [
            task.taskId,
            task.dueAt.slice(0, 10),
            `${task.contradiction ? 'NOT SO: ' : task.saidBy ? `said by ${task.saidBy}: ` : ''}${task.title}`,
          ]),
        ),
      );
      for (const task of page.items.filter((one) => one.contradiction)) say(`${task.taskId}: ${task.contradiction}`);
      if (who)
        for (const task of page.items)
          say(['', task.title, ...task.instructions.map((line) => `  ${line}`)].join('\n'));
      if (page.total > page.items.length)
        say(`… and ${page.total - page.items.length} more: --csv writes all of them.`);
    });
}

async function sayDone(
  client: ApiClient,
  given: string[],
  by: string | undefined,
): Promise<{ said: number; notOpen: string[] }> {
  const isId = (text: string) => /^[0-9a-f-]{36}$/i.test(text);
  const absent = given.find((one) => !isId(one) && !existsSync(one));
  if (absent)
    throw new ApiRefusal(
      0,
      `${absent}: there is no such file, and it is no task id.`,
      '«usher tasks --csv» writes one.',
    );
  const files = given.filter((one) => !isId(one));
  const taskIds = given.filter(isId);
  let said = 0;
  const notOpen: string[] = [];
  const add = (answer: Record<string, unknown>): void => {
    said += Number(answer.said);
    notOpen.push(...(answer.notOpen as string[]));
  };
  for (const file of files) {
    const text = decoded(await readFile(file));
    add(
      await client.upload(
        `/tasks/done${by ? `?by=${encodeURIComponent(by)}` : ''}`,
        Readable.from([Buffer.from(text)]),
      ),
    );
  }
  if (taskIds.length > 0) add(await client.send('POST', '/tasks/done', { taskIds, ...(by ? { by } : {}) }));
  return { said, notOpen };
}

/** As spreadsheets save: UTF-8, UTF-16 («Unicode text»), or the code page of Western Europe. */
function decoded(bytes: Buffer): string {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return new TextDecoder('utf-16le').decode(bytes);
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return new TextDecoder('utf-16be').decode(bytes);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder('windows-1252').decode(bytes);
  }
}
