/** A leaver: sign-in ends at once; the rest waits for the hold and the brake, and goes in one order. One action at a time, looked at anew after each. */

import type { AccountUser } from '../src/domain/account.ts';
import { admitRemoval, windowStart } from '../src/domain/brake.ts';
import { looksLikeAddress } from '../src/domain/email-address.ts';
import { schedulingLicense } from '../src/domain/license.ts';
import { decideOffboard, keptMessage, type OffboardAction, type OffboardSight } from '../src/domain/offboard.ts';
import { type WantedTask, wantsNothing } from '../src/domain/tasks.ts';
import { asUsherError } from '../src/errors.ts';
import type { HistoryEntry } from '../src/ports.ts';
import { type StepContext, type StepDefinition, type StepOutcome, serveTheLine } from './step.ts';
import { asked, askFor, closeTasks, wouldAsk } from './tasks.ts';

export const offboard: StepDefinition = { step: 'offboard', condition: null, run };

/** More than the actions there are: a bound, should the account never show what was done. */
const mostRounds = 12;

async function run(context: StepContext): Promise<StepOutcome> {
  const { person, account, policy, now, plan, did } = context;
  const byTask = account.capabilities.steps.offboard.mode === 'task';
  if (!plan) await account.leaveWaitingList(person.personId, true);
  if (!plan && byTask) await endAsking(context);
  for (let round = 0; round < mostRounds; round++) {
    const sight = await look(context);
    const decision = decideOffboard(person, sight, policy, now);
    if (decision.kind === 'act') {
      if (decision.action.kind === 'ask_brake') {
        const doubt = await secondWitness(context);
        if (doubt) return { verdict: null, did, note: { outcome: 'blocked', reason: 'inconclusive', message: doubt } };
      }
      if (plan) return { verdict: null, did, would: [describe(decision.action, sight.user)] };
      const entry = await act(context, decision.action, sight);
      if (entry) did.push(entry);
      continue;
    }
    if (decision.kind === 'ask') return askInOrder(context, decision.what, sight);
    if (decision.kind === 'wait') {
      return {
        verdict: null,
        did,
        note: {
          outcome: 'blocked',
          reason: decision.why,
          message: `Leaving: ${decision.why === 'hold' ? 'held back' : 'in the grace period'} until ${decision.until.toISOString()}.`,
        },
      };
    }
    if (decision.kind === 'blocked') {
      const held = decision.why === 'held' || decision.why === 'kept';
      return {
        verdict: null,
        did,
        ...(held ? { person: { lifecycle: 'held' as const } } : {}),
        note: {
          outcome: 'blocked',
          reason:
            decision.why === 'no_heir'
              ? 'awaiting_administrator'
              : decision.why === 'protected'
                ? 'account_owner_protected'
                : 'held',
          message: messages[decision.why],
        },
      };
    }
    if (byTask && !plan) await settleSeats(context, sight);
    return {
      verdict: null,
      did,
      person: {
        lifecycle: decision.lifecycle,
        ...(decision.lifecycle === 'suspended' && !person.suspendedAt ? { suspendedAt: now } : {}),
      },
      note: {
        outcome: did.length > 0 ? 'done' : 'nothing_to_do',
        reason: null,
        message:
          decision.lifecycle === 'suspended'
            ? account.capabilities.suspends
              ? 'Left: pages handed over, seat freed, user suspended.'
              : 'Left: pages handed over, seat freed. The account knows no suspension: the user stays, and signs in only if the identity provider lets them.'
            : 'Left: nothing of this person is in the account through us.',
      },
    };
  }
  return {
    verdict: null,
    did,
    note: {
      outcome: 'blocked',
      reason: 'inconclusive',
      message: 'The account does not show what was done. It is looked at again.',
    },
  };
}

