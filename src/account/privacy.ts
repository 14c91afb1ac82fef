/** One human's data: all of it in one document, and all of it erased, with the history kept under a pseudonym. */

import { createHash } from 'node:crypto';
import type pg from 'pg';
import type { AccountAdministration } from '../administration.ts';
import { looksLikeAddress } from '../domain/email-address.ts';
import { pseudonymise } from '../domain/pseudonym.ts';
import { UsherError } from '../errors.ts';
import { isUuid } from '../ids.ts';
import type { HistoryRow } from '../ports.ts';
import { writeHistory } from './acts.ts';
import { type AccountDatabase, type AccountSettings, change } from './database.ts';
import { like } from './lists.ts';
import { removeUser } from './users.ts';

interface Ids {
  personId: string | null;
  accountUserId: string | null;
  lifecycle: string | null;
}

type PrivacyActs = Pick<AccountAdministration, 'history' | 'personalData' | 'erase'>;

interface StoredHistory {
  history_id: string;
  person_id: string;
  at: Date;
  actor: string;
  cause: string;
  action: string;
  before: unknown;
  after: unknown;
}

export function privacyActs(database: AccountDatabase, settings: AccountSettings): PrivacyActs {
  /** By personId or accountUserId. */
  const find = async (id: string): Promise<Ids> => {
    const rows = isUuid(id)
      ? await database.query<{ person_id: string | null; account_user_id: string | null; lifecycle: string | null }>(
          'account-who-is',
          `select p.person_id, coalesce(u.account_user_id, p.account_user_id) as account_user_id, p.lifecycle
           from people p full join account_users u on u.account_user_id = p.account_user_id where p.person_id = $1 or u.account_user_id = $1 limit 1`,
          [id],
        )
      : [];
    const row = rows[0];
    if (!row && isUuid(id)) {
      // Deleted before: what is left stands in the history, under the same id.
      const left = await database.query('account-history-of', 'select 1 from history where person_id = $1 limit 1', [
        id,
      ]);
      if (left.length > 0) return { personId: null, accountUserId: id, lifecycle: null };
    }
    if (!row) throw new UsherError('not_found', `Nobody has the personId or accountUserId ${id.slice(0, 100)}.`);
    return { personId: row.person_id, accountUserId: row.account_user_id, lifecycle: row.lifecycle };
  };

  return {
    async history(accountUserId, limit, before) {
      if (accountUserId !== null && !isUuid(accountUserId)) return [];
      const rows = await database.list<StoredHistory>(
        accountUserId === null
          ? `select * from history where action like 'account.%' and history_id < coalesce($1::bigint, 9223372036854775807) order by history_id desc limit $2`
          : `select * from history where person_id in ($3, (select person_id from people where account_user_id = $3))
               and history_id < coalesce($1::bigint, 9223372036854775807) order by history_id desc limit $2`,
        [before, limit, ...(accountUserId === null ? [] : [accountUserId])],
      );
      return rows.map(
        (row): HistoryRow => ({
          historyId: row.history_id,
          personId: row.person_id,
          at: row.at,
          cause: { actor: row.actor, by: row.cause },
          action: row.action,
          before: row.before,
          after: row.after,
        }),
      );
    },

    async personalData(id) {
      const { personId, accountUserId } = await find(id);
      const rows = async (text: string) => database.list<Record<string, unknown>>(text, [personId, accountUserId]);
      const [people, directoryUsers, users, licenses, pages, mails, sessions, waiting, history, requests] =
        await Promise.all([
          rows('select *, $2::uuid as user_of from people where person_id = $1'),
          rows('select d.*, $2::uuid as user_of from directory_users d where person_id = $1'),
          rows('select u.* from account_users u where u.account_user_id = $2 or u.person_id = $1'),
          rows('select l.*, $1::uuid as of from account_licenses l where account_user_id = $2'),
          rows('select p.*, $1::uuid as of from account_pages p where owner_id = $2'),
          rows('select m.*, $1::uuid as of from account_mails m where account_user_id = $2'),
          rows(
            'select session_id, how, created_at, last_seen_at, expires_at, $1::uuid as of from account_sessions where account_user_id = $2',
          ),
          rows('select * from account_waiting where person_id in ($1, $2)'),
          rows('select * from history where person_id in ($1, $2) order by history_id'),
          rows(
            `select r.request_id, r.source, r.at, r.method, r.status, $2::uuid as of from scim_requests r where (r.request_id, r.source) in (
             select substr(h.cause, 9), substr(h.actor, 6) from history h where h.person_id = $1 and h.cause like 'request:%') order by request_no`,
          ),
        ]);
      return {
        personId,
        accountUserId,
        people,
        directoryUsers,
        users,
        licenses,
        pages,
        mails,
        sessions,
        waiting,
        history,
        requests,
      };
    },

    async erase(id, act) {
      const ids = await find(id);
      return change(database, async (client) => {
        const { personId, accountUserId } = ids;
        if (personId) {
          const { rows } = await client.query<{ lifecycle: string; living: string }>(
            `select p.lifecycle, (select count(*) from directory_users d left join sources s on s.name = d.source where d.person_id = p.person_id and d.deleted_at is null and d.active and s.kind is distinct from 'console') as living
             from people p where p.person_id = $1 for update`,
            [personId],
          );
          const person = rows[0];
          if (person && (person.lifecycle === 'wanted' || person.lifecycle === 'leaving' || Number(person.living) > 0))
            throw new UsherError(
              'account_refused',
              'The directory still has this person, and they would be brought again. Let them leave first (POST /api/v1/people/{personId}/offboard, and remove them in the directory), then erase.',
            );
        }
        const known = await knownTexts(client, personId, accountUserId);
        const addresses = await addressesOf(client, personId, accountUserId);
        const pseudonym = `erased-${createHash('sha256')
          .update(`${personId ?? ''}/${accountUserId ?? ''}`)
          .digest('hex')
          .slice(0, 12)}`;
        if (accountUserId) {
          await client.query(
            'update account_pages set title = null where owner_id = $1 and lower(title) like any ($2::text[])',
            [accountUserId, known.filter((word) => word.length > 2).map(like)],
          );
          await removeUser(client, accountUserId, { heirId: null, actingId: act.actingId }, settings);
        }
        await client.query(`set local usher.erasing = 'on'`);
        const { rows: history } = await client.query<StoredHistory>(
          'select * from history where person_id in ($1, $2) for update',
          [personId, accountUserId],
        );
        for (const row of history) await pseudonymiseRow(client, row, known, pseudonym, false);
        if (personId) await erasePerson(client, personId, addresses, known, pseudonym);
        await forgetTraces(client, accountUserId, addresses, pseudonym);
        await writeHistory(client, personId ?? accountUserId ?? id, act, {
          action: 'account.personal_data_erased',
          before: null,
          after: { pseudonym },
        });
        return { pseudonym, historyRows: history.length };
      });
    },
  };
}

