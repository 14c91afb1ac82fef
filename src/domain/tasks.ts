/**
 * Work that only people can do: one open task a person and step, exactly worded, for a named role, with a due date. It is closed by evidence; where
 * nothing can be looked at, by a named person's word, which stands for a while and is then asked for again.
 */
import type { FutureBooking, PageLook, PagesLook, SeatLook } from './account.ts';
import type { Verdict } from './conditions.ts';
import type { Step } from './next-steps.ts';
import type { Policy } from './policy.ts';

export const taskKinds = [
  'assign_seat',
  'confirm_seat',
  'take_seat',
  'own_pages',
  'change_email',
  'hand_over_pages',
  'free_seat',
] as const;
export type TaskKind = (typeof taskKinds)[number];

export const taskStates = ['open', 'done', 'withdrawn'] as const;

/** What is to become of one page. `use_own`: the page that the account made for the user stands for the wished one. */
export interface PageWant {
  linkName: string;
  act: 'hand_over' | 'enable' | 'use_own' | 'create';
  pageId: string | null;
  url: string | null;
  /** Whose it is now; an e-mail address. */
  from: string | null;
}

export interface TaskWants {
  seats: string[];
  pages: PageWant[];
  /** The new address. */
  email: string | null;
  /** Who takes over; an e-mail address. */
  heir: string | null;
  /** Null where the account did not list them. */
  bookings: FutureBooking[] | null;
  /** Whose word ran out, where it is asked for again. */
  saidBefore: { by: string; at: string } | null;
}

export const wantsNothing: TaskWants = {
  seats: [],
  pages: [],
  email: null,
  heir: null,
  bookings: [],
  saidBefore: null,
};

/** A task as a step wants it; the store gives it an id, a due date and a place in a worksheet. */
export interface WantedTask {
  step: Step;
  kind: TaskKind;
  who: string;
  email: string | null;
  accountUserId: string | null;
  wants: TaskWants;
}

export interface Task extends WantedTask {
  taskId: string;
  personId: string;
  role: 'account_administrator';
  state: (typeof taskStates)[number];
  title: string;
  instructions: string[];
  openedAt: Date;
  dueAt: Date;
  remindedAt: Date | null;
  reminders: number;
  saidBy: string | null;
  saidAt: Date | null;
  contradiction: string | null;
  closedAt: Date | null;
  closedBy: string | null;
  /** Of a word that nothing could be looked at beside. */
  expiresAt: Date | null;
}

const list = (names: string[]): string => names.map((name) => `«${name}»`).join(', ');

export function titleOf({ kind, who: named, wants }: WantedTask): string {
  // A name is one line of its own.
  const who = named.replace(/\p{Cc}+/gu, ' ');
  switch (kind) {
    case 'assign_seat':
      return `Assign ${who} a ${list(wants.seats)} seat`;
    case 'confirm_seat':
      return `Confirm that ${who} still has a ${list(wants.seats)} seat`;
    case 'take_seat':
      return `Take the ${list(wants.seats)} seat of ${who} back`;
    case 'own_pages':
      return wants.pages.every((page) => page.act === 'use_own')
        ? `Switch on the Booking page that OnceHub made for ${who}`
        : wants.pages.every((page) => page.act === 'enable')
          ? `Switch on ${list(wants.pages.map((page) => page.linkName))} of ${who}`
          : `Make ${list(wants.pages.map((page) => page.linkName))} a Booking page of ${who}, enabled`;
    case 'change_email':
      return `Change the e-mail address of ${who} to ${wants.email}`;
    case 'hand_over_pages':
      return `Hand the Booking pages of ${who} over${wants.heir ? ` to ${wants.heir}` : ''}`;
    case 'free_seat':
      return `Take the seat of ${who} back, who left`;
  }
}

