/**
 * The one way in for every source: what it says of a user becomes the user, the person's wish and the history, in one transaction.
 * Only then the caller answers; the hint to the workers follows and may be lost.
 */

import { type Candidate, correlate } from '../domain/correlate.ts';
import type { Step } from '../domain/next-steps.ts';
import { type DirectoryUser, type Person, wishChanged } from '../domain/person.ts';
import type { Policy, Source } from '../domain/policy.ts';
import { inOrder, wishFor } from '../domain/wish.ts';
import { UsherError } from '../errors.ts';
import { newId } from '../ids.ts';
import type {
  AccessStore,
  Cause,
  CreateDecision,
  HintWay,
  IntakeStore,
  PersonChange,
  PersonWithSources,
  ShownAs,
  StoredUser,
  WakeUps,
} from '../ports.ts';

export interface IntakeParts {
  store: IntakeStore;
  hints: Hints;
  policy: Policy;
  now: () => Date;
  /** True while only one source can write: then nobody else can send the same human at the same moment. */
  oneSource: boolean;
}

/** What a user becomes, from what they are; `all`: with everything known of the person. */
export type Edit = (
  before: StoredUser,
  all: PersonWithSources,
) => { user: DirectoryUser; resource: Record<string, unknown> } | 'unchanged';

export type Intake = ReturnType<typeof openIntake>;

/** How often a compare-and-set is tried when others write the same person at the same time. */
const mostTries = 20;

export function openIntake(parts: IntakeParts) {
  const { store, policy } = parts;
  const oneByOne = openTurns();
  return {
    /** `sure`: an administrator means one human; somebody who merely could be them is a reason to refuse, not for a second person. */
    async create(
      user: DirectoryUser,
      resource: Record<string, unknown>,
      cause: Cause,
      sure = false,
    ): Promise<StoredUser> {
      const write = { user, resource };
      const alone = changeFor([user], null, policy, user);
      const others = parts.oneSource ? 'none' : 'locked';
      const unknown = await store.createUnknown(write, newId(), alone, cause, user.addresses, others);
      if (unknown) {
        hint(parts, unknown.personId, alone);
        return unknown;
      }
      let change = alone;
      const stored = await store.createCorrelated(
        write,
        async (candidates, load) => {
          const decision = await decideCreate(candidates, load, user, alone, policy);
          if (sure && decision.kind === 'new' && candidates.length > 0)
            throw new UsherError('uniqueness', `Somebody who could be ${user.userName} came at the same moment.`);
          change = decision.change;
          return decision;
        },
        cause,
      );
      hint(parts, stored.personId, change);
      return stored;
    },

    /** Reads, lets `edit` say what it becomes, and writes if nobody else did meanwhile; null when there is no such user. */
    async change(source: string, resourceId: string, edit: Edit, cause: Cause): Promise<StoredUser | null> {
      return oneByOne(resourceId, () => changeOnce(source, resourceId, edit, cause));
    },

    async remove(
      source: string,
      resourceId: string,
      check: (before: StoredUser) => void,
      cause: Cause,
    ): Promise<boolean> {
      return oneByOne(resourceId, () => removeOnce(source, resourceId, check, cause));
    },
  };

  async function changeOnce(source: string, resourceId: string, edit: Edit, cause: Cause): Promise<StoredUser | null> {
    for (let tries = 1; tries <= mostTries; tries++) {
      const found = await store.findUserForChange(source, resourceId);
      if (!found) return null;
      const { stored, all } = found;
      const edited = edit(stored, all);
      if (edited === 'unchanged') return stored;
      const change = changedBy(all, edited.user, policy, parts.now());
      const written = await store.updateUser(
        { resourceId, version: stored.version, personId: stored.personId, generation: all.person.generation },
        edited,
        change,
        difference(stored.resource, edited.resource),
        cause,
      );
      if (written) {
        hint(parts, stored.personId, change);
        const { externalId, userName, active } = edited.user;
        return { ...stored, externalId, userName, active, resource: edited.resource, ...written };
      }
    }
    throw new UsherError('conflict', 'Too many others change this user at the same time.');
  }

  async function removeOnce(
    source: string,
    resourceId: string,
    check: (before: StoredUser) => void,
    cause: Cause,
  ): Promise<boolean> {
    for (let tries = 1; tries <= mostTries; tries++) {
      const found = await store.findUserForChange(source, resourceId);
      if (!found) return false;
      const { stored, all } = found;
      check(stored);
      const change = withoutUser(all, resourceId, policy, parts.now());
      const written = await store.deleteUser(
        { resourceId, version: stored.version, personId: stored.personId, generation: all.person.generation },
        change,
        stored.resource,
        cause,
      );
      if (written) {
        hint(parts, stored.personId, change);
        return true;
      }
    }
    throw new UsherError('conflict', 'Too many others change this user at the same time.');
  }
}

/**
 * Changes of one user by this process come one after the other: side by side each but one would lose its compare-and-set and begin again, and with
 * fifty of them the last would give up.
 */
function openTurns() {
  const tails = new Map<string, Promise<unknown>>();
  return <T>(key: string, work: () => Promise<T>): Promise<T> => {
    const before = tails.get(key);
    const mine = before === undefined ? work() : before.then(work, work);
    const tail: Promise<unknown> = mine
      .catch(() => undefined)
      .finally(() => {
        if (tails.get(key) === tail) tails.delete(key);
      });
    tails.set(key, tail);
    return mine;
  };
}

