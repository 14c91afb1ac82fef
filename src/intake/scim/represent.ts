/** What a client gets to see: the stored resource with id, schemas and meta, cut to `attributes` or without `excludedAttributes` (RFC 7644 section 3.9). */
import type { StoredUser } from '../../ports.ts';
import { holderOf, type Resource } from './normalise.ts';
import { type AttributePath, type ResourceSchema, resolvePath, urns, userSchema } from './schema.ts';
import { versionOf } from './version.ts';

export interface Projection {
  include: AttributePath[] | null;
  exclude: AttributePath[];
}

export const everything: Projection = { include: null, exclude: [] };

/** Names nobody knows are skipped: they can not be shown anyway. */
export function readProjection(
  query: { attributes?: unknown; excludedAttributes?: unknown },
  schema: ResourceSchema,
): Projection {
  const list = (value: unknown): AttributePath[] | null => {
    const names = (Array.isArray(value) ? value.map(String) : typeof value === 'string' ? value.split(',') : [])
      .map((name) => name.trim())
      .filter(Boolean);
    return names.length === 0 ? null : names.map((name) => resolvePath(schema, name)).filter((path) => path !== null);
  };
  const include = list(query.attributes);
  return { include, exclude: include ? [] : (list(query.excludedAttributes) ?? []) };
}

/** `status` is the read-only part of the Usher extension, for who asked for it by name. */
export function representUser(
  user: StoredUser,
  base: string,
  projection: Projection = everything,
  status: Resource | null = null,
): Resource {
  const extensions = userSchema.extensions
    .map((extension) => extension.urn)
    .filter((urn) => user.resource[urn] !== undefined);
  const whole: Resource = {
    schemas: [urns.user, ...extensions],
    id: user.resourceId,
    ...user.resource,
    active: user.active,
    ...(user.groups.length > 0
      ? { groups: user.groups.map((group) => ({ ...group, $ref: `${base}/Groups/${group.value}`, type: 'direct' })) }
      : {}),
    ...(status ? { [urns.usher]: { ...(user.resource[urns.usher] as Resource | undefined), ...status } } : {}),
    meta: {
      resourceType: 'User',
      created: user.createdAt.toISOString(),
      lastModified: user.lastModifiedAt.toISOString(),
      location: `${base}/Users/${user.resourceId}`,
      version: versionOf(user),
    },
  };
  return project(whole, projection);
}

export function project(whole: Resource, { include, exclude }: Projection): Resource {
  if (include) {
    const result: Resource = { schemas: whole.schemas, id: whole.id };
    for (const path of include) copy(whole, result, path);
    return result;
  }
  if (exclude.length === 0) return whole;
  const result = structuredClone(whole);
  for (const path of exclude) remove(result, path);
  return result;
}

function copy(from: Resource, to: Resource, { extension, attribute, sub }: AttributePath): void {
  const source = extension ? (from[extension] as Resource | undefined) : from;
  if (!source) return;
  if (!attribute) {
    if (extension) to[extension] = source;
    return;
  }
  const value = source[attribute.name];
  if (value === undefined) return;
  const target = holderOf(to, extension);
  if (!sub) target[attribute.name] = value;
  else if (Array.isArray(value)) {
    const before = (target[attribute.name] as Resource[] | undefined) ?? value.map(() => ({}));
    target[attribute.name] = value.map((entry, index) => ({ ...before[index], ...pick(entry as Resource, sub.name) }));
  } else
    target[attribute.name] = {
      ...(target[attribute.name] as Resource | undefined),
      ...pick(value as Resource, sub.name),
    };
}

const pick = (value: Resource, name: string): Resource => (value?.[name] === undefined ? {} : { [name]: value[name] });

function remove(from: Resource, { extension, attribute, sub }: AttributePath): void {
  const source = extension ? (from[extension] as Resource | undefined) : from;
  // `returned: always` can not be excluded (RFC 7643 section 7).
  if (!source || attribute?.returned === 'always') return;
  if (!attribute) {
    if (extension) delete from[extension];
    return;
  }
  if (!sub) delete source[attribute.name];
  else
    for (const entry of [source[attribute.name]].flat() as (Resource | undefined)[]) if (entry) delete entry[sub.name];
}
