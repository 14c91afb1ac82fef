/**
 * What people do with the built-in account by hand, as the API, the console and the mailer know it. Every write carries who acts; who may is
 * decided before, by `domain/roles.ts`; what the account's rules refuse is refused here again.
 */
import type { Bookable } from './domain/bookable.ts';
import type { Kept, Role } from './domain/person.ts';
import type { OperatorRole } from './domain/roles.ts';
import type { NewUser, SwitchName, UserEdit } from './domain/user-settings.ts';
import type { Cause, HistoryRow, LicenseCounts } from './ports.ts';

/** Who acts, on what ground, and under which conditions of the request. */
export interface Act extends Cause {
  /** The user of the account who acts; null for a token or an operator. */
  actingId: string | null;
  /** The ETag that the caller has seen; a write over another state throws `precondition_failed`. */
  ifMatch: string | null;
  /** Idempotency-Key: the same key of the same actor answers what it answered the first time. */
  once: { key: string; requestHash: string } | null;
  /** Link names that a rule wishes for somebody else are refused: a Member acts. */
  reserved?: boolean;
}

export interface ShownUser {
  accountUserId: string;
  personId: string | null;
  name: string;
  email: string;
  role: Role;
  /** The connected calendar, or `None`. */
  integrations: string;
  licenses: string[];
  /** Kinds that the user stands in line for. */
  waitingFor: string[];
  status: 'Invited (Pending)' | 'Has signed in';
  suspended: boolean;
  phone: string | null;
  jobTitle: string | null;
  timeZone: string | null;
  notifications: Record<string, unknown>;
  dateTime: Record<string, unknown>;
  productSettings: Record<string, unknown>;
  switches: Partial<Record<SwitchName, boolean>>;
  createdAt: Date;
  invitedAt: Date | null;
  lastSignedInAt: Date | null;
  /** The rule that wishes for this user, what it wishes, and what was kept by hand against it. */
  managedBy: { personId: string; rule: string; fields: Record<string, string>; kept: Kept } | null;
  etag: string;
}

export interface ShownPage {
  pageId: string;
  linkName: string;
  title: string;
  owner: { accountUserId: string; name: string; email: string };
  enabled: boolean;
  disabledBy: string | null;
  disabledWhy: string | null;
  createdAt: Date;
  bookable: Bookable;
  etag: string;
}

export const userSorts = ['name', 'email', 'role', 'status', 'createdAt'] as const;
export const pageSorts = ['linkName', 'title'] as const;

export interface UsersQuery {
  filter?: string | undefined;
  role?: Role | undefined;
  status?: ShownUser['status'] | undefined;
  suspended?: boolean | undefined;
  /** A kind, or `none`. */
  license?: string | undefined;
  sort: (typeof userSorts)[number];
  descending: boolean;
  limit: number;
  cursor?: string | undefined;
}

export interface PagesQuery {
  filter?: string | undefined;
  ownerId?: string | undefined;
  enabled?: boolean | undefined;
  sort: (typeof pageSorts)[number];
  descending: boolean;
  limit: number;
  cursor?: string | undefined;
}

export interface Listed<T> {
  items: T[];
  nextCursor: string | null;
  total: number;
}

export interface NewPage {
  linkName: string;
  title: string | null;
  /** Null: the founding Administrator. */
  ownerId: string | null;
  enabled: boolean;
}

export interface MadePages {
  made: { pageId: string; linkName: string; ownerId: string; enabled: boolean }[];
  /** Link names that were taken already; their pages stay as they are. */
  existing: string[];
}

export interface Mail {
  mailId: string;
  accountUserId: string;
  kind: 'invitation' | 'sign-in-link';
  recipient: string;
  name: string;
  state: 'waiting' | 'sent' | 'refused' | 'failed' | 'bounced';
  attempts: number;
  lastError: string | null;
  createdAt: Date;
  nextAt: Date | null;
  sentAt: Date | null;
}

export interface WaitingPlace {
  place: number;
  personId: string | null;
  accountUserId: string | null;
  name: string | null;
  email: string | null;
  since: Date;
  rule: string;
}

export type SeatResult =
  | { assigned: true; kind: string; personId: string | null }
  | { assigned: false; kind: string; personId: string | null; place: number; bought: number; message: string };

export interface AccountAdministration {
  users(query: UsersQuery): Promise<Listed<ShownUser>>;
  /** Throws `not_found`. */
  user(accountUserId: string): Promise<ShownUser>;
  usersByEmail(emails: string[]): Promise<Map<string, ShownUser>>;
  invite(user: NewUser, act: Act): Promise<ShownUser>;
  edit(accountUserId: string, edit: UserEdit, keepByHand: boolean, act: Act): Promise<ShownUser>;
  suspend(accountUserId: string, suspended: boolean, act: Act): Promise<ShownUser>;
  remove(accountUserId: string, heirId: string | null, act: Act): Promise<{ heirId: string | null; pages: string[] }>;
  /** Takes back what was kept by hand; the rule has it again. Answers whether something was kept under that key. */
  takeBack(personId: string, key: string, act: Act): Promise<boolean>;

  licenses(): Promise<Record<string, LicenseCounts>>;
  waitingLine(kind: string, limit: number): Promise<WaitingPlace[]>;
  assignLicense(accountUserId: string, kind: string, wait: boolean, act: Act): Promise<SeatResult>;
  /** Also ends a place in the line. Answers the pages that this disabled. */
  unassignLicense(accountUserId: string, kind: string, act: Act): Promise<{ disabledPages: string[] }>;

