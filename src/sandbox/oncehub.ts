/**
 * A make-believe OnceHub account over HTTP: the part of the public API v2 that is about users, teams, Booking pages, booking calendars and bookings, with
 * its refusals and limits (help.oncehub.com, OpenAPI description of August 2026); and what an administrator does in its own pages, which the API can not.
 */
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

export type OnceHubRole = 'Account Owner' | 'Administrator' | 'Member' | 'Team Manager';

export interface OnceHubUser {
  object: 'user';
  id: string;
  first_name: string;
  last_name: string;
  email: string;
  status: 'active' | 'invited';
  role_name: OnceHubRole;
  timezone: string;
  teams: string[];
}

/** `ownerId` is never shown: the list's filter is the only way to read it. */
export interface OnceHubPage {
  id: string;
  name: string;
  label: string;
  link: string;
  active: boolean;
  ownerId: string;
}

export interface OnceHubCalendar {
  id: string;
  host: string;
  name: string;
  published: boolean;
}

export interface OnceHubBooking {
  id: string;
  owner: string;
  booking_page: string;
  subject: string;
  status: 'scheduled' | 'canceled' | 'completed';
  starting_time: string;
}

interface Misbehaviour {
  method: string;
  path: RegExp;
  /** Answer this instead; `empty` is a list without anything in it; `close` cuts the connection; `hang` answers nothing for as long as the caller waits. */
  answer:
    | { status: number; type: string; message: string; retryAfterSeconds?: number }
    | 'close'
    | 'hang'
    | 'html'
    | 'empty';
  /** The effect happens all the same, this much later. */
  effectAfterMs?: number;
  times: number;
}

export interface OnceHubAccount {
  apiKeys: string[];
  hasApi: boolean;
  userLimit: number;
  users: OnceHubUser[];
  deleted: { id: string; object: string }[];
  teams: { object: 'team'; id: string; name: string }[];
  pages: OnceHubPage[];
  calendars: OnceHubCalendar[];
  bookings: OnceHubBooking[];
  /** User ids. */
  seats: Set<string>;
  seatsBought: number;
  /** Addresses that belong to other OnceHub accounts. */
  elsewhere: Set<string>;
  /** Whether a page is made for every new user. */
  makesPages: boolean;
  limits: { perSecond: number; perWindow: number; windowSeconds: number } | null;
  /** So many times faster than the vendor's clock, for trial runs: the limits' windows are that much shorter. */
  clockSpeed: number;
  latencyMs: number;
  misbehaviours: Misbehaviour[];
  requests: { method: string; path: string; status: number; at: number; body: unknown }[];
}

export interface OnceHubSandbox {
  /** With the version, as USHER_ONCEHUB_BASE_URL. */
  url: string;
  apiKey: string;
  account: OnceHubAccount;
  administrator: OnceHubAdministrator;
  close(): Promise<void>;
}

export function newOnceHubAccount(more: Partial<OnceHubAccount> = {}): OnceHubAccount {
  const owner: OnceHubUser = {
    object: 'user',
    id: 'USR-OWNER0000001',
    first_name: 'Olive',
    last_name: 'Owner',
    email: 'owner@contoso.com',
    status: 'active',
    role_name: 'Account Owner',
    timezone: 'Europe/Berlin',
    teams: [],
  };
  const administrator: OnceHubUser = {
    ...owner,
    id: 'USR-ADMIN0000001',
    first_name: 'Adam',
    last_name: 'Admin',
    email: 'admin@contoso.com',
    role_name: 'Administrator',
  };
  return {
    apiKeys: ['sandbox-oncehub-key'],
    hasApi: true,
    userLimit: 500,
    users: [administrator, owner],
    deleted: [],
    teams: [
      { object: 'team', id: 'TM-SALES0000001', name: 'Sales' },
      { object: 'team', id: 'TM-ADVIS0000001', name: 'Advisory' },
    ],
    pages: [],
    calendars: [],
    bookings: [],
    seats: new Set([owner.id, administrator.id]),
    seatsBought: 500,
    elsewhere: new Set(),
    makesPages: true,
    limits: { perSecond: 5, perWindow: 200, windowSeconds: 300 },
    clockSpeed: 1,
    latencyMs: 0,
    misbehaviours: [],
    requests: [],
    ...more,
  };
}

export const newOnceHubId = (prefix: string): string =>
  `${prefix}-${randomUUID().replaceAll('-', '').slice(0, 12).toUpperCase()}`;

