/** How a step asks people: one open task, changed while it is wanted, closed when it is done or nobody wishes it any more; each with its history. */
import type { Step } from '../src/domain/next-steps.ts';
import { dueAt, type Task, titleOf, type WantedTask } from '../src/domain/tasks.ts';
import type { StepContext } from './step.ts';

export async function askFor({ fence, store, policy, now, did }: StepContext, wanted: WantedTask): Promise<Task> {
  const { task, isNew } = await store.openTask(fence, wanted, dueAt(policy.tasks, now));
  if (isNew)
    did.push({
      action: 'task.opened',
      before: null,
      after: { taskId: task.taskId, kind: task.kind, title: task.title, dueAt: task.dueAt },
    });
  return task;
}

/** `how`: what proved it, or whose word it was; of tasks that nobody needs any more, why. */
export async function closeTasks(
  { fence, store, did }: Pick<StepContext, 'fence' | 'store' | 'did'>,
  steps: Step[],
  state: 'done' | 'withdrawn',
  how: string,
  expiresAt: Date | null = null,
): Promise<void> {
  for (const task of await store.closeTasks(fence, steps, state, how, expiresAt))
    did.push({
      action: `task.${state}`,
      before: { taskId: task.taskId, kind: task.kind },
      after: { how, ...(expiresAt ? { until: expiresAt } : {}) },
    });
}

/** With a plan nothing is asked; the step says what it would ask for. */
export const wouldAsk = (wanted: WantedTask): string => `ask an account administrator: ${titleOf(wanted)}`;

/** What was asked for and by when, for whoever reads the condition. */
export const asked = (task: Task): string =>
  `${task.title}: an account administrator, by ${task.dueAt.toISOString().slice(0, 10)} («usher tasks»).${task.contradiction ? ` ${task.contradiction}` : ''}`;
