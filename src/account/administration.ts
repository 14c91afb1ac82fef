/** What people do with the account by hand: users, licenses, pages, mails, and one human's data. Each act is one transaction, with its history. */
import type { AccountAdministration } from '../administration.ts';
import { foldAddress } from '../domain/email-address.ts';
import type { Policy } from '../domain/policy.ts';
import { pageActs } from './by-hand-pages.ts';
import { userActs } from './by-hand-users.ts';
import type { AccountDatabase, AccountSettings } from './database.ts';
import { mailActs } from './mails.ts';
import { privacyActs } from './privacy.ts';

export function openAdministration(
  database: AccountDatabase,
  settings: AccountSettings,
  founderEmail: string,
  delegation: Policy['delegation'],
): AccountAdministration {
  return {
    ...userActs(database, settings),
    ...pageActs(database, foldAddress(founderEmail), delegation),
    ...mailActs(database),
    ...privacyActs(database, settings),
  };
}
