/** Everything in one file while Usher runs, and out of it again: the same people, nobody made twice, and nothing commits that was held before. */
import { mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { contoso } from '../../src/sandbox/contoso.ts';
import { backup, restore } from '../../src/store/backup.ts';
import { migrate } from '../../src/store/migrate.ts';
import { backendNames, freshDatabase } from '../ground/databases.ts';
import { eventually, plainPolicy, scimUser, startUsher, type Usher } from '../ground/usher.ts';

const policy = plainPolicy.replace('leavers:', 'delegation: ignored\nleavers:');

describe.each(backendNames)('a backup, on %s', (backend) => {
  let folder: string;
  let file: string;
  let source: { url: string; drop(): Promise<void> };
  let target: { url: string; drop(): Promise<void> };
  let usher: Usher;
  const rowsOf = async (url: string, text: string) => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    try {
      return (await client.query(text)).rows;
    } finally {
      await client.end();
    }
  };
  const everything = (url: string) =>
    rowsOf(
      url,
      `select (select jsonb_agg(to_jsonb(p) - 'account_lease_until' - 'delegation_lease_until' order by person_id) from people p) as people,
         (select jsonb_agg(to_jsonb(h) order by history_id) from history h) as history, (select jsonb_agg(to_jsonb(u) order by account_user_id) from account_users u) as users,
         (select jsonb_agg(to_jsonb(l) order by account_user_id, kind) from account_licenses l) as licenses, (select jsonb_agg(to_jsonb(o) order by kind) from account_pools o) as pools`,
    );
  const ready = (count: number) =>
    eventually(
      async () => (await usher.api('GET', '/summary')).body.ready,
      (seen) => seen === count,
    );

  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'usher-backup-'));
    file = path.join(folder, 'usher.backup');
    source = await freshDatabase(backend);
    target = await freshDatabase(backend);
    usher = await startUsher({ databaseUrl: source.url, policy });
    await usher.running.makePages(['ann', 'bob', 'line\u2028separator']);
    for (const local of ['ann', 'bob'])
      await usher.scim(
        'POST',
        '/Users',
        scimUser(local, { displayName: `${local} \\. tab\t new\nline \u2028 "quote"` }),
      );
    await ready(2);
  });
  afterAll(async () => {
    await usher.close();
    await source.drop();
    await target.drop();
    await rm(folder, { recursive: true, force: true });
  });

  test('is made while Usher runs, of every table of ours, readable by its owner only', async () => {
    const report = await backup(source.url, file);
    expect(report.rows).toMatchObject({ people: 2, account_pages: 3 });
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    const tables = await rowsOf(
      source.url,
      `select relname from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'public' and relkind = 'r' and relname not like 'kysely%' and relname not like 'bullmq%'`,
    );
    expect(Object.keys(report.rows).sort()).toEqual(tables.map((row: { relname: string }) => row.relname).sort());
    expect(
      gunzipSync(await readFile(file))
        .toString()
        .split('\n')[0],
    ).toContain('"format":"usher-backup"');
  });

  test('is refused where people are, while Usher runs, and when it is broken; and nothing changes', async () => {
    await expect(restore(source.url, file, true)).rejects.toMatchObject({ code: 'account_refused' });
    await migrate(target.url);
    const cut = path.join(folder, 'cut.backup');
    await writeFile(cut, await readFile(file));
    await truncate(cut, (await stat(cut)).size - 40);
    await expect(restore(target.url, cut, false)).rejects.toMatchObject({ code: 'invalid_value' });
    await writeFile(cut, 'no backup at all');
    await expect(restore(target.url, cut, false)).rejects.toMatchObject({ code: 'invalid_value' });
    expect(await rowsOf(target.url, 'select count(*)::int as people from people')).toEqual([{ people: 0 }]);
  });

  test('restored, all is there as it was, and goes on: nobody is made twice, and an old fence commits nothing', async () => {
    const before = await everything(source.url);
    await restore(target.url, file, false);
    expect(await everything(target.url)).toEqual(before);
    await expect(restore(target.url, file, false)).rejects.toMatchObject({ code: 'account_refused' });
    await usher.close();
    // The world went on after the backup: somebody came, who is pushed again.
    usher = await startUsher({ databaseUrl: target.url, policy });
    await usher.scim('POST', '/Users', scimUser('cyd'));
    await usher.scim('PATCH', `/Users/${(await usher.scim('GET', '/Users')).body.Resources[0].id}`, {
      schemas: ['urn:ietf:params:scim:api:messages:2.0:PatchOp'],
      Operations: [{ op: 'replace', path: 'displayName', value: 'Renamed' }],
    });
    await eventually(
      async () => (await rowsOf(target.url, 'select count(*)::int as users from account_users'))[0].users,
      (users) => users === 4,
    );
    const [{ epoch }] = await eventually(
      () =>
        rowsOf(
          target.url,
          `select min(account_fence)::bigint as fence, (select value::bigint from facts where key = 'fence_epoch') as epoch from people where display_name = 'Renamed'`,
        ),
      // The next claim stands above whatever was held when the backup was made.
      ([row]) => Number(row?.fence) > Number(row?.epoch),
    );
    expect(Number(epoch)).toBeGreaterThan(Date.now() / 1000 - 3600);
    const { founder } = contoso;
    expect(
      await rowsOf(target.url, `select count(*)::int as of from account_users where email = '${founder}'`),
    ).toEqual([{ of: 1 }]);
  });
});
