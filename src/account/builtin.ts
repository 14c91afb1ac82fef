/**
 * The built-in scheduling account: users, licenses and Booking pages in PostgreSQL, with rules that hold by transactions, so that two
 * workers can not break them together. The rules are those of the account that the organisation is used to: one owner a page, a pool is
 * never exceeded, the last licensed Administrator stays, unassigning a license disables the owner's pages.
 *
 * The account lives in the database of the people, so a fence is checked by locking the person's row inside the write's own transaction:
 * a takeover waits for it, and a write that comes after the takeover finds another number and is rolled back.
 */

import type pg from 'pg';
import type { AccountPage, AccountUser, SeatAnswer, UserChanges } from '../domain/account.ts';
import { foldAddress } from '../domain/email-address.ts';
import { UsherError } from '../errors.ts';
import { newId } from '../ids.ts';
import type { Fence, LicenseCounts, NewAccountUser, SchedulingAccount, SeatClaim } from '../ports.ts';

/** What of the database the account needs; `store` supplies it. */
export interface AccountDatabase {
  query<R extends pg.QueryResultRow>(name: string, text: string, values: unknown[]): Promise<R[]>;
  transaction<T>(work: (client: pg.PoolClient) => Promise<T>): Promise<T>;
}

export interface AccountSettings {
  plan: 'free' | 'paid';
}

interface UserRow {
  account_user_id: string;
  person_id: string | null;
  name: string;
  email: string;
  role: AccountUser['role'];
  signed_in_at: Date | null;
  suspended: boolean;
  sign_in_blocked: boolean;
  time_zone: string | null;
  licenses: { kind: string; givenByUsher: boolean; rule: string | null }[];
}

interface PageRow {
  page_id: string;
  link_name: string;
  owner_id: string;
  enabled: boolean;
  disabled_by: string | null;
  disabled_why: string | null;
}

const userFrom = (row: UserRow): AccountUser => ({
  accountUserId: row.account_user_id,
  personId: row.person_id,
  name: row.name,
  email: row.email,
  role: row.role,
  status: row.signed_in_at ? 'Has signed in' : 'Invited (Pending)',
  suspended: row.suspended,
  signInBlocked: row.sign_in_blocked,
  protected: false,
  timeZone: row.time_zone,
  licenses: row.licenses,
});

const pageFrom = (row: PageRow): AccountPage => ({
  pageId: row.page_id,
  linkName: row.link_name,
  ownerId: row.owner_id,
  enabled: row.enabled,
  disabledBy: row.disabled_by,
  disabledWhy: row.disabled_why,
});

