/** `/api/v1/account/mails`: the outbox, without the links. */
import { z } from 'zod';
import type { AccountAdministration, Mail } from '../administration.ts';
import { hiddenLink, letter } from '../domain/mails.ts';
import type { Site } from './caller.ts';
import { limit } from './people.ts';
import { type Route, route } from './route.ts';
import * as shapes from './shapes.ts';

const mailsQuery = z.strictObject({
  state: z.enum(['waiting', 'sent', 'refused', 'failed', 'bounced']).optional(),
  limit,
  cursor: z.string().max(2000).optional(),
});
const bounceBody = z.strictObject({ reason: z.string().trim().min(1).max(1000) });

export function mailRoutes({ administration, site }: { administration: AccountAdministration; site: Site }): Route[] {
  return [
    route({
      method: 'get',
      path: '/account/mails',
      tag: 'Account: mails',
      summary: 'The outbox, without the links',
      operation: 'mails.read',
      query: mailsQuery,
      answers: { 200: { description: 'Newest first.', schema: shapes.listOf(shapes.mail) } },
      async handle({ query }) {
        const page = await administration.mails(query);
        return { body: { ...page, items: page.items.map((mail) => showMail(mail, site)) } };
      },
    }),
    route({
      method: 'post',
      path: '/account/mails/{mailId}/retry',
      tag: 'Account: mails',
      summary: 'Send a mail that was refused or bounced again now',
      operation: 'mails.send',
      answers: { 202: { description: 'The mail, waiting.', schema: shapes.mail } },
      handle: async ({ params, act }) => ({
        status: 202,
        body: showMail(await administration.retryMail(params.mailId ?? '', act), site),
      }),
    }),
    route({
      method: 'post',
      path: '/account/mails/{mailId}/bounced',
      tag: 'Account: mails',
      summary: 'Tell of a mail that came back later; it is tried again after a day',
      operation: 'mails.send',
      body: bounceBody,
      answers: { 200: { description: 'The mail.', schema: shapes.mail } },
      handle: async ({ params, body, act }) => ({
        body: showMail(await administration.bounceMail(params.mailId ?? '', body.reason, act), site),
      }),
    }),
  ];
}

export function showMail(mail: Mail, site: Site) {
  const { subject, text } = letter({
    kind: mail.kind,
    name: mail.name,
    host: new URL(site.origin()).host,
    link: hiddenLink,
    expiresAt: null,
  });
  return { ...mail, subject, text };
}
