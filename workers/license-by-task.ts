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
import { type StepContext, type StepOutcome, serveTheLine } from './step.ts';
import { asked, askFor, closeTasks, wouldAsk } from './tasks.ts';

const step = 'assign-license';

export async function licenseByTask(context: StepContext): Promise<StepOutcome> {
  const { person, conditions, account, store, policy, fence, plan, now, did } = context;
  const wish = person.wish;
  const task = await store.currentTask(person.personId, step);
  // A word is about a user: is there one?
  const seeing = task?.state === 'open' && task.saidAt ? account.at('urgent') : account;
  const user = person.accountUserId ? await seeing.findById(person.accountUserId) : null;
  if (person.accountUserId && !user && !plan) await store.recheckProfile(person.personId);
  if (!wish || !user)
    return {
      verdict: { status: 'false', reason: 'needs_profile', message: 'The license waits for the user.' },
      did: [],
    };
  const open = task?.state === 'open' ? task : null;
  const ledger = await account.seatsOf(person.personId);
  const notBefore = task?.saidAt ?? new Date(0);
  // What was asked for may have been done and not said: it is taken back like what was seen.
  const surplus = ledger.map((seat) => seat.kind).filter((kind) => !wish.licenses.includes(kind));
  // Nothing that could be looked at ends a wait for a seat: the line is asked first, which costs no request.
  if (!plan && conditions.License.reason === 'no_seats_left' && ledger.length === 0 && !open) {
    const waiting = await claimAll(context, user.accountUserId, wish.licenses);
    if ([...waiting.values()].some((answer) => !answer.assigned))
      return { verdict: licenseVerdict(wish.licenses, waiting), did };
  }
  const looks = new Map<string, SeatLook>();
  for (const kind of [...wish.licenses, ...surplus])
    looks.set(kind, await account.lookAtSeat(user.accountUserId, kind, notBefore));
  const states = new Map(
    wish.licenses.map((kind): [string, SeatState] => [
      kind,
      seatState(looks.get(kind) as SeatLook, kind, user.accountUserId, task, policy.tasks, now),
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
      if (!user.licenses.some((license) => license.kind === kind && license.rule === wish.rule))
        await note(kind, true, state.kind === 'said' ? `word of ${state.by}` : 'detail' in state ? state.detail : '');
    if (task?.expiresAt && [...states.values()].every((state) => state.kind === 'shown'))
      await store.spendWords(person.personId);
    if (open && open.kind !== 'take_seat')
      await (wish.licenses.length > 0
        ? closeDone(context, states)
        : closeTasks(context, [step], 'withdrawn', 'no rule wishes the seat any more'));
    const left = await giveBack(context, surplus, looks, task, note);
    if (wish.licenses.length === 0) await account.leaveWaitingList(person.personId, false);
    if (left.length > 0 && user.role === 'Administrator') await account.guardSeat(user.accountUserId);
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
  const answers = await claimAll(context, user.accountUserId, missing);
  if ([...answers.values()].some((answer) => !answer.assigned && answer.why === 'cap' && answer.left))
    await serveTheLine(context);
  if ([...answers.values()].some((answer) => !answer.assigned)) {
    await closeTasks(context, [step], 'withdrawn', 'no seat is free');
    return { verdict: licenseVerdict(wish.licenses, answers), did };
  }
  const contradicted = [...states.values()].find((state) => state.kind === 'contradicted');
  let asking = await askFor(context, request);
  if (contradicted?.kind === 'contradicted') {
    // Also of a word that closed its task: both witnesses stand on the one that takes its place.
    const contradiction = `${contradicted.by} said on ${contradicted.at.toISOString()} that it is done; ${contradicted.detail}`;
    await store.spendWords(person.personId);
    await store.contradict(fence, asking.taskId, contradiction);
    asking = { ...asking, contradiction };
  }
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

async function claimAll(
  { person, account, policy, fence }: StepContext,
  accountUserId: string,
  kinds: string[],
): Promise<Map<string, SeatAnswer>> {
  const rule = person.wish?.rule ?? '';
  const answers = new Map<string, SeatAnswer>();
  for (const kind of kinds)
    answers.set(
      kind,
      await account.claimSeat(
        {
          accountUserId,
          kind,
          personId: person.personId,
          rule,
          since: person.wishedAt,
          cap: policy.licenses.caps[rule] ?? null,
        },
        fence,
      ),
    );
  return answers;
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
      await serveTheLine(context);
      context.did.push({ action: 'license.unassigned', before: { kind }, after: { by: said ? task.saidBy : 'seen' } });
    } else {
      left.push(kind);
      if (said && task.saidAt)
        await context.store.contradict(
          context.fence,
          task.taskId,
          `${task.saidBy} said on ${task.saidAt.toISOString()} that it is done; ${look?.detail}`,
        );
    }
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
