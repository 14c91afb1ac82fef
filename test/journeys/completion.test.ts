/** Completion as bash does it: the printed script in a real shell, with the one function it takes from the package bash-completion. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

const run = promisify(execFile);
const command = path.resolve('dist/src/cli/main.js');
let folder = '';

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'usher-completion-'));
  await writeFile(path.join(folder, 'people.csv'), 'userName\n');
});
afterAll(() => rm(folder, { recursive: true }));

async function offered(words: string[]): Promise<string[]> {
  const script = `
    usher() { '${process.execPath}' '${command}' "$@"; }
    _get_comp_words_by_ref() { words=("\${COMP_WORDS[@]}"); cword=$COMP_CWORD; cur="\${COMP_WORDS[COMP_CWORD]}"; prev="\${COMP_WORDS[COMP_CWORD-1]}"; }
    source <(usher completion bash)
    COMP_WORDS=(usher ${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length}
    $(complete -p usher | sed 's/.*-F \\([^ ]*\\).*/\\1/') 2>/dev/null
    printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout } = await run('bash', ['-c', script], { cwd: folder });
  return stdout.split('\n').filter(Boolean);
}

describe('usher completion bash', () => {
  test('commands, the commands of a command, options and files are offered', async () => {
    expect(await offered(['rec'])).toEqual(['reconcile']);
    expect(await offered(['token', ''])).toEqual(expect.arrayContaining(['create', 'list', 'revoke']));
    expect(await offered(['reconcile', '--a'])).toEqual(['--apply']);
    expect(await offered(['onboard', 'peo'])).toEqual(['people.csv']);
    expect(await offered(['offboard', ''])).toEqual([]);
  });

  test('a shell that has no script is refused with those that have one', async () => {
    await expect(run(process.execPath, [command, 'completion', 'tcsh'])).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringContaining('zsh, bash, fish, powershell'),
    });
  });
});
