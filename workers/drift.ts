/** What was true and is not any more, where the policy says that such a thing is reported and left to people. */
import type { ConditionType, Verdict } from '../src/domain/conditions.ts';
import { type DriftKind, driftMode } from '../src/domain/drift.ts';
import type { StepContext } from './step.ts';

/** True where a step that finds its condition undone must not mend it. */
export function onlyReports(
  { person, conditions, policy }: StepContext,
  type: ConditionType,
  kind: DriftKind,
): boolean {
  const { status, generation, evidence } = conditions[type];
  const stood = status === 'true' || evidence.drift === true;
  return stood && generation === person.generation && driftMode(kind, policy) === 'report';
}

export const reported = (what: string): Verdict => ({
  status: 'false',
  reason: 'awaiting_administrator',
  message: `${what} The policy reports such changes and corrects none (reconcile.drift). An account administrator undoes it, or the directory or the policy follows.`,
  evidence: { drift: true },
});
