/**
 * Seats of pools. A claim goes through the pool's row lock: the line is kept by (time of the first wish, personId), nobody takes a seat that somebody
 * ahead waits for, and somebody over the group's cap is skipped and is not in the way. Whoever an Administrator put in line by hand has no step that
 * would come back: they are served in the transaction that frees a seat.
 */
import type pg from 'pg';
import type { SeatAnswer } from '../domain/account.ts';
import { forecast } from '../domain/license.ts';
import { UsherError } from '../errors.ts';
import type { LicenseCounts, SeatClaim } from '../ports.ts';
import { lockPersonBehind, touchPerson, writeHistory } from './acts.ts';
import { type AccountDatabase, change } from './database.ts';
import { enableWithLicense } from './pages.ts';

/** The answer to a claim, before the place in the line is counted. */
export type Claimed = Exclude<SeatAnswer, { why: 'pool' }> | { assigned: false; why: 'pool'; bought: number };

/**
 * A place counts while its human waits for nothing but the seat: one by rule, while the person is wanted, wishes the kind, and nobody took it by hand; one by
 * hand, while the user is not suspended. Whoever has the seat has no place: giving it takes every place of that human away.
 */
const waitsByRule = `pe.person_id = w.person_id and pe.lifecycle = 'wanted' and pe.wish -> 'licenses' ? w.kind and not pe.kept ? ('license:' || w.kind)
  and coalesce(pe.conditions -> 'License' ->> 'reason', '') not in ('needs_profile', 'needs_delegation')`;
const waitsByHand = 'wu.account_user_id = w.account_user_id and not wu.suspended';
const stillInLine = `case when w.account_user_id is not null
  then exists (select 1 from account_users wu where ${waitsByHand})
  else exists (select 1 from people pe where ${waitsByRule}) end`;

const leaveLine = {
  name: 'account-leave-line',
  // However that human came into the line.
  text: `delete from account_waiting where kind = $1 and (account_user_id = $2
    or person_id in ($2, (select person_id from account_users where account_user_id = $2)))`,
};
const seatHeld = {
  name: 'account-seat-held',
  text: 'select 1 from account_licenses where account_user_id = $1 and kind = $2',
};

const seatRule = {
  name: 'account-seat-rule',
  text: 'update account_licenses set rule = $3 where account_user_id = $1 and kind = $2 and given_by_usher',
};

export async function claimSeat(client: pg.PoolClient, claim: SeatClaim): Promise<Claimed> {
  const held = await client.query({ ...seatHeld, values: [claim.accountUserId, claim.kind] });
  if (held.rowCount) {
    // Caps count by the rule that somebody has it by today.
    await client.query({ ...seatRule, values: [claim.accountUserId, claim.kind, claim.rule] });
    await client.query({ ...leaveLine, values: [claim.kind, claim.accountUserId] });
    return { assigned: true, already: true };
  }
  // A quick no before any lock; who is let through is counted again under it.
  if (await isCapped(client, claim)) return overCap(client, claim);
  const place = { kind: claim.kind, id: claim.personId, since: claim.since, accountUserId: null, rule: claim.rule };
  const answer = await takeOrStand(client, place, true);
  if (answer !== 'reached') return answer;
  if (await isCapped(client, claim)) return overCap(client, claim);
  await give(client, claim.accountUserId, claim.kind, !claim.byHand, claim.byHand ? null : claim.rule);
  return { assigned: true, already: false };
}

/**
 * Seats for many, where there is nothing to decide: everybody wishes the same kind, nobody stands in a line for it, no cap is in the way, and all of them fit.
 * Anything else throws, and each claims alone.
 */
export async function claimFreeSeats(client: pg.PoolClient, claims: SeatClaim[]): Promise<Claimed[]> {
  const kind = claims[0]?.kind ?? '';
  const isPlain = claims.every((claim) => claim.kind === kind && claim.cap === null && !claim.byHand);
  const pool = isPlain ? await lockPool(client, kind) : null;
  const line = await client.query({
    name: 'account-anybody-in-line',
    text: 'select 1 from account_waiting where kind = $1 limit 1',
    values: [kind],
  });
  if (!pool || line.rowCount || (pool.bought !== null && pool.bought - pool.assigned < claims.length))
    throw new UsherError('conflict', 'Each of these claims is decided by itself.');
  const { rows } = await client.query<{ account_user_id: string }>({
    name: 'account-give-seats',
    text: `insert into account_licenses (account_user_id, kind, given_by_usher, rule)
      select x."accountUserId", $2, true, x.rule from jsonb_to_recordset($1::jsonb) as x ("accountUserId" uuid, rule text)
      on conflict (account_user_id, kind) do nothing returning account_user_id`,
    values: [JSON.stringify(claims), kind],
  });
  const given = new Set(rows.map((row) => row.account_user_id));
  const held = claims.filter((claim) => !given.has(claim.accountUserId));
  for (const claim of held) await client.query({ ...seatRule, values: [claim.accountUserId, kind, claim.rule] });
  return claims.map((claim) => ({ assigned: true, already: !given.has(claim.accountUserId) }));
}