/** What to do, line by line, in the words of the account's own pages. */
export function instructionsOf(task: WantedTask): string[] {
  const { kind, email, accountUserId, wants } = task;
  const user = `${email ?? task.who}${accountUserId ? ` (${accountUserId})` : ''}`;
  const bookings =
    wants.bookings === null
      ? ['OnceHub did not list the future bookings: look under Activity before you go on.']
      : wants.bookings.length > 0
        ? [
            `${wants.bookings.length} future bookings: ${wants.bookings
              .slice(0, 5)
              .map(
                (booking) =>
                  `${booking.startsAt}${booking.subject ? ` ${booking.subject}` : ''} (${booking.bookingId})`,
              )
              .join(
                '; ',
              )}${wants.bookings.length > 5 ? '; all of them stand in the task' : ''}. Bookings of an Exchange calendar can not be reassigned: tell the customers, or keep the calendar until they are over.`,
          ]
        : [];
  switch (kind) {
    case 'assign_seat':
      return [
        `Account settings → Users → ${user} → Licenses: assign a ${list(wants.seats)} seat. Buy none for this: of the seats that the policy counts (account.pools) one is free.`,
        ...pageLines(wants.pages, user),
      ];
    case 'confirm_seat':
      return [
        `Account settings → Users: does ${user} still have a ${list(wants.seats)} seat? Assign it again where it is gone, then mark this done.`,
      ];
    case 'take_seat':
      return [
        `Account settings → Users → ${user} → Licenses: take the ${list(wants.seats)} seat back; no rule wishes it any more. Every enabled page of theirs is disabled by it.`,
      ];
    case 'own_pages':
      return pageLines(wants.pages, user);
    case 'change_email':
      return [
        `Account settings → Users → ${user} → Profile: change the e-mail address to ${wants.email}; OnceHub asks for your own password.`,
        'While single sign-on is on, addresses can not be changed: switch it off for that moment, or ask OnceHub.',
        'Never delete the user and make a new one: bookings and pages would go.',
      ];
    case 'hand_over_pages':
      return [
        ...wants.pages.map(
          (page) =>
            `Booking page «${page.linkName}»${page.url ? ` (${page.url})` : ''}: Overview → Owner: ${wants.heir ?? 'an Administrator who stays'}.`,
        ),
        ...bookings,
        'Do this before the seat is taken: taking it disables every page that is still theirs.',
      ];
    case 'free_seat':
      return [`Account settings → Users → ${user} → Licenses: take the seat back. Keep the user.`, ...bookings];
  }
}

function pageLines(pages: PageWant[], user: string): string[] {
  const lines = pages.map((page) => pageLine(page, page.url ? ` (${page.url})` : '', user));
  if (pages.some((page) => page.act === 'hand_over'))
    lines.push(
      'A new owner gets the default notifications; a page whose calendar connection differs falls back to booking with approval, 15 minutes, no location: look at both. Pools and master pages that hold the page change with it.',
    );
  return lines;
}

function pageLine(page: PageWant, where: string, user: string): string {
  switch (page.act) {
    case 'hand_over':
      return `Booking page «${page.linkName}»${where}: Overview → Owner: ${user}, now ${page.from}; then switch it on.`;
    case 'enable':
      return `Booking page «${page.linkName}»${where}: it is theirs; switch it on.`;
    case 'use_own':
      return `Booking page that OnceHub made for them${where}: switch it on. Its link may be renamed to «${page.linkName}»; it counts as it is.`;
    case 'create':
      return `There is no Booking page «${page.linkName}»: create one with this link, Owner: ${user}; then switch it on.`;
  }
}

export function dueAt(policy: Policy['tasks'], now: Date): Date {
  return new Date(now.getTime() + policy.dueDays * 86_400_000);
}

/** What is known of one seat, from what the account shows and what somebody said. */
export type SeatState =
  | { kind: 'shown'; detail: string }
  | { kind: 'said'; by: string; at: Date; until: Date }
  | { kind: 'expired'; by: string; at: Date }
  /** Somebody said that it is done, and the account shows that it is not. */
  | { kind: 'contradicted'; by: string; at: Date; detail: string }
  | { kind: 'missing'; detail: string };

