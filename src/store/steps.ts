/** What the workers stand on: claim, settle, rest, and the sweeper's due list. */
import type pg from 'pg';
import { foldAddress } from '../domain/email-address.ts';
import type { Lane } from '../domain/next-steps.ts';
import type { RemovalState } from '../domain/offboard.ts';
import { isUuid, newId } from '../ids.ts';
import type { StepStore } from '../ports.ts';
import { type Named, run, transaction } from './database.ts';
import { knownFrom, type PersonRow } from './rows.ts';

const load: Named = { name: 'load-person', text: 'select * from people where person_id = $1' };

const claims: Record<Lane, Named> = { account: claim('account'), delegation: claim('delegation') };
const settles: Record<Lane, Named> = { account: settle('account'), delegation: settle('delegation') };
const releases: Record<Lane, Named> = { account: release('account'), delegation: release('delegation') };

function claim(lane: Lane): Named {
  return {
    name: `claim-${lane}`,
    text: `
update people set ${lane}_fence = greatest(${lane}_fence, coalesce((select value::bigint from facts where key = 'fence_epoch'), 0)) + 1,
  ${lane}_lease_until = now() + make_interval(secs => $2)
where person_id = $1 and ${lane}_lease_until < now()
returning *, ${lane}_fence as fence`,
  };
}

/** A condition that waits for another is written only over one that is not true: what somebody has is not taken by waiting. */
function over(type: string, parameter: string): string {
  return `case when ${parameter}::jsonb is null or p.conditions -> '${type}' ->> 'status' = 'true' then '{}'::jsonb else jsonb_build_object('${type}', ${parameter}::jsonb) end`;
}

function settle(lane: Lane): Named {
  return {
    name: `settle-${lane}`,
    text: `
with s as (
  update people p set
    (conditions, ready, first_ready_at) = (
      select c, usher_ready(coalesce($10, p.lifecycle), p.generation, c, $6::text[]),
        case when usher_ready(coalesce($10, p.lifecycle), p.generation, c, $6::text[]) then coalesce(p.first_ready_at, now()) else p.first_ready_at end
      from (select p.conditions || $3::jsonb || ${over('License', '$4')} || ${over('BookingPages', '$5')} as c) as x),
    account_user_id = case when $7::boolean then $8::uuid else account_user_id end,
    vendor_user_id = case when $7::boolean then $17 else vendor_user_id end,
    account_user_origin = case when $7::boolean then $9 else account_user_origin end,
    lifecycle = coalesce($10, lifecycle),
    suspended_at = coalesce($11::timestamptz, suspended_at),
    ${lane}_lease_until = '-infinity'
  where person_id = $1 and ${lane}_fence = $2
  returning person_id
), h as (
  insert into history (person_id, actor, cause, action, before, after)
  select s.person_id, $12, $13, $14, $15::jsonb, $16::jsonb from s where $14::text is not null
)
select 1 from s`,
  };
}

function release(lane: Lane): Named {
  return {
    name: `release-${lane}`,
    text: `update people set ${lane}_lease_until = '-infinity' where person_id = $1 and ${lane}_fence = $2`,
  };
}

/** Whoever waits for a new look because of a group keeps the timer that the group's change set. */
const rest: Named = {
  name: 'rest',
  text: `
update people set next_at = case when lifecycle = 'wanted' then least(usher_next_check(conditions, generation, $4), $3::timestamptz) else $3::timestamptz end
where person_id = $1 and generation = $2 and reconsider = 0`,
};

const takeDue: Named = {
  name: 'take-due',
  text: `
update people set next_at = now() + interval '15 seconds'
where person_id in (select person_id from people where next_at <= now() order by next_at limit $1 for update skip locked)
returning *`,
};

const othersWishing: Named = {
  name: 'others-wishing',
  text: `
select p.person_id, name as link_name from unnest($2::text[]) as name
join people p on p.lifecycle = 'wanted' and p.wish -> 'bookingPages' <> '[]' and p.wish -> 'bookingPages' @> to_jsonb(name) and p.person_id <> $1`,
};

const ownersBehind: Named = {
  name: 'people-by-account-user',
  text: `select coalesce(p.vendor_user_id, p.account_user_id::text) as account_user_id, p.person_id, p.lifecycle, p.wish, p.kept, (m.state is not distinct from 'admitted') as removal_admitted
    from people p left join removals m on m.person_id = p.person_id and m.generation = p.generation where p.account_user_id = any($1::uuid[]) or p.vendor_user_id = any($2::text[])`,
};

const noteHandedOver: Named = {
  name: 'note-handed-over',
  text: 'update people set handed_over = handed_over || $2::jsonb where person_id = $1',
};
const forgetHandedOver: Named = {
  name: 'forget-handed-over',
  text: `update people set handed_over = '[]' where person_id = $1 and handed_over <> '[]'`,
};

