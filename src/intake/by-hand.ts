/**
 * People whom an administrator adds, changes and takes back by hand. They are people of a source like any other: the rules of the policy apply to them, and
 * another source may join them later.
 */
import { type Cells, mergedFields, readRow, userFromFields } from '../domain/csv-people.ts';
import type { RowKind } from '../domain/import-plan.ts';
import type { DirectoryUser, Person, Wish } from '../domain/person.ts';
import type { Policy, Source } from '../domain/policy.ts';
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
import { decideRow, faultOfWish } from './decide-row.ts';
import { changeFor, type Hints, mustNotPause, openIntake } from './record-change.ts';

export interface ByHandParts {
  store: IntakeStore & Pick<ImportStore, 'rowSights'> & PolicyStore & Pick<AccessStore, 'touch' | 'sources'>;
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

/** The source of people who are added by hand. Throws what to add to the policy where there is none. */
function consoleSource(policy: Policy): Source {
  const source = policy.sources.find((entry) => entry.kind === 'console');
  if (!source)
    throw new UsherError(
      'invalid_value',
      'The policy has no source for people who are added by hand. Add one, with the domains whose people it may know by e-mail: sources: [..., { name: console, kind: console, domains: [contoso.com] }].',
    );
  return source;
}

const mostTries = 5;

export type ByHand = ReturnType<typeof openByHand>;

export function openByHand({ store, account, policy, hints, now }: ByHandParts) {
  const { namesInParts } = account.capabilities;
  // Never the short way in: an administrator may add whom another source sends at the same moment.
  const intake = openIntake({ store, hints, policy, now, oneSource: false });

  const described = (cells: Cells, source: Source) => {
    const { fields, faults } = readRow(cells);
    if (faults.length > 0)
      throw new UsherError(
        'invalid_value',
        faults
          .map(({ column, reason, suggestion }) => `${column}: ${reason}${suggestion ? `; perhaps ${suggestion}` : ''}`)
          .join('. '),
      );
    const resource = mergedFields({}, fields);
    const user = userFromFields(resource, { source: source.name, resourceId: newId(), activeSince: now() });
    return { fields, resource, user };
  };

  async function look(cells: Cells) {
    const source = consoleSource(policy);
    const { fields, resource, user } = described(cells, source);
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
        note: `${user.userName} was added by hand already. Change them on their own page.`,
      });
    else if (plan.kind === 'new' && other)
      // A source that may not claim them would make the same human twice.
      Object.assign(plan, {
        kind: 'ambiguous',
        personId: other.personId,
        note: `Somebody with the address ${other.address ?? user.userName} is known already. Act on that person; or let the source «${source.name}» know people of this domain by e-mail (domains, in the policy).`,
      });
    return { source, user, resource, plan };
  }

  async function knownPerson(personId: string): Promise<PersonWithSources & { reconsider: number }> {
    const found = await store.withSources(personId);
    if (!found) throw new UsherError('not_found', 'There is no such person.');
    return found;
  }

  return {
    /** What adding them would mean; nothing is done. Throws `invalid_value` with every faulty field. */
    plan: async (cells: Cells): Promise<ByHandPlan> => (await look(cells)).plan,

    /** Throws `conflict` where they are known, or could be more than one person. Answers the personId. */
    async add(cells: Cells, cause: Cause): Promise<string> {
      const { source, user, resource, plan } = await look(cells);
      await mustNotPause(store, source.name);
      if (plan.kind === 'faulty') throw new UsherError('invalid_value', plan.note ?? 'This can not be taken.');
      if (plan.kind !== 'new' && plan.kind !== 'known')
        throw new UsherError('conflict', plan.note ?? `${user.userName} is known already.`);
      await store.touch([], [source.name], now());
      return (await intake.create(user, resource, cause)).personId;
    },

    /** What is null is cleared, what is absent stays. Only of people whom somebody added by hand; the others are changed where they come from. */
    async change(
      personId: string,
      changes: { [K in keyof Cells]?: Cells[K] | null | undefined },
      cause: Cause,
    ): Promise<void> {
      const source = consoleSource(policy);
      await mustNotPause(store, source.name);
      const { users } = await knownPerson(personId);
      const own = users.find((user) => user.source === source.name && !user.deletedAt);
      if (!own) {
        const others = users.filter((user) => !user.deletedAt).map((user) => user.source);
        throw new UsherError(
          'conflict',
          `What is known of this person comes from ${others.join(' and ') || 'a source that deleted them'}; it is changed there.`,
        );
      }
      const said = Object.entries(changes).filter(([, value]) => value !== undefined);
      await intake.change(
        source.name,
        own.resourceId,
        (before) => {
          const kept = Object.fromEntries(
            Object.entries(before.resource).filter(([column]) => changes[column as keyof Cells] !== null),
          );
          // Whoever never got another user name goes by the address.
          if (changes.email && before.resource.userName === before.resource.email) delete kept.userName;
          const cells = { ...asCells(kept), ...Object.fromEntries(said.filter(([, value]) => value !== null)) };
          const { resource, user } = described(cells, source);
          const after = { ...user, resourceId: own.resourceId };
          const alone = changeFor([after], null, policy, after);
          const fault = faultOfWish(alone.wish, alone.lifecycle, namesInParts);
          if (fault) throw new UsherError('invalid_value', fault);
          return JSON.stringify(resource) === JSON.stringify(before.resource)
            ? 'unchanged'
            : { user: after, resource: { ...resource, ...(kept.active === undefined ? {} : { active: kept.active }) } };
        },
        cause,
      );
    },

    /** Whoever left is wanted again, as the sources and the policy say now; with `plan` it is only found out whether that can be. */
    async restore(personId: string, cause: Cause, plan = false): Promise<void> {
      for (let tries = 1; tries <= mostTries; tries++) {
        const { person, users, reconsider } = await knownPerson(personId);
        if (person.lifecycle === 'wanted' || person.lifecycle === 'out_of_scope')
          throw new UsherError(
            'conflict',
            `This person is ${person.lifecycle}, and does not leave; there is nothing to take back.`,
          );
        const first = users[0];
        const change = first ? changeFor(users, { ...person, leave: null }, policy, first) : null;
        if (change?.lifecycle !== 'wanted') throw new UsherError('conflict', whyNot(users));
        if (plan) return;
        if (
          await store.changeWish(
            personId,
            person.generation,
            { ...change, newGeneration: true },
            reconsider,
            cause,
            'person.restored',
          )
        ) {
          hints.add('create-user', personId);
          if (policy.delegation !== 'ignored') hints.add('check-delegation', personId);
          return;
        }
      }
      throw new UsherError('conflict', 'Too many others change this person at the same time.');
    },

    /** What each source says of them. */
    said: async (personId: string): Promise<DirectoryUser[]> => (await knownPerson(personId)).users,
  };
}

/** Cells are text, as in a table. */
function asCells(resource: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(resource)
      .filter(([column]) => column !== 'active')
      .map(([column, value]) => [column, Array.isArray(value) ? value.join('|') : String(value)]),
  );
}

function whyNot(users: DirectoryUser[]): string {
  const live = users.filter((user) => !user.deletedAt);
  if (live.length === 0)
    return 'Every source deleted this person. Whoever has them in their directory sends them again, or an administrator adds them by hand.';
  const inactive = live.filter((user) => !user.active).map((user) => user.source);
  if (inactive.length > 0)
    return `Source ${inactive.join(' and ')} says that this person is not active. The administrator of that directory makes them active again.`;
  return 'No rule of the policy matches this person. An operator changes the policy, or what the source says of them.';
}
