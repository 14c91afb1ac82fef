/**
 * People in a table: what a column may be called, what a cell may say, and what a row says of a user. A column that is absent says nothing; an empty cell
 * of one that is there says nothing either. Nobody leaves by an absent row: leaving is `active` false.
 */
import { foldAddress, looksLikeAddress } from './email-address.ts';
import type { PeopleColumn } from './people-columns.ts';
import { type DirectoryUser, roles, type Wish } from './person.ts';
import { isTimeZone, type Rule } from './policy.ts';

export interface RowFault {
  column: PeopleColumn | 'row';
  reason: string;
  /** What it may have been meant to say; null where nothing is near. */
  suggestion: string | null;
}

export type Cells = Partial<Record<PeopleColumn, string>>;
/** What a row says; absent: it says nothing of it. */
export interface CsvFields {
  userName: string;
  email?: string;
  displayName?: string;
  givenName?: string;
  familyName?: string;
  externalId?: string;
  department?: string;
  division?: string;
  organization?: string;
  costCenter?: string;
  title?: string;
  userType?: string;
  manager?: string;
  timeZone?: string;
  active?: boolean;
  role?: string;
  licenses?: string[];
  bookingPages?: string[];
}

/** What is taken as it is written; the others are lists, or yes and no. */
export const textColumns = [
  'userName',
  'email',
  'displayName',
  'givenName',
  'familyName',
  'externalId',
  'department',
  'division',
  'organization',
  'costCenter',
  'title',
  'userType',
  'manager',
  'timeZone',
  'role',
] as const satisfies PeopleColumn[];

/** The same of one person, by hand: the lists are lists; null clears. */
export type Described = Partial<
  Record<(typeof textColumns)[number], string | null> & Record<'licenses' | 'bookingPages', string[] | null>
>;

const guid = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i;
const longest = 320;

export function readRow(cells: Cells): { fields: CsvFields; faults: RowFault[] } {
  const faults: RowFault[] = [];
  const fault = (column: RowFault['column'], reason: string, suggestion: string | null = null) =>
    faults.push({ column, reason, suggestion });
  const cell = (column: PeopleColumn): string | undefined => cells[column]?.trim() || undefined;

  for (const [column, text] of Object.entries(cells)) {
    if ((text ?? '').length > longest && column !== 'licenses' && column !== 'bookingPages')
      fault(column as PeopleColumn, `is longer than ${longest} characters`);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
    if (/[\u0000-\u0008\u000e-\u001f\ufffd]|\p{Surrogate}/u.test(text ?? ''))
      fault(
        column as PeopleColumn,
        'holds characters that are no text; the file may be in another encoding than UTF-8',
      );
  }
  const userName = cell('userName') ?? cell('email');
  if (!userName) fault('userName', 'is empty, and no e-mail address stands in for it');
  const email = cell('email');
  if (email && !isAddress(email)) fault('email', `«${email.slice(0, 60)}» is no e-mail address`, mended(email));
  if (!email && userName && userName.includes('@') && !isAddress(userName))
    fault('userName', `«${userName.slice(0, 60)}» is no e-mail address`, mended(userName));
  const active = cell('active');
  const isActive = active === undefined ? undefined : yesNo(active);
  if (active !== undefined && isActive === undefined)
    fault(
      'active',
      `«${active.slice(0, 30)}» is neither true nor false`,
      nearest(active, ['true', 'false', 'yes', 'no']),
    );
  const role = cell('role');
  if (role && !roles.some((known) => known.toLowerCase() === role.toLowerCase()))
    fault('role', `«${role.slice(0, 30)}» is no role; use ${roles.join(' or ')}`, nearest(role, [...roles]));
  const timeZone = cell('timeZone');
  if (timeZone && !isTimeZone(timeZone))
    fault('timeZone', `«${timeZone.slice(0, 60)}» is no IANA time zone, as Europe/Berlin`);

  const fields: CsvFields = { userName: userName ?? '' };
  for (const column of textColumns) {
    if (column === 'userName' || column === 'role') continue;
    const text = cell(column);
    if (text !== undefined) fields[column] = text;
  }
  if (isActive !== undefined) fields.active = isActive;
  if (role) fields.role = roles.find((known) => known.toLowerCase() === role.toLowerCase()) ?? role;
  for (const column of ['licenses', 'bookingPages'] as const) {
    const text = cell(column);
    if (text !== undefined)
      fields[column] = text
        .split(/[|;,]/)
        .map((part) => part.trim())
        .filter((part) => part !== '');
  }
  return { fields, faults };
}

