/** The contract of scheduling accounts, on every adapter there is. */
import { openAccountGround } from '../ground/account.ts';
import { backendNames } from '../ground/databases.ts';
import { describeSchedulingAccount } from './scheduling-account.ts';

for (const backend of backendNames) {
  describeSchedulingAccount(
    `built-in, on ${backend}`,
    {
      modes: {
        'create-user': 'automatic',
        'check-delegation': 'automatic',
        'assign-license': 'automatic',
        'assign-booking-pages': 'automatic',
        offboard: 'automatic',
      },
      suppressesInvitations: true,
      setsTimeZones: true,
      exchangesEmails: true,
      suspends: true,
      createsPages: true,
      keepsWaitingList: true,
      knowsPools: true,
    },
    () => openAccountGround(backend, { 'scheduled-meetings': 3, engagement: 1 }),
  );
}