const selectUser = `select u.*, coalesce((select jsonb_agg(jsonb_build_object('kind', l.kind, 'givenByUsher', l.given_by_usher, 'rule', l.rule) order by l.kind)
  from account_licenses l where l.account_user_id = u.account_user_id), '[]') as licenses from account_users u`;

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
  const fenced = <T>(fence: Fence, work: (client: pg.PoolClient) => Promise<T>): Promise<T> =>
    database.transaction(async (client) => {
      await checkFence(client, fence);
      try {
        return await work(client);
      } catch (error) {
        if ((error as { constraint?: string }).constraint === 'account_users_email') {
          throw new UsherError('email_taken_elsewhere', 'The address belongs to another user of the account.', {
            cause: error,
          });
        }
        throw error;
      }
    });

  return {
    kind: 'builtin',
    modes: {
      'create-user': 'automatic',
      'check-delegation': 'automatic',
      'assign-license': 'automatic',
      'assign-booking-pages': 'automatic',
      offboard: 'automatic',
    },

    async findByPerson(personId, accountUserId) {
      return (await one('person', 'u.person_id = $1', [personId])) ?? (accountUserId ? findById(accountUserId) : null);
    },
    findByEmail: (email) => one('email', 'u.email_key = $1', [foldAddress(email)]),
    findById,

    async createUser(user: NewAccountUser, fence) {
      const accountUserId = newId();
      await fenced(fence, async (client) => {
        // Our key is unique: a second create of the same person changes nothing.
        const { rowCount } = await client.query(
          `insert into account_users (account_user_id, person_id, name, email, email_key, role, time_zone, invited_at)
           values ($1, $2, $3, $4, $5, $6, $7, case when $8 then now() end) on conflict (person_id) do nothing`,
          [
            accountUserId,
            user.personId,
            user.name,
            user.email,
            foldAddress(user.email),
            user.role,
            user.timeZone,
            user.invite === 'send',
          ],
        );
        if (rowCount && user.invite === 'send') await putInvitation(client, accountUserId, user.email);
      });
      const made = await one('person', 'u.person_id = $1', [user.personId]);
      if (!made) throw new UsherError('internal', 'The user that was just made is gone.');
      return made;
    },

    async adoptUser(accountUserId, personId, changes, fence) {
      await fenced(fence, async (client) => {
        const { rowCount } = await client.query(
          'update account_users set person_id = $2 where account_user_id = $1 and (person_id is null or person_id = $2)',
          [accountUserId, personId],
        );
        if (!rowCount) throw new UsherError('account_refused', 'The user belongs to another person already.');
        await applyChanges(client, accountUserId, changes, settings);
      });
      return mustFind(accountUserId);
    },

    async updateUser(accountUserId, changes, fence) {
      await fenced(fence, (client) => applyChanges(client, accountUserId, changes, settings));
      return mustFind(accountUserId);
    },

    async exchangeEmails(accountUserId, otherId, seen, fence) {
      await fenced(fence, async (client) => {
        // In one order: the other's step may do the same at this moment, and what it did must not be undone.
        const { rows } = await client.query<{ account_user_id: string; email: string }>(
          `select account_user_id, email from account_users where account_user_id = any ($1::uuid[]) order by account_user_id for update`,
          [[accountUserId, otherId]],
        );
        const emailOf = (id: string) => rows.find((row) => row.account_user_id === id)?.email;
        if (emailOf(accountUserId) !== seen.own || emailOf(otherId) !== seen.other) return;
        await client.query(
          `update account_users u set email = o.email, email_key = o.email_key from account_users o
           where (u.account_user_id, o.account_user_id) in (($1, $2), ($2, $1))`,
          [accountUserId, otherId],
        );
      });
    },

    async blockSignIn(accountUserId, fence) {
      await fenced(fence, (client) =>
        client.query('update account_users set sign_in_blocked = true where account_user_id = $1', [accountUserId]),
      );
    },

    async suspendUser(accountUserId, fence) {
      await fenced(fence, async (client) => {
        await guardLastLicensedAdministrator(client, accountUserId, settings, 'suspended');
        await client.query(
          'update account_users set suspended = true, sign_in_blocked = true where account_user_id = $1',
          [accountUserId],
        );
      });
    },

    async restoreUser(accountUserId, fence) {
      await fenced(fence, (client) =>
        client.query('update account_users set suspended = false, sign_in_blocked = false where account_user_id = $1', [
          accountUserId,
        ]),
      );
    },

    async deleteUser(accountUserId, heirId, fence) {
      await fenced(fence, async (client) => {
        await guardLastLicensedAdministrator(client, accountUserId, settings, 'deleted');
        const heir = heirId ?? (await remaining(client, accountUserId));
        const pages = await client.query<{ count: string }>('select count(*) from account_pages where owner_id = $1', [
          accountUserId,
        ]);
        if (Number(pages.rows[0]?.count) > 0) {
          if (!heir) throw new UsherError('account_refused', 'There is no Administrator left to take the pages.');
          await client.query('update account_pages set owner_id = $2 where owner_id = $1', [accountUserId, heir]);
        }
        await releaseSeats(client, accountUserId, null);
        await client.query('delete from account_users where account_user_id = $1', [accountUserId]);
      });
    },

    claimSeat: (claim, fence) => fenced(fence, (client) => claimSeat(client, claim)),

    async freeSeats(accountUserId, kinds, fence) {
      await fenced(fence, async (client) => {
        await guardLastLicensedAdministrator(client, accountUserId, settings, 'unlicensed');
        await releaseSeats(client, accountUserId, kinds);
        if (kinds.includes(schedulingLicense)) {
          await client.query(
            `update account_pages set enabled = false, disabled_by = 'license', disabled_why = 'the owner has no license' where owner_id = $1 and enabled`,
            [accountUserId],
          );
        }
      });
    },

    async leaveWaitingList(personId) {
      await database.query('leave-waiting', 'delete from account_waiting where person_id = $1', [personId]);
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
      await fenced(fence, async (client) => {
        const { rowCount } = await client.query(
          `update account_pages set owner_id = $3, enabled = $4, disabled_by = case when $4 then null else coalesce(disabled_by, 'usher') end,
             disabled_why = case when $4 then null else coalesce(disabled_why, 'the former owner left') end
           where page_id = $1 and owner_id = $2`,
          [pageId, fromId, toId, enable],
        );
        if (!rowCount) throw new UsherError('conflict', 'The page has another owner by now.');
      });
    },

    async createPage(linkName, ownerId, fence) {
      await fenced(fence, (client) =>
        client.query(
          'insert into account_pages (page_id, link_name, owner_id, enabled) values ($1, $2, $3, true) on conflict (link_name) do nothing',
          [newId(), linkName, ownerId],
        ),
      );
    },

    async enablePage(pageId, fence) {
      await fenced(fence, (client) =>
        client.query(
          'update account_pages set enabled = true, disabled_by = null, disabled_why = null where page_id = $1',
          [pageId],
        ),
      );
    },

    async remainingAdministrator(exceptId) {
      const rows = await database.query<{ account_user_id: string }>('remaining-administrator', remainingText, [
        exceptId,
      ]);
      return rows[0] ? findById(rows[0].account_user_id) : null;
    },

    async licenseCounts() {
      const rows = await database.query<{ kind: string; bought: number | null; assigned: number; waiting: string }>(
        'license-counts',
        `select p.kind, p.bought, p.assigned, (select count(*) from account_waiting w where w.kind = p.kind and ${stillInLine}) as waiting from account_pools p order by p.kind`,
        [],
      );
      return Object.fromEntries(
        rows.map((row): [string, LicenseCounts] => [
          row.kind,
          { bought: row.bought, assigned: row.assigned, reserved: 0, waiting: Number(row.waiting) },
        ]),
      );
    },
  };
}

