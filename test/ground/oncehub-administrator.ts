/** The administrator's part: works through the open sheets in OnceHub's own pages, and sends the words back. */
import type { OnceHubSandbox } from '../../src/sandbox/oncehub.ts';
import type { Usher } from './usher.ts';

interface OpenTask {
  taskId: string;
  saidAt: string | null;
  accountUserId: string;
  wants: { seats: string[]; pages: { pageId: string }[] };
}

/** Answers how many tasks were done. */
export async function workThroughSheets(usher: Usher, oncehub: OnceHubSandbox): Promise<number> {
  const { items } = (await usher.api('GET', '/tasks?limit=500&said=false')).body as { items: OpenTask[] };
  for (const task of items) {
    if (task.wants.seats.length > 0) oncehub.administrator.assignSeat(task.accountUserId);
    for (const page of task.wants.pages) {
      oncehub.administrator.givePage(page.pageId, task.accountUserId);
      oncehub.administrator.enablePage(page.pageId);
    }
  }
  if (items.length > 0)
    await usher.api('POST', '/tasks/done', { taskIds: items.map((task) => task.taskId), by: 'Jane Doe' });
  return items.length;
}
