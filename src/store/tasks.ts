/** Work that only people can do: opened and closed by the steps, said to be done by people, brought to mind when it is overdue. */
import type pg from 'pg';
import { conditionOf } from '../domain/next-steps.ts';
import { instructionsOf, type Task, titleOf } from '../domain/tasks.ts';
import { UsherError } from '../errors.ts';
import { isUuid, newId } from '../ids.ts';
import type { Cause, Fence, TaskStore } from '../ports.ts';
import { type Named, run, transaction } from './database.ts';

interface TaskRow {
  task_id: string;
  person_id: string;
  step: Task['step'];
  kind: Task['kind'];
  role: Task['role'];
  state: Task['state'];
  who: string;
  email: string | null;
  account_user_id: string | null;
  title: string;
  instructions: string[];
  wants: Task['wants'];
  opened_at: Date;
  due_at: Date;
  reminded_at: Date | null;
  reminders: number;
  said_by: string | null;
  said_at: Date | null;
  contradiction: string | null;
  closed_at: Date | null;
  closed_by: string | null;
  expires_at: Date | null;
}

const taskFrom = (row: TaskRow): Task => ({
  taskId: row.task_id,
  personId: row.person_id,
  step: row.step,
  kind: row.kind,
  role: row.role,
  state: row.state,
  who: row.who,
  email: row.email,
  accountUserId: row.account_user_id,
  title: row.title,
  instructions: row.instructions,
  wants: row.wants,
  openedAt: row.opened_at,
  dueAt: row.due_at,
  remindedAt: row.reminded_at,
  reminders: row.reminders,
  saidBy: row.said_by,
  saidAt: row.said_at,
  contradiction: row.contradiction,
  closedAt: row.closed_at,
  closedBy: row.closed_by,
  expiresAt: row.expires_at,
});

const current: Named = {
  name: 'current-task',
  text: `select * from tasks where person_id = $1 and step = $2 and (state = 'open' or state = 'done' and expires_at is not null)
         order by (state = 'open') desc, opened_at desc, task_id desc limit 1`,
};

/** A step that was overtaken asks for nothing and closes nothing; whoever takes over waits until this has been written. */
const fenced = (lane: Fence['lane']): string =>
  `f as (select 1 from people where person_id = $1 and ${lane}_fence = $2 for share)`;

const sameAct = `tasks.kind = excluded.kind and tasks.wants -> 'seats' = excluded.wants -> 'seats' and tasks.wants -> 'email' = excluded.wants -> 'email'`;

/** One open task a person and step: whoever wants it again, or otherwise, changes the one that is there. */
const open = (lane: Fence['lane']): Named => ({
  name: `open-task-${lane}`,
  text: `
with ${fenced(lane)}
insert into tasks (task_id, person_id, step, kind, role, state, who, email, account_user_id, title, instructions, wants, due_at)
select $12::uuid, $1::uuid, $3, $4, 'account_administrator', 'open', $5, $6, $7, $8, $9::text[], $10::jsonb, $11::timestamptz from f
on conflict (person_id, step) where state = 'open' do update set kind = excluded.kind, who = excluded.who, email = excluded.email,
  account_user_id = excluded.account_user_id, title = excluded.title, instructions = excluded.instructions, wants = excluded.wants,
  -- Something else is wanted now: what was said of the other is not said of this.
  said_by = case when ${sameAct} then tasks.said_by end, said_at = case when ${sameAct} then tasks.said_at end,
  contradiction = case when ${sameAct} then tasks.contradiction end
returning *, xmax = 0 as is_new`,
});

const close = (lane: Fence['lane']): Named => ({
  name: `close-task-${lane}`,
  text: `with ${fenced(lane)} update tasks set state = $4, closed_at = now(), closed_by = $5, expires_at = $6
         where person_id = $1 and step = any ($3::text[]) and state = 'open' and exists (select 1 from f) returning *`,
});

