/**
 * A filter as parameterised SQL over `directory_users u` or `groups g`: columns where there are some, the stored resource elsewhere. No value is ever part
 * of the text; LIKE patterns are escaped.
 */
import { foldAddress, looksLikeAddress } from '../../domain/email-address.ts';
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
  /** A uuid column: compared as one, by its index. */
  uuid?: boolean;
}

/** What SQL a resource's attributes are: columns, rows of another table, and the stored resource for the rest. */
export interface FilterTarget {
  columns: Record<string, Expression>;
  /** Lists that are rows: the SQL around a test, and the columns of one row. */
  rows: Record<string, { from: string; columns: Record<string, Expression> }>;
}

const uuid = (sql: string): Expression => ({ sql, type: 'string', caseExact: true, uuid: true });
const text = (sql: string, caseExact: boolean): Expression => ({ sql, type: 'string', caseExact });

export const userTarget: FilterTarget = {
  columns: {
    username: { sql: 'u.user_name_key', type: 'string', caseExact: false, folded: true },
    externalid: text('u.external_id', true),
    displayname: { sql: 'u.display_key', type: 'string', caseExact: false, folded: true },
    id: uuid('u.resource_id'),
    active: { sql: 'u.active', type: 'boolean', caseExact: false },
    'meta.created': { sql: 'u.created_at', type: 'dateTime', caseExact: false },
    'meta.lastmodified': { sql: 'u.last_modified_at', type: 'dateTime', caseExact: false },
    'meta.resourcetype': text(`'User'::text`, true),
  },
  rows: {
    groups: {
      from: 'group_members m join groups mg using (group_id) where m.member_id = u.resource_id',
      columns: {
        value: uuid('m.group_id'),
        display: text('mg.display_name', false),
        type: text(`'direct'::text`, false),
      },
    },
  },
};

export const groupTarget: FilterTarget = {
  columns: {
    displayname: { sql: 'g.display_key', type: 'string', caseExact: false, folded: true },
    externalid: text('g.external_id', true),
    id: uuid('g.group_id'),
    'meta.created': { sql: 'g.created_at', type: 'dateTime', caseExact: false },
    'meta.lastmodified': { sql: 'g.last_modified_at', type: 'dateTime', caseExact: false },
    'meta.resourcetype': text(`'Group'::text`, true),
  },
  rows: {
    members: {
      from: 'group_members m left join directory_users md on md.resource_id = m.member_id where m.group_id = g.group_id',
      columns: {
        value: uuid('m.member_id'),
        type: text('m.kind', false),
        display: text(`coalesce(md.resource ->> 'displayName', md.user_name)`, false),
      },
    },
  },
};

/** Where a test inside brackets looks: an entry of a stored list, or a row. */
type Element = { json: string } | { columns: Record<string, Expression> };

interface Compiling {
  target: FilterTarget;
  parameters: unknown[];
}

export function compileFilter(filter: Filter, target: FilterTarget = userTarget): CompiledFilter {
  const parameters: unknown[] = [];
  return { sql: compile(filter, { target, parameters }, null), parameters };
}

/** `element` is the list entry that the paths are relative to, inside brackets. */
function compile(filter: Filter, on: Compiling, element: Element | null): string {
  switch (filter.kind) {
    case 'and':
    case 'or':
      return `(${filter.terms.map((term) => compile(term, on, element)).join(` ${filter.kind} `)})`;
    case 'not':
      return `(not coalesce(${compile(filter.term, on, element)}, false))`;
    case 'values':
      return `(${byAddress(filter, on)}${overValues(filter.path, on, (entry) => compile(filter.filter, on, entry))})`;
    case 'present':
      return element ? `coalesce(${inElement(element, filter.path).sql}::text <> '', false)` : present(filter.path, on);
    case 'compare':
      return element
        ? compare(inElement(element, filter.path), filter.operator, filter.value, on.parameters)
        : compareAttribute(filter, on);
  }
}

function compareAttribute(filter: Filter & { kind: 'compare' }, on: Compiling): string {
  const { path, operator, value } = filter;
  const { attribute } = path;
  const column = path.extension ? undefined : on.target.columns[nameOf(path)];
  if (column) return compare(column, operator, value, on.parameters);
  if (attribute?.multiValued) {
    // `emails co "x"` means the values; any one of them will do (RFC 7644 section 3.4.2.2).
    const leaf: AttributePath = { extension: null, attribute: path.sub ?? leafOf(attribute), sub: null };
    const prefix = byAddress({ kind: 'values', path, filter: { ...filter, path: leaf } }, on);
    return `(${prefix}${overValues(path, on, (entry) => compare(inElement(entry, leaf), operator, value, on.parameters))})`;
  }
  return compare(stored(path), operator, value, on.parameters);
}

