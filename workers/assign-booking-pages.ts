/** The pages that the policy names: taken from whom it lets us take, enabled where we may, and read back. */

import type { AccountUser } from '../src/domain/account.ts';
import { decidePages, type PageSight, pagesAreRight } from '../src/domain/booking-page.ts';
import { schedulingLicense } from '../src/domain/license.ts';
import { onlyReports, reported } from './drift.ts';
import { pagesByTask } from './pages-by-task.ts';
import type { StepContext, StepDefinition, StepOutcome } from './step.ts';

export const assignBookingPages: StepDefinition = { step: 'assign-booking-pages', condition: 'BookingPages', run };

async function run(context: StepContext): Promise<StepOutcome> {
  const { person, account, policy, fence, plan, did } = context;
  const wished = person.wish?.bookingPages ?? [];
  if (!person.accountUserId)
    return {
      verdict: { status: 'false', reason: 'needs_license', message: 'The pages wait for the user and the license.' },
      did: [],
    };
  const isAutomatic = account.capabilities.steps['assign-booking-pages'].mode === 'automatic';
  const user =
    isAutomatic && wished.length + person.handedOver.length > 0 ? await account.findById(person.accountUserId) : null;
  const would = isAutomatic && user ? await giveBack(context, user) : [];
  if (would.length > 0) return { verdict: null, did, would };
  if (wished.length === 0) return { verdict: pagesAreRight([]), did };
  if (!isAutomatic) return pagesByTask(context, wished);

  if (user && !user.licenses.some((license) => license.kind === schedulingLicense))
    return {
      verdict: {
        status: 'false',
        reason: 'needs_license',
        message: `A page is enabled only for an owner with a «${schedulingLicense}» license, and rule «${person.wish?.rule}» wishes none. An operator adds it to the rule.`,
        owner: 'operator',
      },
      did,
    };
  const sights = await look(context, wished, user);
  const decision = decidePages(
    person.accountUserId,
    sights,
    policy.bookingPages.takeFrom,
    policy.bookingPages.createMissing !== false,
  );
  if (plan && decision.actions.length > 0) {
    return {
      verdict: null,
      did: [],
      would: decision.actions.map((action) =>
        action.kind === 'create'
          ? `create page «${action.linkName}»`
          : action.kind === 'take'
            ? `take page «${action.page.linkName}» from ${action.from.email}`
            : `enable page «${action.page.linkName}»`,
      ),
    };
  }
  if (decision.actions.length > 0 && onlyReports(context, 'BookingPages', 'bookingPages'))
    return {
      verdict: reported(
        `Not as it was: ${decision.actions.map((action) => `«${action.kind === 'create' ? action.linkName : action.page.linkName}»`).join(', ')}.`,
      ),
      did,
    };
  const enabling = new Set(
    decision.actions.filter((action) => action.kind === 'enable').map((action) => action.page.pageId),
  );
  for (const action of decision.actions) {
    if (action.kind === 'create') {
      await account.createPage(action.linkName, person.accountUserId, fence);
      did.push({
        action: 'page.created',
        before: null,
        after: { linkName: action.linkName, owner: person.accountUserId },
      });
    } else if (action.kind === 'take') {
      const enable = enabling.has(action.page.pageId) || action.page.enabled;
      await account.assignPage(action.page.pageId, action.from.accountUserId, person.accountUserId, enable, fence);
      did.push({
        action: 'page.assigned',
        before: { linkName: action.page.linkName, owner: action.from.email, enabled: action.page.enabled },
        after: { owner: person.accountUserId, enabled: enable },
      });
    } else if (!decision.actions.some((other) => other.kind === 'take' && other.page.pageId === action.page.pageId)) {
      await account.enablePage(action.page.pageId, fence);
      did.push({
        action: 'page.enabled',
        before: { linkName: action.page.linkName, disabledBy: action.page.disabledBy },
        after: { enabled: true },
      });
    }
  }
  if (decision.blocked) return { verdict: decision.blocked, did };
  const after = await account.pagesNamed(wished);
  const right = wished.every((name) =>
    after.some((page) => page.linkName === name && page.ownerId === person.accountUserId && page.enabled),
  );
  return {
    verdict: right
      ? pagesAreRight(wished)
      : {
          status: 'unknown',
          reason: 'inconclusive',
          message: 'The account does not show the pages as assigned yet. They are read again.',
        },
    did,
  };
}

/** Who came back gets the pages that went to an heir, as they were, as long as the heir has them still. Answers what it would do, for a plan. */
async function giveBack(
  { person, account, store, fence, plan, did }: StepContext,
  user: AccountUser,
): Promise<string[]> {
  if (person.handedOver.length === 0) return [];
  const handed = new Map(person.handedOver.map((entry) => [entry.pageId, entry]));
  const names = [...new Set(person.handedOver.map(({ linkName }) => linkName))];
  const [pages, others, heirs] = await Promise.all([
    account.pagesNamed(names),
    store.othersWishing(person.personId, names),
    store.peopleByAccountUser([...new Set(person.handedOver.map(({ heirId }) => heirId))]),
  ]);
  const isLicensed = user.licenses.some((license) => license.kind === schedulingLicense);
  const would: string[] = [];
  for (const page of pages) {
    const before = handed.get(page.pageId);
    if (!before || page.ownerId !== before.heirId || page.ownerId === user.accountUserId) continue;
    // Meanwhile a rule gave it to somebody else, or an Administrator did.
    if (others.some((other) => other.linkName === page.linkName)) continue;
    if (heirs.some((heir) => heir.accountUserId === page.ownerId && heir.bookingPages.includes(page.linkName)))
      continue;
    if (person.kept[`page:${page.linkName}`]) continue;
    if (plan) {
      would.push(`give page «${page.linkName}» back`);
      continue;
    }
    const enable = before.enabled && isLicensed;
    await account.assignPage(page.pageId, before.heirId, user.accountUserId, enable, fence);
    did.push({
      action: 'page.given_back',
      before: { linkName: page.linkName, owner: before.heirId, enabled: page.enabled },
      after: { owner: user.accountUserId, enabled: enable },
    });
  }
  if (!plan) await store.forgetHandedOver(person.personId);
  return would;
}

async function look(
  { person, account, store }: StepContext,
  wished: string[],
  user: AccountUser | null,
): Promise<PageSight[]> {
  const [pages, others] = await Promise.all([account.pagesNamed(wished), store.othersWishing(person.personId, wished)]);
  const ownerIds = [
    ...new Set(pages.flatMap(({ ownerId }) => (ownerId === null || ownerId === person.accountUserId ? [] : [ownerId]))),
  ];
  const behind = ownerIds.length > 0 ? await store.peopleByAccountUser(ownerIds) : [];
  const owners = new Map<string, AccountUser | null>([[person.accountUserId ?? '', user]]);
  for (const ownerId of ownerIds) owners.set(ownerId, await account.findById(ownerId));
  return wished.map((linkName): PageSight => {
    const page = pages.find((candidate) => candidate.linkName === linkName) ?? null;
    const owner = page?.ownerId ? (owners.get(page.ownerId) ?? null) : null;
    const ownerPerson = behind.find((entry) => entry.accountUserId === page?.ownerId);
    return {
      linkName,
      page,
      owner,
      alsoWishedBy: others.filter((other) => other.linkName === linkName).map((other) => other.personId),
      wishedForOwner: ownerPerson?.lifecycle === 'wanted' && ownerPerson.bookingPages.includes(linkName),
      ownerLeaves: ownerPerson?.left ?? false,
      keptByHand: person.kept[`page:${linkName}`] ?? null,
    };
  });
}
