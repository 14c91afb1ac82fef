/**
 * People whom an administrator adds, changes and takes back by hand. They are people of a source like any other: the rules of the policy apply to them, and
 * another source may join them later.
 */
import { type Cells, type CsvFields, type Described, readRow, userFromFields } from '../domain/csv-people.ts';
import type { RowKind } from '../domain/import-plan.ts';
import type { DirectoryUser, Person, Wish } from '../domain/person.ts';
import type { Policy } from '../domain/policy.ts';
import { speaker } from '../domain/wish.ts';
import { UsherError } from '../errors.ts';
import { newId } from '../ids.ts';
import type {
  AccessStore,
  Cause,
  ImportStore,
  IntakeStore,
  PersonWithSources,
  PolicyStore,
  SchedulingAccount,
} from '../ports.ts';
import { decideRow, faultOfWish, isSame, whyNotWanted } from './decide-row.ts';
import { changedBy, changeFor, type Hints, type Intake, mustNotPause, sourceOf } from './record-change.ts';

export interface ByHandParts {
  store: IntakeStore & Pick<ImportStore, 'rowSights'> & PolicyStore & Pick<AccessStore, 'touch' | 'sources'>;
  intake: Intake;
  account: Pick<SchedulingAccount, 'capabilities'>;
  policy: Policy;
  hints: Hints;
  now: () => Date;
}

/** What adding somebody would mean. Only `new` and `known` can be added. */
export interface ByHandPlan {
  kind: RowKind;
  note: string | null;
  personId: string | null;
  lifecycle: Person['lifecycle'] | null;
  wish: Pick<Wish, 'licenses' | 'bookingPages' | 'role'> | null;
}

export type ByHand = ReturnType<typeof openByHand>;

