/**
 * Can somebody book through this page now? A pure verdict over owner, license, delegation and enabled; taking bookings is not this
 * account's work. The first thing in the way is the reason.
 */
import type { AccountUser } from './account.ts';
import type { Condition, ConditionStatus, Reason } from './conditions.ts';
import { schedulingLicense } from './license.ts';
import type { Policy } from './policy.ts';

export interface BookableSight {
  page: { linkName: string; enabled: boolean; disabledBy: string | null; disabledWhy: string | null };
  owner: Pick<AccountUser, 'email' | 'suspended' | 'licenses'> | null;
  /** Of the person behind the owner; null where there is none, and then nothing is known of a calendar. */
  delegation: Pick<Condition, 'status' | 'reason' | 'message'> | null;
}

export interface Bookable {
  /** `unknown` where the delegation is. */
  bookable: ConditionStatus;
  reason: Reason | 'owner_suspended' | null;
  message: string;
}

export function bookable(sight: BookableSight, delegation: Policy['delegation']): Bookable {
  const { page, owner } = sight;
  const no = (reason: Bookable['reason'], message: string, status: ConditionStatus = 'false'): Bookable => ({
    bookable: status,
    reason,
    message,
  });
  if (!owner) return no('page_missing', `Page «${page.linkName}» has no owner.`);
  if (owner.suspended) return no('owner_suspended', `${owner.email}, who owns the page, is suspended.`);
  if (!owner.licenses.some((license) => license.kind === schedulingLicense))
    return no('needs_license', `${owner.email}, who owns the page, has no «${schedulingLicense}» license.`);
  if (delegation === 'required') {
    if (!sight.delegation)
      return no(
        'not_checked_yet',
        `Nobody in the directory is behind ${owner.email}, so no calendar delegation is known.`,
        'unknown',
      );
    if (sight.delegation.status !== 'true')
      return no(sight.delegation.reason ?? 'not_checked_yet', sight.delegation.message, sight.delegation.status);
  }
  if (!page.enabled)
    return no(
      'page_disabled',
      `Page «${page.linkName}» is disabled${page.disabledBy ? ` by ${page.disabledBy}` : ''}${page.disabledWhy ? ` (${page.disabledWhy})` : ''}.`,
    );
  return { bookable: 'true', reason: null, message: `Page «${page.linkName}» of ${owner.email} can be booked.` };
}
