/** The script that an Exchange admin runs with high rights: it must parse, and no name of a directory may become code in it. */
import { createRequire } from 'node:module';
import { beforeAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { delegationScript, powerShellString } from '../../src/domain/delegation-script.ts';

interface Node {
  type: string;
  text: string;
  isMissing: boolean;
  childCount: number;
  child(index: number): Node | null;
}
let parse: (text: string) => { errors: string[]; commands: string[] };

beforeAll(async () => {
  const require = createRequire(import.meta.url);
  // The grammar that Visual Studio Code highlights and completes PowerShell by.
  const { Parser, Language } = require('@vscode/tree-sitter-wasm');
  await Parser.init();
  const parser = new Parser();
  parser.setLanguage(await Language.load(require.resolve('@vscode/tree-sitter-wasm/wasm/tree-sitter-powershell.wasm')));
  parse = (text) => {
    const found = { errors: [] as string[], commands: [] as string[] };
    const tree = parser.parse(text);
    const walk = (node: Node): void => {
      if (node.type === 'ERROR' || node.isMissing) found.errors.push(node.text);
      if (node.type === 'command_name') found.commands.push(node.text);
      for (let index = 0; index < node.childCount; index++) {
        const child = node.child(index);
        if (child) walk(child);
      }
    };
    walk(tree.rootNode);
    tree.delete();
    return found;
  };
});

const at = new Date('2026-11-22T10:00:00Z');
const script = (name: string, mailbox = 'ana@contoso.com') =>
  delegationScript([{ name, mailbox }], 'scheduling@contoso.com', at);

test('the script is PowerShell without a fault, for nobody, one and many', () => {
  for (const count of [0, 1, 50])
    expect(
      parse(
        delegationScript(
          Array.from({ length: count }, (_one, n) => ({ name: `Person ${n}`, mailbox: `p${n}@contoso.com` })),
          'scheduling@contoso.com',
          at,
        ),
      ).errors,
    ).toEqual([]);
  expect(parse('if ($x { }').errors).not.toEqual([]);
});

test('names that would like to be code stay names', () => {
  const calm = parse(script('Ana')).commands;
  for (const name of [
    "O'Brien",
    "'; Remove-Mailbox ana; '",
    '$(Remove-Mailbox ana)',
    '`"; Remove-Mailbox ana',
    "x'\nRemove-Mailbox ana\n'",
    '\u2019; Remove-Mailbox ana; \u2018',
    "@'\nhere\n'@",
    '#> Remove-Mailbox ana <#',
    'Ο’Μπράιεν 王',
  ])
    expect(parse(script(name, `${name}@contoso.com`))).toEqual({ errors: [], commands: calm });
});

test('whatever the directory says, a text is one line of ASCII between quotes that no quote of it can end', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 60 }), (text) => {
      const literal = powerShellString(text);
      // ASCII alone, so that no code page can make a quote of a letter.
      expect(literal).toMatch(/^[ -~]*$/);
      const inside = /^(?:'(.*)'|\(\[regex\]::Unescape\('(.*)'\)\))$/.exec(literal);
      expect((inside?.[1] ?? inside?.[2] ?? "'").replaceAll("''", '')).not.toContain("'");
    }),
  );
});

test('the folder is found by its type and addressed by its id, what is granted is read back, and it asks first', () => {
  const text = script('Ana');
  expect(text).toContain("FolderType -eq 'Calendar'");
  expect(text).toContain('$folder.FolderId');
  expect(text).not.toContain(':\\Calendar');
  expect(text).toContain("Read-Host -Prompt 'Type yes to go on'");
  expect(text).toContain('SupportsShouldProcess');
});
