/**
 * The directory poller: users and groups of the tenant by delta queries, one round at a time across all processes.
 *
 * | the tenant says | then |
 * |---|---|
 * | a page | stored with the link to the next, in one transaction; the next is on its way meanwhile |
 * | `@removed` | the user is read directly; only one who is really gone leaves |
 * | the link is too old | everything is read anew, under a new round number |
 * | a full read is through | whoever it did not show is read directly, one by one; only who is gone leaves |
 * | a full read shows nobody | nothing is removed, and somebody is told |
 *
 * Removing goes through the wish, the hold and the brake like everything else; here only the wish changes.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { foldAddress } from '../../domain/email-address.ts';
import { needsGroups, type Policy } from '../../domain/policy.ts';
import { asUsherError, UsherError } from '../../errors.ts';
import type { Log } from '../../log.ts';
import type {
  AlertStore,
  Cause,
  Directory,
  DirectoryAttributes,
  DirectoryGroupChange,
  DirectoryPageOf,
  DirectoryPass,
  DirectoryUserChange,
  Subscriptions,
  SyncFence,
  SyncStore,
} from '../../ports.ts';
import type { Hints } from '../record-change.ts';
import { decidePage, type SeenUser } from './decide-page.ts';
import { resourceIdOf } from './mapping.ts';

export interface PollerParts {
  store: SyncStore & AlertStore;
  directory: Directory;
  policy: Policy;
  source: string;
  pollSeconds: number;
  /** Where the tenant may tell of changes; null: it is not asked to. */
  notificationUrl: string | null;
  hints: Hints;
  /** A new look at people whose groups changed. */
  reconsider(personIds: string[]): Promise<void>;
  log: Log;
  now: () => Date;
}

export interface RoundReport {
  pages: number;
  changes: number;
  requests: number;
  waitedSeconds: number;
  resync: string | null;
  /** Of the users on the pages. */
  guests: number;
  disabled: number;
  /** Said gone by a page and found by a direct read. */
  notGone: number;
  absent: number;
  error?: string;
}

/** A read of everything that came to its end. Nothing else can be looked through for who is missing. */
export interface CompleteDirectory {
  readonly [complete]: true;
  readonly round: number;
}
const complete = Symbol('complete');

function completeDirectory(pass: DirectoryPass): CompleteDirectory | null {
  return pass.isFull && pass.finished ? { [complete]: true, round: pass.round } : null;
}

/** A wait that the tenant asks for is sat out here up to this long; then the round ends where it is, and goes on later. */
const patienceSeconds = 60;
const mostTries = 4;
const mostWaits = 10;
/** Replication in the tenant takes minutes at most. */
const believedAfterMs = 3_600_000;
/** So many failed rounds in a row are told. */
const tellAfter = 3;

export function openPoller(parts: PollerParts) {
  const { store, log, now, source } = parts;
  let closed = false;
  let failures = 0;

  return {
    /** Polls if it is time and nobody else does. Null when there was nothing to do. */
    async poll(): Promise<RoundReport | null> {
      const claimed = await store.claimSync(source);
      if (!claimed || closed) return null;
      const { fence } = claimed;
      const report: RoundReport = {
        pages: 0,
        changes: 0,
        requests: 0,
        waitedSeconds: 0,
        resync: null,
        guests: 0,
        disabled: 0,
        notGone: 0,
        absent: 0,
      };
      const runId = await store.beginRun('poll', source);
      const round = openRound(parts, fence, report, { actor: `poller:${source}`, by: `run:${runId}` }, () => closed);
      try {
        const groups = needsGroups(parts.policy, source);
        let { passes } = claimed;
        if (claimed.fullRequested) {
          // Begun for both before either is read: a round that breaks off forgets neither.
          passes = [await round.begin('users')];
          if (groups) passes.push(await round.begin('groups'));
          await store.fullBegun(fence);
        }
        await round.users(passes.find((pass) => pass.kind === 'users') ?? null);
        if (groups) await round.groups(passes.find((pass) => pass.kind === 'groups') ?? null);
        await keepSubscribed(parts);
        await store.finishSync(fence, new Date(now().getTime() + parts.pollSeconds * 1000), true);
        await store.endRun(runId, 'done', { ...report });
        failures = 0;
        await store.resolveAlert(`poll_failed:${source}`);
        return report;
      } catch (thrown) {
        const error = asUsherError(thrown);
        const again = error.retryAfterSeconds ?? Math.min(parts.pollSeconds, 30 + Math.random() * 30);
        report.error = `${error.code}: ${error.message}`;
        await store.finishSync(fence, new Date(now().getTime() + again * 1000), false);
        await store.endRun(runId, 'failed', { ...report });
        failures += 1;
        if (error.code === 'connection_down' || (failures >= tellAfter && error.code !== 'throttled'))
          await store.raiseAlert(
            `poll_failed:${source}`,
            'poll_failed',
            `Source ${source}: ${error.message} «usher doctor» shows what is missing.`,
          );
        if (error.code === 'throttled') log.info({ source, again }, 'the tenant asks the poller to wait');
        else log.warn({ err: error, source, again }, 'a round of the poller failed; it goes on where it was');
        return report;
      }
    },
    close() {
      closed = true;
    },
  };
}