async function isCapped(client: pg.PoolClient, { kind, rule, cap }: SeatClaim): Promise<boolean> {
  if (cap === null) return false;
  const { rows } = await client.query<{ count: string }>({
    name: 'account-cap',
    text: 'select count(*) from account_licenses where kind = $1 and rule = $2',
    values: [kind, rule],
  });
  return Number(rows[0]?.count) >= cap;
}

/** The rule's place is in nobody's way; one by hand is an Administrator's word and stays. */
async function overCap(client: pg.PoolClient, { kind, personId, cap }: SeatClaim): Promise<Claimed> {
  const left = await client.query({
    name: 'account-leave-line-by-rule',
    text: 'delete from account_waiting where kind = $1 and person_id = $2 and account_user_id is null',
    values: [kind, personId],
  });
  // Whoever stood behind is nearer now.
  if (left.rowCount) await serveLine(client, kind);
  return { assigned: false, why: 'cap', limit: cap ?? 0, ...(left.rowCount ? { left: true } : {}) };
}

/** By hand, for a user without a wish for it. `wait`: into the line where no seat is free, instead of nothing. */
export async function assignByHand(
  client: pg.PoolClient,
  accountUserId: string,
  personId: string | null,
  kind: string,
  wait: boolean,
): Promise<Claimed> {
  const held = await client.query({ ...seatHeld, values: [accountUserId, kind] });
  if (held.rowCount) return { assigned: true, already: true };
  // One place a human: somebody whom a rule brought into the line stands there already.
  const place = { kind, id: personId ?? accountUserId, since: null, accountUserId, rule: 'by hand' };
  const answer = await takeOrStand(client, place, wait);
  if (answer !== 'reached') return answer;
  await give(client, accountUserId, kind, false, null);
  return { assigned: true, already: false };
}

interface Stand {
  kind: string;
  /** Of the person; of the user for one by hand. */
  id: string;
  /** Null: behind everybody who stands there. */
  since: Date | null;
  accountUserId: string | null;
  rule: string;
}

/**
 * `reached`: a free seat is this one's, and the pool is locked until it is given. Else the place in line is taken, where `stands`.
 *
 * Most who come when seats are scarce only stand in line, and those do not wait for each other: they look without a lock, and stand under a shared one,
 * which keeps a seat from being freed between the look and the stand.
 */
async function takeOrStand(client: pg.PoolClient, stand: Stand, stands: boolean): Promise<Claimed | 'reached'> {
  const seen = await look(client, stand, '');
  if (!seen) return { assigned: false, why: 'unknown_kind' };
  if (!seen.isReached) {
    if (seen.isInLine || !stands) return { assigned: false, why: 'pool', bought: seen.bought ?? 0 };
    const still = await look(client, stand, 'for share');
    if (still?.isReached) throw new UsherError('conflict', 'A seat was freed at this moment.');
    await client.query({
      name: 'account-stand-in-line',
      // By hand, the clock of the statement: places follow the order in which they were taken.
      text: `insert into account_waiting (kind, person_id, account_user_id, since, rule)
        values ($1, $2, $3, coalesce($4::timestamptz, date_trunc('milliseconds', clock_timestamp())), $5) on conflict do nothing`,
      values: [stand.kind, stand.id, stand.accountUserId, stand.since, stand.rule],
    });
    return { assigned: false, why: 'pool', bought: seen.bought ?? 0 };
  }
  const locked = await look(client, stand, 'for update');
  if (locked?.isReached) return 'reached';
  // Somebody was quicker: looked at anew, without the lock.
  throw new UsherError('conflict', 'The last free seat was taken at this moment.');
}

async function look(
  client: pg.PoolClient,
  { kind, id, since }: Stand,
  lock: '' | 'for share' | 'for update',
): Promise<{ bought: number | null; isInLine: boolean; isReached: boolean } | null> {
  if (lock)
    await client.query({
      name: `account-pool ${lock}`,
      text: `select 1 from account_pools where kind = $1 ${lock}`,
      values: [kind],
    });
  // A statement of its own, after the lock: it sees what the one before us did. Nobody is counted who can not change the answer.
  const { rows } = await client.query<{ bought: number | null; assigned: number; in_line: boolean; ahead: string }>({
    name: 'account-look-at-line',
    text: `select p.bought, p.assigned, own.since is not null as in_line, case when p.bought is null then 0 else (
        select count(*) from (
          select 1 from account_waiting w where w.kind = $1
            and (coalesce(own.since, $3::timestamptz) is null or (w.since, w.person_id) < (coalesce(own.since, $3::timestamptz), $2::uuid))
            and ${stillInLine} limit greatest(p.bought - p.assigned, 0)) as before) end as ahead
      from account_pools p left join account_waiting own on own.kind = p.kind and own.person_id = $2::uuid where p.kind = $1`,
    values: [kind, id, since],
  });
  const row = rows[0];
  if (!row) return null;
  return {
    bought: row.bought,
    isInLine: row.in_line,
    isReached: row.bought === null || Number(row.ahead) < row.bought - row.assigned,
  };
}

