/**
 * Sign-in and sessions. Of links and session values only hashes are kept; a session is looked up with its user at every request, so that a
 * suspension ends it at once. The value of a session changes every quarter of an hour; the one before stays good for a minute, for
 * requests that were under way.
 */
import { createHmac, randomBytes } from 'node:crypto';
import type pg from 'pg';
import type { LiveSession, Principal, SignIn } from '../administration.ts';
import { foldAddress } from '../domain/email-address.ts';
import type { Role } from '../domain/person.ts';
import type { Policy } from '../domain/policy.ts';
import { type OperatorRole, operatorRoles } from '../domain/roles.ts';
import type { SwitchName } from '../domain/user-settings.ts';
import { isUuid, newId } from '../ids.ts';
import { writeHistory } from './acts.ts';
import { type AccountDatabase, change } from './database.ts';
import { hashLink } from './mails.ts';
import { putMail } from './users.ts';

const sessionHours = 12;
const groupSessionHours = 1;
const idleMinutes = 120;
const rotateMinutes = 15;
const formerSeconds = 60;

interface SessionRow {
  session_id: string;
  account_user_id: string | null;
  token_id: string | null;
  user_id: string | null;
  user_name: string | null;
  name: string;
  groups: string[];
  object_id: string | null;
  how: Principal['how'];
  expires_at: Date;
  role: Role | null;
  switches: Partial<Record<SwitchName, boolean>> | null;
  stale: boolean;
  is_current: boolean;
}

const mayNot = 'u.suspended or u.sign_in_blocked';