/** What an administrator does in OnceHub's own pages. Throws what the page would say. */
export type OnceHubAdministrator = ReturnType<typeof openAdministrator>;

function openAdministrator(account: OnceHubAccount) {
  const user = (id: string): OnceHubUser => {
    const found = account.users.find((one) => one.id === id);
    if (!found) throw new Error(`no user ${id}`);
    return found;
  };
  const page = (id: string): OnceHubPage => {
    const found = account.pages.find((one) => one.id === id);
    if (!found) throw new Error(`no page ${id}`);
    return found;
  };
  return {
    assignSeat(userId: string): void {
      if (!account.seats.has(user(userId).id) && account.seats.size >= account.seatsBought)
        throw new Error('No seat is left.');
      account.seats.add(userId);
    },
    /** By hand, or by OnceHub itself on a billing date: every page that the user owns is disabled. */
    unassignSeat(userId: string): void {
      account.seats.delete(userId);
      for (const one of account.pages) if (one.ownerId === userId) one.active = false;
    },
    createPage(link: string, ownerId: string): OnceHubPage {
      if (account.pages.some((one) => one.link.toLowerCase() === link.toLowerCase()))
        throw new Error('The link is taken.');
      const made = { id: newOnceHubId('BP'), name: link, label: link, link, active: false, ownerId: user(ownerId).id };
      account.pages.unshift(made);
      return made;
    },
    givePage(pageId: string, ownerId: string): void {
      const given = page(pageId);
      given.ownerId = user(ownerId).id;
      if (!account.seats.has(ownerId)) given.active = false;
    },
    enablePage(pageId: string): void {
      const enabled = page(pageId);
      if (!account.seats.has(enabled.ownerId)) throw new Error('The owner of an enabled page needs a seat.');
      enabled.active = true;
    },
    disablePage(pageId: string): void {
      page(pageId).active = false;
    },
    renameLink(pageId: string, link: string): void {
      page(pageId).link = link;
    },
    changeEmail(userId: string, email: string): void {
      user(userId).email = email;
    },
    deleteUser(userId: string): void {
      removeUser(account, userId);
    },
  };
}

/** 2026: pages go to the Account Owner, and the seat back to the pool. */
function removeUser(account: OnceHubAccount, userId: string): void {
  const owner = account.users.find((one) => one.role_name === 'Account Owner');
  for (const page of account.pages)
    if (page.ownerId === userId) Object.assign(page, { ownerId: owner?.id, active: false });
  for (const calendar of account.calendars) if (calendar.host === userId) calendar.published = false;
  account.seats.delete(userId);
  account.users = account.users.filter((one) => one.id !== userId);
  account.deleted.push({ id: userId, object: 'user' });
}

interface Answer {
  status: number;
  body: unknown;
  headers?: Record<string, string>;
}

const refuse = (status: number, message: string, param?: string): Answer => ({
  status,
  body: {
    type:
      status === 401
        ? 'authentication_error'
        : status === 429
          ? 'rate_limit_error'
          : status >= 500
            ? 'api_error'
            : 'invalid_request_error',
    message,
    ...(param === undefined ? {} : { param }),
  },
});

