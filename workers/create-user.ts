/** The user in the scheduling account: found by our key or address first, then created, adopted or mended, then read back. */

import type { AccountUser } from '../src/domain/account.ts';
import { foldAddress } from '../src/domain/email-address.ts';
import { changesTowards, decideProfile, type ProfileAbilities, profileIsRight } from '../src/domain/profile.ts';
import { wantsNothing } from '../src/domain/tasks.ts';
import { onlyReports, reported } from './drift.ts';
import type { StepContext, StepDefinition, StepOutcome } from './step.ts';
import { asked, askFor, closeTasks } from './tasks.ts';

export const createUser: StepDefinition = { step: 'create-user', condition: 'Profile', run };

async function run(context: StepContext): Promise<StepOutcome> {
  const outcome = await makeRight(context);
  const { account, plan } = context;
  if (plan || account.capabilities.changesEmails) return outcome;
  const closed = { ...context, did: [] };
  if (outcome.verdict?.status === 'true')
    await closeTasks(closed, ['create-user'], 'done', 'the account shows the address');
  // Whoever is wanted again is not taken apart any more.
  await closeTasks(closed, ['offboard'], 'withdrawn', 'the person is wanted');
  return { ...outcome, did: [...outcome.did, ...closed.did] };
}

async function makeRight(context: StepContext): Promise<StepOutcome> {
  const { person, conditions, store, policy, fence, plan, wakeOthers } = context;
  let { account } = context;
  // Somebody may have said that it is done: what was read before that says nothing.
  if (!account.capabilities.changesEmails && conditions.Profile.reason === 'awaiting_administrator')
    account = account.at('urgent');
  const email = person.wish?.email ?? null;
  const own = await account.findByPerson(person.personId, person.accountUserId);
  // Our own user answers for its address; only a differing one can belong to somebody else.
  const holder =
    email && foldAddress(own?.email ?? '') !== foldAddress(email) ? await account.findByEmail(email) : null;
  const sameEmail = holder && holder.accountUserId !== own?.accountUserId ? holder : null;
  const behind = own && sameEmail ? (await store.peopleByAccountUser([sameEmail.accountUserId]))[0] : undefined;
  const sameEmailMovesAway =
    account.capabilities.exchangesEmails &&
    behind?.lifecycle === 'wanted' &&
    behind.email !== null &&
    foldAddress(behind.email) !== foldAddress(sameEmail?.email ?? '');
  const abilities = await abilitiesOf(context);
  if ('unknown' in abilities)
    return {
      verdict: {
        status: 'false',
        reason: 'awaiting_administrator',
        message: `The account has no team ${abilities.unknown.map((name) => `«${name}»`).join(', ')}. An account administrator creates it, or an operator corrects the rule «${person.wish?.rule}».`,
      },
      did: [],
    };
  let decision = decideProfile(person, { own, sameEmail, sameEmailMovesAway }, policy, abilities);

  if (decision.kind === 'verdict') {
    const linked =
      own && own.accountUserId !== person.accountUserId
        ? { accountUserId: own.accountUserId, accountUserOrigin: person.accountUserOrigin ?? ('created' as const) }
        : undefined;
    return { verdict: decision.verdict, did: [], ...(linked ? { person: linked } : {}) };
  }
  if (
    (decision.kind === 'update' || (decision.kind === 'create' && person.accountUserId)) &&
    onlyReports(context, 'Profile', 'profile')
  )
    return {
      verdict: reported(
        decision.kind === 'create'
          ? `The user of ${person.wish?.displayName} is gone from the account.`
          : `${decision.user.email} was changed in the account: ${describe(decision)} would mend it.`,
      ),
      did: [],
    };
  // The whole set of teams is written: what was read of it must be from now, or somebody's hand is undone.
  if ((decision.kind === 'update' || decision.kind === 'adopt') && decision.changes.teams && !plan) {
    const fresh = await context.account.at('urgent').findById(decision.user.accountUserId);
    const wish = person.wish;
    if (fresh && wish?.email)
      decision = { ...decision, user: fresh, changes: changesTowards(fresh, wish, wish.email, person.kept, abilities) };
  }
  // An address that no call can change is asked for; everything else of the change is done.
  const newEmail =
    decision.kind === 'update' && !account.capabilities.changesEmails ? (decision.changes.email ?? null) : null;
  if (newEmail !== null && decision.kind === 'update') {
    const { email: _asked, ...changes } = decision.changes;
    decision = { ...decision, changes };
  }
  if (plan)
    return {
      verdict: null,
      did: [],
      would: [
        describe(decision),
        newEmail && `ask an account administrator to change the address to ${newEmail}`,
      ].filter((line): line is string => Boolean(line)),
    };

  if (decision.kind === 'create') {
    const { wish } = decision;
    const made = await account.createUser(
      {
        personId: person.personId,
        name: wish.displayName,
        givenName: wish.givenName?.trim() ?? null,
        familyName: wish.familyName?.trim() ?? null,
        email: wish.email,
        role: wish.role,
        teams: abilities.teams?.wished ?? [],
        timeZone: wish.timeZone,
        invite: wish.invite,
      },
      fence,
    );
    return finish(context, made, abilities, 'user.created', null, 'created');
  }
  if (decision.kind === 'exchange') {
    const { user, other } = decision;
    await account.exchangeEmails(
      user.accountUserId,
      other.accountUserId,
      { own: user.email, other: other.email },
      fence,
    );
    // The other one may have been told «taken elsewhere» a moment ago, and needs not wait for it to pass.
    if (decision.other.personId) {
      await store.recheckProfile(decision.other.personId);
      await wakeOthers('create-user', [decision.other.personId]);
    }
    const exchanged = await account.updateUser(decision.user.accountUserId, decision.changes, fence);
    return finish(
      context,
      exchanged,
      abilities,
      'user.updated',
      seen(decision.user),
      person.accountUserOrigin ?? 'created',
    );
  }
  if (decision.kind === 'adopt') {
    const adopted = await account.adoptUser(decision.user.accountUserId, person.personId, decision.changes, fence);
    return finish(context, adopted, abilities, 'user.adopted', seen(decision.user), 'adopted');
  }
  if (decision.restore) {
    await account.restoreUser(decision.user.accountUserId, fence);
    context.did.push({ action: 'user.restored', before: seen(decision.user), after: null });
  }
  const changed = decision.restore || Object.keys(decision.changes).length > 0;
  const updated = changed
    ? await account.updateUser(decision.user.accountUserId, decision.changes, fence)
    : decision.user;
  const outcome = changed
    ? finish(context, updated, abilities, 'user.updated', seen(decision.user), person.accountUserOrigin ?? 'created')
    : null;
  if (newEmail === null && outcome) return outcome;
  return askForEmail(context, updated, newEmail ?? '', outcome);
}

