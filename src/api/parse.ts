import type { z } from 'zod';
import { UsherError } from '../errors.ts';

const mostFaults = 50;

/** Throws `invalid_value` that names every faulty field, up to a readable number of them. */
export function parse<S extends z.ZodType>(schema: S, value: unknown): z.output<S> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.flatMap((issue) => told(issue, []));
  const more = faults.length - mostFaults;
  throw new UsherError(
    'invalid_value',
    `${faults.slice(0, mostFaults).join('; ')}${more > 0 ? `; and ${more} more` : ''}`.slice(0, 8000),
  );
}

function told(issue: z.core.$ZodIssue, before: PropertyKey[]): string[] {
  const path = [...before, ...issue.path];
  // Of several shapes, the one that fits best says what is wrong.
  if (issue.code === 'invalid_union' && issue.errors.length > 0) {
    const best = [...issue.errors].sort((a, b) => strangers(a) - strangers(b) || a.length - b.length)[0] ?? [];
    return best.flatMap((one) => told(one, path));
  }
  return [`${path.join('.') || 'body'}: ${issue.message}`];
}

/** A shape whose keys are not even known is not the one that was meant. */
const strangers = (issues: z.core.$ZodIssue[]): number =>
  issues.filter((issue) => issue.code === 'unrecognized_keys').length;
