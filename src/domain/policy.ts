/**
 * Who gets what. The policy is a file that an operator edits (config/policy.yaml); this is its shape, its defaults and its own consistency.
 * Rules are read in order, the first match wins, and nobody is in scope without a rule.
 */
import { z } from 'zod';
import { looksLikeAddress } from './email-address.ts';
import { roles } from './person.ts';
import { unknownPlaceholders } from './template.ts';

const nonEmpty = z.string().trim().min(1);
const oneOrMany = z
  .union([nonEmpty, z.array(nonEmpty).min(1)])
  .transform((value) => (Array.isArray(value) ? value : [value]));
const fromDirectory = z.literal('from-directory');

const condition = z.strictObject({
  source: nonEmpty.optional(),
  group: z.strictObject({ id: nonEmpty.optional(), name: nonEmpty.optional() }).optional(),
  department: oneOrMany.optional(),
  division: oneOrMany.optional(),
  organization: oneOrMany.optional(),
  costCenter: oneOrMany.optional(),
  title: oneOrMany.optional(),
  userType: oneOrMany.optional(),
  domain: oneOrMany.optional(),
});

const rule = z.strictObject({
  name: nonEmpty,
  when: condition.default({}),
  role: z.union([z.enum(roles), fromDirectory]).default('Member'),
  licenses: z.union([z.array(nonEmpty), fromDirectory]).default(['scheduled-meetings']),
  bookingPages: z.union([z.array(nonEmpty), fromDirectory]).default([]),
  /** Teams of a OnceHub account, by name or id; memberships in other teams stay as they are. */
  teams: z.array(nonEmpty).default([]),
  timeZone: nonEmpty.default('from-directory'),
  invite: z.enum(['send', 'suppress']).default('send'),
});

const source = z.strictObject({
  name: nonEmpty.regex(/^[a-z0-9][a-z0-9_-]{0,62}$/, 'use lower case letters, digits, - and _'),
  kind: z.enum(['scim', 'graph', 'csv', 'console']),
  domains: z.array(nonEmpty.transform((domain) => domain.toLowerCase())).default([]),
  maximumRole: z.enum(roles).default('Member'),
  /** What one process lets this source ask; above it 429 with Retry-After. */
  requestsPerSecond: z.number().positive().optional(),
  /** How long nothing may be heard of it before that is an alert. */
  silentAfterHours: z.number().positive().default(24),
});

const accountKind = z.enum(['builtin', 'oncehub']);

const tasks = z
  .strictObject({
    /** Until a task is overdue. */
    dueDays: z.number().positive().default(3),
    /** How often an overdue one is brought to mind. */
    remindEveryDays: z.number().positive().default(1),
    /** How long a person's word stands where nothing can be looked at. */
    wordDays: z.number().positive().default(30),
  })
  .prefault({});

