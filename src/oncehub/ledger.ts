/**
 * Who was given a seat, by what we know: OnceHub's API tells neither how many were bought nor who has one. The pools are the policy's; a seat is `reserved`
 * while an administrator is asked to assign it, and `held` once something showed it. The line is the one of the built-in account.
 */
import type pg from 'pg';
import { type AccountDatabase, change, fenced } from '../account/database.ts';
import type { SeatAnswer } from '../domain/account.ts';
import type { LicenseCounts, SchedulingAccount } from '../ports.ts';

type Ledger = Pick<
  SchedulingAccount,
  | 'claimSeat'
  | 'noteSeat'
  | 'seatsOf'
  | 'forgetSeats'
  | 'freeSeats'
  | 'isSeatFreeFor'
  | 'leaveWaitingList'
  | 'licenseCounts'
>;

/** Whoever is ahead and waits for nothing but the seat; a place of somebody who no longer does is in nobody's way. */
const ahead = `select count(*) from account_waiting w join people p on p.person_id = w.person_id
  where w.kind = $1 and (w.since, w.person_id) < ($2::timestamptz, $3::uuid)
    and p.lifecycle = 'wanted' and p.wish -> 'licenses' ? w.kind and not p.kept ? ('license:' || w.kind)
    and coalesce(p.conditions -> 'License' ->> 'reason', '') not in ('needs_profile', 'needs_delegation')`;