/** Out of a group is not absence: before anything is taken, the tenant is asked directly. Answers why not to go on; null to go on. */
async function secondWitness({ person, policy, directory, store }: StepContext): Promise<string | null> {
  const { leave, wish } = person;
  const rule = policy.rules.find((entry) => entry.name === wish?.rule);
  if (leave?.witness !== 'group_change' || !rule?.when.group || !directory) return null;
  const users = (await store.withSources(person.personId))?.users ?? [];
  const polled = policy.sources.find(
    (source) =>
      source.kind === 'graph' &&
      (rule.when.source ?? source.name) === source.name &&
      users.some((user) => user.source === source.name && !user.deletedAt),
  );
  const objectId = users.find((user) => user.source === polled?.name)?.externalId;
  // Where a provider pushed the change, its word and the hold are the witnesses.
  if (!polled || !objectId) return null;
  const groups = rule.when.group.id
    ? [rule.when.group.id]
    : await store.groupsNamed(polled.name, rule.when.group.name ?? '');
  for (const group of groups) {
    const isMember = await directory.isMember(objectId, group, 'User');
    if (isMember === false) continue;
    await store.requestSync(polled.name, true);
    return isMember
      ? `The change of groups says that ${wish?.displayName ?? 'this person'} left, a direct read says not. Nothing is taken; the directory is read anew.`
      : 'The tenant does not say whether this person is still in the group. Nothing is taken; it is asked again.';
  }
  return null;
}

const messages = {
  held: 'Too many removals at once: held by the brake. An operator decides under Runs (usher runs).',
  kept: keptMessage,
  protected:
    'The user is the owner of the scheduling account, whom Usher never touches. An account administrator hands the account over first.',
  no_heir: 'No Administrator is left to take the pages. An account administrator names an heir in leavers.pagesTo.',
};

/** The manager's user in the account, whichever source knows the two. */
async function managerOf({ person, store, account, policy, directory }: StepContext): Promise<AccountUser | null> {
  for (const user of (await store.withSources(person.personId))?.users ?? []) {
    const polled = directory && policy.sources.some(({ name, kind }) => name === user.source && kind === 'graph');
    const name = user.manager ?? (polled && user.externalId ? await directory.managerOf(user.externalId) : null);
    const manager = name ? await store.personNamed(user.source, name) : null;
    const found = manager && (await account.findByPerson(manager.personId, manager.accountUserId));
    if (found) return found;
  }
  return null;
}

/** `refuted`: somebody said that the seat was taken, and it is still there. */
type Sight = OffboardSight & { refuted?: string | null };

async function look(context: StepContext): Promise<Sight> {
  const { person, store, account, policy } = context;
  const user = await account.findByPerson(person.personId, person.accountUserId);
  if (!user) return { user: null, pages: [], heir: null, heirIsNamed: false, removal: 'none' };
  const asks = account.capabilities.steps.offboard.mode === 'task';
  const task = asks ? await store.currentTask(person.personId, 'offboard') : null;
  const pages = await account.pagesOwnedBy(user.accountUserId, task?.saidAt ?? undefined);
  const removal = await store.removalOf(person.personId, person.generation);
  const wanted = looksLikeAddress(policy.leavers.pagesTo)
    ? await account.findByEmail(policy.leavers.pagesTo)
    : policy.leavers.pagesTo === 'manager' && pages.length > 0
      ? await managerOf(context)
      : null;
  // An heir who leaves or is suspended inherits nothing.
  const named =
    wanted && wanted.accountUserId !== user.accountUserId && !wanted.suspended && !wanted.signInBlocked ? wanted : null;
  const stays = async (candidate: AccountUser | null): Promise<AccountUser | null> => {
    const behind = candidate ? (await store.peopleByAccountUser([candidate.accountUserId]))[0] : undefined;
    return behind && ['leaving', 'suspended', 'gone'].includes(behind.lifecycle) ? null : candidate;
  };
  const chosen = await stays(named);
  const heir = chosen ?? (await stays(await account.remainingAdministrator(user.accountUserId)));
  const { blocksSignIn, suspends } = account.capabilities;
  if (!asks) return { user, pages, heir, heirIsNamed: chosen !== null, removal };
  const said = task?.kind === 'free_seat' && task.saidAt ? task.saidAt : null;
  const seatsGone: string[] = [];
  let refuted: string | null = null;
  // What was asked for may have been done and not said: it is taken back like what was seen.
  const seats = await account.seatsOf(person.personId);
  for (const { kind } of removal === 'admitted' && pages.length === 0 ? seats : []) {
    const seen = await account.lookAtSeat(user.accountUserId, kind, said ?? new Date(0));
    if (seen.seat === 'no' || (said && seen.seat === 'unknown')) seatsGone.push(kind);
    else if (said) refuted = `${task?.saidBy} said on ${said.toISOString()} that it is done; ${seen.detail}`;
  }
  return {
    user: { ...user, licenses: seats.map(({ kind }) => ({ kind, givenByUsher: true, rule: null })) },
    refuted,
    pages,
    heir,
    heirIsNamed: chosen !== null,
    removal,
    able: { blockSignIn: blocksSignIn, suspend: suspends, movePages: false, freeSeats: false },
    seatsGone,
  };
}

