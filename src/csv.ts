/** Tables that people make in a spreadsheet: RFC 4180, with a BOM, semicolons or tabs where their country's settings put them, headings in any order and case. */
import { CsvError, parse } from 'csv-parse/sync';
import { UsherError } from './errors.ts';

export interface CsvRow {
  line: number;
  values: Record<string, string>;
}

/** `known`: heading as it is meant → the other ways it is written, all in lower case without spaces. Throws `invalid_syntax` with the line. */
export function readCsv(text: string, known: Record<string, readonly string[]>): CsvRow[] {
  const first = text.replace(/^\uFEFF/, '').split(/\r\n|\n|\r/, 1)[0] ?? '';
  const delimiter = [',', ';', '\t'].sort((a, b) => first.split(b).length - first.split(a).length)[0] ?? ',';
  const meant = (heading: string): string => {
    const plain = heading.toLowerCase().replace(/[\s_-]/g, '');
    return (
      Object.entries(known).find(([name, others]) => name.toLowerCase() === plain || others.includes(plain))?.[0] ??
      heading
    );
  };
  try {
    const rows = parse(text, {
      bom: true,
      delimiter,
      trim: true,
      skip_empty_lines: true,
      columns: (headings: string[]) => headings.map(meant),
      info: true,
    }) as unknown as { record: Record<string, string>; info: { lines: number } }[];
    return rows.map(({ record, info }) => ({ line: info.lines, values: record }));
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    throw new UsherError('invalid_syntax', `The CSV can not be read: ${error.message}`, { cause: error });
  }
}
