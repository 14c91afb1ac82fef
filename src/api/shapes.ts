/** What the API answers, as schemas: for the OpenAPI document, and for whoever makes a client of it. More fields may stand beside these. */
import { z } from 'zod';
import { conditionTypes, owners, reasons } from '../domain/conditions.ts';
import { driftKinds } from '../domain/drift.ts';
import { rowKinds } from '../domain/import-plan.ts';
import { lifecycles, roles } from '../domain/person.ts';
import { accountFunctions } from '../domain/roles.ts';
import { taskKinds, taskStates } from '../domain/tasks.ts';
import { switchNames } from '../domain/user-settings.ts';

const time = z.iso.datetime();
const nullable = <T extends z.ZodType>(schema: T) => schema.nullable();
const reason = z.enum(Object.keys(reasons) as [keyof typeof reasons]);
const data = z.record(z.string(), z.unknown());

export const listOf = <T extends z.ZodType>(item: T) =>
  z.looseObject({ items: z.array(item), nextCursor: nullable(z.string()), total: z.int() });
export const itemsOf = <T extends z.ZodType>(item: T) => z.looseObject({ items: z.array(item) });

export const condition = z.looseObject({
  type: z.enum([...conditionTypes]),
  status: z.enum(['true', 'false', 'unknown']),
  reason: nullable(reason),
  message: z.string(),
  owner: z.enum([...owners]),
  generation: z.int(),
  evidence: data,
  since: time,
  checkedAt: nullable(time),
  nextCheckAt: nullable(time),
  attempts: z.int(),
});

export const person = z.looseObject({
  personId: z.uuid(),
  source: z.string(),
  externalId: nullable(z.string()),
  userName: z.string(),
  displayName: nullable(z.string()),
  email: nullable(z.string()),
  active: z.boolean(),
  role: nullable(z.enum(roles)),
  lifecycle: z.enum(lifecycles),
  accountUserId: nullable(z.string()),
  ready: z.boolean(),
  reason: nullable(reason),
  generation: z.int(),
  rule: nullable(z.string()),
  licenses: z.array(z.string()),
  bookingPages: z.array(z.string()),
  kept: z.record(z.string(), z.looseObject({ by: z.string(), at: time })),
  leave: nullable(z.looseObject({ cause: z.string(), source: z.string(), witness: z.string(), since: nullable(time) })),
  conditions: z.array(condition),
});

/** What adding somebody by hand would mean. */
export const byHandPlan = z.looseObject({
  kind: z.enum(rowKinds),
  note: nullable(z.string()),
  personId: nullable(z.uuid()),
  lifecycle: nullable(z.enum(lifecycles)),
  wish: nullable(
    z.looseObject({ role: z.enum(roles), licenses: z.array(z.string()), bookingPages: z.array(z.string()) }),
  ),
});

/** What one source says of a person. */
export const said = z.looseObject({
  source: z.string(),
  kind: nullable(z.string()),
  externalId: nullable(z.string()),
  userName: z.string(),
  displayName: nullable(z.string()),
  givenName: nullable(z.string()),
  familyName: nullable(z.string()),
  email: nullable(z.string()),
  active: z.boolean(),
  department: nullable(z.string()),
  title: nullable(z.string()),
  timeZone: nullable(z.string()),
  groups: z.array(z.string()),
  asked: z.looseObject({
    role: nullable(z.string()),
    licenses: z.array(z.string()),
    bookingPages: z.array(z.string()),
  }),
  deletedAt: nullable(time),
});

