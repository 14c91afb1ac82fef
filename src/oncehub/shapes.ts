/** What OnceHub shows, as values; and its refusals in our words. */
import type { AccountPage } from '../domain/account.ts';
import { UsherError } from '../errors.ts';

export interface OnceHubUser {
  id: string;
  firstName: string;
  lastName: string;
  email: string;
  status: string;
  role: string;
  timeZone: string | null;
  teams: string[];
}

export interface OnceHubPage {
  pageId: string;
  linkName: string;
  url: string;
  title: string | null;
  enabled: boolean;
}

export const isAdministrator = (user: OnceHubUser): boolean =>
  user.role === 'Administrator' || user.role === 'Account Owner';
export const fold = (text: string): string => text.trim().toLowerCase();
export const isNamed = (page: OnceHubPage, linkName: string): boolean => fold(page.linkName) === fold(linkName);

export const accountPage = (page: OnceHubPage, linkName: string, ownerId: string | null): AccountPage => ({
  pageId: page.pageId,
  linkName,
  title: page.title,
  ownerId,
  enabled: page.enabled,
  disabledBy: null,
  disabledWhy: null,
});

/** Another wish is looked at at once; the same one is not sent again before a day is over. */
export const terminal = { retryAfterSeconds: 86_400 };

export const unexpected = (what: string, status: number): UsherError =>
  new UsherError('account_unavailable', `OnceHub answered ${what} with ${status}.`);

/** 400 names the field. A name that OnceHub does not take is the directory's to mend, anything else an administrator's. */
export function refusedField(status: number, param: string | null, message: string): UsherError {
  if (status === 400 && (param === 'first_name' || param === 'last_name'))
    return new UsherError(
      'invalid_profile',
      `OnceHub does not take the ${param.replace('_', ' ')}: ${message}.`,
      terminal,
    );
  return new UsherError(
    'account_refused',
    `OnceHub refuses${param ? ` the field ${param}` : ''} with ${status}: ${message}.`,
  );
}

export function readUser(item: unknown): OnceHubUser {
  const user = (item ?? {}) as Record<string, unknown>;
  if (typeof user.id !== 'string' || typeof user.email !== 'string')
    throw new UsherError('account_unavailable', 'OnceHub showed a user without id or e-mail address.');
  return {
    id: user.id,
    firstName: String(user.first_name ?? ''),
    lastName: String(user.last_name ?? ''),
    email: user.email,
    status: String(user.status ?? ''),
    role: String(user.role_name ?? 'Member'),
    timeZone: typeof user.timezone === 'string' ? user.timezone : null,
    teams: Array.isArray(user.teams) ? user.teams.map(String) : [],
  };
}

export function readPage(item: unknown): OnceHubPage {
  const page = (item ?? {}) as Record<string, unknown>;
  const url = String(page.url ?? '');
  return {
    pageId: String(page.id ?? ''),
    // The public link is the last part of the address.
    linkName: decodeLast(url) || String(page.label ?? ''),
    url,
    title: typeof page.name === 'string' ? page.name : null,
    enabled: page.active === true,
  };
}

function decodeLast(url: string): string {
  const last = url.split(/[?#]/)[0]?.replace(/\/+$/, '').split('/').pop() ?? '';
  try {
    return decodeURIComponent(last);
  } catch {
    return last;
  }
}

export function readCalendar(item: unknown): { id: string; host: string; published: boolean } {
  const calendar = (item ?? {}) as Record<string, unknown>;
  return {
    id: String(calendar.id ?? ''),
    host: String(calendar.host ?? ''),
    published: calendar.published === true,
  };
}