export function seatState(
  look: SeatLook,
  kind: string,
  accountUserId: string,
  task: Task | null,
  policy: Policy['tasks'],
  now: Date,
): SeatState {
  if (look.seat === 'yes') return { kind: 'shown', detail: look.detail };
  // Of a task that was closed by what was seen, the word is spent; one about another user of the same person says nothing of this one.
  const stands =
    (task?.state === 'open' || (task?.state === 'done' && task.expiresAt !== null)) &&
    task.accountUserId === accountUserId;
  const said = stands && task?.saidBy && task.saidAt && task.wants.seats.includes(kind) ? task : null;
  const { saidBy: by, saidAt: at } = said ?? {};
  const before = task?.kind === 'confirm_seat' && task.state === 'open' ? task.wants.saidBefore : null;
  if (!said && look.seat === 'unknown' && before && task?.wants.seats.includes(kind))
    return { kind: 'expired', by: before.by, at: new Date(before.at) };
  if (!by || !at || (task?.kind !== 'assign_seat' && task?.kind !== 'confirm_seat'))
    return { kind: 'missing', detail: look.detail };
  if (look.seat === 'no') return { kind: 'contradicted', by, at, detail: look.detail };
  const until = said?.expiresAt ?? wordUntil(at, policy);
  return now < until ? { kind: 'said', by, at, until } : { kind: 'expired', by, at };
}

export function wordUntil(at: Date, policy: Policy['tasks']): Date {
  return new Date(at.getTime() + policy.wordDays * 86_400_000);
}

export interface PagesDecision {
  wants: PageWant[];
  /** Set where no administrator's hand on this person's pages helps. */
  blocked: Verdict | null;
  /** Pages that count for the wished ones as they are. */
  right: string[];
}

/**
 * | the wished page | then |
 * |---|---|
 * | is theirs, enabled | right |
 * | is theirs, disabled | enable |
 * | belongs to somebody from whom it may be taken | hand over |
 * | belongs to somebody else | `owned_by_other` |
 * | is wished for two | `claimed_twice` |
 * | is nowhere, and the account made them one | that one counts, enabled |
 * | is nowhere | create |
 */
export function decidePagesByTask(
  look: PagesLook,
  wishedByOthers: { linkName: string; personId: string }[],
): PagesDecision {
  const wants: PageWant[] = [];
  const right: string[] = [];
  let blocked: Verdict | null = null;
  // One that can be booked already goes first.
  const spare = [...look.others].sort((a, b) => Number(b.enabled) - Number(a.enabled));
  const block = (reason: 'claimed_twice' | 'owned_by_other', message: string, linkName: string) => {
    blocked ??= { status: 'false', reason, message, evidence: { linkName } };
  };
  for (const wished of look.wished) {
    const { linkName, page, owner } = wished;
    const others = wishedByOthers.filter((other) => other.linkName === linkName);
    if (others.length > 0) {
      block(
        'claimed_twice',
        `Page «${linkName}» is wished for two people; nobody gets it. Also wished by ${others.map((other) => other.personId).join(', ')}. The names in the directory or the rule decide.`,
        linkName,
      );
    } else if (page && owner === 'self') {
      if (page.enabled) right.push(linkName);
      else wants.push({ ...pageWant(wished), act: 'enable' });
    } else if (page && owner === 'unknown') {
      block(
        'owned_by_other',
        `Page «${linkName}» belongs to a user from whom the policy does not take; OnceHub does not name them. An account administrator hands it over, or the policy names that user in bookingPages.takeFrom.`,
        linkName,
      );
    } else if (page && typeof owner === 'object') {
      wants.push({ ...pageWant(wished), act: 'hand_over', from: owner.email });
    } else {
      const own = spare.shift();
      if (own?.enabled) right.push(linkName);
      else if (own) wants.push({ linkName, act: 'use_own', pageId: own.pageId, url: own.url, from: null });
      else wants.push({ ...pageWant(wished), act: 'create' });
    }
  }
  return { wants, blocked, right };
}