const count = z.int();
const importState = z.enum(['reading', 'planned', 'applying', 'stopped', 'done', 'failed']);
export const importRowStates = ['waiting', 'applied', 'plan_stale', 'failed', 'left'] as const;
export const listedImport = z.looseObject({
  importId: z.uuid(),
  name: z.string(),
  state: importState,
  createdAt: time,
  columns: z.array(z.string()),
  failure: nullable(z.string()),
  summary: nullable(
    z.looseObject({
      rows: count,
      kinds: z.record(z.enum(rowKinds), count),
      outOfScope: count,
      cellsNotUsed: count.optional(),
      seats: z.record(z.string(), z.looseObject({ needed: count, left: nullable(count), missing: count })),
      calendars: z.object({ delegated: count, notDelegated: count, toBeChecked: count }),
      pages: z.looseObject({ wished: count, missing: count, ownedByOthers: count, claimedTwice: count }),
      secondsExpected: count,
    }),
  ),
});
export const shownImport = listedImport.extend({
  progress: z.looseObject({
    rows: z.record(z.enum(importRowStates), count),
    people: count,
    ready: count,
    conditions: z.record(z.string(), count),
  }),
});
export const importRow = z.looseObject({
  line: count,
  kind: z.enum(rowKinds),
  who: z.string(),
  note: nullable(z.string()),
  suggestion: nullable(z.string()),
  state: z.enum(importRowStates),
  result: nullable(z.string()),
  cells: z.record(z.string(), z.string()),
});
export const importPace = z.looseObject({ seconds: z.number(), since: nullable(time), ready: z.array(count) });

const ways = z.array(z.looseObject({ title: z.string(), steps: z.array(z.string()) }));
export const delegationWays = z.looseObject({ dedicatedMailbox: z.string(), ways });
export const calendarConnection = z.looseObject({
  connected: z.boolean(),
  message: z.string(),
  condition: nullable(condition),
  instructions: ways,
});

export const delegationReport = z.looseObject({
  dedicatedMailbox: nullable(z.string()),
  total: z.int(),
  byReason: z.record(z.string(), z.int()),
  assistedGrant: z.looseObject({ enabled: z.boolean(), everybody: z.boolean(), pilot: z.array(z.string()) }),
  items: z.array(
    z.looseObject({
      personId: z.uuid(),
      name: z.string(),
      mailbox: z.string(),
      reason: z.string(),
      owner: z.string(),
      message: z.string(),
      checkedAt: z.string(),
    }),
  ),
});

export const historyRow = z.looseObject({
  historyId: z.string(),
  subject: z.string(),
  at: time,
  actor: z.string(),
  cause: z.string(),
  action: z.string(),
  before: z.unknown(),
  after: z.unknown(),
});
export const historyList = z.looseObject({ items: z.array(historyRow), nextBefore: nullable(z.string()) });

export const provisionResult = z.looseObject({
  ready: z.boolean(),
  steps: z.array(
    z.looseObject({
      step: z.string(),
      outcome: z.enum(['done', 'nothing_to_do', 'blocked', 'failed']),
      reason: nullable(z.string()),
      message: z.string(),
      tookMs: z.number(),
    }),
  ),
});

const counts = z.looseObject({ bought: nullable(z.int()), assigned: z.int(), reserved: z.int(), waiting: z.int() });
export const summary = z.looseObject({
  people: z.int(),
  ready: z.int(),
  lifecycles: z.record(z.string(), z.int()),
  conditions: z.record(
    z.string(),
    z.looseObject({
      true: z.int(),
      false: z.record(z.string(), z.int()),
      unknown: z.record(z.string(), z.int()),
    }),
  ),
  licenses: z.record(z.string(), counts),
});

export const readinessDay = z.looseObject({ day: z.iso.date(), people: z.int(), ready: z.int() });

export const run = z.looseObject({
  runId: z.uuid(),
  kind: z.string(),
  state: z.string(),
  source: nullable(z.string()),
  createdAt: time,
  endedAt: nullable(time),
  expiresAt: nullable(time),
  removals: z.array(
    z.looseObject({
      personId: z.uuid(),
      displayName: nullable(z.string()),
      userName: z.string(),
      state: z.string(),
      decidedBy: nullable(z.string()),
      decidedAt: nullable(time),
      cause: z.string(),
    }),
  ),
});