export async function startOnceHub(account: OnceHubAccount, port = 0): Promise<OnceHubSandbox> {
  const arrivals: number[] = [];
  const server: Server = createServer((request, response) => {
    void handle(request).then(async (answer) => {
      if (answer === 'close' || answer === 'hang') {
        if (answer === 'hang') await sleep(60_000, undefined, { ref: false });
        request.socket.destroy();
        return;
      }
      response.writeHead(answer.status, {
        'content-type': typeof answer.body === 'string' ? 'text/html' : 'application/json',
        'Request-Id': randomUUID(),
        ...answer.headers,
      });
      response.end(typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body));
    });
  });

  async function handle(request: IncomingMessage): Promise<Answer | 'close' | 'hang'> {
    const url = new URL(request.url ?? '/', 'http://sandbox');
    const method = request.method ?? 'GET';
    let text = '';
    for await (const chunk of request) text += String(chunk);
    const path = url.pathname.replace(/^\/v2/, '');
    const row = { method, path: `${path}${url.search}`, status: 0, at: Date.now(), body: text };
    account.requests.push(row);
    const answered = await (async (): Promise<Answer | 'close' | 'hang'> => {
      if (!account.apiKeys.includes(String(request.headers['api-key'] ?? ''))) return refuse(401, 'Invalid API key.');
      if (!account.hasApi)
        return {
          status: 403,
          body: {
            type: 'authentication_error',
            message:
              'Your account plan does not support API access. To use the OnceHub API, you must upgrade to the Enterprise plan.',
          },
        };
      if (isOverLimit()) return refuse(429, 'Request rate limit exceeded');
      if (account.latencyMs > 0) await sleep(account.latencyMs);
      if (path === url.pathname) return refuse(404, 'Not found.');
      const act = () => answer(account, method, path, url.searchParams, text);
      const wrong = account.misbehaviours.find(
        (one) => one.times > 0 && one.method === method && one.path.test(`${path}${url.search}`),
      );
      if (!wrong) return act();
      wrong.times -= 1;
      if (wrong.effectAfterMs !== undefined) setTimeout(act, wrong.effectAfterMs).unref();
      if (wrong.answer === 'empty') return { status: 200, body: { object: 'list', data: [], has_more: false } };
      if (wrong.answer === 'html') return { status: 200, body: '<html><title>Sign in</title></html>' };
      if (typeof wrong.answer === 'string') return wrong.answer;
      const { status, type, message, retryAfterSeconds } = wrong.answer;
      return {
        status,
        body: { type, message },
        ...(retryAfterSeconds === undefined ? {} : { headers: { 'Retry-After': String(retryAfterSeconds) } }),
      };
    })();
    row.status = typeof answered === 'string' ? 0 : answered.status;
    return answered;
  }

  /** 5 requests a second for the account, 200 in five minutes for an address; a refused one counts for neither. */
  function isOverLimit(): boolean {
    if (!account.limits) return false;
    const { perSecond, perWindow, windowSeconds } = account.limits;
    const now = Date.now();
    const since = (seconds: number) => arrivals.filter((at) => at > now - (seconds * 1000) / account.clockSpeed).length;
    if (since(1) >= perSecond || since(windowSeconds) >= perWindow) return true;
    arrivals.push(now);
    return false;
  }

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve());
  });
  const { port: listening } = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${listening}/v2`,
    apiKey: account.apiKeys[0] ?? '',
    account,
    administrator: openAdministrator(account),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

type Handler = (call: {
  account: OnceHubAccount;
  query: URLSearchParams;
  body: Record<string, unknown>;
  id: string;
}) => Answer;

const paging = ['limit', 'after', 'before'];
const routes: { method: string; path: RegExp; query: string[]; body?: string[]; handle: Handler }[] = [
  {
    method: 'GET',
    path: /^\/test$/,
    query: [],
    handle: ({ account }) => ({
      status: 200,
      body: {
        message: `The API key is valid for account: ${account.users.find((one) => one.role_name === 'Account Owner')?.email}`,
      },
    }),
  },
  {
    method: 'GET',
    path: /^\/users$/,
    query: [...paging, 'email'],
    handle: ({ account, query }) => {
      const email = query.get('email')?.trim().toLowerCase();
      return listed(
        account.users.filter((one) => !email || one.email.toLowerCase() === email),
        query,
        'users',
      );
    },
  },
  {
    method: 'POST',
    path: /^\/users$/,
    query: [],
    body: ['email', 'first_name', 'last_name', 'role_name', 'teams'],
    handle: addUser,
  },
  {
    method: 'GET',
    path: /^\/users\/([^/]+)$/,
    query: [],
    handle: ({ account, id }) => one(account, account.users, id, 'user'),
  },
  {
    method: 'PATCH',
    path: /^\/users\/([^/]+)$/,
    query: [],
    body: ['first_name', 'last_name', 'role_name', 'teams'],
    handle: updateUser,
  },
  {
    method: 'DELETE',
    path: /^\/users\/([^/]+)$/,
    query: [],
    handle: ({ account, id }) => {
      if (!account.users.some((user) => user.id === id)) return refuse(404, `No such user: '${id}'`, 'id');
      removeUser(account, id);
      return { status: 200, body: { id, deleted: true } };
    },
  },
  {
    method: 'GET',
    path: /^\/teams$/,
    query: [...paging, 'user'],
    handle: ({ account, query }) => listed(account.teams, query, 'teams'),
  },
  {
    method: 'GET',
    path: /^\/teams\/([^/]+)$/,
    query: [],
    handle: ({ account, id }) => one(account, account.teams, id, 'team'),
  },
  {
    method: 'GET',
    path: /^\/booking-pages$/,
    query: [...paging, 'user', 'event_type', 'master_page'],
    handle: ({ account, query }) => {
      const owner = query.get('user');
      return listed(
        account.pages.filter((page) => !owner || page.ownerId === owner).map(shownPage),
        query,
        'booking-pages',
      );
    },
  },
  {
    method: 'GET',
    path: /^\/booking-pages\/([^/]+)$/,
    query: [],
    handle: ({ account, id }) => one(account, account.pages.map(shownPage), id, 'booking page'),
  },
  {
    method: 'GET',
    path: /^\/booking-calendars$/,
    query: [...paging, 'host'],
    handle: ({ account, query }) => {
      const host = query.get('host');
      return listed(
        account.calendars.filter((one) => !host || one.host === host).map(shownCalendar),
        query,
        'booking-calendars',
      );
    },
  },
  {
    method: 'GET',
    path: /^\/booking-calendars\/([^/]+)\/time-slots$/,
    query: ['start_time', 'end_time'],
    handle: ({ account, id }) => {
      const calendar = account.calendars.find((one) => one.id === id);
      if (!calendar) return refuse(404, `No such booking calendar: '${id}'`, 'id');
      if (!calendar.published)
        return refuse(422, 'Time slots cannot be retrieved from an unpublished booking calendar.', 'id');
      if (!account.seats.has(calendar.host))
        return refuse(402, "Time slots cannot be retrieved when the host doesn't have a seat assigned.");
      return {
        status: 200,
        body: [{ start_time: '2026-12-02T06:30:00.000Z', locations: [{ type: 'guest_phone', value: null, id: null }] }],
      };
    },
  },
  {
    method: 'GET',
    path: /^\/bookings$/,
    query: [
      ...paging,
      'status',
      'owner',
      'contact',
      'booking_page',
      'master_page',
      'event_type',
      'booking_calendar',
      'host',
      'expand',
      'creation_time.gt',
      'creation_time.lt',
      'starting_time.gt',
      'starting_time.lt',
      'last_updated_time.gt',
      'last_updated_time.lt',
    ],
    handle: ({ account, query }) => {
      const after = query.get('starting_time.gt');
      return listed(
        account.bookings
          .filter((one) => !query.get('owner') || one.owner === query.get('owner'))
          .filter((one) => !query.get('status') || one.status === query.get('status'))
          .filter((one) => !after || one.starting_time > after)
          .map((booking) => ({ object: 'booking', ...booking })),
        query,
        'bookings',
      );
    },
  },
];

function answer(account: OnceHubAccount, method: string, path: string, query: URLSearchParams, text: string): Answer {
  const route = routes.find((one) => one.method === method && one.path.test(path));
  if (!route) return refuse(404, 'Not found.');
  const stranger = [...query.keys()].find((key) => !route.query.includes(key));
  if (stranger) return refuse(400, `Unsupported query parameter: '${stranger}'`, stranger);
  let body: Record<string, unknown> = {};
  if (route.body) {
    try {
      body = JSON.parse(text) as Record<string, unknown>;
    } catch {
      return refuse(400, 'The body is no JSON.', 'body');
    }
    const field = Object.keys(body).find((key) => !route.body?.includes(key));
    if (field) return refuse(400, 'Unsupported fields', field);
  }
  return route.handle({ account, query, body, id: decodeURIComponent(route.path.exec(path)?.[1] ?? '') });
}

function listed(all: { id: string }[], query: URLSearchParams, path: string): Answer {
  const limit = Number(query.get('limit') ?? 10);
  if (!Number.isInteger(limit) || limit < 1 || limit > 100)
    return refuse(400, 'Limit must be between 1 and 100.', 'limit');
  const [after, before] = [query.get('after'), query.get('before')];
  if (after && before) return refuse(400, "Only one of 'before' and 'after' can be given.", 'before');
  let from = 0;
  if (after) {
    from = all.findIndex((one) => one.id === after) + 1;
    if (from === 0) return refuse(400, `No such object: '${after}'`, 'after');
  }
  if (before) from = Math.max(0, all.findIndex((one) => one.id === before) - limit);
  const data = all.slice(from, from + limit);
  const more = from + limit < all.length;
  const next = new URLSearchParams(query);
  next.set('after', data.at(-1)?.id ?? '');
  return {
    status: 200,
    body: { object: 'list', data, has_more: more },
    ...(more ? { headers: { Link: `</v2/${path}?${next}>; rel="next"` } } : {}),
  };
}

function one(account: OnceHubAccount, all: { id: string }[], id: string, what: string): Answer {
  const found = all.find((entry) => entry.id === id);
  if (found) return { status: 200, body: found };
  const gone = account.deleted.find((entry) => entry.id === id);
  return gone ? { status: 200, body: { ...gone, deleted: true } } : refuse(404, `No such ${what}: '${id}'`, 'id');
}

const shownPage = ({ link, ownerId: _owner, ...page }: OnceHubPage) => ({
  object: 'booking_page',
  ...page,
  url: `https://go.oncehub.com/${link}`,
  timezone: 'Europe/Berlin',
});

