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
import type { AccountCapabilities, HistoryEntry, NewAccountUser, SchedulingAccount, SeatClaim } from '../ports.ts';
import { together } from '../together.ts';
import { type AccountDatabase, type AccountSettings, change, effectsTogether, fenced } from './database.ts';
import {
  assignPage,
  disablePagesOf,
  insertPages,
  mustBeLicensed,
  type NewPage,
  type PageRow,
  pageFrom,
} from './pages.ts';
import {
  type Claimed,
  claimFreeSeats,
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
  insertUsers,
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

/** What is kept beside an effect until the history has it. */
const did = (action: string, after: unknown): HistoryEntry => ({ action, before: null, after });

/** A built-in account does by itself what others can only be looked at for. */
const neverAsked = (): Promise<never> =>
  Promise.reject(new UsherError('internal', 'The built-in account is written to, not looked at.'));

export function openBuiltinAccount(database: AccountDatabase, settings: AccountSettings): SchedulingAccount {
  const usersBy = (column: 'person_id' | 'email_key' | 'account_user_id', type: 'uuid' | 'text') =>
    together<string, AccountUser | null>({
      all: async (keys) => {
        const rows = await database.query<UserRow>(
          `account-users-by-${column}`,
          `${selectUser} where u.${column} = any ($1::${type}[])`,
          [keys],
        );
        const found = new Map(rows.map((row) => [row[column], row]));
        return keys.map((key) => {
          const row = found.get(key);
          return row ? userFrom(row) : null;
        });
      },
    });
  const findByKey = usersBy('person_id', 'uuid');
  const findByFolded = usersBy('email_key', 'text');
  const findById = usersBy('account_user_id', 'uuid');
  const pageNamed = together<string, AccountPage | null>({
    all: async (names) => {
      const rows = await database.query<PageRow>(
        'pages-named',
        'select * from account_pages where link_name = any ($1::text[])',
        [names],
      );
      const found = new Map(rows.map((row) => [row.link_name, pageFrom(row)]));
      return names.map((name) => found.get(name) ?? null);
    },
  });
  const mustFind = async (accountUserId: string): Promise<AccountUser> => {
    const user = await findById(accountUserId);
    if (!user) throw new UsherError('not_found', `The account has no user ${accountUserId}.`);
    return user;
  };

  const create = effectsTogether<NewAccountUser, string | null>(database, {
    many: insertUsers,
    entry: ({ name, email, role }, accountUserId) =>
      accountUserId === null ? null : did('user.created', { accountUserId, name, email, role }),
  });
  const claim = effectsTogether<SeatClaim, Claimed>(database, {
    many: claimFreeSeats,
    one: claimSeat,
    entry: ({ kind }, answer) => (answer.assigned && !answer.already ? did('license.assigned', { kind }) : null),
  });
  const makePage = effectsTogether<NewPage, boolean>(database, {
    many: insertPages,
    entry: ({ linkName, ownerId }, isNew) => (isNew ? did('page.created', { linkName, owner: ownerId }) : null),
  });

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
      keepsEffects: true,
    },

    async findByPerson(personId, accountUserId) {
      return (await findByKey(personId)) ?? (accountUserId ? findById(accountUserId) : null);
    },
    findByEmail: (email) => findByFolded(foldAddress(email)),
    findById,

    async createUser(user: NewAccountUser, fence) {
      await create(user, fence);
      const found = await findByKey(user.personId);
      if (!found) throw new UsherError('internal', 'The user that was just made is gone.');
      return found;
    },

    async adoptUser(accountUserId, personId, changes, fence) {
      await fenced(
        database,
        fence,
        async (client) => {
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
        },
        () => did('user.adopted', { accountUserId, ...changes }),
      );
      return mustFind(accountUserId);
    },

    async updateUser(accountUserId, changes, fence) {
      await fenced(
        database,
        fence,
        (client) => applyChanges(client, accountUserId, changes, settings),
        () => did('user.updated', changes),
      );
      return mustFind(accountUserId);
    },

    async exchangeEmails(accountUserId, otherId, seen, fence) {
      const done = await fenced(
        database,
        fence,
        async (client) => {
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
        },
        (done) => (done ? did('user.emails_exchanged', { email: seen.other }) : null),
      );
      if (!done) throw new UsherError('conflict', 'The addresses changed at the same time.');
    },

    async blockSignIn(accountUserId, fence) {
      await fenced(
        database,
        fence,
        async (client) => {
          await client.query('update account_users set sign_in_blocked = true where account_user_id = $1', [
            accountUserId,
          ]);
          await endSignIn(client, accountUserId);
        },
        () => did('sign_in.blocked', null),
      );
    },

    async suspendUser(accountUserId, fence) {
      await fenced(
        database,
        fence,
        async (client) => {
          await guardLastAdministrator(client, accountUserId, settings, 'suspended');
          await client.query(
            'update account_users set suspended = true, sign_in_blocked = true where account_user_id = $1',
            [accountUserId],
          );
          await endSignIn(client, accountUserId);
        },
        () => did('user.suspended', null),
      );
    },

    async restoreUser(accountUserId, fence) {
      await fenced(
        database,
        fence,
        (client) =>
          client.query(
            'update account_users set suspended = false, sign_in_blocked = false where account_user_id = $1',
            [accountUserId],
          ),
        () => did('user.restored', null),
      );
    },

    async deleteUser(accountUserId, heirId, fence) {
      await fenced(
        database,
        fence,
        (client) => removeUser(client, accountUserId, { heirId, actingId: null }, settings),
        () => did('user.deleted_from_account', { heirId }),
      );
    },

    async claimSeat(seat, fence) {
      const answer = await claim(seat, fence);
      if (answer.assigned || answer.why !== 'pool') return answer;
      return { ...answer, place: await placeInLine(database, seat.kind, seat.personId, seat.since) };
    },

    isSeatFreeFor: (personId) => isSeatFreeFor(database, personId),

    async freeSeats(accountUserId, kinds, fence) {
      await fenced(
        database,
        fence,
        async (client) => {
          await guardLastAdministrator(client, accountUserId, settings, 'unlicensed', kinds);
          await lockLicenses(client, accountUserId, kinds);
          // Before the license: an enabled page leans on it.
          if (kinds.includes(schedulingLicense)) await disablePagesOf(client, accountUserId, 'license');
          return releaseSeats(client, accountUserId, kinds);
        },
        (freed) => (freed.length > 0 ? did('license.unassigned', { kinds: freed }) : null),
      );
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
      const pages = await Promise.all([...new Set(linkNames)].map((name) => pageNamed(name)));
      return pages.filter((page) => page !== null);
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
      const assigned = await fenced(
        database,
        fence,
        async (client) => {
          if (enable) await mustBeLicensed(client, toId);
          return assignPage(client, pageId, fromId, toId, enable, 'usher');
        },
        (done) => (done ? did('page.assigned', { pageId, from: fromId, owner: toId, enabled: enable }) : null),
      );
      if (!assigned) throw new UsherError('conflict', 'The page has another owner by now.');
    },

    async createPage(linkName, ownerId, fence) {
      await makePage({ linkName, ownerId }, fence);
    },

    async enablePage(pageId, fence) {
      await fenced(
        database,
        fence,
        async (client) => {
          const { rows } = await client.query<{ owner_id: string }>(
            'select owner_id from account_pages where page_id = $1 for update',
            [pageId],
          );
          if (rows[0]) await mustBeLicensed(client, rows[0].owner_id);
          await client.query(
            'update account_pages set enabled = true, disabled_by = null, disabled_why = null where page_id = $1',
            [pageId],
          );
        },
        () => did('page.enabled', { pageId }),
      );
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
