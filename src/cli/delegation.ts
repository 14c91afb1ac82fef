/** `usher delegation`: who is not delegated and why, PowerShell for the Exchange admin, look again now. */
import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import type { ApiClient } from './api-client.ts';
import { table } from './table.ts';

interface Report {
  dedicatedMailbox: string | null;
  total: number;
  byReason: Record<string, number>;
  items: { mailbox: string; name: string; reason: string; owner: string; message: string; checkedAt: string }[];
}

export function delegationCommands(program: Command, api: () => Promise<ApiClient>, say: (line: string) => void): void {
  const delegation = program
    .command('delegation')
    .description('whose calendar is not delegated to the dedicated mailbox, and what to do about it');

  delegation
    .command('report')
    .description('who is not delegated, why, and who must act')
    .option('--reason <reason>', 'one reason only, as not_delegated')
    .option('--csv', 'as CSV')
    .option('--json', 'as JSON')
    .action(async (options: { reason?: string; csv?: boolean; json?: boolean }) => {
      const client = await api();
      const query = options.reason ? `reason=${encodeURIComponent(options.reason)}` : '';
      if (options.csv) {
        process.stdout.write(await client.text(`/delegation?format=csv&${query}`));
        return;
      }
      const report = (await client.get(`/delegation?${query}`)) as unknown as Report;
      if (options.json) {
        say(JSON.stringify(report, null, 2));
        return;
      }
      if (report.total === 0) {
        say('Every calendar that is wished is delegated.');
        return;
      }
      say(
        table(
          ['Mailbox', 'Name', 'Reason', 'Who acts', 'What'],
          report.items.map((item) => [item.mailbox, item.name, item.reason, item.owner, item.message]),
        ),
      );
      say('');
      for (const [reason, count] of Object.entries(report.byReason)) say(`${reason}: ${count}`);
      say('«usher delegation script» writes the PowerShell for those whom an Exchange admin can help at once.');
    });

  delegation
    .command('script')
    .description('PowerShell for the Exchange admin; to read before it is run')
    .argument('[who...]', 'only these people; otherwise everybody whose calendar is not delegated')
    .option('--out <file>', 'write it to a file')
    .action(async (who: string[], options: { out?: string }) => {
      const query = who.map((one) => `who=${encodeURIComponent(one)}`).join('&');
      const script = await (await api()).text(`/delegation/script?${query}`);
      if (!options.out) {
        process.stdout.write(script);
        return;
      }
      // With a byte order mark: Windows PowerShell takes a file without one for the local code page.
      await writeFile(options.out, `\uFEFF${script}`);
      say(`${options.out} is written. An Exchange admin reads it, then runs it: powershell -File ${options.out}`);
    });

  delegation
    .command('instructions')
    .description('what a person can do about their own calendar, in Outlook')
    .option('--json', 'as JSON')
    .action(async (options: { json?: boolean }) => {
      const help = (await (await api()).get('/delegation/instructions')) as unknown as {
        dedicatedMailbox: string;
        ways: { title: string; steps: string[] }[];
      };
      if (options.json) say(JSON.stringify(help, null, 2));
      else
        for (const way of help.ways)
          say([way.title, ...way.steps.map((step, index) => `  ${index + 1}. ${step}`), ''].join('\n'));
    });

  delegation
    .command('check')
    .description('look again now, at some people, or at everybody who is not delegated')
    .argument('[who...]', 'only these people')
    .option('--all', 'also those who are delegated')
    .action(async (who: string[], options: { all?: boolean }) => {
      const { checking } = await (await api()).send('POST', '/delegation/check', {
        ...(who.length > 0 ? { who } : {}),
        all: options.all ?? false,
      });
      say(`Looking at ${checking} calendars. «usher delegation report» shows what was found.`);
    });
}