/** An e-mail address that must be there is looked up by the index on addresses first; the exact test follows. */
function byAddress(filter: Filter & { kind: 'values' }, on: Compiling): string {
  if (on.target !== userTarget || filter.path.attribute?.name !== 'emails') return '';
  const terms = filter.filter.kind === 'and' ? filter.filter.terms : [filter.filter];
  const eq = terms.find(
    (term) => term.kind === 'compare' && term.operator === 'eq' && term.path.attribute?.name === 'value',
  );
  if (eq?.kind !== 'compare' || typeof eq.value !== 'string' || !looksLikeAddress(eq.value)) return '';
  const address = `$${on.parameters.push(foldAddress(eq.value))}::text`;
  return `(u.addresses[1] = ${address} or (cardinality(u.addresses) > 1 and u.addresses @> array[${address}])) and `;
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

function inElement(element: Element, { attribute }: AttributePath): Expression {
  if (!attribute) throw new UsherError('invalid_filter', 'An attribute is expected.');
  if ('columns' in element) {
    const column = element.columns[attribute.name.toLowerCase()];
    if (!column) throw new UsherError('invalid_filter', `${attribute.name} can not be searched.`);
    return column;
  }
  const { json } = element;
  const sql =
    attribute.type === 'complex' || attribute.multiValued
      ? `(${json} #>> '{}')`
      : `(case when jsonb_typeof(${json}) = 'object' then ${json} ->> ${quoted(attribute.name)} else ${json} #>> '{}' end)`;
  return { sql, type: attribute.type, caseExact: attribute.caseExact };
}

function overValues(path: AttributePath, on: Compiling, test: (entry: Element) => string): string {
  const { attribute } = path;
  if (!attribute) throw new UsherError('invalid_filter', 'An attribute is expected.');
  const rows = path.extension ? undefined : on.target.rows[attribute.name];
  if (rows) return `exists (select 1 from ${rows.from} and ${test({ columns: rows.columns })})`;
  const list = `${container(path)} -> ${quoted(attribute.name)}`;
  // Lists hold no lists, so one name is enough.
  return `exists (select 1 from jsonb_array_elements(case jsonb_typeof(${list}) when 'array' then ${list} when 'object' then jsonb_build_array(${list}) else '[]'::jsonb end) as entry where ${test({ json: 'entry' })})`;
}

function present(path: AttributePath, on: Compiling): string {
  const { attribute } = path;
  const column = path.extension ? undefined : on.target.columns[nameOf(path)];
  if (column) return `(${column.sql} is not null)`;
  if (attribute?.name === 'meta' || attribute?.name === 'schemas') return 'true';
  if (attribute && !path.extension && on.target.rows[attribute.name]) return overValues(path, on, () => 'true');
  if (attribute?.multiValued && path.sub) {
    const sub = path.sub;
    return overValues(path, on, (entry) => ('json' in entry ? `${entry.json} ->> ${quoted(sub.name)} <> ''` : 'true'));
  }
  const sql = `(${container(path)} -> ${quoted(attribute?.name ?? '')}${path.sub ? ` -> ${quoted(path.sub.name)}` : ''})`;
  return `(${sql} is not null and ${sql} not in ('null', '""', '[]', '{}'))`;
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
  if (expression.uuid && (operator === 'eq' || operator === 'ne')) {
    const canonical = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/.test(String(value));
    if (!canonical) return operator === 'eq' ? 'false' : 'true';
    return `(${sql} ${operator === 'eq' ? '=' : '<>'} ${parameter(String(value), 'uuid')})`;
  }
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
  if (expression.uuid)
    return compareText(`${sql}::text`, operator, parameter(String(value), 'text'), String(value), parameters);
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
  // Null where the attribute is missing, which no `where` takes for true and `not` above takes for false; an index can serve it.
  if (symbol) return `(${sql} ${symbol} ${bound})`;
  const escaped = text.replace(/[\\%_]/g, '\\$&');
  parameters[parameters.length - 1] =
    operator === 'co' ? `%${escaped}%` : operator === 'sw' ? `${escaped}%` : `%${escaped}`;
  return `coalesce(${sql} like ${bound}, false)`;
}

/** What a list is sorted by: the attribute, its primary value or its first one; letter case counts where the attribute says so. */
export function compileSort(path: AttributePath, target: FilterTarget): string {
  const { attribute, sub } = path;
  const column = path.extension ? undefined : target.columns[nameOf(path)];
  if (column) return column.sql;
  if (!attribute || (!path.extension && target.rows[attribute.name]))
    throw new UsherError('invalid_value', 'sortBy: this attribute can not be sorted by.');
  if (attribute.multiValued) {
    const leaf = sub ?? leafOf(attribute);
    const list = `${container(path)} -> ${quoted(attribute.name)}`;
    const pick = (entry: string) => (leaf === attribute ? `${entry} #>> '{}'` : `${entry} ->> ${quoted(leaf.name)}`);
    return `lower(coalesce((select ${pick('entry')} from jsonb_array_elements(case jsonb_typeof(${list}) when 'array' then ${list} else '[]'::jsonb end) as entry where entry ->> 'primary' = 'true' limit 1), ${pick(`(${list} -> 0)`)}))`;
  }
  const { sql, caseExact } = stored(path);
  return caseExact ? sql : `lower(${sql})`;
}
