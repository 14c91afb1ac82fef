/**
 * Lists: filter, sort, and both ways of paging (RFC 7644 section 3.4.2.4, RFC 9865).
 *
 * A page is as quick at row 90,000 as at row 1: the place where a page ended is remembered for a minute, so a client that goes on from there skips
 * nothing, and so is the place of every 500th row once somebody asks far out of nowhere.
 * A total without a filter is believed for a second, or until this process writes.
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { UsherError } from '../../errors.ts';
import type { ListQuery, Page, RowPlace } from '../../ports.ts';
import { compileFilter, compileSort, type FilterTarget } from './compile-filter.ts';
import type { Asked, Reply } from './endpoint.ts';
import { parseFilter } from './filter.ts';
import type { ScimLimits } from './limits.ts';
import type { Resource } from './normalise.ts';
import { type ResourceSchema, resolvePath, urns } from './schema.ts';

export interface Listing {
  /** The page that is asked for. */
  answer<T>(
    asked: Asked,
    schema: ResourceSchema,
    target: FilterTarget,
    find: (query: ListQuery) => Promise<Page<T>>,
    placesOf: (every: number) => Promise<RowPlace[]>,
    represent: (items: T[]) => Promise<Resource[]>,
  ): Promise<Reply>;
  /** This process wrote something of the source: what is added comes last and moves no other place. */
  changed(source: string, what: 'added' | 'removed'): void;
}

interface Cursor {
  source: string;
  query: string;
  count: number;
  after: RowPlace | null;
  offset: number;
  expires: number;
}

const totalForMs = 1000;
const placesForMs = 60_000;
const mostPlaces = 2000;
const milestoneEvery = 500;

export function openListing(limits: ScimLimits, secret: () => Promise<string>, now: () => Date): Listing {
  const totals = new Map<string, { at: number; total: number }>();
  const places = new Map<string, { at: number; place: RowPlace }>();
  const milestones = new Map<string, { at: number; found: Promise<RowPlace[]> }>();
  let signing: Promise<string> | undefined;
  const key = () => {
    signing ??= secret();
    signing.catch(() => {
      signing = undefined;
    });
    return signing;
  };

  const remember = (name: string, place: RowPlace): void => {
    places.set(name, { at: now().getTime(), place });
    if (places.size > mostPlaces) places.delete(places.keys().next().value ?? '');
  };

  const isRecent = ({ at }: { at: number }): boolean => now().getTime() - at < placesForMs;
  const lastMilestone = async (name: string, skip: number, placesOf: (every: number) => Promise<RowPlace[]>) => {
    const known = milestones.get(name);
    const found = known && isRecent(known) ? known.found : placesOf(milestoneEvery);
    if (found !== known?.found) {
      milestones.set(name, { at: now().getTime(), found });
      found.catch(() => milestones.delete(name));
    }
    const rows = await found;
    const passed = Math.min(rows.length, Math.floor(skip / milestoneEvery));
    return { after: rows[passed - 1] ?? null, offset: skip - passed * milestoneEvery };
  };

  /** When it is too old, the first who asks counts anew, and the others believe the old one meanwhile. */
  const believedTotal = (name: string): number | undefined => {
    const known = totals.get(name);
    if (!known) return undefined;
    if (now().getTime() - known.at < totalForMs) return known.total;
    known.at = now().getTime();
    return undefined;
  };

  return {
    async answer(asked, schema, target, find, placesOf, represent) {
      const { query, caller } = asked;
      const { filter, sort, essence } = readSearch(query, schema, target, limits);
      const queryKey = `${caller.source}|${schema.name}|${essence}`;
      const total = believedTotal(queryKey);

      if (query.cursor !== undefined) {
        const cursor = readCursor(await key(), query.cursor, caller.source, essence, now());
        const count = readCount(query.count, limits, 'invalid_count') ?? cursor?.count ?? limits.defaultPageSize;
        if (cursor && cursor.count !== count)
          throw new UsherError('invalid_cursor', 'count differs from the one that this cursor was made with.');
        const offset = cursor?.offset ?? 0;
        const behind = (skip: number, after: RowPlace | null, limit: number): ListQuery => ({
          filter,
          sort,
          offset: sort ? skip : 0,
          limit,
          after: sort ? null : after,
        });
        const page = await find({
          ...behind(offset, cursor?.after ?? null, count),
          ...(total === undefined ? {} : { total }),
        });
        if (!filter) totals.set(queryKey, { at: now().getTime(), total: page.total });
        // A full page may be the last one; only a row behind it makes a next cursor.
        const full = count > 0 && page.items.length === count;
        const more = full && (await find({ ...behind(offset + count, page.last, 1), total: 0 })).items.length > 0;
        const next: Cursor = {
          source: caller.source,
          query: essence,
          count,
          after: sort ? null : page.last,
          offset: offset + count,
          expires: now().getTime() + limits.cursorSeconds * 1000,
        };
        const resources = await represent(page.items);
        return reply({
          totalResults: page.total,
          itemsPerPage: resources.length,
          ...(more ? { nextCursor: writeCursor(await key(), next) } : {}),
          Resources: resources,
        });
      }

      const startIndex = Math.max(1, readInteger(query.startIndex, 'startIndex') ?? 1);
      const count = readCount(query.count, limits, 'invalid_value') ?? limits.defaultPageSize;
      const placeKey = (index: number) => `${queryKey}|${index}`;
      const place = sort ? undefined : places.get(placeKey(startIndex));
      const from: { after: RowPlace | null; offset: number } =
        place && isRecent(place)
          ? { after: place.place, offset: 0 }
          : filter || sort || startIndex <= milestoneEvery
            ? { after: null, offset: startIndex - 1 }
            : await lastMilestone(queryKey, startIndex - 1, placesOf);
      const page = await find({ filter, sort, limit: count, ...from, ...(total === undefined ? {} : { total }) });
      if (!filter) totals.set(queryKey, { at: now().getTime(), total: page.total });
      if (!sort && page.last) remember(placeKey(startIndex + page.items.length), page.last);
      const resources = await represent(page.items);
      return reply({ totalResults: page.total, startIndex, itemsPerPage: resources.length, Resources: resources });
    },
    changed(source, what) {
      for (const known of what === 'removed' ? [totals, places, milestones] : [totals])
        for (const name of known.keys()) if (name.startsWith(`${source}|`)) known.delete(name);
    },
  };
}

