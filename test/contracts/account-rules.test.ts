/**
 * The rules of the built-in account under whatever happens at once: random acts from many connections, some of which are cut in the middle, with the
 * rules looked at after each act.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { UsherError } from '../../src/errors.ts';
import { type AccountGround, anAct, openAccountGround } from '../ground/account.ts';
import { backendNames } from '../ground/databases.ts';

/** One statement sees one moment. Each rule that is broken is a line. */
const brokenRules = `
select rule from (
  select 'the ledger counts what was not given' as rule where exists (
    select 1 from account_pools p where p.assigned <> (select count(*) from account_licenses l where l.kind = p.kind))
  union all select 'more seats than were bought' where exists (select 1 from account_pools where assigned > bought)
  union all select 'no Administrator with a license' where not exists (
    select 1 from account_users u join account_licenses l using (account_user_id) where u.role = 'Administrator' and not u.suspended)
  union all select 'an enabled page without a licensed owner' where exists (
    select 1 from account_pages p where p.enabled and not exists (
      select 1 from account_licenses l where l.account_user_id = p.owner_id and l.kind = 'scheduled-meetings'))
  union all select 'a page without an owner' where exists (
    select 1 from account_pages p left join account_users u on u.account_user_id = p.owner_id where u.account_user_id is null)
  union all select 'somebody waits beside a free seat' where exists (
    select 1 from account_pools p where p.bought > p.assigned and exists (
      select 1 from account_waiting w join account_users u using (account_user_id) where w.kind = p.kind and not u.suspended))
) as broken`;

const acts = [
  'invite',
  'remove',
  'demote',
  'promote',
  'suspend',
  'restore',
  'assign',
  'line',
  'unassign',
  'page',
  'give',
  'enable',
  'disable',
  'drop',
  'cut',
] as const;
const act = fc.record({ act: fc.constantFrom(...acts), a: fc.nat(6), b: fc.nat(6) });
const lanes = fc.array(fc.array(act, { minLength: 4, maxLength: 14 }), { minLength: 4, maxLength: 8 });

