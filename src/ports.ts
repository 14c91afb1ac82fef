/**
 * What entrances and workers know of the outside. Adapters implement these; only `compose.ts` knows both.
 */

import type {
  AccountPage,
  AccountUser,
  FutureBooking,
  PagesLook,
  SeatAnswer,
  SeatLook,
  UserChanges,
} from './domain/account.ts';
import type { BrakeAnswer } from './domain/brake.ts';
import type { Condition, Conditions, ConditionType } from './domain/conditions.ts';
import type { Candidate } from './domain/correlate.ts';
import type { CsvFields } from './domain/csv-people.ts';
import type { DedicatedMailbox, MailboxDelivery, MailboxReading } from './domain/delegation.ts';
import type { AccountSight, Drift, DriftMode } from './domain/drift.ts';
import type { ImportSummary, PlannedRow } from './domain/import-plan.ts';
import type { Lane, Step } from './domain/next-steps.ts';
import type { RemovalState } from './domain/offboard.ts';
import type { DirectoryUser, HandedOver, Leave, Lifecycle, Person, Role, Wish } from './domain/person.ts';
import type { PlannedChange } from './domain/plan.ts';
import type { Policy } from './domain/policy.ts';
import type { Task, TaskKind, WantedTask } from './domain/tasks.ts';

// ---------------------------------------------------------------------------------------------------------------------- the store

/** Proof that a worker may act for a person: a number that every later claim raises. Nothing commits under a stale one. */
export interface Fence {
  personId: string;
  lane: Lane;
  number: string;
}

/** Who did it, and because of what. */
export interface Cause {
  actor: string;
  /** SCIM request id, run id, job id. */
  by: string;
}

export interface HistoryEntry {
  action: string;
  before: unknown;
  after: unknown;
}

export interface HistoryRow extends HistoryEntry {
  historyId: string;
  personId: string;
  at: Date;
  cause: Cause;
}

/** A person with what is known about them; what a step works on. */
export interface KnownPerson {
  person: Person;
  conditions: Conditions;
  ready: boolean;
  /** How many changes of groups the wish has not been looked at under yet. */
  reconsider: number;
  /** What was done to the account and is in no history yet: whoever did it died before it was settled. */
  unrecorded: HistoryEntry[];
}

/** A SCIM resource (or any other source's row) as it is stored; `resource` is the canonical representation without id and meta. */
export interface StoredUser {
  resourceId: string;
  source: string;
  personId: string;
  externalId: string | null;
  userName: string;
  active: boolean;
  resource: Record<string, unknown>;
  /** Derived from the groups of the same source. */
  groups: { value: string; display: string }[];
  version: number;
  createdAt: Date;
  lastModifiedAt: Date;
}

export interface StoredGroup {
  groupId: string;
  source: string;
  externalId: string | null;
  displayName: string;
  version: number;
  createdAt: Date;
  lastModifiedAt: Date;
  /** Null when they were not asked for. */
  members: Member[] | null;
}

export interface Member {
  value: string;
  type: 'User' | 'Group';
  display: string | null;
}

/** What one change may do to the members of the group that it holds; each costs what it touches, whatever the size of the group. */
export interface MemberChanges {
  add(ids: string[]): Promise<number>;
  remove(ids: string[]): Promise<number>;
  removeAll(): Promise<number>;
  replace(ids: string[]): Promise<number>;
  list(): Promise<Member[]>;
}

export interface GroupFields {
  displayName: string;
  externalId: string | null;
}

export interface GroupStore {
  createGroup(
    source: string,
    groupId: string,
    fields: GroupFields,
    memberIds: string[],
    cause: Cause,
  ): Promise<StoredGroup>;
  findGroup(source: string, groupId: string, withMembers: boolean): Promise<StoredGroup | null>;
  findGroups(source: string, query: ListQuery, withMembers: boolean): Promise<Page<StoredGroup>>;
  groupPlaces(source: string, every: number): Promise<RowPlace[]>;
  /** Under the group's lock, in one transaction: `edit` changes members through its second argument and answers the fields. */
  changeGroup(
    source: string,
    groupId: string,
    edit: (group: StoredGroup, members: MemberChanges) => Promise<GroupFields>,
    cause: Cause,
  ): Promise<StoredGroup | null>;
  deleteGroup(source: string, groupId: string, check: (group: StoredGroup) => void, cause: Cause): Promise<boolean>;
}

export interface LoggedRequest {
  requestId: string;
  source: string;
  at: Date;
  method: string;
  path: string;
  status: number;
  tookMs: number;
  /** Without passwords and tokens; JSON text when it is written, a value when it is read. */
  body: unknown;
  answer: string | null;
}

export interface Alert {
  key: string;
  kind: string;
  message: string;
  raisedAt: Date;
  resolvedAt: Date | null;
}

export interface RequestLogStore {
  logRequests(requests: LoggedRequest[]): Promise<void>;
  requests(query: {
    source?: string | undefined;
    personId?: string | undefined;
    status?: string | undefined;
    before?: string | undefined;
    limit: number;
  }): Promise<(LoggedRequest & { requestNo: string })[]>;
  pruneRequests(olderThanDays: number): Promise<number>;
  cursorSecret(): Promise<string>;
}

/** A directory user ready to be written, with what it means for the person behind it. */
export interface PersonChange {
  lifecycle: Lifecycle;
  wish: Wish | null;
  leave: Leave | null;
  /** True when the wish or the lifecycle changed; then the generation rises. */
  newGeneration: boolean;
  /** True when nothing of the person's row changes at all. */
  samePerson: boolean;
  /** How lists show the person. */
  shown: ShownAs;
}

/** Somebody new, if nobody else could be the same human. */
export interface Stranger extends UserToWrite {
  personId: string;
  change: PersonChange;
}

export interface ShownAs {
  source: string;
  externalId: string | null;
  userName: string;
  displayName: string | null;
  email: string | null;
  active: boolean;
}

