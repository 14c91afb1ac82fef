/** The OpenAPI 3.1 document, of the rows that the router is made of. */
import { z } from 'zod';
import { accountFunctions, operations } from '../domain/roles.ts';
import { errorTable } from '../errors.ts';
import type { Route } from './route.ts';

const problem = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  code: z.enum(Object.keys(errorTable) as [keyof typeof errorTable]),
  detail: z.string(),
  next: z.string(),
});

const asSchema = (schema: z.ZodType, io: 'input' | 'output'): Record<string, unknown> => {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' }) as Record<
    string,
    unknown
  >;
  return rest;
};

export function openApiDocument(routes: Route[], origin: string): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    const at = `/api/v1${route.path}`;
    paths[at] = { ...paths[at], [route.method]: operationOf(route) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Usher',
      version: '1',
      description:
        'Brings people from a directory into a scheduling account, bookable without doing anything themselves. Errors are problem+json (RFC 9457) with a stable code and what to do next.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: origin }],
    security: [{ adminToken: [] }, { session: [] }],
    tags: [...new Set(routes.map((route) => route.tag))].map((name) => ({ name, description: `${name}, by role.` })),
    paths: { ...paths, '/api/v1/session': { ...paths['/api/v1/session'], post: beginSession } },
    components: {
      securitySchemes: {
        adminToken: { type: 'http', scheme: 'bearer', description: 'An admin token.' },
        session: {
          type: 'apiKey',
          in: 'cookie',
          name: 'usher-session',
          description:
            'Of a sign-in at /sign-in; over https its name is __Host-usher-session. A change needs an Origin of this site or the header X-Usher-CSRF.',
        },
      },
      schemas: { Problem: asSchema(problem, 'output') },
    },
  };
}

/** The one address below /api/v1 that asks for no session: it begins one. */
const beginSession = {
  operationId: 'postSession',
  tags: ['Session'],
  summary: 'Begin a session with an admin token; the answer sets the cookie',
  security: [],
  requestBody: {
    required: true,
    content: {
      'application/json': {
        schema: { type: 'object', properties: { token: { type: 'string' } }, required: ['token'] },
      },
    },
  },
  responses: {
    '201': { description: 'Signed in.' },
    '401': {
      description: 'No live admin token.',
      content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
    },
  },
};

function operationOf(route: Route): Record<string, unknown> {
  const row = operations[route.operation];
  const operators: readonly string[] = row.operators;
  const titles = accountFunctions[row.account];
  const problems = [
    '400',
    '401',
    '403',
    ...(route.path.includes('{') ? ['404'] : []),
    '409',
    ...(route.matches ? ['412'] : []),
    ...(route.creates ? ['422'] : []),
    '503',
  ];
  return {
    operationId: `${route.method}${route.path.replace(/[{}]/g, '').replace(/[/-]+(\w)/g, (_all, letter: string) => letter.toUpperCase())}`,
    tags: [route.tag],
    summary: route.summary,
    description: `For who may ${titles.title}${operators.length > 0 ? `, or the roles ${operators.join(', ')}` : ''}.`,
    parameters: [
      ...[...route.path.matchAll(/\{(\w+)\}/g)].map((match) => ({
        name: match[1],
        in: 'path',
        required: true,
        schema: { type: 'string' },
      })),
      ...queryParameters(route.query),
      ...(route.creates ? [header('Idempotency-Key', 'The same key answers what it answered the first time.')] : []),
      ...(route.matches ? [header('If-Match', 'The ETag that was seen; another state is 412.')] : []),
    ],
    ...(route.body
      ? {
          requestBody: {
            required: true,
            content: {
              'application/json': { schema: asSchema(route.body, 'input') },
              ...(route.csv ? { 'text/csv': { schema: { type: 'string' } } } : {}),
            },
          },
        }
      : route.csv
        ? { requestBody: { required: true, content: { 'text/csv': { schema: { type: 'string' } } } } }
        : {}),
    responses: {
      ...Object.fromEntries(
        Object.entries(route.answers).map(([status, answer]) => [
          status,
          {
            description: answer.description,
            ...(answer.schema
              ? { content: { 'application/json': { schema: asSchema(answer.schema, 'output') } } }
              : answer.contentType
                ? { content: { [answer.contentType]: { schema: { type: 'string' } } } }
                : {}),
          },
        ]),
      ),
      ...Object.fromEntries(
        problems.map((status) => [
          status,
          {
            description: 'Refused, with the reason and what to do next.',
            content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
          },
        ]),
      ),
    },
  };
}

function queryParameters(query: z.ZodType | undefined) {
  if (!query) return [];
  const { properties = {}, required = [] } = asSchema(query, 'input') as {
    properties?: Record<string, Record<string, unknown>>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, schema]) => ({
    name,
    in: 'query',
    required: required.includes(name),
    schema,
  }));
}

const header = (name: string, description: string) => ({
  name,
  in: 'header',
  required: false,
  description,
  schema: { type: 'string' },
});
