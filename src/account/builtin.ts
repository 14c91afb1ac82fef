/**
 * The built-in scheduling account as the steps know it: users, licenses and Booking pages in PostgreSQL, with rules that hold by transactions, so
 * that two workers can not break them together. What people do with the same account by hand is in `administration.ts`; both stand on
 * `users.ts`, `seats.ts` and `pages.ts`.
 *
 * The account lives in the database of the people, so a fence is checked by locking the person's row inside the write's own transaction:
 * a takeover waits for it, and a write that comes after the takeover finds another number and is rolled back.
 */

import type { AccountPage, AccountUser } from '../domain/account.ts';
import { foldAddress } from '../domain/email-address.ts';
import { schedulingLicense } from '../domain/license.ts';
import { UsherError } from '../errors.ts';
import { newId } from '../ids.ts';
import type { AccountCapabilities, NewAccountUser, SchedulingAccount } from '../ports.ts';
import { type AccountDatabase, type AccountSettings, change, fenced } from './database.ts';
import { assignPage, disablePagesOf, mustBeLicensed, type PageRow, pageFrom } from './pages.ts';
import {
  claimSeat,
  isSeatFreeFor,
  leaveLines,
  licenseCounts,
  lockLicenses,
  placeInLine,
  releaseSeats,
} from './seats.ts';
import {
  applyChanges,
  endSignIn,
  guardLastAdministrator,
  insertUser,
  remainingText,
  removeUser,
  selectUser,
  type UserRow,
  userFrom,
  voidLinks,
} from './users.ts';

const inTransaction = 'read back in the same transaction';

export const builtinSteps: AccountCapabilities['steps'] = {
  'create-user': { mode: 'automatic', how: 'makes, adopts and changes the user', evidence: inTransaction },
  'check-delegation': {
    mode: 'automatic',
    how: 'reads the permissions of the primary calendar by Microsoft Graph',
    evidence: 'the calendar names the dedicated mailbox as delegate',
  },
  'assign-license': { mode: 'automatic', how: 'gives a seat of the pool', evidence: inTransaction },
  'assign-booking-pages': { mode: 'automatic', how: 'takes and enables the page', evidence: inTransaction },
  offboard: {
    mode: 'automatic',
    how: 'hands over pages, frees the seat, suspends; deletes where the policy says so',
    evidence: inTransaction,
  },
};

/** A built-in account does by itself what others can only be looked at for. */
const neverAsked = (): Promise<never> =>
  Promise.reject(new UsherError('internal', 'The built-in account is written to, not looked at.'));

