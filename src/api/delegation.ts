/** `/api/v1/delegation`: who is not delegated and why, the script that mends it, and "look again now". */
import { z } from 'zod';
import { csvLine } from '../csv.ts';
import { countsByReason, reasons } from '../domain/conditions.ts';
import { mayGrant, mendedByGrant } from '../domain/delegation.ts';
import { delegationHelp, helpLanguages } from '../domain/delegation-help.ts';
import { delegationScript } from '../domain/delegation-script.ts';
import { looksLikeAddress } from '../domain/email-address.ts';
import type { Policy } from '../domain/policy.ts';
import { UsherError } from '../errors.ts';
import type { AdminStore, ShownPerson, WakeUps } from '../ports.ts';
import { type Route, route } from './route.ts';
import * as shapes from './shapes.ts';

export interface DelegationParts {
  store: AdminStore;
  wakeUps: WakeUps;
  policy: Policy;
  now: () => Date;
  findOne(who: string): Promise<ShownPerson>;
}

const atOnce = 500;

const reportQuery = z
  .strictObject({
    reason: z.enum(Object.keys(reasons) as [keyof typeof reasons]).optional(),
    format: z.enum(['json', 'csv']).default('json'),
    /** Left out: everybody. With it, a page, and the counts of everybody. */
    limit: z.coerce.number().int().min(1).max(500).optional(),
    offset: z.coerce.number().int().min(0).max(10_000_000).default(0),
  })
  .refine(({ limit, offset }) => limit !== undefined || offset === 0, {
    path: ['offset'],
    message: 'give a limit with it',
  })
  .refine(({ limit, format }) => limit === undefined || format === 'json', {
    path: ['limit'],
    message: 'a CSV holds everybody; leave it out',
  });
const scriptQuery = z.strictObject({
  who: z.union([z.string(), z.array(z.string())]).optional(),
  reason: z.enum(mendedByGrant).optional(),
});
const instructionsQuery = z.strictObject({ language: z.enum(helpLanguages).default('en') });
const checkBody = z.strictObject({
  who: z.array(z.string().min(1)).min(1).max(10_000).optional(),
  all: z.boolean().default(false),
});

const grantBody = z.strictObject({ plan: z.boolean().default(false) });