export function taskStore(pool: pg.Pool): TaskStore {
  return {
    async currentTask(personId, step) {
      const rows = await run<TaskRow & Record<string, unknown>>(pool, current, [personId, step]);
      return rows[0] ? taskFrom(rows[0]) : null;
    },

    async openTask(fence, wanted, dueAt) {
      const rows = await run<TaskRow & { is_new: boolean } & Record<string, unknown>>(pool, open(fence.lane), [
        fence.personId,
        fence.number,
        wanted.step,
        wanted.kind,
        wanted.who,
        wanted.email,
        wanted.accountUserId,
        titleOf(wanted),
        instructionsOf(wanted),
        JSON.stringify(wanted.wants),
        dueAt,
        newId(),
      ]);
      const row = rows[0];
      if (!row) throw new UsherError('fence_lost', 'Another worker works on this person by now.');
      return { task: taskFrom(row), isNew: row.is_new };
    },

    async closeTasks(fence, steps, state, closedBy, expiresAt) {
      const rows = await run<TaskRow & Record<string, unknown>>(pool, close(fence.lane), [
        fence.personId,
        fence.number,
        steps,
        state,
        closedBy,
        expiresAt,
      ]);
      return rows.map(taskFrom);
    },

    async spendWords(personId) {
      await run(
        pool,
        {
          name: 'spend-words',
          text: `update tasks set expires_at = null where person_id = $1 and state = 'done' and expires_at is not null`,
        },
        [personId],
      );
    },

    async contradict(fence, taskId, contradiction) {
      await run(
        pool,
        {
          name: `contradict-task-${fence.lane}`,
          text: `with ${fenced(fence.lane)} update tasks set contradiction = $4, said_by = null, said_at = null
                 where task_id = $3 and state = 'open' and exists (select 1 from f)`,
        },
        [fence.personId, fence.number, taskId, contradiction],
      );
    },

    async task(taskId) {
      if (!isUuid(taskId)) return null;
      const rows = await run<TaskRow & Record<string, unknown>>(
        pool,
        { name: 'task', text: 'select * from tasks where task_id = $1' },
        [taskId],
      );
      return rows[0] ? taskFrom(rows[0]) : null;
    },

    async tasks(query) {
      const values = [
        query.state ?? null,
        query.kind ?? null,
        query.personId ?? null,
        query.overdue ?? null,
        query.said ?? null,
      ];
      const where = `($1::text is null or state = $1) and ($2::text is null or kind = $2) and ($3::uuid is null or person_id = $3)
        and ($4::boolean is null or (due_at < now()) = $4) and ($5::boolean is null or (said_at is not null) = $5)`;
      const [counted, rows] = await Promise.all([
        run<{ total: string }>(
          pool,
          { name: 'count-tasks', text: `select count(*) as total from tasks where ${where}` },
          values,
        ),
        run<TaskRow & { place: string } & Record<string, unknown>>(
          pool,
          {
            name: 'list-tasks',
            // In the order in which they became due to be done, so that a sheet is worked from its top.
            text: `select *, to_char(opened_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as place from tasks
                   where ${where} and ($6::timestamptz is null or (opened_at, task_id) > ($6, $7)) order by opened_at, task_id limit $8`,
          },
          [...values, query.after?.at ?? null, query.after?.taskId ?? null, query.limit + 1],
        ),
      ]);
      const last = rows[query.limit - 1];
      return {
        items: rows.slice(0, query.limit).map(taskFrom),
        total: Number(counted[0]?.total ?? 0),
        next: rows.length > query.limit && last ? { at: last.place, taskId: last.task_id } : null,
      };
    },

    async worksheets() {
      const rows = await run<{ kind: Task['kind']; tasks: string; overdue: string; said: string; due_at: Date }>(
        pool,
        {
          name: 'worksheets',
          text: `select kind, count(*) as tasks, count(*) filter (where due_at < now()) as overdue, count(said_at) as said, min(due_at) as due_at
                 from tasks where state = 'open' group by kind order by min(due_at)`,
        },
        [],
      );
      return rows.map((row) => ({
        kind: row.kind,
        tasks: Number(row.tasks),
        overdue: Number(row.overdue),
        saidDone: Number(row.said),
        dueAt: row.due_at,
      }));
    },

    async sayDone(words, cause) {
      for (let tries = 1; ; tries++) {
        try {
          return await transaction(pool, (client) => sayDone(client, words, cause));
        } catch (error) {
          if (!(error instanceof UsherError) || error.code !== 'conflict' || tries >= 5) throw error;
        }
      }
    },

    async takeOverdue(remindEveryDays, limit) {
      const rows = await run<TaskRow & Record<string, unknown>>(
        pool,
        {
          name: 'take-overdue-tasks',
          text: `update tasks set reminded_at = now(), reminders = reminders + 1 where task_id in (
                   select task_id from tasks where state = 'open' and due_at < now()
                     and coalesce(reminded_at, '-infinity') < now() - make_interval(secs => $1::float8 * 86400) order by due_at limit $2 for update skip locked)
                 returning *`,
        },
        [remindEveryDays, limit],
      );
      return rows.map(taskFrom);
    },

    async countOverdue() {
      const rows = await run<{ count: string }>(
        pool,
        { name: 'count-overdue-tasks', text: `select count(*) from tasks where state = 'open' and due_at < now()` },
        [],
      );
      return Number(rows[0]?.count ?? 0);
    },
  };
}

/** All words or none. People are locked before their tasks, in one order, as the steps do: nobody waits for somebody who waits for them. */
async function sayDone(
  client: pg.PoolClient,
  words: Parameters<TaskStore['sayDone']>[0],
  cause: Cause,
): Promise<Task[]> {
  await client.query(
    `select 1 from people where person_id in (select person_id from tasks where task_id = any ($1::uuid[]) and state = 'open')
     order by person_id for no key update`,
    [words.flatMap((word) => word.taskIds)],
  );
  const said: TaskRow[] = [];
  for (const { taskIds, by } of words) {
    const { rows } = await client.query<TaskRow>(
      `update tasks set said_by = $2, said_at = now(), contradiction = null where task_id = any ($1::uuid[]) and state = 'open' returning *`,
      [taskIds, by],
    );
    await client.query(
      `insert into history (person_id, actor, cause, action, before, after)
       select t.person_id, $2, $3, 'task.said_done', null, jsonb_build_object('taskId', t.task_id, 'kind', t.kind, 'by', $4::text)
       from tasks t where t.task_id = any ($1::uuid[])`,
      [rows.map((row) => row.task_id), cause.actor, cause.by, by],
    );
    said.push(...rows);
  }
  // Looked at now: a word is only believed where nothing can be seen. A look that is under way began before the word, and counts for nothing.
  for (const step of new Set(said.map((row) => row.step)))
    await client.query(
      `update people set next_at = now(), account_fence = account_fence + 1, account_lease_until = '-infinity',
         conditions = case when $2::text is null then conditions
           else jsonb_set(conditions, array[$2, 'nextCheckAt'], to_jsonb(now())) end
       where person_id = any ($1::uuid[])`,
      [
        said.filter((row) => row.step === step).map((row) => row.person_id),
        step === 'offboard' ? null : conditionOf[step],
      ],
    );
  return said.map(taskFrom);
}
