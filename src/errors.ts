/**
 * One class, a closed set of codes, one table. A row says for each code what the queue does, what the SCIM client sees,
 * and what the admin reads and does next. Vendor faults are translated at the edge, by status and code, never by message.
 *
 * An expected "no" (no seats left) is a returned value and is not here.
 */

/**
 * - `retry`: full jitter, without end
 * - `wait`: as long as Retry-After asks, burning no attempt
 * - `circuit`: the connection is at fault, not the person; look again in five minutes
 * - `person`: somebody must act
 * - `terminal`: nothing changes before the wish does
 */
export type QueueAnswer = 'retry' | 'wait' | 'circuit' | 'person' | 'terminal';

export type ScimType =
  | 'invalidFilter'
  | 'tooMany'
  | 'uniqueness'
  | 'mutability'
  | 'invalidSyntax'
  | 'invalidPath'
  | 'noTarget'
  | 'invalidValue'
  | 'invalidVers'
  | 'sensitive'
  | 'invalidCursor'
  | 'expiredCursor'
  | 'invalidCount';

interface ErrorRow {
  queue: QueueAnswer;
  status: number;
  scimType?: ScimType;
  title: string;
  next: string;
}

const row = (queue: QueueAnswer, status: number, title: string, next: string, scimType?: ScimType): ErrorRow => ({
  queue,
  status,
  title,
  next,
  ...(scimType ? { scimType } : {}),
});

