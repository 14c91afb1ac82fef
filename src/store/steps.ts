/** What the workers stand on: claim, settle, rest, and the sweeper's due list. */
import type pg from 'pg';
import { foldAddress } from '../domain/email-address.ts';
import type { Lane } from '../domain/next-steps.ts';
import type { RemovalState } from '../domain/offboard.ts';
import { UsherError } from '../errors.ts';
import { isUuid, newId } from '../ids.ts';
import type { Fence, KnownPerson, StepStore } from '../ports.ts';
import { together } from '../together.ts';
import { type Named, run, transaction } from './database.ts';
import { knownFrom, type PersonRow } from './rows.ts';

const load: Named = { name: 'load-people', text: 'select * from people where person_id = any ($1::uuid[])' };

const claims: Record<Lane, Named> = { account: claim('account'), delegation: claim('delegation') };
const claimsOfMany: Record<Lane, Named> = { account: claimMany('account'), delegation: claimMany('delegation') };
const settles: Record<Lane, Named> = { account: settle('account'), delegation: settle('delegation') };
const releases: Record<Lane, Named> = { account: release('account'), delegation: release('delegation') };

function taken(lane: Lane): string {
  return `${lane}_lease_until = now() + make_interval(secs => $2),
  ${lane}_fence = greatest(${lane}_fence, coalesce((select value::bigint from facts where key = 'fence_epoch'), 0)) + 1`;
}

function claim(lane: Lane): Named {
  return {
    name: `claim-${lane}`,
    text: `
update people p set ${taken(lane)}
where person_id = $1 and ${lane}_lease_until < now()
returning *, ${lane}_fence as fence`,
  };
}

/** Whoever is locked at this moment is left out, and waited for alone. */
function claimMany(lane: Lane): Named {
  return {
    name: `claim-many-${lane}`,
    text: `
with mine as (
  select person_id from people where person_id = any ($1::uuid[]) and ${lane}_lease_until < now() order by person_id for no key update skip locked
)
update people p set ${taken(lane)}
from mine where p.person_id = mine.person_id
returning p.*, p.${lane}_fence as fence`,
  };
}

/** Rows of many are locked in one order, whatever else the statement does: two of them never wait for each other. */
function locked(persons: string): string {
  return `mine as (select person_id from people where person_id in (select ${persons} from x) order by person_id for no key update)`;
}

/** A condition that waits for another is written only over one that is not true: what somebody has is not taken by waiting. */
function over(type: string, waiting: string): string {
  return `case when ${waiting} is null or p.conditions -> '${type}' ->> 'status' = 'true' then '{}'::jsonb else jsonb_build_object('${type}', ${waiting}) end`;
}

/** The settlements of many, each with its history row. What was kept beside the effects is in that row. */
function settle(lane: Lane): Named {
  return {
    name: `settle-${lane}`,
    text: `
with x as (
  select * from jsonb_to_recordset($1::jsonb) as x (person uuid, fence bigint, conditions jsonb, license jsonb, pages jsonb, required text[], linked boolean,
    user_id uuid, vendor_id text, origin text, becomes text, suspended timestamptz, actor text, cause text, action text, before jsonb, after jsonb, told integer)
), ${locked('x.person')}, s as (
  update people p set
    (conditions, ready, first_ready_at) = (
      select c, usher_ready(coalesce(x.becomes, p.lifecycle), p.generation, c, x.required),
        case when usher_ready(coalesce(x.becomes, p.lifecycle), p.generation, c, x.required) then coalesce(p.first_ready_at, now()) else p.first_ready_at end
      from (select p.conditions || x.conditions || ${over('License', 'x.license')} || ${over('BookingPages', 'x.pages')} as c) as y),
    account_user_id = case when x.linked then x.user_id else p.account_user_id end,
    vendor_user_id = case when x.linked then x.vendor_id else p.vendor_user_id end,
    account_user_origin = case when x.linked then x.origin else p.account_user_origin end,
    lifecycle = coalesce(x.becomes, p.lifecycle),
    suspended_at = coalesce(x.suspended, p.suspended_at),
    ${lane === 'account' ? `unrecorded = case when x.told is null or jsonb_array_length(p.unrecorded) <= x.told then '[]'::jsonb else jsonb_path_query_array(p.unrecorded, '$[$told to last]', jsonb_build_object('told', x.told)) end,` : ''}
    ${lane}_lease_until = '-infinity'
  from x join mine on mine.person_id = x.person where p.person_id = x.person and p.${lane}_fence = x.fence
  returning p.*, x.actor, x.cause, x.action, x.before, x.after
), h as (
  insert into history (person_id, actor, cause, action, before, after)
  select s.person_id, s.actor, s.cause, s.action, s.before, s.after from s where s.action is not null
)
select * from s`,
  };
}