export const drift = z.looseObject({
  kind: z.enum(driftKinds),
  personId: nullable(z.uuid()),
  accountUserId: nullable(z.string()),
  who: z.string(),
  what: z.string(),
  owner: z.enum([...owners]),
  since: nullable(time),
  mode: z.enum(['correct', 'report']),
  state: z.enum(['found', 'corrected', 'plan_stale']),
});
export const planItem = z.looseObject({
  personId: z.uuid(),
  userName: z.string(),
  displayName: nullable(z.string()),
  effect: z.enum(['gives', 'takes']),
  what: z.array(z.string()),
  state: z.enum(['waiting', 'applied', 'kept', 'plan_stale']),
  decidedBy: nullable(z.string()),
  decidedAt: nullable(time),
});
export const policyDiff = z.looseObject({
  version: z.string(),
  people: z.int(),
  gives: z.int(),
  takes: z.int(),
  items: z.array(
    z.looseObject({
      personId: z.uuid(),
      userName: z.string(),
      effect: z.enum(['gives', 'takes']),
      what: z.array(z.string()),
    }),
  ),
});

export const task = z.looseObject({
  taskId: z.uuid(),
  personId: z.uuid(),
  step: z.string(),
  kind: z.enum(taskKinds),
  role: z.string(),
  state: z.enum(taskStates),
  who: z.string(),
  email: nullable(z.string()),
  accountUserId: nullable(z.string()),
  title: z.string(),
  instructions: z.array(z.string()),
  wants: data,
  openedAt: time,
  dueAt: time,
  saidBy: nullable(z.string()),
  saidAt: nullable(time),
  contradiction: nullable(z.string()),
  closedAt: nullable(time),
  closedBy: nullable(z.string()),
  expiresAt: nullable(time),
});
export const worksheet = z.looseObject({
  kind: z.enum(taskKinds),
  role: z.string(),
  title: z.string(),
  tasks: z.int(),
  overdue: z.int(),
  saidDone: z.int(),
  dueAt: time,
  list: z.string(),
  csv: z.string(),
});
export const accountCapabilities = z.looseObject({
  kind: z.enum(['builtin', 'oncehub']),
  capabilities: z.looseObject({
    steps: z.record(
      z.string(),
      z.looseObject({ mode: z.enum(['automatic', 'task', 'observe']), how: z.string(), evidence: z.string() }),
    ),
  }),
  pace: nullable(z.looseObject({ requestsPerSecond: z.number(), requestsPerPerson: z.number() })),
});

export const source = z.looseObject({
  name: z.string(),
  kind: z.string(),
  pausedAt: nullable(time),
  lastHeardAt: nullable(time),
});
export const connections = z.looseObject({
  account: z.string(),
  queue: z.enum(['redis', 'postgres']),
  mails: z.boolean(),
  signIn: z.looseObject({
    entra: z.boolean(),
    links: z.boolean(),
    groups: z.record(z.string(), z.array(z.string())),
  }),
  graph: nullable(
    z.looseObject({
      tenantId: z.string(),
      clientId: z.string(),
      consentLink: z.string(),
      trouble: nullable(z.string()),
      permissions: z.array(
        z.looseObject({
          permission: z.string(),
          state: z.enum(['given', 'missing', 'unsure']),
          found: z.string(),
          needed: z.boolean(),
        }),
      ),
    }),
  ),
  alerts: z.looseObject({
    mail: z.array(z.string()),
    webhook: nullable(z.string()),
    heartbeatHours: z.number(),
    seatsLow: z.int(),
  }),
  health: z.array(
    z.looseObject({
      connection: z.enum(['database', 'queue', 'account', 'graph', 'mail', 'webhook']),
      state: z.enum(['ok', 'fault', 'off']),
      found: z.string(),
      next: nullable(z.string()),
    }),
  ),
});
export const token = z.looseObject({
  tokenId: z.uuid(),
  kind: z.enum(['scim', 'admin']),
  source: nullable(z.string()),
  label: z.string(),
  createdAt: time,
  expiresAt: nullable(time),
  lastUsedAt: nullable(time),
});
export const loggedRequest = z.looseObject({
  requestNo: z.string(),
  requestId: z.string(),
  source: z.string(),
  at: time,
  method: z.string(),
  path: z.string(),
  status: z.int(),
  tookMs: z.number(),
  body: z.unknown(),
  answer: nullable(z.string()),
});
export const alert = z.looseObject({
  key: z.string(),
  kind: z.string(),
  message: z.string(),
  raisedAt: time,
  resolvedAt: nullable(time),
});