  pages(query: PagesQuery): Promise<Listed<ShownPage>>;
  page(pageId: string): Promise<ShownPage>;
  createPages(pages: NewPage[], whenTaken: 'refuse' | 'skip', act: Act): Promise<MadePages>;
  editPage(
    pageId: string,
    edit: { title?: string; linkName?: string; enabled?: boolean; why?: string },
    act: Act,
  ): Promise<ShownPage>;
  removePage(pageId: string, act: Act): Promise<void>;
  assignPage(pageId: string, ownerId: string, act: Act): Promise<ShownPage>;

  history(accountUserId: string | null, limit: number, before: string | null): Promise<HistoryRow[]>;

  /** A new link by mail; every earlier one is void. */
  sendLink(accountUserId: string, act: Act): Promise<Mail>;
  mails(query: { state?: string | undefined; limit: number; cursor?: string | undefined }): Promise<Listed<Mail>>;
  retryMail(mailId: string, act: Act): Promise<Mail>;
  /** A bounce that came back later, told by whoever reads the sender's mailbox. */
  bounceMail(mailId: string, reason: string, act: Act): Promise<Mail>;

  /** Everything that is kept about one human, by person or user. */
  personalData(id: string): Promise<Record<string, unknown>>;
  /** Deletes it; history stays under a pseudonym. Refused while the directory or the account still has them. */
  erase(id: string, act: Act): Promise<{ pseudonym: string; historyRows: number }>;
}

/** Who a session stands for, as of this request. */
export interface Principal {
  sessionId: string;
  accountUserId: string | null;
  objectId: string | null;
  name: string;
  role: Role | null;
  operatorRoles: OperatorRole[];
  switches: Partial<Record<SwitchName, boolean>>;
  how: 'invitation' | 'entra' | 'token';
  expiresAt: Date;
  /** Set when the cookie's value was changed and is to be sent. */
  renewed: string | null;
}

export interface NewSession {
  accountUserId: string | null;
  tokenId: string | null;
  /** Of somebody who signs in with Entra ID. */
  objectId: string | null;
  name: string;
  /** Groups that the policy gives roles by. */
  groups: string[];
  how: Principal['how'];
}

export interface LiveSession {
  sessionId: string;
  accountUserId: string | null;
  name: string;
  how: string;
  createdAt: Date;
  lastSeenAt: Date;
  expiresAt: Date;
}

export interface SignIn {
  /** What stands behind a mailed link, without using it. Null: no such link, used or expired. */
  peek(link: string): Promise<{ name: string; email: string } | null>;
  /** Every live session, of users and of operators. */
  sessions(): Promise<LiveSession[]>;
  /** Uses the link up, and turns the status to `Has signed in`. Null: no such link, used, expired, or the user may not sign in. */
  useLink(link: string): Promise<{ session: string; accountUserId: string } | null>;
  /** The user behind an identity of Entra ID: bound before, known by the directory, or by the userName at the first time. */
  userOf(identity: {
    objectId: string;
    userName: string | null;
    isGuest: boolean;
  }): Promise<{ kind: 'user'; accountUserId: string } | { kind: 'suspended' } | { kind: 'nobody' }>;
  begin(session: NewSession): Promise<string>;
  /** Who the cookie's value stands for now: suspended, revoked or expired is nobody. */
  find(value: string): Promise<Principal | null>;
  end(sessionId: string): Promise<boolean>;
  /** A link to whoever has that address, if somebody does and none was sent a moment ago. Says nothing about it. */
  askForLink(email: string): Promise<void>;
  sessionsOf(
    accountUserId: string,
  ): Promise<{ sessionId: string; how: string; createdAt: Date; lastSeenAt: Date; expiresAt: Date }[]>;
  endAll(accountUserId: string): Promise<number>;
}

/** Who somebody is, by the word of the organisation's identity platform. */
export interface Identity {
  objectId: string;
  userName: string | null;
  name: string;
  /** Of another tenant: their userName is somebody else's to give. */
  isGuest: boolean;
  /** Object ids of groups; null where there are too many to stand in the token. */
  groups: string[] | null;
}

/** What begins a sign-in and must come back with it, in the browser's keeping. */
export interface PendingSignIn {
  state: string;
  nonce: string;
  verifier: string;
}

export interface IdentityPlatform {
  begin(redirectUri: string): Promise<{ url: string; pending: PendingSignIn }>;
  /** Throws `sign_in_failed`. */
  finish(code: string, pending: PendingSignIn, redirectUri: string): Promise<Identity>;
}

/** A mail that is due, under a lease: another process does not send it meanwhile. */
export interface DueMail {
  mailId: string;
  accountUserId: string;
  kind: Mail['kind'];
  recipient: string;
  name: string;
  attempts: number;
}

export interface Outbox {
  takeDue(limit: number): Promise<DueMail[]>;
  /** A fresh link for this attempt; only its hash is kept. Null when the mail is not to go to that address any more. */
  newLink(mail: DueMail): Promise<{ link: string; expiresAt: Date } | null>;
  dropLink(link: string): Promise<void>;
  sent(mailId: string): Promise<void>;
  /** Told to the admin; tried again at `nextAt`, or no more when that is null. */
  notSent(mailId: string, state: 'waiting' | 'refused' | 'failed', error: string, nextAt: Date | null): Promise<void>;
  /** Every minute: serves lines that somebody left silently; now and then forgets links, sessions and keys that serve nobody any more. */
  tidy(): Promise<void>;
}
