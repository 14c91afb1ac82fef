/** What the person can do about their own calendar, where no Exchange admin does it for everybody. */
export interface DelegationHelp {
  title: string;
  steps: string[];
}

export const helpLanguages = ['en', 'de'] as const;

/** With the names of menus as Outlook writes them in that language. */
export function delegationHelp(
  dedicatedMailbox: string,
  language: (typeof helpLanguages)[number] = 'en',
): DelegationHelp[] {
  return language === 'de' ? inGerman(dedicatedMailbox) : inEnglish(dedicatedMailbox);
}

function inGerman(dedicatedMailbox: string): DelegationHelp[] {
  return [
    {
      title: 'Outlook im Web (Microsoft 365)',
      steps: [
        'Öffnen Sie outlook.office.com, gehen Sie zum Kalender und wählen Sie Einstellungen (das Zahnrad), Kalender, Freigegebene Kalender.',
        'Wählen Sie unter «Kalender freigeben» Ihren eigenen Hauptkalender, der «Kalender» heißt.',
        `Geben Sie ${dedicatedMailbox} ein und wählen Sie «Stellvertretung».`,
        'Lassen Sie «Stellvertretung kann private Ereignisse anzeigen», wie Ihre Organisation es will, und wählen Sie Freigeben.',
        'Lassen Sie sich Besprechungseinladungen auch selbst senden: «Sowohl meine Stellvertretung als auch ich».',
      ],
    },
    {
      title: 'Outlook für Windows (klassisch)',
      steps: [
        'Wählen Sie Datei, Kontoeinstellungen, Zugriffsrechte für Stellvertretung, Hinzufügen.',
        `Suchen Sie ${dedicatedMailbox}, fügen Sie es hinzu und wählen Sie OK.`,
        'Wählen Sie unter Kalender «Bearbeiter (kann Elemente lesen, erstellen und ändern)».',
        'Lassen Sie «Stellvertretung erhält Kopien der an mich gesendeten besprechungsbezogenen Nachrichten» nicht angekreuzt, wenn Ihre Organisation es nicht anders will, und wählen Sie OK.',
        'Wählen Sie unter «Besprechungsanfragen senden an» «Meine Stellvertretungen und ich».',
      ],
    },
    {
      title: 'Outlook für Mac und das neue Outlook',
      steps: [
        'Öffnen Sie den Kalender und wählen Sie für Ihren Hauptkalender Freigeben (oder Kalenderberechtigungen).',
        `Fügen Sie ${dedicatedMailbox} hinzu und wählen Sie die Berechtigung «Stellvertretung».`,
        'Wählen Sie Fertig. Wird «Stellvertretung» nicht angeboten, nehmen Sie Outlook im Web.',
      ],
    },
  ];
}

function inEnglish(dedicatedMailbox: string): DelegationHelp[] {
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
