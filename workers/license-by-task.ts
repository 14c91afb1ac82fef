/**
 * The seat in an account that no call can write: kept in the ledger, assigned by an administrator's hand, true by what the account shows; where it shows
 * nothing, by a named person's word, which is asked for again when it has run out.
 */
import type { SeatAnswer, SeatLook } from '../src/domain/account.ts';
import type { Verdict } from '../src/domain/conditions.ts';
import { licenseVerdict } from '../src/domain/license.ts';
import {
  decidePagesByTask,
  type PageWant,
  type SeatState,
  seatState,
  type Task,
  type TaskKind,
  type TaskWants,
  type WantedTask,
  wantsNothing,
} from '../src/domain/tasks.ts';
import type { StepContext, StepOutcome } from './step.ts';
import { asked, askFor, closeTasks, wouldAsk } from './tasks.ts';

const step = 'assign-license';

export async function licenseByTask(context: StepContext): Promise<StepOutcome> {
  const { person, conditions, account, store, policy, fence, plan, now, did } = context;
  const wish = person.wish;
  const user = person.accountUserId ? await account.findById(person.accountUserId) : null;
  if (!wish || !user)
    return {
      verdict: { status: 'false', reason: 'needs_profile', message: 'The license waits for the user.' },
      did: [],
    };
  const task = await store.newestTask(person.personId, step);
  const open = task?.state === 'open' ? task : null;
  const notBefore = task?.saidAt ?? new Date(0);
  const surplus = user.licenses.map((license) => license.kind).filter((kind) => !wish.licenses.includes(kind));
  const looks = new Map<string, SeatLook>();
  for (const kind of [...wish.licenses, ...surplus])
    looks.set(kind, await account.lookAtSeat(user.accountUserId, kind, notBefore));
  const states = new Map(
    wish.licenses.map((kind): [string, SeatState] => [
      kind,
      seatState(looks.get(kind) as SeatLook, kind, task, policy.tasks, now),
    ]),
  );
  const missing = wish.licenses.filter((kind) =>
    ['missing', 'contradicted', 'expired'].includes(states.get(kind)?.kind ?? ''),
  );
  const wanted = (
    kind: TaskKind,
    seats: string[],
    pages: PageWant[] = [],
    saidBefore: TaskWants['saidBefore'] = null,
  ): WantedTask => ({
    step,
    kind,
    who: wish.displayName,
    email: user.email,
    accountUserId: user.accountUserId,
    wants: { ...wantsNothing, seats, pages, saidBefore },
  });
  const note = (kind: string, held: boolean, evidence: string) =>
    account.noteSeat(
      { accountUserId: user.accountUserId, kind, personId: person.personId, rule: wish.rule, held, evidence },
      fence,
    );

  if (missing.length === 0) {
    if (plan)
      return {
        verdict: verdictOf(states),
        did,
        ...(surplus.length > 0 ? { would: [wouldAsk(wanted('take_seat', surplus))] } : {}),
      };
    for (const [kind, state] of states)
      if (!user.licenses.some((license) => license.kind === kind))
        await note(kind, true, state.kind === 'said' ? `word of ${state.by}` : 'detail' in state ? state.detail : '');
    if (task?.expiresAt && [...states.values()].every((state) => state.kind === 'shown'))
      await store.spendWord(task.taskId);
    if (open && open.kind !== 'take_seat') await closeDone(context, states);
    const left = await giveBack(context, surplus, looks, task, note);
    if (left.length > 0) await askFor(context, wanted('take_seat', left));
    else if (open?.kind === 'take_seat') await closeTasks(context, [step], 'done', 'nothing is left to take back');
    return { verdict: verdictOf(states), did };
  }

  // A seat that was there is only asked for again; a new one still waits for the delegation.
  const delegated = conditions.Delegation.status === 'true' && conditions.Delegation.generation === person.generation;
  const isNew = missing.some((kind) => !user.licenses.some((license) => license.kind === kind));
  if (isNew && policy.delegation === 'required' && !delegated) {
    if (!plan) await closeTasks(context, [step], 'withdrawn', 'the calendar is not delegated');
    return {
      verdict: {
        status: 'false',
        reason: 'needs_delegation',
        message: 'The license waits for the calendar delegation. See Delegation for who must act.',
      },
      did,
    };
  }
  const expired = [...states.values()].find((state) => state.kind === 'expired');
  const pages = expired ? [] : await wishedPages(context, user.accountUserId, notBefore);
  const request =
    expired?.kind === 'expired'
      ? wanted('confirm_seat', missing, [], { by: expired.by, at: expired.at.toISOString() })
      : wanted('assign_seat', missing, pages);
  if (plan) return { verdict: null, did, would: [wouldAsk(request)] };
  const answers = new Map<string, SeatAnswer>();
  for (const kind of missing)
    answers.set(
      kind,
      await account.claimSeat(
        {
          accountUserId: user.accountUserId,
          kind,
          personId: person.personId,
          rule: wish.rule,
          since: person.wishedAt,
          cap: policy.licenses.caps[wish.rule] ?? null,
        },
        fence,
      ),
    );
  if ([...answers.values()].some((answer) => !answer.assigned)) {
    await closeTasks(context, [step], 'withdrawn', 'no seat is free');
    return { verdict: licenseVerdict(wish.licenses, answers), did };
  }
  const contradicted = [...states.values()].find((state) => state.kind === 'contradicted');
  if (contradicted?.kind === 'contradicted' && open)
    await store.contradict(
      open.taskId,
      `${contradicted.by} said on ${contradicted.at.toISOString()} that it is done; ${contradicted.detail}`,
    );
  const asking = await askFor(context, request);
  if (expired?.kind === 'expired')
    return {
      verdict: {
        status: 'unknown',
        reason: 'evidence_expired',
        message: `${expired.by} said on ${expired.at.toISOString().slice(0, 10)} that the seat is assigned; that is too long ago, and nothing shows it. ${asked(asking)}`,
        evidence: { saidBy: expired.by, saidAt: expired.at.toISOString(), taskId: asking.taskId },
      },
      did,
    };
  const vanished = conditions.License.status === 'true' && !contradicted;
  const seen = [...states.values()].find((state) => state.kind === 'missing');
  return {
    verdict: {
      status: 'false',
      reason: 'awaiting_administrator',
      message: `${vanished ? `What showed the seat is gone: ${seen?.kind === 'missing' ? seen.detail : ''} ` : ''}${asked(asking)}`,
      evidence: { taskId: asking.taskId, kinds: missing, seen: seen?.kind === 'missing' ? seen.detail : null },
    },
    did,
  };
}

