/** Lists of a hundred thousand: a page by its place in an index, the total beside it. */

import type { Listed } from '../administration.ts';
import { UsherError } from '../errors.ts';
import { isUuid } from '../ids.ts';

/** Where a list goes on: the value of the sort key, and the id. */
export interface Place {
  key: string;
  id: string;
}

function writeCursor(sort: string, place: Place): string {
  return Buffer.from(JSON.stringify([sort, place.key, place.id])).toString('base64url');
}

export function readCursor(sort: string, cursor: string): Place {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString());
    if (Array.isArray(parsed)) {
      const [of, key, id] = parsed as unknown[];
      if (of === sort && typeof key === 'string' && typeof id === 'string' && isUuid(id) && fits(sort, key))
        return { key, id };
    }
  } catch {
    // falls through to the one answer
  }
  throw new UsherError(
    'invalid_value',
    'cursor: use a nextCursor that an earlier page of the same list and sort gave.',
  );
}

/** What the statement will read out of the key. */
function fits(sort: string, key: string): boolean {
  if (/\p{Surrogate}/u.test(key) || key.includes('\u0000')) return false;
  if (sort === 'createdAt' || sort === 'mails')
    return /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$/.test(key) && !Number.isNaN(Date.parse(key));
  if (sort === 'status') return /^(true|false)\//.test(key);
  return true;
}

export function like(text: string): string {
  return `%${text.toLowerCase().replace(/[\\%_]/g, '\\$&')}%`;
}

/** The rows of a page, of which one more than asked was read, with where it goes on. */
export function pageOf<R extends { place_key: string }, T>(
  rows: R[],
  query: { limit: number },
  sort: string,
  idOf: (row: R) => string,
  shown: (row: R) => T,
  counted: { total: string }[],
): Listed<T> {
  const page = rows.slice(0, query.limit);
  const last = page.at(-1);
  return {
    items: page.map(shown),
    total: Number(counted[0]?.total ?? 0),
    nextCursor: rows.length > query.limit && last ? writeCursor(sort, { key: last.place_key, id: idOf(last) }) : null,
  };
}

/** The tests of a search for a part of a text: three letters and more are narrowed by the index first. */
export function searched(column: string, text: string, bind: (value: unknown) => string): string[] {
  const pattern = `${column} like ${bind(like(text))}`;
  return [...text].length < 3
    ? [pattern]
    : [`usher_trigrams(${column}) @> usher_trigrams(${bind(text.toLowerCase())})`, pattern];
}

/** Numbered parameters of a statement that is put together. */
export function bindings() {
  const values: unknown[] = [];
  return { values, bind: (value: unknown): string => `$${values.push(value)}` };
}
