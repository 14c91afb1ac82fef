/** Weak ETags as meta.version (RFC 7644 section 3.14, RFC 9110 section 13.1). */
import { UsherError } from '../../errors.ts';

export const versionOf = (resource: { version: number }): string => `W/"${resource.version}"`;

/** A list of versions, or * for any. Weak and strong forms of our version are the same one. */
export function namesVersion(header: string, resource: { version: number }): boolean {
  return header
    .split(',')
    .some((entry) => entry.trim() === '*' || entry.trim().replace(/^W\//, '') === `"${resource.version}"`);
}

export function checkIfMatch(header: string | undefined, resource: { version: number }): void {
  if (header !== undefined && !namesVersion(header, resource))
    throw new UsherError('precondition_failed', `The resource is at version ${versionOf(resource)} by now.`);
}