export async function decideCreate(
  candidates: Candidate[],
  load: (personId: string) => Promise<PersonWithSources | null>,
  user: DirectoryUser,
  alone: PersonChange,
  policy: Policy,
): Promise<CreateDecision> {
  const correlation = correlate(
    user,
    candidates,
    policy.sources.find((source) => source.name === user.source),
  );
  if (correlation.kind === 'link') {
    const known = await load(correlation.personId);
    if (known) {
      const change = changeFor([...known.users, user], known.person, policy, user);
      return { kind: 'attach', personId: correlation.personId, generation: known.person.generation, change };
    }
  }
  return {
    kind: 'new',
    personId: newId(),
    change: alone,
    ambiguousWith: correlation.kind === 'ambiguous' ? correlation.personIds : [],
  };
}

/** What the sources say now, as a change of the person. */
export function changeFor(
  users: DirectoryUser[],
  person: Person | null,
  policy: Policy,
  own: DirectoryUser,
): PersonChange {
  const wanted = wishFor(users, policy, person);
  const newGeneration = !person || person.lifecycle !== wanted.lifecycle || wishChanged(person.wish, wanted.wish);
  return {
    ...wanted,
    newGeneration: person !== null && newGeneration,
    samePerson: false,
    shown: shownAs(users, policy, own),
  };
}

/** What one of a person's users becoming `after` means for the person. */
export function changedBy(all: PersonWithSources, after: DirectoryUser, policy: Policy, now: Date): PersonChange {
  const users = all.users.map((user) => (user.resourceId === after.resourceId ? turned(after, user, now) : user));
  const change = changeFor(users, all.person, policy, after);
  // Compared with what the users said before: then nothing of the person's row has to be written.
  change.samePerson =
    !change.newGeneration && JSON.stringify(change.shown) === JSON.stringify(shownAs(all.users, policy, after));
  return change;
}

/** What the end of one of a person's users means for the person. */
export function withoutUser(all: PersonWithSources, resourceId: string, policy: Policy, now: Date): PersonChange {
  const users = all.users.map((user) => (user.resourceId === resourceId ? { ...user, deletedAt: now } : user));
  const own = users.find((user) => user.resourceId === resourceId);
  if (!own) throw new UsherError('internal', 'The user is none of this person.');
  return changeFor(users, all.person, policy, own);
}

/** Lists show a person by the first source that holds them. */
function shownAs(users: DirectoryUser[], policy: Policy, own: DirectoryUser): ShownAs {
  const first = inOrder(users, policy).find((user) => !user.deletedAt) ?? own;
  return {
    source: first.source,
    externalId: first.externalId,
    userName: first.userName,
    displayName: first.displayName,
    email: first.email,
    active: first.active && !first.deletedAt,
  };
}

/** Turned active again, or brought back, a user speaks from now on. */
function turned(after: DirectoryUser, before: DirectoryUser, now: Date): DirectoryUser {
  return {
    ...after,
    groups: before.groups,
    activeSince: after.active && (!before.active || before.deletedAt !== null) ? now : before.activeSince,
  };
}

const brought = { csv: 'tables', console: 'people who are added by hand' };

/** The source of what somebody brings. Throws what to add to the policy where there is none. */
export function sourceOf(kind: keyof typeof brought, policy: Policy): Source {
  const source = policy.sources.find((entry) => entry.kind === kind);
  if (!source)
    throw new UsherError(
      'invalid_value',
      `The policy has no source for ${brought[kind]}. Add one, with the domains whose people it may know by e-mail: sources: [..., { name: ${kind}, kind: ${kind}, domains: [contoso.com] }].`,
    );
  return source;
}

/** Throws `source_paused` where somebody paused the source. */
export async function mustNotPause(store: Pick<AccessStore, 'sources'>, name: string): Promise<void> {
  if ((await store.sources()).some((source) => source.name === name && source.pausedAt))
    throw new UsherError(
      'source_paused',
      `Source ${name} is paused; nothing is taken from it until somebody resumes it.`,
    );
}

/** Only what differs, for the history. */
export function difference(
  before: Record<string, unknown>,
  after: Record<string, unknown>,
): { before: unknown; after: unknown } {
  const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])].filter(
    (key) => JSON.stringify(before[key]) !== JSON.stringify(after[key]),
  );
  const pick = (from: Record<string, unknown>) => Object.fromEntries(keys.map((key) => [key, from[key] ?? null]));
  return { before: pick(before), after: pick(after) };
}

function hint({ hints, policy }: IntakeParts, personId: string, change: PersonChange): void {
  if (change.lifecycle === 'wanted') {
    hints.add('create-user', personId);
    if (policy.delegation !== 'ignored') hints.add('check-delegation', personId);
  }
  if (change.lifecycle === 'leaving') hints.add('offboard', personId);
}

export interface Hints {
  add(step: Step, personId: string): void;
  /** Sends what is gathered, and waits for it. */
  flush(): Promise<void>;
}

/**
 * Hints gathered for a moment and sent together: one add a create costs a quarter of the throughput. A crash drops what is gathered,
 * which is right: the sweep over due people is the truth.
 */
export function gatherHints(
  wakeUps: WakeUps,
  everyMs = 20,
  dropped: (count: number) => void = () => undefined,
  way: HintWay = 'soon',
): Hints {
  let gathered = new Map<Step, Set<string>>();
  let timer: NodeJS.Timeout | undefined;
  let sending: Promise<unknown> = Promise.resolve();
  const send = (): void => {
    timer = undefined;
    const batch = gathered;
    gathered = new Map();
    sending = Promise.all([
      sending,
      ...[...batch].map(async ([step, ids]) => dropped(await wakeUps.hint(step, [...ids], way))),
    ]);
  };
  return {
    add(step, personId) {
      gathered.set(step, (gathered.get(step) ?? new Set()).add(personId));
      timer ??= setTimeout(send, everyMs);
    },
    async flush() {
      clearTimeout(timer);
      send();
      await sending;
    },
  };
}
