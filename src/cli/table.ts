/** Tables that fit the terminal: the last column gives way first. Width counts what a terminal shows, not UTF-16 units. */

export function table(
  head: string[],
  rows: string[][],
  width = process.stdout.columns ?? Number.POSITIVE_INFINITY,
): string {
  // What a directory says must not steer the operator's terminal: no control, no direction characters.
  rows = rows.map((row) => row.map((cell) => cell.replace(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu, '�')));
  const widths = head.map((title, column) =>
    Math.max(columnsOf(title), ...rows.map((row) => columnsOf(row[column] ?? ''))),
  );
  const last = widths.length - 1;
  const before = widths.slice(0, last).reduce((sum, each) => sum + each + 2, 0);
  widths[last] = Math.max(20, Math.min(widths[last] ?? 0, width - before - 1));
  const line = (row: string[]) =>
    row
      .map((cell, column) => pad(cut(cell, widths[column] ?? 0), column === last ? 0 : (widths[column] ?? 0)))
      .join('  ')
      .trimEnd();
  return [line(head), widths.map((each) => '─'.repeat(each)).join('  '), ...rows.map(line)].join('\n');
}

const segmenter = new Intl.Segmenter();

/** East Asian wide characters take two columns; combining marks belong to their letter. */
function columnsOf(text: string): number {
  let columns = 0;
  for (const { segment } of segmenter.segment(text))
    columns += /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]/.test(
      segment,
    )
      ? 2
      : 1;
  return columns;
}

const pad = (text: string, width: number): string => text + ' '.repeat(Math.max(0, width - columnsOf(text)));

function cut(text: string, width: number): string {
  if (columnsOf(text) <= width) return text;
  let result = '';
  for (const { segment } of segmenter.segment(text)) {
    if (columnsOf(result + segment) > width - 1) break;
    result += segment;
  }
  return `${result}…`;
}
