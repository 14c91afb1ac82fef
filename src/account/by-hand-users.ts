/** Users and their licenses, by an Administrator's hand. */

import type pg from 'pg';
import type { AccountAdministration, Act, SeatResult, ShownUser, UsersQuery } from '../administration.ts';
import { foldAddress } from '../domain/email-address.ts';
import { schedulingLicense } from '../domain/license.ts';
import type { Kept } from '../domain/person.ts';
import { wishedFields } from '../domain/profile.ts';
import { switchesOf } from '../domain/roles.ts';
import { type SwitchName, shownSettings } from '../domain/user-settings.ts';
import { UsherError } from '../errors.ts';
import { isUuid } from '../ids.ts';
import { checkMatch, etagOf, keptBy, lockPersonBehind, once, ruling, touchPerson, writeHistory } from './acts.ts';
import { type AccountDatabase, type AccountSettings, change } from './database.ts';
import { bindings, pageOf, readCursor, searched } from './lists.ts';
import { disablePagesOf, enableWithLicense } from './pages.ts';
import {
  assignByHand,
  licenseCounts,
  lockLicenses,
  placeInLine,
  releaseSeats,
  serveLine,
  waitingLine,
} from './seats.ts';
import { applyChanges, endSignIn, guardLastAdministrator, guardRoleChoice, insertUsers, removeUser } from './users.ts';

interface Row {
  account_user_id: string;
  person_id: string | null;
  name: string;
  email: string;
  role: ShownUser['role'];
  signed_in_at: Date | null;
  invited_at: Date | null;
  last_signed_in_at: Date | null;
  created_at: Date;
  suspended: boolean;
  sign_in_blocked: boolean;
  phone: string | null;
  job_title: string | null;
  time_zone: string | null;
  notifications: Record<string, unknown>;
  date_time: Record<string, unknown>;
  product_settings: { scheduling?: object; engagement?: object };
  switches: Partial<Record<SwitchName, boolean>>;
  kinds: string[];
  waiting_for: string[];
  delegated: boolean | null;
  behind: string | null;
  lifecycle: string | null;
  rule: string | null;
  wished_name: string | null;
  wished_email: string | null;
  wished_role: string | null;
  wished_time_zone: string | null;
  kept: Kept | null;
}

/** What is shown of a user beside the row; of a page of them only. */
const shownColumns = `u.*,
  coalesce((select array_agg(l.kind order by l.kind) from account_licenses l where l.account_user_id = u.account_user_id), '{}') as kinds,
  coalesce((select array_agg(w.kind order by w.kind) from account_waiting w where w.person_id = u.account_user_id or w.person_id = u.person_id), '{}') as waiting_for,
  p.person_id as behind, p.lifecycle, p.kept, p.conditions -> 'Delegation' ->> 'status' = 'true' as delegated,
  p.wish ->> 'rule' as rule, p.wish ->> 'displayName' as wished_name, p.wish ->> 'email' as wished_email,
  p.wish ->> 'role' as wished_role, p.wish ->> 'timeZone' as wished_time_zone`;
const behind = 'left join people p on p.account_user_id = u.account_user_id';

/** A license by itself is counted by the ledger: nobody is looked at. */
function countOf(query: UsersQuery, tests: number, where: string): string {
  if (query.license && tests === 1)
    return query.license === 'none'
      ? 'select (select count(*) from account_users) - (select count(*) from (select distinct account_user_id from account_licenses) as holders) as total'
      : 'select coalesce((select assigned from account_pools where kind = $1), 0) as total';
  return `select count(*) as total from account_users u where ${where}`;
}

const oneUser = {
  name: 'account-shown-user',
  text: `select ${shownColumns} from account_users u ${behind} where u.account_user_id = $1`,
};

function shown(row: Row): ShownUser {
  const settings = shownSettings({
    notifications: row.notifications,
    dateTime: row.date_time,
    productSettings: row.product_settings,
  });
  const fields = Object.fromEntries(
    Object.entries({
      name: row.wished_name,
      email: row.wished_email,
      role: row.wished_role,
      timeZone: row.wished_time_zone,
    }).filter((entry): entry is [string, string] => entry[1] !== null),
  );
  return {
    accountUserId: row.account_user_id,
    personId: row.behind ?? row.person_id,
    name: row.name,
    email: row.email,
    role: row.role,
    integrations: row.delegated ? 'Exchange calendar (delegated)' : 'None',
    licenses: row.kinds,
    waitingFor: row.waiting_for,
    status: row.signed_in_at ? 'Has signed in' : 'Invited (Pending)',
    suspended: row.suspended,
    phone: row.phone,
    jobTitle: row.job_title,
    timeZone: row.time_zone,
    ...settings,
    switches: row.switches,
    createdAt: row.created_at,
    invitedAt: row.invited_at,
    lastSignedInAt: row.last_signed_in_at,
    managedBy:
      row.behind && row.rule && row.lifecycle === 'wanted'
        ? { personId: row.behind, rule: row.rule, fields, kept: row.kept ?? {} }
        : null,
    etag: etag(row),
  };
}

