/** What the person can do about their own calendar, where no Exchange admin does it for everybody. */
export interface DelegationHelp {
  title: string;
  steps: string[];
}

export function delegationHelp(dedicatedMailbox: string): DelegationHelp[] {
  return [
    {
      title: 'Outlook on the web (Microsoft 365)',
      steps: [
        'Open outlook.office.com, go to the calendar, and choose Settings (the cog), Calendar, Shared calendars.',
        'Under «Share a calendar» choose your own primary calendar, the one called Calendar.',
        `Enter ${dedicatedMailbox} and choose «Delegate».`,
        'Leave «Let delegate view private events» as your organisation wants it, and choose Share.',
        'Choose to receive meeting invitations yourself as well: «Both my delegate and me».',
      ],
    },
    {
      title: 'Outlook for Windows (classic)',
      steps: [
        'Choose File, Account Settings, Delegate Access, Add.',
        `Find ${dedicatedMailbox}, add it, and choose OK.`,
        'Under Calendar choose «Editor (can read, create, and modify items)».',
        'Leave «Delegate receives copies of meeting-related messages sent to me» unticked unless your organisation wants it, and choose OK.',
        'Under «Deliver meeting requests» choose «My delegates and me».',
      ],
    },
    {
      title: 'Outlook for Mac and the new Outlook',
      steps: [
        'Open the calendar, choose Share (or Calendar Permissions) for your primary calendar.',
        `Add ${dedicatedMailbox} and choose the permission «Delegate».`,
        'Choose Done. If «Delegate» is not offered, use Outlook on the web.',
      ],
    },
  ];
}
