/**
 * PATCH (RFC 7644 section 3.5.2) as a pure function: a resource and operations in, a new resource out, or an error and nothing.
 *
 * | operation | on a single value | on a list | on `list[filter]` | on `list[filter].sub` |
 * |---|---|---|---|---|
 * | add | sets; a complex one is merged | appends what is not there | merges into the selected | sets it in the selected |
 * | replace | sets; of a complex one only what is named | replaces the whole list | replaces the selected | sets it in the selected |
 * | remove | unassigns | unassigns; with a value list only those values | removes the selected | unassigns it in the selected |
 *
 * Where a filter of eq/and selects nothing, add and replace create the value from the filter (Entra ID relies on it); any other filter is noTarget.
 * A remove that selects nothing removes nothing.
 */
import { UsherError } from '../../errors.ts';
import { type Filter, type PatchPath, parsePatchPath } from './filter.ts';
import { matchesValue } from './match.ts';
import { holderOf, normaliseAttribute, normaliseValue, type Resource, sameValues, valueLimits } from './normalise.ts';
import { type AttributeDefinition, type ResourceSchema, resolvePath, urns } from './schema.ts';

export interface Operation {
  op: 'add' | 'replace' | 'remove';
  path: string | null;
  value: unknown;
}

/** The operations of a PatchOp body. Throws `invalid_syntax`, `invalid_value`, `too_many`. */
export function readOperations(body: unknown, mostOperations: number): Operation[] {
  if (body === null || typeof body !== 'object' || Array.isArray(body))
    throw new UsherError('invalid_syntax', 'The body must be a JSON object.');
  const field = (name: string): unknown => Object.entries(body).find(([key]) => key.toLowerCase() === name)?.[1];
  const schemas = field('schemas');
  if (!Array.isArray(schemas) || !schemas.some((urn) => String(urn).toLowerCase() === urns.patchOp.toLowerCase())) {
    throw new UsherError('invalid_syntax', `schemas must hold ${urns.patchOp}.`);
  }
  const operations = field('operations');
  if (!Array.isArray(operations)) throw new UsherError('invalid_syntax', 'Operations must be a list.');
  if (operations.length > mostOperations)
    throw new UsherError('too_many', `More than ${mostOperations} operations in one PATCH.`);
  return operations.map(readOperation);
}

function readOperation(entry: unknown, index: number): Operation {
  const where = `Operations[${index}]`;
  if (entry === null || typeof entry !== 'object' || Array.isArray(entry))
    throw new UsherError('invalid_syntax', `${where} must be an object.`);
  const field = (name: string): unknown => Object.entries(entry).find(([key]) => key.toLowerCase() === name)?.[1];
  const op = String(field('op') ?? '').toLowerCase();
  if (op !== 'add' && op !== 'replace' && op !== 'remove')
    throw new UsherError('invalid_syntax', `${where}.op must be add, replace or remove.`);
  const path = field('path');
  if (path !== undefined && path !== null && typeof path !== 'string')
    throw new UsherError('invalid_path', `${where}.path must be a text.`);
  return { op, path: path ? path : null, value: field('value') };
}

export function applyPatch(
  resource: Resource,
  operations: Operation[],
  schema: ResourceSchema,
): { resource: Resource; changed: boolean } {
  const result = structuredClone(resource);
  const budget = { left: mostWork };
  for (const operation of operations) applyOperation(result, operation, schema, budget);
  for (const { urn } of schema.extensions) if (isEmpty(result[urn])) delete result[urn];
  return { resource: result, changed: !sameValues(resource, result) };
}

/** What one PATCH may compare: filters × values, longer texts counting more. About 20 ms. */
const mostWork = 300_000;

/** Before anything is compared: a PATCH of many filters over many long values would hold everybody up. */
function spend(budget: { left: number }, filter: Filter, list: unknown): void {
  const values = Array.isArray(list) ? list : [list];
  let weight = 0;
  for (const value of values) {
    weight += 1;
    for (const part of value !== null && typeof value === 'object' ? Object.values(value) : [value])
      if (typeof part === 'string') weight += part.length / 200;
  }
  budget.left -= weight * termsOf(filter);
  if (budget.left < 0)
    throw new UsherError('too_many', 'The filters of this PATCH compare too much; send fewer operations at a time.');
}

