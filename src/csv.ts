/** Tables that people make in a spreadsheet: RFC 4180, with a BOM, semicolons or tabs where their country's settings put them, headings in any order and case. */
import { pipeline, Readable } from 'node:stream';
import { parse as parseStream } from 'csv-parse';
import { parse } from 'csv-parse/sync';
import { UsherError } from './errors.ts';

export interface CsvRow {
  line: number;
  values: Record<string, string>;
  /** Why the cells may not stand under their headings. */
  fault?: string;
}

/**
 * `known`: heading as it is meant → the other ways it is written, all in lower case without spaces. Throws `invalid_syntax` with the line, and
 * `too_many` above `most` rows, before they are all read.
 */
export function readCsv(
  text: string,
  known: Record<string, readonly string[]>,
  needed: readonly string[],
  most: number,
): CsvRow[] {
  const first = text.replace(/^\uFEFF/, '').split(/\r\n|\n|\r/, 1)[0] ?? '';
  const delimiter = delimiterOf(first);
  const columns = (headings: string[]): string[] => columnsOf(headings, known, needed);
  try {
    const rows = parse(text, {
      bom: true,
      delimiter,
      trim: true,
      skip_empty_lines: true,
      // A spreadsheet drops empty cells at the end of a row.
      relax_column_count_less: true,
      to: most + 1,
      columns,
      info: true,
    }) as unknown as { record: Record<string, string>; info: { lines: number } }[];
    if (rows.length > most) throw new UsherError('too_many', `The CSV has more than ${most} rows; send it in parts.`);
    return rows.map(({ record, info }) => ({ line: info.lines, values: record }));
  } catch (error) {
    throw unreadable(error);
  }
}

/** The parser's faults in our words; anything else as it is. */
function unreadable(error: unknown): unknown {
  const { code, message } = error as { code?: string; message?: string };
  return code?.startsWith('CSV_') || code?.startsWith('INVALID_')
    ? new UsherError('invalid_syntax', `The CSV can not be read: ${message}`, { cause: error })
    : error;
}

const delimiterOf = (firstLine: string): string =>
  [',', ';', '\t'].sort((a, b) => firstLine.split(b).length - firstLine.split(a).length)[0] ?? ',';

/** A heading that nobody knows is kept under a name that no column has. */
export function columnsOf(
  headings: string[],
  known: Record<string, readonly string[]>,
  needed: readonly (string | readonly string[])[],
): string[] {
  const meant = (heading: string): string => {
    const plain = heading.toLowerCase().replace(/[^\p{L}\p{N}]/gu, '');
    const found = Object.entries(known).find(
      ([name, others]) => name.toLowerCase() === plain || others.includes(plain),
    );
    return found?.[0] ?? `?${heading}`;
  };
  const names = headings.map(meant);
  const absent = needed.filter((wanted) => ![wanted].flat().some((name) => names.includes(name)));
  if (absent.length > 0)
    throw new UsherError(
      'invalid_syntax',
      `The CSV has no column ${absent.map((wanted) => [wanted].flat().join(' or ')).join(', ')}; its first line says ${headings.slice(0, 20).join(', ').slice(0, 300)}. Known: ${Object.keys(known).join(', ')}.`,
    );
  // A second column of one meaning is left alone: exports hold both a name and a display name.
  return names.map((name, index) =>
    names.indexOf(name) < index && !name.startsWith('?') ? `?${headings[index]}` : name,
  );
}

interface Streamed {
  record: Record<string, string>;
  info: { lines: number; error?: Error };
}

export interface StreamedTable {
  /** The headings as they were written. */
  headings: string[];
  rows: AsyncIterable<CsvRow>;
}

/**
 * A table of any length, row by row. UTF-8 and UTF-16 are told apart by their byte order mark; a text that is neither is refused. A row with more cells
 * than headings comes with that fault: a separator that nobody quoted has shifted it. One with fewer leaves the last ones out.
 */
