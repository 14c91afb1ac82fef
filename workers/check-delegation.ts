/** Is the primary calendar delegated to the dedicated mailbox? This step looks; it grants only where the policy switches that on. */
import { decideDelegation, mayGrant } from '../src/domain/delegation.ts';
import type { StepContext, StepDefinition, StepOutcome } from './step.ts';

export const checkDelegation: StepDefinition = { step: 'check-delegation', condition: 'Delegation', run };

async function run(context: StepContext): Promise<StepOutcome> {
  const { person, calendars, policy, now, plan, did } = context;
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
  let verdict = decideDelegation(reading, dedicated, who);
  const key = reading.kind === 'grants' ? reading.readBy : null;
  if (key && mayGrant(policy.assistedGrant, keys, verdict.reason)) {
    if (plan)
      return { verdict, did, would: [`make ${policy.dedicatedMailbox} a delegate of the calendar of ${who} by Graph`] };
    const addresses = dedicated.kind === 'known' ? dedicated.addresses : [policy.dedicatedMailbox];
    const answer = await calendars.grantDelegation(key, policy.dedicatedMailbox, addresses);
    const before = verdict;
    // What Graph says is one thing, what the calendar shows is the other.
    verdict = decideDelegation(await calendars.readDelegation([key]), dedicated, who);
    if (verdict.status === 'true')
      did.push({
        action: 'delegation.granted',
        before: { reason: before.reason },
        after: { mailbox: key, to: policy.dedicatedMailbox },
      });
    else
      verdict = {
        ...verdict,
        message:
          answer === 'accepted'
            ? `Graph accepted the grant for ${who}, and the calendar does not show it. ${verdict.message}`
            : `Graph refused the grant for ${who}. ${verdict.message}`,
      };
  }
  return {
    verdict: {
      ...verdict,
      evidence: { ...verdict.evidence, readAt: now.toISOString(), dedicatedMailbox: policy.dedicatedMailbox },
    },
    did,
  };
}

function unknown(reason: 'connection_down', message: string): StepOutcome {
  return { verdict: { status: 'unknown', reason, message }, did: [] };
}
