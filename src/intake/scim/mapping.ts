/** A SCIM user as a directory user: after this, every field has a type and one place. */
import { foldAddress, looksLikeAddress } from '../../domain/email-address.ts';
import type { DirectoryUser } from '../../domain/person.ts';
import type { Resource } from './normalise.ts';
import { urns } from './schema.ts';

const guid = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i;

export function directoryUserFrom(
  resource: Resource,
  keys: { source: string; resourceId: string; activeSince: Date },
): DirectoryUser {
  const text = (holder: unknown, name: string): string | null => {
    const value = (holder as Resource | undefined)?.[name];
    return typeof value === 'string' && value !== '' ? value : null;
  };
  const enterprise = resource[urns.enterprise];
  const asked = resource[urns.usher] as Resource | undefined;
  const userName = String(resource.userName);
  const externalId = text(resource, 'externalId');
  const email = pickEmail(resource) ?? (looksLikeAddress(userName) ? userName : null);
  const every = [
    ...emailsOf(resource).map((entry) => entry.value),
    email,
    looksLikeAddress(userName) ? userName : null,
  ];
  return {
    ...keys,
    externalId,
    userName,
    displayName: text(resource, 'displayName') ?? text(resource.name, 'formatted'),
    givenName: text(resource.name, 'givenName'),
    familyName: text(resource.name, 'familyName'),
    email,
    addresses: [
      ...new Set(
        every.filter((entry): entry is string => typeof entry === 'string' && looksLikeAddress(entry)).map(foldAddress),
      ),
    ],
    // RFC 7643 section 4.1.1: a user nobody says anything about is active.
    active: resource.active !== false,
    // Entra ID can send its object id as externalId; nothing else that is a GUID is taken for one.
    entraObjectId: externalId && guid.test(externalId) ? externalId.toLowerCase() : null,
    department: text(enterprise, 'department'),
    division: text(enterprise, 'division'),
    organization: text(enterprise, 'organization'),
    costCenter: text(enterprise, 'costCenter'),
    title: text(resource, 'title'),
    userType: text(resource, 'userType'),
    timeZone: text(asked, 'timeZone') ?? text(resource, 'timezone'),
    manager: text((enterprise as Resource | undefined)?.manager, 'value'),
    groups: [],
    asked: { role: text(asked, 'role'), licenses: texts(asked?.licenses), bookingPages: texts(asked?.bookingPages) },
    deletedAt: null,
  };
}

const texts = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((entry): entry is string => typeof entry === 'string') : [];

interface Email {
  value: string;
  type: string | null;
  primary: boolean;
}

function emailsOf(resource: Resource): Email[] {
  const list = Array.isArray(resource.emails) ? (resource.emails as Resource[]) : [];
  return list
    .filter((entry) => typeof entry?.value === 'string' && entry.value !== '')
    .map((entry) => ({
      value: String(entry.value).trim(),
      type: typeof entry.type === 'string' ? entry.type.toLowerCase() : null,
      primary: entry.primary === true,
    }));
}

/** The work address, else the primary one, else the first. Of several work addresses the primary one. */
function pickEmail(resource: Resource): string | null {
  const emails = emailsOf(resource);
  const best =
    emails.find((entry) => entry.type === 'work' && entry.primary) ??
    emails.find((entry) => entry.type === 'work') ??
    emails.find((entry) => entry.primary) ??
    emails[0];
  return best?.value ?? null;
}
