/** What the make-believe tenant answers on `/v1.0`: users, groups, delta, calendar permissions, mailbox settings, `$batch`. */
import { randomUUID } from 'node:crypto';
import { openDelta } from './delta.ts';
import type { CalendarRole, Tenant, TenantUser } from './tenant.ts';

export interface Answer {
  status: number;
  body?: unknown;
  headers?: Record<string, string>;
}

export type GraphApi = (method: string, url: URL, body: string, contentType: string, prefer: string) => Promise<Answer>;

export const graphError = (
  status: number,
  code: string,
  message: string,
  headers: Record<string, string> = {},
): Answer => ({
  status,
  headers,
  body: { error: { code, message, innerError: { date: new Date().toISOString(), 'request-id': randomUUID() } } },
});

/** How many requests of one app to one mailbox run at once, and how many of a $batch (learn.microsoft.com/graph/throttling-limits). */
const mailboxConcurrency = 4;
const mostInBatch = 20;

export function openGraphApi(tenant: Tenant): GraphApi {
  const running = new Map<string, number>();
  const notBefore = new Map<string, number>();
  const delta = openDelta(tenant);
  let batches = 0;

  const api: GraphApi = async (method, url, body, contentType, prefer) => {
    const path = url.pathname.replace(/^\/v1\.0/, '');
    if (path === url.pathname) return graphError(400, 'BadRequest', 'Only v1.0 is served.');
    if (path === '/subscriptions' && method === 'POST') return subscribe(body);
    const renewed = /^\/subscriptions\/([^/]+)$/.exec(path);
    if (renewed && method === 'PATCH') return renew(decodeURIComponent(renewed[1] ?? ''), body);
    if (path === '/$batch') return playFault(path) ?? batch(url, body, method, contentType);
    return one(method, path, url, body, contentType, prefer);
  };

  async function one(
    method: string,
    path: string,
    url: URL,
    body: string,
    contentType: string,
    prefer: string,
    inBatch = false,
  ): Promise<Answer> {
    const fault = playFault(path);
    if (fault) return fault;
    if (!inBatch || /\/calendar\/|\/mailboxSettings/.test(path)) {
      const mailbox = /^\/users\/([^/]+)\/(?:calendar\/|mailboxSettings)/.exec(path)?.[1]?.toLowerCase();
      if (mailbox) return onMailbox(mailbox, path, () => answer(method, path, url, body, contentType, prefer));
    }
    await pause(tenant.latencyMs * (inBatch ? 0 : 1));
    return answer(method, path, url, body, contentType, prefer);
  }

  /** learn.microsoft.com/graph/api/subscription-post-subscriptions: the address is tried out before anything is made. */
  async function subscribe(body: string): Promise<Answer> {
    const given = JSON.parse(body || '{}') as Record<string, string | undefined>;
    const { resource, notificationUrl, lifecycleNotificationUrl, expirationDateTime, clientState, changeType } = given;
    if (resource !== '/users' && resource !== '/groups')
      return graphError(400, 'ExtensionError', 'The resource is not supported.');
    if (!changeType || !notificationUrl || !expirationDateTime || (clientState?.length ?? 0) > 128)
      return graphError(400, 'InvalidRequest', 'A required property is missing.');
    if (Date.parse(expirationDateTime) - Date.now() > 41_760 * 60_000)
      return graphError(400, 'InvalidRequest', 'Subscription expiration can only be 41760 minutes in the future.');
    const refused = needs(...(resource === '/users' ? ['User.Read.All'] : ['GroupMember.Read.All', 'Group.Read.All']));
    if (refused) return refused;
    for (const url of [notificationUrl, lifecycleNotificationUrl].filter((entry) => entry !== undefined)) {
      const token = `Validation: Testing client application reachability ${randomUUID()}`;
      const answer = await fetch(`${url}?validationToken=${encodeURIComponent(token)}`, { method: 'POST' }).catch(
        () => null,
      );
      if (
        answer?.status !== 200 ||
        (await answer.text()) !== token ||
        !answer.headers.get('content-type')?.startsWith('text/plain')
      )
        return graphError(400, 'ValidationError', 'Subscription validation request failed.');
    }
    const made = {
      id: randomUUID(),
      resource,
      notificationUrl,
      clientState: clientState ?? '',
      expiresAt: expirationDateTime,
    };
    tenant.subscriptions.push(made);
    return { status: 201, body: { id: made.id, resource, changeType, expirationDateTime } };
  }

  function renew(id: string, body: string): Answer {
    const found = tenant.subscriptions.find((entry) => entry.id === id);
    if (!found) return graphError(404, 'ResourceNotFound', 'The object was not found.');
    found.expiresAt = (JSON.parse(body) as { expirationDateTime: string }).expirationDateTime;
    return { status: 200, body: { id, expirationDateTime: found.expiresAt } };
  }

  function playFault(path: string): Answer | null {
    const at = tenant.faults.findIndex((fault) => (fault.path ? fault.path.test(path) : path !== '/$batch'));
    const fault = at === -1 ? undefined : tenant.faults.splice(at, 1)[0];
    return fault
      ? graphError(
          fault.status,
          fault.code,
          'A fault that was asked for.',
          fault.retryAfterSeconds === undefined ? {} : { 'retry-after': String(fault.retryAfterSeconds) },
        )
      : null;
  }

  /** A mailbox has its own limits: four at once, and what the test wants throttled. */
  async function onMailbox(mailbox: string, path: string, work: () => Answer): Promise<Answer> {
    const wait = notBefore.get(mailbox) ?? 0;
    if (wait > Date.now()) tenant.askedTooEarly += 1;
    const seconds = tenant.throttle?.(path) ?? null;
    if (seconds !== null) {
      await pause(tenant.latencyMs);
      notBefore.set(mailbox, Date.now() + seconds * 1000);
      return graphError(429, 'ApplicationThrottled', 'Application is over its limit for this mailbox.', {
        'Retry-After': String(seconds),
      });
    }
    const now = running.get(mailbox) ?? 0;
    if (now >= mailboxConcurrency)
      return graphError(429, 'ApplicationThrottled', 'Application is over its MailboxConcurrency limit.', {
        'Retry-After': '1',
      });
    running.set(mailbox, now + 1);
    try {
      await pause(tenant.latencyMs);
      return work();
    } finally {
      running.set(mailbox, (running.get(mailbox) ?? 1) - 1);
    }
  }

  function answer(method: string, path: string, url: URL, body: string, contentType: string, prefer: string): Answer {
    if (method !== 'GET' && method !== 'DELETE' && !contentType.includes('application/json'))
      return graphError(400, 'BadRequest', 'Write requests need Content-Type: application/json.');
    const route = `${method} ${path}`;
    if (/^GET \/users\/(microsoft\.graph\.)?delta(\(\))?$/.test(route))
      return needs('User.Read.All') ?? delta.users(url, prefer);
    if (/^GET \/groups\/(microsoft\.graph\.)?delta(\(\))?$/.test(route))
      return needs('GroupMember.Read.All', 'Group.Read.All') ?? delta.groups(url, prefer);
    if (route === 'GET /users') return needs('User.Read.All') ?? findUsers(url);
    const user = /^\/users\/([^/]+)(\/.*)?$/.exec(path);
    if (user) return aboutUser(method, decodeURIComponent(user[1] ?? ''), user[2] ?? '', url, body);
    const group = /^\/groups\/([^/]+)(\/members|\/transitiveMembers)?$/.exec(path);
    if (group && method === 'GET') return aboutGroup(decodeURIComponent(group[1] ?? ''), group[2] ?? '');
    const deleted = /^\/directory\/deletedItems\/([^/]+)$/.exec(path);
    if (deleted && method === 'GET') {
      const found = tenant.deletedUsers.find((entry) => entry.objectId === deleted[1]?.toLowerCase());
      return needs('User.Read.All') ?? (found ? { status: 200, body: showUser(found, null) } : notFound(deleted[1]));
    }
    return graphError(400, 'BadRequest', `Resource not found for the segment '${path}'.`);
  }

  /** Of $filter only what the directory indexes: mail, and any of proxyAddresses. */
  function findUsers(url: URL): Answer {
    const filter = url.searchParams.get('$filter') ?? '';
    const mail = /mail eq '((?:[^']|'')*)'/.exec(filter)?.[1]?.replaceAll("''", "'").toLowerCase();
    const proxy = /proxyAddresses\/any\(\w+:\w+ eq '((?:[^']|'')*)'\)/
      .exec(filter)?.[1]
      ?.replaceAll("''", "'")
      .toLowerCase();
    if (!mail && !proxy) return graphError(400, 'Request_UnsupportedQuery', 'Unsupported query.');
    const found = tenant.users.filter(
      (user) =>
        (mail && user.mail?.toLowerCase() === mail) ||
        (proxy && user.proxyAddresses.some((one) => one.toLowerCase() === proxy)),
    );
    return { status: 200, body: { value: found.map((user) => showUser(user, url.searchParams.get('$select'))) } };
  }

  function needs(...anyOf: string[]): Answer | null {
    return anyOf.some((permission) => tenant.permissions.has(permission))
      ? null
      : graphError(403, 'Authorization_RequestDenied', 'Insufficient privileges to complete the operation.');
  }

  function aboutUser(method: string, key: string, rest: string, url: URL, body: string): Answer {
    if (rest === '' && method === 'GET') {
      const found = findUser(tenant, key, false);
      return (
        needs('User.Read.All') ??
        (found ? { status: 200, body: showUser(found, url.searchParams.get('$select')) } : notFound(key))
      );
    }
    if (rest === '/manager' && method === 'GET') {
      const manager = findUser(tenant, key, false)?.manager;
      const found = manager ? findUser(tenant, manager, false) : null;
      return (
        needs('User.Read.All') ??
        (found
          ? {
              status: 200,
              body: {
                '@odata.type': '#microsoft.graph.user',
                ...showUser(found, url.searchParams.get('$select')),
              },
            }
          : notFound('manager'))
      );
    }
    if (rest === '/checkMemberGroups' && method === 'POST') {
      const asked = (JSON.parse(body) as { groupIds?: string[] }).groupIds ?? [];
      if (asked.length > 20) return graphError(400, 'Request_BadRequest', 'At most 20 groups.');
      const found = findUser(tenant, key, false);
      if (!found) return needs('GroupMember.Read.All') ?? notFound(key);
      const above = groupsAbove(tenant, found.objectId);
      return (
        needs('GroupMember.Read.All', 'Group.Read.All') ?? {
          status: 200,
          body: {
            value: asked.filter(
              (groupId) => above.has(groupId.toLowerCase()) || tenant.membersStill.has(found.objectId),
            ),
          },
        }
      );
    }
    const found = findUser(tenant, key, false);
    if (rest.startsWith('/mailboxSettings')) return mailboxSettings(found, rest, method);
    const permission = /^\/calendar\/calendarPermissions(?:\/([^/]+))?$/.exec(rest);
    if (!permission) return graphError(400, 'BadRequest', `Resource not found for the segment '${rest}'.`);
    return calendarPermissions(found, method, permission[1] ? decodeURIComponent(permission[1]) : null, body);
  }

  function calendarPermissions(
    user: TenantUser | undefined,
    method: string,
    entryId: string | null,
    body: string,
  ): Answer {
    const may = [...tenant.permissions].some((permission) =>
      method === 'GET' ? permission.startsWith('Calendars.') : permission === 'Calendars.ReadWrite',
    );
    if (!may) return graphError(403, 'ErrorAccessDenied', 'Access is denied. Check credentials and try again.');
    if (!user) return graphError(404, 'Request_ResourceNotFound', 'The user does not exist.');
    if (tenant.outsidePolicy.has(user.userPrincipalName))
      return graphError(403, 'ErrorAccessDenied', 'Access to OData is disabled.');
    if (user.mailbox !== 'cloud')
      return graphError(
        404,
        'MailboxNotEnabledForRESTAPI',
        'The mailbox is either inactive, soft-deleted, or is hosted on-premise.',
      );
    if (method === 'GET' && entryId === null) return listPermissions(user);
    const own = user.calendarPermissions.findIndex((entry) => entryIdOf(entry.address) === entryId);
    if (entryId !== null && own === -1) {
      if (entryId === defaultEntryId && method === 'DELETE')
        return graphError(400, 'ErrorInvalidRequest', 'The default entry can not be removed.');
      return graphError(404, 'ErrorItemNotFound', 'The specified object was not found in the store.');
    }
    if (method === 'DELETE') {
      user.calendarPermissions.splice(own, 1);
      return { status: 204 };
    }
    const given = JSON.parse(body || '{}') as { role?: CalendarRole; emailAddress?: { address?: string } };
    if (!given.role || given.role === 'custom')
      return graphError(400, 'ErrorInvalidRequest', 'The role is not allowed.');
    if (method === 'PATCH' && entryId !== null) {
      const entry = user.calendarPermissions[own];
      if (entry && tenant.grants === 'work') entry.role = given.role;
      return { status: 200, body: showPermission(entry?.address ?? '', given.role) };
    }
    if (method === 'POST' && entryId === null) {
      const address = given.emailAddress?.address ?? '';
      const sharee = findUser(tenant, address, true);
      if (!sharee || sharee === user) return graphError(400, 'ErrorInvalidRecipients', 'The recipient is not valid.');
      if (user.calendarPermissions.some((entry) => findUser(tenant, entry.address, true) === sharee))
        return graphError(400, 'ErrorInvalidRequest', 'An existing permission entry was found for the user.');
      if (tenant.grants === 'refuse') return graphError(403, 'ErrorAccessDenied', 'Access is denied.');
      if (tenant.grants === 'work') user.calendarPermissions.push({ address, role: given.role });
      // 200, not 201: api-reference/v1.0/api/calendar-post-calendarpermissions.
      return { status: 200, body: showPermission(address, given.role) };
    }
    return graphError(405, 'BadRequest', 'The method is not allowed.');
  }

  function mailboxSettings(user: TenantUser | undefined, rest: string, method: string): Answer {
    if (!tenant.permissions.has('MailboxSettings.Read') && !tenant.permissions.has('MailboxSettings.ReadWrite'))
      return graphError(403, 'ErrorAccessDenied', 'Access is denied. Check credentials and try again.');
    if (method !== 'GET') return graphError(403, 'ErrorAccessDenied', 'Access is denied.');
    if (!user) return graphError(404, 'ErrorInvalidUser', 'The requested user is invalid.');
    if (user.mailbox !== 'cloud') return graphError(404, 'MailboxNotEnabledForRESTAPI', 'The mailbox is not here.');
    const whole: Record<string, unknown> = {
      timeZone: 'W. Europe Standard Time',
      delegateMeetingMessageDeliveryOptions: user.deliveryOption ?? 'sendToDelegateOnly',
      userPurpose: user.userPurpose ?? 'user',
    };
    const part = rest.split('/')[2];
    if (part === undefined) return { status: 200, body: whole };
    return part in whole
      ? { status: 200, body: { value: whole[part] } }
      : graphError(400, 'BadRequest', `Could not find a property named '${part}'.`);
  }

  function aboutGroup(key: string, rest: string): Answer {
    const refused = needs('GroupMember.Read.All', 'Group.Read.All');
    if (refused) return refused;
    const group = tenant.groups.find((entry) => entry.objectId === key.toLowerCase());
    if (!group) return notFound(key);
    if (rest === '') return { status: 200, body: { id: group.objectId, displayName: group.displayName } };
    return { status: 200, body: { value: group.members.map((id) => ({ '@odata.type': memberType(tenant, id), id })) } };
  }

  async function batch(url: URL, body: string, method: string, contentType: string): Promise<Answer> {
    if (method !== 'POST' || !contentType.includes('application/json'))
      return graphError(400, 'BadRequest', 'POST JSON to $batch.');
    const { requests } = JSON.parse(body) as {
      requests?: {
        id?: string;
        method?: string;
        url?: string;
        headers?: Record<string, string>;
        body?: unknown;
        dependsOn?: string[];
      }[];
    };
    const ids = new Set(requests?.map((request) => request.id?.toLowerCase()));
    if (!requests || requests.length === 0 || requests.length > mostInBatch || ids.size !== requests.length)
      return graphError(400, 'BadRequest', 'A batch holds 1 to 20 requests with ids of their own.');
    if (requests.some((request) => !request.url?.startsWith('/') || /^\/(v1\.0|beta)\//.test(request.url)))
      return graphError(400, 'BadRequest', 'The url of a request is relative, and without the version.');
    if (requests.some((request) => request.body !== undefined && !contentTypeOf(request.headers)))
      return graphError(400, 'BadRequest', 'A request with a body needs a Content-Type header.');
    if (batches >= tenant.batchesAtOnce)
      return graphError(429, 'TooManyRequests', 'Too many requests.', { 'Retry-After': '1' });
    batches += 1;
    try {
      const responses: { id: string; status: number; headers: Record<string, string>; body?: unknown }[] = [];
      const queue = [...requests];
      // Outlook serves four of a batch at once, whatever the mailboxes.
      const lane = async (): Promise<void> => {
        for (let next = queue.shift(); next; next = queue.shift()) {
          const inner = new URL(`/v1.0${next.url}`, url.origin);
          const path = inner.pathname.replace(/^\/v1\.0/, '');
          const result = await one(
            next.method ?? 'GET',
            path,
            inner,
            next.body === undefined ? '' : JSON.stringify(next.body),
            contentTypeOf(next.headers),
            '',
            true,
          );
          tenant.requests.push({
            method: next.method ?? 'GET',
            path: `$batch ${path}`,
            status: result.status,
          });
          responses.push({
            id: next.id ?? '',
            status: result.status,
            headers: { 'Content-Type': 'application/json', ...result.headers },
            ...(result.body === undefined ? {} : { body: result.body }),
          });
        }
      };
      await Promise.all([lane(), lane(), lane(), lane()]);
      return { status: 200, body: { responses } };
    } finally {
      batches -= 1;
    }
  }

  return api;
}

const contentTypeOf = (headers: Record<string, string> | undefined): string =>
  Object.entries(headers ?? {}).find(([name]) => name.toLowerCase() === 'content-type')?.[1] ?? '';

const notFound = (key: string | undefined): Answer =>
  graphError(
    404,
    'Request_ResourceNotFound',
    `Resource '${key}' does not exist or one of its queried reference-property objects are not present.`,
  );

const pause = (milliseconds: number): Promise<void> =>
  milliseconds > 0 ? new Promise((resolve) => setTimeout(resolve, milliseconds)) : Promise.resolve();

const indexes = new WeakMap<Tenant, { length: number; byKey: Map<string, TenantUser> }>();

/** By object id or user principal name; Exchange's own resources also by any address. */
function findUser(tenant: Tenant, key: string, byAddress: boolean): TenantUser | undefined {
  const wanted = key.toLowerCase();
  const isNamed = (user: TenantUser) => user.objectId === wanted || user.userPrincipalName.toLowerCase() === wanted;
  // A large tenant is looked through by an index; names may change under it, so what it finds is compared.
  let index = indexes.get(tenant);
  if (!index || index.length !== tenant.users.length) {
    const keys = tenant.users.flatMap((user) => [
      [user.userPrincipalName.toLowerCase(), user] as const,
      [user.objectId, user] as const,
    ]);
    index = { length: tenant.users.length, byKey: new Map(keys) };
    indexes.set(tenant, index);
  }
  const known = index.byKey.get(wanted);
  if (known && tenant.users.length > 1000 && isNamed(known)) return known;
  return tenant.users.find(
    (user) =>
      isNamed(user) ||
      (byAddress &&
        (user.mail?.toLowerCase() === wanted ||
          user.proxyAddresses.some((address) => address.toLowerCase() === `smtp:${wanted}`))),
  );
}

/** Every group that holds this id, directly or through another group. */
function groupsAbove(tenant: Tenant, id: string): Set<string> {
  const found = new Set<string>();
  const look = (member: string): void => {
    for (const group of tenant.groups)
      if (group.members.includes(member) && !found.has(group.objectId)) {
        found.add(group.objectId);
        look(group.objectId);
      }
  };
  look(id);
  return found;
}

export function memberType(tenant: Tenant, id: string): string {
  return tenant.groups.some((group) => group.objectId === id) ? '#microsoft.graph.group' : '#microsoft.graph.user';
}

const defaultEntryId = 'RGVmYXVsdA==';
const entryIdOf = (address: string): string => Buffer.from(`recipient:${address}`).toString('base64');
const insideRoles = ['freeBusyRead', 'limitedRead', 'read', 'write'];

const showPermission = (address: string, role: CalendarRole) => ({
  id: entryIdOf(address),
  isRemovable: true,
  isInsideOrganization: true,
  role,
  allowedRoles: [...insideRoles, 'delegateWithoutPrivateEventAccess', 'delegateWithPrivateEventAccess'],
  emailAddress: { name: address.split('@')[0], address },
});

function listPermissions(user: TenantUser): Answer {
  return {
    status: 200,
    body: {
      '@odata.context': `https://graph.microsoft.com/v1.0/$metadata#users('${user.objectId}')/calendar/calendarPermissions`,
      value: [
        {
          id: defaultEntryId,
          isRemovable: false,
          isInsideOrganization: true,
          role: 'freeBusyRead',
          allowedRoles: ['none', ...insideRoles],
          emailAddress: { name: 'My Organization' },
        },
        ...user.calendarPermissions.map(({ address, role }) => showPermission(address, role)),
      ],
    },
  };
}

/** Every property that can be asked for; what was never set is absent, as in the directory. */
export function propertiesOf(user: TenantUser): Record<string, unknown> {
  return {
    id: user.objectId,
    userPrincipalName: user.userPrincipalName,
    displayName: user.displayName,
    givenName: user.givenName,
    surname: user.surname,
    department: user.department,
    jobTitle: user.jobTitle,
    companyName: user.companyName,
    mail: user.mail,
    proxyAddresses: user.proxyAddresses,
    accountEnabled: user.accountEnabled,
    userType: user.userType ?? 'Member',
    onPremisesSyncEnabled: user.onPremisesSyncEnabled,
    assignedPlans: user.exchangePlan
      ? [
          {
            service: 'exchange',
            capabilityStatus: 'Enabled',
            servicePlanId: 'efb87545-963c-4e0d-99df-69c6916d9eb0',
            assignedDateTime: '2026-01-01T00:00:00Z',
          },
        ]
      : [],
  };
}

function showUser(user: TenantUser, select: string | null): Record<string, unknown> {
  const wanted = select?.split(',') ?? ['userPrincipalName', 'displayName', 'mail'];
  return {
    '@odata.context': 'https://graph.microsoft.com/v1.0/$metadata#users/$entity',
    ...Object.fromEntries(
      Object.entries(propertiesOf(user)).filter(([name]) => name === 'id' || wanted.includes(name)),
    ),
  };
}