export interface UserToWrite {
  user: DirectoryUser;
  resource: Record<string, unknown>;
}

/** Everything one decision about a person needs, read in one statement. */
export interface PersonWithSources {
  person: Person;
  /** How many changes of groups the wish has not been looked at under yet. */
  reconsider: number;
  users: DirectoryUser[];
}

export interface Page<T> {
  items: T[];
  total: number;
  /** The place of the last row, to go on behind; null on an empty page. */
  last: RowPlace | null;
}

/** A filter compiled for the store: SQL over `directory_users u`, with its parameters numbered from `$1`. */
export interface CompiledFilter {
  sql: string;
  parameters: unknown[];
}

export interface ListQuery {
  filter: CompiledFilter | null;
  sort: { sql: string; descending: boolean } | null;
  offset: number;
  limit: number;
  /** Go on behind this row of the default order, instead of skipping `offset` rows. */
  after?: RowPlace | null;
  /** The total when it is known already. */
  total?: number;
}

/** A place in the default order: time of creation, in the database's own precision, then id. */
export interface RowPlace {
  createdAt: string;
  id: string;
}

export interface IntakeStore {
  /**
   * The short way in for somebody nobody knows: directory user, person, conditions and history in one statement.
   * Answers null, writing nothing, when somebody could be the same human. Throws `uniqueness` when the userName or externalId is taken.
   */
  createUnknown(
    write: UserToWrite,
    personId: string,
    change: PersonChange,
    cause: Cause,
    ownAddresses: string[],
    /** `locked`: another source may send the same human at this moment. */
    others: 'none' | 'locked',
  ): Promise<StoredUser | null>;
  /** The long way in, under a lock per source and address: correlate, then create or attach. */
  createCorrelated(
    write: UserToWrite,
    decide: (
      candidates: Candidate[],
      load: (personId: string) => Promise<PersonWithSources | null>,
    ) => Promise<CreateDecision>,
    cause: Cause,
  ): Promise<StoredUser>;
  /** Writes those whom nobody else could be; answers their resource ids. The others come by `createCorrelated`. */
  createStrangers(source: string, strangers: Stranger[], cause: Cause): Promise<Set<string>>;
  findUser(source: string, resourceId: string): Promise<StoredUser | null>;
  findUsers(source: string, query: ListQuery): Promise<Page<StoredUser>>;
  /** The places of the rows `every`, 2 · `every`, ... in the default order. */
  userPlaces(source: string, every: number): Promise<RowPlace[]>;
  /** The conditions of the people behind these users, for who asks. */
  peopleBehind(personIds: string[]): Promise<Map<string, KnownPerson>>;
  /** The user with the person and all that person's users. */
  findUserForChange(source: string, resourceId: string): Promise<{ stored: StoredUser; all: PersonWithSources } | null>;
  /** Compare-and-set on the user's version and the person's generation; null when either moved. */
  updateUser(
    expected: { resourceId: string; version: number; personId: string; generation: number },
    write: UserToWrite,
    change: PersonChange,
    difference: { before: unknown; after: unknown },
    cause: Cause,
  ): Promise<Pick<StoredUser, 'version' | 'lastModifiedAt'> | null>;
  /** Leaves a tombstone. False when the version or generation moved. */
  deleteUser(
    expected: { resourceId: string; version: number; personId: string; generation: number },
    change: PersonChange,
    before: unknown,
    cause: Cause,
  ): Promise<boolean>;
}

export type CreateDecision =
  | { kind: 'new'; personId: string; change: PersonChange; ambiguousWith: string[] }
  | { kind: 'attach'; personId: string; generation: number; change: PersonChange };

export interface Settlement {
  /** New states of the step's own condition; of several, for somebody who left. */
  conditions: Condition[];
  /** Downstream conditions that now wait; written only where they are not true. */
  heldBack: Condition[];
  history: HistoryEntry | null;
  person?: {
    accountUserId?: string | null;
    accountUserOrigin?: Person['accountUserOrigin'];
    lifecycle?: Lifecycle;
    suspendedAt?: Date | null;
  };
  requiredConditions: string[];
  /** How many of the `unrecorded` effects the history row tells; all when absent. */
  told?: number;
}

/** A delegated mailbox whose delivery of meeting messages was not read for a week. */
export interface DeliveryDue {
  personId: string;
  who: string;
  mailboxKey: string;
}

