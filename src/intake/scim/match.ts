/** A filter over one value in memory: the PATCH engine's way to select values of a list. Case counts only where the attribute says so (RFC 7643 section 2.2). */
import type { Filter, FilterValue } from './filter.ts';
import type { AttributeDefinition } from './schema.ts';

/** `value` is one entry of a list; the filter's paths are its sub-attributes. */
export function matchesValue(value: unknown, filter: Filter): boolean {
  switch (filter.kind) {
    case 'and':
      return filter.terms.every((term) => matchesValue(value, term));
    case 'or':
      return filter.terms.some((term) => matchesValue(value, term));
    case 'not':
      return !matchesValue(value, filter.term);
    case 'present':
      return isPresent(partOf(value, filter.path.attribute));
    case 'compare':
      return compares(partOf(value, filter.path.attribute), filter.operator, filter.value, filter.path.attribute);
    case 'values':
      return false;
  }
}

function partOf(value: unknown, attribute: AttributeDefinition | null): unknown {
  if (value === null || typeof value !== 'object' || !attribute) return value;
  return (value as Record<string, unknown>)[attribute.name];
}

const isPresent = (value: unknown): boolean =>
  value !== undefined && value !== null && value !== '' && !(Array.isArray(value) && value.length === 0);

function compares(
  present: unknown,
  operator: string,
  wanted: FilterValue,
  attribute: AttributeDefinition | null,
): boolean {
  if (wanted === null) return operator === 'eq' ? !isPresent(present) : operator === 'ne' && isPresent(present);
  if (!isPresent(present)) return operator === 'ne';
  if (attribute?.type === 'boolean') {
    const same = String(present).toLowerCase() === String(wanted).toLowerCase();
    return operator === 'ne' ? !same : operator === 'eq' && same;
  }
  const fold = (entry: unknown) => (attribute?.caseExact ? String(entry) : String(entry).toLowerCase());
  const [left, right] =
    attribute?.type === 'integer' || attribute?.type === 'decimal'
      ? [Number(present), Number(wanted)]
      : [fold(present), fold(wanted)];
  switch (operator) {
    case 'eq':
      return left === right;
    case 'ne':
      return left !== right;
    case 'gt':
      return left > right;
    case 'ge':
      return left >= right;
    case 'lt':
      return left < right;
    case 'le':
      return left <= right;
    case 'co':
      return String(left).includes(String(right));
    case 'sw':
      return String(left).startsWith(String(right));
    default:
      return String(left).endsWith(String(right));
  }
}