export async function streamCsv(
  bytes: AsyncIterable<Buffer>,
  known: Record<string, readonly string[]>,
  needed: readonly (string | readonly string[])[],
  mostBytes: number,
): Promise<StreamedTable> {
  const text = decoded(bytes, mostBytes)[Symbol.asyncIterator]();
  let head = '';
  for (;;) {
    const next = await text.next();
    if (!next.done) head += next.value;
    if (next.done || /[\r\n]/.test(head.trimStart()) || head.length > 65_536) break;
  }
  const first = head.trimStart().split(/\r\n|\n|\r/, 1)[0] ?? '';
  if (first.trim() === '') throw new UsherError('invalid_syntax', 'The file is empty.');
  let headings: string[] = [];
  let width = 0;
  const parser = parseStream({
    bom: true,
    delimiter: delimiterOf(first),
    trim: true,
    skip_empty_lines: true,
    relax_column_count: true,
    max_record_size: 100_000,
    info: true,
    columns: (line: string[]) => {
      headings = line;
      const names = columnsOf(line, known, needed);
      width = new Set(names).size;
      return names;
    },
  });
  async function* whole(): AsyncGenerator<string> {
    yield head;
    yield* { [Symbol.asyncIterator]: () => text };
  }
  // What fails before the parser reaches whoever reads it as the parser's own failure.
  pipeline(Readable.from(whole()), parser, () => undefined);
  const iterator = parser[Symbol.asyncIterator]() as AsyncIterator<Streamed>;
  let ahead: IteratorResult<Streamed>;
  try {
    ahead = await iterator.next();
  } catch (error) {
    throw unreadable(error);
  }
  async function* rows(): AsyncGenerator<CsvRow> {
    try {
      for (let next = ahead; !next.done; next = await iterator.next()) {
        const { record, info } = next.value;
        const isShifted = info.error !== undefined && Object.keys(record).length >= width;
        yield {
          line: info.lines,
          values: record,
          ...(isShifted
            ? {
                fault:
                  'has more cells than the first line has headings; put quotes around a cell that holds a separator',
              }
            : {}),
        };
      }
    } catch (error) {
      throw unreadable(error);
    }
  }
  return { headings, rows: rows() };
}

async function* decoded(bytes: AsyncIterable<Buffer>, mostBytes: number): AsyncGenerator<string> {
  let decoder: InstanceType<typeof TextDecoder> | null = null;
  let total = 0;
  const decode = (part: Buffer | undefined): string => {
    const text = decodedBy(decoder, part);
    // A workbook, a picture, UTF-16 without its mark: no text has this character.
    if (text === null || text.includes('\u0000'))
      throw new UsherError(
        'invalid_syntax',
        'The file is no text in UTF-8 or UTF-16. In Excel, save it as «CSV UTF-8 (comma delimited)».',
      );
    return text;
  };
  let held: Buffer = Buffer.alloc(0);
  for await (const piece of unbroken(bytes)) {
    total += piece.length;
    if (total > mostBytes)
      throw new UsherError('payload_too_large', `The file is larger than ${mostBytes} bytes; send it in parts.`);
    // Two bytes tell the encoding.
    const part: Buffer = held.length > 0 ? Buffer.concat([held, piece]) : piece;
    if (!decoder && part.length < 2) {
      held = part;
      continue;
    }
    held = Buffer.alloc(0);
    decoder ??= new TextDecoder(
      part[0] === 0xff && part[1] === 0xfe ? 'utf-16le' : part[0] === 0xfe && part[1] === 0xff ? 'utf-16be' : 'utf-8',
      { fatal: true },
    );
    yield decode(part);
  }
  decoder ??= new TextDecoder('utf-8', { fatal: true });
  if (held.length > 0) yield decode(held);
  yield decode(undefined);
}

function decodedBy(decoder: InstanceType<typeof TextDecoder> | null, part: Buffer | undefined): string | null {
  try {
    return decoder?.decode(part, { stream: part !== undefined }) ?? '';
  } catch {
    return null;
  }
}

/** Whoever goes away in the middle of a table sent none. */
async function* unbroken(bytes: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  try {
    yield* bytes;
  } catch (error) {
    throw new UsherError(
      'invalid_syntax',
      'The file broke off before its end, and nothing of it was taken. Send it again.',
      {
        cause: error,
      },
    );
  }
}

/** RFC 4180; a text that a spreadsheet would take for a formula is led by a quote. */
export function csvLine(cells: readonly string[]): string {
  return `${cells
    .map((cell) => (/^[=+\-@\t\r]/.test(cell) ? `'${cell}` : cell))
    .map((cell) => (/[",\r\n;]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell))
    .join(',')}\r\n`;
}