export interface StepStore {
  takeDeliveryDue(limit: number): Promise<DeliveryDue[]>;
  /** Noted beside the evidence of a true delegation; the condition itself stays as it is. */
  noteDelivery(personId: string, note: Record<string, unknown>): Promise<void>;
  load(personId: string): Promise<KnownPerson | null>;
  /** Takes the lane's lease and raises its fence; null when somebody else holds it. */
  claim(personId: string, lane: Lane, leaseSeconds: number): Promise<{ known: KnownPerson; fence: Fence } | null>;
  /** Records and gives the lease back, in one statement; answers the person after it. Null, writing nothing, under a stale fence. */
  settle(fence: Fence, settlement: Settlement, cause: Cause): Promise<KnownPerson | null>;
  /** What a step did before it was overtaken, where the account does not keep it beside the effect: done is done, and the history says so. */
  recordEffects(personId: string, entry: HistoryEntry, cause: Cause): Promise<void>;
  release(fence: Fence): Promise<void>;
  /** Sets the person's timer from what the conditions say; `timer` is the leaver's clock, `retryAt` a fault's. */
  rest(personId: string, generation: number, timer: Date | null, delegation: Policy['delegation']): Promise<void>;
  /** Takes people whose time has come, and gives each a quarter of a minute before they are taken again. */
  takeDue(limit: number): Promise<KnownPerson[]>;
  /** Whoever waits for a seat looks again now; answers the first of them, in the order of the line. */
  wakeWaitingForSeats(): Promise<string[]>;
  /** The user of this person was changed by another's step: it is looked at now. */
  recheckProfile(personId: string): Promise<void>;
  /** Which of these pages other wanted people wish for, too. */
  othersWishing(personId: string, linkNames: string[]): Promise<{ personId: string; linkName: string }[]>;
  /** The people behind the owners of pages; `left` once the brake admitted their removal. */
  peopleByAccountUser(accountUserIds: string[]): Promise<
    {
      accountUserId: string;
      personId: string;
      lifecycle: Lifecycle;
      bookingPages: string[];
      email: string | null;
      left: boolean;
    }[]
  >;
  /** Writes down whom a leaver's pages go to, before they go. */
  noteHandedOver(personId: string, pages: HandedOver[]): Promise<void>;
  /** Which seats of somebody who leaves no rule had given: noted before they are taken, and emptied once they are back. */
  noteTakenSeats(personId: string, kinds: string[]): Promise<void>;
  /** What was handed over is back, or is no longer to come back. */
  forgetHandedOver(personId: string): Promise<void>;
  /** Whom the source names so, among the people it told of: by its id, the externalId, the userName or an address. */
  personNamed(source: string, name: string): Promise<{ personId: string; accountUserId: string | null } | null>;
  /** Admits a removal or holds it: count and admission are one transaction under one lock. */
  admitRemoval(
    person: Person,
    decide: (ofSource: { admitted: number; base: number }, total: { admitted: number; base: number }) => BrakeAnswer,
    windowStart: Date,
    cause: Cause,
  ): Promise<RemovalState>;
  removalOf(personId: string, generation: number): Promise<RemovalState>;
}

export interface PeopleQuery {
  filter?: string | undefined;
  condition?: string | undefined;
  status?: string | undefined;
  reason?: string | undefined;
  source?: string | undefined;
  /** A group of any source, by name or key; also through another group. */
  group?: string | undefined;
  lifecycle?: string | undefined;
  ready?: boolean | undefined;
  limit: number;
  cursor?: string | undefined;
  /** Instead of a cursor: so many are passed over, for whoever jumps into the middle of a list. */
  offset?: number | undefined;
}

export interface ShownPerson extends ShownAs {
  known: KnownPerson;
}

export interface Summary {
  people: number;
  ready: number;
  lifecycles: Record<string, number>;
  conditions: Record<string, { true: number; false: Record<string, number>; unknown: Record<string, number> }>;
}

export interface ProvisionResult {
  ready: boolean;
  steps: StepResult[];
}

export interface StepResult {
  step: Step;
  outcome: 'done' | 'nothing_to_do' | 'blocked' | 'failed';
  reason: string | null;
  message: string;
  tookMs: number;
}

export interface Provision {
  provisionId: string;
  personId: string;
  plan: boolean;
  requestedBy: string;
  result: ProvisionResult | null;
}

export interface Run {
  runId: string;
  kind: string;
  state: string;
  source: string | null;
  createdAt: Date;
  endedAt: Date | null;
  expiresAt: Date | null;
  /** What a run of the poller did; null for others. */
  report: Record<string, unknown> | null;
  /** How many people of a stored plan nobody has decided yet. */
  waiting: number;
  removals: {
    personId: string;
    displayName: string | null;
    userName: string;
    state: string;
    decidedBy: string | null;
    decidedAt: Date | null;
    cause: string;
  }[];
}

export interface AdminStore {
  people(query: PeopleQuery): Promise<{ items: ShownPerson[]; nextCursor: string | null; total: number }>;
  person(who: string): Promise<ShownPerson | null>;
  history(personId: string, limit: number, before: string | null): Promise<HistoryRow[]>;
  summary(): Promise<Summary>;
  /** Today's count, over the one from earlier today. */
  noteReadiness(): Promise<void>;
  /** The days that Usher ran on, of so many; wanted people, and those Ready at the end of the day. */
  readinessByDay(days: number): Promise<{ day: string; people: number; ready: number }[]>;
  requestProvision(personId: string, plan: boolean, requestedBy: string): Promise<Provision>;
  provision(provisionId: string): Promise<Provision | null>;
  openProvisions(limit: number): Promise<Provision[]>;
  finishProvision(provisionId: string, result: ProvisionResult): Promise<void>;
  offboard(personId: string, cause: Cause): Promise<boolean>;
  /** The delegation of these people, of all, or of those where it is not true, is looked at now. Answers whom. */
  recheckDelegation(personIds: string[] | null, all: boolean): Promise<string[]>;
  runs(): Promise<Run[]>;
  run(runId: string): Promise<Run | null>;
  /** How many removals were decided; null when there is no such run. */
  decideRun(
    runId: string,
    decision: 'approve' | 'keep',
    only: { personIds?: string[] | undefined; cause?: string | undefined },
    decidedBy: string,
  ): Promise<number | null>;
  /** Of whoever came back meanwhile, and of those whom nobody decided in time. Answers how many are kept. */
  expireHeldRemovals(): Promise<number>;
}

export interface LiveToken {
  tokenId: string;
  hash: string;
  kind: 'scim' | 'admin';
  source: string | null;
  label: string;
  createdAt: Date;
  expiresAt: Date | null;
  lastUsedAt: Date | null;
}

export interface SourceRow {
  name: string;
  kind: string;
  pausedAt: Date | null;
  lastHeardAt: Date | null;
}

export interface AccessStore {
  liveTokens(): Promise<LiveToken[]>;
  /** Stores the hash only. Throws `too_many` when a source has two live tokens already. */
  addToken(token: {
    kind: 'scim' | 'admin';
    source: string | null;
    label: string;
    hash: string;
    expiresAt: Date | null;
    fixed?: boolean;
  }): Promise<LiveToken>;
  revokeToken(tokenId: string): Promise<boolean>;
  /** Ends tokens that a setting gave and gives no more. */
  retireSettingTokens(labels: string[]): Promise<void>;
  touch(tokenIds: string[], sources: string[], at: Date): Promise<void>;
  syncSources(sources: { name: string; kind: string }[]): Promise<void>;
  sources(): Promise<SourceRow[]>;
  pauseSource(name: string, paused: boolean): Promise<boolean>;
}

