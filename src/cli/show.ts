/** What the CLI prints of people: who is Ready, who is not and why, who must act. */
import { table } from './table.ts';

export interface ShownCondition {
  type: string;
  status: string;
  reason: string | null;
  message: string;
  owner: string;
  since: string;
  checkedAt: string | null;
  nextCheckAt: string | null;
}

export interface PersonShown {
  personId: string;
  source: string;
  userName: string;
  displayName: string | null;
  email: string | null;
  lifecycle: string;
  ready: boolean;
  conditions: ShownCondition[];
}

/** The first condition that is not true and is not merely waiting for another: the one that somebody can do something about. */
function blocking(person: PersonShown): ShownCondition | undefined {
  const open = person.conditions.filter((condition) => condition.status !== 'true');
  return (
    open.find((condition) => !condition.reason?.startsWith('needs_') && condition.reason !== 'not_checked_yet') ??
    open[0]
  );
}

const ownerWords: Record<string, string> = {
  exchange_admin: 'Exchange admin',
  idp_admin: 'identity provider admin',
  account_administrator: 'account administrator',
  person: 'the person',
  operator: 'operator',
  nobody: 'nobody',
};

export function peopleTable(people: PersonShown[]): string {
  const rows = people.map((person) => {
    const name = person.displayName ?? person.userName;
    if (person.lifecycle !== 'wanted')
      return [name, person.source, person.lifecycle, '-', '-', lifecycleWords[person.lifecycle] ?? ''];
    if (person.ready) return [name, person.source, 'Ready', '-', '-', 'bookable'];
    const condition = blocking(person);
    return [
      name,
      person.source,
      'not yet',
      condition?.reason ?? condition?.type ?? '?',
      ownerWords[condition?.owner ?? ''] ?? '?',
      condition?.message ?? '',
    ];
  });
  return table(['Name', 'Source', 'State', 'Reason', 'Who acts', 'What next'], rows);
}

const lifecycleWords: Record<string, string> = {
  suspended: 'left: pages handed over, seat freed',
  leaving: 'leaves: taken back step by step, after the hold («usher tasks» for what needs a hand)',
  held: 'leaves, held back by the brake or kept by a decision («usher runs»)',
  gone: 'left: nothing of this person is in the account through us',
  out_of_scope: 'no rule of the policy gives this person anything',
};

export function personCard(person: PersonShown): string {
  const lines = [
    `${person.displayName ?? person.userName}  <${person.email ?? 'no address'}>`,
    `${person.personId}  source ${person.source}, ${person.lifecycle}${person.ready ? ', Ready' : ''}`,
    '',
  ];
  const rows = person.conditions.map((condition) => [
    condition.type,
    condition.status,
    condition.reason ?? '-',
    ownerWords[condition.owner] ?? condition.owner,
    condition.message,
  ]);
  return [...lines, table(['Condition', 'Status', 'Reason', 'Who acts', 'What is known'], rows)].join('\n');
}

export interface SummaryShown {
  people: number;
  ready: number;
  lifecycles: Record<string, number>;
  conditions: Record<string, { true: number; false: Record<string, number>; unknown: Record<string, number> }>;
  licenses: Record<string, { bought: number | null; assigned: number; waiting: number }>;
}

export function summaryText(summary: SummaryShown): string {
  const lines = [`${summary.ready} of ${summary.people} people are Ready.`];
  const others = Object.entries(summary.lifecycles).filter(([lifecycle, count]) => lifecycle !== 'wanted' && count > 0);
  if (others.length > 0)
    lines.push(
      `Beside them: ${others.map(([lifecycle, count]) => `${count} ${lifecycle.replace('_', ' ')}`).join(', ')}.`,
    );
  const rows = Object.entries(summary.conditions).map(([type, counts]) => {
    const why = [...Object.entries(counts.false), ...Object.entries(counts.unknown)].map(
      ([reason, count]) => `${count} ${reason}`,
    );
    return [type, String(counts.true), why.join(', ') || '-'];
  });
  lines.push('', table(['Condition', 'True', 'Not true, by reason'], rows));
  for (const [kind, counts] of Object.entries(summary.licenses)) {
    lines.push(
      '',
      `Seats «${kind}»: ${counts.assigned} of ${counts.bought ?? 'unlimited'} assigned, ${counts.waiting} waiting.`,
    );
  }
  return lines.join('\n');
}

export function progressLine(summary: SummaryShown): string {
  const parts = Object.entries(summary.conditions).map(([type, counts]) => `${type} ${counts.true}`);
  return `${parts.join('   ')}   Ready ${summary.ready} of ${summary.people}`;
}

export interface PolicyDiffShown {
  version: string;
  people: number;
  gives: number;
  takes: number;
  items: { userName: string; effect: 'gives' | 'takes'; what: string[] }[];
}

export function policyDiffText({ people, gives, takes, items }: PolicyDiffShown): string {
  if (gives + takes === 0) return `Nothing changes for any of ${people} people.`;
  return [
    `Of ${people} people, ${gives} would be given something at the next start, and ${takes} would lose something: those wait for approval («usher runs»).`,
    '',
    table(
      ['Who', 'Effect', 'What'],
      items.map((item) => [item.userName, item.effect === 'takes' ? 'loses, waits' : 'is given', item.what.join('; ')]),
    ),
    ...(items.length < gives + takes
      ? [`… and ${gives + takes - items.length} more: --json shows the first thousand.`]
      : []),
  ].join('\n');
}

export interface RunShown {
  runId: string;
  kind: string;
  state: string;
  source: string | null;
  expiresAt: string | null;
  removals: { userName: string; displayName: string | null; state: string; cause: string; decidedBy: string | null }[];
}

export interface PlanItemShown {
  userName: string;
  displayName: string | null;
  what: string[];
  state: string;
  decidedBy: string | null;
}

/** One run: who, what, and what became of it. */
export function runText(run: RunShown, plan: PlanItemShown[]): string {
  const rows = [
    ...run.removals.map((one) => [
      one.displayName ?? one.userName,
      one.state,
      one.decidedBy ?? '-',
      `leaves: ${one.cause}`,
    ]),
    ...plan.map((one) => [one.displayName ?? one.userName, one.state, one.decidedBy ?? '-', one.what.join('; ')]),
  ];
  return [
    `${run.kind}, ${run.state}${run.expiresAt ? `; what nobody decides is kept at ${run.expiresAt}` : ''}`,
    '',
    rows.length > 0 ? table(['Who', 'State', 'By', 'What'], rows) : 'Nobody waits in it.',
  ].join('\n');
}
