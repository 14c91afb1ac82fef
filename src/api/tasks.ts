/** `/api/v1/tasks`: work that only people can do; as a list, as worksheets, as CSV; said to be done, and looked at then. */
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { csvLine, readCsv } from '../csv.ts';
import {
  instructionsOf,
  sheetTitle,
  type Task,
  taskKinds,
  taskStates,
  worksheetColumns,
  worksheetRow,
} from '../domain/tasks.ts';
import { UsherError } from '../errors.ts';
import type { SchedulingAccount, ShownPerson, TaskQuery, TaskStore, WakeUps } from '../ports.ts';
import type { Caller } from './caller.ts';
import { limit } from './people.ts';
import { type Route, route } from './route.ts';
import * as shapes from './shapes.ts';

export interface TaskParts {
  store: TaskStore;
  account: SchedulingAccount;
  wakeUps: WakeUps;
  findOne(who: string): Promise<ShownPerson>;
}

const tag = 'Tasks';
const yesNo = z.enum(['true', 'false']).transform((text) => text === 'true');
const tasksQuery = z.strictObject({
  state: z.enum([...taskStates, 'all']).default('open'),
  kind: z.enum(taskKinds).optional(),
  who: z.string().max(320).optional(),
  overdue: yesNo.optional(),
  said: yesNo.optional(),
  format: z.enum(['json', 'csv']).default('json'),
  limit,
  cursor: z.string().max(400).optional(),
});
const by = z.string().trim().min(1).max(200).optional();
const doneBody = z.strictObject({ by });
const manyDoneBody = z.strictObject({ taskIds: z.array(z.uuid()).min(1).max(10_000), by });
const csvHeadings = { taskId: ['taskid', 'task'], done: ['done'], doneBy: ['doneby', 'by'] };
const mostRows = 10_000;

/** How long the answer waits for the look that follows a word. */
const lookWaitMs = 8000;

export function taskRoutes({ store, account, wakeUps, findOne }: TaskParts): Route[] {
  const find = async (taskId: string | undefined): Promise<Task> => {
    const task = await store.task(taskId ?? '');
    if (!task) throw new UsherError('not_found', 'There is no such task.');
    return task;
  };
  const nameOf = (caller: Caller, given: string | undefined): string => given ?? caller.cause.actor;

  /** The people behind are looked at now: by the step itself, which believes what it sees. */
  const say = async (words: { taskIds: string[]; by: string }[], caller: Caller): Promise<Task[]> => {
    const said = await store.sayDone(words, caller.cause);
    for (const step of new Set(said.map((task) => task.step)))
      await wakeUps.hint(
        step,
        said.filter((task) => task.step === step).map((task) => task.personId),
        said.length <= 20 ? 'now' : 'soon',
      );
    return said;
  };

  return [
    route({
      method: 'get',
      path: '/tasks',
      tag,
      summary: 'Open work items, in the order to do them; as JSON or as CSV to work through and send back',
      operation: 'tasks.read',
      query: tasksQuery,
      answers: { 200: { description: 'A page of tasks.', schema: shapes.listOf(shapes.task) } },
      async handle({ query: { state, who, format, cursor, ...rest }, response }) {
        const query: TaskQuery = {
          ...rest,
          state: state === 'all' ? undefined : state,
          personId: who ? (await findOne(who)).known.person.personId : undefined,
          after: cursor ? readCursor(cursor) : undefined,
        };
        if (format === 'csv') {
          response.type('text/csv').set('Content-Disposition', 'attachment; filename="tasks.csv"');
          response.write(`\uFEFF${csvLine(worksheetColumns)}`);
          for (let after = query.after; ; ) {
            const page = await store.tasks({ ...query, limit: 500, after });
            response.write(page.items.map((task) => csvLine(Object.values(worksheetRow(task)))).join(''));
            if (!page.next) break;
            after = page.next;
          }
          response.end();
          return;
        }
        const page = await store.tasks(query);
        return {
          body: {
            items: page.items.map(showTask),
            total: page.total,
            nextCursor: page.next ? Buffer.from(JSON.stringify(page.next)).toString('base64url') : null,
          },
        };
      },
    }),
    route({
      method: 'get',
      path: '/tasks/worksheets',
      tag,
      summary: 'The open work by kind: how much, until when, and where its list is',
      operation: 'tasks.read',
      answers: { 200: { description: 'The sheets.', schema: shapes.itemsOf(shapes.worksheet) } },
      async handle() {
        const sheets = await store.worksheets();
        return {
          body: {
            items: sheets.map((sheet) => ({
              ...sheet,
              role: 'account_administrator',
              title: sheetTitle(sheet.kind, sheet.tasks),
              list: `/api/v1/tasks?kind=${sheet.kind}`,
              csv: `/api/v1/tasks?kind=${sheet.kind}&format=csv`,
            })),
          },
        };
      },
    }),
    route({
      method: 'post',
      path: '/tasks/done',
      tag,
      summary: 'Say that tasks are done: by their ids, or the CSV that came from here with «done» filled in',
      operation: 'tasks.write',
      query: doneBody,
      body: manyDoneBody,
      csv: true,
      answers: {
        200: {
          description: 'Whose word was taken; each is looked at now, and stays open with a reason where it is not so.',
          schema: z.looseObject({ said: z.int(), notOpen: z.array(z.string()) }),
        },
      },
      async handle({ query, body, caller }) {
        const words =
          typeof body === 'string' ? readWords(body, query.by) : [{ taskIds: body.taskIds, by: body.by ?? query.by }];
        const asked = words.flatMap((word) => word.taskIds);
        const said = await say(
          words.map((word) => ({ taskIds: word.taskIds, by: nameOf(caller, word.by) })),
          caller,
        );
        const taken = new Set(said.map((task) => task.taskId));
        return { body: { said: said.length, notOpen: asked.filter((taskId) => !taken.has(taskId)) } };
      },
    }),
    route({
      method: 'get',
      path: '/tasks/{taskId}',
      tag,
      summary: 'One task, with what to do line by line',
      operation: 'tasks.read',
      answers: { 200: { description: 'The task.', schema: shapes.task } },
      handle: async ({ params }) => ({ body: showTask(await find(params.taskId)) }),
    }),
    route({
      method: 'post',
      path: '/tasks/{taskId}/done',
      tag,
      summary: 'Say that it is done; the answer shows what was seen of it, as far as it could be looked at by then',
      operation: 'tasks.write',
      body: doneBody,
      answers: {
        200: { description: 'Closed: by what was seen, or by the word alone.', schema: shapes.task },
        202: { description: 'Said; not looked at yet, or not so: «contradiction» says why.', schema: shapes.task },
      },
      async handle({ params, body, caller }) {
        const before = await find(params.taskId);
        if (before.state !== 'open')
          throw new UsherError('not_open', `The task is ${before.state} (${before.closedBy}); nothing is to be said.`);
        const [said] = await say([{ taskIds: [before.taskId], by: nameOf(caller, body.by) }], caller);
        for (let until = Date.now() + lookWaitMs, pause = 50; said; pause = Math.min(500, pause * 2)) {
          await sleep(pause);
          const seen = await find(said.taskId);
          if (seen.state !== 'open') return { body: showTask(seen) };
          if (seen.contradiction || seen.kind !== said.kind || Date.now() > until)
            return { status: 202, body: showTask(seen) };
        }
        return { status: 202, body: showTask(await find(before.taskId)) };
      },
    }),
    route({
      method: 'get',
      path: '/account',
      tag: 'Account',
      summary:
        'Which account is provisioned into, and how each step is carried out there: by itself, or by an administrator’s hand',
      operation: 'policy.read',
      answers: { 200: { description: 'Kind and capabilities.', schema: shapes.accountCapabilities } },
      handle: () =>
        Promise.resolve({
          body: { kind: account.kind, capabilities: account.capabilities, pace: account.pace },
        }),
    }),
  ];
}