export function openByHand({ store, intake, account, policy, hints, now }: ByHandParts) {
  const { namesInParts } = account.capabilities;

  async function look(described: Described) {
    const source = sourceOf('console', policy);
    const fields = fieldsOf(described);
    const user = userFromFields({ ...fields }, { source: source.name, resourceId: newId(), activeSince: now() });
    const [sight] = await store.rowSights([user]);
    if (!sight) throw new UsherError('internal', 'Nobody was looked for.');
    const decided = decideRow({ policy, source, namesInParts, now }, fields, user, sight);
    const plan: ByHandPlan = {
      kind: decided.kind,
      note: decided.note ?? null,
      personId: decided.personId ?? null,
      lifecycle: decided.lifecycle ?? null,
      wish: decided.wish ?? null,
    };
    const other = sight.candidates[0];
    if (sight.own)
      Object.assign(plan, {
        kind: 'unchanged',
        note: `${sight.own.stored.userName} was added by hand already. Change them, or take their leaving back, on their own page.`,
      });
    else if (plan.kind === 'new' && other)
      // A source that may not claim them would make the same human twice.
      Object.assign(plan, {
        kind: 'ambiguous',
        personId: other.personId,
        note: `Somebody with the address ${other.address ?? user.userName} is known already. Act on that person; or let the source «${source.name}» know people of this domain by e-mail (domains, in the policy).`,
      });
    return { source, user, resource: { ...fields } as Record<string, unknown>, plan };
  }

  async function knownPerson(personId: string): Promise<PersonWithSources> {
    const found = await store.withSources(personId);
    if (!found) throw new UsherError('not_found', 'There is no such person.');
    return found;
  }

  /** Nobody is given what another human is known by. */
  async function mustBeNobodyElses(after: DirectoryUser, personId: string): Promise<void> {
    const [sight] = await store.rowSights([after]);
    const other = [...(sight?.candidates ?? []), ...(sight?.own ? [sight.own.stored] : [])].find(
      (candidate) => candidate.personId !== personId,
    );
    if (other)
      throw new UsherError(
        'conflict',
        `The e-mail address, user name or externalId is known of somebody else already (${other.personId}).`,
      );
  }

  /** What the person becomes where an administrator wants them again; refused with the reason, and who mends it. */
  function wantedAgain({ person, users }: PersonWithSources) {
    if (person.lifecycle === 'wanted' || person.lifecycle === 'out_of_scope')
      throw new UsherError(
        'conflict',
        `This person is ${person.lifecycle}, and does not leave; there is nothing to take back.`,
      );
    // Whom a changed policy would take something from, and nobody decided yet, keeps it further.
    const keeps = person.wish?.keptUnder === policy.version;
    const before: Person = { ...person, leave: null, ...(keeps ? { lifecycle: 'wanted' } : {}) };
    const byHand = policy.sources.find(({ kind }) => kind === 'console')?.name;
    const own = users.find(({ source, deletedAt, active }) => source === byHand && !deletedAt && active);
    // As the sources say; else, by an administrator's word: the one who was added by hand speaks from now on.
    for (const activeAgain of own ? [null, own.resourceId] : [null]) {
      const spoken = users.map((user) => (user.resourceId === activeAgain ? { ...user, activeSince: now() } : user));
      const first = spoken[0];
      const change = first ? changeFor(spoken, before, policy, first) : null;
      if (change?.lifecycle === 'wanted') return { change: { ...change, newGeneration: true }, activeAgain };
    }
    throw new UsherError('conflict', whyNotWanted(users, policy));
  }

  return {
    /** What adding them would mean; nothing is done. Throws `invalid_value` with every faulty field. */
    plan: async (described: Described): Promise<ByHandPlan> => (await look(described)).plan,

    /** Throws `conflict` where they are known, or could be more than one person. Answers the personId. */
    async add(described: Described, cause: Cause): Promise<string> {
      const { source, user, resource, plan } = await look(described);
      await mustNotPause(store, source.name);
      if (plan.kind === 'faulty') throw new UsherError('invalid_value', plan.note ?? 'This can not be taken.');
      if (plan.kind !== 'new' && plan.kind !== 'known')
        throw new UsherError('conflict', plan.note ?? `${user.userName} is known already.`);
      await store.touch([], [source.name], now());
      return (await intake.create(user, resource, cause, true)).personId;
    },

    /**
     * What is null is cleared, what is absent stays. Only of people of whom the console speaks first; the others are changed where they come from.
     * `mayLeave`: also where no rule matches any more, so that they leave.
     */
    async change(personId: string, changes: Described, mayLeave: boolean, cause: Cause): Promise<void> {
      const source = sourceOf('console', policy);
      await mustNotPause(store, source.name);
      const own = speaker((await knownPerson(personId)).users, policy);
      if (!own || own.deletedAt || own.source !== source.name)
        throw new UsherError(
          'conflict',
          `What is known of this person comes from ${own?.source ?? 'nowhere any more'}; it is changed there.`,
        );
      const edited = (resource: Record<string, unknown>) => {
        const { active, ...before } = resource;
        // Whoever never got another user name goes by the address.
        if (changes.email && before.userName === before.email) delete before.userName;
        const fields = fieldsOf({ ...(before as Described), ...changes });
        const after: Record<string, unknown> = { ...fields, ...(active === undefined ? {} : { active }) };
        return { resource: after, user: userFromFields(after, own) };
      };
      const stored = await store.findUserForChange(source.name, own.resourceId);
      if (stored) await mustBeNobodyElses(edited(stored.stored.resource).user, personId);
      const done = await intake.change(
        source.name,
        own.resourceId,
        (before, all) => {
          const { resource, user } = edited(before.resource);
          if (isSame(resource, before.resource)) return 'unchanged';
          const change = changedBy(all, user, policy, now());
          const fault = faultOfWish(change.wish, change.lifecycle, namesInParts);
          if (fault) throw new UsherError('invalid_value', fault);
          if (all.person.lifecycle === 'wanted' && change.lifecycle !== 'wanted' && !mayLeave)
            throw new UsherError(
              'would_leave',
              'No rule of the policy would match this person any more: they would leave. Send "mayLeave": true if that is meant.',
            );
          return { user, resource };
        },
        cause,
      );
      if (!done) throw new UsherError('not_found', 'This person was removed at the same moment.');
    },

    /** Whoever left is wanted again, as the sources and the policy say now; with `plan` it is only found out whether that can be. */
    async restore(personId: string, cause: Cause, plan: boolean): Promise<void> {
      if (plan) return void wantedAgain(await knownPerson(personId));
      await store.changeLocked(personId, wantedAgain, cause, 'person.restored');
      hints.add('create-user', personId);
      if (policy.delegation !== 'ignored') hints.add('check-delegation', personId);
    },

    /** What each source says of them. */
    said: async (personId: string): Promise<DirectoryUser[]> => (await knownPerson(personId)).users,
  };
}

/** Throws `invalid_value` with every faulty field at once. */
function fieldsOf({ licenses, bookingPages, ...cells }: Described): CsvFields {
  const text = Object.fromEntries(Object.entries(cells).filter(([, value]) => typeof value === 'string'));
  const { fields, faults } = readRow(text as Cells);
  if (faults.length > 0)
    throw new UsherError(
      'invalid_value',
      faults
        .map(({ column, reason, suggestion }) => `${column}: ${reason}${suggestion ? `; perhaps ${suggestion}` : ''}`)
        .join('. '),
    );
  return { ...fields, ...(licenses ? { licenses } : {}), ...(bookingPages ? { bookingPages } : {}) };
}
