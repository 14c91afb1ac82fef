/** Somebody's system that alerts are posted to: remembers what came, and answers as it is told. */
import { createHmac } from 'node:crypto';
import { createServer, type Server } from 'node:http';

export interface WebhookReceiver {
  url: string;
  received: { id: string; type: string; data: Record<string, string>; isSigned: boolean }[];
  /** Answered instead of 204. */
  answer: number;
  close(): Promise<void>;
}

export async function startWebhookReceiver(secret: string): Promise<WebhookReceiver> {
  const receiver: WebhookReceiver = { url: '', received: [], answer: 204, close: () => Promise.resolve() };
  const server: Server = createServer((request, response) => {
    let body = '';
    request.on('data', (part) => {
      body += String(part);
    });
    request.on('end', () => {
      const id = String(request.headers['webhook-id']);
      const signed = createHmac('sha256', secret)
        .update(`${id}.${String(request.headers['webhook-timestamp'])}.${body}`)
        .digest('base64');
      if (receiver.answer === 204) {
        const { type, data } = JSON.parse(body) as { type: string; data: Record<string, string> };
        receiver.received.push({ id, type, data, isSigned: request.headers['webhook-signature'] === `v1,${signed}` });
      }
      response.writeHead(receiver.answer).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  const { port } = server.address() as { port: number };
  receiver.url = `http://127.0.0.1:${port}/usher`;
  receiver.close = () =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return receiver;
}
