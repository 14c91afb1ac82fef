/** Is the primary calendar delegated to the dedicated mailbox? This step only looks. */
import { decideDelegation } from '../src/domain/delegation.ts';
import type { StepContext, StepDefinition, StepOutcome } from './step.ts';

export const checkDelegation: StepDefinition = { step: 'check-delegation', condition: 'Delegation', run };

async function run({ person, calendars, policy, now }: StepContext): Promise<StepOutcome> {
  const who = person.wish?.displayName ?? person.personId;
  if (!calendars) {
    return unknown(
      'connection_down',
      'No Microsoft 365 tenant is connected, so no calendar can be checked. An operator sets USHER_GRAPH_TENANT_ID, _CLIENT_ID and _CLIENT_SECRET.',
    );
  }
  if (!policy.dedicatedMailbox)
    return unknown(
      'connection_down',
      'The policy names no dedicatedMailbox, so nothing can be checked. An operator adds it.',
    );
  const keys = person.wish?.mailboxKeys ?? [];
  if (keys.length === 0) {
    return {
      verdict: {
        status: 'false',
        reason: 'no_mailbox',
        owner: 'idp_admin',
        message: `The directory gives no address by which ${who}'s mailbox could be found.`,
      },
      did: [],
    };
  }
  const dedicated = await calendars.dedicatedMailbox(policy.dedicatedMailbox);
  const reading = await calendars.readDelegation(keys);
  const verdict = decideDelegation(reading, dedicated, who);
  return {
    verdict: {
      ...verdict,
      evidence: { ...verdict.evidence, readAt: now.toISOString(), dedicatedMailbox: policy.dedicatedMailbox },
    },
    did: [],
  };
}

function unknown(reason: 'connection_down', message: string): StepOutcome {
  return { verdict: { status: 'unknown', reason, message }, did: [] };
}