/** Whoever leaves is to get nothing more; and what was said of them was said before. */
async function endAsking(context: StepContext): Promise<void> {
  await closeTasks(
    context,
    ['create-user', 'assign-license', 'assign-booking-pages'],
    'withdrawn',
    'the person leaves',
  );
  await context.store.spendWords(context.person.personId);
}

/** Pages, then the seat: the next is not asked for before the one before it is seen to be done. */
async function askInOrder(
  context: StepContext,
  what: 'hand_over_pages' | 'free_seat',
  sight: Sight,
): Promise<StepOutcome> {
  const { person, account, store, fence, plan, did } = context;
  const user = sight.user as AccountUser;
  const wanted: WantedTask = {
    step: 'offboard',
    kind: what,
    who: person.wish?.displayName ?? user.name,
    email: user.email,
    accountUserId: user.accountUserId,
    wants: {
      ...wantsNothing,
      heir: sight.heir?.email ?? null,
      ...(what === 'free_seat'
        ? { seats: user.licenses.map((license) => license.kind) }
        : {
            pages: sight.pages.map((page) => ({
              linkName: page.linkName,
              act: 'hand_over' as const,
              pageId: page.pageId,
              url: null,
              from: user.email,
            })),
          }),
    },
  };
  if (plan) return { verdict: null, did, would: [wouldAsk(wanted)] };
  if (what === 'free_seat' && user.role === 'Administrator') await account.guardSeat(user.accountUserId);
  const before = await store.currentTask(person.personId, 'offboard');
  const isOpen = before?.state === 'open';
  if (isOpen && before.kind === what && what === 'hand_over_pages' && before.saidBy && before.saidAt)
    await store.contradict(
      fence,
      before.taskId,
      `${before.saidBy} said on ${before.saidAt.toISOString()} that it is done; ${sight.pages.map((page) => `«${page.linkName}»`).join(', ')} ${sight.pages.length === 1 ? 'is' : 'are'} still theirs.`,
    );
  if (isOpen && before.kind === what && sight.refuted) await store.contradict(fence, before.taskId, sight.refuted);
  if (isOpen && before.kind !== what)
    await closeTasks(context, ['offboard'], 'done', 'the list of Booking pages by owner is empty');
  // The bookings are listed once, when the task is opened: they belong to it.
  wanted.wants.bookings =
    isOpen && before.kind === what && before.wants.bookings !== null
      ? before.wants.bookings
      : await account.futureBookings(user.accountUserId).catch((thrown: unknown) => {
          // The hand-over is asked for without the list; it is asked for again at the next look.
          if (asUsherError(thrown).code !== 'account_unavailable') throw thrown;
          return null;
        });
  const urls = new Map(
    wanted.wants.pages.length > 0
      ? (await account.lookAtPages(user.accountUserId, [], null, new Date(0))).others.map((page) => [
          page.pageId,
          page.url,
        ])
      : [],
  );
  wanted.wants.pages = wanted.wants.pages.map((page) => ({ ...page, url: urls.get(page.pageId ?? '') ?? null }));
  const asking = await askFor(context, wanted);
  return {
    verdict: null,
    did,
    note: { outcome: 'blocked', reason: 'awaiting_administrator', message: `Leaving: ${asked(asking)}` },
  };
}