export const policySchema = z
  .strictObject({
    account: z
      .strictObject({
        kind: accountKind.default('builtin'),
        plan: z.enum(['free', 'paid']).default('paid'),
        pools: z.record(nonEmpty, z.int().min(0)).default({}),
        /** Whether OnceHub's own Entra provisioning is on: it deletes users, so it must not manage the same people. */
        nativeProvisioning: z.enum(['off', 'on']).optional(),
        /** The founding Administrator of the first start; left out: the first address of bookingPages.takeFrom. */
        administrator: z
          .strictObject({
            name: nonEmpty.default('Founding Administrator'),
            email: nonEmpty.refine(looksLikeAddress, 'must be an e-mail address'),
          })
          .optional(),
      })
      .prefault({}),
    dedicatedMailbox: nonEmpty.refine(looksLikeAddress, 'must be an e-mail address').optional(),
    delegation: z.enum(['required', 'advised', 'ignored']).default('required'),
    /** Usher grants missing delegations itself, by Graph; first for the pilot's mailboxes only. */
    assistedGrant: z
      .strictObject({
        enabled: z.boolean().default(false),
        pilot: z.array(nonEmpty).default([]),
        everybody: z.boolean().default(false),
      })
      .prefault({}),
    sources: z
      .array(source)
      .min(1)
      .default([
        { name: 'scim', kind: 'scim', domains: [], maximumRole: 'Member', silentAfterHours: 24 },
        { name: 'graph', kind: 'graph', domains: [], maximumRole: 'Member', silentAfterHours: 24 },
      ]),
    rules: z.array(rule).default([]),
    bookingPages: z
      .strictObject({
        takeFrom: z.array(nonEmpty).optional(),
        createMissing: z.union([z.literal(false), z.literal('from-template')]).default(false),
      })
      .prefault({}),
    leavers: z
      .strictObject({
        holdMinutes: z.number().min(0).default(60),
        pagesTo: nonEmpty.default('administrator'),
        seat: z.enum(['after-hold', 'keep']).default('after-hold'),
        graceDays: z.number().min(0).default(30),
        delete: z.boolean().default(false),
      })
      .prefault({}),
    brake: z
      .strictObject({
        maxRemovals: z.int().min(0).default(20),
        maxPercent: z.number().min(0).max(100).default(10),
        window: nonEmpty.regex(/^\d+(m|h|d)$/, 'use a number and m, h or d, as in 24h').default('24h'),
      })
      .prefault({}),
    licenses: z.strictObject({ caps: z.record(nonEmpty, z.int().min(0)).default({}) }).prefault({}),
    reconcile: z
      .strictObject({
        at: nonEmpty.optional(),
        timeZone: nonEmpty.default('UTC'),
        drift: z
          .partialRecord(
            z.enum(['profile', 'delegation', 'license', 'bookingPages', 'unknownUsers']),
            z.enum(['correct', 'report']),
          )
          .default({}),
      })
      .prefault({}),
    /** Work that only people can do, in an account whose API can not. */
    tasks,
    alerts: z
      .strictObject({
        mail: z.array(nonEmpty.refine(looksLikeAddress, 'must be an e-mail address')).default([]),
        /** Posted to, signed with USHER_WEBHOOK_SECRET. */
        webhook: z
          .url({ protocol: /^https?$/ })
          .nullable()
          .default(null),
        /** How often the webhook hears that Usher is there. */
        heartbeatHours: z.number().positive().default(24),
        /** So few free seats are an alert; somebody who waits for one always is. */
        seatsLow: z.int().min(0).default(0),
      })
      .prefault({}),
    access: z
      .partialRecord(z.enum(['administrator', 'operator', 'exchange_admin', 'idp_admin', 'viewer']), z.array(nonEmpty))
      .default({}),
  })
  .superRefine((policy, check) => {
    const fault = (path: (string | number)[], message: string) => check.addIssue({ code: 'custom', path, message });
    const sourceNames = new Set(policy.sources.map((entry) => entry.name));
    for (const [index, entry] of policy.sources.entries()) {
      if (policy.sources.findIndex((other) => other.name === entry.name) !== index)
        fault(['sources', index, 'name'], `source ${entry.name} is listed twice`);
    }
    const ruleNames = new Set<string>();
    for (const [index, entry] of policy.rules.entries()) {
      if (ruleNames.has(entry.name)) fault(['rules', index, 'name'], `rule ${entry.name} is listed twice`);
      ruleNames.add(entry.name);
      if (entry.when.source && !sourceNames.has(entry.when.source)) {
        fault(
          ['rules', index, 'when', 'source'],
          `no source is named ${entry.when.source}; known: ${[...sourceNames].join(', ')}`,
        );
      }
      if (entry.when.group && !entry.when.group.id && !entry.when.group.name)
        fault(['rules', index, 'when', 'group'], 'give the group an id or a name');
      if (entry.role === 'Administrator' && !entry.when.group?.id) {
        fault(
          ['rules', index, 'role'],
          'Administrator is given only by a group named by its immutable id: add when.group.id',
        );
      }
      for (const template of entry.bookingPages === 'from-directory' ? [] : entry.bookingPages) {
        for (const name of unknownPlaceholders(template))
          fault(['rules', index, 'bookingPages'], `{${name}} is no directory attribute that a link name can use`);
      }
      if (entry.timeZone !== 'from-directory' && !isTimeZone(entry.timeZone))
        fault(['rules', index, 'timeZone'], `${entry.timeZone} is no IANA time zone`);
    }
    if (policy.delegation === 'required' && policy.rules.length > 0 && !policy.dedicatedMailbox) {
      fault(
        ['dedicatedMailbox'],
        'delegation is required, so the dedicated mailbox must be named (or set delegation: ignored)',
      );
    }
    for (const cap of Object.keys(policy.licenses.caps)) {
      if (!ruleNames.has(cap)) fault(['licenses', 'caps', cap], `no rule is named ${cap}`);
    }
    if (!isTimeZone(policy.reconcile.timeZone))
      fault(['reconcile', 'timeZone'], `${policy.reconcile.timeZone} is no IANA time zone`);
    if (
      policy.leavers.pagesTo !== 'administrator' &&
      policy.leavers.pagesTo !== 'manager' &&
      !looksLikeAddress(policy.leavers.pagesTo)
    ) {
      fault(['leavers', 'pagesTo'], 'use administrator, manager, or the e-mail address of the heir');
    }
    if (policy.account.kind === 'builtin')
      for (const [index, entry] of policy.rules.entries())
        if (entry.teams.length > 0)
          fault(['rules', index, 'teams'], 'the built-in account has no teams; they are for account.kind: oncehub');
    if (policy.account.kind === 'oncehub') {
      if (policy.bookingPages.createMissing !== false)
        fault(['bookingPages', 'createMissing'], 'OnceHub’s API makes no Booking pages; leave createMissing out');
      if (policy.account.nativeProvisioning === 'on')
        fault(
          ['account', 'nativeProvisioning'],
          'OnceHub’s own Entra provisioning deletes users that are unassigned there, for good; switch it off for the people whom Usher manages, and say off',
        );
      for (const [index, entry] of policy.rules.entries()) {
        if (entry.invite === 'suppress')
          fault(['rules', index, 'invite'], 'a OnceHub account always sends its invitation; use invite: send');
        if (entry.timeZone !== 'from-directory')
          fault(
            ['rules', index, 'timeZone'],
            "a OnceHub user's time zone can not be set by its API; leave timeZone out",
          );
      }
    }
  });

export type PolicyInput = z.input<typeof policySchema>;
export type Policy = z.output<typeof policySchema> & { version: string };
export type Rule = Policy['rules'][number];
export type Source = Policy['sources'][number];

/** `24h` → milliseconds. */
export function windowMilliseconds(window: string): number {
  const unit = { m: 60_000, h: 3_600_000, d: 86_400_000 }[window.slice(-1)] ?? 0;
  return Number(window.slice(0, -1)) * unit;
}

export function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

/** Groups are read only where a rule asks for one. */
export function needsGroups(policy: Policy, source: string): boolean {
  return policy.rules.some((rule) => rule.when.group && (rule.when.source ?? source) === source);
}