function etag(row: Row): string {
  return etagOf([
    row.account_user_id,
    row.name,
    row.email,
    row.role,
    row.suspended,
    row.sign_in_blocked,
    row.phone,
    row.job_title,
    row.time_zone,
    row.notifications,
    row.date_time,
    row.product_settings,
    row.switches,
    row.kinds,
    row.signed_in_at !== null,
  ]);
}

const sortKeys: Record<UsersQuery['sort'], { columns: string; key: string; tuple: (bind: string) => string }> = {
  name: { columns: 'lower(u.name)', key: 'lower(u.name)', tuple: (value) => value },
  email: { columns: 'u.email_key', key: 'u.email_key', tuple: (value) => value },
  role: {
    columns: 'u.role, lower(u.name)',
    key: `u.role || '/' || lower(u.name)`,
    tuple: (value) => `split_part(${value}, '/', 1), substr(${value}, strpos(${value}, '/') + 1)`,
  },
  status: {
    columns: '(u.signed_in_at is not null), lower(u.name)',
    key: `(u.signed_in_at is not null)::text || '/' || lower(u.name)`,
    tuple: (value) => `split_part(${value}, '/', 1)::boolean, substr(${value}, strpos(${value}, '/') + 1)`,
  },
  createdAt: {
    columns: 'u.created_at',
    key: `to_char(u.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`,
    tuple: (value) => `${value}::timestamptz`,
  },
};

type UserActs = Pick<
  AccountAdministration,
  | 'users'
  | 'user'
  | 'usersByEmail'
  | 'invite'
  | 'edit'
  | 'suspend'
  | 'remove'
  | 'takeBack'
  | 'licenses'
  | 'waitingLine'
  | 'assignLicense'
  | 'unassignLicense'
>;

