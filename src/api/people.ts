/** People: conditions, history, "this person now", leaving, and what was kept by hand. */
import { z } from 'zod';
import type { AccountAdministration } from '../administration.ts';
import { conditionTypes, readiness, reasons } from '../domain/conditions.ts';
import { type Described, textColumns } from '../domain/csv-people.ts';
import { type DirectoryUser, lifecycles } from '../domain/person.ts';
import type { Policy } from '../domain/policy.ts';
import { text as plainText } from '../domain/user-settings.ts';
import { UsherError } from '../errors.ts';
import type { AdminStore, Cause, HistoryRow, Provision, SchedulingAccount, ShownPerson, WakeUps } from '../ports.ts';
import { type Route, route } from './route.ts';
import * as shapes from './shapes.ts';

/** People whom an administrator adds, changes and takes back; the port of `intake`. */
export interface PeopleByHand {
  plan(
    described: Described,
  ): Promise<{ kind: string; note: string | null; personId: string | null; lifecycle: string | null }>;
  add(described: Described, cause: Cause): Promise<string>;
  change(personId: string, changes: Described, mayLeave: boolean, cause: Cause): Promise<void>;
  restore(personId: string, cause: Cause, plan: boolean): Promise<void>;
  said(personId: string): Promise<DirectoryUser[]>;
}

export interface PeopleParts {
  store: AdminStore;
  account: SchedulingAccount;
  administration: AccountAdministration | null;
  wakeUps: WakeUps;
  policy: Policy;
  byHand: PeopleByHand;
  findOne(who: string): Promise<ShownPerson>;
}

export const limit = z.coerce.number().int().min(1).max(500).default(100);
export const before = z
  .string()
  .regex(/^\d{1,18}$/)
  .optional();

const peopleQuery = z.strictObject({
  filter: z.string().max(200).optional(),
  condition: z.enum([...conditionTypes]).optional(),
  status: z.enum(['true', 'false', 'unknown']).optional(),
  reason: z.enum(Object.keys(reasons) as [keyof typeof reasons]).optional(),
  source: z.string().max(100).optional(),
  group: z.string().trim().min(1).max(300).optional(),
  lifecycle: z.enum(lifecycles).optional(),
  ready: z.enum(['true', 'false']).optional(),
  limit,
  cursor: z.string().max(2000).optional(),
  /** Into the middle of the list; `cursor` is steadier where everybody is read. */
  offset: z.coerce.number().int().min(0).max(10_000_000).optional(),
});
const historyQuery = z.strictObject({ limit, before });
const line = plainText(320);
const several = z.array(plainText(100)).max(50);
const described = {
  ...Object.fromEntries(textColumns.map((column) => [column, line.nullable().optional()])),
  licenses: several.nullable().optional(),
  bookingPages: several.nullable().optional(),
} as Record<(typeof textColumns)[number], z.ZodOptional<z.ZodNullable<typeof line>>> &
  Record<'licenses' | 'bookingPages', z.ZodOptional<z.ZodNullable<typeof several>>>;
const addBody = z.strictObject({ ...described, plan: z.boolean().default(false) });
const changeBody = z.strictObject({ ...described, mayLeave: z.boolean().default(false) });
const provisionBody = z.strictObject({ plan: z.boolean().default(false) });

/** How long a provision is waited for before the caller gets its address instead. */
const waitForProvisionMs = 30_000;