function termsOf(filter: Filter): number {
  if (filter.kind === 'and' || filter.kind === 'or') return filter.terms.reduce((sum, term) => sum + termsOf(term), 0);
  return filter.kind === 'not' ? termsOf(filter.term) : 1;
}

const isEmpty = (value: unknown): boolean =>
  value !== null && typeof value === 'object' && Object.keys(value).length === 0;

function applyOperation(
  resource: Resource,
  { op, path, value }: Operation,
  schema: ResourceSchema,
  budget: { left: number },
): void {
  if (path === null) {
    if (op === 'remove') throw new UsherError('no_target', 'A remove needs a path.');
    applyWithoutPath(resource, op, value, schema, budget);
    return;
  }
  const target = parsePatchPath(path, schema);
  const { attribute, extension } = target.path;
  if (!attribute) {
    if (extension) applyToExtension(resource, op, extension, value, schema);
    return;
  }
  if (attribute.mutability === 'readOnly' || target.sub?.mutability === 'readOnly')
    throw new UsherError('mutability', `${path} is read-only.`);
  if (op !== 'remove' && value === undefined)
    throw new UsherError('invalid_value', `The ${op} of ${path} has no value.`);
  if (target.filter) spend(budget, target.filter, holderOf(resource, extension)[attribute.name]);
  applyToAttribute(resource, op, target, value);
}

/** An object of attributes; keys may be dotted or URN-qualified (Entra ID), read-only ones are skipped (Okta sends its id along). */
function applyWithoutPath(
  resource: Resource,
  op: 'add' | 'replace',
  value: unknown,
  schema: ResourceSchema,
  budget: { left: number },
): void {
  if (value === null || typeof value !== 'object' || Array.isArray(value))
    throw new UsherError('invalid_value', `A ${op} without a path needs an object of attributes.`);
  for (const [key, entry] of Object.entries(value)) {
    const bracket = key.includes('[');
    const path = bracket ? null : resolvePath(schema, key);
    const target: PatchPath | null = bracket
      ? parsePatchPath(key, schema)
      : path && { path, filter: null, sub: path.sub };
    if (!target) continue;
    const { attribute, extension } = target.path;
    if (!attribute) {
      if (extension) applyToExtension(resource, op, extension, entry, schema);
      continue;
    }
    if (attribute.mutability === 'readOnly' || target.sub?.mutability === 'readOnly') continue;
    if (target.filter) spend(budget, target.filter, holderOf(resource, extension)[attribute.name]);
    applyToAttribute(resource, op, target, entry);
  }
}

function applyToExtension(
  resource: Resource,
  op: Operation['op'],
  urn: string,
  value: unknown,
  schema: ResourceSchema,
): void {
  if (op === 'remove' || value === null) {
    delete resource[urn];
    return;
  }
  if (typeof value !== 'object' || Array.isArray(value))
    throw new UsherError('invalid_value', `${urn} must be an object.`);
  const extension = schema.extensions.find((entry) => entry.urn === urn);
  for (const [key, entry] of Object.entries(value)) {
    const path = resolvePath(schema, `${urn}:${key}`);
    if (!extension || !path?.attribute || path.attribute.mutability === 'readOnly') continue;
    applyToAttribute(resource, op, { path, filter: null, sub: path.sub }, entry);
  }
}

