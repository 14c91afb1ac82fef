import { describe, expect, test } from '@jest/globals';
import { columnsOf, readCsv, streamCsv } from '../../src/csv.ts';
import { type Cells, mergedFields, readRow, userFromFields } from '../../src/domain/csv-people.ts';
import { peopleColumns } from '../../src/domain/people-columns.ts';
import { now } from '../ground/examples.ts';

const streamed = async (text: string | Buffer, pieces = 7) => {
  const bytes = Buffer.from(text);
  async function* parts() {
    for (let at = 0; at < bytes.length; at += pieces) yield bytes.subarray(at, at + pieces);
  }
  const { rows, headings } = await streamCsv(parts(), peopleColumns, [['userName', 'email']], 1_000_000);
  const read: { line: number; values: Record<string, string> }[] = [];
  for await (const row of rows) read.push(row);
  return { headings, rows: read };
};
const failure = async (text: string | Buffer): Promise<string> =>
  streamed(text).then(
    () => 'read',
    (error: Error) => error.message,
  );

describe('tables of people', () => {
  test('headings are understood in any order and case, as the admin centres export them', () => {
    expect(
      columnsOf(
        ['User principal name', 'Display name', 'Object Id', 'Account enabled', 'PrimarySmtpAddress', 'Vorname', 'Fax'],
        peopleColumns,
        [],
      ),
    ).toEqual(['userName', 'displayName', 'externalId', 'active', 'email', 'givenName', '?Fax']);
  });

  test.each([
    ['commas', 'email,name\na@b.co,Ana\n'],
    ['semicolons and a byte order mark', '\uFEFFemail;name\r\na@b.co;Ana\r\n'],
    ['tabs', 'email\tname\na@b.co\tAna'],
    ['quotes', '"email","name"\n"a@b.co","Ana"\n'],
    ['UTF-16 little endian', Buffer.from('\uFEFFemail;name\r\na@b.co;Ana', 'utf16le')],
    ['UTF-16 big endian', Buffer.from('\uFEFFemail;name\r\na@b.co;Ana', 'utf16le').swap16()],
  ])('are read with %s, wherever the pieces end', async (_how, text) => {
    for (const pieces of [1, 2, 3, 1000])
      expect((await streamed(text, pieces)).rows).toEqual([
        { line: expect.any(Number), values: { email: 'a@b.co', displayName: 'Ana' } },
      ]);
  });

  test('a cell may hold quotes, separators, line ends and letters of any script', async () => {
    const { rows } = await streamed('email,name,title\nα@b.co,"山田, ""花子""\nÅ",x\n');
    expect(rows[0]?.values).toMatchObject({ email: 'α@b.co', displayName: '山田, "花子"\nÅ' });
  });

  test('a row with more cells than headings is a fault of that row; one with fewer leaves the last out', async () => {
    const { rows } = await streamed('email,name,title\na@b.co,Ruiz, Ana,x\nb@b.co,Bob\nc@b.co,Cy,y\n');
    expect(rows.map((row) => [row.values.email, 'fault' in row])).toEqual([
      ['a@b.co', true],
      ['b@b.co', false],
      ['c@b.co', false],
    ]);
    expect(rows[1]?.values).toEqual({ email: 'b@b.co', displayName: 'Bob' });
  });

  test('what is no table of people is refused with what is missing', async () => {
    expect(await failure('')).toContain('empty');
    expect(await failure('foo,bar\n1,2\n')).toMatch(/no column userName or email.*foo, bar/);
    expect(await failure(Buffer.from('email,name\na@b.co,J\xf6rg\n', 'latin1'))).toContain(
      'no text in UTF-8 or UTF-16',
    );
    expect(await failure('email,name\n"a@b.co,Ana\n')).toContain('can not be read');
    expect(() => readCsv('a,b\n1,2', { linkName: [] }, ['linkName'], 10)).toThrow('no column linkName');
    expect(() => readCsv('linkName\na\nb\nc', { linkName: [] }, ['linkName'], 2)).toThrow('more than 2 rows');
  });
});

describe('a row', () => {
  const faultsOf = (cells: Cells) => readRow(cells).faults.map(({ column, suggestion }) => [column, suggestion]);
  test.each<[Cells, unknown[]]>([
    [{ email: 'ana@contoso.com' }, []],
    [{ userName: 'ana' }, []],
    [{}, [['userName', null]]],
    [{ email: 'ana@contoso,com' }, [['email', 'ana@contoso.com']]],
    [{ email: 'ana @contoso.com' }, [['email', 'ana@contoso.com']]],
    [{ email: 'ana(at)contoso.com' }, [['email', 'ana@contoso.com']]],
    [{ email: 'ana@contoso' }, [['email', null]]],
    [{ userName: 'ana@@contoso.com' }, [['userName', 'ana@contoso.com']]],
    [{ email: 'ana@contoso.com', active: 'maybe' }, [['active', null]]],
    [{ email: 'ana@contoso.com', active: 'flase' }, [['active', null]]],
    [{ email: 'ana@contoso.com', role: 'Admin' }, [['role', 'Administrator']]],
    [{ email: 'ana@contoso.com', timeZone: 'Berlin' }, [['timeZone', null]]],
    [{ email: 'ana@contoso.com', displayName: 'J\ufffdrg' }, [['displayName', null]]],
    [{ email: 'ana@contoso.com', displayName: 'x'.repeat(321) }, [['displayName', null]]],
  ])('%j has the faults %j', (cells, faults) => {
    expect(faultsOf(cells)).toEqual(faults);
  });

  test('says only what its cells say: an empty cell or an absent column leaves what is there', () => {
    const { fields } = readRow({ email: 'ana@contoso.com', department: '', active: 'nein', licenses: 'a; b|c' });
    expect(fields).toEqual({
      userName: 'ana@contoso.com',
      email: 'ana@contoso.com',
      active: false,
      licenses: ['a', 'b', 'c'],
    });
    const merged = mergedFields({ userName: 'ana@contoso.com', department: 'Sales', title: 'Advisor' }, fields);
    expect(merged).toMatchObject({ department: 'Sales', title: 'Advisor', active: false });
    expect(userFromFields(merged, { source: 'csv', resourceId: 'r', activeSince: now })).toMatchObject({
      department: 'Sales',
      active: false,
      addresses: ['ana@contoso.com'],
      asked: { licenses: ['a', 'b', 'c'] },
    });
  });
});
