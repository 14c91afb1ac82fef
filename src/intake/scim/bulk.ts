/**
 * `/Bulk` (RFC 7644 section 3.7): operations in their order, references by bulkId resolved, also forward ones. Two groups that name each other are
 * made without that member first, which is added when both are there.
 */
import { asUsherError, UsherError } from '../../errors.ts';
import type { Asked, Endpoint, Reply } from './endpoint.ts';
import type { ScimLimits } from './limits.ts';
import type { Resource } from './normalise.ts';
import { urns } from './schema.ts';

interface BulkOperation {
  index: number;
  method: 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  bulkId: string | null;
  endpoint: string;
  id: string | null;
  data: unknown;
  version: string | undefined;
}

export async function runBulk(asked: Asked, endpoints: Record<string, Endpoint>, limits: ScimLimits): Promise<Reply> {
  const { operations, failOnErrors } = readBulk(asked.body, endpoints, limits);
  const ids = new Map<string, string>();
  const names = new Set(operations.map((operation) => operation.bulkId).filter((bulkId) => bulkId !== null));
  const results = new Map<number, Resource>();
  /** What each operation refers to, and by whom each bulkId is made: read once, not at every turn. */
  const referred = new Map(operations.map((operation) => [operation, references([operation.data, operation.id])]));
  const makers = new Map(operations.map((operation) => [operation.bulkId, operation] as const).reverse());
  let turns = 0;
  const later: { endpoint: string; id: string; members: string[] }[] = [];
  let errors = 0;
  let waiting = operations;

  const perform = async (operation: BulkOperation, data: unknown): Promise<void> => {
    const result = await performOne(asked, endpoints, operation, data, ids);
    results.set(operation.index, result);
    if (Number(result.status) >= 400) errors += 1;
    else if (operation.bulkId && typeof result.location === 'string')
      ids.set(operation.bulkId, result.location.split('/').at(-1) ?? '');
  };

  while (waiting.length > 0 && !(failOnErrors > 0 && errors >= failOnErrors)) {
    // A long list of operations gives others their turn.
    if (++turns % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
    const unresolved = (operation: BulkOperation) =>
      (referred.get(operation) ?? []).filter((bulkId) => !ids.has(bulkId));
    const ready = waiting.find((operation) =>
      unresolved(operation).every((bulkId) => !names.has(bulkId) || hasFailed(makers, results, bulkId)),
    );
    const next =
      ready ??
      waiting.find((operation) => operation.method === 'POST' && operation.endpoint === 'Groups') ??
      waiting[0];
    if (!next) break;
    waiting = waiting.filter((operation) => operation !== next);
    if (ready) await perform(next, next.data);
    else {
      // A circle: made without the members that are not there yet.
      const { data, postponed } = withoutMembers(next.data, unresolved(next));
      await perform(next, data);
      const id = next.bulkId ? ids.get(next.bulkId) : undefined;
      if (id && postponed.length > 0) later.push({ endpoint: next.endpoint, id, members: postponed });
    }
  }
  for (const { endpoint, id, members } of later) {
    const value = members.filter((bulkId) => ids.has(bulkId)).map((bulkId) => ({ value: ids.get(bulkId) }));
    await endpoints[endpoint]?.patch(
      {
        ...asked,
        query: {},
        ifMatch: undefined,
        body: { schemas: [urns.patchOp], Operations: [{ op: 'add', path: 'members', value }] },
      },
      id,
    );
  }
  const inOrder = [...results].sort(([a], [b]) => a - b).map(([, result]) => result);
  return { status: 200, body: { schemas: [urns.bulkResponse], Operations: inOrder } };
}

function readBulk(
  body: unknown,
  endpoints: Record<string, Endpoint>,
  limits: ScimLimits,
): { operations: BulkOperation[]; failOnErrors: number } {
  if (body === null || typeof body !== 'object' || Array.isArray(body))
    throw new UsherError('invalid_syntax', 'The body must be a JSON object.');
  const field = (holder: object, name: string): unknown =>
    Object.entries(holder).find(([key]) => key.toLowerCase() === name)?.[1];
  const schemas = field(body, 'schemas');
  if (!Array.isArray(schemas) || !schemas.includes(urns.bulkRequest))
    throw new UsherError('invalid_syntax', `schemas must hold ${urns.bulkRequest}.`);
  const list = field(body, 'operations');
  if (!Array.isArray(list)) throw new UsherError('invalid_syntax', 'Operations must be a list.');
  if (list.length > limits.bulkOperations)
    throw new UsherError('payload_too_large', `More than ${limits.bulkOperations} operations in one bulk request.`);
  const failOnErrors = Number(field(body, 'failonerrors') ?? 0);
  if (!Number.isInteger(failOnErrors) || failOnErrors < 0)
    throw new UsherError('invalid_value', 'failOnErrors must be a whole number.');
  const operations = list.map((entry: unknown, index): BulkOperation => {
    const where = `Operations[${index}]`;
    if (entry === null || typeof entry !== 'object' || Array.isArray(entry))
      throw new UsherError('invalid_syntax', `${where} must be an object.`);
    const method = String(field(entry, 'method') ?? '').toUpperCase();
    if (method !== 'POST' && method !== 'PUT' && method !== 'PATCH' && method !== 'DELETE')
      throw new UsherError('invalid_syntax', `${where}.method must be POST, PUT, PATCH or DELETE.`);
    const bulkId = field(entry, 'bulkid');
    if (method === 'POST' && (typeof bulkId !== 'string' || bulkId === ''))
      throw new UsherError('invalid_syntax', `${where}.bulkId is required with POST.`);
    const [endpoint = '', id, ...more] = String(field(entry, 'path') ?? '')
      .replace(/^\//, '')
      .split('/');
    const known = Object.keys(endpoints).find((name) => name.toLowerCase() === endpoint.toLowerCase());
    if (!known || more.length > 0 || (method === 'POST') !== (id === undefined))
      throw new UsherError(
        'invalid_value',
        `${where}.path must be /Users or /Groups, with an id unless the method is POST.`,
      );
    return {
      index,
      method,
      bulkId: typeof bulkId === 'string' ? bulkId : null,
      endpoint: known,
      id: id ?? null,
      data: field(entry, 'data'),
      version: typeof field(entry, 'version') === 'string' ? String(field(entry, 'version')) : undefined,
    };
  });
  return { operations, failOnErrors };
}

async function performOne(
  asked: Asked,
  endpoints: Record<string, Endpoint>,
  operation: BulkOperation,
  data: unknown,
  ids: Map<string, string>,
): Promise<Resource> {
  const echo: Resource = { method: operation.method, ...(operation.bulkId ? { bulkId: operation.bulkId } : {}) };
  const path = operation.id ? `${asked.base}/${operation.endpoint}/${operation.id}` : undefined;
  try {
    const endpoint = endpoints[operation.endpoint] as Endpoint;
    const one: Asked = {
      ...asked,
      query: {},
      ifMatch: operation.version,
      ifNoneMatch: undefined,
      body: resolve(data, ids),
    };
    const id = String(resolve(operation.id ?? '', ids));
    const call = {
      POST: () => endpoint.create(one),
      PUT: () => endpoint.replace(one, id),
      PATCH: () => endpoint.patch(one, id),
      DELETE: () => endpoint.remove(one, id),
    }[operation.method];
    const reply = await call();
    return {
      ...echo,
      ...(reply.location ? { location: reply.location } : path ? { location: path } : {}),
      ...(reply.version ? { version: reply.version } : {}),
      status: String(reply.status),
    };
  } catch (thrown) {
    const error = asUsherError(thrown);
    // A fault of ours fails the whole request: the client repeats it, and what was done is found done.
    if (error.row.status >= 500) throw error;
    const { status, scimType, next } = error.row;
    return {
      ...echo,
      ...(path ? { location: path } : {}),
      status: String(status),
      response: {
        schemas: [urns.error],
        status: String(status),
        ...(scimType ? { scimType } : {}),
        detail: `${error.message} ${next}`,
      },
    };
  }
}

const prefix = 'bulkId:';

function references(value: unknown): string[] {
  if (typeof value === 'string') return value.startsWith(prefix) ? [value.slice(prefix.length)] : [];
  if (value === null || typeof value !== 'object') return [];
  return Object.values(value).flatMap(references);
}

/** Throws `invalid_value` where a reference leads nowhere. */
function resolve(value: unknown, ids: Map<string, string>): unknown {
  if (typeof value === 'string') {
    if (!value.startsWith(prefix)) return value;
    const id = ids.get(value.slice(prefix.length));
    if (!id)
      throw new UsherError(
        'invalid_value',
        `«${value.slice(0, 100)}» names no resource that was made in this request.`,
      );
    return id;
  }
  if (Array.isArray(value)) return value.map((entry) => resolve(entry, ids));
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, resolve(entry, ids)]));
}

function hasFailed(makers: Map<string | null, BulkOperation>, results: Map<number, Resource>, bulkId: string): boolean {
  const maker = makers.get(bulkId);
  return maker !== undefined && results.has(maker.index);
}

function withoutMembers(data: unknown, unresolved: string[]): { data: unknown; postponed: string[] } {
  if (data === null || typeof data !== 'object') return { data, postponed: [] };
  const postponed: string[] = [];
  const entries = Object.entries(data).map(([key, value]) => {
    if (key.toLowerCase() !== 'members' || !Array.isArray(value)) return [key, value];
    const kept = value.filter((member) => {
      const missing = references(member).filter((bulkId) => unresolved.includes(bulkId));
      postponed.push(...missing);
      return missing.length === 0;
    });
    return [key, kept];
  });
  return { data: Object.fromEntries(entries), postponed };
}