export interface PolicyStore {
  storedPolicyVersion(): Promise<string | null>;
  storePolicyVersion(version: string): Promise<void>;
  withSources(personId: string): Promise<PersonWithSources | null>;
  /** Everybody, in pages, for a new look under a changed policy. */
  everybody(afterPersonId: string | null, limit: number): Promise<PersonWithSources[]>;
  /** Compare-and-set on the generation. `seenReconsider` changes of groups are then looked at. */
  changeWish(
    personId: string,
    generation: number,
    change: PersonChange,
    seenReconsider: number,
    cause: Cause,
  ): Promise<boolean>;
  /**
   * Under the person's lock, so that no source's word comes between the look and the write: what `decide` says the person becomes. `activeAgain` is a
   * directory user who speaks from now on. Null from `decide`: nothing is written. What a plan of the policy would take of them goes on waiting.
   */
  changeLocked(
    personId: string,
    decide: (one: PersonWithSources) => { change: PersonChange; activeAgain: string | null } | null,
    cause: Cause,
    action: string,
  ): Promise<void>;
  /** The person keeps what this policy version would take, until somebody approves. */
  keepUnder(personId: string, generation: number, version: string): Promise<void>;
  /** Nothing changed for this person by what was looked at. */
  reconsidered(personId: string, seenReconsider: number): Promise<void>;
}

/** One person of a stored plan. */
export interface PlanItem {
  personId: string;
  generation: number;
  effect: 'gives' | 'takes';
  what: string[];
  before: PlannedChange;
  after: PlannedChange;
}

export interface ShownPlanItem extends PlanItem {
  userName: string;
  displayName: string | null;
  state: 'waiting' | 'applied' | 'kept' | 'plan_stale';
  decidedBy: string | null;
  decidedAt: Date | null;
}

export interface PlanStore {
  beginPlan(kind: string, policyVersion: string): Promise<string>;
  /** Those of other policy versions are stale. */
  dropPlans(kind: string, exceptVersion: string): Promise<void>;
  addPlanItems(runId: string, items: PlanItem[]): Promise<void>;
  planItems(runId: string, limit: number): Promise<ShownPlanItem[]>;
  waitingPlanItems(runId: string, personIds: string[] | null): Promise<PlanItem[]>;
  /** How many waited. A plan of which nothing waits any more is decided. */
  decidePlanItems(
    runId: string,
    personIds: string[] | null,
    state: 'applied' | 'kept' | 'plan_stale',
    by: string,
  ): Promise<number>;
}

/** Proof that this process is the one that polls a source. */
export interface SyncFence {
  source: string;
  number: string;
}

/** Where a pass over users or groups goes on. */
export interface DirectoryPass {
  kind: 'users' | 'groups';
  /** Null: from the beginning. A next link inside a pass, the delta link behind a finished one. */
  link: string | null;
  finished: boolean;
  /** A read of everything: what it did not show is looked for afterwards. */
  isFull: boolean;
  /** What a full read did not show has been looked for. */
  swept: boolean;
  round: number;
  /** The attributes it was begun with; a token remembers them, so others need a new read. */
  selected: string;
}

interface PageLink {
  /** Stored with the page; null leaves the pass where it is. */
  link: string | null;
  finished: boolean;
  round: number;
}

export interface UserPage extends PageLink {
  items: { externalId: string; resourceId: string }[];
  /** Whom the source says are gone, and a direct read confirmed. */
  removed: { externalId: string; resourceId: string }[];
  /** Whether `round` is written on what was seen. */
  mark: boolean;
}

export interface GroupPage extends PageLink {
  groups: { groupId: string; externalId: string; displayName: string | null }[];
  joined: { groupId: string; memberId: string; kind: 'User' | 'Group' }[];
  left: { groupId: string; memberId: string }[];
  /** groupIds */
  removed: string[];
  /** Whether `round` is written on the members that were seen. */
  mark: boolean;
}

export interface KnownDirectoryUser {
  resourceId: string;
  version: number;
  resource: Record<string, unknown>;
  deletedAt: Date | null;
  all: PersonWithSources;
}

/** What a page means, decided over what is known; pure, and asked again when the transaction is tried again. */
export type UserPageDecision = (sight: {
  known(externalId: string): KnownDirectoryUser | null;
  memberships(resourceId: string): { id: string; externalId: string | null; name: string }[];
}) => {
  creates: (Stranger & {
    /** For a newcomer who could be somebody we know. */
    decide: Parameters<IntakeStore['createCorrelated']>[1];
  })[];
  changes: {
    kind: 'update' | 'revive';
    expected: Parameters<IntakeStore['updateUser']>[0];
    write: UserToWrite;
    change: PersonChange;
    difference: { before: unknown; after: unknown };
  }[];
  removals: {
    expected: Parameters<IntakeStore['deleteUser']>[0];
    change: PersonChange;
    before: unknown;
  }[];
  /** The page names somebody twice; it is to be stored once more before the pass goes on. */
  again: boolean;
};

/** A change notification that was asked for; what comes without its `clientState` is nobody's word. */
export interface Subscription {
  id: string;
  clientState: string;
  expiresAt: string;
  notificationUrl: string;
}

export type Subscriptions = Partial<Record<'users' | 'groups', Subscription>>;

