/** How a list finds its page, over rows in memory that answer as the store does. */
import { expect, test } from '@jest/globals';
import { userTarget } from '../../src/intake/scim/compile-filter.ts';
import { defaultScimLimits } from '../../src/intake/scim/limits.ts';
import { openListing } from '../../src/intake/scim/listing.ts';
import { userSchema } from '../../src/intake/scim/schema.ts';
import type { ListQuery, Page, RowPlace } from '../../src/ports.ts';

interface Row {
  id: string;
  createdAt: string;
}

function aList(length: number) {
  const rows: Row[] = Array.from({ length }, (_one, index) => ({
    id: `r${index + 1}`,
    createdAt: String(index + 1).padStart(9, '0'),
  }));
  const skipped: number[] = [];
  let placesRead = 0;
  const listing = openListing(
    defaultScimLimits,
    async () => 'secret',
    () => new Date('2026-01-01T00:00:00Z'),
  );
  const find = async (query: ListQuery): Promise<Page<Row>> => {
    skipped.push(query.offset);
    const from = query.after ? rows.findIndex((row) => row.createdAt > (query.after as RowPlace).createdAt) : 0;
    const items = from < 0 ? [] : rows.slice(from + query.offset, from + query.offset + query.limit);
    return { items, total: rows.length, last: items.at(-1) ?? null };
  };
  const placesOf = async (every: number): Promise<RowPlace[]> => {
    placesRead += 1;
    return rows.filter((_row, index) => (index + 1) % every === 0);
  };
  const page = async (startIndex: number, count = 10): Promise<string[]> => {
    const reply = await listing.answer(
      {
        base: 'http://usher/scim/v2',
        caller: { source: 'scim', cause: { actor: 'test', by: 'test' } },
        query: { startIndex: String(startIndex), count: String(count) },
        ifMatch: undefined,
        ifNoneMatch: undefined,
        body: undefined,
      },
      userSchema,
      userTarget,
      find,
      placesOf,
      async (items) => items.map((row) => ({ id: row.id })),
    );
    return ((reply.body?.Resources as { id: string }[] | undefined) ?? []).map((resource) => resource.id);
  };
  return { rows, listing, page, skipped, placesRead: () => placesRead };
}

test('a page from far out of nowhere skips a few hundred rows at most, wherever it is', async () => {
  const { page, skipped, placesRead } = aList(5000);
  for (const startIndex of [500, 501, 777, 1000, 1001, 2500, 4321, 4991, 5000])
    expect((await page(startIndex, 3))[0]).toBe(`r${startIndex}`);
  expect(Math.max(...skipped)).toBeLessThan(500);
  expect(placesRead()).toBe(1);
  expect(await page(9000)).toEqual([]);
});

test('who goes on from page to page skips nothing at all', async () => {
  const { page, skipped } = aList(300);
  const seen: string[] = [];
  for (let startIndex = 1; startIndex <= 300; startIndex += 10) seen.push(...(await page(startIndex)));
  expect(new Set(seen).size).toBe(300);
  expect(skipped).toEqual(Array(30).fill(0));
});

test('what is removed moves the places behind it, what is added moves none', async () => {
  const { page, listing, rows, placesRead } = aList(2000);
  await page(1501);
  rows.push({ id: 'new', createdAt: '999999999' });
  listing.changed('scim', 'added');
  expect((await page(1601))[0]).toBe('r1601');
  expect(placesRead()).toBe(1);
  rows.splice(0, 1);
  listing.changed('scim', 'removed');
  expect((await page(1601))[0]).toBe('r1602');
  expect(placesRead()).toBe(2);
});