const reply = (body: Record<string, unknown>): Reply => ({
  status: 200,
  body: { schemas: [urns.listResponse], ...body },
});

function readSearch(query: Record<string, unknown>, schema: ResourceSchema, target: FilterTarget, limits: ScimLimits) {
  const { filter: text, sortBy, sortOrder } = query;
  if (text !== undefined && text !== null && typeof text !== 'string')
    throw new UsherError('invalid_filter', 'filter is given more than once, or is no text.');
  if (sortBy !== undefined && sortBy !== null && typeof sortBy !== 'string')
    throw new UsherError('invalid_value', 'sortBy must be a text.');
  const filter = text?.trim() ? compileFilter(parseFilter(text, schema, limits), target) : null;
  let sort: ListQuery['sort'] = null;
  if (sortBy?.trim()) {
    const path = resolvePath(schema, sortBy.trim());
    if (!path?.attribute) throw new UsherError('invalid_path', `sortBy: «${sortBy.slice(0, 100)}» is no attribute.`);
    const order = String(sortOrder ?? 'ascending').toLowerCase();
    if (order !== 'ascending' && order !== 'descending')
      throw new UsherError('invalid_value', 'sortOrder must be ascending or descending.');
    sort = { sql: compileSort(path, target), descending: order === 'descending' };
  }
  const essence = createHash('sha256')
    .update(JSON.stringify([text?.trim() ?? '', sortBy?.trim().toLowerCase() ?? '', String(sortOrder ?? '')]))
    .digest('base64url')
    .slice(0, 22);
  return { filter, sort, essence };
}

export function readInteger(
  value: unknown,
  name: string,
  code: 'invalid_value' | 'invalid_count' = 'invalid_value',
): number | null {
  if (value === undefined || value === null || value === '') return null;
  if (!/^-?\d{1,9}$/.test(String(value).trim())) throw new UsherError(code, `${name} must be a whole number.`);
  return Number(value);
}

/** Negative is none, and more than the maximum is the maximum (RFC 7644 section 3.4.2.4). */
function readCount(value: unknown, limits: ScimLimits, code: 'invalid_value' | 'invalid_count'): number | null {
  const count = readInteger(value, 'count', code);
  return count === null ? null : Math.min(limits.pageSize, Math.max(0, count));
}

/** Signed, so that nobody makes one up; bound to source, query and count; URL-safe. */
function writeCursor(secret: string, cursor: Cursor): string {
  const payload = Buffer.from(JSON.stringify(cursor)).toString('base64url');
  return `${payload}.${createHmac('sha256', secret).update(payload).digest('base64url')}`;
}

function readCursor(secret: string, value: unknown, source: string, query: string, now: Date): Cursor | null {
  if (value === '' || value === null) return null;
  const [payload = '', signature = ''] = String(value).split('.');
  const expected = createHmac('sha256', secret).update(payload).digest();
  const given = Buffer.from(signature, 'base64url');
  if (given.length !== expected.length || !timingSafeEqual(given, expected))
    throw new UsherError('invalid_cursor', 'The cursor was not made here, or was changed.');
  const cursor = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Cursor;
  if (cursor.source !== source || cursor.query !== query)
    throw new UsherError('invalid_cursor', 'The cursor belongs to another query.');
  if (cursor.expires < now.getTime()) throw new UsherError('expired_cursor', 'The cursor is too old.');
  return cursor;
}