export const accountUser = z.looseObject({
  accountUserId: z.uuid(),
  personId: nullable(z.uuid()),
  name: z.string(),
  email: z.string(),
  role: z.enum(roles),
  integrations: z.string().describe('The connected calendar, or None'),
  licenses: z.array(z.string()),
  waitingFor: z.array(z.string()),
  status: z.enum(['Invited (Pending)', 'Has signed in']),
  suspended: z.boolean(),
  phone: nullable(z.string()),
  jobTitle: nullable(z.string()),
  timeZone: nullable(z.string()),
  notifications: data,
  dateTime: data,
  productSettings: data,
  switches: z.partialRecord(z.enum(switchNames), z.boolean()),
  createdAt: time,
  invitedAt: nullable(time),
  lastSignedInAt: nullable(time),
  managedBy: nullable(
    z.looseObject({
      personId: z.uuid(),
      rule: z.string(),
      fields: z.record(z.string(), z.string()),
      kept: z.record(z.string(), z.looseObject({ by: z.string(), at: z.string() })),
    }),
  ),
});

export const bookableVerdict = z.looseObject({
  bookable: z.enum(['true', 'false', 'unknown']),
  reason: nullable(z.string()),
  message: z.string(),
});
export const bookingPage = z.looseObject({
  pageId: z.uuid(),
  linkName: z.string(),
  title: z.string(),
  owner: z.looseObject({ accountUserId: z.uuid(), name: z.string(), email: z.string() }),
  enabled: z.boolean(),
  disabledBy: nullable(z.string()),
  disabledWhy: nullable(z.string()),
  createdAt: time,
  bookable: bookableVerdict,
});
export const madePages = z.looseObject({
  made: z.int(),
  pages: z.array(z.looseObject({ pageId: z.uuid(), linkName: z.string(), ownerId: z.uuid(), enabled: z.boolean() })),
  existing: z.array(z.string()),
});

export const pool = z.looseObject({
  kind: z.string(),
  bought: nullable(z.int()),
  assigned: z.int(),
  reserved: z.int(),
  waiting: z.int(),
  free: nullable(z.int()),
  missing: z.int(),
  forecast: nullable(z.string()),
});
export const waitingPlace = z.looseObject({
  place: z.int(),
  personId: nullable(z.uuid()),
  accountUserId: nullable(z.uuid()),
  name: nullable(z.string()),
  email: nullable(z.string()),
  since: time,
  rule: z.string(),
});
export const seatResult = z.looseObject({ assigned: z.boolean(), kind: z.string() });

export const permission = z.looseObject({
  function: z.enum(Object.keys(accountFunctions) as [keyof typeof accountFunctions]),
  rule: z.string(),
  title: z.string(),
  offered: z.boolean(),
  allowed: z.boolean(),
  scope: z.enum(['all', 'own', 'none']),
  reason: z.string(),
});

export const mail = z.looseObject({
  mailId: z.uuid(),
  accountUserId: z.uuid(),
  kind: z.enum(['invitation', 'sign-in-link']),
  recipient: z.string(),
  subject: z.string(),
  text: z.string(),
  state: z.enum(['waiting', 'sent', 'refused', 'failed', 'bounced']),
  attempts: z.int(),
  lastError: nullable(z.string()),
  createdAt: time,
  nextAt: nullable(time),
  sentAt: nullable(time),
});

export const session = z.looseObject({
  name: z.string(),
  how: z.enum(['token', 'invitation', 'entra']),
  accountUserId: nullable(z.uuid()),
  role: nullable(z.enum(roles)),
  operatorRoles: z.array(z.string()),
  expiresAt: nullable(time),
});
