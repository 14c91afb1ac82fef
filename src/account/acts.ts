/** What every act by hand shares: the row it was decided on, the person behind it, its history, and the answer to a repeated key. */
import { createHash } from 'node:crypto';
import type pg from 'pg';
import type { Act } from '../administration.ts';
import type { Kept, Wish } from '../domain/person.ts';
import { UsherError } from '../errors.ts';
import type { Cause, HistoryEntry } from '../ports.ts';

/** The person behind a user, locked before the user as a step does, so that the two never wait for each other. */
export interface PersonBehind {
  personId: string;
  lifecycle: string;
  wish: Wish | null;
  kept: Kept;
}

export async function lockPersonBehind(client: pg.PoolClient, accountUserId: string): Promise<PersonBehind | null> {
  const { rows } = await client.query<{ person_id: string; lifecycle: string; wish: Wish | null; kept: Kept }>({
    name: 'account-lock-person',
    // By our key on the user first: a step that made it may not have written the other way yet.
    text: `select person_id, lifecycle, wish, kept from people where person_id = coalesce(
      (select u.person_id from account_users u where u.account_user_id = $1), (select p.person_id from people p where p.account_user_id = $1)) for no key update`,
    values: [accountUserId],
  });
  const row = rows[0];
  return row ? { personId: row.person_id, lifecycle: row.lifecycle, wish: row.wish, kept: row.kept } : null;
}

/** Whoever leaves may return, and gets what the rule wished then; what was changed by hand meanwhile is kept, too. */
const managed = ['wanted', 'held', 'leaving', 'suspended'];

/** The rule that wishes for this user; null when nobody wishes anything. */
export function ruling(person: PersonBehind | null): Wish | null {
  return person && managed.includes(person.lifecycle) ? person.wish : null;
}

/**
 * The steps look at this person now, and whichever is at work loses its fence: what it saw is not so any more.
 * `kept` replaces what is kept by hand.
 */
export async function touchPerson(client: pg.PoolClient, personId: string, kept: Kept | null): Promise<void> {
  await client.query({
    name: 'account-touch-person',
    text: `update people set kept = coalesce($2::jsonb, kept), account_fence = account_fence + 1, account_lease_until = '-infinity',
       next_at = case when lifecycle = 'wanted' then now() else next_at end,
       conditions = conditions || coalesce((select jsonb_object_agg(c.key, c.value || jsonb_build_object('nextCheckAt', now()))
         from jsonb_each(conditions) as c where c.key in ('Profile', 'License', 'BookingPages')), '{}')
     where person_id = $1`,
    values: [personId, kept && JSON.stringify(kept)],
  });
}

export const keptBy = (act: Act) => ({ by: act.actor, at: new Date().toISOString() });

/** `subject` is the person; for a user without one, the user. */
export async function writeHistory(
  client: pg.PoolClient,
  subject: string,
  act: Cause,
  ...entries: HistoryEntry[]
): Promise<void> {
  if (entries.length === 0) return;
  await client.query({
    name: 'account-history',
    text: `insert into history (person_id, actor, cause, action, before, after)
     select $1, $2, $3, e.action, e.before, e.after from jsonb_to_recordset($4::jsonb) as e (action text, before jsonb, after jsonb)`,
    values: [subject, act.actor, act.by, JSON.stringify(entries)],
  });
}

/** RFC 9110 section 13.1.1; the tag is of the row that is locked. */
export function checkMatch(act: Act, etag: string): void {
  if (act.ifMatch === null || act.ifMatch.trim() === '*') return;
  // A weak tag never matches here.
  if (act.ifMatch.split(',').some((tag) => tag.trim() === etag)) return;
  throw new UsherError('precondition_failed', 'If-Match: it has changed since that ETag was given.');
}

/** A strong tag of what is stored; what others' work makes of it (bookable, integrations) is no part of it. */
export function etagOf(stored: unknown): string {
  return `"${createHash('sha256').update(JSON.stringify(stored)).digest('base64url').slice(0, 22)}"`;
}

/**
 * The first request of a key does the work, in the transaction that keeps its answer; a repeated one gets that answer. Two at once: the second waits
 * for the first, by the key's row. (draft-ietf-httpapi-idempotency-key-header)
 */
export async function once<T>(client: pg.PoolClient, act: Act, work: () => Promise<T>): Promise<T> {
  if (!act.once) return work();
  const { key, requestHash } = act.once;
  const fresh = await client.query(
    `insert into account_idempotency (actor, key, request_hash, answer) values ($1, $2, $3, 'null') on conflict do nothing`,
    [act.actor, key, requestHash],
  );
  if (!fresh.rowCount) {
    const { rows } = await client.query<{ request_hash: string; answer: T }>(
      'select request_hash, answer from account_idempotency where actor = $1 and key = $2',
      [act.actor, key],
    );
    const known = rows[0];
    if (!known) throw new UsherError('conflict', 'The key was forgotten at this moment.');
    if (known.request_hash !== requestHash)
      throw new UsherError(
        'idempotency_key_reused',
        'Idempotency-Key: this key was sent with another request before; a key names one request.',
      );
    return known.answer;
  }
  const answer = await work();
  await client.query('update account_idempotency set answer = $3 where actor = $1 and key = $2', [
    act.actor,
    key,
    JSON.stringify(answer),
  ]);
  return answer;
}