/** Users and groups may be watched for just under 29 days; renewed long before. */
const subscribedForMs = 28 * 86_400_000;
const renewBeforeMs = 14 * 86_400_000;

/** Change notifications only wake the poller earlier: whatever goes wrong with them, the round went well. */
async function keepSubscribed({
  store,
  directory,
  policy,
  source,
  notificationUrl,
  log,
  now,
}: PollerParts): Promise<void> {
  if (notificationUrl === null) return;
  try {
    const known = await store.subscriptions(source);
    const kept: Subscriptions = {};
    for (const resource of needsGroups(policy, source) ? (['users', 'groups'] as const) : (['users'] as const)) {
      const before = known[resource]?.notificationUrl === notificationUrl ? known[resource] : undefined;
      if (before && Date.parse(before.expiresAt) - now().getTime() > renewBeforeMs) {
        kept[resource] = before;
        continue;
      }
      const clientState = randomBytes(24).toString('base64url');
      const made = await directory.subscribe(
        resource,
        { notificationUrl, clientState, expiresAt: new Date(now().getTime() + subscribedForMs) },
        before ?? null,
      );
      if (made) kept[resource] = made;
      else log.warn({ source, resource }, 'the tenant refuses change notifications; the poller goes on by the clock');
    }
    if (JSON.stringify(kept) !== JSON.stringify(known)) await store.keepSubscriptions(source, kept);
  } catch (error) {
    log.warn({ err: error, source }, 'change notifications could not be asked for; the poller goes on by the clock');
  }
}

/** A few at a time, in order. */
async function inTurn<T, R>(list: T[], ask: (entry: T) => Promise<R>): Promise<R[]> {
  const answers: R[] = [];
  for (let at = 0; at < list.length; at += 8) answers.push(...(await Promise.all(list.slice(at, at + 8).map(ask))));
  return answers;
}

/** What two users of two pages could be at odds about. */
function namesOn(entries: unknown[]): string[] {
  return (entries as Partial<DirectoryUserChange>[]).flatMap(({ objectId, attributes }) => [
    objectId ?? '',
    foldAddress(attributes?.userName ?? objectId ?? ''),
  ]);
}

/** What the rules ask for beside what is always read. */
export function wantedAttributes(policy: Policy): (keyof DirectoryAttributes)[] {
  const ruled = ['department', 'title', 'organization', 'division', 'costCenter'] as const;
  const inTemplates = policy.rules
    .flatMap((rule) => (Array.isArray(rule.bookingPages) ? rule.bookingPages : []))
    .join(' ');
  return ruled.filter(
    (name) => policy.rules.some((rule) => rule.when[name] !== undefined) || inTemplates.includes(`{${name}`),
  );
}