/** What the ledger held goes back, and whoever waits looks again. */
async function settleSeats(context: StepContext, sight: OffboardSight): Promise<void> {
  const { person, account, store, policy, fence } = context;
  const user = sight.user;
  const task = await store.currentTask(person.personId, 'offboard');
  if (task?.state === 'open')
    await closeTasks(
      context,
      ['offboard'],
      'done',
      task.kind === 'hand_over_pages'
        ? 'the list of Booking pages by owner is empty'
        : task.saidBy
          ? `word of ${task.saidBy}`
          : 'time slots answer that there is no seat',
    );
  // Whose user is gone has no seat either; what was only asked for goes in any case.
  await account.forgetSeats(person.personId, !user || policy.leavers.seat === 'after-hold' ? 'all' : 'reserved', fence);
  await serveTheLine(context);
  if (user && user.licenses.length > 0)
    context.did.push({
      action: 'license.unassigned',
      before: { kinds: user.licenses.map(({ kind }) => kind) },
      after: null,
    });
}

async function act(context: StepContext, action: OffboardAction, sight: OffboardSight): Promise<HistoryEntry | null> {
  const { person, store, account, policy, fence, now, cause } = context;
  const user = sight.user as AccountUser;
  switch (action.kind) {
    case 'block_sign_in':
      await account.blockSignIn(user.accountUserId, fence);
      return { action: 'sign_in.blocked', before: null, after: { accountUserId: user.accountUserId } };
    case 'ask_brake':
      // The admission writes its own history, in its own transaction.
      await store.admitRemoval(
        person,
        (ofSource, total) => admitRemoval(ofSource, total, policy.brake),
        windowStart(policy.brake, now),
        cause,
      );
      return null;
    case 'hand_over_pages': {
      const namedAndLicensed =
        sight.heirIsNamed && action.heir.licenses.some((license) => license.kind === schedulingLicense);
      await store.noteHandedOver(
        person.personId,
        action.pages.map(({ pageId, linkName, enabled }) => ({
          pageId,
          linkName,
          enabled,
          heirId: action.heir.accountUserId,
        })),
      );
      for (const page of action.pages)
        await account.assignPage(
          page.pageId,
          user.accountUserId,
          action.heir.accountUserId,
          page.enabled && namedAndLicensed,
          fence,
        );
      return {
        action: 'pages.handed_over',
        before: {
          owner: user.email,
          pages: action.pages.map((page) => ({ linkName: page.linkName, enabled: page.enabled })),
        },
        after: { owner: action.heir.email, enabled: namedAndLicensed },
      };
    }
    case 'free_seats': {
      const byHand = user.licenses.filter(({ kind, givenByUsher }) => !givenByUsher && action.kinds.includes(kind));
      if (byHand.length > 0)
        await store.noteTakenSeats(
          person.personId,
          byHand.map(({ kind }) => kind),
        );
      await account.freeSeats(user.accountUserId, action.kinds, fence);
      await serveTheLine(context);
      return { action: 'license.unassigned', before: { kinds: action.kinds }, after: null };
    }
    case 'suspend':
      await account.suspendUser(user.accountUserId, fence);
      return { action: 'user.suspended', before: { suspended: false }, after: { suspended: true } };
    case 'delete':
      await account.deleteUser(user.accountUserId, sight.heir?.accountUserId ?? null, fence);
      await store.forgetHandedOver(person.personId);
      if (person.takenSeats.length > 0) await store.noteTakenSeats(person.personId, []);
      return {
        action: 'user.deleted_from_account',
        before: { accountUserId: user.accountUserId, email: user.email },
        after: null,
      };
  }
}

function describe(action: OffboardAction, user: AccountUser | null): string {
  const who = user?.email ?? 'the user';
  switch (action.kind) {
    case 'block_sign_in':
      return `end sessions and sign-in of ${who}`;
    case 'ask_brake':
      return `ask the brake to admit the removal of ${who}`;
    case 'hand_over_pages':
      return `hand ${action.pages.map((page) => `«${page.linkName}»`).join(', ')} over to ${action.heir.email}`;
    case 'free_seats':
      return `free the ${action.kinds.join(', ')} seat of ${who}`;
    case 'suspend':
      return `suspend ${who}`;
    case 'delete':
      return `delete ${who}`;
  }
}
