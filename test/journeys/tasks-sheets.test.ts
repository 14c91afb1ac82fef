/** Sheets of hundreds: out through a pipe, edited as spreadsheets do, and in again, at once and twice. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { contoso } from '../../src/sandbox/contoso.ts';
import { adminToken, call, eventually, scimUser, startProcess, startUsher, type Usher } from '../ground/usher.ts';

const count = 400;
const policy = `
account: { kind: oncehub, pools: { scheduled-meetings: 1000 }, nativeProvisioning: off }
delegation: ignored
sources: [{ name: scim, kind: scim, domains: [${contoso.domain}] }]
rules: [{ name: Everybody, when: { domain: ${contoso.domain} } }]
`;

let usher: Usher;
let folder: string;
let database: pg.Client;
let taskIds: string[];
beforeAll(async () => {
  usher = await startUsher({ policy, oncehub: { makesPages: false, limits: null, userLimit: 5000 } });
  folder = await mkdtemp(path.join(tmpdir(), 'usher-sheets-'));
  database = new pg.Client({ connectionString: usher.databaseUrl });
  await database.connect();
  // Four who are really there, and many rows beside them, as if hundreds had been asked for.
  for (const local of ['ann.one', 'bob.two', 'cyd.three', 'dan.four']) {
    const [givenName, familyName] = local.split('.');
    await usher.scim('POST', '/Users', scimUser(local, { name: { givenName, familyName } }));
  }
  await eventually(
    async () => (await usher.api('GET', '/tasks')).body.total,
    (total) => total === 4,
  );
  await database.query(
    `with p as (insert into people (person_id, lifecycle, wish, conditions, source, user_name, active)
       select gen_random_uuid(), 'out_of_scope', null, '{}', 'scim', 'sheet' || n, true from generate_series(1, ${count}) n returning person_id, user_name)
     insert into tasks (task_id, person_id, step, kind, role, state, who, title, instructions, wants, due_at)
     select gen_random_uuid(), person_id, 'assign-license', 'assign_seat', 'account_administrator', 'open', user_name, 'Assign ' || user_name,
       array[repeat('what to do, ', 40)], '{"seats":[],"pages":[],"email":null,"heir":null,"bookings":[],"saidBefore":null}', now() + interval '1 day' from p`,
  );
  taskIds = (
    await database.query<{ task_id: string }>(`select task_id from tasks where who like 'sheet%' order by person_id`)
  ).rows.map((row) => row.task_id);
});
afterAll(async () => {
  await database.end();
  await usher.close();
  await rm(folder, { recursive: true, force: true });
});

const cli = async (...args: string[]) => {
  const run = startProcess(args, { USHER_PUBLIC_URL: usher.address, USHER_ADMIN_TOKEN: adminToken });
  const code = await run.exited;
  return { code, output: run.output() };
};
const sheet = (csv: string) =>
  call(`${usher.address}/api/v1/tasks/done`, 'POST', csv, {
    authorization: `Bearer ${adminToken}`,
    'content-type': 'text/csv',
  });

test('a sheet of hundreds comes whole through a pipe, with its byte order mark', async () => {
  const { code, output } = await cli('tasks', '--csv');
  expect(code).toBe(0);
  expect(output.length).toBeGreaterThan(200_000);
  expect(output.startsWith('\uFEFFtaskId,')).toBe(true);
  expect(output.trimEnd().split('\r\n')).toHaveLength(count + 4 + 1);
});

test('many sheets at once, over each other, are taken whole, each row', async () => {
  const parts = Array.from({ length: 8 }, (_one, part) =>
    taskIds.filter((_id, index) => index % 8 === part || index % 8 === (part + 1) % 8),
  );
  const answers = await Promise.all(
    parts.map((part, index) =>
      sheet(['taskId,done,doneBy', ...part.map((id, row) => `${id},yes,Name ${index}.${row % 2}`)].join('\n')),
    ),
  );
  expect(answers.map((answer) => answer.status)).toEqual(Array(8).fill(200));
  const { rows } = await database.query(
    `select count(*) from tasks where said_at is null and state = 'open' and who like 'sheet%'`,
  );
  expect(Number(rows[0].count)).toBe(0);
});

test('as spreadsheets save it: cells dropped at the end, empty rows, UTF-16 with tabs, another code page, their own word for yes', async () => {
  const [one, two, three] = taskIds;
  expect((await sheet(`taskId;kind;done;doneBy;note\n${one};assign_seat;WAHR\n${two};;;;\n;;;;\n`)).body).toMatchObject(
    {
      said: 1,
    },
  );
  const utf16 = path.join(folder, 'utf16.txt');
  await writeFile(utf16, Buffer.from(`\uFEFFtaskId\tdone\tdone by\r\n${two}\tja\tJörg\r\n`, 'utf16le'));
  expect((await cli('tasks', '--done', utf16)).code).toBe(0);
  const ansi = path.join(folder, 'ansi.csv');
  await writeFile(ansi, Buffer.from(`taskId;done;done by\r\n${three};x;J\u00f6rg\r\n`, 'latin1'));
  expect((await cli('tasks', '--done', ansi)).code).toBe(0);
  const { rows } = await database.query('select said_by from tasks where task_id = any ($1::uuid[])', [[two, three]]);
  expect(rows).toEqual([{ said_by: 'Jörg' }, { said_by: 'Jörg' }]);
});

test('what can not be taken says so, and takes nothing', async () => {
  const missing = await cli('tasks', '--done', path.join(folder, 'absent.csv'));
  expect(missing).toMatchObject({ code: 1, output: expect.stringContaining('there is no such file') });
  const empty = path.join(folder, 'empty.csv');
  await writeFile(empty, `taskId,done\n${taskIds[0]},\n`);
  expect(await cli('tasks', '--done', empty)).toMatchObject({
    code: 3,
    output: expect.stringContaining('write yes into the column «done»'),
  });
  const quote = await sheet(`taskId,done\n${taskIds[0]},y"es\n`);
  expect(quote).toMatchObject({ status: 400, body: { code: 'invalid_syntax' } });
  const long = await sheet(`taskId,done,doneBy\n${taskIds[0]},yes,${'x'.repeat(201)}\n`);
  expect(long.body.detail).toContain('line 2: doneBy');
});
