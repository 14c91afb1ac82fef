/** `/api/v1/account/users` with their licenses, permissions and sessions, and the history of the built-in account. */
import { z } from 'zod';
import { type AccountAdministration, type ShownUser, type SignIn, userSorts } from '../administration.ts';
import { delegationHelp, helpLanguages } from '../domain/delegation-help.ts';
import { looksLikeAddress } from '../domain/email-address.ts';
import { forecast } from '../domain/license.ts';
import { roles } from '../domain/person.ts';
import type { Policy } from '../domain/policy.ts';
import { mayDo, permissionsOf, switchesOf } from '../domain/roles.ts';
import { newUser, ownProfileEdit, settingDefaults, userEdit } from '../domain/user-settings.ts';
import { UsherError } from '../errors.ts';
import type { AdminStore, StepStore, WakeUps } from '../ports.ts';
import { showMail } from './account-mails.ts';
import type { Caller, Site } from './caller.ts';
import { before, limit, showHistory, showPerson } from './people.ts';
import { must, type Route, route } from './route.ts';
import * as shapes from './shapes.ts';

export interface AccountParts {
  administration: AccountAdministration;
  signIn: SignIn;
  store: AdminStore & Pick<StepStore, 'wakeWaitingForSeats'>;
  wakeUps: WakeUps;
  policy: Policy;
  site: Site;
}

export const sorted = <T extends readonly [string, ...string[]]>(names: T) =>
  z
    .enum(names.flatMap((name) => [name, `-${name}`]) as [string, ...string[]])
    .transform((text) => ({ sort: text.replace(/^-/, '') as T[number], descending: text.startsWith('-') }));
export const yesNo = z.enum(['true', 'false']).transform((text) => text === 'true');
export const cursor = z.string().max(2000).optional();

const usersQuery = z.strictObject({
  filter: z.string().trim().max(200).optional(),
  role: z.enum(roles).optional(),
  status: z.enum(['Invited (Pending)', 'Has signed in']).optional(),
  suspended: yesNo.optional(),
  license: z.string().max(100).optional(),
  sort: sorted(userSorts).default({ sort: 'name', descending: false }),
  limit,
  cursor,
});
const editBody = userEdit.extend({ keepByHand: z.boolean().default(true) });
const licenseBody = z.strictObject({ kind: z.string().trim().min(1).max(100), wait: z.boolean().default(false) });
const removeQuery = z.strictObject({ heir: z.uuid().optional() });
const historyQuery = z.strictObject({ limit, before });
const calendarQuery = z.strictObject({ language: z.enum(helpLanguages).default('en') });
const permissionsQuery = z.strictObject({ user: z.string().max(320).optional() });

const tag = 'Account: users';
const own = (params: Record<string, string>): string => params.accountUserId ?? '';

