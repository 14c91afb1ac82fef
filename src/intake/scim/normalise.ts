/**
 * Bodies as identity providers send them → one canonical resource: names in the schema's spelling, values of the schema's types, nothing unassigned.
 *
 * | sent | kept |
 * |---|---|
 * | null, [] | nothing: unassigned (RFC 7643 section 2.5) |
 * | "True", "False" where a boolean belongs | the boolean (Entra ID) |
 * | a bare string where `{ value }` belongs | `{ value }` (manager, Entra ID) |
 * | `[{ value }]` where one object belongs | the object (manager, Entra ID) |
 * | one object where a list belongs | a list of it |
 * | attributes and extensions nobody declared, read-only ones, password | dropped |
 */
import { UsherError } from '../../errors.ts';
import { type AttributeDefinition, findAttribute, type ResourceSchema, resolvePath } from './schema.ts';

export type Resource = Record<string, unknown>;

export const valueLimits = { text: 4096, name: 512, binary: 262_144, values: 250 };

/** The whole of a POST or PUT body. Throws `invalid_value`, naming the attribute. */
export function normaliseResource(body: unknown, schema: ResourceSchema): Resource {
  if (body === null || typeof body !== 'object' || Array.isArray(body))
    throw new UsherError('invalid_syntax', 'The body must be a JSON object.');
  const resource: Resource = {};
  for (const [key, value] of Object.entries(body)) {
    const path = resolvePath(schema, key);
    if (!path || (path.sub === null && path.attribute?.mutability === 'readOnly')) continue;
    if (path.extension && !path.attribute) assignExtension(resource, path.extension, value, schema);
    else if (path.attribute && path.sub) {
      // Okta and Entra ID templates now and then flatten: "name.givenName".
      const normal = normaliseValue(path.sub, value, `${path.attribute.name}.${path.sub.name}`);
      const holder = holderOf(resource, path.extension);
      if (normal !== undefined && !path.attribute.multiValued)
        holder[path.attribute.name] = {
          ...(holder[path.attribute.name] as Resource | undefined),
          [path.sub.name]: normal,
        };
    } else if (path.attribute) {
      const normal = normaliseAttribute(path.attribute, value);
      if (normal !== undefined) holderOf(resource, path.extension)[path.attribute.name] = normal;
    }
  }
  return resource;
}

function assignExtension(resource: Resource, urn: string, value: unknown, schema: ResourceSchema): void {
  if (value === null || value === undefined) return;
  if (typeof value !== 'object' || Array.isArray(value))
    throw new UsherError('invalid_value', `${urn} must be an object.`);
  const attributes = schema.extensions.find((extension) => extension.urn === urn)?.attributes ?? [];
  for (const [key, entry] of Object.entries(value)) {
    const attribute = findAttribute(attributes, key);
    if (!attribute || attribute.mutability === 'readOnly') continue;
    const normal = normaliseAttribute(attribute, entry);
    if (normal !== undefined) holderOf(resource, urn)[attribute.name] = normal;
  }
}

/** Where an attribute of that schema lives in the resource; made where it is missing. */
export function holderOf(resource: Resource, extension: string | null): Resource {
  if (!extension) return resource;
  resource[extension] ??= {};
  return resource[extension] as Resource;
}

/** One attribute, list or not; undefined when the value says "unassigned". */
export function normaliseAttribute(attribute: AttributeDefinition, value: unknown, name = attribute.name): unknown {
  if (attribute.returned === 'never') return undefined;
  if (!attribute.multiValued) return normaliseValue(attribute, value, name);
  if (value === null || value === undefined) return undefined;
  const entries = Array.isArray(value) ? value : [value];
  if (entries.length > valueLimits.values)
    throw new UsherError('invalid_value', `${name} has more than ${valueLimits.values} values.`);
  const list = entries.map((entry) => normaliseValue(attribute, entry, name)).filter((entry) => entry !== undefined);
  keepOnePrimary(list);
  return list.length > 0 ? list : undefined;
}

/** At most one value of a list is the primary one (RFC 7643 section 2.4); of several in one body the first stays. */
function keepOnePrimary(list: unknown[]): void {
  let found = false;
  for (const entry of list) {
    const value = entry as Resource | null;
    if (value === null || typeof value !== 'object' || value.primary !== true) continue;
    if (found) value.primary = false;
    found = true;
  }
}

