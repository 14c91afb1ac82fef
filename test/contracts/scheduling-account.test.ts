/** The contract of scheduling accounts, on every adapter there is. */
import { builtinSteps } from '../../src/account/builtin.ts';
import { oncehubCapabilities } from '../../src/oncehub/capabilities.ts';
import { openAccountGround } from '../ground/account.ts';
import { backendNames } from '../ground/databases.ts';
import { openOnceHubGround } from '../ground/oncehub.ts';
import { describeSchedulingAccount } from './scheduling-account.ts';

for (const backend of backendNames) {
  describeSchedulingAccount(
    `built-in, on ${backend}`,
    {
      steps: builtinSteps,
      namesInParts: false,
      changesEmails: true,
      hasTeams: false,
      blocksSignIn: true,
      deletesUsers: true,
      makesPageForNewUser: false,
      suppressesInvitations: true,
      setsTimeZones: true,
      exchangesEmails: true,
      suspends: true,
      createsPages: true,
      keepsWaitingList: true,
      knowsPools: true,
      keepsEffects: true,
    },
    () => openAccountGround(backend, { 'scheduled-meetings': 3, engagement: 1 }),
  );
  describeSchedulingAccount(`OnceHub, on ${backend}`, oncehubCapabilities, async () => {
    const ground = await openOnceHubGround(backend);
    // The founder's own seat, as the ledger has it.
    const { personId, fence } = await ground.person();
    await ground.account.noteSeat(
      {
        accountUserId: ground.founderId,
        kind: 'scheduled-meetings',
        personId,
        rule: 'by hand',
        held: true,
        evidence: 'seen',
      },
      fence,
    );
    return ground;
  });
}