/** What the account can take of a wish, with teams by their ids. */
async function abilitiesOf({
  person,
  account,
  policy,
}: StepContext): Promise<ProfileAbilities | { unknown: string[] }> {
  const { namesInParts, setsTimeZones, hasTeams } = account.capabilities;
  const managed = hasTeams ? [...new Set(policy.rules.flatMap((rule) => rule.teams))] : [];
  if (managed.length === 0) return { namesInParts, setsTimeZones, teams: null };
  const wished = person.wish?.teams ?? [];
  const [of, all] = [await account.teamIds(wished), await account.teamIds(managed)];
  // Nobody is made half right: a team that is not there comes first.
  if (of.unknown.length > 0) return { unknown: of.unknown };
  return { namesInParts, setsTimeZones, teams: { wished: of.ids, managed: all.ids } };
}

/** The user keeps everything; only the address waits for somebody's hand, and never becomes a new user. */
async function askForEmail(
  context: StepContext,
  user: AccountUser,
  email: string,
  outcome: StepOutcome | null,
): Promise<StepOutcome> {
  const { person, store, fence, did } = context;
  const task = await store.currentTask(person.personId, 'create-user');
  if (task?.state === 'open' && task.saidBy && task.saidAt)
    await store.contradict(
      fence,
      task.taskId,
      `${task.saidBy} said on ${task.saidAt.toISOString()} that it is done; the account shows ${user.email}.`,
    );
  const asking = await askFor(context, {
    step: 'create-user',
    kind: 'change_email',
    who: person.wish?.displayName ?? user.name,
    email: user.email,
    accountUserId: user.accountUserId,
    wants: { ...wantsNothing, email },
  });
  return {
    verdict: {
      status: 'false',
      reason: 'awaiting_administrator',
      message: `The user is still ${user.email}. ${asked(asking)}`,
      evidence: { accountUserId: user.accountUserId, email: user.email, taskId: asking.taskId },
    },
    did: outcome ? [...outcome.did, ...did.filter((entry) => !outcome.did.includes(entry))] : did,
    ...(outcome?.person ? { person: outcome.person } : {}),
  };
}

/** The read-back decides, not the act: what the account does not show is not true. */
function finish(
  context: StepContext,
  user: AccountUser,
  abilities: ProfileAbilities,
  action: string,
  before: unknown,
  origin: 'created' | 'adopted',
): StepOutcome {
  const wish = context.person.wish;
  const stillDifferent = wish?.email ? changesTowards(user, wish, wish.email, context.person.kept, abilities) : {};
  const right = Object.keys(stillDifferent).length === 0 && !user.suspended;
  return {
    verdict: right
      ? profileIsRight(user)
      : {
          status: 'unknown',
          reason: 'inconclusive',
          message: `The account does not show the change yet (${Object.keys(stillDifferent).join(', ')}). It is read again.`,
        },
    did: [...context.did, { action, before, after: seen(user) }],
    person: { accountUserId: user.accountUserId, accountUserOrigin: origin },
  };
}

function seen(user: AccountUser) {
  return {
    accountUserId: user.accountUserId,
    name: user.name,
    email: user.email,
    role: user.role,
    timeZone: user.timeZone,
    suspended: user.suspended,
  };
}

function describe(decision: Exclude<ReturnType<typeof decideProfile>, { kind: 'verdict' }>): string {
  if (decision.kind === 'create') return `create the user ${decision.wish.email} as ${decision.wish.role}`;
  const changes = Object.entries(decision.changes).map(([field, value]) => `${field} → ${value}`);
  if (decision.kind === 'exchange')
    return `exchange the address of ${decision.user.email} with ${decision.other.email}`;
  if (decision.kind === 'adopt')
    return `adopt the user ${decision.user.email}${changes.length > 0 ? ` and change ${changes.join(', ')}` : ''}`;
  return [
    decision.restore ? `restore ${decision.user.email}` : null,
    changes.length > 0 ? `change ${changes.join(', ')}` : null,
  ]
    .filter(Boolean)
    .join(' and ');
}