/** The poller's side of the store. Every write names the fence; under a lost one it throws `conflict` and writes nothing. */
export interface SyncStore {
  /** Null when it is not time yet, or another process polls. */
  claimSync(source: string): Promise<{
    fence: SyncFence;
    passes: DirectoryPass[];
    fullRequested: boolean;
    lastFinishedAt: Date | null;
  } | null>;
  beginPass(fence: SyncFence, kind: 'users' | 'groups', selected: string, isFull: boolean): Promise<DirectoryPass>;
  storeUserPage(
    fence: SyncFence,
    page: UserPage,
    decide: UserPageDecision,
    cause: Cause,
    /** The page before: this one commits when that one has, so that the link never runs ahead of what is stored. */
    after: Promise<unknown>,
  ): Promise<{ touched: { personId: string; lifecycle: string }[]; again: boolean }>;
  storeGroupPage(fence: SyncFence, page: GroupPage, cause: Cause): Promise<{ people: string[]; changes: number }>;
  /** externalIds of live users that the full read of this round did not show. */
  absentUsers(source: string, round: number, after: string, limit: number): Promise<string[]>;
  /** What a complete read of the groups did not show any more: groups, and members of those it showed. */
  sweepGroups(fence: SyncFence, round: number, cause: Cause): Promise<{ people: string[]; changes: number }>;
  /** The externalIds of the groups of this name. */
  groupsNamed(source: string, name: string): Promise<string[]>;
  countGroups(source: string, round: number): Promise<{ known: number; seen: number }>;
  countUsers(source: string, round: number): Promise<{ live: number; seen: number }>;
  finishSync(fence: SyncFence, nextAt: Date, finished: boolean): Promise<void>;
  /** The full read that was asked for has begun for everything. */
  fullBegun(fence: SyncFence): Promise<void>;
  sweptPass(fence: SyncFence, kind: 'users' | 'groups'): Promise<void>;
  /** Whoever was said to be gone and is not confirmed, with since when. */
  doubts(source: string, limit: number): Promise<{ externalId: string; since: Date }[]>;
  keepDoubts(source: string, add: string[], drop: string[]): Promise<void>;
  /** The next round begins at once; `full` reads everything anew. */
  requestSync(source: string, full: boolean): Promise<boolean>;
  beginRun(kind: string, source: string): Promise<string>;
  endRun(runId: string, state: 'done' | 'failed', report: Record<string, unknown>): Promise<void>;
  syncState(source: string): Promise<{ running: boolean; nextAt: Date; lastFinishedAt: Date | null } | null>;
  subscriptions(source: string): Promise<Subscriptions>;
  keepSubscriptions(source: string, subscriptions: Subscriptions): Promise<void>;
}

export type ImportState = 'reading' | 'planned' | 'applying' | 'stopped' | 'done' | 'failed';

export interface Import {
  importId: string;
  source: string;
  name: string;
  state: ImportState;
  fileHash: string | null;
  planHash: string | null;
  policyVersion: string;
  columns: string[];
  summary: ImportSummary | null;
  failure: string | null;
  createdBy: string;
  createdAt: Date;
  appliedBy: string | null;
  appliedAt: Date | null;
  finishedAt: Date | null;
}

/** How far it is: rows by what became of them, and the people behind them by condition. */
export interface ImportProgress {
  rows: Record<'waiting' | 'applied' | 'plan_stale' | 'failed' | 'left', number>;
  people: number;
  ready: number;
  conditions: Record<string, number>;
}

/** A row with what the plan saw; `fields` is null where nothing is to be written. */
export interface ImportRow extends PlannedRow {
  cells: Record<string, string>;
  fields: CsvFields | null;
  resourceId: string | null;
  version: number | null;
  generation: number | null;
  state: 'waiting' | 'applied' | 'plan_stale' | 'failed' | 'left';
  result: string | null;
}

/** What is known of one row's human when the plan is made. */
export interface RowSight {
  /** The source's own user of that key. */
  own: { stored: StoredUser; all: PersonWithSources } | null;
  candidates: Candidate[];
  people: Map<string, PersonWithSources>;
}

export interface ImportStore {
  beginImport(source: string, name: string, policyVersion: string, by: string): Promise<string>;
  /** For each of these users of the source, what is known of who they might be. */
  rowSights(users: DirectoryUser[]): Promise<RowSight[]>;
  /** By personId: whether the delegation is true, false or unknown, and which licenses their users hold. */
  peopleFacts(personIds: string[]): Promise<Map<string, { delegation: string; licenses: string[] }>>;
  /** How many of its people were Ready for the first time, in each stretch of so many seconds since the first of them; 60 stretches at most. */
  importPace(importId: string): Promise<{ seconds: number; since: Date | null; ready: number[] }>;
  addRows(importId: string, rows: Omit<ImportRow, 'state' | 'result'>[]): Promise<void>;
  endReading(
    importId: string,
    end:
      | { state: 'planned'; fileHash: string; planHash: string; columns: string[]; summary: ImportSummary }
      | { state: 'failed'; failure: string },
  ): Promise<void>;
  import(importId: string): Promise<Import | null>;
  imports(limit: number): Promise<Import[]>;
  importProgress(importId: string): Promise<ImportProgress>;
  importRows(
    importId: string,
    query: { kind?: string | undefined; state?: string | undefined; after: number; limit: number },
  ): Promise<ImportRow[]>;
  /** The newest plan of the same file that was not applied. */
  planOfFile(fileHash: string, exceptId: string): Promise<Import | null>;
  /** From `from` to `to`; false when it is in another state by now. */
  moveImport(importId: string, from: ImportState[], to: ImportState, by: string | null): Promise<boolean>;
  /** An import that is to be applied and that nobody works on; it is ours for `leaseSeconds`. */
  claimImport(leaseSeconds: number): Promise<Import | null>;
  /** Goes on being ours; false when it was stopped or taken over. */
  holdImport(importId: string, leaseSeconds: number): Promise<boolean>;
  waitingRows(importId: string, limit: number): Promise<ImportRow[]>;
  settleRows(
    importId: string,
    rows: { line: number; state: ImportRow['state']; result: string | null; personId: string | null }[],
  ): Promise<void>;
  finishImport(importId: string): Promise<void>;
}

