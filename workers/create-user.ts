/** The user in the scheduling account: found by our key or address first, then created, adopted or mended, then read back. */

import type { AccountUser } from '../src/domain/account.ts';
import { foldAddress } from '../src/domain/email-address.ts';
import { changesTowards, decideProfile, profileIsRight } from '../src/domain/profile.ts';
import type { StepContext, StepDefinition, StepOutcome } from './step.ts';

export const createUser: StepDefinition = { step: 'create-user', condition: 'Profile', run };

async function run(context: StepContext): Promise<StepOutcome> {
  const { person, account, store, policy, fence, plan, wakeOthers } = context;
  const email = person.wish?.email ?? null;
  const own = await account.findByPerson(person.personId, person.accountUserId);
  // Our own user answers for its address; only a differing one can belong to somebody else.
  const holder =
    email && foldAddress(own?.email ?? '') !== foldAddress(email) ? await account.findByEmail(email) : null;
  const sameEmail = holder && holder.accountUserId !== own?.accountUserId ? holder : null;
  const behind = own && sameEmail ? (await store.peopleByAccountUser([sameEmail.accountUserId]))[0] : undefined;
  const sameEmailMovesAway =
    behind?.lifecycle === 'wanted' &&
    behind.email !== null &&
    foldAddress(behind.email) !== foldAddress(sameEmail?.email ?? '');
  const decision = decideProfile(person, { own, sameEmail, sameEmailMovesAway }, policy);

  if (decision.kind === 'verdict') {
    const linked =
      own && own.accountUserId !== person.accountUserId
        ? { accountUserId: own.accountUserId, accountUserOrigin: person.accountUserOrigin ?? ('created' as const) }
        : undefined;
    return { verdict: decision.verdict, did: [], ...(linked ? { person: linked } : {}) };
  }
  if (plan) return { verdict: null, did: [], would: [describe(decision)] };

  if (decision.kind === 'create') {
    const { wish } = decision;
    const made = await account.createUser(
      {
        personId: person.personId,
        name: wish.displayName,
        email: wish.email,
        role: wish.role,
        timeZone: wish.timeZone,
        invite: wish.invite,
      },
      fence,
    );
    return finish(context, made, 'user.created', null, 'created');
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
    return finish(context, exchanged, 'user.updated', seen(decision.user), person.accountUserOrigin ?? 'created');
  }
  if (decision.kind === 'adopt') {
    const adopted = await account.adoptUser(decision.user.accountUserId, person.personId, decision.changes, fence);
    return finish(context, adopted, 'user.adopted', seen(decision.user), 'adopted');
  }
  if (decision.restore) {
    await account.restoreUser(decision.user.accountUserId, fence);
    context.did.push({ action: 'user.restored', before: seen(decision.user), after: null });
  }
  const updated = await account.updateUser(decision.user.accountUserId, decision.changes, fence);
  return finish(context, updated, 'user.updated', seen(decision.user), person.accountUserOrigin ?? 'created');
}

/** The read-back decides, not the act: what the account does not show is not true. */
function finish(
  context: StepContext,
  user: AccountUser,
  action: string,
  before: unknown,
  origin: 'created' | 'adopted',
): StepOutcome {
  const wish = context.person.wish;
  const stillDifferent = wish?.email ? changesTowards(user, wish, wish.email, context.person.kept) : {};
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
