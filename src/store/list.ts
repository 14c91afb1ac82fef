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

/** The place of every so-manieth row of a source, first to last. */
export async function listPlaces(lists: pg.Pool, listed: Listed, source: string, every: number): Promise<RowPlace[]> {
  const { rows } = await lists.query<{ createdAt: string; id: string }>({
    name: `places ${listed.from}`,
    text: `
      select ${placeText('created_at')} as "createdAt", id::text from (
        select ${listed.createdAt} as created_at, ${listed.id} as id, row_number() over (order by ${listed.createdAt}, ${listed.id}) as nth
        from ${listed.from} where ${listed.holds('$1')}
      ) as numbered where nth % $2 = 0 order by nth`,
    values: [source, every],
  });
  return rows;
}

const placeText = (createdAt: string): string =>
  `to_char(${createdAt} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;

/** Up to here reading and dropping the skipped rows is cheaper than a second look. */
const fewRows = 200;

/** Providers send a handful of filters over and over: the first of them are prepared; a client that makes up new ones fills nobody's memory. */
const preparedTexts = new Map<string, string>();
const mostPrepared = 100;

function prepared(text: string): { name?: string; text: string } {
  const known = preparedTexts.get(text);
  if (known) return { name: known, text };
  if (preparedTexts.size >= mostPrepared) return { text };
  const name = `list-${preparedTexts.size + 1}`;
  preparedTexts.set(text, name);
  return { name, text };
}

export async function listPage<Row extends pg.QueryResultRow, T>(
  lists: pg.Pool,
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
      const place = `${placeText(listed.createdAt)} as place, ${listed.id}::text as place_id`;
      const skip = Math.trunc(query.offset);
      const bounds = `order by ${order} offset ${bind(skip)} limit ${bind(Math.trunc(query.limit))}`;
      const text =
        skip < fewRows
          ? `select ${listed.columns}, ${place} from ${listed.from} where ${where}${behind} ${bounds}`
          : // The rows to skip are counted off in the index alone; only the page itself is read.
            `select ${listed.columns}, ${place} from (select ${listed.id} as id from ${listed.from} where ${where}${behind} ${bounds}) as page join ${listed.from} on ${listed.id} = page.id order by ${order}`;
      items = (await lists.query<Row & { place: string; place_id: string }>({ ...prepared(text), values: parameters }))
        .rows;
    }
    const last = items.at(-1);
    const place: RowPlace | null = last ? { createdAt: last.place, id: last.place_id } : null;
    // A first page that is not full is its own total.
    if (query.total === undefined && query.offset === 0 && !query.after && items.length < query.limit)
      return { items: items.map(from), total: items.length, last: place };
    const total =
      query.total ??
      Number((await lists.query<{ total: string }>({ ...counting, ...prepared(counting.text) })).rows[0]?.total ?? 0);
    return { items: items.map(from), total, last: place };
  } catch (error) {
    throw translate(error);
  }
}