export interface TaskQuery {
  state?: Task['state'] | undefined;
  kind?: TaskKind | undefined;
  personId?: string | undefined;
  overdue?: boolean | undefined;
  /** Somebody said that it is done, and it is still open. */
  said?: boolean | undefined;
  after?: { at: string; taskId: string } | undefined;
  limit: number;
}

export interface TaskStore {
  /** The open one, else the one that was closed by a word that still stands or has run out. */
  currentTask(personId: string, step: Step): Promise<Task | null>;
  /** Opens it, or changes the open one; `dueAt` counts for a new one. Throws `fence_lost`. */
  openTask(fence: Fence, wanted: WantedTask, dueAt: Date): Promise<{ task: Task; isNew: boolean }>;
  /** Those that were open; none under a stale fence. */
  closeTasks(
    fence: Fence,
    steps: Step[],
    state: 'done' | 'withdrawn',
    closedBy: string,
    expiresAt: Date | null,
  ): Promise<Task[]>;
  /** What was said of this person does not count any more: it can be seen by now, or is refuted, or the person leaves. */
  spendWords(personId: string): Promise<void>;
  /** What was said is not so: the task stays open, and says why. */
  contradict(fence: Fence, taskId: string, contradiction: string): Promise<void>;
  task(taskId: string): Promise<Task | null>;
  tasks(query: TaskQuery): Promise<{ items: Task[]; total: number; next: { at: string; taskId: string } | null }>;
  worksheets(): Promise<{ kind: TaskKind; tasks: number; overdue: number; saidDone: number; dueAt: Date }[]>;
  /** Those of them that were open; their people are looked at now. */
  sayDone(words: { taskIds: string[]; by: string }[], cause: Cause): Promise<Task[]>;
  /** Overdue ones that were not brought to mind for so long; each is taken once. */
  takeOverdue(remindEveryDays: number, limit: number): Promise<Task[]>;
  countOverdue(): Promise<number>;
}

export interface KeptDrift extends Drift {
  mode: DriftMode;
  /** `plan_stale`: not any more what the plan showed, or not in it; nothing is done. */
  state: 'found' | 'corrected' | 'plan_stale';
}

/** What somebody who watches sees change. */
export interface Pulse {
  /** Where history stood; the next pulse begins there. */
  historyId: string;
  /** The rows that history grew by, the newest first, and whose; at most as many as were asked for. */
  changed: { id: string; personId: string }[];
  /** Imports and runs that are at work or ended a moment ago, with their state. */
  imports: { importId: string; state: ImportState }[];
  runs: { runId: string; kind: string; state: string }[];
  /** Changes whenever an alert, a task or a held removal does. */
  mark: string;
}

export interface PulseStore {
  /** Null: only where history stands now. */
  pulse(since: string | null, most: number): Promise<Pulse>;
}

export interface ReconciliationStore {
  /** Wanted and suspended people, by personId; some of them, or everybody. */
  knownPeople(after: string | null, personIds: string[] | null, limit: number): Promise<KnownPerson[]>;
  beginReconciliation(by: string, apply: boolean, people: number | null): Promise<string>;
  /** `from`: how many were kept of this run before. */
  addDrift(runId: string, from: number, drift: KeptDrift[]): Promise<void>;
  endReconciliation(runId: string, state: 'done' | 'failed', report: Record<string, unknown>): Promise<void>;
  driftOf(runId: string, limit: number): Promise<KeptDrift[]>;
  /** Their steps look again now. */
  recheckConditions(personIds: string[], condition: ConditionType): Promise<void>;
  /** True for the one process whose turn it is; `first`: when the very first one is due. */
  takeReconciliation(first: Date, leaseMinutes: number): Promise<boolean>;
  planReconciliation(next: Date): Promise<void>;
}

/** Where alerts go: addresses, and an address to post to. */
export interface AlertTargets {
  mail: string[];
  webhook: string | null;
}

export interface AlertStore {
  /** Answers true when the alert is new; then it is told to everybody who is to know, in the same transaction. */
  raiseAlert(key: string, kind: string, message: string): Promise<boolean>;
  /** Answers true when it stood until now; that is told, too. */
  resolveAlert(key: string): Promise<boolean>;
  alerts(): Promise<Alert[]>;
  /** Resolves those of a kind that are not among these keys any more. */
  resolveOthers(kind: string, keys: string[]): Promise<void>;
  /** Says that Usher is there, where the last word is older than this. */
  beat(everyHours: number, to: string): Promise<boolean>;
  /** People who were Ready once and whose calendar is not delegated any more. */
  delegationsLost(): Promise<number>;
  /** Wanted people for whom the tenant's connection does not work. */
  connectionsDown(): Promise<number>;
}

export const noticeChannels = ['mail', 'webhook'] as const;
export type NoticeChannel = (typeof noticeChannels)[number];

/** What somebody who runs Usher must know. */
export interface Notice {
  noticeId: string;
  channel: NoticeChannel;
  recipient: string;
  subject: string;
  body: string;
  attempts: number;
}

export interface NoticeStore {
  /** By mail. */
  putNotices(recipients: string[], subject: string, body: string): Promise<void>;
  /** For a few minutes they are ours. */
  takeNotices(channels: NoticeChannel[], limit: number): Promise<Notice[]>;
  noticeSent(noticeId: string): Promise<void>;
  /** Tried again then; null: never. */
  noticeNotSent(noticeId: string, error: string, nextAt: Date | null): Promise<void>;
  /** By channel: how many wait after a failed attempt, with the last answer. */
  unsentNotices(): Promise<{ channel: NoticeChannel; count: number; error: string }[]>;
}

export interface Store
  extends SyncStore,
    PulseStore,
    ReconciliationStore,
    AlertStore,
    NoticeStore,
    TaskStore,
    ImportStore,
    IntakeStore,
    StepStore,
    AdminStore,
    AccessStore,
    PolicyStore,
    PlanStore,
    GroupStore,
    RequestLogStore {
  ping(): Promise<void>;
  close(): Promise<void>;
}

