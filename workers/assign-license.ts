/** The seat: claimed under the pool's lock, in the order of the line; what we gave and nobody wishes any more is given back. */

import type { SeatAnswer } from '../src/domain/account.ts';
import { licenseVerdict, missingLicenses, surplusLicenses } from '../src/domain/license.ts';
import { onlyReports, reported } from './drift.ts';
import { licenseByTask } from './license-by-task.ts';
import { type StepContext, type StepDefinition, type StepOutcome, serveTheLine } from './step.ts';

export const assignLicense: StepDefinition = { step: 'assign-license', condition: 'License', run };

async function run(context: StepContext): Promise<StepOutcome> {
  return context.account.capabilities.steps['assign-license'].mode === 'automatic'
    ? give(context)
    : licenseByTask(context);
}

async function give(context: StepContext): Promise<StepOutcome> {
  const { person, conditions, account, policy, fence, plan, did } = context;
  const wish = person.wish;
  const user = person.accountUserId ? await account.findById(person.accountUserId) : null;
  if (!wish || !user)
    return {
      verdict: { status: 'false', reason: 'needs_profile', message: 'The license waits for the user.' },
      did: [],
    };

  let missing = missingLicenses(
    wish.licenses,
    user.licenses.map((license) => license.kind),
  );
  // A seat given by another rule is claimed anew: nothing is taken, but it counts towards today's cap.
  const moved = user.licenses
    .filter((license) => license.givenByUsher && license.rule !== wish.rule && wish.licenses.includes(license.kind))
    .map((license) => license.kind);
  const surplus = surplusLicenses(wish.licenses, user.licenses);
  // A seat that is there is only looked at; a new one still waits for the delegation.
  const delegated = conditions.Delegation.status === 'true' && conditions.Delegation.generation === person.generation;
  if (missing.length > 0 && policy.delegation === 'required' && !delegated) {
    return {
      verdict: {
        status: 'false',
        reason: 'needs_delegation',
        message: 'The license waits for the calendar delegation. See Delegation for who must act.',
      },
      did: [],
    };
  }
  // What an Administrator took by hand stays taken; the other kinds go their way.
  const taken = missing.find((kind) => person.kept[`license:${kind}`]);
  const hand = taken ? person.kept[`license:${taken}`] : undefined;
  missing = missing.filter((kind) => !person.kept[`license:${kind}`]);
  if (missing.length > 0 && onlyReports(context, 'License', 'license'))
    return { verdict: reported(`The «${missing.join(', ')}» seat of ${user.email} is gone.`), did: [] };
  if (wish.licenses.length === 0 && !plan) await account.leaveWaitingList(person.personId, false);
  if (plan && missing.length + surplus.length > 0) {
    return {
      verdict: null,
      did: [],
      would: [
        ...missing.map((kind) => `assign a «${kind}» seat`),
        ...surplus.map((kind) => `give back the «${kind}» seat`),
      ],
    };
  }
  const had = person.takenSeats.filter((kind) => !user.licenses.some((license) => license.kind === kind));
  const giveBack = had.filter((kind) => !wish.licenses.includes(kind));
  if (plan && giveBack.length > 0)
    return {
      verdict: null,
      did: [],
      would: giveBack.map((kind) => `give the «${kind}» seat back that was given by hand`),
    };
  const answers = new Map<string, SeatAnswer>();
  for (const kind of [...missing, ...(plan ? [] : moved)]) {
    const answer = await account.claimSeat(
      {
        accountUserId: user.accountUserId,
        kind,
        personId: person.personId,
        rule: wish.rule,
        since: person.wishedAt,
        cap: policy.licenses.caps[wish.rule] ?? null,
      },
      fence,
    );
    answers.set(kind, answer);
    if (answer.assigned && !answer.already)
      did.push({
        action: 'license.assigned',
        before: { licenses: user.licenses.map((license) => license.kind) },
        after: { kind },
      });
  }
  if (person.takenSeats.length > 0 && !plan) await giveSeatsBack(context, user.accountUserId, giveBack);
  if (surplus.length > 0) {
    await account.freeSeats(user.accountUserId, surplus, fence);
    await serveTheLine(context);
    did.push({ action: 'license.unassigned', before: { kinds: surplus }, after: null });
  }
  if ([...answers.values()].some((answer) => !answer.assigned && answer.why === 'cap' && answer.left))
    await serveTheLine(context);
  // Read back: the seat is true when the account shows it.
  const after = missing.length > 0 ? await account.findById(user.accountUserId) : user;
  const held = (after ?? user).licenses.map((license) => license.kind);
  const unseen = missingLicenses(wish.licenses, held).filter((kind) => answers.get(kind)?.assigned);
  if (unseen.length > 0)
    return {
      verdict: {
        status: 'unknown',
        reason: 'inconclusive',
        message: `The account does not show the license ${unseen.join(', ')} yet. It is read again.`,
      },
      did,
    };
  if (hand && [...answers.values()].every((answer) => answer.assigned))
    return {
      verdict: {
        status: 'false',
        reason: 'awaiting_administrator',
        message: `An Administrator took the «${taken}» license by hand (${hand.by}, ${hand.at}). An account administrator assigns it again, or takes that back.`,
      },
      did,
    };
  return { verdict: licenseVerdict(wish.licenses, answers), did };
}

/** What an Administrator had given is back as theirs; where no seat is free, the next look tries again. */
async function giveSeatsBack(
  { person, account, store, fence, did }: StepContext,
  accountUserId: string,
  kinds: string[],
): Promise<void> {
  const left: string[] = [];
  for (const kind of kinds) {
    const claim = {
      accountUserId,
      kind,
      personId: person.personId,
      rule: 'by hand',
      since: person.wishedAt,
      cap: null,
    };
    const answer = await account.claimSeat({ ...claim, byHand: true }, fence);
    if (answer.assigned) did.push({ action: 'license.given_back', before: null, after: { kind } });
    else left.push(kind);
  }
  await store.noteTakenSeats(person.personId, left);
}
