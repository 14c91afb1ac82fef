/**
 * A slow pass over delegated mailboxes: who receives meeting requests once there is a delegate? By the vendor's default the delegate alone does, which is
 * a warning and never a reason not to be Ready. Skipped, and said so, where the connection may not read mailbox settings.
 */
import { deliveryWarning } from '../src/domain/delegation.ts';
import { UsherError } from '../src/errors.ts';
import type { Log } from '../src/log.ts';
import type { Calendars, RequestLogStore, StepStore } from '../src/ports.ts';

export interface DeliveryPassParts {
  store: StepStore & RequestLogStore;
  calendars: Calendars;
  log: Log;
  now: () => Date;
}

const atOnce = 40;
const everyMs = 20_000;
/** Without the permission it is tried again this often. */
const withoutPermissionMs = 3_600_000;

export function openDeliveryPass({ store, calendars, log, now }: DeliveryPassParts): { close(): Promise<void> } {
  let notBefore = 0;
  let running: Promise<void> = Promise.resolve();
  let idle = true;

  const pass = async (): Promise<void> => {
    const due = await store.takeDeliveryDue(atOnce);
    await Promise.all(
      due.map(async ({ personId, who, mailboxKey }) => {
        const delivery = await calendars.readDelivery(mailboxKey);
        if (delivery === null) {
          if (notBefore < now().getTime())
            log.info('meeting-message delivery is not checked: the app has no MailboxSettings.Read');
          notBefore = now().getTime() + withoutPermissionMs;
          return;
        }
        await store.noteDelivery(personId, {
          deliveryReadAt: now().toISOString(),
          meetingMessages: delivery.meetingMessages,
          purpose: delivery.purpose,
          warning: deliveryWarning(delivery, who),
        });
      }),
    );
  };

  const timer = setInterval(() => {
    if (!idle || now().getTime() < notBefore) return;
    idle = false;
    running = pass()
      .catch((error: unknown) => {
        if (error instanceof UsherError && error.retryAfterSeconds)
          notBefore = now().getTime() + error.retryAfterSeconds * 1000;
        log.debug({ err: error }, 'the delivery pass goes on later');
      })
      .finally(() => {
        idle = true;
      });
  }, everyMs);
  timer.unref();
  return {
    async close() {
      clearInterval(timer);
      await running;
    },
  };
}
