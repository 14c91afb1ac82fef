/** Users: rows as values, their changes, and the guards that a change of role, a suspension and a deletion pass. */
import type pg from 'pg';
import type { AccountUser, UserChanges } from '../domain/account.ts';
import { foldAddress } from '../domain/email-address.ts';
import { UsherError } from '../errors.ts';
import { newId } from '../ids.ts';
import type { AccountSettings } from './database.ts';
import { handOver } from './pages.ts';
import { releaseSeats } from './seats.ts';

export interface UserRow {
  account_user_id: string;
  person_id: string | null;
  name: string;
  email: string;
  email_key: string;
  role: AccountUser['role'];
  signed_in_at: Date | null;
  suspended: boolean;
  sign_in_blocked: boolean;
  time_zone: string | null;
  licenses: { kind: string; givenByUsher: boolean; rule: string | null }[];
}

export const userFrom = (row: UserRow): AccountUser => ({
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

export const licensesOfUser = `coalesce((select jsonb_agg(jsonb_build_object('kind', l.kind, 'givenByUsher', l.given_by_usher, 'rule', l.rule) order by l.kind)
  from account_licenses l where l.account_user_id = u.account_user_id), '[]') as licenses`;
export const selectUser = `select u.*, ${licensesOfUser} from account_users u`;

export interface UserToInsert {
  personId: string | null;
  name: string;
  email: string;
  role: AccountUser['role'];
  timeZone: string | null;
  invite: 'send' | 'suppress';
}

/** Their keys, in order; null when the person has a user already: our key is unique, and a second create of the same person changes nothing. */
export async function insertUsers(client: pg.PoolClient, users: UserToInsert[]): Promise<(string | null)[]> {
  if (users.some((user) => user.role === 'Administrator')) await guardRoleChoice(client);
  const fresh = users.map((user) => ({ ...user, accountUserId: newId(), key: foldAddress(user.email) }));
  const { rows } = await client.query<{ account_user_id: string }>({
    name: 'account-insert-users',
    text: `insert into account_users (account_user_id, person_id, name, email, email_key, role, time_zone, invited_at)
     select x."accountUserId", x."personId", x.name, x.email, x.key, x.role, x."timeZone", case when x.invite = 'send' then now() end
     from jsonb_to_recordset($1::jsonb) as x ("accountUserId" uuid, "personId" uuid, name text, email text, key text, role text, "timeZone" text, invite text)
     on conflict (person_id) do nothing returning account_user_id`,
    values: [JSON.stringify(fresh)],
  });
  const made = new Set(rows.map((row) => row.account_user_id));
  const invited = fresh.filter((user) => made.has(user.accountUserId) && user.invite === 'send');
  if (invited.length > 0)
    await putMails(
      client,
      invited.map(({ accountUserId, email }) => ({ mailId: newId(), accountUserId, recipient: email })),
      'invitation',
    );
  return fresh.map(({ accountUserId }) => (made.has(accountUserId) ? accountUserId : null));
}

export async function putMail(
  client: pg.PoolClient,
  accountUserId: string,
  recipient: string,
  kind: 'invitation' | 'sign-in-link',
): Promise<string> {
  const mailId = newId();
  await putMails(client, [{ mailId, accountUserId, recipient }], kind);
  return mailId;
}

async function putMails(
  client: pg.PoolClient,
  mails: { mailId: string; accountUserId: string; recipient: string }[],
  kind: 'invitation' | 'sign-in-link',
): Promise<void> {
  await client.query({
    name: 'account-put-mails',
    text: `insert into account_mails (mail_id, account_user_id, kind, recipient, subject)
      select x."mailId", x."accountUserId", $2, x.recipient, $2 from jsonb_to_recordset($1::jsonb) as x ("mailId" uuid, "accountUserId" uuid, recipient text)`,
    values: [JSON.stringify(mails), kind],
  });
}

export async function applyChanges(
  client: pg.PoolClient,
  accountUserId: string,
  changes: UserChanges,
  settings: AccountSettings,
): Promise<void> {
  if (changes.role) {
    const { rows } = await client.query<{ role: string }>(
      'select role from account_users where account_user_id = $1 for no key update',
      [accountUserId],
    );
    if (rows[0] && rows[0].role !== changes.role) await guardRoleChoice(client);
    if (changes.role === 'Member') await guardLastAdministrator(client, accountUserId, settings, 'made a Member');
  }
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
  if (changes.email) await voidLinks(client, [accountUserId]);
}

/** A link that was mailed to an address opens nothing once the address is another's. */
export async function voidLinks(client: pg.PoolClient, accountUserIds: string[]): Promise<void> {
  await client.query(
    'delete from account_sign_in_tokens where account_user_id = any ($1::uuid[]) and used_at is null',
    [accountUserIds],
  );
}

/** Sessions and links end at once, and do not live again with a return. */
export async function endSignIn(client: pg.PoolClient, accountUserId: string): Promise<void> {
  await client.query('delete from account_sessions where account_user_id = $1', [accountUserId]);
  await voidLinks(client, [accountUserId]);
}

/** The two types can be told apart once the account holds more than one license (rule 4). */
export async function guardRoleChoice(client: pg.PoolClient): Promise<void> {
  const { rows } = await client.query<{ more: boolean }>(
    'select count(*) filter (where bought is null) > 0 or coalesce(sum(bought), 0) > 1 as more from account_pools',
  );
  if (!rows[0]?.more)
    throw new UsherError(
      'one_license_account',
      'role: the account holds no more than one license, and its two user types can not be told apart (rule 4).',
    );
}

/**
 * What would leave the account without an Administrator who can act is refused; on a paid plan that one has a license. All that could do so
 * goes through one lock, one after the other, and looks after it has the lock: of two requests that race for the last two, the second sees
 * what the first did. `kinds`: the licenses that are about to go; null when all do.
 */
export async function guardLastAdministrator(
  client: pg.PoolClient,
  accountUserId: string,
  settings: AccountSettings,
  act: string,
  kinds: string[] | null = null,
): Promise<void> {
  const target = await client.query<{ role: string; suspended: boolean }>(
    'select role, suspended from account_users where account_user_id = $1 for no key update',
    [accountUserId],
  );
  if (target.rows[0]?.role !== 'Administrator' || target.rows[0].suspended) return;
  await client.query(`select pg_advisory_xact_lock(hashtextextended('usher/administrators', 0))`);
  const { rows } = await client.query<{ others: string; licensed_others: string; licensed: boolean; keeps: boolean }>(
    `select count(*) filter (where u.account_user_id <> $1) as others,
       count(*) filter (where u.account_user_id <> $1 and has.any) as licensed_others,
       coalesce(bool_or(u.account_user_id = $1 and has.any), false) as licensed,
       coalesce(bool_or(u.account_user_id = $1 and has.other), false) as keeps
     from account_users u cross join lateral (
       select count(*) > 0 as any, count(*) filter (where not l.kind = any ($2::text[])) > 0 as other
       from account_licenses l where l.account_user_id = u.account_user_id) as has
     where u.role = 'Administrator' and not u.suspended`,
    [accountUserId, kinds ?? []],
  );
  const seen = rows[0];
  if (!seen) return;
  if (kinds !== null) {
    const loses = seen.licensed && !seen.keeps;
    if (settings.plan === 'paid' && loses && Number(seen.licensed_others) === 0)
      throw new UsherError(
        'last_licensed_administrator',
        `The last Administrator with a license can not be ${act} (rule 9).`,
      );
    return;
  }
  if (seen.licensed && Number(seen.licensed_others) === 0)
    throw new UsherError(
      'last_licensed_administrator',
      `The last Administrator with a license can not be ${act} (rules 8 and 9).`,
    );
  if (Number(seen.others) === 0)
    throw new UsherError('last_licensed_administrator', `The last Administrator can not be ${act}.`);
}

/**
 * The user goes, the pages go to the heir in the same transaction. The heir: who is named, else whom the policy names, else the Administrator who
 * acts, else the longest-standing licensed one (rule 10). Null when the user is gone already.
 */
export async function removeUser(
  client: pg.PoolClient,
  accountUserId: string,
  wish: { heirId: string | null; actingId: string | null },
  settings: AccountSettings,
): Promise<{ heirId: string | null; pages: string[]; kinds: string[] } | null> {
  // Before the rows: who takes the pages and who goes must not change under each other.
  await client.query(`select pg_advisory_xact_lock(hashtextextended('usher/administrators', 0))`);
  const found = await client.query('select 1 from account_users where account_user_id = $1 for update', [
    accountUserId,
  ]);
  if (!found.rowCount) return null;
  await guardLastAdministrator(client, accountUserId, settings, 'deleted');
  const { rowCount: hasPages } = await client.query('select 1 from account_pages where owner_id = $1 limit 1', [
    accountUserId,
  ]);
  const heir = await findHeir(client, accountUserId, wish, settings);
  if (hasPages && !heir) throw new UsherError('account_refused', 'There is no Administrator left to take the pages.');
  const pages = hasPages && heir ? await handOver(client, accountUserId, heir.accountUserId, heir.isNamed) : [];
  const kinds = await releaseSeats(client, accountUserId, null);
  await client.query('delete from account_users where account_user_id = $1', [accountUserId]);
  return { heirId: hasPages ? (heir?.accountUserId ?? null) : null, pages, kinds };
}

async function findHeir(
  client: pg.PoolClient,
  accountUserId: string,
  wish: { heirId: string | null; actingId: string | null },
  settings: AccountSettings,
): Promise<{ accountUserId: string; isNamed: boolean } | null> {
  const one = async (where: string, value: string | null, isNamed: boolean) => {
    if (value === null) return null;
    const { rows } = await client.query<{ account_user_id: string }>(
      `select u.account_user_id from account_users u where ${where} and u.account_user_id <> $2 and not u.suspended`,
      [value, accountUserId],
    );
    return rows[0] ? { accountUserId: rows[0].account_user_id, isNamed } : null;
  };
  if (wish.heirId !== null) {
    const named = await one('u.account_user_id = $1', wish.heirId, true);
    if (!named)
      throw new UsherError('invalid_value', 'heir: no other user of the account who is not suspended has this id.');
    return named;
  }
  const { rows } = await client.query<{ account_user_id: string }>(remainingText, [accountUserId]);
  const longest = rows[0] ? { accountUserId: rows[0].account_user_id, isNamed: false } : null;
  return (
    (await one('u.email_key = $1', settings.heir && foldAddress(settings.heir), true)) ??
    (await one(`u.role = 'Administrator' and u.account_user_id = $1`, wish.actingId, false)) ??
    longest
  );
}

export const remainingText = `select u.account_user_id from account_users u
  left join account_licenses l on l.account_user_id = u.account_user_id
  where u.role = 'Administrator' and not u.suspended and u.account_user_id <> $1
  group by u.account_user_id order by (count(l.kind) > 0) desc, min(l.assigned_at), u.created_at limit 1`;