/** Held until they are given back: nobody enables a page on a license that goes. */
export async function lockLicenses(client: pg.PoolClient, accountUserId: string, kinds: string[]): Promise<void> {
  await client.query({
    name: 'account-lock-licenses',
    text: 'select 1 from account_licenses where account_user_id = $1 and kind = any ($2::text[]) order by kind for update',
    values: [accountUserId, kinds],
  });
}

/** Gives the seats back and serves the line; answers the kinds that were given back. Null: all kinds. */
export async function releaseSeats(
  client: pg.PoolClient,
  accountUserId: string,
  kinds: string[] | null,
): Promise<string[]> {
  const held = await client.query<{ kind: string }>(
    'select kind from account_licenses where account_user_id = $1 and ($2::text[] is null or kind = any($2::text[])) order by kind',
    [accountUserId, kinds],
  );
  const freed: string[] = [];
  for (const { kind } of held.rows) {
    // The pool first, as a claim does: two that meet wait for each other in one order.
    await lockPool(client, kind);
    const { rowCount } = await client.query('delete from account_licenses where account_user_id = $1 and kind = $2', [
      accountUserId,
      kind,
    ]);
    if (!rowCount) continue;
    freed.push(kind);
    await serveLine(client, kind);
  }
  return freed;
}

/** Whoever stands in line by hand and is reached by the free seats gets one; a person's own step takes the others. The pool is locked. */
export async function serveLine(client: pg.PoolClient, kind: string): Promise<void> {
  const pool = await lockPool(client, kind);
  if (!pool) return;
  // Null is no limit, to PostgreSQL as to the pool.
  const free = pool.bought === null ? null : pool.bought - pool.assigned;
  if (free !== null && free <= 0) return;
  const { rows } = await client.query<{ account_user_id: string | null }>(
    `select w.account_user_id from account_waiting w where w.kind = $1 and ${stillInLine} order by w.since, w.person_id limit $2`,
    [kind, free],
  );
  for (const { account_user_id: accountUserId } of rows) {
    if (!accountUserId) continue;
    const held = await client.query({ ...seatHeld, values: [accountUserId, kind] });
    if (held.rowCount) {
      await client.query({ ...leaveLine, values: [kind, accountUserId] });
      continue;
    }
    await give(client, accountUserId, kind, false, null);
    const person = await lockPersonBehind(client, accountUserId);
    await writeHistory(
      client,
      person?.personId ?? accountUserId,
      { actor: 'usher', by: 'line' },
      { action: 'account.license_assigned', before: { inLine: true }, after: { kind } },
    );
    // Taken by hand once, waited for by hand again: the rule and its pages have it back, and the steps look.
    if (person) {
      const { [`license:${kind}`]: taken, ...kept } = person.kept;
      if (taken) await enableWithLicense(client, accountUserId, kind);
      await touchPerson(client, person.personId, kept);
    }
  }
}

async function lockPool(
  client: pg.PoolClient,
  kind: string,
): Promise<{ bought: number | null; assigned: number } | null> {
  const { rows } = await client.query<{ bought: number | null; assigned: number }>({
    name: 'account-lock-pool',
    text: 'select bought, assigned from account_pools where kind = $1 for update',
    values: [kind],
  });
  return rows[0] ?? null;
}

async function give(
  client: pg.PoolClient,
  accountUserId: string,
  kind: string,
  givenByUsher: boolean,
  rule: string | null,
): Promise<void> {
  await client.query({
    name: 'account-give-seat',
    text: 'insert into account_licenses (account_user_id, kind, given_by_usher, rule) values ($1, $2, $3, $4)',
    values: [accountUserId, kind, givenByUsher, rule],
  });
  await client.query({ ...leaveLine, values: [kind, accountUserId] });
}

/**
 * The place in the line, counted from one; behind everybody where there is none. For the message: nothing is decided by it, so no lock waits for it, and far
 * behind it is counted without asking who still counts.
 */