export function peopleRoutes(parts: PeopleParts): Route[] {
  const { store, account, administration, wakeUps, policy, byHand, findOne } = parts;
  const tag = 'People';
  const find = (params: Record<string, string>): Promise<ShownPerson> => findOne(params.who ?? '');
  return [
    route({
      method: 'get',
      path: '/people',
      tag,
      summary: 'Everybody, with conditions; filtered by text, condition, reason, source',
      operation: 'people.read',
      query: peopleQuery,
      answers: { 200: { description: 'A page of people.', schema: shapes.listOf(shapes.person) } },
      async handle({ query }) {
        const page = await store.people({
          ...query,
          ready: query.ready === undefined ? undefined : query.ready === 'true',
        });
        return {
          body: {
            items: page.items.map((person) => showPerson(person, policy)),
            nextCursor: page.nextCursor,
            total: page.total,
          },
        };
      },
    }),
    route({
      method: 'get',
      path: '/people/{who}',
      tag,
      summary: 'One person, by personId, userName, e-mail address or externalId',
      operation: 'people.read',
      answers: { 200: { description: 'The person.', schema: shapes.person } },
      handle: async ({ params }) => ({ body: showPerson(await find(params), policy) }),
    }),
    route({
      method: 'post',
      path: '/people',
      tag,
      summary:
        'Add somebody by hand, as a person of the source of kind console; with plan: true only say what would become of them',
      operation: 'people.add',
      body: addBody,
      answers: {
        201: { description: 'The person.', schema: shapes.person },
        200: { description: 'With plan: true, what adding them would mean.', schema: shapes.byHandPlan },
      },
      async handle({ body: { plan, ...fields }, caller }) {
        if (plan) return { body: await byHand.plan(said(fields)) };
        const personId = await byHand.add(said(fields), caller.cause);
        return {
          status: 201,
          headers: { Location: `/api/v1/people/${personId}` },
          body: showPerson(await findOne(personId), policy),
        };
      },
    }),
    route({
      method: 'patch',
      path: '/people/{who}',
      tag,
      summary: 'Change what was said by hand of somebody who was added by hand; null clears a field',
      operation: 'people.add',
      body: changeBody,
      answers: { 200: { description: 'The person.', schema: shapes.person } },
      async handle({ params, body: { mayLeave, ...fields }, caller }) {
        const { personId } = (await find(params)).known.person;
        await byHand.change(personId, said(fields), mayLeave, caller.cause);
        return { body: showPerson(await findOne(personId), policy) };
      },
    }),
    route({
      method: 'get',
      path: '/people/{who}/sources',
      tag,
      summary: 'What each source says of a person',
      operation: 'people.read',
      answers: { 200: { description: 'By source.', schema: shapes.itemsOf(shapes.said) } },
      async handle({ params }) {
        const kindOf = new Map(policy.sources.map(({ name, kind }) => [name, kind]));
        const said = await byHand.said((await find(params)).known.person.personId);
        return {
          body: {
            items: said.map(({ resourceId: _key, addresses: _known, ...user }) => ({
              ...user,
              kind: kindOf.get(user.source) ?? null,
              groups: user.groups.map(({ name }) => name),
            })),
          },
        };
      },
    }),
    route({
      method: 'get',
      path: '/people/{who}/history',
      tag,
      summary: 'Who changed what of a person, before and after, and because of what; newest first',
      operation: 'people.read',
      query: historyQuery,
      answers: { 200: { description: 'A page of history.', schema: shapes.historyList } },
      async handle({ params, query }) {
        const person = await find(params);
        return showHistory(
          await store.history(person.known.person.personId, query.limit, query.before ?? null),
          query.limit,
        );
      },
    }),
    route({
      method: 'post',
      path: '/people/{who}/provision',
      tag,
      summary: 'Run every step of one person now; with plan: true nothing is done',
      operation: 'people.provision',
      body: provisionBody,
      answers: {
        200: { description: 'Each step, with what was seen and done.', schema: shapes.provisionResult },
        202: { description: 'It takes longer; Location says where the result will be.' },
      },
      async handle({ params, body, caller }) {
        const person = await find(params);
        const provision = await store.requestProvision(person.known.person.personId, body.plan, caller.cause.actor);
        // Best effort: the sweeper picks up a request whose hint was lost.
        await wakeUps.hint('express', [provision.provisionId], 'now');
        const finished = await waitFor(() => store.provision(provision.provisionId), waitForProvisionMs);
        return finished?.result ? { body: finished.result } : pending(provision.provisionId);
      },
    }),
    route({
      method: 'get',
      path: '/provisions/{id}',
      tag,
      summary: 'The result of a provision that took longer',
      operation: 'people.read',
      answers: {
        200: { description: 'The result.', schema: shapes.provisionResult },
        202: { description: 'Not yet.' },
      },
      async handle({ params }) {
        const provision = await store.provision(params.id ?? '');
        if (!provision) throw new UsherError('not_found', 'There is no such request.');
        return provision.result ? { body: provision.result } : pending(provision.provisionId);
      },
    }),
    route({
      method: 'post',
      path: '/people/{who}/offboard',
      tag,
      summary: 'A leaver by hand: sign-in ends at once, the rest waits for the hold and the brake',
      operation: 'people.offboard',
      answers: { 202: { description: 'The person, leaving.', schema: shapes.person } },
      async handle({ params, caller }) {
        const person = await find(params);
        const { personId } = person.known.person;
        if (!(await store.offboard(personId, caller.cause)))
          throw new UsherError(
            'conflict',
            `${person.displayName ?? person.userName} is ${person.known.person.lifecycle}; only somebody wanted can leave.`,
          );
        await wakeUps.hint('offboard', [personId], 'now');
        return { status: 202, body: showPerson(await find(params), policy) };
      },
    }),
    route({
      method: 'post',
      path: '/people/{who}/restore',
      tag,
      summary:
        'Take a leaving back, as long as the sources and the policy want the person; with plan: true only say whether that can be',
      operation: 'people.offboard',
      body: provisionBody,
      answers: { 200: { description: 'The person, wanted.', schema: shapes.person } },
      async handle({ params, body, caller }) {
        const { personId } = (await find(params)).known.person;
        await byHand.restore(personId, caller.cause, body.plan);
        return { body: showPerson(await findOne(personId), policy) };
      },
    }),
    ...(administration
      ? [
          route({
            method: 'delete',
            path: '/people/{who}/kept/{key}',
            tag,
            summary: 'Take back what an Administrator changed by hand; the rule has it again',
            operation: 'people.keep',
            answers: { 204: { description: 'Taken back.' } },
            async handle({ params, act }) {
              const { personId } = (await find(params)).known.person;
              if (!(await administration.takeBack(personId, params.key ?? '', act)))
                throw new UsherError('not_found', 'Nothing is kept by hand under this key.');
              await wakeUps.hint('create-user', [personId], 'now');
              return { status: 204 };
            },
          }),
          route({
            method: 'get',
            path: '/people/{who}/personal-data',
            tag,
            summary: 'Everything that is kept about one human, in one document',
            operation: 'people.personal_data',
            answers: { 200: { description: 'The data.', schema: z.looseObject({}) } },
            handle: async ({ params }) => ({
              body: await administration.personalData((await find(params)).known.person.personId),
              headers: { 'Content-Disposition': 'attachment; filename="personal-data.json"' },
            }),
          }),
          route({
            method: 'delete',
            path: '/people/{who}/personal-data',
            tag,
            summary: 'Erase everything about one human; the history stays under a pseudonym',
            operation: 'people.personal_data',
            answers: { 200: { description: 'What is left.', schema: z.looseObject({ pseudonym: z.string() }) } },
            handle: async ({ params, act }) => ({
              body: await administration.erase((await find(params)).known.person.personId, act),
            }),
          }),
        ]
      : []),
    route({
      method: 'get',
      path: '/summary/days',
      tag,
      summary: 'How many were wanted and how many Ready, on each of the last thirty days that Usher ran',
      operation: 'people.read',
      answers: { 200: { description: 'A row a day.', schema: shapes.itemsOf(shapes.readinessDay) } },
      handle: async () => ({ body: { items: await store.readinessByDay(30) } }),
    }),
    route({
      method: 'get',
      path: '/summary',
      tag,
      summary: 'Counts: people, ready, per condition and reason, seats',
      operation: 'people.read',
      answers: { 200: { description: 'The counts.', schema: shapes.summary } },
      async handle() {
        const [summary, licenses] = await Promise.all([store.summary(), account.licenseCounts()]);
        return { body: { ...summary, licenses } };
      },
    }),
  ];
}