/** What they left elsewhere: sessions without a user, kept answers, rows of others that name their address. */
async function forgetTraces(
  client: pg.PoolClient,
  accountUserId: string | null,
  addresses: string[],
  pseudonym: string,
): Promise<void> {
  await client.query('delete from account_sessions where account_user_id = $1 or lower(name) = any ($2::text[])', [
    accountUserId,
    addresses,
  ]);
  if (addresses.length === 0) return;
  // An address as a whole, not as the end of a longer one.
  const whole = `(^|[^a-z0-9._%+-])(${addresses.map((word) => word.replace(/[^\p{L}\p{N}@]/gu, '\\$&')).join('|')})($|[^a-z0-9-])`;
  await client.query('delete from account_idempotency where lower(answer::text) ~ $1', [whole]);
  await client.query('update provisions set requested_by = $2 where lower(requested_by) ~ $1', [whole, pseudonym]);
  await client.query('update removals set decided_by = $2 where lower(decided_by) ~ $1', [whole, pseudonym]);
  await client.query('update history set actor = $2 where lower(actor) ~ $1', [whole, pseudonym]);
  const { rows } = await client.query<StoredHistory>(
    'select * from history where lower(before::text) ~ $1 or lower(after::text) ~ $1 for update',
    [whole],
  );
  for (const row of rows) await pseudonymiseRow(client, row, addresses, pseudonym, true);
}