// ------------------------------------------------------------------------------------------------------------------ the wake-up hints

export interface WakeUps {
  /** Best effort: a lost hint costs time, not data. Returns how many were dropped because the queue is full. `soon` unless told. */
  hint(step: QueueName, ids: string[], way?: HintWay): Promise<number>;
  /** How many `bulk` hints it takes now. */
  room(step: QueueName): Promise<number>;
  waiting(step: QueueName): Promise<number>;
  /** Starts taking hints. The handler's failure is logged and forgotten: the sweeper brings the person back. */
  work(step: QueueName, concurrency: number, handle: (id: string) => Promise<void>): Promise<void>;
  /** Stops taking hints and waits for the running ones. */
  drain(): Promise<void>;
  /** Throws with the fix when the queue could lose or garble hints. */
  check(): Promise<void>;
  close(): Promise<void>;
}

export type QueueName = Step | 'express';

/** `now`: before everybody, however full the queue is. `soon`: a handful goes before whatever waits, more of them behind it. `bulk`: behind, and only as many as keep the others' way short. */
export type HintWay = 'bulk' | 'soon' | 'now';

// -------------------------------------------------------------------------------------------------------------- the scheduling account

export interface NewAccountUser {
  personId: string;
  name: string;
  givenName: string | null;
  familyName: string | null;
  email: string;
  role: Role;
  /** Ids; empty where the account has no teams. */
  teams: string[];
  timeZone: string | null;
  invite: 'send' | 'suppress';
}

export interface SeatClaim {
  accountUserId: string;
  kind: string;
  personId: string;
  rule: string;
  /** The place in the line: the time of the first wish, then personId. */
  since: Date;
  cap: number | null;
  /** Given back as an Administrator had given it: no rule's, and no rule takes it. */
  byHand?: boolean;
}

export type StepMode = 'automatic' | 'task' | 'observe';

/** How a step is carried out in an account, and how it is known to be done; shown to people as it stands. */
export interface StepCapability {
  mode: StepMode;
  /** What Usher does, or whom it asks for what. */
  how: string;
  /** What proves it. */
  evidence: string;
}

/** What an adapter can do, as data: a step that it has no call for is a task or observed, and the contract suite asks nothing more of it. */
export interface AccountCapabilities {
  steps: Record<Step, StepCapability>;
  /** First and family name are fields of their own, and both must be there. */
  namesInParts: boolean;
  changesEmails: boolean;
  hasTeams: boolean;
  blocksSignIn: boolean;
  deletesUsers: boolean;
  suppressesInvitations: boolean;
  setsTimeZones: boolean;
  /** Two users can swap their addresses without either being without one. */
  exchangesEmails: boolean;
  suspends: boolean;
  createsPages: boolean;
  /** A new user comes with a page of their own. */
  makesPageForNewUser: boolean;
  keepsWaitingList: boolean;
  /** It can tell how many seats were bought. */
  knowsPools: boolean;
  /** What is done is kept in the transaction that does it, until the history has it. */
  keepsEffects: boolean;
}

export interface LicenseCounts {
  bought: number | null;
  assigned: number;
  reserved: number;
  waiting: number;
}

/** Who waits for it: somebody who looks at the screen; somebody who is not Ready yet; nobody. */
export type Priority = 'urgent' | 'soon' | 'background';

