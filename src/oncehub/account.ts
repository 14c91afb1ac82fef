/**
 * A OnceHub account as the steps know it, by its public API v2. Users are written; seats and Booking pages can only be looked at, and stand in a ledger.
 *
 * The API knows no fence and no idempotency key. So what is about to happen is written down first, under the fence; the call is time-boxed below the lease;
 * whoever takes over waits until it can no longer take effect, and looks before acting. A create that timed out is followed by a look, never by a second
 * create. Which fields may be sent, and what each refusal means, stands in the vendor's description, not in the texts of its answers.
 */
import type pg from 'pg';
import { type AccountDatabase, change, fenced } from '../account/database.ts';
import type { AccountUser, PageLook, UserChanges } from '../domain/account.ts';
import type { AccountSight } from '../domain/drift.ts';
import { foldAddress } from '../domain/email-address.ts';
import { schedulingLicense } from '../domain/license.ts';
import { asUsherError, UsherError } from '../errors.ts';
import type { Fence, NewAccountUser, Priority, SchedulingAccount } from '../ports.ts';
import { oncehubCapabilities } from './capabilities.ts';
import type { OnceHubAnswer, OnceHubCall } from './client.ts';
import { openEffects, uncertainSeconds } from './effects.ts';
import { openLedger } from './ledger.ts';
import { type Gathered, gather } from './lists.ts';
import type { Share } from './pace.ts';
import {
  accountPage,
  fold,
  isAdministrator,
  isNamed,
  type OnceHubPage,
  type OnceHubUser,
  readCalendar,
  readPage,
  readUser,
  refusedField,
  terminal,
  unexpected,
} from './shapes.ts';

export interface OnceHubParts {
  call: OnceHubCall;
  database: AccountDatabase;
  requestsPerSecond: number;
  now: () => number;
  clockSpeed: number;
  raise(kind: string, message: string): Promise<void>;
  settle(kind: string): Promise<void>;
}

/** How old an answer may be for whom, in milliseconds; who waits at the screen may have changed it a moment ago. */
const freshFor: Record<Priority, number> = { urgent: 0, soon: 60_000, background: 3_600_000 };
/** Whether a user is there is the profile's own look, once a day; the other steps take what is known of them. */
const knownFor: Record<Priority, number> = { urgent: 0, soon: 86_400_000, background: 86_400_000 };
/** Lists of everything move slowly, and cost a request for each hundred. */
const listFreshFor: Record<Priority, number> = { urgent: 60_000, soon: 600_000, background: 3_600_000 };
/** A create that was begun longer ago than this is not where a user of that address comes from. */
const intentMinutes = 15;
const noCreatesSeconds = 3600;
const mostKept = 20_000;
const mostCalendars = 3;
/** A page that is not in the list may be new: looked for again, at the price of the list. Milliseconds for each hundred pages. */
const lookAgainMs = 30_000;

/**
 * A look for the address, the create, a look at the pages when the task is opened, and one when it is done; a share of the lists; and what of a window stays
 * unused between those who were put off: measured with a thousand people.
 */
const requestsPerPerson = 5;

