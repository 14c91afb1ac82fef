/**
 * Posts what those who run Usher must know to a system of theirs, signed as the Standard Webhooks specification says (standardwebhooks.com): the signature is
 * HMAC-SHA256 over `id.timestamp.body`. The id is the same at each attempt, so that the receiver can tell a repetition.
 */
import { createHmac } from 'node:crypto';
import { UsherError } from '../errors.ts';
import type { Notice } from '../ports.ts';
import type { Delivery } from './smtp.ts';

const patienceMs = 10_000;

export function openWebhook(secret: string): (notice: Notice) => Promise<Delivery> {
  // A secret in the specification's own form is base64 behind its prefix; any other text is the key itself.
  const key = secret.startsWith('whsec_') ? Buffer.from(secret.slice(6), 'base64') : Buffer.from(secret);
  return async ({ noticeId, recipient, body }) => {
    const timestamp = Math.floor(Date.now() / 1000);
    const signature = createHmac('sha256', key).update(`${noticeId}.${timestamp}.${body}`).digest('base64');
    let response: Response;
    try {
      response = await fetch(recipient, {
        method: 'POST',
        headers: {
          'Content-Type': 'application/json',
          'webhook-id': noticeId,
          'webhook-timestamp': String(timestamp),
          'webhook-signature': `v1,${signature}`,
        },
        body,
        redirect: 'manual',
        signal: AbortSignal.timeout(patienceMs),
      });
      await response.arrayBuffer();
    } catch (cause) {
      throw new UsherError('mail_unavailable', `The webhook does not answer: ${(cause as Error).message}`, { cause });
    }
    if (response.ok) return { kind: 'accepted' };
    // 410 says that nobody wants it any more; everything else may be mended at the receiver.
    return { kind: 'refused', permanent: response.status === 410, answer: `the webhook answered ${response.status}` };
  };
}