/** A place counts while its person is wanted, still wishes that kind, and waits for nothing but the seat. */
const stillInLine = `exists (select 1 from people pe where pe.person_id = w.person_id and pe.lifecycle = 'wanted' and pe.wish -> 'licenses' ? w.kind
  and coalesce(pe.conditions -> 'License' ->> 'reason', '') not in ('needs_profile', 'needs_delegation'))`;

/** The kind whose loss disables its owner's pages. */
const schedulingLicense = 'scheduled-meetings';

async function checkFence(client: pg.PoolClient, fence: Fence): Promise<void> {
  const { rowCount } = await client.query({
    name: `fence-${fence.lane}`,
    text: `select 1 from people where person_id = $1 and ${fence.lane}_fence = $2 for no key update`,
    values: [fence.personId, fence.number],
  });
  if (!rowCount) throw new UsherError('fence_lost', 'Another worker works on this person by now.');
}

async function putInvitation(client: pg.PoolClient, accountUserId: string, email: string): Promise<void> {
  await client.query(
    `insert into account_mails (mail_id, account_user_id, kind, recipient, subject) values ($1, $2, 'invitation', $3, 'You are invited to your scheduling account')`,
    [newId(), accountUserId, email],
  );
}

async function applyChanges(
  client: pg.PoolClient,
  accountUserId: string,
  changes: UserChanges,
  settings: AccountSettings,
): Promise<void> {
  if (changes.role === 'Member') await guardLastLicensedAdministrator(client, accountUserId, settings, 'made a Member');
  await client.query(
    `update account_users set name = coalesce($2, name), email = coalesce($3, email), email_key = coalesce($4, email_key), role = coalesce($5, role), time_zone = coalesce($6, time_zone)
     where account_user_id = $1`,
    [
      accountUserId,
      changes.name ?? null,
      changes.email ?? null,
      changes.email ? foldAddress(changes.email) : null,
      changes.role ?? null,
      changes.timeZone ?? null,
    ],
  );
}