export function delegationRoutes({ store, wakeUps, policy, now, findOne }: DelegationParts): Route[] {
  const tag = 'Delegation';
  /** Wanted people whose delegation is not true, a page at a time. */
  async function* notDelegated(only?: readonly string[]): AsyncGenerator<ShownPerson[]> {
    for (const status of ['false', 'unknown']) {
      let cursor: string | undefined;
      do {
        const page = await store.people({
          lifecycle: 'wanted',
          condition: 'Delegation',
          status,
          limit: atOnce,
          ...(cursor ? { cursor } : {}),
        });
        yield page.items.filter((person) => !only || only.includes(person.known.conditions.Delegation.reason ?? ''));
        cursor = page.nextCursor ?? undefined;
      } while (cursor);
    }
  }

  const lookNow = (personIds: string[], isWatched: boolean): Promise<unknown> =>
    wakeUps.hint('check-delegation', personIds.slice(0, 5000), isWatched ? 'now' : 'soon');

  return [
    route({
      method: 'get',
      path: '/delegation',
      tag,
      summary: 'Whose calendar is not delegated, why, and who acts; as JSON, by pages or everybody, or CSV',
      operation: 'delegation.read',
      query: reportQuery,
      answers: {
        200: {
          description: 'The report.',
          schema: shapes.delegationReport,
        },
      },
      async handle({ query: { reason, format, limit, offset }, response }) {
        if (format === 'csv') {
          response.type('text/csv').write(`\uFEFF${csvLine(columns)}`);
          for await (const people of notDelegated(reason && [reason]))
            response.write(people.map((person) => csvLine(Object.values(row(person)).map(String))).join(''));
          response.end();
          return;
        }
        const head = { dedicatedMailbox: policy.dedicatedMailbox ?? null, assistedGrant: policy.assistedGrant };
        if (limit) {
          const [page, { conditions }] = await Promise.all([
            store.people({ lifecycle: 'wanted', condition: 'Delegation', reason, limit, offset }),
            store.summary(),
          ]);
          const byReason = countsByReason(conditions.Delegation ?? { false: {}, unknown: {} });
          return { body: { ...head, total: page.total, byReason, items: page.items.map(row) } };
        }
        const items: ReturnType<typeof row>[] = [];
        for await (const people of notDelegated(reason && [reason])) items.push(...people.map(row));
        const byReason: Record<string, number> = {};
        for (const item of items) byReason[item.reason] = (byReason[item.reason] ?? 0) + 1;
        return { body: { ...head, total: items.length, byReason, items } };
      },
    }),
    route({
      method: 'get',
      path: '/delegation/script',
      tag,
      summary: 'PowerShell for the Exchange admin, for exactly those people',
      operation: 'delegation.read',
      query: scriptQuery,
      answers: { 200: { description: 'The script.', contentType: 'text/plain' } },
      async handle({ query: { who, reason }, response }) {
        if (!policy.dedicatedMailbox)
          throw new UsherError(
            'invalid_value',
            'The policy names no dedicatedMailbox, so there is nobody to delegate to.',
          );
        const people: ShownPerson[] = [];
        if (who) for (const one of [who].flat()) people.push(await findOne(one));
        else for await (const some of notDelegated(reason ? [reason] : mendedByGrant)) people.push(...some);
        const rows = people.map((person) => {
          const { identity, mailbox, name } = row(person);
          if (!identity) throw new UsherError('invalid_value', `${name} has no mailbox that could be named.`);
          return { mailbox: identity, name: `${name} <${mailbox}>` };
        });
        response.type('text/plain').send(delegationScript(rows, policy.dedicatedMailbox, now()));
      },
    }),
    route({
      method: 'get',
      path: '/delegation/instructions',
      tag,
      summary: 'What a person can do in Outlook',
      operation: 'delegation.read',
      query: instructionsQuery,
      answers: { 200: { description: 'The ways.', schema: shapes.delegationWays } },
      async handle({ query: { language } }) {
        if (!policy.dedicatedMailbox) throw new UsherError('invalid_value', 'The policy names no dedicatedMailbox.');
        return {
          body: { dedicatedMailbox: policy.dedicatedMailbox, ways: delegationHelp(policy.dedicatedMailbox, language) },
        };
      },
    }),
    route({
      method: 'post',
      path: '/delegation/grant',
      tag,
      summary:
        'Grant by Graph what is missing, for those for whom the policy (assistedGrant) lets Usher do it, and read it back; with plan: true only say for whom',
      operation: 'delegation.check',
      body: grantBody,
      answers: {
        200: {
          description: 'With plan: true, how many, and the first hundred.',
          schema: z.looseObject({ granting: z.int(), items: z.array(z.looseObject({ mailbox: z.string() })) }),
        },
        202: { description: 'For how many it is granted.', schema: z.looseObject({ granting: z.int() }) },
      },
      async handle({ body: { plan } }) {
        if (!policy.assistedGrant.enabled)
          throw new UsherError(
            'invalid_value',
            'The policy does not let Usher grant delegations. An operator writes assistedGrant: { enabled: true, pilot: [ana@contoso.com] } for a few mailboxes first, and everybody: true later; the app needs Calendars.ReadWrite.',
          );
        const people: ShownPerson[] = [];
        for await (const some of notDelegated(mendedByGrant))
          people.push(
            ...some.filter(({ known: { person, conditions } }) =>
              mayGrant(policy.assistedGrant, person.wish?.mailboxKeys ?? [], conditions.Delegation.reason),
            ),
          );
        if (plan) return { body: { granting: people.length, items: people.slice(0, 100).map(row) } };
        // The step grants where it may, whenever it looks.
        const due = await store.recheckDelegation(
          people.map(({ known }) => known.person.personId),
          false,
        );
        await lookNow(due, due.length <= 20);
        return { status: 202, body: { granting: due.length } };
      },
    }),
    route({
      method: 'post',
      path: '/delegation/check',
      tag,
      summary: 'Look again now: at those named, at all, or at those where it is not true',
      operation: 'delegation.check',
      body: checkBody,
      answers: { 202: { description: 'How many are looked at.', schema: z.looseObject({ checking: z.int() }) } },
      async handle({ body: { who, all } }) {
        const personIds = who
          ? await Promise.all(who.map(async (one) => (await findOne(one)).known.person.personId))
          : null;
        const due = await store.recheckDelegation(personIds, all);
        await lookNow(due, personIds !== null && due.length <= 20);
        return { status: 202, body: { checking: due.length } };
      },
    }),
  ];
}

const columns = [
  'mailbox',
  'name',
  'userName',
  'reason',
  'owner',
  'message',
  'since',
  'checkedAt',
  'identity',
  'personId',
] as const;

function row({ known, displayName, userName, email }: ShownPerson): Record<(typeof columns)[number], string> {
  const { person, conditions } = known;
  const delegation = conditions.Delegation;
  return {
    // For people to read; a script names the mailbox by the key that never changes.
    mailbox: person.wish?.mailboxKeys.find(looksLikeAddress) ?? email ?? userName,
    identity: person.wish?.mailboxKeys[0] ?? email ?? '',
    name: displayName ?? userName,
    userName,
    reason: delegation.reason ?? 'not_checked_yet',
    owner: delegation.owner,
    message: delegation.message,
    since: delegation.since.toISOString(),
    checkedAt: delegation.checkedAt?.toISOString() ?? '',
    personId: person.personId,
  };
}