/** One value, or one entry of a list. */
export function normaliseValue(attribute: AttributeDefinition, value: unknown, name: string): unknown {
  if (value === null || value === undefined) return undefined;
  switch (attribute.type) {
    case 'complex':
      return normaliseComplex(attribute, value, name);
    case 'boolean':
      if (typeof value === 'boolean') return value;
      if (typeof value === 'string' && /^(true|false)$/i.test(value.trim())) return /^true$/i.test(value.trim());
      throw wrongType(name, 'true or false', value);
    case 'integer':
    case 'decimal': {
      const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
      if (
        typeof number === 'number' &&
        Number.isFinite(number) &&
        (attribute.type === 'decimal' || Number.isInteger(number))
      )
        return number;
      throw wrongType(name, 'a number', value);
    }
    default:
      if (typeof value !== 'string') throw wrongType(name, 'a text', value);
      checkText(attribute, value, name);
      return value;
  }
}

function checkText(attribute: AttributeDefinition, value: string, name: string): void {
  const limit =
    attribute.type === 'binary'
      ? valueLimits.binary
      : ['userName', 'externalId'].includes(attribute.name)
        ? valueLimits.name
        : valueLimits.text;
  if (value.length > limit) throw new UsherError('invalid_value', `${name} is longer than ${limit} characters.`);
  if (value.includes('\u0000'))
    throw new UsherError('invalid_value', `${name} holds the character U+0000, which can not be stored.`);
  // Half of a surrogate pair: an emoji that was cut in two on its way.
  if (/\p{Surrogate}/u.test(value))
    throw new UsherError('invalid_value', `${name} holds half a character (an unpaired surrogate).`);
  if (attribute.name === 'userName' && /\p{Control}/u.test(value))
    throw new UsherError('invalid_value', 'userName holds a control character.');
}

function normaliseComplex(attribute: AttributeDefinition, value: unknown, name: string): Resource | undefined {
  const source = unwrap(attribute, value);
  if (source === undefined) return undefined;
  if (source === null || typeof source !== 'object' || Array.isArray(source)) throw wrongType(name, 'an object', value);
  const result: Resource = {};
  for (const [key, entry] of Object.entries(source)) {
    // Entra ID's complex roles say displayName where the schema says display.
    const sub =
      findAttribute(attribute.subAttributes, key) ??
      (key.toLowerCase() === 'displayname' ? findAttribute(attribute.subAttributes, 'display') : undefined);
    if (!sub || (sub.mutability === 'readOnly' && sub.name !== 'value' && sub.name !== '$ref')) continue;
    const normal = normaliseValue(sub, entry, `${name}.${sub.name}`);
    if (normal !== undefined) result[sub.name] = normal;
  }
  return Object.keys(result).length > 0 ? result : undefined;
}

function unwrap(attribute: AttributeDefinition, value: unknown): unknown {
  if (Array.isArray(value) && !attribute.multiValued) {
    if (value.length > 1)
      throw new UsherError('invalid_value', `${attribute.name} takes one value, not ${value.length}.`);
    return unwrap(attribute, value[0]);
  }
  if (typeof value !== 'string') return value;
  // Entra ID's role assignments arrive as JSON inside a string.
  if (/^\s*[{[]/.test(value)) {
    try {
      return JSON.parse(value) as unknown;
    } catch {
      // an ordinary text that begins with a brace
    }
  }
  if (value === '') return undefined;
  return findAttribute(attribute.subAttributes, 'value') ? { value } : value;
}

function wrongType(name: string, wanted: string, got: unknown): UsherError {
  const what = Array.isArray(got)
    ? 'a list'
    : got === null
      ? 'null'
      : typeof got === 'object'
        ? 'an object'
        : `${typeof got} ${JSON.stringify(got).slice(0, 40)}`;
  return new UsherError('invalid_value', `${name} must be ${wanted}, not ${what}.`);
}

/** What every stored user must have. */
export function checkUser(resource: Resource): void {
  const userName = resource.userName;
  if (typeof userName !== 'string' || userName.trim() === '')
    throw new UsherError('invalid_value', 'userName is required and must not be empty.');
}

/** Equal as JSON, whatever the order of keys: the order of a body's keys means nothing. */
export function sameValues(a: unknown, b: unknown): boolean {
  return JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
}

/** The same keys in one order; the order of a body's keys means nothing. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, entry]) => [key, sorted(entry)]),
  );
}