function applyToAttribute(resource: Resource, op: Operation['op'], target: PatchPath, value: unknown): void {
  const { attribute, extension } = target.path;
  if (!attribute) return;
  const holder = holderOf(resource, extension);
  if (attribute.multiValued) {
    const list = Array.isArray(holder[attribute.name]) ? (holder[attribute.name] as unknown[]) : [];
    const wasPrimary = list.filter(isPrimary);
    const next = target.filter
      ? applyToSelected(list, op, target.filter, target.sub, value, attribute)
      : target.sub
        ? applyToEach(list, op, target.sub, value, attribute)
        : applyToList(list, op, value, attribute);
    if (next.length > valueLimits.values)
      throw new UsherError('too_many', `${attribute.name} would have more than ${valueLimits.values} values.`);
    demote(next, wasPrimary);
    if (next.length > 0) holder[attribute.name] = next;
    else delete holder[attribute.name];
    return;
  }
  if (target.filter) throw new UsherError('invalid_path', `${attribute.name} is no list; it takes no filter.`);
  if (op === 'remove' || value === null) {
    removeSingle(holder, attribute, target.sub);
    return;
  }
  if (target.sub) {
    const normal = normaliseValue(target.sub, value, `${attribute.name}.${target.sub.name}`);
    if (normal !== undefined)
      holder[attribute.name] = { ...(holder[attribute.name] as Resource | undefined), [target.sub.name]: normal };
    return;
  }
  const normal = normaliseAttribute(attribute, value);
  if (normal === undefined) {
    if (attribute.returned !== 'never') removeSingle(holder, attribute, null);
  } else if (attribute.type === 'complex') {
    // Only what is named changes (RFC 7644 section 3.5.2.3); a null inside unassigns its own sub-attribute.
    const merged: Resource = { ...(holder[attribute.name] as Resource | undefined), ...(normal as Resource) };
    if (typeof value === 'object' && !Array.isArray(value)) {
      for (const [key, entry] of Object.entries(value as Resource)) {
        const sub = attribute.subAttributes.find((candidate) => candidate.name.toLowerCase() === key.toLowerCase());
        if (sub && entry === null) delete merged[sub.name];
      }
    }
    holder[attribute.name] = merged;
  } else holder[attribute.name] = normal;
}

function removeSingle(holder: Resource, attribute: AttributeDefinition, sub: AttributeDefinition | null): void {
  if (!sub && attribute.required)
    throw new UsherError('mutability', `${attribute.name} is required and can not be removed.`);
  const present = holder[attribute.name] as Resource | undefined;
  if (!sub) delete holder[attribute.name];
  else if (present) {
    const { [sub.name]: _removed, ...rest } = present;
    if (isEmpty(rest)) delete holder[attribute.name];
    else holder[attribute.name] = rest;
  }
}

function applyToList(list: unknown[], op: Operation['op'], value: unknown, attribute: AttributeDefinition): unknown[] {
  if (op === 'remove' && (value === undefined || value === null)) return [];
  const given = (normaliseAttribute(attribute, value) as unknown[] | undefined) ?? [];
  if (op === 'replace') return given;
  if (op === 'remove') {
    // Entra ID's default: the values to remove stand in `value`. An empty list names none.
    const unwanted = byValue(given);
    return list.filter((entry) => !(unwanted.get(valueKey(entry)) ?? []).some((at) => sameValue(entry, given[at])));
  }
  const result = [...list];
  const places = byValue(result);
  for (const entry of given) {
    const at = (places.get(valueKey(entry)) ?? []).find((place) => sameValue(result[place], entry));
    if (at === undefined) places.set(valueKey(entry), [...(places.get(valueKey(entry)) ?? []), result.push(entry) - 1]);
    else if (isObject(entry)) result[at] = { ...(result[at] as Resource), ...entry };
  }
  return result;
}

/** Where each value stands, so that a long list against a long list costs their lengths and not their product. */
function byValue(list: unknown[]): Map<string, number[]> {
  const places = new Map<string, number[]>();
  for (const [index, entry] of list.entries())
    places.set(valueKey(entry), [...(places.get(valueKey(entry)) ?? []), index]);
  return places;
}

function valueKey(entry: unknown): string {
  if (!isObject(entry)) return JSON.stringify(entry);
  return entry.value === undefined ? '' : JSON.stringify(entry.value);
}

const isObject = (value: unknown): value is Resource =>
  value !== null && typeof value === 'object' && !Array.isArray(value);

