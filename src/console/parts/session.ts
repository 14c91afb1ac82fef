/** Who is signed in, and what they may: what would be refused is not offered. The API decides. */
import { createContext, useContext } from 'react';
import type { Session } from '../api.ts';

export const SessionContext = createContext<Session | null>(null);

export function useSession(): Session {
  const session = useContext(SessionContext);
  if (!session) throw new Error('outside of a session');
  return session;
}

/** Administrators may; beside them whoever has one of these roles. */
export function useMay(...operatorRoles: string[]): boolean {
  const session = useSession();
  return session.role === 'Administrator' || operatorRoles.some((role) => session.operatorRoles.includes(role));
}