export function openLedger(database: AccountDatabase): Ledger {
  /** One at a time: the count and what it admits can not be told apart by anybody else. */
  const locked = (client: pg.PoolClient) =>
    client.query(`select pg_advisory_xact_lock(hashtextextended('usher/vendor-seats', 0))`);

  return {
    claimSeat: (claim, fence) =>
      fenced(database, fence, async (client): Promise<SeatAnswer> => {
        await locked(client);
        const mine = await client.query<{ rule: string }>(
          // Another user of the same person: what was seen was seen of the one before.
          `update vendor_seats set rule = $3, account_user_id = $4, state = case when account_user_id = $4 then state else 'reserved' end,
             evidence = case when account_user_id = $4 then evidence end where person_id = $1 and kind = $2 returning 1`,
          [claim.personId, claim.kind, claim.rule, claim.accountUserId],
        );
        if (mine.rowCount) {
          await leave(client, claim.personId, claim.kind);
          return { assigned: true, already: true };
        }
        const pool = await client.query<{ bought: number | null }>('select bought from account_pools where kind = $1', [
          claim.kind,
        ]);
        if (!pool.rows[0]) return { assigned: false, why: 'unknown_kind' };
        const { bought } = pool.rows[0];
        if (claim.cap !== null) {
          const of = await client.query<{ count: string }>(
            'select count(*) from vendor_seats where kind = $1 and rule = $2',
            [claim.kind, claim.rule],
          );
          if (Number(of.rows[0]?.count) >= claim.cap) {
            const left = await leave(client, claim.personId, claim.kind);
            return { assigned: false, why: 'cap', limit: claim.cap, ...(left ? { left: true } : {}) };
          }
        }
        if (bought !== null) {
          const used = await client.query<{ count: string }>('select count(*) from vendor_seats where kind = $1', [
            claim.kind,
          ]);
          const before = await client.query<{ count: string }>(ahead, [claim.kind, claim.since, claim.personId]);
          const place = Number(before.rows[0]?.count) + 1;
          if (Number(used.rows[0]?.count) + place > bought) {
            await client.query(
              `insert into account_waiting (kind, person_id, since, rule) values ($1, $2, $3, $4) on conflict do nothing`,
              [claim.kind, claim.personId, claim.since, claim.rule],
            );
            return { assigned: false, why: 'pool', place, bought };
          }
        }
        await leave(client, claim.personId, claim.kind);
        await client.query(
          `insert into vendor_seats (person_id, kind, account_user_id, rule, state) values ($1, $2, $3, $4, 'reserved')`,
          [claim.personId, claim.kind, claim.accountUserId, claim.rule],
        );
        return { assigned: true, already: false };
      }),

    async noteSeat(seat, fence) {
      await fenced(database, fence, async (client) => {
        await locked(client);
        if (!seat.held) {
          await client.query('delete from vendor_seats where person_id = $1 and kind = $2', [seat.personId, seat.kind]);
          return;
        }
        // A seat that is there is there, also beyond what the policy says was bought.
        await client.query(
          `insert into vendor_seats (person_id, kind, account_user_id, rule, state, evidence) values ($1, $2, $3, $4, 'held', $5)
           on conflict (person_id, kind) do update set account_user_id = $3, rule = $4, state = 'held', evidence = $5, at = now()`,
          [seat.personId, seat.kind, seat.accountUserId, seat.rule, seat.evidence],
        );
        await leave(client, seat.personId, seat.kind);
      });
    },

    async seatsOf(personId) {
      const rows = await database.query<{ kind: string; state: string }>(
        'vendor-seats-of',
        'select kind, state from vendor_seats where person_id = $1 order by kind',
        [personId],
      );
      return rows.map(({ kind, state }) => ({ kind, held: state === 'held' }));
    },

    async forgetSeats(personId, what, fence) {
      await fenced(database, fence, async (client) => {
        await locked(client);
        await client.query(`delete from vendor_seats where person_id = $1 and ($2 = 'all' or state = 'reserved')`, [
          personId,
          what,
        ]);
        await client.query('delete from account_waiting where person_id = $1', [personId]);
      });
    },

    async freeSeats(accountUserId, kinds, fence) {
      await fenced(database, fence, async (client) => {
        await locked(client);
        // What was only asked for goes with it.
        await client.query(
          `delete from vendor_seats where account_user_id = $1 and (kind = any ($2::text[]) or state = 'reserved')`,
          [accountUserId, kinds],
        );
      });
    },

    async isSeatFreeFor(personId) {
      const rows = await database.query<{ free: boolean }>(
        'vendor-seat-free-for',
        `select true as free from account_waiting w join account_pools o on o.kind = w.kind where w.person_id = $1
           and (o.bought is null or (select count(*) from vendor_seats s where s.kind = w.kind)
             + (select count(*) from account_waiting b where b.kind = w.kind and (b.since, b.person_id) < (w.since, w.person_id)) < o.bought) limit 1`,
        [personId],
      );
      return rows.length > 0;
    },

    async leaveWaitingList(personId) {
      const places = await database.query(
        'vendor-in-a-line',
        'select 1 from account_waiting where person_id = $1 limit 1',
        [personId],
      );
      if (places.length > 0)
        await change(database, (client) =>
          client.query('delete from account_waiting where person_id = $1', [personId]),
        );
    },

    async licenseCounts() {
      const rows = await database.query<{
        kind: string;
        bought: number | null;
        held: string;
        reserved: string;
        waiting: string;
      }>(
        'vendor-license-counts',
        `select o.kind, o.bought, count(s.kind) filter (where s.state = 'held') as held, count(s.kind) filter (where s.state = 'reserved') as reserved,
           (select count(*) from account_waiting w where w.kind = o.kind) as waiting
         from account_pools o left join vendor_seats s on s.kind = o.kind group by o.kind, o.bought`,
        [],
      );
      return Object.fromEntries(
        rows.map((row): [string, LicenseCounts] => [
          row.kind,
          {
            bought: row.bought,
            assigned: Number(row.held),
            reserved: Number(row.reserved),
            waiting: Number(row.waiting),
          },
        ]),
      );
    },
  };
}

async function leave(client: pg.PoolClient, personId: string, kind: string): Promise<boolean> {
  const { rowCount } = await client.query('delete from account_waiting where kind = $1 and person_id = $2', [
    kind,
    personId,
  ]);
  return (rowCount ?? 0) > 0;
}

/** The pools as the policy says they were bought. */
export async function syncPools(database: AccountDatabase, pools: Record<string, number | null>): Promise<void> {
  await change(database, async (client) => {
    for (const [kind, bought] of Object.entries(pools))
      await client.query(
        'insert into account_pools (kind, bought, target) values ($1, $2, $2) on conflict (kind) do update set bought = $2, target = $2',
        [kind, bought],
      );
  });
}