export function openBuiltinAccount(database: AccountDatabase, settings: AccountSettings): SchedulingAccount {
  const one = async (name: string, where: string, values: unknown[]): Promise<AccountUser | null> => {
    const rows = await database.query<UserRow>(`account-user-by-${name}`, `${selectUser} where ${where}`, values);
    return rows[0] ? userFrom(rows[0]) : null;
  };
  const findById = (accountUserId: string) => one('id', 'u.account_user_id = $1', [accountUserId]);
  const mustFind = async (accountUserId: string): Promise<AccountUser> => {
    const user = await findById(accountUserId);
    if (!user) throw new UsherError('not_found', `The account has no user ${accountUserId}.`);
    return user;
  };

  const account: SchedulingAccount = {
    kind: 'builtin',
    pace: null,
    at: () => account,
    capabilities: {
      steps: builtinSteps,
      namesInParts: false,
      changesEmails: true,
      hasTeams: false,
      blocksSignIn: true,
      deletesUsers: true,
      suppressesInvitations: true,
      setsTimeZones: true,
      exchangesEmails: true,
      suspends: true,
      createsPages: true,
      makesPageForNewUser: false,
      keepsWaitingList: true,
      knowsPools: true,
    },

    async findByPerson(personId, accountUserId) {
      return (await one('person', 'u.person_id = $1', [personId])) ?? (accountUserId ? findById(accountUserId) : null);
    },
    findByEmail: (email) => one('email', 'u.email_key = $1', [foldAddress(email)]),
    findById,

    async createUser(user: NewAccountUser, fence) {
      await fenced(database, fence, (client) => insertUser(client, user));
      const made = await one('person', 'u.person_id = $1', [user.personId]);
      if (!made) throw new UsherError('internal', 'The user that was just made is gone.');
      return made;
    },

    async adoptUser(accountUserId, personId, changes, fence) {
      await fenced(database, fence, async (client) => {
        const { rowCount } = await client.query(
          'update account_users set person_id = $2 where account_user_id = $1 and (person_id is null or person_id = $2)',
          [accountUserId, personId],
        );
        if (!rowCount) throw new UsherError('account_refused', 'The user belongs to another person already.');
        // One place a human: the one by hand is the person's from now on.
        await client.query(
          `update account_waiting w set person_id = $2 where account_user_id = $1
             and not exists (select 1 from account_waiting o where o.kind = w.kind and o.person_id = $2)`,
          [accountUserId, personId],
        );
        await client.query('delete from account_waiting where account_user_id = $1 and person_id <> $2', [
          accountUserId,
          personId,
        ]);
        await applyChanges(client, accountUserId, changes, settings);
      });
      return mustFind(accountUserId);
    },

    async updateUser(accountUserId, changes, fence) {
      await fenced(database, fence, (client) => applyChanges(client, accountUserId, changes, settings));
      return mustFind(accountUserId);
    },

    async exchangeEmails(accountUserId, otherId, seen, fence) {
      const done = await fenced(database, fence, async (client) => {
        // In one order: the other's step may do the same at this moment, and what it did must not be undone.
        const { rows } = await client.query<{ account_user_id: string; email: string }>(
          `select account_user_id, email from account_users where account_user_id = any ($1::uuid[]) order by account_user_id for update`,
          [[accountUserId, otherId]],
        );
        const emailOf = (id: string) => rows.find((row) => row.account_user_id === id)?.email;
        if (emailOf(accountUserId) === seen.other && emailOf(otherId) === seen.own) return true;
        if (emailOf(accountUserId) !== seen.own || emailOf(otherId) !== seen.other) return false;
        await client.query(
          `update account_users u set email = o.email, email_key = o.email_key from account_users o
           where (u.account_user_id, o.account_user_id) in (($1, $2), ($2, $1))`,
          [accountUserId, otherId],
        );
        await voidLinks(client, [accountUserId, otherId]);
        return true;
      });
      if (!done) throw new UsherError('conflict', 'The addresses changed at the same time.');
    },

    async blockSignIn(accountUserId, fence) {
      await fenced(database, fence, async (client) => {
        await client.query('update account_users set sign_in_blocked = true where account_user_id = $1', [
          accountUserId,
        ]);
        await endSignIn(client, accountUserId);
      });
    },

    async suspendUser(accountUserId, fence) {
      await fenced(database, fence, async (client) => {
        await guardLastAdministrator(client, accountUserId, settings, 'suspended');
        await client.query(
          'update account_users set suspended = true, sign_in_blocked = true where account_user_id = $1',
          [accountUserId],
        );
        await endSignIn(client, accountUserId);
      });
    },

    async restoreUser(accountUserId, fence) {
      await fenced(database, fence, (client) =>
        client.query('update account_users set suspended = false, sign_in_blocked = false where account_user_id = $1', [
          accountUserId,
        ]),
      );
    },

    async deleteUser(accountUserId, heirId, fence) {
      await fenced(database, fence, (client) =>
        removeUser(client, accountUserId, { heirId, actingId: null }, settings),
      );
    },

    async claimSeat(claim, fence) {
      const answer = await fenced(database, fence, (client) => claimSeat(client, claim));
      if (answer.assigned || answer.why !== 'pool') return answer;
      return { ...answer, place: await placeInLine(database, claim.kind, claim.personId, claim.since) };
    },

    isSeatFreeFor: (personId) => isSeatFreeFor(database, personId),

    async freeSeats(accountUserId, kinds, fence) {
      await fenced(database, fence, async (client) => {
        await guardLastAdministrator(client, accountUserId, settings, 'unlicensed', kinds);
        await lockLicenses(client, accountUserId, kinds);
        // Before the license: an enabled page leans on it.
        if (kinds.includes(schedulingLicense)) await disablePagesOf(client, accountUserId, 'license');
        await releaseSeats(client, accountUserId, kinds);
      });
    },

    async leaveWaitingList(personId, byHandToo) {
      // Nearly nobody waits: no transaction for those who do not.
      const places = await database.query(
        'in-a-line',
        'select 1 from account_waiting where person_id = $1 or account_user_id = (select account_user_id from account_users where person_id = $1) limit 1',
        [personId],
      );
      if (places.length > 0) await change(database, (client) => leaveLines(client, personId, byHandToo));
    },

    async pagesNamed(linkNames) {
      return (
        await database.query<PageRow>('pages-named', 'select * from account_pages where link_name = any($1::text[])', [
          linkNames,
        ])
      ).map(pageFrom);
    },

    async pagesOwnedBy(accountUserId) {
      return (
        await database.query<PageRow>(
          'pages-owned',
          'select * from account_pages where owner_id = $1 order by link_name',
          [accountUserId],
        )
      ).map(pageFrom);
    },

    async assignPage(pageId, fromId, toId, enable, fence) {
      const assigned = await fenced(database, fence, async (client) => {
        if (enable) await mustBeLicensed(client, toId);
        return assignPage(client, pageId, fromId, toId, enable, 'usher');
      });
      if (!assigned) throw new UsherError('conflict', 'The page has another owner by now.');
    },

    async createPage(linkName, ownerId, fence) {
      await fenced(database, fence, async (client) => {
        await mustBeLicensed(client, ownerId);
        await client.query(
          `insert into account_pages (page_id, link_name, owner_id, enabled, created_by) values ($1, $2, $3, true, 'usher') on conflict (link_name) do nothing`,
          [newId(), linkName, ownerId],
        );
      });
    },

    async enablePage(pageId, fence) {
      await fenced(database, fence, async (client) => {
        const { rows } = await client.query<{ owner_id: string }>(
          'select owner_id from account_pages where page_id = $1 for update',
          [pageId],
        );
        if (rows[0]) await mustBeLicensed(client, rows[0].owner_id);
        await client.query(
          'update account_pages set enabled = true, disabled_by = null, disabled_why = null where page_id = $1',
          [pageId],
        );
      });
    },

    async remainingAdministrator(exceptId) {
      const rows = await database.query<{ account_user_id: string }>('remaining-administrator', remainingText, [
        exceptId,
      ]);
      return rows[0] ? findById(rows[0].account_user_id) : null;
    },

    async sightsOf(accountUserIds) {
      const [users, pages] = await Promise.all([
        database.query<UserRow>('account-users-of', `${selectUser} where u.account_user_id = any ($1::uuid[])`, [
          accountUserIds,
        ]),
        database.query<PageRow>('account-pages-of', 'select * from account_pages where owner_id = any ($1::uuid[])', [
          accountUserIds,
        ]),
      ]);
      const pagesOf = new Map<string | null, AccountPage[]>();
      for (const page of pages.map(pageFrom)) pagesOf.set(page.ownerId, [...(pagesOf.get(page.ownerId) ?? []), page]);
      return new Map(
        users.map((row) => [
          row.account_user_id,
          { user: userFrom(row), pages: pagesOf.get(row.account_user_id) ?? [] },
        ]),
      );
    },

    async unknownUsers(after, limit) {
      const rows = await database.query<UserRow>(
        'account-unknown-users',
        `${selectUser} where u.person_id is null and u.role = 'Member' and u.account_user_id > coalesce($1::uuid, '00000000-0000-0000-0000-000000000000')
         order by u.account_user_id limit $2`,
        [after, limit],
      );
      return rows.map(userFrom);
    },

    licenseCounts: () => licenseCounts(database),

    lookAtSeat: neverAsked,
    guardSeat: neverAsked,
    seatsOf: neverAsked,
    forgetSeats: neverAsked,
    noteSeat: neverAsked,
    lookAtPages: neverAsked,
    futureBookings: neverAsked,
    teamIds: neverAsked,
  };
  return account;
}