export async function placeInLine(
  database: AccountDatabase,
  kind: string,
  waiterId: string,
  since: Date | null,
): Promise<number> {
  const before = `w.kind = $1 and (coalesce(own.since, $3::timestamptz) is null or (w.since, w.person_id) < (coalesce(own.since, $3::timestamptz), $2::uuid))`;
  const own = `(select (select since from account_waiting where kind = $1 and person_id = $2::uuid) as since) as own`;
  const rows = await database.query<{ near: string; far: string }>(
    'account-place',
    `select (select count(*) from (select 1 from account_waiting w, ${own} where ${before} and ${stillInLine} order by w.since, w.person_id limit ${nearPlaces}) as front) as near,
       (select count(*) from account_waiting w, ${own} where ${before}) as far`,
    [kind, waiterId, since],
  );
  const { near = '0', far = '0' } = rows[0] ?? {};
  return (Number(near) < nearPlaces ? Number(near) : Number(far)) + 1;
}

const nearPlaces = 100;

export async function licenseCounts(database: AccountDatabase): Promise<Record<string, LicenseCounts>> {
  // Joined as a whole instead of asked place by place: a line of a hundred thousand is counted in a tenth of a second.
  const rows = await database.list<{ kind: string; bought: number | null; assigned: number; waiting: string }>(
    `select p.kind, p.bought, p.assigned, count(line.kind) as waiting from account_pools p left join (
       select w.kind from account_waiting w join account_users wu on ${waitsByHand}
       union all
       select w.kind from account_waiting w join people pe on ${waitsByRule} where w.account_user_id is null
     ) as line on line.kind = p.kind group by p.kind order by p.kind`,
    [],
  );
  return Object.fromEntries(
    rows.map((row): [string, LicenseCounts] => {
      const counts = { bought: row.bought, assigned: row.assigned, waiting: Number(row.waiting) };
      return [row.kind, { ...counts, reserved: forecast(counts).reserved }];
    }),
  );
}

export async function isSeatFreeFor(database: AccountDatabase, personId: string): Promise<boolean> {
  const rows = await database.query<{ free: boolean }>(
    'account-is-seat-free',
    `select exists (
       select 1 from account_waiting own join account_pools p using (kind)
       where own.person_id = $1 and own.account_user_id is null and (p.bought is null or (select count(*) from (
         select 1 from account_waiting w where w.kind = own.kind and (w.since, w.person_id) < (own.since, own.person_id) and ${stillInLine}
         limit greatest(p.bought - p.assigned, 0)) as before) < p.bought - p.assigned)) as free`,
    [personId],
  );
  return rows[0]?.free ?? false;
}

/** Out of every line that a rule brought somebody into, or of all; whoever stood behind is nearer now. */
export async function leaveLines(client: pg.PoolClient, personId: string, byHandToo: boolean): Promise<void> {
  const { rows } = await client.query<{ kind: string; by_hand: boolean }>({
    name: 'account-leave-lines',
    text: `delete from account_waiting where (person_id = $1 and account_user_id is null)
        or ($2::boolean and account_user_id in (select account_user_id from account_users where person_id = $1))
      returning kind, account_user_id is not null as by_hand`,
    values: [personId, byHandToo],
  });
  for (const { kind, by_hand: byHand } of rows) {
    if (byHand)
      await writeHistory(
        client,
        personId,
        { actor: 'usher', by: 'offboard' },
        { action: 'account.line_left', before: { kind }, after: null },
      );
    await serveLine(client, kind);
  }
}

/** Now and then: places that stopped counting by themselves (somebody left, was suspended, waits for something else) are in nobody's way. */
export async function serveLines(database: AccountDatabase): Promise<void> {
  const kinds = await database.query<{ kind: string }>(
    'account-lines-with-seats',
    `select p.kind from account_pools p where (p.bought is null or p.assigned < p.bought)
       and exists (select 1 from account_waiting w where w.kind = p.kind and w.account_user_id is not null)`,
    [],
  );
  for (const { kind } of kinds) await change(database, (client) => serveLine(client, kind));
}

export interface WaitingRow {
  person_id: string;
  account_user_id: string | null;
  since: Date;
  rule: string;
  name: string | null;
  email: string | null;
  place: string;
}

export function waitingLine(database: AccountDatabase, kind: string, limit: number): Promise<WaitingRow[]> {
  return database.query<WaitingRow>(
    'waiting-line',
    `select w.person_id, w.account_user_id, w.since, w.rule, coalesce(u.name, pe.display_name, pe.user_name) as name, coalesce(u.email, pe.email) as email,
       row_number() over (order by w.since, w.person_id) as place
     from account_waiting w left join account_users u on u.account_user_id = w.account_user_id left join people pe on pe.person_id = w.person_id
     where w.kind = $1 and ${stillInLine} order by w.since, w.person_id limit $2`,
    [kind, limit],
  );
}
