/**
 * Who is delegate of a primary calendar? Graph's words come in, ours go out.
 *
 * Calendar permissions are listed with an application token (Calendars.ReadBasic): a delegated one of somebody else sees an empty list.
 * One error code covers several kinds of mailbox trouble, so the directory is asked for evidence.
 */
import type {
  CalendarGrant,
  DedicatedMailbox,
  DirectoryEvidence,
  GrantLevel,
  MailboxDelivery,
  MailboxReading,
} from '../domain/delegation.ts';
import { foldAddress, looksLikeAddress } from '../domain/email-address.ts';
import type { Calendars } from '../ports.ts';
import type { Batch } from './batch.ts';
import type { GraphAnswer, GraphClient } from './client.ts';

/** How long the dedicated mailbox's own state is believed. */
const dedicatedForMs = 5 * 60_000;

export function openCalendars(graph: GraphClient, batch: Batch, dedicatedMailboxAddress: string | null): Calendars {
  let known: { address: string; at: number; mailbox: Promise<DedicatedMailbox> } | undefined;
  let permitted: { at: number; readable: Promise<boolean | null> } | undefined;

  const dedicatedReadable = (): Promise<boolean | null> => {
    if (dedicatedMailboxAddress === null) return Promise.resolve(null);
    if (!permitted || Date.now() - permitted.at > dedicatedForMs)
      permitted = { at: Date.now(), readable: probe(graph, dedicatedMailboxAddress) };
    return permitted.readable;
  };

  return {
    async readDelegation(mailboxKeys) {
      let last: MailboxReading = { kind: 'person_not_found' };
      for (const key of mailboxKeys) {
        last = await readOne(batch, key, dedicatedReadable);
        if (last.kind === 'person_not_found' && looksLikeAddress(key)) {
          const found = await findByAddress((path) => batch.get(path, key), key, 'id');
          if (typeof found?.body.id === 'string') last = await readOne(batch, found.body.id, dedicatedReadable);
        }
        if (last.kind !== 'person_not_found') return last;
      }
      return last;
    },
    async grantDelegation(mailboxKey, address, dedicatedAddresses) {
      const path = `/users/${encodeURIComponent(mailboxKey)}/calendar/calendarPermissions`;
      const list = await batch.get(path, mailboxKey);
      const own = new Set(dedicatedAddresses.map(foldAddress));
      const entry = (Array.isArray(list.body.value) ? list.body.value : []).find((candidate: unknown) => {
        const { emailAddress } = (candidate ?? {}) as { emailAddress?: { address?: unknown } };
        return typeof emailAddress?.address === 'string' && own.has(foldAddress(emailAddress.address));
      }) as { id?: unknown; allowedRoles?: unknown } | undefined;
      const role = 'delegateWithoutPrivateEventAccess';
      // Somebody outside the organisation can never be a delegate; Graph says so beforehand.
      if (entry && Array.isArray(entry.allowedRoles) && !entry.allowedRoles.includes(role)) return 'refused';
      const answer =
        typeof entry?.id === 'string'
          ? await graph.send('PATCH', `${path}/${encodeURIComponent(entry.id)}`, { role })
          : await graph.send('POST', path, {
              emailAddress: { name: address.split('@')[0], address },
              isInsideOrganization: true,
              isRemovable: true,
              role,
            });
      return answer.status < 300 ? 'accepted' : 'refused';
    },

    async readDelivery(mailboxKey) {
      const path = `/users/${encodeURIComponent(mailboxKey)}/mailboxSettings`;
      const answer = await batch.get(path, mailboxKey);
      if (answer.status === 403) return null;
      if (answer.status >= 300) return { meetingMessages: 'unknown', purpose: null };
      const { delegateMeetingMessageDeliveryOptions: option, userPurpose } = answer.body;
      return {
        meetingMessages: deliveries[String(option)] ?? 'unknown',
        purpose: typeof userPurpose === 'string' ? userPurpose : null,
      };
    },

    async dedicatedMailbox(address) {
      if (!known || known.address !== address || Date.now() - known.at > dedicatedForMs) {
        const mailbox = readDedicated(graph, address);
        known = { address, at: Date.now(), mailbox };
        // A fault is not remembered as an answer.
        mailbox.catch(() => {
          known = undefined;
        });
      }
      return known.mailbox;
    },
  };
}

const deliveries: Record<string, MailboxDelivery['meetingMessages']> = {
  sendToDelegateOnly: 'delegate_only',
  sendToDelegateAndInformationToPrincipal: 'delegate_and_information',
  sendToDelegateAndPrincipal: 'delegate_and_person',
};

async function readOne(
  batch: Batch,
  key: string,
  dedicatedReadable: () => Promise<boolean | null>,
): Promise<MailboxReading> {
  const user = encodeURIComponent(key);
  const grants: CalendarGrant[] = [];
  let path: string | null = `/users/${user}/calendar/calendarPermissions`;
  while (path !== null) {
    const answer: GraphAnswer = await batch.get(path, key);
    if (answer.status >= 300) return readRefusal(batch, key, answer, dedicatedReadable);
    if (!Array.isArray(answer.body.value)) return { kind: 'not_supported' };
    for (const entry of answer.body.value) grants.push(readGrant(entry));
    path = nextPath(answer.body['@odata.nextLink']);
  }
  return { kind: 'grants', grants, readBy: key };
}

/** No paging is documented for permissions; a link is followed if there ever is one. */
function nextPath(link: unknown): string | null {
  if (typeof link !== 'string') return null;
  const { pathname, search } = new URL(link, 'https://graph.microsoft.com');
  return pathname.replace(/^\/v1\.0/, '') + search;
}