/** The same entry: equal, or equal in `value` and, where both say one, in `type`. */
function sameValue(a: unknown, b: unknown): boolean {
  if (!isObject(a) || !isObject(b)) return a === b;
  if (a.value === undefined || b.value === undefined) return sameValues(a, b);
  return (
    a.value === b.value &&
    (a.type === undefined || b.type === undefined || String(a.type).toLowerCase() === String(b.type).toLowerCase())
  );
}

/** `emails.value` without a filter means that part of every value. */
function applyToEach(
  list: unknown[],
  op: Operation['op'],
  sub: AttributeDefinition,
  value: unknown,
  attribute: AttributeDefinition,
): unknown[] {
  if (list.length === 0 && op !== 'remove') return [setSub({}, op, sub, value, attribute)];
  return list.map((entry) => setSub(entry, op, sub, value, attribute)).filter((entry) => !isEmpty(entry));
}

function setSub(
  entry: unknown,
  op: Operation['op'],
  sub: AttributeDefinition,
  value: unknown,
  attribute: AttributeDefinition,
): Resource {
  const { [sub.name]: _before, ...rest } = isObject(entry) ? entry : {};
  if (op === 'remove' || value === null) return rest;
  const normal = normaliseValue(sub, value, `${attribute.name}.${sub.name}`);
  return normal === undefined ? rest : { ...rest, [sub.name]: normal };
}

function applyToSelected(
  list: unknown[],
  op: Operation['op'],
  filter: Filter,
  sub: AttributeDefinition | null,
  value: unknown,
  attribute: AttributeDefinition,
): unknown[] {
  const selected = list.map((entry) => matchesValue(entry, filter));
  if (op === 'remove') {
    if (!sub) return list.filter((_entry, index) => !selected[index]);
    return list
      .map((entry, index) => (selected[index] ? setSub(entry, op, sub, value, attribute) : entry))
      .filter((entry) => !isEmpty(entry));
  }
  if (!selected.includes(true)) {
    const seed = seedFrom(filter);
    if (!seed) throw new UsherError('no_target', `No value of ${attribute.name} meets the filter.`);
    if (value === null) return list;
    const made = sub ? setSub(seed, op, sub, value, attribute) : { ...seed, ...asObject(attribute, value) };
    const normal = normaliseValue(attribute, made, attribute.name);
    return normal === undefined ? list : [...list, normal];
  }
  return list.map((entry, index) => {
    if (!selected[index]) return entry;
    if (sub) return setSub(entry, op, sub, value, attribute);
    const given = asObject(attribute, value);
    return op === 'add' ? { ...(entry as Resource), ...given } : { ...(seedFrom(filter) ?? {}), ...given };
  });
}

function asObject(attribute: AttributeDefinition, value: unknown): Resource {
  const single = Array.isArray(value) && value.length === 1 ? value[0] : value;
  const normal = normaliseValue(attribute, single, attribute.name);
  return isObject(normal) ? normal : {};
}

/** The value that a filter of eq and and describes; null when it describes none. */
function seedFrom(filter: Filter): Resource | null {
  if (filter.kind === 'compare' && filter.operator === 'eq' && filter.value !== null && filter.path.attribute) {
    const value = filter.path.attribute.type === 'boolean' ? /^true$/i.test(String(filter.value)) : filter.value;
    return { [filter.path.attribute.name]: value };
  }
  if (filter.kind !== 'and') return null;
  let seed: Resource = {};
  for (const term of filter.terms) {
    const part = seedFrom(term);
    if (!part) return null;
    seed = { ...seed, ...part };
  }
  return seed;
}

const isPrimary = (entry: unknown): boolean => isObject(entry) && entry.primary === true;

/** The new primary value takes the place of the old one (RFC 7644 section 3.5.2). */
function demote(list: unknown[], wasPrimary: unknown[]): void {
  if (list.filter(isPrimary).length < 2) return;
  const fresh = list.some((entry) => isPrimary(entry) && !wasPrimary.some((before) => sameValue(before, entry)));
  let kept = false;
  list.forEach((entry, index) => {
    if (!isPrimary(entry)) return;
    const old = wasPrimary.some((before) => sameValue(before, entry));
    if ((fresh && old) || kept) list[index] = { ...(entry as Resource), primary: false };
    else kept = true;
  });
}