/** One visit of the administrator for both: the sheet names the pages beside the seat. */
async function wishedPages(
  { person, account, store, policy }: StepContext,
  accountUserId: string,
  notBefore: Date,
): Promise<PageWant[]> {
  const names = person.wish?.bookingPages ?? [];
  if (names.length === 0) return [];
  const [look, others] = await Promise.all([
    account.lookAtPages(accountUserId, names, policy.bookingPages.takeFrom ?? null, notBefore),
    store.othersWishing(person.personId, names),
  ]);
  return decidePagesByTask(look, others).wants;
}

async function closeDone(context: StepContext, states: Map<string, SeatState>): Promise<void> {
  const said = [...states.values()].find((state) => state.kind === 'said');
  const shown = [...states.values()].find((state) => state.kind === 'shown');
  if (said?.kind === 'said')
    await closeTasks(context, [step], 'done', `word of ${said.by}; nothing can be looked at`, said.until);
  else await closeTasks(context, [step], 'done', shown?.kind === 'shown' ? shown.detail : 'no seat is wished');
}

/** What the rule no longer wishes goes back to the ledger once it is gone, or said to be. Answers what is still to be taken. */
async function giveBack(
  context: StepContext,
  surplus: string[],
  looks: Map<string, SeatLook>,
  task: Task | null,
  note: (kind: string, held: boolean, evidence: string) => Promise<void>,
): Promise<string[]> {
  const left: string[] = [];
  for (const kind of surplus) {
    const look = looks.get(kind);
    const said = task?.kind === 'take_seat' && task.saidBy && task.state === 'open';
    if (look?.seat === 'no' || (said && look?.seat !== 'yes')) {
      await note(kind, false, '');
      await context.wakeOthers(step, await context.store.wakeWaitingForSeats());
      context.did.push({ action: 'license.unassigned', before: { kind }, after: { by: said ? task.saidBy : 'seen' } });
    } else left.push(kind);
  }
  return left;
}

function verdictOf(states: Map<string, SeatState>): Verdict {
  const right = licenseVerdict([...states.keys()], new Map());
  const said = [...states.values()].find((state) => state.kind === 'said');
  if (said?.kind === 'said')
    return {
      ...right,
      message: `${said.by} said on ${said.at.toISOString().slice(0, 10)} that the seat is assigned; nothing shows it, so it is asked again on ${said.until.toISOString().slice(0, 10)}.`,
      evidence: { level: 'word', saidBy: said.by, saidAt: said.at.toISOString(), until: said.until.toISOString() },
    };
  const shown = [...states.entries()].flatMap(([kind, state]) =>
    state.kind === 'shown' ? [[kind, state.detail]] : [],
  );
  return {
    ...right,
    message: shown.length > 0 ? `Seat assigned: ${[...states.keys()].join(', ')}. ${shown[0]?.[1]}` : right.message,
    evidence: { level: 'shown', licenses: [...states.keys()], shown: Object.fromEntries(shown) },
  };
}