const levels: Record<string, GrantLevel> = {
  delegateWithPrivateEventAccess: 'delegate_with_private',
  delegateWithoutPrivateEventAccess: 'delegate',
  write: 'write',
  read: 'read',
  limitedRead: 'limited',
  freeBusyRead: 'free_busy',
  none: 'none',
};

function readGrant(entry: unknown): CalendarGrant {
  const { role, emailAddress } = (entry ?? {}) as { role?: unknown; emailAddress?: { address?: unknown } };
  const address = emailAddress?.address;
  return {
    address: typeof address === 'string' && address !== '' ? address : null,
    level: levels[String(role)] ?? 'custom',
  };
}

/** Codes first, status second: learn.microsoft.com/graph/errors and the threads on MailboxNotEnabledForRESTAPI. */
async function readRefusal(
  batch: Batch,
  key: string,
  answer: GraphAnswer,
  dedicatedReadable: () => Promise<boolean | null>,
): Promise<MailboxReading> {
  switch (answer.code) {
    case 'Request_ResourceNotFound':
    case 'ErrorInvalidUser':
      return { kind: 'person_not_found' };
    case 'MailboxNotEnabledForRESTAPI':
    case 'ResourceNotFound':
    case 'ErrorItemNotFound':
      return readEvidence(batch, key);
    case 'ErrorNotSupported':
      return { kind: 'not_supported' };
  }
  if (answer.status === 403) return { kind: 'access_denied', dedicatedMailboxReadable: await dedicatedReadable() };
  if (answer.status === 404) return readEvidence(batch, key);
  return { kind: 'not_supported' };
}

async function readEvidence(batch: Batch, key: string): Promise<MailboxReading> {
  const answer = await batch.get(
    `/users/${encodeURIComponent(key)}?$select=id,userPrincipalName,mail,proxyAddresses,assignedPlans,onPremisesSyncEnabled`,
    key,
  );
  if (isAbsent(answer)) return { kind: 'person_not_found' };
  if (answer.status >= 300) return { kind: 'mailbox_unavailable', evidence: null };
  return { kind: 'mailbox_unavailable', evidence: evidenceFrom(answer.body) };
}

function evidenceFrom(body: Record<string, unknown>): DirectoryEvidence | null {
  // Absent is not null: without the plans there is nothing to judge by.
  if (!Array.isArray(body.assignedPlans)) return null;
  const plans = body.assignedPlans as { service?: unknown; capabilityStatus?: unknown }[];
  const addresses = Array.isArray(body.proxyAddresses) ? body.proxyAddresses : [];
  return {
    exchangePlanEnabled: plans.some(
      (plan) =>
        String(plan.service).toLowerCase() === 'exchange' && String(plan.capabilityStatus).toLowerCase() === 'enabled',
    ),
    syncedFromOnPremises: body.onPremisesSyncEnabled === true,
    hasAddresses: typeof body.mail === 'string' || addresses.length > 0,
  };
}

/** Every address of the dedicated mailbox, the wished one first: a permission list shows any of them. */
async function readDedicated(graph: GraphClient, address: string): Promise<DedicatedMailbox> {
  const fields = 'id,userPrincipalName,mail,proxyAddresses';
  let answer = await graph.get(`/users/${encodeURIComponent(address)}?$select=${fields}`);
  if (isAbsent(answer)) {
    // A user is found by id or user principal name only; the policy names the mailbox by an address of it.
    const search = await findByAddress((path) => graph.get(path), address, fields);
    if (search === null) return { kind: 'missing', address };
    answer = search;
  }
  if (answer.status >= 300) return { kind: 'unreadable', address };
  const { userPrincipalName, mail, proxyAddresses } = answer.body;
  const proxies = (Array.isArray(proxyAddresses) ? proxyAddresses : [])
    .map(String)
    .filter((proxy) => /^smtp:/i.test(proxy))
    .map((proxy) => proxy.slice(5));
  const all = [address, mail, userPrincipalName, ...proxies].filter(
    (entry): entry is string => typeof entry === 'string' && entry !== '',
  );
  return { kind: 'known', addresses: [...new Map(all.map((entry) => [foldAddress(entry), entry])).values()] };
}

/** Not there, by the vendor's own word: any other 404 may be a gateway's. */
const isAbsent = ({ status, code }: GraphAnswer): boolean => status === 404 && code === 'Request_ResourceNotFound';

/** The user with this address among theirs, as an answer; null when the tenant says there is none. */
async function findByAddress(
  get: (path: string) => Promise<GraphAnswer>,
  address: string,
  fields: string,
): Promise<GraphAnswer | null> {
  const text = address.replaceAll("'", "''");
  const filter = encodeURIComponent(`mail eq '${text}' or proxyAddresses/any(p:p eq 'smtp:${text}')`);
  const answer = await get(`/users?$filter=${filter}&$select=${fields}`);
  if (answer.status >= 300 || !Array.isArray(answer.body.value))
    return { ...answer, status: Math.max(400, answer.status) };
  const [only, ...more] = answer.body.value as Record<string, unknown>[];
  if (!only) return null;
  return more.length > 0 ? { ...answer, status: 409, body: {} } : { ...answer, body: only };
}

/** Can this connection read calendar permissions at all? The dedicated mailbox is the one it must be able to read. */
async function probe(graph: GraphClient, address: string): Promise<boolean | null> {
  const answer = await graph.get(`/users/${encodeURIComponent(address)}/calendar/calendarPermissions`);
  if (answer.status === 403) return false;
  return answer.status < 300 ? true : null;
}
