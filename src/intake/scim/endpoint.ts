/** What a resource endpoint is asked and answers, apart from HTTP: the router and `/Bulk` both call it. */
import type { Cause } from '../../ports.ts';
import type { Resource } from './normalise.ts';

/** What authentication found out about the caller. */
export interface Caller {
  source: string;
  cause: Cause;
}

export interface Asked {
  /** Ends with /scim/v2. */
  base: string;
  caller: Caller;
  query: Record<string, unknown>;
  ifMatch: string | undefined;
  ifNoneMatch: string | undefined;
  body: unknown;
}

export interface Reply {
  status: number;
  body?: Resource;
  location?: string;
  version?: string;
}

export interface Endpoint {
  list(asked: Asked): Promise<Reply>;
  create(asked: Asked): Promise<Reply>;
  read(asked: Asked, id: string): Promise<Reply>;
  replace(asked: Asked, id: string): Promise<Reply>;
  patch(asked: Asked, id: string): Promise<Reply>;
  remove(asked: Asked, id: string): Promise<Reply>;
}
