/** Booking pages in an account that no call can write: an administrator hands them over, and the list by owner proves it. A word is never enough here. */
import { pagesAreRight } from '../src/domain/booking-page.ts';
import { decidePagesByTask, type WantedTask, wantsNothing } from '../src/domain/tasks.ts';
import type { StepContext, StepOutcome } from './step.ts';
import { asked, askFor, closeTasks, wouldAsk } from './tasks.ts';

const step = 'assign-booking-pages';

export async function pagesByTask(context: StepContext, wished: string[]): Promise<StepOutcome> {
  const { person, conditions, account, store, policy, fence, plan, did } = context;
  const accountUserId = person.accountUserId ?? '';
  const task = await store.currentTask(person.personId, step);
  const open = task?.state === 'open' ? task : null;
  // The seat's sheet names the pages too: what is looked at is younger than either word.
  const seatTask = await store.currentTask(person.personId, 'assign-license');
  const notBefore = new Date(Math.max(open?.saidAt?.getTime() ?? 0, seatTask?.saidAt?.getTime() ?? 0));
  const [look, others] = await Promise.all([
    account.lookAtPages(accountUserId, wished, policy.bookingPages.takeFrom ?? null, notBefore),
    store.othersWishing(person.personId, wished),
  ]);
  const decision = decidePagesByTask(look, others);
  if (decision.wants.length === 0) {
    if (decision.blocked) {
      if (!plan) await closeTasks(context, [step], 'withdrawn', decision.blocked.message);
      return { verdict: decision.blocked, did };
    }
    if (open && !plan)
      await closeTasks(context, [step], 'done', 'the list of Booking pages by owner shows them, active');
    const right = pagesAreRight(wished);
    const own = look.others.filter((page) => page.enabled && !wished.includes(page.linkName));
    const stands = own.length > 0 && look.wished.some((page) => !page.page);
    return {
      verdict: {
        ...right,
        message: stands
          ? `${right.message} The page that OnceHub made for the user, «${own[0]?.linkName}», stands for one that does not exist.`
          : right.message,
        evidence: { bookingPages: decision.right, ...(stands ? { madeByAccount: own[0] } : {}) },
      },
      did,
    };
  }
  const wanted: WantedTask = {
    step,
    kind: 'own_pages',
    who: person.wish?.displayName ?? person.personId,
    email: person.wish?.email ?? null,
    accountUserId,
    wants: { ...wantsNothing, pages: decision.wants },
  };
  if (plan) return { verdict: null, did, would: [wouldAsk(wanted)] };
  if (open?.saidBy && open.saidAt)
    await store.contradict(
      fence,
      open.taskId,
      `${open.saidBy} said on ${open.saidAt.toISOString()} that it is done; the list of Booking pages by owner shows ${
        decision.wants.every((page) => page.act === 'enable' || page.act === 'use_own')
          ? 'them disabled'
          : 'that not all of them are theirs'
      }.`,
    );
  const asking = await askFor(context, wanted);
  const creates = decision.wants.some((page) => page.act === 'create');
  const onlyOff = decision.wants.every((page) => page.act === 'enable');
  return {
    verdict: {
      status: 'false',
      reason: creates
        ? 'page_missing'
        : onlyOff && conditions.BookingPages.status === 'true'
          ? 'page_disabled'
          : 'awaiting_administrator',
      message: `${decision.blocked ? `${decision.blocked.message} ` : ''}${asked(asking)}`,
      evidence: { taskId: asking.taskId, pages: decision.wants },
    },
    did,
  };
}
