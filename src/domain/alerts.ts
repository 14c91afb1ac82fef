/** Alerts in the words of who reads them: a letter, and the body of a post to another system. */

const titles: Record<string, string> = {
  source_silent: 'a source is silent',
  poll_failed: 'the directory can not be read',
  held_run: 'removals are held by the brake',
  open_circuit: 'a connection does not work',
  account_connection: 'the connection to the scheduling account does not work',
  seats_low: 'seats are running out',
  delegation_lost: 'calendars are not delegated any more',
  task_overdue: 'tasks are overdue',
  user_limit: 'the account takes no more users',
  no_licensed_administrator: 'no Administrator has a license',
};

export type AlertEvent = 'raised' | 'resolved' | 'heartbeat';

export function alertLetter(
  event: 'raised' | 'resolved',
  kind: string,
  message: string,
): { subject: string; text: string } {
  const title = titles[kind] ?? kind.replaceAll('_', ' ');
  return {
    subject: event === 'raised' ? `Usher: ${title}` : `Usher: over: ${title}`,
    text:
      event === 'raised'
        ? `${message}\n\nUsher tells once when it begins and once when it is over. GET /api/v1/alerts shows what stands.`
        : `This is over: ${message}`,
  };
}

/** The webhook's address for whoever only reads: those of chat systems hold their secret in the path. */
export const withoutSecret = (address: string): string => `${new URL(address).origin}/…`;

/** `type` and `data` as in the Standard Webhooks specification; the id and the time are headers of the post. */
export function alertPost(event: AlertEvent, alert: { key: string; kind: string; message: string } | null): string {
  return JSON.stringify({ type: event === 'heartbeat' ? 'heartbeat' : `alert.${event}`, data: alert ?? {} });
}