/** What the row asks for and the rule does not leave to the directory: said in the plan, or somebody waits for it in vain. */
export function unusedCells(
  rule: Pick<Rule, 'role' | 'licenses' | 'bookingPages'>,
  wish: Pick<Wish, 'role' | 'licenses' | 'bookingPages'>,
  fields: CsvFields,
): PeopleColumn[] {
  const says = (column: 'role' | 'licenses' | 'bookingPages'): boolean => {
    const asked = fields[column];
    if (asked === undefined || rule[column] === 'from-directory') return false;
    return JSON.stringify([asked].flat().sort()) !== JSON.stringify([wish[column]].flat().sort());
  };
  return (['role', 'licenses', 'bookingPages'] as const).filter(says);
}

/** What the source says of the user from now on: what the row does not say stays as it was. */
export function mergedFields(before: Record<string, unknown>, fields: CsvFields): Record<string, unknown> {
  return { ...before, ...fields };
}

export function userFromFields(
  resource: Record<string, unknown>,
  keys: { source: string; resourceId: string; activeSince: Date },
): DirectoryUser {
  const text = (name: PeopleColumn): string | null =>
    typeof resource[name] === 'string' ? (resource[name] as string) : null;
  const texts = (name: PeopleColumn): string[] =>
    Array.isArray(resource[name]) ? (resource[name] as unknown[]).filter((entry) => typeof entry === 'string') : [];
  const userName = text('userName') ?? '';
  const externalId = text('externalId');
  const email = text('email') ?? (looksLikeAddress(userName) ? userName : null);
  const given = text('givenName');
  const family = text('familyName');
  return {
    source: keys.source,
    resourceId: keys.resourceId,
    externalId,
    userName,
    displayName: text('displayName') ?? ([given, family].filter(Boolean).join(' ') || null),
    givenName: given,
    familyName: family,
    email,
    addresses: [
      ...new Set(
        [email, userName]
          .filter((entry): entry is string => entry !== null && looksLikeAddress(entry))
          .map(foldAddress),
      ),
    ],
    active: resource.active !== false,
    // The tenant's object id, which both admin centres export.
    entraObjectId: externalId && guid.test(externalId) ? externalId.toLowerCase() : null,
    department: text('department'),
    division: text('division'),
    organization: text('organization'),
    costCenter: text('costCenter'),
    title: text('title'),
    userType: text('userType'),
    timeZone: text('timeZone'),
    manager: text('manager'),
    groups: [],
    asked: { role: text('role'), licenses: texts('licenses'), bookingPages: texts('bookingPages') },
    activeSince: keys.activeSince,
    deletedAt: null,
  };
}

function yesNo(text: string): boolean | undefined {
  if (/^(true|yes|y|1|on|active|enabled|ja|wahr)$/i.test(text)) return true;
  if (/^(false|no|n|0|off|inactive|disabled|nein|falsch)$/i.test(text)) return false;
  return undefined;
}

/** Stricter than for a directory, which knows its own: typed by hand, a comma in the domain or a domain without a dot is a slip. */
const isAddress = (text: string): boolean => looksLikeAddress(text) && /@[^\s,;@]+\.[^\s,;@.]+$/.test(text);

/** The slips that people make in addresses: a comma for a dot, a space, a doubled or missing sign. */
function mended(address: string): string | null {
  const tried = address
    .replace(/^mailto:/i, '')
    .replace(/\s+/g, '')
    .replace(/,/g, '.')
    .replace(/@{2,}/g, '@')
    .replace(/\(at\)|\[at\]/gi, '@')
    .replace(/[<>"]/g, '')
    .replace(/[.;]+$/, '');
  return tried !== address && isAddress(tried) ? tried : null;
}

function nearest(text: string, known: readonly string[]): string | null {
  const plain = text.toLowerCase();
  return known.find((one) => one.toLowerCase().startsWith(plain.slice(0, 3)) && plain.length > 1) ?? null;
}