export function userRoutes(parts: AccountParts): Route[] {
  const { administration, signIn, store, wakeUps, policy, site } = parts;
  const answer = (user: ShownUser, status = 200) => ({ status, body: showUser(user), headers: { ETag: user.etag } });
  /** The steps look at once at whoever was touched by hand. */
  const wake = async (personId: string | null | undefined): Promise<void> => {
    if (personId) await wakeUps.hint('create-user', [personId], 'now');
  };
  /** An address instead of an id, for whoever may list the users. */
  const idOf = async (who: string, caller: Caller): Promise<string> => {
    if (!looksLikeAddress(who) || !mayDo(caller.asker, 'users.list').allowed) return who;
    const found = [...(await administration.usersByEmail([who])).values()][0];
    return found?.accountUserId ?? who;
  };
  /** A seat is free: whoever waits for one looks now. */
  const wakeLine = async (): Promise<void> => {
    const waiting = await store.wakeWaitingForSeats();
    if (waiting.length > 0) await wakeUps.hint('assign-license', waiting);
  };
  const user = { description: 'The user.', schema: shapes.accountUser };

  return [
    route({
      method: 'get',
      path: '/account/users',
      tag,
      summary: 'The Users list: name and e-mail, role, integrations, licenses, status',
      operation: 'users.list',
      query: usersQuery,
      answers: { 200: { description: 'A page of users.', schema: shapes.listOf(shapes.accountUser) } },
      async handle({ query: { sort, ...query } }) {
        const page = await administration.users({ ...query, ...sort });
        return { body: { ...page, items: page.items.map(showUser) } };
      },
    }),
    route({
      method: 'post',
      path: '/account/users',
      tag,
      summary: 'Add a user: invites by e-mail unless suppressed; a license is optional',
      operation: 'users.manage',
      creates: true,
      body: newUser,
      answers: { 201: user },
      async handle({ body, act }) {
        const made = await administration.invite(body, act);
        return {
          ...answer(made, 201),
          headers: { ETag: made.etag, Location: `/api/v1/account/users/${made.accountUserId}` },
        };
      },
    }),
    route({
      method: 'get',
      path: '/account/users/{accountUserId}',
      tag,
      summary: 'One user, with settings; a Member the own one',
      operation: 'users.read',
      subject: own,
      answers: { 200: user },
      handle: async ({ params }) => answer(await administration.user(own(params))),
    }),
    route({
      method: 'patch',
      path: '/account/users/{accountUserId}',
      tag,
      summary: 'Change a user: personal details, role, notification, date and time, product settings, switches',
      operation: 'users.edit_profile',
      subject: own,
      matches: true,
      body: editBody,
      answers: { 200: user },
      async handle({ params, body: { keepByHand, ...edit }, caller, act }) {
        // Of the own profile a Member changes what is personal; name, address, role and switches are an Administrator's.
        if (Object.keys(edit).some((field) => !(field in ownProfileEdit.shape))) must(caller, 'users.manage');
        const edited = await administration.edit(own(params), edit, keepByHand, act);
        await wake(edited.personId);
        return answer(edited);
      },
    }),
    route({
      method: 'delete',
      path: '/account/users/{accountUserId}',
      tag,
      summary: 'Delete a user; every page goes to the heir, else to the remaining Administrator',
      operation: 'users.manage',
      matches: true,
      query: removeQuery,
      answers: {
        200: {
          description: 'Who has the pages now.',
          schema: z.looseObject({ heirId: z.uuid().nullable(), pages: z.array(z.string()) }),
        },
      },
      async handle({ params, query, act }) {
        const { personId } = await administration.user(own(params));
        const gone = await administration.remove(own(params), query.heir ?? null, act);
        await wakeLine();
        await wake(personId);
        return { body: gone };
      },
    }),
    ...(['suspend', 'restore'] as const).map((doing) =>
      route({
        method: 'post',
        path: `/account/users/{accountUserId}/${doing}`,
        tag,
        summary: doing === 'suspend' ? 'Suspend: sign-in and sessions end at once' : 'End a suspension',
        operation: 'users.manage',
        matches: true,
        answers: { 200: user },
        async handle({ params, act }) {
          const changed = await administration.suspend(own(params), doing === 'suspend', act);
          await wake(changed.personId);
          return answer(changed);
        },
      }),
    ),
    route({
      method: 'post',
      path: '/account/users/{accountUserId}/invitation',
      tag,
      summary: 'Send the link again; earlier ones are void',
      operation: 'mails.send',
      answers: { 202: { description: 'The mail, waiting.', schema: shapes.mail } },
      handle: async ({ params, act }) => ({
        status: 202,
        body: showMail(await administration.sendLink(own(params), act), site),
      }),
    }),
    route({
      method: 'post',
      path: '/account/users/{accountUserId}/licenses',
      tag,
      summary: 'Assign a license; with wait: true into the line where no seat is free',
      operation: 'licenses.assign',
      creates: true,
      matches: true,
      body: licenseBody,
      answers: {
        201: { description: 'Assigned.', schema: shapes.seatResult },
        202: { description: 'In line.', schema: shapes.seatResult },
      },
      async handle({ params, body, act }) {
        const result = await administration.assignLicense(own(params), body.kind, body.wait, act);
        if (result.assigned) await wake(result.personId);
        return { status: result.assigned ? 201 : 202, body: result };
      },
    }),
    route({
      method: 'delete',
      path: '/account/users/{accountUserId}/licenses/{kind}',
      tag,
      summary: 'Unassign a license, or leave the line; the scheduled-meetings license takes the owner’s pages with it',
      operation: 'licenses.assign',
      matches: true,
      answers: {
        200: {
          description: 'The pages that this disabled.',
          schema: z.looseObject({ disabledPages: z.array(z.string()) }),
        },
      },
      async handle({ params, act }) {
        const { personId } = await administration.user(own(params));
        const result = await administration.unassignLicense(own(params), params.kind ?? '', act);
        await wakeLine();
        await wake(personId);
        return { body: result };
      },
    }),
    route({
      method: 'get',
      path: '/account/users/{accountUserId}/history',
      tag,
      summary: 'Who changed what of a user',
      operation: 'users.history',
      subject: own,
      query: historyQuery,
      answers: { 200: { description: 'Newest first.', schema: shapes.historyList } },
      async handle({ params, query }) {
        const rows = await administration.history(own(params), query.limit, query.before ?? null);
        // Of somebody who is gone the history stays; of somebody who never was there is none.
        if (rows.length === 0) await administration.user(own(params));
        return showHistory(rows, query.limit);
      },
    }),
    route({
      method: 'get',
      path: '/account/users/{accountUserId}/sessions',
      tag,
      summary: 'Where a user is signed in',
      operation: 'users.edit_profile',
      subject: own,
      answers: {
        200: { description: 'Live sessions.', schema: shapes.itemsOf(z.looseObject({ sessionId: z.uuid() })) },
      },
      handle: async ({ params }) => ({
        body: { items: await signIn.sessionsOf((await administration.user(own(params))).accountUserId) },
      }),
    }),
    route({
      method: 'delete',
      path: '/account/users/{accountUserId}/sessions',
      tag,
      summary: 'End every session of a user at once',
      operation: 'users.edit_profile',
      subject: own,
      answers: { 200: { description: 'How many ended.', schema: z.looseObject({ ended: z.int() }) } },
      handle: async ({ params }) => ({
        body: { ended: await signIn.endAll((await administration.user(own(params))).accountUserId) },
      }),
    }),
    route({
      method: 'get',
      path: '/account/users/{accountUserId}/calendar',
      tag,
      summary: 'The own calendar connection, with what to do; nobody else’s',
      operation: 'users.calendar',
      subject: own,
      query: calendarQuery,
      answers: {
        200: { description: 'The connection.', schema: shapes.calendarConnection },
      },
      async handle({ params, query: { language } }) {
        const { personId } = await administration.user(own(params));
        const person = personId ? await store.person(personId) : null;
        const delegation = person
          ? showPerson(person, policy).conditions.find((row) => row.type === 'Delegation')
          : null;
        return {
          body: {
            connected: delegation?.status === 'true',
            message: delegation?.message ?? 'Nobody in the directory is behind this user, so no calendar is known.',
            condition: delegation ?? null,
            dedicatedMailbox: policy.dedicatedMailbox ?? null,
            instructions: policy.dedicatedMailbox ? delegationHelp(policy.dedicatedMailbox, language) : [],
          },
        };
      },
    }),
    route({
      method: 'post',
      path: '/account/users/{accountUserId}/calendar/check',
      tag,
      summary: 'Look at the own calendar connection again now',
      operation: 'users.calendar',
      subject: own,
      answers: { 202: { description: 'It is looked at.' } },
      async handle({ params }) {
        const { personId } = await administration.user(own(params));
        if (!personId) throw new UsherError('account_refused', 'Nobody in the directory is behind this user.');
        const due = await store.recheckDelegation([personId], false);
        await wakeUps.hint('check-delegation', due, 'now');
        return { status: 202, body: { checking: due.length } };
      },
    }),
    route({
      method: 'get',
      path: '/account/users/{accountUserId}/integrations',
      tag,
      summary: 'The own connections to third-party integrations; for privacy nobody else’s (rule 12)',
      operation: 'users.integrations',
      subject: own,
      answers: {
        200: { description: 'The connections.', schema: shapes.itemsOf(z.looseObject({ name: z.string() })) },
      },
      async handle({ params }) {
        const { integrations } = await administration.user(own(params));
        return { body: { items: integrations === 'None' ? [] : [{ name: integrations, by: 'corporate connection' }] } };
      },
    }),
    route({
      method: 'get',
      path: '/account/users/{accountUserId}/personal-data',
      tag,
      summary: 'Everything that is kept about one user; a Member the own',
      operation: 'users.personal_data',
      subject: own,
      answers: { 200: { description: 'The data.', schema: z.looseObject({}) } },
      handle: async ({ params }) => ({
        body: await administration.personalData(own(params)),
        headers: { 'Content-Disposition': 'attachment; filename="personal-data.json"' },
      }),
    }),
    route({
      method: 'delete',
      path: '/account/users/{accountUserId}/personal-data',
      tag,
      summary: 'Erase a user and everything about them; the history stays under a pseudonym',
      operation: 'users.manage',
      answers: { 200: { description: 'What is left.', schema: z.looseObject({ pseudonym: z.string() }) } },
      handle: async ({ params, act }) => ({ body: await administration.erase(own(params), act) }),
    }),
    route({
      method: 'get',
      path: '/account/sessions',
      tag: 'Account: sessions',
      summary: 'Who is signed in now, users and operators',
      operation: 'sessions.manage',
      answers: {
        200: { description: 'Live sessions.', schema: shapes.itemsOf(z.looseObject({ sessionId: z.uuid() })) },
      },
      handle: async () => ({ body: { items: await signIn.sessions() } }),
    }),
    route({
      method: 'delete',
      path: '/account/sessions/{sessionId}',
      tag: 'Account: sessions',
      summary: 'End a session at once',
      operation: 'sessions.manage',
      answers: { 204: { description: 'Ended.' } },
      async handle({ params }) {
        if (!(await signIn.end(params.sessionId ?? '')))
          throw new UsherError('not_found', 'There is no such live session.');
        return { status: 204 };
      },
    }),
    route({
      method: 'get',
      path: '/account/settings',
      tag,
      summary: 'The defaults of a user’s settings, and the switches of each role',
      operation: 'session.read',
      subject: (_params, caller) => caller.asker.accountUserId,
      answers: { 200: { description: 'The defaults.', schema: z.looseObject({}) } },
      handle: async () => ({
        body: {
          ...settingDefaults,
          switches: Object.fromEntries(roles.map((role) => [role, switchesOf(role)])),
        },
      }),
    }),
    route({
      method: 'get',
      path: '/account/permissions',
      tag: 'Account: permissions',
      summary: 'What a user may do, function by function, with the reason of each no; without user: the caller',
      operation: 'users.permissions',
      subject: async (_params, caller) => caller.asker.accountUserId,
      query: permissionsQuery,
      answers: {
        200: {
          description: 'The functions.',
          schema: z.looseObject({
            accountUserId: z.uuid().nullable(),
            role: z.enum(roles).nullable(),
            permissions: z.array(shapes.permission),
          }),
        },
      },
      async handle({ query, caller }) {
        const named = query.user === undefined ? null : await idOf(query.user, caller);
        const who = named ?? caller.asker.accountUserId;
        if (named !== null) must(caller, 'users.permissions', named);
        const of = named === null ? null : await administration.user(named);
        const asker = of
          ? { accountUserId: of.accountUserId, role: of.role, operatorRoles: [], switches: of.switches }
          : caller.asker;
        return {
          body: {
            accountUserId: who,
            role: asker.role,
            operatorRoles: asker.operatorRoles,
            switches: asker.switches,
            permissions: permissionsOf(asker),
          },
        };
      },
    }),
    route({
      method: 'get',
      path: '/account/licenses',
      tag: 'Account: licenses',
      summary: 'The pools: bought, assigned, reserved for the line, waiting, and what must be bought',
      operation: 'licenses.read',
      answers: { 200: { description: 'The pools.', schema: shapes.itemsOf(shapes.pool) } },
      async handle() {
        const pools = Object.entries(await administration.licenses());
        return {
          body: {
            items: pools.map(([kind, counts]) => {
              const { free, missing, message } = forecast(counts);
              return { kind, ...counts, free, missing, forecast: message };
            }),
          },
        };
      },
    }),
    route({
      method: 'get',
      path: '/account/licenses/{kind}/waiting',
      tag: 'Account: licenses',
      summary: 'The line for a seat, in order',
      operation: 'licenses.read',
      query: z.strictObject({ limit }),
      answers: { 200: { description: 'The first of the line.', schema: shapes.itemsOf(shapes.waitingPlace) } },
      handle: async ({ params, query }) => ({
        body: { items: await administration.waitingLine(params.kind ?? '', query.limit) },
      }),
    }),
    route({
      method: 'get',
      path: '/account/history',
      tag: 'Account: history',
      summary: 'Every change by hand: who, what, before, after',
      operation: 'users.manage',
      query: historyQuery,
      answers: { 200: { description: 'Newest first.', schema: shapes.historyList } },
      handle: async ({ query }) =>
        showHistory(await administration.history(null, query.limit, query.before ?? null), query.limit),
    }),
  ];
}

function showUser({ etag: _etag, ...user }: ShownUser) {
  return user;
}
