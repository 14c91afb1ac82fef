/** Tables that people make in a spreadsheet: RFC 4180, with a BOM, semicolons or tabs where their country's settings put them, headings in any order and case. */
import { CsvError, parse } from 'csv-parse/sync';
import { UsherError } from './errors.ts';

export interface CsvRow {
  line: number;
  values: Record<string, string>;
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
  const delimiter = [',', ';', '\t'].sort((a, b) => first.split(b).length - first.split(a).length)[0] ?? ',';
  const meant = (heading: string): string => {
    const plain = heading.toLowerCase().replace(/[\s_-]/g, '');
    const found = Object.entries(known).find(
      ([name, others]) => name.toLowerCase() === plain || others.includes(plain),
    );
    return found?.[0] ?? `?${heading}`;
  };
  const columns = (headings: string[]): string[] => {
    const names = headings.map(meant);
    const absent = needed.filter((name) => !names.includes(name));
    if (absent.length > 0)
      throw new UsherError(
        'invalid_syntax',
        `The CSV has no column ${absent.join(', ')}; its first line says ${headings.slice(0, 20).join(', ').slice(0, 300)}. Known: ${Object.keys(known).join(', ')}.`,
      );
    const twice = names.find((name, index) => names.indexOf(name) < index && !name.startsWith('?'));
    if (twice) throw new UsherError('invalid_syntax', `The CSV has the column ${twice} twice.`);
    return names;
  };
  try {
    const rows = parse(text, {
      bom: true,
      delimiter,
      trim: true,
      skip_empty_lines: true,
      to: most + 1,
      columns,
      info: true,
    }) as unknown as { record: Record<string, string>; info: { lines: number } }[];
    if (rows.length > most) throw new UsherError('too_many', `The CSV has more than ${most} rows; send it in parts.`);
    return rows.map(({ record, info }) => ({ line: info.lines, values: record }));
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    throw new UsherError('invalid_syntax', `The CSV can not be read: ${error.message}`, { cause: error });
  }
}