/** `secret` keys the hashes: another one ends every session. */
export function openSignIn(database: AccountDatabase, secret: string, access: Policy['access']): SignIn {
  const hashOf = (value: string): string => createHmac('sha256', secret).update(value).digest('hex');
  const begin: SignIn['begin'] = async (session) => {
    const value = randomBytes(32).toString('base64url');
    await database.query(
      'account-begin-session',
      `insert into account_sessions (session_id, hash, account_user_id, token_id, object_id, name, groups, how, expires_at)
       values ($1, $2, $3, $4, $5, $6, $7, $8, now() + make_interval(hours => $9))`,
      [
        newId(),
        hashOf(value),
        session.accountUserId,
        session.tokenId,
        session.objectId,
        session.name,
        session.groups,
        session.how,
        // What a group gives is looked at again soon: a sign-in with Entra ID that is live there costs a click.
        session.groups.length > 0 ? groupSessionHours : sessionHours,
      ],
    );
    if (session.accountUserId && session.how === 'entra') {
      const { accountUserId } = session;
      await change(database, (client) => signedIn(client, accountUserId, 'entra'));
    }
    return value;
  };
  return {
    begin,

    async peek(link) {
      const rows = await database.query<{ name: string; email: string }>(
        'account-peek-link',
        `select u.name, u.email from account_sign_in_tokens t join account_users u using (account_user_id)
         where t.hash = $1 and t.used_at is null and t.expires_at > now() and not (${mayNot})`,
        [hashLink(link)],
      );
      return rows[0] ?? null;
    },

    async useLink(link) {
      const value = randomBytes(32).toString('base64url');
      const accountUserId = await change(database, async (client) => {
        // Of two that press the button at once, one row is updated once.
        const used = await client.query<{ account_user_id: string }>(
          `update account_sign_in_tokens t set used_at = now() from account_users u
           where t.hash = $1 and t.used_at is null and t.expires_at > now() and u.account_user_id = t.account_user_id and not (${mayNot})
           returning t.account_user_id`,
          [hashLink(link)],
        );
        const id = used.rows[0]?.account_user_id;
        if (!id) return null;
        const name = await signedIn(client, id, 'invitation');
        if (name === null) return null;
        // The other links of the same mail, of attempts whose answer was lost, are used up with it.
        await client.query('delete from account_sign_in_tokens where account_user_id = $1 and used_at is null', [id]);
        await client.query(
          `insert into account_sessions (session_id, hash, account_user_id, name, how, expires_at)
           values ($1, $2, $3, $4, 'invitation', now() + make_interval(hours => $5))`,
          [newId(), hashOf(value), id, name, sessionHours],
        );
        return id;
      });
      return accountUserId ? { session: value, accountUserId } : null;
    },

    async userOf({ objectId, userName, isGuest }) {
      const rows = await database.query<{ account_user_id: string; blocked: boolean }>(
        'account-user-of-identity',
        `select u.account_user_id, ${mayNot} as blocked from account_users u
         where u.entra_object_id = $1
            -- The tenant's own word names anybody; what a provider pushes names Members only: a SCIM token must not become an Administrator.
            or (u.entra_object_id is null and u.account_user_id in (
                 select p.account_user_id from directory_users d join people p using (person_id) left join sources s on s.name = d.source
                 where d.entra_object_id = $1 and d.deleted_at is null and (s.kind = 'graph' or u.role = 'Member')))
            -- A userName is somebody else's to give; it counts once, for a member of the own tenant, and the identity is bound to the user then.
            or (u.entra_object_id is null and $2::text is not null and not $3::boolean and u.email_key = $2)
         order by (u.entra_object_id = $1) desc nulls last, (u.email_key = $2) asc nulls last limit 1`,
        [objectId, userName === null ? null : foldAddress(userName), isGuest],
      );
      const row = rows[0];
      if (!row) return { kind: 'nobody' };
      if (row.blocked) return { kind: 'suspended' };
      const bound = await database.query(
        'account-bind-identity',
        'update account_users set entra_object_id = $2 where account_user_id = $1 and (entra_object_id is null or entra_object_id = $2) returning 1',
        [row.account_user_id, objectId],
      );
      return bound.length > 0 ? { kind: 'user', accountUserId: row.account_user_id } : { kind: 'nobody' };
    },

    async find(value) {
      const hash = hashOf(value);
      const rows = await database.query<SessionRow>(
        'account-find-session',
        `update account_sessions s set last_seen_at = now()
         from (select s0.session_id, u.account_user_id as user_id, u.name as user_name, u.role, u.switches, s0.hash = $1 as is_current,
                 s0.rotated_at < now() - make_interval(mins => $3) as stale
               from account_sessions s0 left join account_users u using (account_user_id) left join tokens t on t.token_id = s0.token_id
               where (s0.hash = $1 or (s0.former_hash = $1 and s0.rotated_at > now() - make_interval(secs => $4)))
                 and s0.expires_at > now() and s0.last_seen_at > now() - make_interval(mins => $2)
                 and (s0.account_user_id is null or not (${mayNot}))
                 and (s0.token_id is null or (t.revoked_at is null and (t.expires_at is null or t.expires_at > now())))) as found
         where s.session_id = found.session_id
         returning s.*, found.user_id, found.user_name, found.role, found.switches, found.stale, found.is_current`,
        [hash, idleMinutes, rotateMinutes, formerSeconds],
      );
      const row = rows[0];
      if (!row) return null;
      let renewed: string | null = null;
      if (row.stale && row.is_current) {
        const fresh = randomBytes(32).toString('base64url');
        const rotated = await database.query(
          'account-rotate-session',
          'update account_sessions set former_hash = hash, hash = $2, rotated_at = now() where session_id = $1 and hash = $3 returning 1',
          [row.session_id, hashOf(fresh), hash],
        );
        // Another request of the same moment did it: its answer carries the new value.
        if (rotated.length > 0) renewed = fresh;
      }
      const given = Object.entries(access)
        .filter(([, ids]) => ids?.some((id) => row.groups.includes(id.toLowerCase())))
        .map(([role]) => role);
      const isAdministrator = row.token_id !== null || given.includes('administrator');
      return {
        sessionId: row.session_id,
        accountUserId: row.user_id,
        objectId: row.object_id,
        name: row.user_name ?? row.name,
        role: isAdministrator ? 'Administrator' : row.user_id ? row.role : null,
        operatorRoles: isAdministrator
          ? [...operatorRoles]
          : given.filter((role): role is OperatorRole => (operatorRoles as readonly string[]).includes(role)),
        switches: row.switches ?? {},
        how: row.how,
        expiresAt: row.expires_at,
        renewed,
      };
    },

    async end(sessionId) {
      if (!isUuid(sessionId)) return false;
      const rows = await database.query(
        'account-end-session',
        'delete from account_sessions where session_id = $1 returning 1',
        [sessionId],
      );
      return rows.length > 0;
    },

    async askForLink(email) {
      await change(database, async (client) => {
        const { rows } = await client.query<{ account_user_id: string; email: string }>(
          `select u.account_user_id, u.email from account_users u where u.email_key = $1 and not (${mayNot}) for no key update`,
          [foldAddress(email)],
        );
        const user = rows[0];
        if (!user) return;
        const recent = await client.query(
          `select 1 from account_mails where account_user_id = $1 and kind = 'sign-in-link' and created_at > now() - interval '2 minutes'`,
          [user.account_user_id],
        );
        if (!recent.rowCount) await putMail(client, user.account_user_id, user.email, 'sign-in-link');
      });
    },

    async sessionsOf(accountUserId) {
      const rows = await database.query<LiveRow>(
        'account-sessions-of',
        'select * from account_sessions where account_user_id = $1 and expires_at > now() order by created_at',
        [accountUserId],
      );
      return rows.map(liveFrom);
    },

    async sessions() {
      const rows = await database.query<LiveRow>(
        'account-sessions',
        `select s.*, coalesce(u.name, s.name) as name from account_sessions s left join account_users u using (account_user_id)
         where s.expires_at > now() order by s.created_at desc limit 1000`,
        [],
      );
      return rows.map(liveFrom);
    },

    async endAll(accountUserId) {
      const rows = await database.query(
        'account-end-sessions',
        'delete from account_sessions where account_user_id = $1 returning 1',
        [accountUserId],
      );
      return rows.length;
    },
  };
}

interface LiveRow {
  session_id: string;
  account_user_id: string | null;
  name: string;
  how: string;
  created_at: Date;
  last_seen_at: Date;
  expires_at: Date;
}

const liveFrom = (row: LiveRow): LiveSession => ({
  sessionId: row.session_id,
  accountUserId: row.account_user_id,
  name: row.name,
  how: row.how,
  createdAt: row.created_at,
  lastSeenAt: row.last_seen_at,
  expiresAt: row.expires_at,
});

/** The status turns once, and the history says so. Null when the user may not sign in. */
async function signedIn(client: pg.PoolClient, accountUserId: string, how: string): Promise<string | null> {
  const { rows } = await client.query<{ name: string; subject_id: string; first: boolean }>(
    `update account_users u set signed_in_at = coalesce(u.signed_in_at, now()), last_signed_in_at = now()
     from (select account_user_id, signed_in_at is null as first from account_users where account_user_id = $1 for update) as before
     where u.account_user_id = before.account_user_id and not (${mayNot})
     returning u.name, coalesce(u.person_id, u.account_user_id) as subject_id, before.first`,
    [accountUserId],
  );
  const user = rows[0];
  if (!user) return null;
  if (user.first)
    await writeHistory(
      client,
      user.subject_id,
      { actor: `user:${accountUserId}`, by: `sign-in:${how}` },
      {
        action: 'account.signed_in',
        before: { status: 'Invited (Pending)' },
        after: { status: 'Has signed in' },
      },
    );
  return user.name;
}
