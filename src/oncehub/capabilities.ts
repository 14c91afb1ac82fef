/**
 * What the public API v2 can do, by step (help.oncehub.com, OpenAPI description of August 2026). A new endpoint changes its row here, and the one function
 * of `account.ts` that acts: `claimSeat` for a seat, `assignPage` for an owner.
 */
import type { AccountCapabilities } from '../ports.ts';

export const oncehubCapabilities: AccountCapabilities = {
  steps: {
    'create-user': {
      mode: 'automatic',
      how: 'finds by e-mail, then adopts or makes the user; changes name, role and teams. OnceHub always sends its invitation. A change of the e-mail address is a task.',
      evidence: 'the user as OnceHub shows it',
    },
    'check-delegation': {
      mode: 'automatic',
      how: 'reads the permissions of the primary calendar by Microsoft Graph',
      evidence: 'the calendar names the dedicated mailbox as delegate',
    },
    'assign-license': {
      mode: 'task',
      how: 'no call assigns a seat: an account administrator is asked to, one worksheet row a person',
      evidence:
        'an active Booking page that the user owns, or time slots of a booking calendar of theirs; where neither is there, a named person’s word for 30 days',
    },
    'assign-booking-pages': {
      mode: 'task',
      how: 'no call changes a Booking page: an account administrator is asked to hand it over and enable it',
      evidence: 'the list of Booking pages by owner shows it, active',
    },
    offboard: {
      mode: 'task',
      how: 'asks for the pages to be handed over, then for the seat; OnceHub has no suspension, and a deletion, which can not be undone, is done only where the policy says so',
      evidence:
        'the list of Booking pages by owner is empty; for the seat a 402 of its time slots, or a named person’s word',
    },
  },
  namesInParts: true,
  changesEmails: false,
  hasTeams: true,
  blocksSignIn: false,
  deletesUsers: true,
  suppressesInvitations: false,
  setsTimeZones: false,
  exchangesEmails: false,
  suspends: false,
  createsPages: false,
  makesPageForNewUser: true,
  keepsWaitingList: true,
  knowsPools: false,
  keepsEffects: false,
};