const personNamed: Named = {
  name: 'person-named',
  text: `
select p.person_id, p.account_user_id from (
  select person_id, 1 as nth from directory_users where source = $1 and resource_id = $3::uuid and deleted_at is null
  union all select person_id, 2 from directory_users where source = $1 and external_id = $2 and deleted_at is null
  union all select person_id, 3 from directory_users where source = $1 and user_name_key = $4 and deleted_at is null
  union all select person_id, 4 from directory_users where source = $1 and addresses[1] = $4 and deleted_at is null
) found join people p using (person_id) order by nth limit 1`,
};

const wakeWaiting: Named = {
  name: 'wake-waiting-for-seats',
  text: `
with line as (select distinct on (w.since, w.person_id) w.person_id from account_waiting w order by w.since, w.person_id limit 200)
update people p set
  conditions = jsonb_set(p.conditions, '{License,nextCheckAt}', to_jsonb(now())),
  next_at = now()
from line
where p.person_id = line.person_id and p.lifecycle = 'wanted' and p.conditions -> 'License' ->> 'reason' = 'no_seats_left'
returning p.person_id`,
};

const removalOf: Named = {
  name: 'removal-of',
  text: 'select state from removals where person_id = $1 and generation = $2',
};

/** Held removals that nobody decides within this time are kept. */
const heldForDays = 7;

export function stepStore(pool: pg.Pool): StepStore {
  return {
    async load(personId) {
      const rows = await run<PersonRow>(pool, load, [personId]);
      return rows[0] ? knownFrom(rows[0]) : null;
    },

    async claim(personId, lane, leaseSeconds) {
      const rows = await run<PersonRow & { fence: string }>(pool, claims[lane], [personId, leaseSeconds]);
      const row = rows[0];
      return row ? { known: knownFrom(row), fence: { personId, lane, number: row.fence } } : null;
    },

    async settle(fence, settlement, cause) {
      const held = (type: string) => settlement.heldBack.find((condition) => condition.type === type) ?? null;
      const { history, person } = settlement;
      const linked = person?.accountUserId !== undefined;
      const rows = await run(pool, settles[fence.lane], [
        fence.personId,
        fence.number,
        JSON.stringify(Object.fromEntries(settlement.conditions.map((condition) => [condition.type, condition]))),
        json(held('License')),
        json(held('BookingPages')),
        settlement.requiredConditions,
        linked,
        person?.accountUserId && isUuid(person.accountUserId) ? person.accountUserId : null,
        person?.accountUserOrigin ?? null,
        person?.lifecycle ?? null,
        person?.suspendedAt ?? null,
        cause.actor,
        cause.by,
        history?.action ?? null,
        json(history?.before),
        json(history?.after),
        person?.accountUserId && !isUuid(person.accountUserId) ? person.accountUserId : null,
      ]);
      return rows.length > 0;
    },

    async recordEffects(personId, entry, cause) {
      await run(
        pool,
        {
          name: 'record-effects',
          text: 'insert into history (person_id, actor, cause, action, before, after) values ($1, $2, $3, $4, $5, $6)',
        },
        [personId, cause.actor, cause.by, entry.action, json(entry.before), json(entry.after)],
      );
    },

    async release(fence) {
      await run(pool, releases[fence.lane], [fence.personId, fence.number]);
    },

    async rest(personId, generation, timer, delegation) {
      await run(pool, rest, [personId, generation, timer, delegation]);
    },

    async recheckProfile(personId) {
      await run(
        pool,
        {
          name: 'recheck-profile',
          text: `update people set conditions = jsonb_set(conditions, '{Profile,nextCheckAt}', to_jsonb(now())), next_at = now() where person_id = $1`,
        },
        [personId],
      );
    },

    async takeDeliveryDue(limit) {
      const rows = await run<{ person_id: string; who: string; key: string }>(
        pool,
        {
          name: 'take-delivery-due',
          text: `select person_id, coalesce(display_name, user_name) as who, wish -> 'mailboxKeys' ->> 0 as key from people
                 where lifecycle = 'wanted' and conditions -> 'Delegation' ->> 'status' = 'true' and wish -> 'mailboxKeys' ->> 0 is not null
                   and coalesce((conditions -> 'Delegation' -> 'evidence' ->> 'deliveryReadAt')::timestamptz, '-infinity') < now() - interval '7 days'
                 limit $1`,
        },
        [limit],
      );
      return rows.map((row) => ({ personId: row.person_id, who: row.who, mailboxKey: row.key }));
    },

    async noteDelivery(personId, note) {
      await run(
        pool,
        {
          name: 'note-delivery',
          text: `update people set conditions = jsonb_set(conditions, '{Delegation,evidence}', coalesce(conditions -> 'Delegation' -> 'evidence', '{}') || $2::jsonb)
                 where person_id = $1 and conditions -> 'Delegation' ->> 'status' = 'true'`,
        },
        [personId, JSON.stringify(note)],
      );
    },

    async takeDue(limit) {
      return (await run<PersonRow>(pool, takeDue, [limit])).map(knownFrom);
    },

    async wakeWaitingForSeats() {
      return (await run<{ person_id: string }>(pool, wakeWaiting, [])).map((row) => row.person_id);
    },

    async othersWishing(personId, linkNames) {
      if (linkNames.length === 0) return [];
      const rows = await run<{ person_id: string; link_name: string }>(pool, othersWishing, [personId, linkNames]);
      return rows.map((row) => ({ personId: row.person_id, linkName: row.link_name }));
    },

    async noteHandedOver(personId, pages) {
      await run(pool, noteHandedOver, [personId, JSON.stringify(pages)]);
    },

    async forgetHandedOver(personId) {
      await run(pool, forgetHandedOver, [personId]);
    },

    async personNamed(source, name) {
      const [row] = await run<{ person_id: string; account_user_id: string | null }>(pool, personNamed, [
        source,
        name,
        isUuid(name) ? name : null,
        foldAddress(name),
      ]);
      return row ? { personId: row.person_id, accountUserId: row.account_user_id } : null;
    },

    async peopleByAccountUser(accountUserIds) {
      const rows = await run<
        Pick<PersonRow, 'person_id' | 'lifecycle' | 'wish' | 'kept'> & {
          account_user_id: string;
          removal_admitted: boolean;
        }
      >(pool, ownersBehind, [accountUserIds.filter(isUuid), accountUserIds.filter((id) => !isUuid(id))]);
      return rows.map((row) => ({
        accountUserId: row.account_user_id,
        personId: row.person_id,
        lifecycle: row.lifecycle,
        bookingPages: row.wish?.bookingPages ?? [],
        // An address that was set by hand does not move away.
        email: row.kept?.email ? null : (row.wish?.email ?? null),
        left:
          row.lifecycle === 'suspended' ||
          row.lifecycle === 'gone' ||
          (row.lifecycle === 'leaving' && row.removal_admitted),
      }));
    },

    async removalOf(personId, generation) {
      const rows = await run<{ state: RemovalState }>(pool, removalOf, [personId, generation]);
      return rows[0]?.state ?? 'none';
    },

    admitRemoval: (person, decide, windowStart, cause) =>
      transaction(pool, async (client) => {
        // One lock for all removals: the count and the admission can not be told apart by anybody else.
        await client.query(`select pg_advisory_xact_lock(hashtextextended('usher/brake', 0))`);
        const known = await client.query<{ state: RemovalState }>(removalOf.text, [person.personId, person.generation]);
        if (known.rows[0]) return known.rows[0].state;
        const source = person.leave?.source ?? person.wish?.source ?? 'unknown';
        const answer = decide(
          await countRemovals(client, source, windowStart),
          await countRemovals(client, null, windowStart),
        );
        const runId = answer.admitted ? null : await openHeldRun(client, source);
        await client.query(
          `insert into removals (person_id, generation, source, state, run_id, cause, admitted_at) values ($1, $2, $3, $4, $5, $6, case when $4 = 'admitted' then now() end)`,
          [
            person.personId,
            person.generation,
            source,
            answer.admitted ? 'admitted' : 'held',
            runId,
            person.leave?.cause ?? 'unknown',
          ],
        );
        await client.query(
          'insert into history (person_id, actor, cause, action, before, after) values ($1, $2, $3, $4, null, $5)',
          [
            person.personId,
            cause.actor,
            cause.by,
            answer.admitted ? 'removal.admitted' : 'removal.held',
            JSON.stringify(answer.admitted ? { source } : { source, runId, limit: answer.limit, scope: answer.scope }),
          ],
        );
        return answer.admitted ? 'admitted' : 'held';
      }),
  };
}