const pageWant = ({ linkName, page }: PageLook): PageWant => ({
  linkName,
  act: 'create',
  pageId: page?.pageId ?? null,
  url: page?.url ?? null,
  from: null,
});

/** A sheet is work of one kind: one place in the account's pages, one order. */
export interface Worksheet {
  kind: TaskKind;
  role: Task['role'];
  title: string;
  tasks: number;
  overdue: number;
  saidDone: number;
  dueAt: Date;
}

const sheetTitles: Record<TaskKind, (count: number) => string> = {
  assign_seat: (count) =>
    `Assign ${count} ${count === 1 ? 'seat' : 'seats'}, with the Booking pages that the rows name`,
  confirm_seat: (count) => `Confirm ${count} ${count === 1 ? 'seat' : 'seats'} that nothing shows`,
  take_seat: (count) => `Take ${count} ${count === 1 ? 'seat' : 'seats'} back`,
  own_pages: (count) => `Hand over or switch on the Booking pages of ${count} ${count === 1 ? 'person' : 'people'}`,
  change_email: (count) => `Change ${count} e-mail ${count === 1 ? 'address' : 'addresses'}`,
  hand_over_pages: (count) => `Take over the Booking pages of ${count} ${count === 1 ? 'leaver' : 'leavers'}`,
  free_seat: (count) => `Take back the seats of ${count} ${count === 1 ? 'leaver' : 'leavers'}`,
};

export const sheetTitle = (kind: TaskKind, count: number): string => sheetTitles[kind](count);

/** What a worksheet says of one person, in the order of its columns. */
export const worksheetColumns = [
  'taskId',
  'kind',
  'who',
  'email',
  'accountUserId',
  'seat',
  'pages',
  'newEmail',
  'heir',
  'futureBookings',
  'dueAt',
  'whatToDo',
  'note',
  'done',
  'doneBy',
] as const;

export function worksheetRow(task: Task): Record<(typeof worksheetColumns)[number], string> {
  return {
    taskId: task.taskId,
    kind: task.kind,
    who: task.who,
    email: task.email ?? '',
    accountUserId: task.accountUserId ?? '',
    seat: task.wants.seats.join(' '),
    pages: task.wants.pages.map((page) => page.linkName).join(' '),
    newEmail: task.wants.email ?? '',
    heir: task.wants.heir ?? '',
    futureBookings: (task.wants.bookings ?? []).map((booking) => booking.bookingId).join(' '),
    dueAt: task.dueAt.toISOString(),
    whatToDo: task.instructions.join(' '),
    note: task.contradiction ?? (task.saidBy ? `said by ${task.saidBy}, not looked at yet` : ''),
    // To be filled in: a sheet that comes back as it went out says nothing.
    done: '',
    doneBy: '',
  };
}

/** What is overdue, in one letter for all of it. */
export function reminderOf(tasks: Task[], overdue: number): { subject: string; text: string } {
  const lines = tasks
    .slice(0, 20)
    .map(
      (task) =>
        `- ${task.title} (due ${task.dueAt.toISOString().slice(0, 10)}${task.contradiction ? `; ${task.contradiction}` : ''})`,
    );
  return {
    subject: `Usher: ${overdue} ${overdue === 1 ? 'task is' : 'tasks are'} overdue`,
    text: [
      `${overdue} ${overdue === 1 ? 'task waits' : 'tasks wait'} for an account administrator, and people can not be booked until then:`,
      '',
      ...lines,
      ...(tasks.length > 20 ? [`… and ${tasks.length - 20} more.`] : []),
      '',
      '«usher tasks --csv» writes the sheet to work through; «usher tasks --done» takes it back. What was done is looked at by itself, too.',
    ].join('\n'),
  };
}