export function openOnceHubAccount(parts: OnceHubParts): SchedulingAccount {
  const { call, database, now } = parts;
  const ledger = openLedger(database);
  const kept = new Map<string, { user: OnceHubUser; readAt: number }>();
  const pagesOf = new Map<string, Gathered<OnceHubPage>>();
  // An account has its owner: a list without anybody is no reading of it, and neither is any other empty list beside it.
  const users = gather(call, '/users', readUser, now, () =>
    Promise.reject(new UsherError('account_unavailable', 'OnceHub showed an account without any user.')),
  );
  let saneUntil = 0;
  const mayBeEmpty = async (share: Share): Promise<void> => {
    if (now() < saneUntil) return;
    const { status, body } = await call(share, 'GET', '/users?limit=1');
    if (status !== 200 || !Array.isArray(body.data) || body.data.length === 0)
      throw new UsherError('account_unavailable', 'OnceHub showed an account without any user.');
    saneUntil = now() + 60_000 / parts.clockSpeed;
  };
  const teams = gather(call, '/teams', (item) => item as { id: string; name: string }, now);
  const allPages = gather(call, '/booking-pages', readPage, now, mayBeEmpty);
  const calendars = gather(call, '/booking-calendars', readCalendar, now);

  /** Address → user, where the filter by address does not show who has it. */
  const heldBy = new Map<string, string>();
  // True until a create went well: an earlier start may have said that there is a limit.
  let isLimited = true;

  const keep = (user: OnceHubUser, readAt = now()): OnceHubUser => {
    kept.delete(user.id);
    kept.set(user.id, { user, readAt });
    if (kept.size > mostKept) kept.delete(kept.keys().next().value ?? '');
    return user;
  };
  const ownPages = (accountUserId: string): Gathered<OnceHubPage> => {
    const found =
      pagesOf.get(accountUserId) ??
      gather(call, `/booking-pages?user=${encodeURIComponent(accountUserId)}`, readPage, now, mayBeEmpty);
    pagesOf.delete(accountUserId);
    pagesOf.set(accountUserId, found);
    if (pagesOf.size > mostKept) pagesOf.delete(pagesOf.keys().next().value ?? '');
    return found;
  };

  /** With what we know beside what OnceHub shows: whose user it is, and which seats were seen. */
  const shown = async (user: OnceHubUser): Promise<AccountUser> => {
    const rows = await database.query<{ person_id: string | null; kind: string | null; rule: string | null }>(
      'vendor-user-known',
      `select v.person_id, s.kind, s.rule from (select $1::text as id) as asked
       left join vendor_users v on v.account_user_id = asked.id left join vendor_seats s on s.account_user_id = asked.id and s.state = 'held'`,
      [user.id],
    );
    return {
      accountUserId: user.id,
      personId: rows[0]?.person_id ?? null,
      name: `${user.firstName} ${user.lastName}`.trim(),
      givenName: user.firstName,
      familyName: user.lastName,
      email: user.email,
      role: isAdministrator(user) ? 'Administrator' : 'Member',
      status: user.status === 'invited' ? 'Invited (Pending)' : 'Has signed in',
      suspended: false,
      signInBlocked: false,
      protected: user.role === 'Account Owner',
      timeZone: user.timeZone,
      teams: user.teams,
      licenses: rows.flatMap(({ kind, rule }) => (kind ? [{ kind, givenByUsher: true, rule }] : [])),
    };
  };

  const linkOf = async (
    personId: string,
  ): Promise<{ account_user_id: string | null; email_key: string; fresh: boolean } | undefined> =>
    (
      await database.query<{ account_user_id: string | null; email_key: string; fresh: boolean }>(
        'vendor-link',
        `select account_user_id, email_key, begun_at > now() - make_interval(mins => ${intentMinutes}) as fresh from vendor_users where person_id = $1`,
        [personId],
      )
    )[0];

  const { begin, settled, during } = openEffects(database, now, parts.clockSpeed);
  const link = (personId: string, accountUserId: string, email: string) =>
    change(database, (client) => writeLink(client, personId, accountUserId, email));

  const refuses = async (fence: Fence, what: string): Promise<never> => {
    await fenced(database, fence, () => Promise.resolve());
    throw new UsherError('account_refused', `OnceHub’s API can not ${what}.`);
  };

  function openAt(priority: Priority): SchedulingAccount {
    const openedAt = now();
    let begun = false;
    const share = (): Share => {
      // Somebody at the screen stays ahead; for everybody else an act that began goes on before others begin.
      const own = begun && priority !== 'urgent' ? 'follow' : priority;
      begun = true;
      return own;
    };
    const ask: OnceHubCall = (_share, ...request) => call(share(), ...request);
    const oldest = (ages: Record<Priority, number>, notBefore?: Date): number =>
      Math.max(
        (ages[priority] === 0 ? openedAt : now()) - ages[priority] / parts.clockSpeed,
        notBefore?.getTime() ?? 0,
      );

    const readUserById = async (accountUserId: string, ages = freshFor): Promise<OnceHubUser | null> => {
      const notBefore = oldest(ages);
      const known = kept.get(accountUserId);
      if (known && known.readAt >= notBefore) return known.user;
      if (priority === 'background') {
        // One reading for everybody whose turn it is; who is not in it is asked for alone.
        const list = await users.get(share(), notBefore);
        for (const user of list.items) if ((kept.get(user.id)?.readAt ?? 0) < list.readAt) keep(user, list.readAt);
        const found = kept.get(accountUserId);
        if (found && found.readAt >= list.readAt) return found.user;
      }
      const { status, body } = await ask('soon', 'GET', `/users/${encodeURIComponent(accountUserId)}`);
      if (status === 404 || status === 410 || body.deleted === true) {
        kept.delete(accountUserId);
        users.amend((items) => items.filter((user) => user.id !== accountUserId));
        return null;
      }
      if (status !== 200) throw unexpected('GET /users/{id}', status);
      return keep(readUser(body));
    };
    const readUserByEmail = async (email: string): Promise<OnceHubUser | null> => {
      const unlisted = heldBy.get(foldAddress(email));
      if (unlisted) {
        const user = await readUserById(unlisted, { urgent: 0, soon: 0, background: 0 });
        if (user && foldAddress(user.email) === foldAddress(email)) return user;
        heldBy.delete(foldAddress(email));
      }
      // Whether the filter minds the case is not documented: the address as it is, then folded.
      for (const spelling of new Set([email.trim(), foldAddress(email)])) {
        const { status, body, message } = await ask(
          'soon',
          'GET',
          `/users?${new URLSearchParams({ email: spelling })}`,
        );
        if (status === 400) throw refusedField(status, 'email', message);
        if (status !== 200 || !Array.isArray(body.data)) throw unexpected('GET /users?email=', status);
        const found = body.data.map(readUser).find((user) => foldAddress(user.email) === foldAddress(email));
        if (found) return keep(found);
      }
      return null;
    };
    const findById = async (accountUserId: string, ages = knownFor): Promise<AccountUser | null> => {
      const user = await readUserById(accountUserId, ages);
      return user && shown(user);
    };
    /** What a change was answered with is the newest that is known. */
    const mustFind = async (accountUserId: string): Promise<AccountUser> => {
      const known = kept.get(accountUserId);
      const user = known && known.readAt >= openedAt ? await shown(known.user) : await findById(accountUserId);
      if (!user) throw new UsherError('conflict', 'The user was deleted in OnceHub at the same time.');
      return user;
    };

    const patch = async (accountUserId: string, changes: UserChanges, sendBefore: number): Promise<void> => {
      const body = {
        ...(changes.givenName === undefined ? {} : { first_name: changes.givenName }),
        ...(changes.familyName === undefined ? {} : { last_name: changes.familyName }),
        ...(changes.role === undefined ? {} : { role_name: changes.role }),
        ...(changes.teams === undefined ? {} : { teams: changes.teams }),
      };
      if (Object.keys(body).length === 0) return;
      // Until it is answered nothing that was read before is believed.
      kept.delete(accountUserId);
      let answer: OnceHubAnswer;
      try {
        answer = await ask('soon', 'PATCH', `/users/${encodeURIComponent(accountUserId)}`, body, sendBefore);
      } catch (error) {
        users.forget();
        throw error;
      }
      if (answer.status === 200) {
        const changed = keep(readUser(answer.body));
        users.amend((items) => items.map((user) => (user.id === changed.id ? changed : user)));
        return;
      }
      if (answer.status === 403)
        throw new UsherError('account_owner_protected', 'OnceHub does not let the Account Owner be changed.');
      if (answer.status === 404 || answer.status === 410)
        throw new UsherError('conflict', 'The user was deleted in OnceHub at the same time.');
      throw refusedField(answer.status, answer.param, answer.message);
    };

    /** Whether somebody who is an Administrator, or the owner, is known to have a seat; an unknown seat counts as none. */
    const guardLastAdministrator = async (accountUserId: string): Promise<void> => {
      const user = await readUserById(accountUserId);
      if (user?.role === 'Account Owner')
        throw new UsherError('account_owner_protected', `${user.email} is the Account Owner.`);
      if (!user || !isAdministrator(user)) return;
      const { items } = await users.get(share(), openedAt);
      for (const other of items.filter((one) => isAdministrator(one) && one.id !== accountUserId)) {
        const seat = await account.lookAtSeat(other.id, schedulingLicense, new Date(openedAt));
        if (seat.seat === 'yes') return;
      }
      throw new UsherError(
        'last_licensed_administrator',
        `Nothing shows that another Administrator than ${user.email} has a seat.`,
      );
    };

    const account: SchedulingAccount = {
      kind: 'oncehub',
      capabilities: oncehubCapabilities,
      pace: { requestsPerSecond: parts.requestsPerSecond, requestsPerPerson },
      at: openAt,

      async findByPerson(personId, accountUserId) {
        await settled(personId);
        const known = accountUserId ? null : await linkOf(personId);
        const id = accountUserId ?? known?.account_user_id;
        if (id) {
          const found = await findById(id, freshFor);
          if (found) return found;
          if (await noteGone(parts, personId)) return null;
        }
        const begun = known ?? (await linkOf(personId));
        if (!begun || begun.account_user_id || !begun.fresh) return null;
        // A create was begun a moment ago and its end never seen: the user with that address is the one, unless they are somebody.
        const late = await readUserByEmail(begun.email_key);
        if (!late || isAdministrator(late) || (await shown(late)).personId !== null) return null;
        await link(personId, late.id, late.email);
        return shown(late);
      },

      async findByEmail(email) {
        const user = await readUserByEmail(email);
        return user && shown(user);
      },

      findById: (accountUserId) => findById(accountUserId),

      async createUser(user, fence) {
        if (!user.givenName || !user.familyName)
          throw new UsherError('invalid_profile', 'OnceHub needs a first and a last name.');
        const known = await linkOf(user.personId);
        if (known?.account_user_id) {
          const there = await findById(known.account_user_id, freshFor);
          if (there) return there;
        }
        const made = await create(user, fence);
        return shown(made);
      },

      async adoptUser(accountUserId, personId, changes, fence) {
        await during(fence, 'adopt', async (sendBefore) => {
          const user = await readUserById(accountUserId);
          if (!user) throw new UsherError('conflict', 'The user was deleted in OnceHub at the same time.');
          await link(personId, accountUserId, user.email);
          await patch(accountUserId, changes, sendBefore);
          if (user.status === 'invited' && user.role === 'Member')
            await parts.raise(
              'native_provisioning',
              `OnceHub had ${user.email} before Usher made the user, invited and never signed in. Should OnceHub’s own Entra provisioning manage the same people: taking the assignment there away deletes the user for good. An account administrator switches one of the two off.`,
            );
        });
        return mustFind(accountUserId);
      },

      async updateUser(accountUserId, changes, fence) {
        if (changes.role === 'Member') await guardLastAdministrator(accountUserId);
        await during(fence, 'update', (sendBefore) => patch(accountUserId, changes, sendBefore));
        return mustFind(accountUserId);
      },

      exchangeEmails: (_own, _other, _seen, fence) => refuses(fence, 'change addresses'),
      blockSignIn: (_id, fence) => refuses(fence, 'end a sign-in'),
      suspendUser: (_id, fence) => refuses(fence, 'suspend a user'),
      restoreUser: (_id, fence) => refuses(fence, 'restore a user'),
      assignPage: (_page, _from, _to, _enable, fence) => refuses(fence, 'change the owner of a Booking page'),
      createPage: (_link, _owner, fence) => refuses(fence, 'make a Booking page'),
      enablePage: (_page, fence) => refuses(fence, 'enable a Booking page'),

      async deleteUser(accountUserId, _heirId, fence) {
        await fenced(database, fence, () => Promise.resolve());
        await guardLastAdministrator(accountUserId);
        await during(fence, 'delete', async (sendBefore) => {
          const path = `/users/${encodeURIComponent(accountUserId)}`;
          const answer = await ask('soon', 'DELETE', path, undefined, sendBefore);
          kept.delete(accountUserId);
          users.amend((items) => items.filter((user) => user.id !== accountUserId));
          if (answer.status === 403)
            throw new UsherError('account_owner_protected', 'OnceHub does not let the Account Owner be deleted.');
          // Gone already is as good as gone.
          if (![200, 404, 410].includes(answer.status)) throw refusedField(answer.status, answer.param, answer.message);
          await change(database, async (client) => {
            await client.query('delete from vendor_seats where account_user_id = $1', [accountUserId]);
            await client.query('delete from vendor_users where account_user_id = $1', [accountUserId]);
          });
        });
      },

      ...ledger,

      guardSeat: guardLastAdministrator,

      async pagesNamed(linkNames) {
        const { items } = await allPages.get(share(), oldest(listFreshFor));
        return linkNames.flatMap((name) => {
          const page = items.find((one) => isNamed(one, name));
          return page ? [accountPage(page, name, null)] : [];
        });
      },

      async pagesOwnedBy(accountUserId, notBefore) {
        const { items } = await ownPages(accountUserId).get(share(), oldest(freshFor, notBefore));
        return items.map((page) => accountPage(page, page.linkName, accountUserId));
      },

      async lookAtSeat(accountUserId, kind, notBefore) {
        if (kind !== schedulingLicense)
          return { seat: 'unknown', by: null, detail: `OnceHub shows nobody who has a «${kind}» seat.` };
        const { items } = await ownPages(accountUserId).get(share(), oldest(freshFor, notBefore));
        const active = items.find((page) => page.enabled);
        if (active) return { seat: 'yes', by: 'active_page', detail: `Booking page «${active.linkName}» is active.` };
        const hostedSince = async (since: number) =>
          (await calendars.get(share(), since)).items.filter(
            (calendar) => calendar.host === accountUserId && calendar.published,
          );
        let hosted = await hostedSince(oldest(listFreshFor));
        // A word is only taken where nothing can be looked at by then.
        if (hosted.length === 0 && notBefore.getTime() > 0) hosted = await hostedSince(notBefore.getTime());
        const silent: string[] = [];
        for (const { id } of hosted.slice(0, mostCalendars)) {
          const { status } = await ask('soon', 'GET', `/booking-calendars/${encodeURIComponent(id)}/time-slots`);
          if (status === 200)
            return { seat: 'yes', by: 'time_slots', detail: `Booking calendar ${id} gives time slots.` };
          if (status === 402)
            return {
              seat: 'no',
              by: 'time_slots',
              detail: `Booking calendar ${id} answers that its host has no seat (402).`,
            };
          silent.push(`Booking calendar ${id} answered ${status}.`);
        }
        return {
          seat: 'unknown',
          by: null,
          detail: silent.join(' ') || 'No active Booking page and no published booking calendar shows it.',
        };
      },

      async lookAtPages(accountUserId, linkNames, takeFrom, notBefore) {
        const { items: own } = await ownPages(accountUserId).get(share(), oldest(freshFor, notBefore));
        const missing = linkNames.filter((name) => !own.some((page) => isNamed(page, name)));
        let list = missing.length > 0 ? await allPages.get(share(), oldest(listFreshFor)) : null;
        const isThere = (name: string) => list?.items.some((page) => isNamed(page, name));
        if (list && !missing.every(isThere)) {
          const patience = (lookAgainMs * Math.ceil((list.items.length + 1) / 100)) / parts.clockSpeed;
          list = await allPages.get(share(), priority === 'urgent' ? openedAt : now() - patience);
        }
        const all = list?.items ?? [];
        const elsewhere = missing.flatMap((name) => all.find((page) => isNamed(page, name)) ?? []);
        // Whose page it is can only be told by lists that are no older than the page.
        const owners =
          elsewhere.length > 0 ? await ownersAmong(accountUserId, takeFrom, Math.min(list?.readAt ?? 0, openedAt)) : [];
        return {
          wished: linkNames.map((linkName): PageLook => {
            const mine = own.find((page) => isNamed(page, linkName));
            const page = mine ?? all.find((one) => isNamed(one, linkName)) ?? null;
            const owner = owners.find(({ pages }) => pages.some((one) => one.pageId === page?.pageId));
            return {
              linkName,
              page: page && { pageId: page.pageId, url: page.url, enabled: page.enabled },
              owner: mine
                ? 'self'
                : owner
                  ? { accountUserId: owner.user.id, email: owner.user.email, mayTake: true }
                  : 'unknown',
            };
          }),
          others: own
            .filter((page) => !linkNames.some((name) => isNamed(page, name)))
            .map(({ pageId, linkName, url, title, enabled }) => ({ pageId, linkName, url, title, enabled })),
        };
      },

      async sightsOf(accountUserIds) {
        // One list serves everybody; whose page a page is would take a request each, and is looked at daily by the step.
        const { items } = await users.get(share(), oldest(listFreshFor));
        const wanted = new Set(accountUserIds);
        const sights = new Map<string, AccountSight>();
        for (const user of items)
          if (wanted.has(user.id)) sights.set(user.id, { user: await shown(user), pages: null });
        // A list of an hour ago does not show whom somebody has just made: who is not in it is asked for alone.
        for (const id of wanted) {
          const user = sights.has(id) ? null : await findById(id, freshFor);
          if (user) sights.set(id, { user, pages: null });
        }
        return sights;
      },

      async unknownUsers(after, limit) {
        const { items } = await users.get(share(), oldest(listFreshFor));
        const members = items
          .filter((user) => !isAdministrator(user) && (after === null || user.id > after))
          .sort((a, b) => (a.id < b.id ? -1 : 1));
        const unknown: AccountUser[] = [];
        for (const user of members) {
          const seen = await shown(user);
          if (seen.personId === null) unknown.push(seen);
          if (unknown.length >= limit) break;
        }
        return unknown;
      },

      async futureBookings(accountUserId) {
        const from = new Date(now()).toISOString();
        const found = new Map<string, { bookingId: string; startsAt: string; subject: string }>();
        // The owner of a classic page, and the host of a booking calendar.
        for (const as of ['owner', 'host']) {
          for (let after: string | null = null; ; ) {
            const query = new URLSearchParams({
              [as]: accountUserId,
              'starting_time.gt': from.slice(0, 10),
              limit: '100',
            });
            if (after) query.set('after', after);
            const { status, body } = await ask('soon', 'GET', `/bookings?${query}`);
            // A list that is refused must not keep the hand-over from being asked for.
            if (status >= 400 && status < 500) return null;
            if (status !== 200 || !Array.isArray(body.data)) throw unexpected('GET /bookings', status);
            const rows = body.data as { id: string; starting_time: string; subject?: string; status?: string }[];
            for (const row of rows)
              if (row.starting_time > from && !['canceled', 'completed', 'no_show'].includes(row.status ?? ''))
                found.set(row.id, { bookingId: row.id, startsAt: row.starting_time, subject: row.subject ?? '' });
            const last: string | undefined = rows.at(-1)?.id;
            if (body.has_more !== true || !last || last === after || found.size >= 500) break;
            after = last;
          }
        }
        return [...found.values()].sort((a, b) => a.startsAt.localeCompare(b.startsAt));
      },

      async teamIds(named) {
        if (named.length === 0) return { ids: [], unknown: [] };
        const find = async (notBefore: number) => {
          const { items } = await teams.get(share(), notBefore);
          return named.map(
            (name) => items.find((team) => team.id === name || fold(team.name) === fold(name))?.id ?? null,
          );
        };
        let ids = await find(oldest(listFreshFor));
        // A team that somebody has just made.
        if (ids.includes(null)) ids = await find(now() - 30_000);
        return {
          ids: ids.filter((id) => id !== null),
          unknown: named.filter((_name, index) => ids[index] === null),
        };
      },

      async remainingAdministrator(exceptId) {
        const { items } = await users.get(share(), oldest(listFreshFor));
        const others = items.filter((user) => isAdministrator(user) && user.id !== exceptId);
        const heir = others.find((user) => user.role === 'Account Owner') ?? others.at(-1);
        return heir ? shown(heir) : null;
      },
    };

    /** From whom a page may be taken, with what each owns: one list an owner serves everybody who waits for a page of theirs. */
    async function ownersAmong(
      exceptId: string,
      takeFrom: string[] | null,
      notBefore: number,
    ): Promise<{ user: OnceHubUser; pages: OnceHubPage[] }[]> {
      const { items } = await users.get(share(), oldest(listFreshFor));
      const owners = items.filter(
        (user) =>
          user.id !== exceptId &&
          isAdministrator(user) &&
          (takeFrom === null || takeFrom.some((address) => foldAddress(address) === foldAddress(user.email))),
      );
      return Promise.all(
        owners.map(async (user) => ({
          user,
          pages: (await ownPages(user.id).get(share(), Math.max(notBefore, oldest(listFreshFor)))).items,
        })),
      );
    }

    async function create(user: NewAccountUser, fence: Fence): Promise<OnceHubUser> {
      const sendBefore = await begin(fence, 'create', async (client) => {
        const { rows } = await client.query<{ closed: boolean; uncertain: number | null; lost: number | null }>(
          `select (select no_creates_until > now() from vendor_connection) as closed,
             (select losses from vendor_users where person_id = $1 and losses > 1 and lost_at > now() - interval '1 day') as lost,
             (select extract(epoch from uncertain_until - now())::float8 from vendor_users where person_id = $1 and uncertain_until > now()) as uncertain`,
          [user.personId],
        );
        if (rows[0]?.closed) throw new UsherError('user_limit', 'OnceHub said that the plan takes no more users.');
        if (rows[0]?.uncertain)
          throw new UsherError('throttled', 'A create that got no answer may still take effect.', {
            retryAfterSeconds: rows[0].uncertain + 0.5,
          });
        // Somebody deletes what we make: each time a new invitation would be mailed.
        if (rows[0]?.lost)
          throw new UsherError(
            'account_refused',
            `The user was deleted in OnceHub ${rows[0].lost} times, and not by Usher; nobody is made again for a day.`,
          );
        // Written with the intent: a process that dies leaves behind how long the create may still take effect.
        await client.query(
          `insert into vendor_users (person_id, email_key, uncertain_until) values ($1, $2, now() + make_interval(secs => $3))
           on conflict (person_id) do update set email_key = $2, account_user_id = null, begun_at = now(),
             uncertain_until = now() + make_interval(secs => $3)`,
          [user.personId, foldAddress(user.email), uncertainSeconds / parts.clockSpeed],
        );
      });
      let answer: OnceHubAnswer;
      let made: OnceHubUser | null = null;
      try {
        const body = {
          email: user.email,
          first_name: user.givenName,
          last_name: user.familyName,
          role_name: user.role,
          ...(user.teams.length > 0 ? { teams: user.teams } : {}),
        };
        answer = await ask('soon', 'POST', '/users', body, sendBefore);
        // An answer that shows no user is none.
        if (answer.status === 200 || answer.status === 201) made = keep(readUser(answer.body));
      } catch (thrown) {
        const error = asUsherError(thrown);
        if (error.code !== 'account_unavailable') {
          // Nothing was sent, or it was refused whole.
          await forgetIntent(user.personId);
          throw error;
        }
        await database.query(
          'vendor-create-uncertain',
          `with e as (delete from vendor_effects where person_id = $1)
           update vendor_users set uncertain_until = now() + make_interval(secs => $2) where person_id = $1`,
          [user.personId, uncertainSeconds / parts.clockSpeed],
        );
        const late = await readUserByEmail(user.email);
        if (!late) throw error;
        await link(user.personId, late.id, late.email);
        return late;
      }
      if (made) {
        const { id, email } = made;
        await change(database, async (client) => {
          await writeLink(client, user.personId, id, email);
          await client.query('delete from vendor_effects where person_id = $1 and fence = $2', [
            user.personId,
            fence.number,
          ]);
        });
        const fresh = made;
        users.amend((items) => [fresh, ...items]);
        // Its own page is among them now.
        pagesOf.delete(made.id);
        if (isLimited) {
          isLimited = false;
          await parts.settle('user_limit');
        }
        return made;
      }
      await forgetIntent(user.personId);
      if (answer.status === 422) {
        await database.query(
          'vendor-no-creates',
          'update vendor_connection set no_creates_until = now() + make_interval(secs => $1)',
          [noCreatesSeconds / parts.clockSpeed],
        );
        isLimited = true;
        await parts.raise(
          'user_limit',
          'OnceHub takes no more users on this plan. An account administrator upgrades the plan or removes users; nobody is made until then, and it is tried again every hour.',
        );
        throw new UsherError('user_limit', 'OnceHub said that the plan takes no more users.');
      }
      if (answer.status === 400 && answer.param === 'email') return takenAddress(user);
      throw refusedField(answer.status, answer.param, answer.message);
    }

    /** All fields were there, so what is wrong with the address is that somebody has it, here or in another OnceHub account. */
    async function takenAddress(user: NewAccountUser): Promise<never> {
      const shownByFilter = await readUserByEmail(user.email);
      const holder =
        shownByFilter ??
        // A filter that minds the case would not show it.
        (await users.get(share(), now() - 60_000 / parts.clockSpeed)).items.find(
          (one) => foldAddress(one.email) === foldAddress(user.email),
        );
      if (!holder)
        throw new UsherError(
          'email_taken_elsewhere',
          `OnceHub does not take ${user.email}, and nobody in this account has it: it belongs to another OnceHub account, or can not receive mail.`,
          terminal,
        );
      if (!shownByFilter) heldBy.set(foldAddress(user.email), holder.id);
      const { personId } = await shown(keep(holder));
      if (personId && personId !== user.personId)
        throw new UsherError('email_taken_elsewhere', `${user.email} belongs to the user of another person.`);
      throw new UsherError('conflict', `${user.email} was made in OnceHub at the same time; it is looked at again.`);
    }

    return account;
  }

  const forgetIntent = (personId: string) =>
    database.query(
      'vendor-forget-intent',
      `with e as (delete from vendor_effects where person_id = $1) delete from vendor_users where person_id = $1 and account_user_id is null`,
      [personId],
    );

  return openAt('soon');
}