function showTask(task: Task) {
  return { ...task, instructions: task.instructions.length > 0 ? task.instructions : instructionsOf(task) };
}

function readCursor(cursor: string): TaskQuery['after'] {
  try {
    const { at, taskId } = z
      .strictObject({ at: z.iso.datetime(), taskId: z.uuid() })
      .parse(JSON.parse(Buffer.from(cursor, 'base64url').toString()));
    return { at, taskId };
  } catch {
    throw new UsherError('invalid_value', 'cursor: it is none of ours; begin without one.');
  }
}

const yes = ['yes', 'y', 'true', '1', 'x', 'done', 'ja', 'wahr', 'oui', 'vrai', 'si', 'sí'];
const no = ['', 'no', 'n', 'false', '0', 'nein', 'falsch', 'non', 'faux'];

/** Rows with a yes, gathered by whose word it is. All faults are told, and then nothing is taken. */
function readWords(csv: string, byDefault: string | undefined): { taskIds: string[]; by: string | undefined }[] {
  const faults: string[] = [];
  const words = new Map<string, string[]>();
  for (const { line, values } of readCsv(csv, csvHeadings, ['taskId', 'done'], mostRows)) {
    const done = (values.done ?? '').trim().toLowerCase();
    // The rows that a spreadsheet leaves behind the last one.
    if (Object.values(values).every((value) => !value?.trim())) continue;
    if (!z.uuid().safeParse(values.taskId).success) faults.push(`line ${line}: taskId: «${values.taskId}» is none`);
    else if ((values.doneBy ?? '').length > 200) faults.push(`line ${line}: doneBy: more than 200 characters`);
    else if (yes.includes(done))
      words.set(values.doneBy ?? '', [...(words.get(values.doneBy ?? '') ?? []), values.taskId ?? '']);
    else if (!no.includes(done))
      faults.push(`line ${line}: done: «${values.done}» is neither yes nor no; leave it empty where it is not done`);
  }
  if (faults.length > 0) throw new UsherError('invalid_value', `Nothing was taken. ${faults.slice(0, 50).join(' | ')}`);
  return [...words].map(([name, taskIds]) => ({ taskIds, by: name || byDefault }));
}