/**
 * On a paid plan at least one license stays with an Administrator who can act. All licensed Administrators are locked in one order,
 * so of two requests that race for the last two, the second sees what the first did.
 */
async function guardLastLicensedAdministrator(
  client: pg.PoolClient,
  accountUserId: string,
  settings: AccountSettings,
  act: string,
): Promise<void> {
  if (settings.plan === 'free') return;
  const { rows } = await client.query<{ account_user_id: string }>(
    `select u.account_user_id from account_users u
     where u.role = 'Administrator' and not u.suspended and exists (select 1 from account_licenses l where l.account_user_id = u.account_user_id)
     order by u.account_user_id for update of u`,
  );
  if (rows.length === 1 && rows[0]?.account_user_id === accountUserId) {
    throw new UsherError('last_licensed_administrator', `The last Administrator with a license can not be ${act}.`);
  }
}

async function releaseSeats(client: pg.PoolClient, accountUserId: string, kinds: string[] | null): Promise<void> {
  const freed = await client.query<{ kind: string }>(
    'delete from account_licenses where account_user_id = $1 and ($2::text[] is null or kind = any($2::text[])) returning kind',
    [accountUserId, kinds],
  );
  for (const { kind } of freed.rows.sort((a, b) => a.kind.localeCompare(b.kind)))
    await client.query('update account_pools set assigned = assigned - 1 where kind = $1', [kind]);
}

/**
 * One seat, under the pool's row lock: the line is kept by (first wish, personId), and nobody takes a seat that somebody ahead waits for.
 * Somebody over the group's cap is skipped, and is not in the way.
 */
async function claimSeat(client: pg.PoolClient, claim: SeatClaim): Promise<SeatAnswer> {
  const held = await client.query('select 1 from account_licenses where account_user_id = $1 and kind = $2', [
    claim.accountUserId,
    claim.kind,
  ]);
  if (held.rowCount) {
    // Caps count by the rule that somebody has it by today.
    await client.query(
      'update account_licenses set rule = $3 where account_user_id = $1 and kind = $2 and given_by_usher',
      [claim.accountUserId, claim.kind, claim.rule],
    );
    return { assigned: true, already: true };
  }
  const pool = await client.query<{ bought: number | null; assigned: number }>(
    'select bought, assigned from account_pools where kind = $1 for update',
    [claim.kind],
  );
  const { bought, assigned } = pool.rows[0] ?? { bought: 0, assigned: -1 };
  if (assigned < 0) return { assigned: false, why: 'unknown_kind' };
  if (claim.cap !== null) {
    const capped = await client.query<{ count: string }>(
      'select count(*) from account_licenses where kind = $1 and rule = $2',
      [claim.kind, claim.rule],
    );
    if (Number(capped.rows[0]?.count) >= claim.cap) {
      await client.query('delete from account_waiting where kind = $1 and person_id = $2', [
        claim.kind,
        claim.personId,
      ]);
      return { assigned: false, why: 'cap', limit: claim.cap };
    }
  }
  const ahead = await client.query<{ count: string }>(
    `select count(*) from account_waiting w where w.kind = $1 and (w.since, w.person_id) < ($2, $3) and ${stillInLine}`,
    [claim.kind, claim.since, claim.personId],
  );
  const place = Number(ahead.rows[0]?.count) + 1;
  if (bought !== null && bought - assigned < place) {
    await client.query(
      'insert into account_waiting (kind, person_id, since, rule) values ($1, $2, $3, $4) on conflict do nothing',
      [claim.kind, claim.personId, claim.since, claim.rule],
    );
    return { assigned: false, why: 'pool', place, bought };
  }
  await client.query('update account_pools set assigned = assigned + 1 where kind = $1', [claim.kind]);
  await client.query(
    'insert into account_licenses (account_user_id, kind, given_by_usher, rule) values ($1, $2, true, $3)',
    [claim.accountUserId, claim.kind, claim.rule],
  );
  await client.query('delete from account_waiting where kind = $1 and person_id = $2', [claim.kind, claim.personId]);
  return { assigned: true, already: false };
}

