/** What the console weighs, and that no address of it is unknown to the server. */
import { readdirSync, readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { expect, test } from '@jest/globals';
import { consolePaths } from '../../src/api/console.ts';

const assets = 'dist/console/assets';
const source = (file: string): string => readFileSync(`${assets}/${file}`, 'utf8');
const sizeOf = (file: string): number => gzipSync(readFileSync(`${assets}/${file}`)).length;

/** Everything that a page asks for before it can be used: its own file, and whatever that file imports, and so on. */
function neededBy(file: string, known = new Set<string>()): Set<string> {
  if (known.has(file)) return known;
  known.add(file);
  for (const [, imported] of source(file).matchAll(/(?:from|import)\s*"\.\/([\w.-]+\.js)"/g))
    if (imported) neededBy(imported, known);
  return known;
}

test('no page is over 250 KB, compressed, with everything that it needs', () => {
  const files = readdirSync(assets);
  const pages = readdirSync('src/console/pages').map((name) => name.replace('.tsx', ''));
  const index = files.find((file) => /^index-.*\.js$/.test(file)) ?? '';
  const css = files.filter((file) => file.endsWith('.css')).reduce((sum, file) => sum + sizeOf(file), 0);
  for (const page of pages) {
    const own = files.find((file) => file.startsWith(`${page}-`) && file.endsWith('.js'));
    if (!own) throw new Error(`${page} has no file of its own`);
    const all = neededBy(own, neededBy(index));
    const weight = [...all].reduce((sum, file) => sum + sizeOf(file), css);
    expect([page, weight < 250_000]).toEqual([page, true]);
    expect(weight).toBeGreaterThan(50_000);
  }
});

test('every address of the console is served', () => {
  const app = readFileSync('src/console/app.tsx', 'utf8');
  const routes = [...app.matchAll(/<Route path="([^"]+)"/g)].flatMap(([, path = '']) =>
    path.endsWith('?') ? [path.replace(/\/:\w+\?$/, ''), path.slice(0, -1)] : [path],
  );
  expect([...routes].sort()).toEqual([...consolePaths].sort());
});