/** The account we provision into. Every write carries a fence and commits nothing under a stale one. */
export interface SchedulingAccount {
  readonly kind: 'builtin' | 'oncehub';
  readonly capabilities: AccountCapabilities;
  /** What the account lets be asked, and how much of it one new person takes; null where nobody has to wait. */
  readonly pace: { requestsPerSecond: number; requestsPerPerson: number } | null;
  /** The same account, asked for somebody: who waits goes first. One step takes one of these. */
  at(priority: Priority): SchedulingAccount;
  findByPerson(personId: string, accountUserId: string | null): Promise<AccountUser | null>;
  findByEmail(email: string): Promise<AccountUser | null>;
  findById(accountUserId: string): Promise<AccountUser | null>;
  createUser(user: NewAccountUser, fence: Fence): Promise<AccountUser>;
  /** Makes a user that exists ours. */
  adoptUser(accountUserId: string, personId: string, changes: UserChanges, fence: Fence): Promise<AccountUser>;
  updateUser(accountUserId: string, changes: UserChanges, fence: Fence): Promise<AccountUser>;
  /** Each gets the other's address, in one act: neither is ever without one. Throws `conflict`, doing nothing, unless both have what was seen, or each other's. */
  exchangeEmails(
    accountUserId: string,
    otherId: string,
    seen: { own: string; other: string },
    fence: Fence,
  ): Promise<void>;
  blockSignIn(accountUserId: string, fence: Fence): Promise<void>;
  suspendUser(accountUserId: string, fence: Fence): Promise<void>;
  restoreUser(accountUserId: string, fence: Fence): Promise<void>;
  deleteUser(accountUserId: string, heirId: string | null, fence: Fence): Promise<void>;
  claimSeat(claim: SeatClaim, fence: Fence): Promise<SeatAnswer>;
  /** Whether a free seat has come within reach of a place in the line: asked after it was written down that there was none. */
  isSeatFreeFor(personId: string): Promise<boolean>;
  freeSeats(accountUserId: string, kinds: string[], fence: Fence): Promise<void>;
  /** Takes the person out of every line that a rule brought them into; `byHandToo`: out of those where an Administrator put them as well. */
  leaveWaitingList(personId: string, byHandToo: boolean): Promise<void>;
  pagesNamed(linkNames: string[]): Promise<AccountPage[]>;
  /** Where an account is only looked at: read no earlier than `notBefore`. */
  pagesOwnedBy(accountUserId: string, notBefore?: Date): Promise<AccountPage[]>;
  /** Gives the page to its new owner, from the one it was seen with; enabled or disabled as said, in the same act. */
  assignPage(pageId: string, fromId: string, toId: string, enable: boolean, fence: Fence): Promise<void>;
  /** A new page of this owner, enabled. Nothing happens when one of that name is there. */
  createPage(linkName: string, ownerId: string, fence: Fence): Promise<void>;
  enablePage(pageId: string, fence: Fence): Promise<void>;
  /** For many at once, as a comparison needs it; who is not in the answer is not in the account. */
  sightsOf(accountUserIds: string[]): Promise<Map<string, AccountSight>>;
  /** Members whom nobody here knows, by id. */
  unknownUsers(after: string | null, limit: number): Promise<AccountUser[]>;
  /** The longest-standing licensed Administrator, else any Administrator, other than `exceptId`. */
  remainingAdministrator(exceptId: string): Promise<AccountUser | null>;
  licenseCounts(): Promise<Record<string, LicenseCounts>>;
  // Only where a step is a task: what can be looked at, read no earlier than `notBefore`.
  lookAtSeat(accountUserId: string, kind: string, notBefore: Date): Promise<SeatLook>;
  /** Throws `last_licensed_administrator` where nobody else is known to keep the account licensed. */
  guardSeat(accountUserId: string): Promise<void>;
  /** What the ledger has of this person: seen to be there, or asked for. */
  seatsOf(personId: string): Promise<{ kind: string; held: boolean }[]>;
  /** Nothing of this person is in the ledger any more, nor in the line; `reserved`: nothing that was only asked for. */
  forgetSeats(personId: string, what: 'all' | 'reserved', fence: Fence): Promise<void>;
  /** Writes into the ledger what was seen or said of a seat; `held: false` frees the place for the next one. */
  noteSeat(seat: Omit<SeatClaim, 'since' | 'cap'> & { held: boolean; evidence: string }, fence: Fence): Promise<void>;
  lookAtPages(
    accountUserId: string,
    linkNames: string[],
    takeFrom: string[] | null,
    notBefore: Date,
  ): Promise<PagesLook>;
  /** Null where the account does not list them. */
  futureBookings(accountUserId: string): Promise<FutureBooking[] | null>;
  /** Ids of teams named by id or name; what is not there is told. */
  teamIds(named: string[]): Promise<{ ids: string[]; unknown: string[] }>;
}

// ------------------------------------------------------------------------------------------------------------------------- the tenant

/** What check-delegation asks the Microsoft 365 tenant. */
export interface Calendars {
  /** Tries the keys in order: object id, user principal name, address. Throws `throttled`, `graph_unavailable`, `connection_down`. */
  readDelegation(mailboxKeys: string[]): Promise<MailboxReading>;
  dedicatedMailbox(address: string): Promise<DedicatedMailbox>;
  /** Assisted grant: makes the address a delegate of the primary calendar, or raises what it has. Says whether the tenant took it; whether it holds is read back. */
  grantDelegation(mailboxKey: string, address: string, dedicatedAddresses: string[]): Promise<'accepted' | 'refused'>;
  /** Who receives meeting messages, and what kind of mailbox it is; null when the connection may not ask (MailboxSettings.Read). */
  readDelivery(mailboxKey: string): Promise<MailboxDelivery | null>;
}

/** What the tenant's directory says of a user; an absent attribute was not sent, a null one is empty. */
export interface DirectoryAttributes {
  userName: string | null;
  mail: string | null;
  aliases: string[];
  displayName: string | null;
  givenName: string | null;
  familyName: string | null;
  enabled: boolean;
  userType: string | null;
  department: string | null;
  title: string | null;
  organization: string | null;
  division: string | null;
  costCenter: string | null;
}

export interface DirectoryUserChange {
  objectId: string;
  /** `soft`: restorable for 30 days. */
  removed: 'soft' | 'for_good' | null;
  attributes: Partial<DirectoryAttributes>;
}

export interface DirectoryGroupChange {
  objectId: string;
  removed: boolean;
  displayName?: string | null;
  members: { objectId: string; kind: 'User' | 'Group'; removed: boolean }[];
}

export type DirectoryPageOf<T> =
  | { kind: 'page'; entries: T[]; link: string; finished: boolean }
  /** The link is too old: everything is to be read anew. */
  | { kind: 'resync'; reason: string };

/** What the poller asks the tenant. Every read throws `throttled`, `graph_unavailable`, `connection_down`. */
export interface Directory {
  /** The attributes to ask for: what is always needed, and what the policy wants. */
  selectUsers(wanted: (keyof DirectoryAttributes)[]): string;
  readonly selectGroups: string;
  usersPage(link: string | null, select: string): Promise<DirectoryPageOf<DirectoryUserChange>>;
  groupsPage(link: string | null, select: string): Promise<DirectoryPageOf<DirectoryGroupChange>>;
  readUser(
    objectId: string,
    select: string,
  ): Promise<
    { kind: 'there'; attributes: Partial<DirectoryAttributes> } | { kind: 'gone' } | { kind: 'unknown'; reason: string }
  >;
  /** Asks to be told of changes; renews `known` where it lives. Null when the tenant refuses. */
  subscribe(
    resource: 'users' | 'groups',
    wanted: { notificationUrl: string; clientState: string; expiresAt: Date },
    known: Subscription | null,
  ): Promise<Subscription | null>;
  /** Directly or through nested groups; null when the tenant does not say. */
  isMember(objectId: string, groupId: string, kind: 'User' | 'Group'): Promise<boolean | null>;
  /** The object id of the manager; null when there is none, when the user is gone, or when the tenant does not say. */
  managerOf(objectId: string): Promise<string | null>;
  /** Null when the tenant does not say. */
  hasGroup(groupId: string): Promise<boolean | null>;
}