describe.each(backendNames)('the account on %s', (backend) => {
  let ground: AccountGround;
  beforeAll(async () => {
    ground = await openAccountGround(backend, { 'scheduled-meetings': 5 });
  });
  afterAll(() => ground.close());

  const broken = async () =>
    (await ground.database.lists.query<{ rule: string }>(brokenRules)).rows.map((row) => row.rule);
  const users = async (): Promise<string[]> =>
    (
      await ground.database.lists.query<{ account_user_id: string }>(
        'select account_user_id from account_users order by created_at',
      )
    ).rows.map((row) => row.account_user_id);
  const pages = async (): Promise<string[]> =>
    (
      await ground.database.lists.query<{ page_id: string }>('select page_id from account_pages order by created_at')
    ).rows.map((row) => row.page_id);
  let counter = 0;

  async function perform({ act: name, a, b }: { act: (typeof acts)[number]; a: number; b: number }): Promise<void> {
    const { administration } = ground;
    const everybody = await users();
    const who = everybody[a % everybody.length] ?? '';
    const other = everybody[b % everybody.length] ?? '';
    const all = await pages();
    const page = all[b % Math.max(1, all.length)];
    counter += 1;
    switch (name) {
      case 'invite':
        if (everybody.length < 12)
          await administration.invite(
            {
              name: `Person ${counter}`,
              email: `p${counter}@example.com`,
              role: a % 2 ? 'Administrator' : 'Member',
              licenses: b % 2 ? ['scheduled-meetings'] : [],
              timeZone: null,
              invite: 'suppress',
            },
            anAct(),
          );
        return;
      case 'remove':
        await administration.remove(who, null, anAct({ actingId: other }));
        return;
      case 'demote':
      case 'promote':
        await administration.edit(who, { role: name === 'demote' ? 'Member' : 'Administrator' }, true, anAct());
        return;
      case 'suspend':
      case 'restore':
        await administration.suspend(who, name === 'suspend', anAct());
        return;
      case 'assign':
      case 'line':
        await administration.assignLicense(who, 'scheduled-meetings', name === 'line', anAct());
        return;
      case 'unassign':
        await administration.unassignLicense(who, 'scheduled-meetings', anAct());
        return;
      case 'page':
        if (all.length < 20)
          await administration.createPages(
            [{ linkName: `page-${counter}`, title: null, ownerId: who, enabled: true }],
            'refuse',
            anAct(),
          );
        return;
      case 'give':
        if (page) await administration.assignPage(page, who, anAct());
        return;
      case 'enable':
      case 'disable':
        if (page) await administration.editPage(page, { enabled: name === 'enable' }, anAct());
        return;
      case 'drop':
        if (page && all.length > 10) await administration.removePage(page, anAct());
        return;
      case 'cut':
        // A process that dies: the connection ends between two statements of some transaction.
        await ground.database.lists.query(
          `select pg_terminate_backend(pid) from pg_stat_activity
           where datname = current_database() and state = 'idle in transaction' and pid <> pg_backend_pid() limit 1`,
        );
    }
  }

  test('every rule holds after each of many acts at once, whichever connection is cut meanwhile', async () => {
    let done = 0;
    const refused = new Map<string, number>();
    await fc.assert(
      fc.asyncProperty(lanes, async (sequences) => {
        await Promise.all(
          sequences.map(async (sequence) => {
            for (const one of sequence) {
              try {
                await perform(one);
                done += 1;
              } catch (error) {
                // A refusal is an answer; anything that is no UsherError is a fault of ours.
                if (!(error instanceof UsherError)) throw error;
                refused.set(error.code, (refused.get(error.code) ?? 0) + 1);
                expect(error.code).not.toBe('internal');
              }
              expect(await broken()).toEqual([]);
            }
          }),
        );
      }),
      { numRuns: 12, endOnFailure: true },
    );
    expect(done).toBeGreaterThan(100);
    expect(refused.get('last_licensed_administrator') ?? 0).toBeGreaterThan(0);
  });

  test('of two requests that race for the last two Administrators with a license, one is refused', async () => {
    const { administration } = ground;
    for (const race of ['remove', 'demote', 'suspend', 'unassign'] as const) {
      for (let round = 0; round < 5; round++) {
        const two = await twoAdministrators();
        const taking = (id: string): Promise<unknown> =>
          race === 'remove'
            ? administration.remove(id, null, anAct())
            : race === 'demote'
              ? administration.edit(id, { role: 'Member' }, true, anAct())
              : race === 'suspend'
                ? administration.suspend(id, true, anAct())
                : administration.unassignLicense(id, 'scheduled-meetings', anAct());
        const answers = await Promise.allSettled(two.map(taking));
        expect([race, answers.filter((answer) => answer.status === 'fulfilled').length]).toEqual([race, 1]);
        expect(await broken()).toEqual([]);
      }
    }
  });

  /** Exactly two who are Administrators with a license and can act. */
  async function twoAdministrators(): Promise<string[]> {
    const { administration } = ground;
    const { items } = await administration.users({ sort: 'createdAt', descending: false, limit: 100 });
    const fit = items.filter((user) => user.role === 'Administrator' && !user.suspended && user.licenses.length > 0);
    const keep = fit[0];
    for (const user of items.filter((one) => one !== keep))
      await administration.remove(user.accountUserId, null, anAct());
    const second = await administration.invite(
      {
        name: 'Second',
        email: `second${++counter}@example.com`,
        role: 'Administrator',
        licenses: ['scheduled-meetings'],
        timeZone: null,
        invite: 'suppress',
      },
      anAct(),
    );
    return [keep?.accountUserId ?? '', second.accountUserId];
  }

  test('the database refuses by itself what would break a rule, whoever writes', async () => {
    const write = (text: string) =>
      ground.database.pool.query(text).then(
        () => 'written',
        (error: { constraint?: string }) => error.constraint,
      );
    expect(await write(`update account_users set role = 'Member'`)).toBe('account_keeps_an_administrator');
    expect(await write('update account_users set suspended = true')).toBe('account_keeps_an_administrator');
    expect(await write('delete from account_licenses')).toMatch(
      /account_keeps_an_administrator|account_pages_licensed/,
    );
    expect(await write('update account_pools set assigned = bought + 1 where bought is not null')).toMatch(/check/);
    expect(
      await write(
        `insert into account_pages (page_id, link_name, owner_id, enabled) select gen_random_uuid(), 'stray', gen_random_uuid(), false`,
      ),
    ).toBe('account_pages_owner_id_fkey');
    expect(await broken()).toEqual([]);
  });
});
