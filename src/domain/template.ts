/**
 * Link names from directory attributes: `{userName.local}` of ana.ruiz@contoso.com is `ana.ruiz`.
 * Unknown names are a fault of the policy; an attribute that one person lacks is a fault of that person's wish.
 */
import { domainOf, localPartOf } from './email-address.ts';
import type { DirectoryUser } from './person.ts';

type Attribute = (user: DirectoryUser) => string | null;

export const templateAttributes: Record<string, Attribute> = {
  userName: (user) => user.userName,
  'userName.local': (user) => localPartOf(user.userName),
  email: (user) => user.email,
  'email.local': (user) => (user.email ? localPartOf(user.email) : null),
  'email.domain': (user) => (user.email ? domainOf(user.email) : null),
  displayName: (user) => user.displayName,
  givenName: (user) => user.givenName,
  familyName: (user) => user.familyName,
  externalId: (user) => user.externalId,
  department: (user) => user.department,
  title: (user) => user.title,
};

export function unknownPlaceholders(template: string): string[] {
  return placeholders(template).filter((name) => !(name in templateAttributes));
}

/** A link name: lower case, letters and digits of any script, and `. _ -`; everything else becomes one `-`. */
export function renderLinkName(template: string, user: DirectoryUser): { linkName: string } | { missing: string } {
  for (const name of placeholders(template)) {
    if (!templateAttributes[name]?.(user)) return { missing: name };
  }
  const text = template.replace(/\{([^}]*)\}/g, (_whole, name: string) => templateAttributes[name]?.(user) ?? '');
  return { linkName: asLinkName(text) };
}

export function asLinkName(text: string): string {
  return text
    .normalize('NFC')
    .toLowerCase()
    .replace(/[^\p{L}\p{N}._-]+/gu, '-')
    .replace(/^-+|-+$/g, '');
}

function placeholders(template: string): string[] {
  return [...template.matchAll(/\{([^}]*)\}/g)].map((match) => match[1] ?? '');
}
