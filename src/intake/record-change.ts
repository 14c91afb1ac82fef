/**
 * The one way in for every source: what it says of a user becomes the user, the person's wish and the history, in one transaction.
 * Only then the caller answers; the hint to the workers follows and may be lost.
 */

import { type Candidate, correlate } from '../domain/correlate.ts';
import type { Step } from '../domain/next-steps.ts';
import { type DirectoryUser, type Person, wishChanged } from '../domain/person.ts';
import type { Policy } from '../domain/policy.ts';
import { wishFor } from '../domain/wish.ts';
import { UsherError } from '../errors.ts';
import { newId } from '../ids.ts';
import type {
  Cause,
  CreateDecision,
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
  /** True while only one source can write: then nobody can send the same human at the same moment, and the short way in is safe. */
  oneSource: boolean;
}

export type Intake = ReturnType<typeof openIntake>;

/** How often a compare-and-set is tried when others write the same person at the same time. */
const mostTries = 20;

export function openIntake(parts: IntakeParts) {
  const { store, policy } = parts;
  return {
    async create(user: DirectoryUser, resource: Record<string, unknown>, cause: Cause): Promise<StoredUser> {
      const write = { user, resource };
      const alone = changeFor([user], null, policy, user);
      if (parts.oneSource) {
        const personId = newId();
        const stored = await store.createUnknown(write, personId, alone, cause, user.addresses);
        if (stored) {
          hint(parts, stored.personId, alone);
          return stored;
        }
      }
      let change = alone;
      const stored = await store.createCorrelated(
        write,
        async (candidates, load) => {
          const decision = await decide(candidates, load, user, alone, policy);
          change = decision.change;
          return decision;
        },
        cause,
      );
      hint(parts, stored.personId, change);
      return stored;
    },

    /** Reads, lets `edit` say what it becomes, and writes if nobody else did meanwhile; null when there is no such user. */
    async change(
      source: string,
      resourceId: string,
      edit: (before: StoredUser) => { user: DirectoryUser; resource: Record<string, unknown> } | 'unchanged',
      cause: Cause,
    ): Promise<StoredUser | null> {
      for (let tries = 1; tries <= mostTries; tries++) {
        const found = await store.findUserForChange(source, resourceId);
        if (!found) return null;
        const { stored, all } = found;
        const edited = edit(stored);
        if (edited === 'unchanged') return stored;
        const users = all.users.map((user) =>
          user.resourceId === resourceId ? turned(edited.user, user, parts.now()) : user,
        );
        const change = changeFor(users, all.person, policy, edited.user);
        // Compared with what the users said before: then nothing of the person's row has to be written.
        change.samePerson =
          !change.newGeneration &&
          JSON.stringify(change.shown) === JSON.stringify(shownAs(all.users, policy, edited.user));
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
    },

    async remove(
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
        const users = all.users.map((user) =>
          user.resourceId === resourceId ? { ...user, deletedAt: parts.now() } : user,
        );
        const own = all.users.find((user) => user.resourceId === resourceId);
        if (!own) return false;
        const change = changeFor(users, all.person, policy, own);
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
    },
  };
}

async function decide(
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

/** Lists show a person by the first source that holds them. */
function shownAs(users: DirectoryUser[], policy: Policy, own: DirectoryUser): ShownAs {
  const place = (user: DirectoryUser) => policy.sources.findIndex((source) => source.name === user.source);
  const first = users.filter((user) => !user.deletedAt).sort((a, b) => place(a) - place(b))[0] ?? own;
  return {
    source: first.source,
    externalId: first.externalId,
    userName: first.userName,
    displayName: first.displayName,
    email: first.email,
    active: first.active && !first.deletedAt,
  };
}

/** Turned active again, a user speaks from now on. */
function turned(after: DirectoryUser, before: DirectoryUser, now: Date): DirectoryUser {
  return { ...after, groups: before.groups, activeSince: after.active && !before.active ? now : before.activeSince };
}

/** Only what differs, for the history. */
function difference(
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
export function gatherHints(wakeUps: WakeUps, everyMs = 20, dropped: (count: number) => void = () => undefined): Hints {
  let gathered = new Map<Step, Set<string>>();
  let timer: NodeJS.Timeout | undefined;
  let sending: Promise<unknown> = Promise.resolve();
  const send = (): void => {
    timer = undefined;
    const batch = gathered;
    gathered = new Map();
    sending = Promise.all([
      sending,
      ...[...batch].map(async ([step, ids]) => dropped(await wakeUps.hint(step, [...ids]))),
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
