/**
 * Pages. Every page has an owner, so assigning means taking, and Usher takes only from whom the policy lets it.
 */
import type { AccountPage, AccountUser } from './account.ts';
import type { Verdict } from './conditions.ts';
import { foldAddress } from './email-address.ts';

export interface PageSight {
  linkName: string;
  page: AccountPage | null;
  owner: AccountUser | null;
  /** Other people whose wish names the same page. */
  alsoWishedBy: string[];
  /** True when some rule wishes this page for its present owner. */
  wishedForOwner: boolean;
  /** True when the present owner is a person who leaves. */
  ownerLeaves: boolean;
  /** Set when an Administrator gave the page to somebody else by hand. */
  keptByHand: { by: string; at: string } | null;
}

export type PageAction =
  | { kind: 'create'; linkName: string }
  | { kind: 'take'; page: AccountPage; from: AccountUser }
  | { kind: 'enable'; page: AccountPage };

export interface PageDecision {
  actions: PageAction[];
  /** What stays open even after the actions; null when the actions make everything true. */
  blocked: Verdict | null;
}

export function decidePages(
  accountUserId: string,
  sights: PageSight[],
  takeFrom: string[] | undefined,
  createMissing: boolean,
): PageDecision {
  const actions: PageAction[] = [];
  let blocked: Verdict | null = null;
  const block = (reason: NonNullable<Verdict['reason']>, message: string, linkName: string) => {
    blocked ??= { status: 'false', reason, message, evidence: { linkName } };
  };
  for (const sight of sights) {
    const { linkName, page, owner } = sight;
    if (sight.alsoWishedBy.length > 0) {
      block(
        'claimed_twice',
        `Page «${linkName}» is wished for two people; nobody gets it. Also wished by ${sight.alsoWishedBy.join(', ')}. The names in the directory or the rule decide.`,
        linkName,
      );
      continue;
    }
    if (!page && createMissing) {
      actions.push({ kind: 'create', linkName });
      continue;
    }
    if (!page || !owner) {
      block('page_missing', `Page «${linkName}» does not exist. An account administrator creates it.`, linkName);
      continue;
    }
    if (page.ownerId !== accountUserId && sight.keptByHand) {
      block(
        'owned_by_other',
        `Page «${linkName}» was given to ${owner.email} by hand (${sight.keptByHand.by}, ${sight.keptByHand.at}). An account administrator takes that back.`,
        linkName,
      );
      continue;
    }
    if (page.ownerId !== accountUserId) {
      if (!mayTake(sight, takeFrom)) {
        block(
          'owned_by_other',
          `Page «${linkName}» belongs to ${owner.email}, from whom the policy does not take. An account administrator hands it over, or the policy names that user in bookingPages.takeFrom.`,
          linkName,
        );
        continue;
      }
      actions.push({ kind: 'take', page, from: owner });
    }
    const enable = mayEnable(page, accountUserId);
    if (!page.enabled && enable) actions.push({ kind: 'enable', page });
    if (!page.enabled && !enable) {
      block(
        'page_disabled',
        `Page «${linkName}» was disabled by ${page.disabledBy ?? 'somebody'}${page.disabledWhy ? ` (${page.disabledWhy})` : ''}. An account administrator enables it.`,
        linkName,
      );
    }
  }
  return { actions, blocked };
}

/** From a leaver; from the users the policy names; without names, from any Administrator to whom no rule gives the page. */
function mayTake(sight: PageSight, takeFrom: string[] | undefined): boolean {
  const owner = sight.owner;
  if (!owner) return false;
  if (sight.ownerLeaves) return true;
  if (owner.role !== 'Administrator') return false;
  if (takeFrom) return takeFrom.some((address) => foldAddress(address) === foldAddress(owner.email));
  return !sight.wishedForOwner;
}

/**
 * Enabled: what is assigned for the first time, and what our own license or leaver step disabled. A page that a human disabled
 * after we assigned it is reported, not enabled.
 */
function mayEnable(page: AccountPage, accountUserId: string): boolean {
  if (page.disabledBy === 'usher' || page.disabledBy === 'license') return true;
  return page.disabledBy === null && page.ownerId !== accountUserId;
}

export function pagesAreRight(linkNames: string[]): Verdict {
  return {
    status: 'true',
    reason: null,
    message: linkNames.length > 0 ? `Owns and has enabled: ${linkNames.join(', ')}.` : 'No Booking page is wished.',
    evidence: { bookingPages: linkNames },
  };
}
