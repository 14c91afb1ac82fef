/** `/api/v1/session`: who the caller is, and the end of it. */
import { z } from 'zod';
import type { SignIn } from '../administration.ts';
import { cookieName, cookieOptions, type Site, sessionCookie } from './caller.ts';
import { type Route, route } from './route.ts';
import * as shapes from './shapes.ts';

export function sessionRoutes({ signIn, site }: { signIn: SignIn; site: Site }): Route[] {
  return [
    route({
      method: 'get',
      path: '/session',
      tag: 'Session',
      summary: 'Who is calling, with which roles',
      operation: 'session.read',
      subject: (_params, caller) => caller.asker.accountUserId,
      answers: { 200: { description: 'The caller.', schema: shapes.session } },
      handle: async ({ caller }) => ({
        body: {
          name: caller.name,
          how: caller.how,
          accountUserId: caller.asker.accountUserId,
          role: caller.asker.role,
          operatorRoles: caller.asker.operatorRoles,
          expiresAt: caller.expiresAt,
        },
      }),
    }),
    route({
      method: 'delete',
      path: '/session',
      tag: 'Session',
      summary: 'Sign out',
      operation: 'session.read',
      subject: (_params, caller) => caller.asker.accountUserId,
      query: z.strictObject({}),
      answers: { 204: { description: 'Signed out.' } },
      async handle({ caller, response }) {
        if (caller.sessionId) await signIn.end(caller.sessionId);
        response.clearCookie(cookieName(site, sessionCookie), cookieOptions(site));
        return { status: 204 };
      },
    }),
  ];
}