export function userActs(database: AccountDatabase, settings: AccountSettings): UserActs {
  const missing = (accountUserId: string): UsherError =>
    new UsherError('not_found', `The account has no user ${accountUserId.slice(0, 100)}.`);
  const user = async (accountUserId: string): Promise<ShownUser> => {
    const rows = isUuid(accountUserId) ? await database.query<Row>(oneUser.name, oneUser.text, [accountUserId]) : [];
    if (!rows[0]) throw missing(accountUserId);
    return shown(rows[0]);
  };
  /** The person, then the user, both locked; the ETag compared with what is there now. */
  const lock = async (client: pg.PoolClient, accountUserId: string, act: Act) => {
    if (!isUuid(accountUserId)) throw missing(accountUserId);
    const person = await lockPersonBehind(client, accountUserId);
    const locked = await client.query({
      name: 'account-lock-user',
      text: 'select 1 from account_users where account_user_id = $1 for no key update',
      values: [accountUserId],
    });
    if (!locked.rowCount) throw missing(accountUserId);
    // A statement of its own, after the lock: it sees what the one before us did.
    const { rows } = await client.query<Row>({ ...oneUser, values: [accountUserId] });
    const row = rows[0];
    if (!row) throw missing(accountUserId);
    checkMatch(act, etag(row));
    return { person, row, subject: person?.personId ?? accountUserId };
  };

  return {
    user,

    async users(query) {
      const { values, bind } = bindings();
      const tests: string[] = [];
      if (query.filter) tests.push(...searched('u.search', query.filter, bind));
      if (query.role) tests.push(`u.role = ${bind(query.role)}`);
      if (query.status) tests.push(`u.signed_in_at is ${query.status === 'Has signed in' ? 'not ' : ''}null`);
      if (query.suspended !== undefined) tests.push(`u.suspended = ${bind(query.suspended)}`);
      if (query.license === 'none')
        tests.push('not exists (select 1 from account_licenses l where l.account_user_id = u.account_user_id)');
      else if (query.license)
        tests.push(
          `exists (select 1 from account_licenses l where l.account_user_id = u.account_user_id and l.kind = ${bind(query.license)})`,
        );
      const where = tests.length > 0 ? tests.join(' and ') : 'true';
      const counting = database.list<{ total: string }>(countOf(query, tests.length, where), [...values]);
      const { columns, key, tuple } = sortKeys[query.sort];
      const place = query.cursor ? readCursor(query.sort, query.cursor) : null;
      const direction = query.descending ? 'desc' : 'asc';
      const behindPlace = place
        ? ` and (${columns}, u.account_user_id) ${query.descending ? '<' : '>'} (${tuple(`${bind(place.key)}::text`)}, ${bind(place.id)}::uuid)`
        : '';
      const order = `${columns
        .split(', ')
        .map((column) => `${column} ${direction}`)
        .join(', ')}, u.account_user_id ${direction}`;
      const [counted, rows] = await Promise.all([
        counting,
        database.list<Row & { place_key: string }>(
          `select ${shownColumns}, ${key} as place_key from (
             select * from account_users u where ${where}${behindPlace} order by ${order} limit ${bind(query.limit + 1)}) as u ${behind} order by ${order}`,
          values,
        ),
      ]);
      return pageOf(rows, query, query.sort, (row) => row.account_user_id, shown, counted);
    },

    async usersByEmail(emails) {
      const rows = await database.query<Row>(
        'account-users-by-email',
        `select ${shownColumns} from account_users u ${behind} where u.email_key = any ($1::text[])`,
        [emails.map(foldAddress)],
      );
      return new Map(rows.map((row) => [foldAddress(row.email), shown(row)]));
    },

    async invite(wish, act) {
      return change(database, (client) =>
        once(client, act, async () => {
          if (wish.role) await guardRoleChoice(client);
          const [made] = await insertUsers(client, [{ ...wish, personId: null, role: wish.role ?? 'Member' }]);
          if (!made) throw new UsherError('internal', 'The user was not made.');
          for (const kind of new Set(wish.licenses))
            mustBeAssigned(kind, await assignByHand(client, made, null, kind, false));
          await writeHistory(client, made, act, {
            action: 'account.user_invited',
            before: null,
            after: { ...wish, role: wish.role ?? 'Member' },
          });
          const { rows } = await client.query<Row>({ ...oneUser, values: [made] });
          if (!rows[0]) throw new UsherError('internal', 'The user that was just made is gone.');
          return shown(rows[0]);
        }),
      );
    },

    async edit(accountUserId, edit, keepByHand, act) {
      await change(database, async (client) => {
        const { person, row, subject } = await lock(client, accountUserId, act);
        const wish = ruling(person);
        const kept: Kept = { ...person?.kept };
        const wished: Record<string, string> = wish ? wishedFields(wish) : {};
        for (const field of ['name', 'email', 'role', 'timeZone'] as const) {
          const value = edit[field];
          if (value === undefined || !wish || !(field in wished)) continue;
          const asWished =
            field === 'email'
              ? foldAddress(String(value)) === foldAddress(wished.email ?? '')
              : value === wished[field];
          if (asWished) delete kept[field];
          else if (keepByHand) kept[field] = keptBy(act);
          else
            throw new UsherError(
              'managed_by_rule',
              `${field}: rule «${wish.rule}» wants ${wished[field]}; it would be changed back. Send "keepByHand": true to keep what you set until you take it back.`,
            );
        }
        const role = edit.role ?? row.role;
        for (const name of Object.keys(edit.switches ?? {}) as SwitchName[])
          if (!switchesOf(role).includes(name))
            throw new UsherError(
              'invalid_value',
              `switches.${name}: says nothing for a ${role}; theirs are ${switchesOf(role).join(', ')}.`,
            );
        await applyChanges(
          client,
          accountUserId,
          {
            ...(edit.name !== undefined && edit.name !== row.name ? { name: edit.name } : {}),
            ...(edit.email !== undefined && edit.email !== row.email ? { email: edit.email } : {}),
            ...(edit.role !== undefined && edit.role !== row.role ? { role: edit.role } : {}),
          },
          settings,
        );
        const merged = {
          phone: edit.phone === undefined ? row.phone : edit.phone,
          jobTitle: edit.jobTitle === undefined ? row.job_title : edit.jobTitle,
          timeZone: edit.timeZone === undefined ? row.time_zone : edit.timeZone,
          notifications: { ...row.notifications, ...edit.notifications },
          dateTime: { ...row.date_time, ...edit.dateTime },
          productSettings: {
            scheduling: { ...row.product_settings.scheduling, ...edit.productSettings?.scheduling },
            engagement: { ...row.product_settings.engagement, ...edit.productSettings?.engagement },
          },
          // A switch of the other role, or one set back to its default, is not kept.
          switches: Object.fromEntries(
            Object.entries({ ...row.switches, ...edit.switches }).filter(
              ([name, value]) => value !== null && switchesOf(role).includes(name as SwitchName),
            ),
          ),
        };
        await client.query(
          `update account_users set phone = $2, job_title = $3, time_zone = $4, notifications = $5, date_time = $6, product_settings = $7, switches = $8
           where account_user_id = $1`,
          [
            accountUserId,
            merged.phone,
            merged.jobTitle,
            merged.timeZone,
            JSON.stringify(merged.notifications),
            JSON.stringify(merged.dateTime),
            JSON.stringify(merged.productSettings),
            JSON.stringify(merged.switches),
          ],
        );
        const before = profileOf(row);
        const after = {
          ...before,
          ...merged,
          name: edit.name ?? row.name,
          email: edit.email ?? row.email,
          role,
        };
        const changed = (Object.keys(after) as (keyof typeof after)[]).filter(
          (field) => JSON.stringify(after[field]) !== JSON.stringify(before[field]),
        );
        if (changed.length > 0)
          await writeHistory(client, subject, act, {
            action: 'account.user_updated',
            before: Object.fromEntries(changed.map((field) => [field, before[field]])),
            after: Object.fromEntries(changed.map((field) => [field, after[field]])),
          });
        if (person && (changed.length > 0 || JSON.stringify(kept) !== JSON.stringify(person.kept)))
          await touchPerson(client, person.personId, kept);
      });
      return user(accountUserId);
    },

    async suspend(accountUserId, suspended, act) {
      await change(database, async (client) => {
        const { person, row, subject } = await lock(client, accountUserId, act);
        if (row.suspended === suspended && row.sign_in_blocked === suspended) return;
        if (suspended) await guardLastAdministrator(client, accountUserId, settings, 'suspended');
        await client.query('update account_users set suspended = $2, sign_in_blocked = $2 where account_user_id = $1', [
          accountUserId,
          suspended,
        ]);
        if (suspended) await endSignIn(client, accountUserId);
        // A place counts again, or no more: somebody may be reached by a free seat now.
        for (const kind of row.waiting_for) await serveLine(client, kind);
        await writeHistory(client, subject, act, {
          action: suspended ? 'account.user_suspended' : 'account.user_restored',
          before: { suspended: row.suspended },
          after: { suspended },
        });
        if (person) {
          const { suspended: _before, ...kept } = person.kept;
          await touchPerson(client, person.personId, suspended ? { ...kept, suspended: keptBy(act) } : kept);
        }
      });
      return user(accountUserId);
    },

    async remove(accountUserId, heirId, act) {
      return change(database, async (client) => {
        const { person, row, subject } = await lock(client, accountUserId, act);
        if (heirId !== null) {
          const heir = await client.query<{ role: string }>(
            'select role from account_users where account_user_id = $1',
            [heirId],
          );
          if (heir.rows[0]?.role !== 'Administrator')
            throw new UsherError(
              'invalid_value',
              'heir: the pages of a deleted user go to an Administrator (rule 10).',
            );
        }
        const gone = await removeUser(client, accountUserId, { heirId, actingId: act.actingId }, settings);
        if (!gone) throw missing(accountUserId);
        await writeHistory(client, subject, act, {
          action: 'account.user_deleted',
          before: { ...profileOf(row), licenses: gone.kinds, pages: gone.pages },
          after: { pagesTo: gone.heirId },
        });
        if (gone.heirId)
          await writeHistory(client, await subjectOf(client, gone.heirId), act, {
            action: 'account.pages_inherited',
            before: { from: accountUserId },
            after: { pages: gone.pages },
          });
        if (person)
          await touchPerson(
            client,
            person.personId,
            ruling(person) ? { ...person.kept, user: keptBy(act) } : person.kept,
          );
        return { heirId: gone.heirId, pages: gone.pages };
      });
    },

    takeBack: (personId, key, act) =>
      change(database, async (client) => {
        const { rows } = await client.query<{ kept: Kept }>(
          'select kept from people where person_id = $1 for no key update',
          [personId],
        );
        const kept = { ...rows[0]?.kept };
        const before = Object.hasOwn(kept, key) ? kept[key] : undefined;
        if (!before) return false;
        delete kept[key];
        const own = await client.query<{ account_user_id: string }>(
          'select account_user_id from account_users where person_id = $1',
          [personId],
        );
        if (key.startsWith('license:') && own.rows[0])
          await enableWithLicense(client, own.rows[0].account_user_id, key.slice('license:'.length));
        await touchPerson(client, personId, kept);
        await writeHistory(client, personId, act, {
          action: 'account.taken_back',
          before: { [key]: before },
          after: null,
        });
        return true;
      }),

    licenses: () => licenseCounts(database),

    async waitingLine(kind, limit) {
      return (await waitingLine(database, kind, limit)).map((row) => ({
        place: Number(row.place),
        personId: row.account_user_id ? null : row.person_id,
        accountUserId: row.account_user_id,
        name: row.name,
        email: row.email,
        since: row.since,
        rule: row.rule,
      }));
    },

    async assignLicense(accountUserId, kind, wait, act) {
      const answer = await change(database, (client) =>
        once(client, act, async () => {
          const { person, row, subject } = await lock(client, accountUserId, act);
          if (row.suspended)
            throw new UsherError('account_refused', `${row.email} is suspended; restore the user first.`);
          const answer = await assignByHand(client, accountUserId, person?.personId ?? null, kind, wait);
          if (!answer.assigned && answer.why === 'pool' && wait) {
            if (!row.waiting_for.includes(kind))
              await writeHistory(client, subject, act, {
                action: 'account.line_joined',
                before: null,
                after: { kind },
              });
            return {
              assigned: false as const,
              kind,
              bought: answer.bought,
              personId: person?.personId ?? null,
              before: row.waiting_for.includes(kind),
            };
          }
          mustBeAssigned(kind, answer);
          if (answer.assigned && !answer.already)
            await writeHistory(client, subject, act, {
              action: 'account.license_assigned',
              before: { licenses: row.kinds },
              after: { kind },
            });
          // Nobody's step has anything to do with a kind that no rule wishes.
          if (person && (person.kept[`license:${kind}`] || ruling(person)?.licenses.includes(kind))) {
            const { [`license:${kind}`]: taken, ...kept } = person.kept;
            if (taken) await enableWithLicense(client, accountUserId, kind);
            await touchPerson(client, person.personId, kept);
          }
          return { assigned: true as const, kind, personId: person?.personId ?? null };
        }),
      );
      if (answer.assigned) return answer;
      const place = await placeInLine(database, kind, answer.personId ?? accountUserId, null);
      const { before, ...rest } = answer;
      return {
        ...rest,
        place,
        message: `${before ? 'In line already: place' : 'Place'} ${place} in the line for a «${kind}» seat; it is assigned when one is free.`,
      } satisfies SeatResult;
    },

    unassignLicense: (accountUserId, kind, act) =>
      change(database, async (client) => {
        const { person, row, subject } = await lock(client, accountUserId, act);
        const left = await client.query('delete from account_waiting where kind = $1 and account_user_id = $2', [
          kind,
          accountUserId,
        ]);
        if (!row.kinds.includes(kind)) {
          if (left.rowCount) {
            await writeHistory(client, subject, act, { action: 'account.line_left', before: { kind }, after: null });
            return { disabledPages: [] };
          }
          throw new UsherError('not_found', `${row.email} has no «${kind.slice(0, 100)}» license.`);
        }
        await guardLastAdministrator(client, accountUserId, settings, 'unlicensed', [kind]);
        await lockLicenses(client, accountUserId, [kind]);
        // Before the license: an enabled page leans on it.
        const disabledPages = kind === schedulingLicense ? await disablePagesOf(client, accountUserId, act.actor) : [];
        await releaseSeats(client, accountUserId, [kind]);
        await writeHistory(client, subject, act, {
          action: 'account.license_unassigned',
          before: { kind },
          after: { disabledPages },
        });
        if (person)
          await touchPerson(
            client,
            person.personId,
            ruling(person)?.licenses.includes(kind)
              ? { ...person.kept, [`license:${kind}`]: keptBy(act) }
              : person.kept,
          );
        return { disabledPages };
      }),
  };
}

/** Whose history it is: the person's, or the user's own where there is none. */
async function subjectOf(client: pg.PoolClient, accountUserId: string): Promise<string> {
  return (await lockPersonBehind(client, accountUserId))?.personId ?? accountUserId;
}

function profileOf(row: Row) {
  return {
    name: row.name,
    email: row.email,
    role: row.role,
    phone: row.phone,
    jobTitle: row.job_title,
    timeZone: row.time_zone,
    notifications: row.notifications,
    dateTime: row.date_time,
    productSettings: {
      scheduling: { ...row.product_settings.scheduling },
      engagement: { ...row.product_settings.engagement },
    },
    switches: row.switches,
  };
}

function mustBeAssigned(kind: string, answer: Awaited<ReturnType<typeof assignByHand>>): void {
  if (answer.assigned) return;
  if (answer.why === 'pool')
    throw new UsherError(
      'no_seats_left',
      `All ${answer.bought} «${kind}» seats are taken, or waited for by whoever stands in line.`,
    );
  throw new UsherError('invalid_value', `kind: the account has no pool of «${kind.slice(0, 100)}» licenses.`);
}