function release(lane: Lane): Named {
  return {
    name: `release-${lane}`,
    text: `update people set ${lane}_lease_until = '-infinity' where person_id = $1 and ${lane}_fence = $2`,
  };
}

/** Whoever waits for a new look because of a group keeps the timer that the group's change set. A timer that stays is not written: the index on it costs. */
const nextLook = `case when p.lifecycle = 'wanted' then least(usher_next_check(p.conditions, p.generation, x.delegation), x.timer) else x.timer end`;
const rest: Named = {
  name: 'rest',
  // Of the row as it is when it is written, not as it was when the statement began: somebody may have set it while this waited for the row.
  text: `
with x as (select * from jsonb_to_recordset($1::jsonb) as x (person uuid, generation bigint, timer timestamptz, delegation text)),
${locked('x.person')}
update people p set next_at = ${nextLook}
from x join mine on mine.person_id = x.person
where p.person_id = x.person and p.generation = x.generation and p.reconsider = 0 and p.next_at is distinct from ${nextLook}`,
};

const takeDue: Named = {
  name: 'take-due',
  text: `
update people set next_at = now() + interval '15 seconds'
where person_id in (select person_id from people where next_at <= now() order by next_at limit $1 for update skip locked)
returning *`,
};

const wishingFor: Named = {
  name: 'people-wishing-pages',
  text: `
select person_id, link_name from (
  select person_id, jsonb_array_elements_text(wish -> 'bookingPages') as link_name from people
  where lifecycle = 'wanted' and wish -> 'bookingPages' <> '[]' and wish -> 'bookingPages' ?| $1::text[]
) as wished where link_name = any ($1::text[])`,
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

const isAway = (error: unknown): boolean => error instanceof UsherError && error.code === 'database_unavailable';

const knownOr = (row: PersonRow | undefined): KnownPerson | null => (row ? knownFrom(row) : null);

/** Held removals that nobody decides within this time are kept. */
const heldForDays = 7;

export function stepStore(pool: pg.Pool): StepStore {
  const loading = together<string, KnownPerson | null>({
    all: async (ids) => {
      const rows = await run<PersonRow>(pool, load, [ids]);
      const found = new Map(rows.map((row) => [row.person_id, row]));
      return ids.map((id) => knownOr(found.get(id)));
    },
  });

  type Claimed = Awaited<ReturnType<StepStore['claim']>>;
  type ClaimedRow = PersonRow & { fence: string };
  const claimedFrom = (row: ClaimedRow | undefined, lane: Lane): Claimed =>
    row ? { known: knownFrom(row), fence: { personId: row.person_id, lane, number: row.fence } } : null;
  const claiming = (lane: Lane) => {
    const alone = async ({ personId, seconds }: { personId: string; seconds: number }): Promise<Claimed> =>
      claimedFrom((await run<ClaimedRow>(pool, claims[lane], [personId, seconds]))[0], lane);
    const gathered = together<{ personId: string; seconds: number }, Claimed | 'locked'>({
      all: async (asked) => {
        const seconds = Math.max(...asked.map((one) => one.seconds));
        const rows = await run<ClaimedRow>(pool, claimsOfMany[lane], [asked.map((one) => one.personId), seconds]);
        const mine = new Map(rows.map((row) => [row.person_id, row]));
        return asked.map((one) => {
          const row = mine.get(one.personId);
          // Of two that ask for the same person, one has the lease.
          mine.delete(one.personId);
          return row ? claimedFrom(row, lane) : 'locked';
        });
      },
    });
    // Whoever is waited for keeps nobody else waiting.
    return async (one: { personId: string; seconds: number }): Promise<Claimed> => {
      const claim = await gathered(one);
      return claim === 'locked' ? alone(one) : claim;
    };
  };
  const claimingBy: Record<Lane, ReturnType<typeof claiming>> = {
    account: claiming('account'),
    delegation: claiming('delegation'),
  };

  interface Settling {
    fence: Fence;
    values: Record<string, unknown>;
  }
  const settling = (lane: Lane) => {
    const all = async (list: readonly Settling[]): Promise<(KnownPerson | null)[]> => {
      // Nobody is settled twice in one statement: of two fences of one person, one is stale.
      const rows = await run<PersonRow>(pool, settles[lane], [JSON.stringify(list.map((one) => one.values))]);
      const settled = new Map(rows.map((row) => [row.person_id, row]));
      return list.map(({ fence }) => knownOr(settled.get(fence.personId)));
    };
    const alone = async (one: Settling): Promise<KnownPerson | null> => (await all([one]))[0] ?? null;
    return together<Settling, KnownPerson | null>({
      alone,
      isUnknown: isAway,
      all: (list) =>
        new Set(list.map(({ fence }) => fence.personId)).size === list.length
          ? all(list)
          : Promise.all(list.map(alone)),
    });
  };
  const settlingBy: Record<Lane, ReturnType<typeof settling>> = {
    account: settling('account'),
    delegation: settling('delegation'),
  };

  const resting = together<{ person: string; generation: number; timer: Date | null; delegation: string }, null>({
    alone: async (one) => {
      await run(pool, rest, [JSON.stringify([one])]);
      return null;
    },
    all: async (list) => {
      const distinct = new Map(list.map((one) => [`${one.person} ${one.generation}`, one]));
      await run(pool, rest, [JSON.stringify([...distinct.values()])]);
      return list.map(() => null);
    },
  });

  const wishing = together<string, { personId: string; linkName: string }[]>({
    all: async (names) => {
      const rows = await run<{ person_id: string; link_name: string }>(pool, wishingFor, [names]);
      const wishes = rows.map((row) => ({ personId: row.person_id, linkName: row.link_name }));
      const by = new Map<string, typeof wishes>();
      for (const wish of wishes) by.set(wish.linkName, [...(by.get(wish.linkName) ?? []), wish]);
      return names.map((name) => by.get(name) ?? []);
    },
  });

  return {
    load: (personId) => loading(personId),

    claim: (personId, lane, leaseSeconds) => claimingBy[lane]({ personId, seconds: leaseSeconds }),

    settle: (fence, settlement, cause) => {
      const held = (type: string) => settlement.heldBack.find((condition) => condition.type === type) ?? null;
      const { history, person } = settlement;
      const id = person?.accountUserId ?? null;
      return settlingBy[fence.lane]({
        fence,
        values: {
          person: fence.personId,
          fence: fence.number,
          conditions: Object.fromEntries(settlement.conditions.map((condition) => [condition.type, condition])),
          license: held('License'),
          pages: held('BookingPages'),
          required: settlement.requiredConditions,
          linked: person?.accountUserId !== undefined,
          user_id: id && isUuid(id) ? id : null,
          vendor_id: id && !isUuid(id) ? id : null,
          origin: person?.accountUserOrigin ?? null,
          becomes: person?.lifecycle ?? null,
          suspended: person?.suspendedAt ?? null,
          actor: cause.actor,
          cause: cause.by,
          action: history?.action ?? null,
          before: history?.before ?? null,
          after: history?.after ?? null,
          told: settlement.told ?? null,
        },
      });
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
      await resting({ person: personId, generation, timer, delegation });
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
      const wishes = await Promise.all(linkNames.map((name) => wishing(name)));
      return wishes.flat().filter((other) => other.personId !== personId);
    },

    async noteHandedOver(personId, pages) {
      await run(pool, noteHandedOver, [personId, JSON.stringify(pages)]);
    },

    async noteTakenSeats(personId, kinds) {
      await run(pool, { name: 'note-taken-seats', text: 'update people set taken_seats = $2 where person_id = $1' }, [
        personId,
        kinds,
      ]);
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
