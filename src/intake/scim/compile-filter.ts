/**
 * A filter as parameterised SQL over `directory_users u`: columns where there are some, the stored resource elsewhere. No value is ever part
 * of the text; LIKE patterns are escaped.
 */
import { foldAddress } from '../../domain/email-address.ts';
import { UsherError } from '../../errors.ts';
import type { CompiledFilter } from '../../ports.ts';
import type { Comparison, Filter, FilterValue } from './filter.ts';
import { type AttributeDefinition, type AttributePath, findAttribute } from './schema.ts';

interface Expression {
  /** Text-valued (or typed) SQL. */
  sql: string;
  type: AttributeDefinition['type'];
  caseExact: boolean;
  /** Already folded: compared with a folded value, by an index. */
  folded?: boolean;
}

const columns: Record<string, Expression> = {
  username: { sql: 'u.user_name_key', type: 'string', caseExact: false, folded: true },
  externalid: { sql: 'u.external_id', type: 'string', caseExact: true },
  id: { sql: 'u.resource_id::text', type: 'string', caseExact: true },
  active: { sql: 'u.active', type: 'boolean', caseExact: false },
  'meta.created': { sql: 'u.created_at', type: 'dateTime', caseExact: false },
  'meta.lastmodified': { sql: 'u.last_modified_at', type: 'dateTime', caseExact: false },
  'meta.resourcetype': { sql: `'User'::text`, type: 'string', caseExact: true },
};

export function compileFilter(filter: Filter): CompiledFilter {
  const parameters: unknown[] = [];
  return { sql: compile(filter, parameters, null), parameters };
}

/** `element` is the SQL of the list entry that the paths are relative to, inside brackets. */
function compile(filter: Filter, parameters: unknown[], element: string | null): string {
  switch (filter.kind) {
    case 'and':
    case 'or':
      return `(${filter.terms.map((term) => compile(term, parameters, element)).join(` ${filter.kind} `)})`;
    case 'not':
      return `(not coalesce(${compile(filter.term, parameters, element)}, false))`;
    case 'values':
      return overValues(filter.path, (entry) => compile(filter.filter, parameters, entry));
    case 'present':
      return element ? presentIn(element, filter.path) : present(filter.path);
    case 'compare':
      return element
        ? compare(inElement(element, filter.path), filter.operator, filter.value, parameters)
        : compareAttribute(filter.path, filter.operator, filter.value, parameters);
  }
}

function compareAttribute(
  path: AttributePath,
  operator: Comparison,
  value: FilterValue,
  parameters: unknown[],
): string {
  const { attribute } = path;
  const column = path.extension ? undefined : columns[nameOf(path)];
  if (column) return compare(column, operator, value, parameters);
  if (attribute?.multiValued) {
    // `emails co "x"` means the values; any one of them will do (RFC 7644 section 3.4.2.2).
    return overValues(path, (entry) =>
      compare(
        inElement(entry, { extension: null, attribute: path.sub ?? leafOf(attribute), sub: null }),
        operator,
        value,
        parameters,
      ),
    );
  }
  return compare(stored(path), operator, value, parameters);
}

/** The sub-attribute that stands for the whole: `value`, else the attribute itself for lists of plain values. */
function leafOf(attribute: AttributeDefinition): AttributeDefinition {
  if (attribute.type !== 'complex') return attribute;
  const value = findAttribute(attribute.subAttributes, 'value');
  if (!value)
    throw new UsherError('invalid_filter', `${attribute.name} has no value of its own; name a sub-attribute.`);
  return value;
}

const nameOf = ({ attribute, sub }: AttributePath): string =>
  `${attribute?.name ?? ''}${sub ? `.${sub.name}` : ''}`.toLowerCase();

// Attribute names and URNs come from our own tables, never from the request.
const quoted = (name: string): string => `'${name.replace(/'/g, "''")}'`;

function container(path: AttributePath): string {
  return path.extension ? `u.resource -> ${quoted(path.extension)}` : 'u.resource';
}

function stored(path: AttributePath): Expression {
  const { attribute } = path;
  if (!attribute) throw new UsherError('invalid_filter', 'An attribute is expected.');
  const leaf = path.sub ?? (attribute.type === 'complex' ? leafOf(attribute) : null);
  const sql = leaf
    ? `(${container(path)} -> ${quoted(attribute.name)} ->> ${quoted(leaf.name)})`
    : `(${container(path)} ->> ${quoted(attribute.name)})`;
  const typed = leaf ?? attribute;
  return { sql, type: typed.type, caseExact: typed.caseExact };
}

