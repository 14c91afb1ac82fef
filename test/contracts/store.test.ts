/** One suite for the store, on the embedded and on a server PostgreSQL. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { admitRemoval } from '../../src/domain/brake.ts';
import type { Candidate } from '../../src/domain/correlate.ts';
import type { DirectoryUser } from '../../src/domain/person.ts';
import type { Cause, CreateDecision, PersonChange, Store } from '../../src/ports.ts';
import { type Database, openDatabase } from '../../src/store/database.ts';
import { migrate } from '../../src/store/migrate.ts';
import { openStore } from '../../src/store/store.ts';
import { backendNames, freshDatabase } from '../ground/databases.ts';
import { aDirectoryUser, aPolicy, aWish, itIsTrue, theConditions } from '../ground/examples.ts';
import { someId } from '../ground/usher.ts';

const cause: Cause = { actor: 'test', by: 'test' };
const required = ['Profile', 'Delegation', 'License', 'BookingPages'];
let counter = 0;

describe.each(backendNames)('the store on %s', (backend) => {
  let database: Database;
  let store: Store;
  let drop: () => Promise<void>;
  let url: string;

  beforeAll(async () => {
    ({ url, drop } = await freshDatabase(backend));
    await Promise.all([migrate(url), migrate(url), migrate(url)]);
    database = openDatabase(url, { max: 10, onError: () => undefined });
    store = openStore(database);
    await store.syncSources([
      { name: 'scim', kind: 'scim' },
      { name: 'graph', kind: 'graph' },
    ]);
  });
  afterAll(async () => {
    await store.close();
    await drop();
  });

  const someUser = (more: Partial<DirectoryUser> = {}): DirectoryUser => {
    counter += 1;
    const address = `person${counter}@contoso.com`;
    return aDirectoryUser({
      resourceId: someId(),
      externalId: `e${counter}`,
      userName: address,
      email: address,
      addresses: [address],
      ...more,
    });
  };
  const change = (user: DirectoryUser, more: Partial<PersonChange> = {}): PersonChange => ({
    lifecycle: 'wanted',
    wish: aWish({ userName: user.userName, email: user.email, bookingPages: [] }),
    leave: null,
    newGeneration: false,
    samePerson: false,
    shown: {
      source: user.source,
      externalId: user.externalId,
      userName: user.userName,
      displayName: user.displayName,
      email: user.email,
      active: user.active,
    },
    ...more,
  });
  const create = async (more: Partial<DirectoryUser> = {}) => {
    const user = someUser(more);
    const stored = await store.createUnknown(
      { user, resource: { userName: user.userName } },
      someId(),
      change(user),
      cause,
      user.addresses,
      'none',
    );
    if (!stored) throw new Error('somebody alike was found');
    return { user, stored };
  };
  const settlement = { conditions: [], heldBack: [], history: null, requiredConditions: required };

  test('was brought up to date once by three that started together', async () => {
    expect((await migrate(url)).applied).toEqual([]);
    const { rows } = await database.pool.query('select name from kysely_migration order by name');
    expect(rows.length).toBeGreaterThanOrEqual(2);
  });

  test('a newer schema than the code is refused', async () => {
    const other = await freshDatabase(backend);
    await migrate(other.url);
    const newer = openDatabase(other.url, { onError: () => undefined });
    await newer.pool.query(
      `insert into kysely_migration (name, timestamp) values ('9999-from-the-future', '2030-01-01')`,
    );
    await newer.close();
    await expect(migrate(other.url)).rejects.toThrow('newer Usher');
    await other.drop();
  });

  test('a create writes user, person, four conditions and one history row together', async () => {
    const { stored, user } = await create();
    const known = await store.load(stored.personId);
    expect(known?.person).toMatchObject({ lifecycle: 'wanted', generation: 1 });
    expect(Object.values(known?.conditions ?? {}).map((condition) => condition.reason)).toEqual(
      Array(4).fill('not_checked_yet'),
    );
    expect(await store.history(stored.personId, 10, null)).toHaveLength(1);
    expect(await store.findUser('scim', stored.resourceId)).toMatchObject({ userName: user.userName, version: 1 });
    expect(await store.findUser('graph', stored.resourceId)).toBeNull();
  });

  test('a create reads no more of a full source than of an empty one, whatever the planner knows', async () => {
    const other = await freshDatabase(backend);
    await migrate(other.url);
    const fresh = openDatabase(other.url, { max: 2, onError: () => undefined });
    const freshStore = openStore(fresh);
    const many = async (count: number): Promise<void> => {
      for (let each = 0; each < count; each++) {
        const user = someUser();
        await freshStore.createUnknown(
          { user, resource: { userName: user.userName } },
          someId(),
          change(user),
          cause,
          user.addresses,
          'none',
        );
      }
    };
    await many(300);
    // A session tells what it counted with the first statement after a second.
    await new Promise((resolve) => setTimeout(resolve, 1100));
    await many(8);
    const { rows } = await fresh.lists.query<{ read: string }>(
      `select (select sum(seq_tup_read) from pg_stat_user_tables where relname = 'directory_users')
            + (select sum(idx_tup_read) from pg_stat_user_indexes where relname = 'directory_users') as read`,
    );
    expect(Number(rows[0]?.read)).toBeLessThan(600);
    await freshStore.close();
    await other.drop();
  });

  test('the places of every so-manieth user are those that the pages begin behind', async () => {
    const places = await store.userPlaces('scim', 2);
    const { items, total } = await store.findUsers('scim', { filter: null, sort: null, offset: 0, limit: 200 });
    expect(places).toHaveLength(Math.floor(total / 2));
    expect(places.map((place) => place.id)).toEqual(
      items.filter((_item, index) => index % 2 === 1).map((item) => item.resourceId),
    );
    const behind = await store.findUsers('scim', {
      filter: null,
      sort: null,
      offset: 1,
      limit: 1,
      after: places[0] ?? null,
    });
    expect(behind.items[0]?.resourceId).toBe(items[3]?.resourceId);
  });

  test('the short way in gives way where somebody could be the same human', async () => {
    const { user } = await create();
    const alike = someUser({ source: 'graph', addresses: user.addresses });
    expect(
      await store.createUnknown(
        { user: alike, resource: {} },
        someId(),
        change(alike),
        cause,
        alike.addresses,
        'locked',
      ),
    ).toBeNull();
  });

  test('two sources that send one human at once end as one person', async () => {
    const address = 'twice@contoso.com';
    const send = (source: string) => {
      const user = someUser({ source, userName: address, addresses: [address] });
      return store.createCorrelated(
        { user, resource: {} },
        async (candidates: Candidate[], load): Promise<CreateDecision> => {
          const personId = candidates[0]?.personId;
          const known = personId ? await load(personId) : null;
          return known
            ? {
                kind: 'attach',
                personId: known.person.personId,
                generation: known.person.generation,
                change: change(user),
              }
            : { kind: 'new', personId: someId(), change: change(user), ambiguousWith: [] };
        },
        cause,
      );
    };
    const [first, second] = await Promise.all([send('scim'), send('graph')]);
    expect(first.personId).toBe(second.personId);
  });

  test('a stale version or generation writes nothing of the change', async () => {
    const { stored, user } = await create();
    const write = { user: { ...user, displayName: 'Changed' }, resource: { changed: true } };
    const difference = { before: null, after: null };
    expect(
      await store.updateUser(
        { resourceId: stored.resourceId, version: 9, personId: stored.personId, generation: 1 },
        write,
        change(user),
        difference,
        cause,
      ),
    ).toBeNull();
    expect(
      await store.updateUser(
        { resourceId: stored.resourceId, version: 1, personId: stored.personId, generation: 9 },
        write,
        change(user),
        difference,
        cause,
      ),
    ).toBeNull();
    expect(await store.findUser('scim', stored.resourceId)).toMatchObject({
      version: 1,
      resource: { userName: user.userName },
    });
    expect(await store.history(stored.personId, 10, null)).toHaveLength(1);
    const written = await store.updateUser(
      { resourceId: stored.resourceId, version: 1, personId: stored.personId, generation: 1 },
      write,
      change(user, { newGeneration: true }),
      difference,
      cause,
    );
    expect(written).toMatchObject({ version: 2 });
    expect((await store.load(stored.personId))?.person.generation).toBe(2);
  });

  test('a user who turns active again speaks from then on, also when nothing changes for the person', async () => {
    const { stored, user } = await create();
    const since = async () => (await store.withSources(stored.personId))?.users[0]?.activeSince.getTime() ?? 0;
    const write = (version: number, active: boolean) =>
      store.updateUser(
        { resourceId: stored.resourceId, version, personId: stored.personId, generation: 1 },
        { user: { ...user, active }, resource: {} },
        change(user, { samePerson: true }),
        { before: null, after: null },
        cause,
      );
    const first = await since();
    await write(1, false);
    expect(await since()).toBe(first);
    await write(2, true);
    expect(await since()).toBeGreaterThan(first);
  });

  test('one holder a lane; a later claim raises the fence, and a stale fence settles nothing', async () => {
    const { stored } = await create();
    const first = await store.claim(stored.personId, 'account', 0.2);
    expect(await store.claim(stored.personId, 'account', 30)).toBeNull();
    expect(await store.claim(stored.personId, 'delegation', 30)).not.toBeNull();
    await new Promise((resolve) => setTimeout(resolve, 300));
    const second = await store.claim(stored.personId, 'account', 30);
    if (!first || !second) throw new Error('no claim');
    expect(Number(second.fence.number)).toBeGreaterThan(Number(first.fence.number));
    const history = { action: 'late', before: null, after: null };
    expect(await store.settle(first.fence, { ...settlement, history }, cause)).toBeNull();
    expect(await store.settle(second.fence, { ...settlement, history }, cause)).not.toBeNull();
    expect((await store.history(stored.personId, 10, null)).filter((row) => row.action === 'late')).toHaveLength(1);
  });

  test('many who are claimed and settled at the same moment each have one holder and one history row; a stale one among them settles nothing', async () => {
    const people = await Promise.all(Array.from({ length: 20 }, async () => (await create()).stored.personId));
    const claims = await Promise.all([...people, ...people].map((personId) => store.claim(personId, 'account', 30)));
    const fences = claims.flatMap((claimed) => claimed?.fence ?? []);
    expect(fences.map((fence) => fence.personId).sort()).toEqual([...people].sort());
    const [stale] = fences;
    if (!stale) throw new Error('no claim');
    await database.pool.query('update people set account_fence = account_fence + 1 where person_id = $1', [
      stale.personId,
    ]);
    const settled = await Promise.all(
      fences.map((fence) =>
        store.settle(
          fence,
          { ...settlement, history: { action: `settled ${fence.personId}`, before: null, after: null } },
          cause,
        ),
      ),
    );
    expect(settled.map((known) => known?.person.personId ?? null)).toEqual(
      fences.map((fence) => (fence === stale ? null : fence.personId)),
    );
    for (const { personId } of fences)
      expect(
        (await store.history(personId, 10, null)).filter((row) => row.action === `settled ${personId}`),
      ).toHaveLength(personId === stale.personId ? 0 : 1);
  });

  test('whoever waits for a locked person keeps nobody else waiting', async () => {
    const people = await Promise.all(Array.from({ length: 4 }, async () => (await create()).stored.personId));
    const [locked = '', ...others] = people;
    const client = await database.pool.connect();
    try {
      await client.query('begin');
      await client.query('select 1 from people where person_id = $1 for update', [locked]);
      const waiting = store.claim(locked, 'account', 30);
      const claims = await Promise.all(others.map((personId) => store.claim(personId, 'account', 30)));
      expect(claims.map((claimed) => claimed?.known.person.personId)).toEqual(others);
      await client.query('commit');
      expect((await waiting)?.known.person.personId).toBe(locked);
    } finally {
      client.release();
    }
  });

  test('a settlement whose answer was lost is not written again: of each there is one history row', async () => {
    const people = await Promise.all(Array.from({ length: 3 }, async () => (await create()).stored.personId));
    const fences = (await Promise.all(people.map((personId) => store.claim(personId, 'account', 30)))).flatMap(
      (claimed) => claimed?.fence ?? [],
    );
    const { pool } = database;
    const query = pool.query.bind(pool) as (...args: unknown[]) => Promise<unknown>;
    Object.assign(pool, {
      query: async (...args: unknown[]) => {
        const answer = await query(...args);
        if ((args[0] as { name?: string }).name === 'settle-account')
          throw new Error('Connection terminated unexpectedly');
        return answer;
      },
    });
    const history = { action: 'settled once', before: null, after: null };
    const outcomes = await Promise.allSettled(
      fences.map((fence) => store.settle(fence, { ...settlement, history }, cause)),
    );
    Object.assign(pool, { query });
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
    for (const personId of people)
      expect((await store.history(personId, 10, null)).filter(({ action }) => action === 'settled once')).toHaveLength(
        1,
      );
  });

  test('a timer that somebody sets while another is being set stays', async () => {
    const { stored } = await create();
    const { personId } = stored;
    await database.pool.query(
      `update people set conditions = (select jsonb_object_agg(key, value || '{"status":"true","reason":null,"nextCheckAt":null,"checkedAt":"2026-01-01T00:00:00Z"}') from jsonb_each(conditions))
       where person_id = $1`,
      [personId],
    );
    const client = await database.pool.connect();
    try {
      await client.query('begin');
      await client.query(
        `update people set conditions = jsonb_set(conditions, '{Profile,nextCheckAt}', to_jsonb(now())), next_at = now() where person_id = $1`,
        [personId],
      );
      const resting = store.rest(personId, 1, null, 'ignored');
      await new Promise((resolve) => setTimeout(resolve, 200));
      await client.query('commit');
      await resting;
    } finally {
      client.release();
    }
    const { rows } = await database.pool.query('select next_at from people where person_id = $1', [personId]);
    expect(rows[0].next_at).not.toBeNull();
  });

  test('a day has one count of who was wanted and who Ready, the latest', async () => {
    await store.noteReadiness();
    const before = await store.readinessByDay(30);
    expect(before).toHaveLength(1);
    await create();
    await store.noteReadiness();
    const [today] = await store.readinessByDay(30);
    expect(await store.readinessByDay(30)).toHaveLength(1);
    expect(today?.people).toBe((before[0]?.people ?? 0) + 1);
    expect(today?.day).toMatch(/^\d{4}-\d{2}-\d{2}$/);
    // What was written down of a day stays; the day that goes on is as it is now.
    await database.pool.query('update readiness set day = day - 1');
    await create();
    const days = await store.readinessByDay(30);
    expect(days.map(({ people }) => people)).toEqual([today?.people, (today?.people ?? 0) + 1]);
  });

  test('what was done and not told is kept until a settlement tells it; what came after the telling stays', async () => {
    const { stored } = await create();
    const did = (action: string) => JSON.stringify([{ action, before: null, after: null }]);
    const keep = (action: string) =>
      database.pool.query('update people set unrecorded = unrecorded || $2::jsonb where person_id = $1', [
        stored.personId,
        did(action),
      ]);
    await keep('one');
    await keep('two');
    const claimed = await store.claim(stored.personId, 'account', 30);
    expect(claimed?.known.unrecorded.map((entry) => entry.action)).toEqual(['one', 'two']);
    await keep('three');
    if (!claimed) throw new Error('no claim');
    await store.settle(claimed.fence, { ...settlement, told: 2 }, cause);
    const next = await store.claim(stored.personId, 'account', 30);
    expect(next?.known.unrecorded.map((entry) => entry.action)).toEqual(['three']);
    const other = await store.claim(stored.personId, 'delegation', 30);
    if (!next || !other) throw new Error('no claim');
    // The other lane tells nothing of this one.
    await store.settle(other.fence, settlement, cause);
    expect((await store.load(stored.personId))?.unrecorded).toHaveLength(1);
    await store.settle(next.fence, settlement, cause);
    expect((await store.load(stored.personId))?.unrecorded).toEqual([]);
  });

  test('of many newcomers at once those whom somebody else could be are left out, and nothing of them is written', async () => {
    const { user: known } = await create();
    const fresh = Array.from({ length: 5 }, () => someUser({ source: 'graph' }));
    const sameAddress = someUser({ source: 'graph', addresses: known.addresses });
    const twin = someUser({ source: 'graph', addresses: fresh[0]?.addresses ?? [] });
    const strangers = [...fresh, sameAddress, twin].map((user) => ({
      user,
      resource: { userName: user.userName },
      personId: someId(),
      change: change(user),
    }));
    const made = await store.createStrangers('graph', strangers, cause);
    expect([...made].sort()).toEqual(fresh.map((user) => user.resourceId).sort());
    expect(await store.findUser('graph', sameAddress.resourceId)).toBeNull();
    expect(await store.findUser('graph', twin.resourceId)).toBeNull();
    for (const { personId, user } of strangers.slice(0, 5)) {
      expect((await store.load(personId))?.person.lifecycle).toBe('wanted');
      expect((await store.history(personId, 10, null)).map((row) => row.action)).toEqual(['user.received']);
      expect(await store.findUser('graph', user.resourceId)).toMatchObject({ personId });
    }
  });

  test('a change of lifecycle takes the lane away: what was decided before it settles nothing', async () => {
    const { stored, user } = await create();
    const claimed = await store.claim(stored.personId, 'account', 30);
    if (!claimed) throw new Error('no claim');
    const expected = { resourceId: stored.resourceId, version: 1, personId: stored.personId, generation: 1 };
    const leaving = change(user, {
      lifecycle: 'leaving',
      leave: { cause: 'inactive', source: 'scim', witness: 'explicit_request' },
      newGeneration: true,
    });
    await store.updateUser(expected, { user, resource: {} }, leaving, { before: null, after: null }, cause);
    expect(await store.settle(claimed.fence, { ...settlement, person: { lifecycle: 'suspended' } }, cause)).toBeNull();
    expect((await store.load(stored.personId))?.person.lifecycle).toBe('leaving');
    expect(await store.claim(stored.personId, 'account', 30)).not.toBeNull();
  });

  test('a timer never sleeps over a newer wish, and never wakes for what only waits', async () => {
    const { stored } = await create();
    const claimed = await store.claim(stored.personId, 'account', 30);
    if (!claimed) throw new Error('no claim');
    const tomorrow = new Date(Date.now() + 86_400_000);
    const of = (generation: number) => ({ ...itIsTrue, checkedAt: new Date(), nextCheckAt: tomorrow, generation });
    const conditions = theConditions({
      Profile: of(1),
      Delegation: { status: 'false', reason: 'not_delegated', checkedAt: new Date(), nextCheckAt: tomorrow },
    });
    await store.settle(
      claimed.fence,
      { ...settlement, conditions: [conditions.Profile, conditions.Delegation] },
      cause,
    );
    const nextAt = async () =>
      (await database.pool.query('select next_at from people where person_id = $1', [stored.personId])).rows[0]
        .next_at as Date;
    await store.rest(stored.personId, 1, null, 'required');
    expect((await nextAt()).getTime()).toBeGreaterThan(Date.now() + 80_000_000);
    await database.pool.query('update people set generation = 2 where person_id = $1', [stored.personId]);
    await store.rest(stored.personId, 2, null, 'required');
    expect((await nextAt()).getTime()).toBeLessThan(Date.now() + 10_000);
  });

  test('a timer never sleeps over a change of groups that nobody looked at yet', async () => {
    const { stored } = await create();
    await database.pool.query('update people set reconsider = 1, next_at = now() where person_id = $1', [
      stored.personId,
    ]);
    await store.rest(stored.personId, 1, new Date(Date.now() + 86_400_000), 'required');
    const { rows } = await database.pool.query('select next_at <= now() as due from people where person_id = $1', [
      stored.personId,
    ]);
    expect(rows[0].due).toBe(true);
  });

  test('two lanes that settle side by side miss nothing of each other, and Ready follows', async () => {
    const { stored } = await create();
    const conditions = theConditions({
      Profile: itIsTrue,
      Delegation: itIsTrue,
      License: itIsTrue,
      BookingPages: itIsTrue,
    });
    const [account, delegation] = await Promise.all([
      store.claim(stored.personId, 'account', 30),
      store.claim(stored.personId, 'delegation', 30),
    ]);
    if (!account || !delegation) throw new Error('no claim');
    await Promise.all([
      store.settle(
        account.fence,
        { ...settlement, conditions: [conditions.Profile, conditions.License, conditions.BookingPages] },
        cause,
      ),
      store.settle(delegation.fence, { ...settlement, conditions: [conditions.Delegation] }, cause),
    ]);
    expect((await store.load(stored.personId))?.ready).toBe(true);
  });

  test('what waits is written only over what is not true', async () => {
    const { stored } = await create();
    const conditions = theConditions({ License: itIsTrue });
    const waiting = theConditions({
      License: { status: 'false', reason: 'needs_delegation' },
      BookingPages: { status: 'false', reason: 'needs_license' },
    });
    const claimed = await store.claim(stored.personId, 'account', 30);
    if (!claimed) throw new Error('no claim');
    await store.settle(claimed.fence, { ...settlement, conditions: [conditions.License] }, cause);
    const again = await store.claim(stored.personId, 'delegation', 30);
    if (!again) throw new Error('no claim');
    await store.settle(again.fence, { ...settlement, heldBack: [waiting.License, waiting.BookingPages] }, cause);
    const known = await store.load(stored.personId);
    expect([known?.conditions.License.status, known?.conditions.BookingPages.reason]).toEqual([
      'true',
      'needs_license',
    ]);
  });

  test('the due list gives each person to one sweeper, and not again at once', async () => {
    const { stored } = await create();
    await database.pool.query(
      `update people set next_at = case when person_id = $1 then now() - interval '1 second' end`,
      [stored.personId],
    );
    const taken = await Promise.all([store.takeDue(10), store.takeDue(10), store.takeDue(10)]);
    expect(taken.flat().map((known) => known.person.personId)).toEqual([stored.personId]);
  });

  test('the brake counts and admits under one lock: never more than the limit, however many ask at once', async () => {
    const people = await Promise.all(Array.from({ length: 8 }, () => create()));
    const policy = aPolicy();
    const states = await Promise.all(
      people.map(async ({ stored }) => {
        const known = await store.load(stored.personId);
        if (!known) throw new Error('nobody');
        return store.admitRemoval(
          { ...known.person, leave: { cause: 'deleted', source: 'scim', witness: 'explicit_request' } },
          (ofSource, total) => admitRemoval(ofSource, total, policy.brake),
          new Date(Date.now() - 86_400_000),
          cause,
        );
      }),
    );
    expect(states.filter((state) => state === 'admitted')).toHaveLength(3);
    expect(states.filter((state) => state === 'held')).toHaveLength(5);
    const runs = (await store.runs()).filter((run) => run.state === 'held');
    expect(runs).toHaveLength(1);
    expect(await store.decideRun(runs[0]?.runId ?? '', 'keep', {}, 'somebody')).toBe(5);
  });

  test('people are listed in pages that neither repeat nor skip, and filters say how many there are', async () => {
    const everybody = await store.people({ limit: 500 });
    const seen: string[] = [];
    for (let cursor: string | undefined; ; ) {
      const page = await store.people({ limit: 3, ...(cursor ? { cursor } : {}) });
      seen.push(...page.items.map((person) => person.known.person.personId));
      if (!page.nextCursor) break;
      cursor = page.nextCursor;
    }
    expect(seen).toEqual(everybody.items.map((person) => person.known.person.personId));
    expect(new Set(seen).size).toBe(everybody.total);
    expect((await store.people({ limit: 1, reason: 'needs_license', condition: 'BookingPages' })).total).toBe(1);
    expect((await store.people({ limit: 10, filter: '100%' })).total).toBe(0);
    await expect(store.people({ limit: 1, cursor: 'garbage' })).rejects.toMatchObject({ code: 'invalid_value' });
  });

  test('a token that a setting gives lives while the setting names it, also after it named another', async () => {
    const setting = (hash: string) =>
      store.addToken({
        kind: 'admin',
        source: null,
        label: 'USHER_ADMIN_TOKEN',
        hash: hash.repeat(64),
        expiresAt: null,
        fixed: true,
      });
    const live = async () =>
      (await store.liveTokens()).filter((token) => token.kind === 'admin').map((token) => token.hash[0]);
    await setting('1');
    await setting('2');
    expect(await live()).toEqual(['2']);
    await setting('1');
    expect(await live()).toEqual(['1']);
    await store.retireSettingTokens(['USHER_ADMIN_TOKEN']);
    expect(await live()).toEqual([]);
  });

  test('two tokens may be live per source; a revoked one is no more', async () => {
    const token = (hash: string) =>
      store.addToken({ kind: 'scim', source: 'graph', label: '', hash: hash.repeat(64).slice(0, 64), expiresAt: null });
    const first = await token('a');
    await token('b');
    await expect(token('c')).rejects.toMatchObject({ code: 'too_many' });
    expect(await store.revokeToken(first.tokenId)).toBe(true);
    expect(await store.revokeToken(first.tokenId)).toBe(false);
    await token('c');
    expect((await store.liveTokens()).filter((entry) => entry.source === 'graph')).toHaveLength(2);
  });
});