const remainingText = `select u.account_user_id from account_users u
  left join account_licenses l on l.account_user_id = u.account_user_id
  where u.role = 'Administrator' and not u.suspended and u.account_user_id <> $1
  group by u.account_user_id order by (count(l.kind) > 0) desc, min(l.assigned_at), u.created_at limit 1`;

async function remaining(client: pg.PoolClient, exceptId: string): Promise<string | null> {
  const { rows } = await client.query<{ account_user_id: string }>(remainingText, [exceptId]);
  return rows[0]?.account_user_id ?? null;
}

export interface Founding {
  name: string;
  email: string;
  pools: Record<string, number | null>;
  plan: 'free' | 'paid';
}

/**
 * The first start: the pools, and the founding Administrator with a license on a paid plan. A later start only follows the policy's pool
 * sizes, never below what is assigned.
 */
export async function foundAccount(
  database: AccountDatabase,
  founding: Founding,
): Promise<{ founded: boolean; shrunkTo: Record<string, number> }> {
  return database.transaction(async (client) => {
    await client.query(`select pg_advisory_xact_lock(hashtextextended('usher/account', 0))`);
    const shrunkTo: Record<string, number> = {};
    for (const [kind, bought] of Object.entries(founding.pools)) {
      const { rows } = await client.query<{ bought: number | null; assigned: number }>(
        `insert into account_pools (kind, bought) values ($1, $2)
         on conflict (kind) do update set bought = case when excluded.bought is null then null else greatest(excluded.bought, account_pools.assigned) end
         returning bought, assigned`,
        [kind, bought],
      );
      const row = rows[0];
      if (row && bought !== null && row.bought !== bought) shrunkTo[kind] = row.assigned;
    }
    const { rowCount } = await client.query('select 1 from account_users limit 1');
    if (rowCount) return { founded: false, shrunkTo };
    const accountUserId = newId();
    await client.query(
      `insert into account_users (account_user_id, name, email, email_key, role, signed_in_at, founder) values ($1, $2, $3, $4, 'Administrator', now(), true)`,
      [accountUserId, founding.name, founding.email, foldAddress(founding.email)],
    );
    const first = Object.keys(founding.pools).sort()[0];
    if (founding.plan === 'paid' && first && (founding.pools[first] === null || (founding.pools[first] ?? 0) > 0)) {
      await client.query('insert into account_licenses (account_user_id, kind) values ($1, $2)', [
        accountUserId,
        first,
      ]);
      await client.query('update account_pools set assigned = assigned + 1 where kind = $1', [first]);
    }
    return { founded: true, shrunkTo };
  });
}

/** Pages that exist already when Usher comes: owned by the founder until somebody is wished to own them. */
export async function makePages(database: AccountDatabase, linkNames: string[], ownerEmail: string): Promise<number> {
  return database.transaction(async (client) => {
    const { rowCount } = await client.query(
      `insert into account_pages (page_id, link_name, owner_id, enabled)
       select gen_random_uuid(), link.name, u.account_user_id, false from unnest($1::text[]) as link (name), account_users u where u.email_key = $2
       on conflict (link_name) do nothing`,
      [linkNames, foldAddress(ownerEmail)],
    );
    return rowCount ?? 0;
  });
}