const json = (value: unknown): string | null => (value === null || value === undefined ? null : JSON.stringify(value));

async function countRemovals(
  client: pg.PoolClient,
  source: string | null,
  windowStart: Date,
): Promise<{ admitted: number; base: number }> {
  const { rows } = await client.query<{ admitted: string; base: string }>(
    `select
      (select count(*) from removals where state = 'admitted' and admitted_at > $2 and ($1::text is null or source = $1)) as admitted,
      (select count(*) from people where first_ready_at <= $2 and lifecycle <> 'gone' and ($1::text is null or source = $1)) as base`,
    [source, windowStart],
  );
  return { admitted: Number(rows[0]?.admitted ?? 0), base: Number(rows[0]?.base ?? 0) };
}

async function openHeldRun(client: pg.PoolClient, source: string): Promise<string> {
  const open = await client.query<{ run_id: string }>(
    `select run_id from runs where state = 'held' and kind = 'leavers' and source = $1 and expires_at > now() order by created_at desc limit 1`,
    [source],
  );
  if (open.rows[0]) {
    // Whoever joins has the whole time to be decided.
    await client.query('update runs set expires_at = now() + make_interval(days => $2) where run_id = $1', [
      open.rows[0].run_id,
      heldForDays,
    ]);
    return open.rows[0].run_id;
  }
  const runId = newId();
  await client.query(
    `insert into runs (run_id, kind, state, source, expires_at) values ($1, 'leavers', 'held', $2, now() + make_interval(days => $3))`,
    [runId, source, heldForDays],
  );
  return runId;
}
