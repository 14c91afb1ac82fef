/** One page of a source's resources, in a stable order; quick at any place of a long list. */
import type pg from 'pg';
import type { ListQuery, Page, RowPlace } from '../ports.ts';
import { translate } from './database.ts';

export interface Listed {
  /** The table under its alias: `directory_users u`. */
  from: string;
  /** `u.source = $n` and what else always holds. */
  holds: (source: string) => string;
  id: string;
  createdAt: string;
  columns: string;
}

export async function listPage<Row extends pg.QueryResultRow, T>(
  pool: pg.Pool,
  listed: Listed,
  source: string,
  query: ListQuery,
  from: (row: Row) => T,
): Promise<Page<T>> {
  const filter = query.filter ?? { sql: 'true', parameters: [] };
  const parameters: unknown[] = [...filter.parameters, source];
  const bind = (value: unknown): string => `$${parameters.push(value)}`;
  const where = `${listed.holds(`$${parameters.length}`)} and (${filter.sql})`;
  const counting = { text: `select count(*) as total from ${listed.from} where ${where}`, values: [...parameters] };
  const byDefault = `${listed.createdAt}, ${listed.id}`;
  const order = query.sort
    ? `${query.sort.sql} ${query.sort.descending ? 'desc nulls first' : 'asc nulls last'}, ${byDefault}`
    : byDefault;
  try {
    let items: (Row & { place: string; place_id: string })[] = [];
    if (query.limit > 0) {
      const behind = query.after
        ? ` and (${byDefault}) > (${bind(query.after.createdAt)}::timestamptz, ${bind(query.after.id)}::uuid)`
        : '';
      // The rows to skip are counted off in the index alone; only the page itself is read.
      const ids = `select ${listed.id} as id from ${listed.from} where ${where}${behind} order by ${order} offset ${query.after ? 0 : Math.trunc(query.offset)} limit ${Math.trunc(query.limit)}`;
      const text = `select ${listed.columns}, to_char(${listed.createdAt} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as place, ${listed.id}::text as place_id
        from (${ids}) as page join ${listed.from} on ${listed.id} = page.id order by ${order}`;
      items = (await pool.query<Row & { place: string; place_id: string }>(text, parameters)).rows;
    }
    const last = items.at(-1);
    const place: RowPlace | null = last ? { createdAt: last.place, id: last.place_id } : null;
    // A first page that is not full is its own total.
    if (query.total === undefined && query.offset === 0 && !query.after && items.length < query.limit)
      return { items: items.map(from), total: items.length, last: place };
    const total = query.total ?? Number((await pool.query<{ total: string }>(counting)).rows[0]?.total ?? 0);
    return { items: items.map(from), total, last: place };
  } catch (error) {
    throw translate(error);
  }
}
