/**
 * A route of the API as data: what it is for, who may, what it takes and answers. The router and the OpenAPI document are made of the same rows, so
 * that neither can say what the other does not do; and no route is without the question who may.
 */
import { createHash } from 'node:crypto';
import type { Request, RequestHandler, Response } from 'express';
import type { z } from 'zod';
import type { Act } from '../administration.ts';
import { isAboutOwn, mayDo, nobody, type OperationName, type Subject } from '../domain/roles.ts';
import { UsherError } from '../errors.ts';
import type { Caller } from './caller.ts';
import { parse } from './parse.ts';

export interface Answer {
  description: string;
  schema?: z.ZodType;
  contentType?: string;
}

export interface Reply {
  status?: number;
  body?: unknown;
  headers?: Record<string, string>;
}

export interface Call<Q, B> {
  query: Q;
  body: B;
  params: Record<string, string>;
  caller: Caller;
  /** For the account's acts: who, and under which conditions. */
  act: Act;
  request: Request;
  response: Response;
}

export interface Route {
  method: 'get' | 'post' | 'put' | 'patch' | 'delete';
  /** As OpenAPI writes it: `/people/{who}`. */
  path: string;
  tag: string;
  summary: string;
  operation: OperationName;
  /** Whose thing the request is about; needed where a Member may do it with their own. */
  subject?: (params: Record<string, string>, caller: Caller) => Subject | Promise<Subject>;
  query?: z.ZodType;
  body?: z.ZodType;
  /** Takes text/csv as well, as `body` of type string. */
  csv?: boolean;
  answers: Record<number, Answer>;
  /** Takes an Idempotency-Key. */
  creates?: boolean;
  /** Takes If-Match. */
  matches?: boolean;
  handle(call: Call<never, never>): Promise<Reply | undefined>;
}

type Definition<Q extends z.ZodType, B extends z.ZodType> = Omit<Route, 'query' | 'body' | 'handle'> & {
  query?: Q;
  body?: B;
  // biome-ignore lint/suspicious/noConfusingVoidType: a handler that wrote the answer itself returns nothing
  handle(call: Call<z.output<Q>, z.output<B>>): Promise<Reply | void>;
};

/** Keeps the types of query and body inside the handler. */
export function route<Q extends z.ZodType = z.ZodUndefined, B extends z.ZodType = z.ZodUndefined>(
  definition: Definition<Q, B>,
): Route {
  if (isAboutOwn(definition.operation) && !definition.subject)
    throw new Error(
      `${definition.method} ${definition.path}: ${definition.operation} depends on whose it is; name the subject`,
    );
  return definition as unknown as Route;
}

export function handlerOf(definition: Route): RequestHandler {
  return async (request, response) => {
    const caller = response.locals.caller as Caller;
    const params = request.params as Record<string, string>;
    const subject = definition.subject ? await definition.subject(params, caller) : nobody;
    must(caller, definition.operation, subject);
    const isCsv = definition.csv && typeof request.body === 'string';
    const reply = await definition.handle({
      query: (definition.query ? parse(definition.query, request.query) : undefined) as never,
      body: (isCsv ? request.body : definition.body ? parse(definition.body, request.body ?? {}) : undefined) as never,
      params,
      caller,
      act: actOf(definition, request, caller),
      request,
      response,
    });
    if (!reply) return;
    response.status(reply.status ?? 200);
    for (const [name, value] of Object.entries(reply.headers ?? {})) response.set(name, value);
    if (reply.body === undefined) response.end();
    else response.json(reply.body);
  };
}

/** Throws `forbidden` with the reason of the no. */
export function must(caller: Caller, operation: OperationName, subject: Subject = nobody): void {
  const decision = mayDo(caller.asker, operation, subject);
  if (!decision.allowed) throw new UsherError('forbidden', decision.reason);
}

function actOf(definition: Route, request: Request, caller: Caller): Act {
  const key = definition.creates ? request.get('idempotency-key') : undefined;
  if (key !== undefined && !/^[\x21-\x7e ]{1,255}$/.test(key))
    throw new UsherError('invalid_value', 'Idempotency-Key: 1 to 255 printable ASCII characters.');
  return {
    ...caller.cause,
    actingId: caller.asker.accountUserId,
    ifMatch: definition.matches ? (request.get('if-match') ?? null) : null,
    once: key
      ? {
          key,
          requestHash: createHash('sha256')
            .update(`${request.method} ${request.originalUrl}\n${JSON.stringify(request.body ?? null)}`)
            .digest('hex'),
        }
      : null,
    reserved: caller.asker.role !== 'Administrator',
  };
}
