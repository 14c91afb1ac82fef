/**
 * `usher completion SHELL` prints a script for bash (with its package bash-completion), zsh, fish or PowerShell; what the script asks while one types is
 * the hidden command `complete`. Both come from @bomb.sh/tab, which tells the shell that no argument is a file: the names of files are added here.
 */
import { readdirSync } from 'node:fs';
import path from 'node:path';
import tab from '@bomb.sh/tab/commander';
import type { Command } from 'commander';

/** After every other command is known. `typed`: the words of the command line, the last of them begun. */
export function addCompletion(program: Command, typed: string[]): void {
  const completions = tab(program, { completionCommandName: 'completion' });
  for (const { arguments: asked } of completions.commands.values()) {
    const file = asked.get('file');
    if (file)
      file.handler = (complete) => {
        for (const name of filesFrom(typed.at(-1) ?? '')) complete(name, '');
      };
  }
  program.commands
    .find((command) => command.name() === 'completion')
    ?.description('a script that completes commands and options in bash, zsh, fish or PowerShell');
}

function filesFrom(begun: string): string[] {
  const folder = begun.slice(0, begun.lastIndexOf('/') + 1);
  try {
    return readdirSync(path.resolve(folder), { withFileTypes: true })
      .filter((entry) => !entry.name.startsWith('.'))
      .map((entry) => `${folder}${entry.name}${entry.isDirectory() ? '/' : ''}`);
  } catch {
    return []; // No such folder: nothing to offer.
  }
}
