/**
 * What every scheduling account does that Usher provisions into, whoever made it. An adapter names what it can not do in its capabilities; the
 * sentences that lean on it are then skipped, and no others.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { ErrorCode } from '../../src/errors.ts';
import type { AccountCapabilities, Fence, NewAccountUser, SchedulingAccount } from '../../src/ports.ts';

export interface AccountUnderContract {
  account: SchedulingAccount;
  /** An Administrator who is there from the beginning, licensed, the only one. */
  founderId: string;
  person(licenses?: string[]): Promise<{ personId: string; fence: Fence }>;
  overtake(fence: Fence): Promise<void>;
  /** Makes these pages exist, owned by the founder. */
  pages(...linkNames: string[]): Promise<void>;
  close(): Promise<void>;
}

/** With a pool of three `scheduled-meetings` seats, of which the founder has one, and one `engagement` seat. */
export function describeSchedulingAccount(
  name: string,
  capabilities: AccountCapabilities,
  open: () => Promise<AccountUnderContract>,
): void {
  const when = (isSo: boolean) => (isSo ? test : test.skip);
  const writesSeats = capabilities.steps['assign-license'].mode === 'automatic';
  const writesPages = capabilities.steps['assign-booking-pages'].mode === 'automatic';
  const deletes = capabilities.deletesUsers;

  describe(`the scheduling account: ${name}`, () => {
    let ground: AccountUnderContract;
    let account: SchedulingAccount;
    let counter = 0;
    beforeAll(async () => {
      ground = await open();
      account = ground.account;
    });
    afterAll(() => ground.close());

    const someone = (personId: string, more: Partial<NewAccountUser> = {}): NewAccountUser => {
      counter += 1;
      return {
        personId,
        name: `Person ${counter}`,
        givenName: 'Person',
        familyName: `N${counter}`,
        teams: [],
        email: `Person.${counter}@Contoso.com`,
        role: 'Member',
        timeZone: null,
        invite: capabilities.suppressesInvitations ? 'suppress' : 'send',
        ...more,
      };
    };
    const made = async (more: Partial<NewAccountUser> = {}) => {
      const { personId, fence } = await ground.person();
      const user = await account.createUser(someone(personId, more), fence);
      return { user, personId, fence };
    };
    const codeOf = (work: Promise<unknown>): Promise<ErrorCode | 'nothing was refused'> =>
      work.then(
        () => 'nothing was refused' as const,
        (error: { code: ErrorCode }) => error.code,
      );
    /** A ledger counts a seat that somebody is asked to assign as given. */
    const given = async (): Promise<number> => {
      const counts = (await account.licenseCounts())['scheduled-meetings'];
      return (counts?.assigned ?? 0) + (capabilities.knowsPools ? 0 : (counts?.reserved ?? 0));
    };
    const claim = (of: { user: { accountUserId: string }; personId: string }, more: object = {}) => ({
      accountUserId: of.user.accountUserId,
      kind: 'scheduled-meetings',
      personId: of.personId,
      rule: 'Everybody',
      since: new Date('2026-11-22T12:00:00Z'),
      cap: null,
      ...more,
    });

    test('declares what it can do', () => {
      expect(account.capabilities).toEqual(capabilities);
    });

    test('a user that was made is found by person, by id and by address in any case', async () => {
      const { user, personId } = await made();
      expect(await account.findByPerson(personId, user.accountUserId)).toEqual(user);
      expect(await account.findById(user.accountUserId)).toEqual(user);
      expect(await account.findByEmail(user.email.toUpperCase())).toEqual(user);
      expect(user).toMatchObject({ role: 'Member', status: 'Invited (Pending)', suspended: false, licenses: [] });
    });

    test('a second create for the same person makes no second user', async () => {
      const { personId, fence } = await ground.person();
      const wish = someone(personId);
      const first = await account.createUser(wish, fence);
      expect(await account.createUser(wish, fence)).toEqual(first);
    });

    test('of many users at the same moment, the one whose address is taken is refused alone, and the one who was overtaken is not made', async () => {
      const { user } = await made();
      const people = await Promise.all(Array.from({ length: 6 }, () => ground.person()));
      const wishes = people.map(({ personId }, index) => someone(personId, index === 2 ? { email: user.email } : {}));
      await ground.overtake((people[4] as (typeof people)[number]).fence);
      const outcomes = await Promise.all(
        people.map(({ fence }, index) => codeOf(account.createUser(wishes[index] as NewAccountUser, fence))),
      );
      const fine = 'nothing was refused';
      expect(outcomes).toEqual([fine, fine, 'email_taken_elsewhere', fine, 'fence_lost', fine]);
      for (const [index, { personId }] of people.entries())
        expect(await account.findByPerson(personId, null)).toEqual(
          index === 2 || index === 4 ? null : expect.objectContaining({ email: wishes[index]?.email }),
        );
    });

    test('of a live and a stale fence of one person at the same moment, the live one alone acts', async () => {
      for (const stalesFirst of [true, false]) {
        const { personId, fence: stale } = await ground.person();
        await ground.overtake(stale);
        const live = { ...stale, number: '2' };
        const fences = stalesFirst ? [stale, live] : [live, stale];
        const outcomes = await Promise.all(fences.map((fence) => codeOf(account.createUser(someone(personId), fence))));
        expect(outcomes[fences.indexOf(live)]).toBe('nothing was refused');
        expect(outcomes[fences.indexOf(stale)]).toBe('fence_lost');
      }
    });

    test('an address that somebody has is refused and told apart', async () => {
      const { user } = await made();
      const { personId, fence } = await ground.person();
      expect(await codeOf(account.createUser(someone(personId, { email: user.email }), fence))).toBe(
        'email_taken_elsewhere',
      );
      expect(await account.findByPerson(personId, null)).toBeNull();
    });

    test('a change is read back, and what was not named stays', async () => {
      const { user, fence } = await made({ name: 'Before', givenName: 'Before', familyName: 'All' });
      const changed = await account.updateUser(
        user.accountUserId,
        capabilities.namesInParts ? { givenName: 'After' } : { name: 'After' },
        fence,
      );
      expect(changed).toEqual(
        capabilities.namesInParts ? { ...user, givenName: 'After', name: 'After All' } : { ...user, name: 'After' },
      );
      expect(await account.findById(user.accountUserId)).toEqual(changed);
    });

    when(capabilities.setsTimeZones)('a time zone is kept', async () => {
      const { user, fence } = await made({ timeZone: 'Europe/Berlin' });
      expect(user.timeZone).toBe('Europe/Berlin');
      expect((await account.updateUser(user.accountUserId, { timeZone: 'Asia/Tokyo' }, fence)).timeZone).toBe(
        'Asia/Tokyo',
      );
    });

    test('nothing commits under the fence of a worker that was overtaken', async () => {
      const { user, personId, fence } = await made();
      await ground.pages('fenced');
      const page = (await account.pagesNamed(['fenced']))[0];
      await ground.overtake(fence);
      const writes = [
        account.updateUser(user.accountUserId, { name: 'Late' }, fence),
        account.suspendUser(user.accountUserId, fence),
        account.deleteUser(user.accountUserId, null, fence),
        ...(writesSeats ? [account.claimSeat(claim({ user, personId }), fence)] : []),
        ...(writesPages && page
          ? [account.assignPage(page.pageId, page.ownerId ?? '', user.accountUserId, false, fence)]
          : []),
      ];
      for (const code of await Promise.all(writes.map(codeOf))) expect(code).toBe('fence_lost');
      expect(await account.findById(user.accountUserId)).toEqual(user);
    });

    when(capabilities.exchangesEmails)(
      'two users swap their addresses in one act, and only as both were seen',
      async () => {
        const ana = await made();
        const bob = await made();
        const seen = { own: ana.user.email, other: bob.user.email };
        await account.exchangeEmails(ana.user.accountUserId, bob.user.accountUserId, seen, ana.fence);
        await account.exchangeEmails(ana.user.accountUserId, bob.user.accountUserId, seen, ana.fence);
        expect((await account.findById(ana.user.accountUserId))?.email).toBe(bob.user.email);
        expect((await account.findById(bob.user.accountUserId))?.email).toBe(ana.user.email);
      },
    );

    when(capabilities.suspends)('a suspension is a flag beside the status, and ends by restoring', async () => {
      const { user, fence } = await made();
      await account.blockSignIn(user.accountUserId, fence);
      expect(await account.findById(user.accountUserId)).toMatchObject({ signInBlocked: true, suspended: false });
      await account.suspendUser(user.accountUserId, fence);
      expect(await account.findById(user.accountUserId)).toMatchObject({ suspended: true, status: user.status });
      await account.restoreUser(user.accountUserId, fence);
      expect(await account.findById(user.accountUserId)).toMatchObject({ suspended: false, signInBlocked: false });
    });

    when(capabilities.keepsWaitingList)(
      'seats: one each, never more than were bought, in the order of the line, and given back',
      async () => {
        const people = [await made(), await made(), await made(), await made()];
        const ask = (index: number) => {
          const of = people[index];
          if (!of) throw new Error('nobody');
          return account.claimSeat(claim(of, { since: new Date(1_000_000 * (index + 1)) }), of.fence);
        };
        expect(await ask(0)).toEqual({ assigned: true, already: false });
        expect(await ask(0)).toEqual({ assigned: true, already: true });
        expect(await ask(1)).toEqual({ assigned: true, already: false });
        expect(await ask(3)).toEqual({ assigned: false, why: 'pool', place: 1, bought: 3 });
        expect(await ask(2)).toEqual({ assigned: false, why: 'pool', place: 1, bought: 3 });
        expect(await ask(3)).toMatchObject({ assigned: false, place: 2 });
        expect(await given()).toBe(3);
        expect((await account.licenseCounts())['scheduled-meetings']).toMatchObject({ bought: 3, waiting: 2 });
        const first = people[0];
        if (first) await account.freeSeats(first.user.accountUserId, ['scheduled-meetings'], first.fence);
        expect(await given()).toBe(2);
        expect((await account.licenseCounts())['scheduled-meetings']).toMatchObject({ reserved: 1, waiting: 2 });
        // Somebody behind does not take what somebody ahead waits for.
        expect(await ask(3)).toMatchObject({ assigned: false, place: 2 });
        expect(await ask(2)).toEqual({ assigned: true, already: false });
        for (const [index, of] of people.entries()) {
          await account.leaveWaitingList(of.personId, false);
          if (index > 0) await account.freeSeats(of.user.accountUserId, ['scheduled-meetings'], of.fence);
        }
        expect(await given()).toBe(1);
        expect((await account.licenseCounts())['scheduled-meetings']).toMatchObject({ waiting: 0 });
      },
    );

    when(capabilities.keepsWaitingList)(
      'a group at its cap is skipped and in nobody’s way; an unknown kind is no seat',
      async () => {
        const capped = await made();
        expect(await account.claimSeat(claim(capped, { rule: 'Small group', cap: 0 }), capped.fence)).toEqual({
          assigned: false,
          why: 'cap',
          limit: 0,
        });
        expect(await account.claimSeat(claim(capped, { kind: 'gold' }), capped.fence)).toEqual({
          assigned: false,
          why: 'unknown_kind',
        });
        expect((await account.licenseCounts())['scheduled-meetings']?.waiting).toBe(0);
      },
    );

    when(capabilities.keepsWaitingList)('a cap holds also when everybody asks at once', async () => {
      const people = await Promise.all(Array.from({ length: 4 }, () => made()));
      const answers = await Promise.all(
        people.map((of) => account.claimSeat(claim(of, { rule: 'One only', cap: 1 }), of.fence)),
      );
      expect(answers.filter((answer) => answer.assigned)).toHaveLength(1);
      for (const of of people) {
        await account.leaveWaitingList(of.personId, false);
        await account.freeSeats(of.user.accountUserId, ['scheduled-meetings'], of.fence);
      }
    });

    when(writesPages)('a page is taken from whom it was seen with, and stands with one owner', async () => {
      const { user, personId, fence } = await made();
      await account.claimSeat(claim({ user, personId }), fence);
      await ground.pages('taken');
      const page = (await account.pagesNamed(['taken']))[0];
      if (!page) throw new Error('the page is not there');
      expect(page).toMatchObject({ ownerId: ground.founderId, enabled: false });
      await account.assignPage(page.pageId, ground.founderId, user.accountUserId, true, fence);
      expect(await codeOf(account.assignPage(page.pageId, ground.founderId, user.accountUserId, true, fence))).toBe(
        'conflict',
      );
      expect(await account.pagesOwnedBy(user.accountUserId)).toMatchObject([{ linkName: 'taken', enabled: true }]);
      await account.freeSeats(user.accountUserId, ['scheduled-meetings'], fence);
      expect(await account.pagesOwnedBy(user.accountUserId)).toMatchObject([{ enabled: false, disabledBy: 'license' }]);
      expect(await codeOf(account.enablePage(page.pageId, fence))).toBe('needs_license');
    });

    when(capabilities.createsPages)('a page of a name is made once', async () => {
      const { user, personId, fence } = await made();
      await account.claimSeat(claim({ user, personId }), fence);
      await account.createPage('made-once', user.accountUserId, fence);
      await account.createPage('made-once', user.accountUserId, fence);
      expect(await account.pagesNamed(['made-once'])).toHaveLength(1);
      await account.freeSeats(user.accountUserId, ['scheduled-meetings'], fence);
    });

    when(deletes && writesPages)(
      'a deleted user’s pages go to the remaining Administrator, and the seat back to the pool',
      async () => {
        const { user, personId, fence } = await made();
        await account.claimSeat(claim({ user, personId }), fence);
        await ground.pages('left-behind');
        const page = (await account.pagesNamed(['left-behind']))[0];
        await account.assignPage(page?.pageId ?? '', ground.founderId, user.accountUserId, true, fence);
        const before = (await account.licenseCounts())['scheduled-meetings']?.assigned ?? 0;
        await account.deleteUser(user.accountUserId, null, fence);
        expect(await account.findById(user.accountUserId)).toBeNull();
        expect(await account.pagesNamed(['left-behind'])).toMatchObject([
          { ownerId: ground.founderId, enabled: false },
        ]);
        expect((await account.licenseCounts())['scheduled-meetings']?.assigned).toBe(before - 1);
      },
    );

    when(deletes)('the last Administrator with a license is not taken', async () => {
      const { fence } = await ground.person();
      const isProtected = (await account.findById(ground.founderId))?.protected;
      const takings = [
        account.updateUser(ground.founderId, { role: 'Member' }, fence),
        ...(capabilities.suspends ? [account.suspendUser(ground.founderId, fence)] : []),
        account.deleteUser(ground.founderId, null, fence),
        ...(writesSeats ? [account.freeSeats(ground.founderId, ['scheduled-meetings'], fence)] : []),
      ];
      for (const code of await Promise.all(takings.map(codeOf)))
        expect(code).toBe(isProtected ? 'account_owner_protected' : 'last_licensed_administrator');
    });

    test('who remains is an Administrator other than the one who goes', async () => {
      const { user } = await made();
      expect((await account.remainingAdministrator(user.accountUserId))?.accountUserId).toBe(ground.founderId);
      expect(await account.remainingAdministrator(ground.founderId)).toBeNull();
    });
  });
}