/** Without what was not said. */
const said = (fields: { [K in keyof Described]?: Described[K] | undefined }): Described =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));

const pending = (provisionId: string) => ({
  status: 202,
  headers: { Location: `/api/v1/provisions/${provisionId}` },
  body: { provisionId, ready: false, steps: [] },
});

export function showHistory(rows: HistoryRow[], most: number) {
  return {
    body: {
      items: rows.map((row) => ({
        historyId: row.historyId,
        subject: row.personId,
        at: row.at,
        actor: row.cause.actor,
        cause: row.cause.by,
        action: row.action,
        before: row.before,
        after: row.after,
      })),
      nextBefore: rows.length === most ? (rows.at(-1)?.historyId ?? null) : null,
    },
  };
}

export function showPerson(shown: ShownPerson, policy: Policy) {
  const { person, conditions } = shown.known;
  const state = readiness(person, conditions, policy);
  return {
    personId: person.personId,
    source: shown.source,
    externalId: shown.externalId,
    userName: shown.userName,
    displayName: shown.displayName,
    email: shown.email,
    active: shown.active,
    role: person.wish?.role ?? null,
    lifecycle: person.lifecycle,
    accountUserId: person.accountUserId,
    ready: state.ready,
    reason: state.reason,
    generation: person.generation,
    rule: person.wish?.rule ?? null,
    licenses: person.wish?.licenses ?? [],
    bookingPages: person.wish?.bookingPages ?? [],
    kept: person.kept,
    leave: person.leave && { ...person.leave, since: person.leavingSince },
    conditions: conditionTypes.map((type) => {
      const condition = conditions[type];
      return {
        type,
        status: condition.status,
        reason: condition.reason,
        message:
          type === 'Delegation' && policy.delegation === 'ignored' && condition.status === 'unknown'
            ? 'The policy does not look at delegations (delegation: ignored).'
            : condition.message,
        owner: condition.owner,
        generation: condition.generation,
        evidence: condition.evidence,
        since: condition.since,
        checkedAt: condition.checkedAt,
        nextCheckAt: condition.nextCheckAt,
        attempts: condition.attempts,
      };
    }),
  };
}

/** Rows are written by a worker, perhaps in another process; the row is what is waited for. */
async function waitFor(read: () => Promise<Provision | null>, milliseconds: number): Promise<Provision | null> {
  const until = Date.now() + milliseconds;
  for (let pause = 20; ; pause = Math.min(pause * 1.5, 500)) {
    const provision = await read();
    if (!provision || provision.result || Date.now() > until) return provision;
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}
