/** A worker that dies between what it did to the account and what it would have written of it. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { openBuiltinAccount } from '../../src/account/builtin.ts';
import { parsePolicy } from '../../src/config.ts';
import { openLog } from '../../src/log.ts';
import { openMetrics } from '../../src/metrics.ts';
import type { StepStore, Store } from '../../src/ports.ts';
import { type Database, list, openDatabase, run, transaction } from '../../src/store/database.ts';
import { openStore } from '../../src/store/store.ts';
import { openRunner } from '../../workers/run-step.ts';
import { eventually, plainPolicy, scimUser, startUsher, type Usher } from '../ground/usher.ts';

const policy = parsePolicy(
  plainPolicy.replace('takeFrom: [', 'createMissing: from-template, takeFrom: [').concat('delegation: ignored\n'),
  'test policy',
);
let usher: Usher;
let database: Database;
let store: Store;

beforeAll(async () => {
  usher = await startUsher({ workers: false });
  database = openDatabase(usher.databaseUrl, { onError: () => undefined });
  store = openStore(database);
});
afterAll(async () => {
  await store.close();
  await usher.close();
});

function runnerOn(steps: Store) {
  const account = openBuiltinAccount(
    {
      query: (name, text, values) => run(database.pool, { name, text }, values),
      list: (text, values) => list(database.lists, text, values),
      transaction: (work) => transaction(database.pool, work),
    },
    { plan: 'paid', heir: null },
  );
  return openRunner({
    store: steps,
    account,
    calendars: null,
    directory: null,
    policy,
    wakeOthers: () => Promise.resolve(),
    log: openLog('silent'),
    metrics: openMetrics(),
    now: () => new Date(),
    random: () => 0.5,
  });
}

test.each([
  ['the user was made', 1],
  ['the seat was given', 2],
  ['the page was made', 3],
])('dead after %s: whoever comes next tells the history what was done, once', async (_what, nth) => {
  const local = `dies.${nth}`;
  const made = await usher.scim('POST', '/Users', scimUser(local));
  expect(made.status).toBe(201);
  const { personId } = (await usher.api('GET', `/people/${local}@contoso.com`)).body;

  let settled = 0;
  let died: () => void = () => undefined;
  const death = new Promise<void>((resolve) => {
    died = resolve;
  });
  const settle: StepStore['settle'] = (...args) => {
    settled += 1;
    if (settled < nth) return store.settle(...args);
    died();
    return new Promise(() => undefined);
  };
  void runnerOn({ ...store, settle }).wake('create-user', personId, 'the one that dies');
  await death;
  expect((await store.load(personId))?.unrecorded).toHaveLength(1);

  await database.pool.query(`update people set account_lease_until = '-infinity' where person_id = $1`, [personId]);
  await runnerOn(store).wake('create-user', personId, 'the next');
  const known = await eventually(
    () => store.load(personId),
    (person) => person?.ready === true,
  );
  expect(known?.unrecorded).toEqual([]);
  const actions = (await store.history(personId, 50, null)).map((row) => row.action);
  expect(actions.sort()).toEqual(['license.assigned', 'page.created', 'user.created', 'user.received']);
});
