/** `/api/v1/imports`: tables of people. Read into a plan first; applied when somebody says so; stopped and resumed at any row. */
import type { Request } from 'express';
import { z } from 'zod';
import { columnsOf, csvLine } from '../csv.ts';
import { rowKinds } from '../domain/import-plan.ts';
import { peopleColumns } from '../domain/people-columns.ts';
import type { Policy } from '../domain/policy.ts';
import { UsherError } from '../errors.ts';
import type { Import, ImportStore } from '../ports.ts';
import { type Route, route } from './route.ts';
import * as shapes from './shapes.ts';

export interface ImportParts {
  store: ImportStore;
  policy: Policy;
  importer: { plan(name: string, bytes: AsyncIterable<Buffer>, by: string): Promise<Import> };
}

const tag = 'Imports';
const uploadQuery = z.strictObject({ name: z.string().trim().min(1).max(300).default('people.csv') });
const rowsQuery = z.strictObject({
  kind: z.enum(rowKinds).optional(),
  state: z.enum(shapes.importRowStates).optional(),
  after: z.coerce.number().int().min(0).default(0),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
});

export function importRoutes({ store, policy, importer }: ImportParts): Route[] {
  const find = async (params: Record<string, string>): Promise<Import> => {
    const found = await store.import(params.importId ?? '');
    if (!found) throw new UsherError('not_found', 'There is no such import.');
    return found;
  };
  const shown = async (found: Import) => ({ ...found, progress: await store.importProgress(found.importId) });
  const answer = { description: 'The import.', schema: shapes.shownImport };
  return [
    route({
      method: 'post',
      path: '/imports',
      tag,
      summary: 'Send a table of people (text/csv, any length) and get its plan; nothing is done yet',
      operation: 'imports.write',
      csv: true,
      query: uploadQuery,
      answers: { 201: answer },
      async handle({ query, request, caller }) {
        const made = await importer.plan(query.name, request as Request & AsyncIterable<Buffer>, caller.cause.actor);
        const earlier = made.fileHash ? await store.planOfFile(made.fileHash, made.importId) : null;
        return {
          status: 201,
          headers: { Location: `/api/v1/imports/${made.importId}` },
          body: {
            ...(await shown(made)),
            // A plan of the same file from before: whether it still says the same.
            earlierPlan: earlier && { importId: earlier.importId, agrees: earlier.planHash === made.planHash },
          },
        };
      },
    }),
    route({
      method: 'get',
      path: '/imports',
      tag,
      summary: 'The newest imports',
      operation: 'imports.read',
      answers: { 200: { description: 'The imports.', schema: shapes.itemsOf(shapes.listedImport) } },
      handle: async () => ({ body: { items: await store.imports(100) } }),
    }),
    route({
      method: 'get',
      path: '/imports/{importId}',
      tag,
      summary: 'The plan, how far it is, and how many of its people are Ready',
      operation: 'imports.read',
      answers: { 200: answer },
      handle: async ({ params }) => ({ body: await shown(await find(params)) }),
    }),
    route({
      method: 'get',
      path: '/imports/{importId}/pace',
      tag,
      summary: 'How fast its people became Ready: how many in each stretch of so many seconds',
      operation: 'imports.read',
      answers: {
        200: {
          description: 'The stretches, from the first who was Ready on.',
          schema: shapes.importPace,
        },
      },
      handle: async ({ params }) => ({ body: await store.importPace((await find(params)).importId) }),
    }),
    route({
      method: 'get',
      path: '/imports/{importId}/rows',
      tag,
      summary: 'The rows, with what the plan says and what became of each',
      operation: 'imports.read',
      query: rowsQuery,
      answers: { 200: { description: 'The rows.', schema: shapes.itemsOf(shapes.importRow) } },
      async handle({ params, query }) {
        const { importId } = await find(params);
        const items = await store.importRows(importId, query);
        return { body: { items, nextAfter: items.length === query.limit ? (items.at(-1)?.line ?? null) : null } };
      },
    }),
    route({
      method: 'get',
      path: '/imports/{importId}/errors',
      tag,
      summary: 'The rows that were not applied, as CSV with what is wrong; to be mended and sent again',
      operation: 'imports.read',
      answers: { 200: { description: 'The file.', contentType: 'text/csv' } },
      async handle({ params, response }) {
        const found = await find(params);
        const columns = columnsOf(found.columns, peopleColumns, []);
        response
          .type('text/csv')
          .set('Content-Disposition', 'attachment; filename="errors.csv"')
          .write(`\uFEFF${csvLine([...found.columns, 'line', 'fault', 'suggestion'])}`);
        for (const filter of [{ kind: 'faulty,ambiguous' }, { state: 'plan_stale,failed' }]) {
          for (let after = 0; ; ) {
            const rows = await store.importRows(found.importId, { ...filter, after, limit: 500 });
            response.write(
              rows
                .map((row) =>
                  csvLine([
                    ...columns.map((name) => row.cells[name] ?? ''),
                    String(row.line),
                    row.result ?? row.note ?? row.kind,
                    row.suggestion ?? '',
                  ]),
                )
                .join(''),
            );
            const last = rows.at(-1);
            if (!last || rows.length < 500) break;
            after = last.line;
          }
        }
        response.end();
      },
    }),
    ...(['apply', 'stop', 'resume'] as const).map((doing) =>
      route({
        method: 'post',
        path: `/imports/{importId}/${doing}`,
        tag,
        summary: {
          apply: 'Do what this very plan says',
          stop: 'Stop behind the row that is at work',
          resume: 'Go on with the rows that wait',
        }[doing],
        operation: 'imports.write',
        answers: { 202: answer },
        async handle({ params, caller }) {
          const found = await find(params);
          if (doing !== 'stop' && found.policyVersion !== policy.version)
            throw new UsherError(
              'account_refused',
              'The policy changed since this plan was made. Send the file again and look at the new plan.',
            );
          const from = ({ apply: ['planned'], stop: ['applying'], resume: ['stopped'] } as const)[doing];
          const to = doing === 'stop' ? 'stopped' : 'applying';
          if (!(await store.moveImport(found.importId, [...from], to, doing === 'apply' ? caller.cause.actor : null)))
            throw new UsherError(
              'account_refused',
              `The import is ${found.state}; only one that is ${from[0]} can be ${doing === 'apply' ? 'applied' : doing === 'stop' ? 'stopped' : 'resumed'}.`,
            );
          return { status: 202, body: await shown(await find(params)) };
        },
      }),
    ),
  ];
}
