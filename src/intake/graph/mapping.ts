/** A user of the tenant as a directory user: after this, every field has a type and one place. */
import { createHash } from 'node:crypto';
import { foldAddress, looksLikeAddress } from '../../domain/email-address.ts';
import type { DirectoryUser } from '../../domain/person.ts';
import type { DirectoryAttributes } from '../../ports.ts';

/**
 * A key that follows from the tenant's own id, so that a member can be written down before the user or the group it names
 * (RFC 9562 section 5.8).
 */
export function resourceIdOf(source: string, objectId: string): string {
  const hex = createHash('sha256').update(`${source}/${objectId.toLowerCase()}`).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/** Absent is not null: what was not sent stays as it is. */
export function merged(
  before: Record<string, unknown>,
  attributes: Partial<DirectoryAttributes>,
): Record<string, unknown> {
  const after: Record<string, unknown> = { ...before };
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null) delete after[name];
    else after[name] = value;
  }
  return after;
}

export function directoryUserFrom(
  resource: Record<string, unknown>,
  keys: { source: string; resourceId: string; objectId: string; activeSince: Date },
): DirectoryUser {
  const text = (name: string): string | null => (typeof resource[name] === 'string' ? resource[name] : null);
  const userName = text('userName') ?? keys.objectId;
  const mail = text('mail');
  const aliases = Array.isArray(resource.aliases) ? resource.aliases.map(String) : [];
  const email = mail ?? (looksLikeAddress(userName) ? userName : null);
  return {
    source: keys.source,
    resourceId: keys.resourceId,
    externalId: keys.objectId,
    userName,
    displayName: text('displayName'),
    givenName: text('givenName'),
    familyName: text('familyName'),
    email,
    addresses: [
      ...new Set(
        [email, userName, ...aliases]
          .filter((entry): entry is string => entry !== null && looksLikeAddress(entry))
          .map(foldAddress),
      ),
    ],
    active: resource.enabled !== false,
    entraObjectId: keys.objectId,
    department: text('department'),
    division: text('division'),
    organization: text('organization'),
    costCenter: text('costCenter'),
    title: text('title'),
    userType: text('userType'),
    timeZone: null,
    groups: [],
    asked: { role: null, licenses: [], bookingPages: [] },
    activeSince: keys.activeSince,
    deletedAt: null,
  };
}