async function writeLink(client: pg.PoolClient, personId: string, accountUserId: string, email: string): Promise<void> {
  const taken = await client.query('select 1 from vendor_users where account_user_id = $1 and person_id <> $2', [
    accountUserId,
    personId,
  ]);
  if (taken.rowCount) throw new UsherError('account_refused', 'The user belongs to another person already.');
  await client.query(
    `insert into vendor_users (person_id, email_key, account_user_id) values ($1, $2, $3)
     on conflict (person_id) do update set email_key = $2, account_user_id = $3, uncertain_until = '-infinity'`,
    [personId, foldAddress(email), accountUserId],
  );
}

/** Somebody else deleted a user of ours, or OnceHub's own provisioning did. False where that was known. */
async function noteGone(parts: OnceHubParts, personId: string): Promise<boolean> {
  const rows = await parts.database.query<{ email_key: string }>(
    'vendor-gone',
    `update vendor_users set account_user_id = null, losses = case when lost_at > now() - interval '7 days' then losses + 1 else 1 end, lost_at = now()
     where person_id = $1 and account_user_id is not null returning email_key`,
    [personId],
  );
  // The seat went back to the pool with the user.
  if (rows[0])
    await parts.database.query('vendor-gone-seats', 'delete from vendor_seats where person_id = $1', [personId]);
  if (rows[0])
    await parts.raise(
      'user_deleted_in_account',
      `The user ${rows[0].email_key} was deleted in OnceHub, and not by Usher. Should OnceHub’s own Entra provisioning manage the same people, an account administrator switches one of the two off.`,
    );
  return rows.length > 0;
}
