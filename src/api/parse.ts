import type { z } from 'zod';
import { UsherError } from '../errors.ts';

/** Throws `invalid_value` that names every faulty field. */
export function parse<S extends z.ZodType>(schema: S, value: unknown): z.output<S> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new UsherError(
    'invalid_value',
    parsed.error.issues.map((issue) => `${issue.path.join('.') || 'body'}: ${issue.message}`).join('; '),
  );
}