async function pseudonymiseRow(
  client: pg.PoolClient,
  row: StoredHistory,
  known: string[],
  pseudonym: string,
  othersRow: boolean,
): Promise<void> {
  const rewritten = (value: unknown) =>
    value === null ? null : JSON.stringify(pseudonymise(value, known, pseudonym, othersRow));
  await client.query('update history set before = $3, after = $4 where person_id = $1 and history_id = $2', [
    row.person_id,
    row.history_id,
    rewritten(row.before),
    rewritten(row.after),
  ]);
}

/** What names nobody else. A display name may be part of another's, and a provider may choose any word for its keys. */
async function addressesOf(
  client: pg.PoolClient,
  personId: string | null,
  accountUserId: string | null,
): Promise<string[]> {
  const { rows } = await client.query<{ words: (string | null)[] }>(
    `select array[user_name, email] as words from people where person_id = $1
     union all select array[user_name] || addresses from directory_users where person_id = $1
     union all select array[email] from account_users where account_user_id = $2 or person_id = $1
     union all select array[before ->> 'email', after ->> 'email'] from history where person_id in ($1, $2)`,
    [personId, accountUserId],
  );
  const words = rows.flatMap((row) => row.words ?? []).filter((word): word is string => looksLikeAddress(word ?? ''));
  return [...new Set(words.map((word) => word.toLowerCase()))];
}

/** Every text that names them. */
async function knownTexts(
  client: pg.PoolClient,
  personId: string | null,
  accountUserId: string | null,
): Promise<string[]> {
  const { rows } = await client.query<{ words: (string | null)[] }>(
    `select array[user_name, display_name, email, external_id] as words from people where person_id = $1
     union all select array[user_name, external_id, entra_object_id, described ->> 'displayName', described ->> 'familyName', described ->> 'email'] || addresses from directory_users where person_id = $1
     union all select array[name, email, phone, job_title] from account_users where account_user_id = $2 or person_id = $1
     union all select array[before ->> 'name', before ->> 'email', after ->> 'name', after ->> 'email', before ->> 'displayName', after ->> 'displayName']
       from history where person_id in ($1, $2)
     union all select array_agg(link_name) from account_pages where owner_id = $2`,
    [personId, accountUserId],
  );
  return [...new Set(rows.flatMap((row) => row.words ?? []).filter((word): word is string => Boolean(word)))];
}

async function erasePerson(
  client: pg.PoolClient,
  personId: string,
  addresses: string[],
  known: string[],
  pseudonym: string,
): Promise<void> {
  const { rows } = await client.query<{ resource_id: string }>(
    'select resource_id from directory_users where person_id = $1',
    [personId],
  );
  const resourceIds = rows.map((row) => row.resource_id);
  // What the providers sent: the rows stay as a count of what came, without what was said.
  await client.query(
    `update scim_requests r set body = null, path = regexp_replace(path, '[?].*$', '')
     where (r.request_id, r.source) in (select substr(h.cause, 9), substr(h.actor, 6) from history h where h.person_id = $1 and h.cause like 'request:%')
        or lower(r.body::text) like any ($2::text[])`,
    [personId, [...resourceIds, ...addresses].map((key) => like(`"${key}"`))],
  );
  // Providers ask before they create: a question that names them loses its words, in either spelling.
  const words = [...resourceIds, ...known.filter((word) => word.length > 2)];
  await client.query(
    `update scim_requests set path = regexp_replace(path, '[?].*$', '') where position('?' in path) > 0 and lower(path) like any ($1::text[])`,
    [
      words.flatMap((word) => [
        like(word),
        like(encodeURIComponent(word)),
        like(encodeURIComponent(word).replace(/%20/g, '+')),
      ]),
    ],
  );
  await client.query('delete from group_members where member_id = any ($1::uuid[])', [resourceIds]);
  await client.query('delete from directory_users where person_id = $1', [personId]);
  await client.query('delete from account_waiting where person_id = $1', [personId]);
  await client.query('delete from provisions where person_id = $1', [personId]);
  await client.query(
    `update people set lifecycle = 'gone', generation = generation + 1, wish = null, leave = null, kept = '{}', handed_over = '[]', unrecorded = '[]', taken_seats = '{}', conditions = '{}', ready = false, next_at = null, account_user_id = null,
       account_user_origin = null, external_id = null, user_name = $2, display_name = null, email = null, active = false where person_id = $1`,
    [personId, pseudonym],
  );
}