export const errorTable = {
  // what a caller sent
  invalid_syntax: row(
    'terminal',
    400,
    'The body is not what was expected',
    'Send what the documentation of this address (/docs) shows.',
    'invalidSyntax',
  ),
  invalid_value: row('terminal', 400, 'A value is not allowed', 'Correct the named field.', 'invalidValue'),
  invalid_filter: row(
    'terminal',
    400,
    'The filter can not be read',
    'Correct the filter at the named place (RFC 7644 section 3.4.2.2).',
    'invalidFilter',
  ),
  invalid_path: row(
    'terminal',
    400,
    'The path can not be read',
    'Correct the path (RFC 7644 section 3.5.2).',
    'invalidPath',
  ),
  would_leave: row('terminal', 409, 'The person would leave', 'Correct what is sent, or say that it is meant.'),
  sensitive: row(
    'terminal',
    403,
    'The question names a secret',
    'Ask without it (RFC 7644 section 7.5.2).',
    'sensitive',
  ),
  no_target: row('terminal', 400, 'The path selects nothing', 'Name an existing value, or a path at all.', 'noTarget'),
  mutability: row(
    'terminal',
    400,
    'The attribute can not be changed',
    'Leave read-only and required attributes alone.',
    'mutability',
  ),
  invalid_cursor: row(
    'terminal',
    400,
    'The cursor is not one of ours',
    'Begin again with an empty cursor (RFC 9865).',
    'invalidCursor',
  ),
  expired_cursor: row(
    'terminal',
    400,
    'The cursor has expired',
    'Begin again with an empty cursor (RFC 9865).',
    'expiredCursor',
  ),
  invalid_count: row(
    'terminal',
    400,
    'The count is not allowed',
    'Use a whole number up to the maximum page size (RFC 9865).',
    'invalidCount',
  ),
  too_many: row('terminal', 400, 'The request asks for too much', 'Ask for less at a time.', 'tooMany'),
  uniqueness: row(
    'terminal',
    409,
    'The value is taken',
    'Use the resource that has it, or another value.',
    'uniqueness',
  ),
  conflict: row('retry', 409, 'Somebody changed it at the same time', 'Read it again and repeat the change.'),
  precondition_failed: row(
    'terminal',
    412,
    'The resource has changed since it was read',
    'Read it again and repeat the change.',
  ),
  not_found: row('terminal', 404, 'There is no such resource', 'Check the id.'),
  method_not_allowed: row(
    'terminal',
    405,
    'The method is not allowed here',
    'Use one of the methods in the Allow header.',
  ),
  not_implemented: row('terminal', 501, 'This is not offered', 'See ServiceProviderConfig for what is.'),
  payload_too_large: row('terminal', 413, 'The body is too large', 'Send less at a time.'),
  unsupported_media_type: row(
    'terminal',
    415,
    'The content type is not supported',
    'Send application/scim+json or application/json in UTF-8.',
  ),
  unauthorized: row(
    'terminal',
    401,
    'Nobody is signed in',
    'Send Authorization: Bearer with a live token; people sign in at /sign-in.',
  ),
  cross_site: row(
    'terminal',
    403,
    'The request does not come from this site',
    'Send it from a page of this site, or with the header X-Usher-CSRF.',
  ),
  forbidden: row('terminal', 403, 'This is not allowed', 'Ask somebody with the right role.'),
  rate_limited: row('wait', 429, 'Too many requests', 'Wait as long as Retry-After says.'),
  source_paused: row('wait', 503, 'The source is paused', 'Wait; an operator resumes it with «usher source resume».'),
  // our own parts
  database_unavailable: row(
    'retry',
    503,
    'The database does not answer',
    'Send it again: what was sent may or may not have been written. An operator looks at PostgreSQL.',
  ),
  internal: row('retry', 500, 'Something failed here', 'Send it again; an operator looks at the log.'),
  queue_unavailable: row(
    'retry',
    503,
    'The queue does not answer',
    'An operator looks at Redis; nothing is lost, people are found again by the sweeper.',
  ),
  queue_unsafe: row('person', 500, 'The queue could lose or garble hints', 'Run the two commands of the message.'),
  fence_lost: row('retry', 409, 'Another worker took this person over', 'Nothing: the other worker goes on.'),
  // the account
  account_unavailable: row('retry', 503, 'The scheduling account does not answer', 'Nothing: it is tried again.'),
  account_refused: row('person', 409, 'Refused', 'Do as the message says.'),
  account_connection_down: row(
    'circuit',
    503,
    'The connection to the scheduling account does not work',
    'An operator checks USHER_ONCEHUB_API_KEY; «usher doctor» tries it.',
  ),
  plan_has_no_api: row(
    'circuit',
    503,
    'The plan of the scheduling account has no API',
    'An account administrator upgrades the plan; it is tried again every five minutes.',
  ),
  user_limit: row(
    'person',
    409,
    'The account takes no more users',
    'An account administrator upgrades the plan or removes users. It is tried again every hour.',
  ),
  account_owner_protected: row(
    'person',
    409,
    'The owner of the account is never changed by a tool',
    'The owner does it by hand, or another Administrator is chosen.',
  ),
  invalid_profile: row(
    'person',
    409,
    'The scheduling account does not take the profile',
    "The identity provider's admin corrects the named field there.",
  ),
  email_taken_elsewhere: row(
    'person',
    409,
    'The address belongs to another user',
    'An account administrator frees the address.',
  ),
  not_open: row('terminal', 409, 'It is not open any more', 'Nothing: somebody, or what was seen, has closed it.'),
  needs_license: row(
    'person',
    409,
    'The owner has no license',
    'Assign the owner a «scheduled-meetings» license first.',
  ),
  no_seats_left: row(
    'person',
    409,
    'Every seat that was bought is taken',
    'Buy or free a seat; or stand in line: POST /api/v1/account/users/{accountUserId}/licenses with "wait": true.',
  ),
  one_license_account: row(
    'person',
    409,
    'The account holds one license only',
    'Leave the role out, or say in the policy (account.pools) that more licenses were bought.',
  ),
  managed_by_rule: row(
    'person',
    409,
    'A rule of the policy manages this field',
    'Change the policy or the directory, or send "keepByHand": true.',
  ),
  idempotency_key_reused: row(
    'terminal',
    422,
    'The Idempotency-Key was used for another request',
    'Use a new key for a new request, and the same body with the same key.',
  ),
  mail_unavailable: row('retry', 503, 'The mail server does not answer', 'Nothing: it is tried again.'),
  sign_in_failed: row('terminal', 401, 'The sign-in did not succeed', 'Begin again at /sign-in.'),
  last_licensed_administrator: row(
    'person',
    409,
    'The last Administrator with a license is protected',
    'Give another Administrator a license first.',
  ),
  // the tenant
  throttled: row('wait', 429, 'We are asked to slow down', 'Nothing: it is tried again when that is allowed.'),
  graph_unavailable: row('retry', 503, 'Microsoft Graph does not answer', 'Nothing: it is tried again.'),
  connection_down: row(
    'circuit',
    503,
    'The connection to the tenant does not work',
    'An operator checks the USHER_GRAPH settings and the app registration.',
  ),
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof errorTable;

export class UsherError extends Error {
  readonly code: ErrorCode;
  /** Seconds, for `wait`. */
  readonly retryAfterSeconds: number | undefined;

  constructor(code: ErrorCode, detail: string, options: { cause?: unknown; retryAfterSeconds?: number } = {}) {
    super(detail, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'UsherError';
    this.code = code;
    this.retryAfterSeconds = options.retryAfterSeconds;
  }

  get row(): ErrorRow {
    return errorTable[this.code];
  }
}

/** Whatever was thrown, as one of ours; the cause is kept. */
export function asUsherError(thrown: unknown): UsherError {
  if (thrown instanceof UsherError) return thrown;
  return new UsherError('internal', 'An unexpected fault.', { cause: thrown });
}