function openRound(parts: PollerParts, fence: SyncFence, report: RoundReport, cause: Cause, isClosed: () => boolean) {
  const { store, directory, policy, source, hints, now } = parts;
  const select = directory.selectUsers(wantedAttributes(policy));

  /** Waits as the tenant asks, tries again what broke, and gives the round up when it takes too long. */
  const patiently = async <T>(ask: () => Promise<T>): Promise<T> => {
    for (let tries = 1; ; tries++) {
      if (isClosed()) throw new UsherError('graph_unavailable', 'The process stops.');
      try {
        report.requests += 1;
        return await ask();
      } catch (thrown) {
        const error = asUsherError(thrown);
        const seconds =
          error.code === 'throttled' && tries < mostWaits
            ? Math.max(1, error.retryAfterSeconds ?? 2 ** tries)
            : error.code === 'graph_unavailable' && tries < mostTries
              ? 2 ** (tries - 1) * (0.5 + Math.random() / 2)
              : null;
        if (seconds === null || seconds > patienceSeconds) throw error;
        report.waitedSeconds += seconds;
        await sleep(seconds * 1000);
      }
    }
  };

  const keysOf = (objectId: string) => ({ externalId: objectId, resourceId: resourceIdOf(source, objectId) });

  const storeUsers = async (
    seen: SeenUser[],
    gone: string[],
    pass: { link: string | null; finished: boolean; round: number; mark: boolean },
    after: Promise<unknown> = Promise.resolve(),
  ): Promise<void> => {
    const page = {
      ...pass,
      items: seen.map(({ objectId }) => keysOf(objectId)),
      removed: gone.map(keysOf),
    };
    for (let tries = 1; ; tries++) {
      try {
        const { touched, again } = await store.storeUserPage(
          fence,
          page,
          decidePage(source, policy, seen, gone, now()),
          cause,
          after,
        );
        report.changes += touched.length;
        for (const { personId, lifecycle } of touched) {
          if (lifecycle === 'wanted') {
            hints.add('create-user', personId);
            if (policy.delegation !== 'ignored') hints.add('check-delegation', personId);
          }
          if (lifecycle === 'leaving') hints.add('offboard', personId);
        }
        if (!again) return;
      } catch (error) {
        // Somebody wrote the same people meanwhile: the page is decided anew over what is there now.
        // The page before may be what was in the way; if it failed, this one does not go on.
        await after;
        const again = error instanceof UsherError && (error.code === 'conflict' || error.code === 'uniqueness');
        if (!again || tries >= mostTries) throw error;
      }
    }
  };

  /**
   * A second witness for each: the page says gone, and so must a direct read. Whoever gives no answer, or is shown still (a read can lag behind),
   * is in doubt, and asked for again in the next rounds.
   */
  const confirm = async (objectIds: string[]): Promise<{ gone: string[]; there: SeenUser[] }> => {
    const answers = await Promise.all(
      objectIds.map(async (objectId) => ({
        objectId,
        answer: await patiently(() => directory.readUser(objectId, select)).catch((error: unknown) => {
          if (error instanceof UsherError && error.code === 'graph_unavailable' && !isClosed())
            return { kind: 'unknown' as const, reason: error.message };
          throw error;
        }),
      })),
    );
    const gone = answers.filter(({ answer }) => answer.kind === 'gone').map(({ objectId }) => objectId);
    await store.keepDoubts(
      source,
      answers.filter(({ answer }) => answer.kind !== 'gone').map(({ objectId }) => objectId),
      gone,
    );
    return {
      gone,
      there: answers.flatMap(({ objectId, answer }) =>
        answer.kind === 'there' ? [{ objectId, attributes: answer.attributes }] : [],
      ),
    };
  };

  /** Those of earlier rounds. Shown still after an hour, they are there. */
  const settleDoubts = async (round: number): Promise<void> => {
    const doubts = await store.doubts(source, 200);
    if (doubts.length === 0) return;
    const { gone, there } = await confirm(doubts.map((doubt) => doubt.externalId));
    await storeUsers(there, gone, { link: null, finished: true, round, mark: false });
    const seen = new Set(there.map(({ objectId }) => objectId));
    await store.keepDoubts(
      source,
      [],
      doubts
        .filter(({ externalId, since }) => seen.has(externalId) && now().getTime() - since.getTime() > believedAfterMs)
        .map((doubt) => doubt.externalId),
    );
  };

  /** Pages one after the other; the next one is asked for while this one is stored. */
  const walk = async <T>(
    kind: 'users' | 'groups',
    known: DirectoryPass | null,
    selected: string,
    read: (link: string | null) => Promise<DirectoryPageOf<T>>,
    keep: (entries: T[], pass: DirectoryPass & { link: string }, after: Promise<unknown>) => Promise<void>,
  ): Promise<DirectoryPass> => {
    const stale = !known || known.selected !== selected;
    let pass = known && !known.finished && !stale ? known : await store.beginPass(fence, kind, selected, stale);
    let ahead = patiently(() => read(pass.link));
    let before: Promise<void> = Promise.resolve();
    let named = new Set<string>();
    for (;;) {
      const page = await ahead;
      if (page.kind === 'resync') {
        await before;
        if (pass.link === null)
          throw new UsherError('graph_unavailable', `The tenant refuses a new delta query, too (${page.reason}).`);
        report.resync = page.reason;
        parts.log.info({ source, kind, reason: page.reason }, 'the delta link is too old; everything is read anew');
        pass = { ...(await store.beginPass(fence, kind, selected, true)), link: null };
        ahead = patiently(() => read(null));
        continue;
      }
      report.pages += 1;
      const { link, finished, entries } = page;
      pass = { ...pass, link, finished };
      if (!finished) {
        ahead = patiently(() => read(link));
        // Its failure is met when it is awaited, after this page is safe.
        ahead.catch(() => undefined);
      }
      // In a full read two pages are stored side by side, if they name nobody both; each commits behind the one before.
      const names = namesOn(entries);
      if (names.some((name) => named.has(name))) await before;
      named = new Set(names);
      const mine = keep(entries, { ...pass, link }, before);
      mine.catch(() => undefined);
      await before;
      before = mine;
      if (finished || !pass.isFull || kind === 'groups') await mine;
      if (finished) return pass;
    }
  };

  /** Whoever a complete read did not show: read directly, and taken out only when really gone. */
  const sweep = async (directoryRead: CompleteDirectory): Promise<void> => {
    const { round } = directoryRead;
    const { live, seen } = await store.countUsers(source, round);
    const alert = `directory_empty:${source}`;
    if (seen === 0 && live > 0) {
      await store.raiseAlert(
        alert,
        'directory_empty',
        `Source ${source}: a full read of the tenant showed nobody, where ${live} people were known. Nobody was removed. An operator checks USHER_GRAPH_TENANT_ID and the permissions with «usher doctor».`,
      );
      await store.sweptPass(fence, 'users');
      return;
    }
    await store.resolveAlert(alert);
    for (let after = ''; ; ) {
      const absent = await store.absentUsers(source, round, after, 200);
      const last = absent.at(-1);
      if (last === undefined) break;
      after = last;
      report.absent += absent.length;
      const { gone, there } = await confirm(absent);
      await storeUsers(there, gone, { link: null, finished: true, round, mark: true });
    }
    await store.sweptPass(fence, 'users');
  };

  return {
    /** Everything of this kind is to be read anew. */
    begin: (kind: 'users' | 'groups') =>
      store.beginPass(fence, kind, kind === 'users' ? select : directory.selectGroups, true),

    async users(known: DirectoryPass | null): Promise<void> {
      const unswept = known && !known.swept ? completeDirectory(known) : null;
      if (unswept) await sweep(unswept);
      const pass = await walk(
        'users',
        known,
        select,
        (link) => directory.usersPage(link, select),
        async (entries, { link, finished, round, isFull }, after) => {
          const removed = [...new Set(entries.filter((entry) => entry.removed).map((entry) => entry.objectId))];
          const { gone, there } = removed.length > 0 ? await confirm(removed) : { gone: [], there: [] };
          report.notGone += there.length;
          const seen = [...entries.filter((entry) => !entry.removed), ...there];
          report.guests += seen.filter(({ attributes }) => foldAddress(attributes.userType ?? '') === 'guest').length;
          report.disabled += seen.filter(({ attributes }) => attributes.enabled === false).length;
          await storeUsers(seen, gone, { link, finished, round, mark: isFull }, after);
        },
      );
      const directoryRead = completeDirectory(pass);
      if (directoryRead) await sweep(directoryRead);
      await settleDoubts(pass.round);
    },

    async groups(known: DirectoryPass | null): Promise<void> {
      const unswept = known && !known.swept ? completeDirectory(known) : null;
      if (unswept) await sweepGroups(unswept);
      const pass = await walk(
        'groups',
        known,
        directory.selectGroups,
        (link) => directory.groupsPage(link, directory.selectGroups),
        async (entries, { link, finished, round, isFull }) => {
          const { groups, joined, left, removed } = await settleGroups(entries);
          const page = {
            link,
            finished,
            round,
            mark: isFull,
            groups: groups.map(({ objectId, displayName }) => ({
              groupId: resourceIdOf(source, objectId),
              externalId: objectId,
              displayName,
            })),
            joined: joined.map(({ groupId, member, kind }) => ({
              groupId: resourceIdOf(source, groupId),
              memberId: resourceIdOf(source, member),
              kind,
            })),
            left: left.map(({ groupId, member }) => ({
              groupId: resourceIdOf(source, groupId),
              memberId: resourceIdOf(source, member),
            })),
            removed: removed.map((objectId) => resourceIdOf(source, objectId)),
          };
          const { people, changes } = await store.storeGroupPage(fence, page, cause);
          report.changes += changes;
          await parts.reconsider(people);
          wake(people);
        },
      );
      const directoryRead = completeDirectory(pass);
      if (directoryRead) await sweepGroups(directoryRead);
    },
  };

  /**
   * A page of groups, the last word of each group and each membership counting. What is said to have ended is asked for directly; where the tenant still
   * shows it, it stays, and the groups are read anew.
   */
  async function settleGroups(entries: DirectoryGroupChange[]) {
    const groups = new Map<string, { objectId: string; displayName: string | null; removed: boolean }>();
    const members = new Map<string, { groupId: string; member: string; kind: 'User' | 'Group'; removed: boolean }>();
    for (const entry of entries) {
      const before = groups.get(entry.objectId);
      groups.set(entry.objectId, {
        objectId: entry.objectId,
        displayName: entry.displayName ?? before?.displayName ?? null,
        removed: entry.removed,
      });
      for (const { objectId, kind, removed } of entry.members)
        members.set(`${entry.objectId}/${objectId}`, { groupId: entry.objectId, member: objectId, kind, removed });
    }
    const ended = [...members.values()].filter((membership) => membership.removed);
    const removed = [...groups.values()].filter((group) => group.removed);
    const stillMember = await inTurn(ended, ({ member, groupId, kind }) =>
      patiently(() => directory.isMember(member, groupId, kind)),
    );
    const stillThere = await inTurn(removed, ({ objectId }) => patiently(() => directory.hasGroup(objectId)));
    if (stillMember.includes(true) || stillThere.some((there) => there !== false)) {
      report.notGone += stillMember.filter((is) => is === true).length;
      await store.requestSync(source, true);
    }
    return {
      groups: [...groups.values()].filter((group) => !group.removed),
      joined: [...members.values()].filter((membership) => !membership.removed),
      left: ended.filter((_membership, index) => stillMember[index] !== true),
      removed: removed.filter((_group, index) => stillThere[index] === false).map((group) => group.objectId),
    };
  }

  /** The wish of these people may be another now; a hint that nothing is due for costs little. */
  function wake(personIds: string[]): void {
    for (const personId of personIds) {
      hints.add('create-user', personId);
      if (policy.delegation !== 'ignored') hints.add('check-delegation', personId);
      hints.add('offboard', personId);
    }
  }

  /** A complete read replaces what was known of groups; one that shows none at all is not believed. */
  async function sweepGroups({ round }: CompleteDirectory): Promise<void> {
    const alert = `groups_empty:${source}`;
    const { known, seen } = await store.countGroups(source, round);
    if (seen === 0 && known > 0) {
      await store.raiseAlert(
        alert,
        'groups_empty',
        `Source ${source}: a full read of the tenant's groups showed none, where ${known} were known. Nobody lost a group. An operator checks the permissions with «usher doctor».`,
      );
      await store.sweptPass(fence, 'groups');
      return;
    }
    await store.resolveAlert(alert);
    const { people, changes } = await store.sweepGroups(fence, round, cause);
    await store.sweptPass(fence, 'groups');
    report.changes += changes;
    await parts.reconsider(people);
    wake(people);
  }
}