function inElement(element: string, { attribute }: AttributePath): Expression {
  if (!attribute) throw new UsherError('invalid_filter', 'An attribute is expected.');
  const sql =
    attribute.type === 'complex' || attribute.multiValued
      ? `(${element} #>> '{}')`
      : `(case when jsonb_typeof(${element}) = 'object' then ${element} ->> ${quoted(attribute.name)} else ${element} #>> '{}' end)`;
  return { sql, type: attribute.type, caseExact: attribute.caseExact };
}

function overValues(path: AttributePath, test: (entry: string) => string): string {
  const { attribute } = path;
  if (!attribute) throw new UsherError('invalid_filter', 'An attribute is expected.');
  const list = `${container(path)} -> ${quoted(attribute.name)}`;
  // Lists hold no lists, so one name is enough.
  return `exists (select 1 from jsonb_array_elements(case jsonb_typeof(${list}) when 'array' then ${list} when 'object' then jsonb_build_array(${list}) else '[]'::jsonb end) as entry where ${test('entry')})`;
}

function present(path: AttributePath): string {
  const { attribute } = path;
  const column = path.extension ? undefined : columns[nameOf(path)];
  if (column) return `(${column.sql} is not null)`;
  if (attribute?.name === 'meta' || attribute?.name === 'schemas') return 'true';
  if (attribute?.multiValued && path.sub)
    return overValues(path, (entry) => `${entry} ->> ${quoted(path.sub?.name ?? '')} <> ''`);
  const sql = `(${container(path)} -> ${quoted(attribute?.name ?? '')}${path.sub ? ` -> ${quoted(path.sub.name)}` : ''})`;
  return `(${sql} is not null and ${sql} not in ('null', '""', '[]', '{}'))`;
}

function presentIn(element: string, path: AttributePath): string {
  return `coalesce(${inElement(element, path).sql} <> '', false)`;
}

function compare(expression: Expression, operator: Comparison, value: FilterValue, parameters: unknown[]): string {
  const { sql, type } = expression;
  if (value === null) {
    if (operator === 'eq') return `(${sql} is null)`;
    if (operator === 'ne') return `(${sql} is not null)`;
    throw new UsherError('invalid_filter', `${operator} can not compare with null.`);
  }
  const parameter = (bound: unknown, cast: string): string => {
    parameters.push(bound);
    return `$${parameters.length}::${cast}`;
  };
  if (type === 'boolean') {
    if (!/^(true|false)$/i.test(String(value)))
      throw new UsherError('invalid_filter', `«${String(value)}» is neither true nor false.`);
    if (operator !== 'eq' && operator !== 'ne')
      throw new UsherError('invalid_filter', `${operator} can not compare a boolean.`);
    return `(${sql}::boolean is ${operator === 'eq' ? 'not ' : ''}distinct from ${parameter(/^true$/i.test(String(value)), 'boolean')})`;
  }
  if (type === 'dateTime') {
    const date = new Date(String(value));
    if (Number.isNaN(date.getTime())) throw new UsherError('invalid_filter', `«${String(value)}» is no dateTime.`);
    if (!(operator in symbols)) throw new UsherError('invalid_filter', `${operator} can not compare a dateTime.`);
    // The stored time is finer than the milliseconds that we show.
    return `(date_trunc('milliseconds', ${sql}) ${symbols[operator]} ${parameter(date.toISOString(), 'timestamptz')})`;
  }
  if (expression.folded)
    return compareText(
      sql,
      operator,
      parameter(foldAddress(String(value)), 'text'),
      foldAddress(String(value)),
      parameters,
    );
  if (expression.caseExact)
    return compareText(sql, operator, parameter(String(value), 'text'), String(value), parameters);
  return compareText(
    `lower(${sql})`,
    operator,
    `lower(${parameter(String(value), 'text')})`,
    String(value),
    parameters,
  );
}

const symbols: Partial<Record<Comparison, string>> = { eq: '=', ne: '<>', gt: '>', ge: '>=', lt: '<', le: '<=' };

function compareText(sql: string, operator: Comparison, bound: string, text: string, parameters: unknown[]): string {
  if (operator === 'ne') return `(${sql} is distinct from ${bound})`;
  const symbol = symbols[operator];
  if (symbol) return `coalesce(${sql} ${symbol} ${bound}, false)`;
  const escaped = text.replace(/[\\%_]/g, '\\$&');
  parameters[parameters.length - 1] =
    operator === 'co' ? `%${escaped}%` : operator === 'sw' ? `${escaped}%` : `%${escaped}`;
  return `coalesce(${sql} like ${bound}, false)`;
}