const shownCalendar = (calendar: OnceHubCalendar) => ({
  object: 'booking_calendar',
  subject: calendar.name,
  url: `https://oncehub.com/${calendar.id}`,
  duration_minutes: 30,
  ...calendar,
});

const badName = /[[\]{}<>/*?\\|]/;

/** What POST and PATCH refuse alike. */
function faultOf(account: OnceHubAccount, body: Record<string, unknown>): Answer | null {
  for (const name of ['first_name', 'last_name'] as const) {
    if (body[name] === undefined) continue;
    if (typeof body[name] !== 'string' || body[name].trim() === '' || badName.test(body[name]))
      return refuse(400, `Invalid ${name}: '${String(body[name])}'`, name);
  }
  if (body.role_name === 'Account Owner')
    return refuse(400, "The 'Account Owner' role cannot be assigned directly via the API.", 'role_name');
  if (body.role_name !== undefined && !['Administrator', 'Member', 'Team Manager'].includes(String(body.role_name)))
    return refuse(400, `Invalid role name: '${String(body.role_name)}'`, 'role_name');
  if (body.teams !== undefined) {
    if (!Array.isArray(body.teams)) return refuse(400, 'Must be an array of strings.', 'teams');
    const unknown = body.teams.filter((id) => !account.teams.some((team) => team.id === id));
    if (unknown.length > 0) return refuse(400, `Invalid team(s): '${unknown.join("', '")}'`, 'teams');
  }
  return null;
}

function addUser({ account, body }: Parameters<Handler>[0]): Answer {
  if (!body.email || !body.first_name || !body.last_name) return refuse(400, 'Required fields are missing.', 'email');
  const fault = faultOf(account, body);
  if (fault) return fault;
  const email = String(body.email).trim();
  if (
    account.users.some((user) => user.email.toLowerCase() === email.toLowerCase()) ||
    account.elsewhere.has(email.toLowerCase())
  )
    return refuse(400, `Email already exists: '${email}'`, 'email');
  if (account.users.length >= account.userLimit)
    return refuse(
      422,
      'You have reached the user limit for your current plan. To add more users, please upgrade your account.',
    );
  const made: OnceHubUser = {
    object: 'user',
    id: newOnceHubId('USR'),
    first_name: String(body.first_name),
    last_name: String(body.last_name),
    email,
    status: 'invited',
    role_name: (body.role_name as OnceHubRole | undefined) ?? 'Member',
    timezone: 'America/Chicago',
    teams: (body.teams as string[] | undefined) ?? [],
  };
  // Newest first.
  account.users.unshift(made);
  if (account.makesPages) {
    const label = `${made.first_name}${made.last_name}`.replace(/\s+/g, '');
    const taken = account.pages.some((page) => page.link.toLowerCase() === label.toLowerCase());
    const link = `${label.toLowerCase()}${taken || label.length < 4 ? made.id.slice(-4) : ''}`;
    account.pages.unshift({
      id: newOnceHubId('BP'),
      name: `${made.first_name} ${made.last_name}`,
      label,
      link,
      active: false,
      ownerId: made.id,
    });
  }
  return { status: 200, body: made };
}

function updateUser({ account, body, id }: Parameters<Handler>[0]): Answer {
  if (account.deleted.some((gone) => gone.id === id))
    return refuse(410, `User cannot be modified as they have been deleted: '${id}'`, 'id');
  const user = account.users.find((entry) => entry.id === id);
  if (!user) return refuse(404, `No such user: '${id}'`, 'id');
  if (user.role_name === 'Account Owner') return refuse(403, "Cannot update 'Account Owner' user.");
  if (Object.keys(body).length === 0) return refuse(400, 'At least one field must be provided to update.', 'body');
  const fault = faultOf(account, body);
  if (fault) return fault;
  Object.assign(user, body);
  return { status: 200, body: user };
}
