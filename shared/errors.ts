/**
 * The register of errors. Every failure that a person or a program can see has one code here, with its HTTP
 * status, whose fault it was, and a sentence for the docs. Codes never change their meaning.
 */

/** Whose fault a failure was. */
export type Cause = 'client' | 'backend' | 'proxy' | 'configuration';

interface ErrorEntry {
  readonly status: number;
  readonly cause: Cause;
  readonly title: string;
}

/** Failures of the control API and of configuration. The data path has its own causes in `shared/causes.ts`. */
export const ERRORS = {
  invalid: { status: 400, cause: 'client', title: 'The object or request is not valid' },
  not_json: { status: 400, cause: 'client', title: 'The body is not valid JSON' },
  unauthorized: { status: 401, cause: 'client', title: 'No valid token or session was given' },
  forbidden: { status: 403, cause: 'client', title: 'This role may not do that' },
  csrf: { status: 403, cause: 'client', title: 'A change by cookie needs the X-CSRF-Token of the session' },
  not_found: { status: 404, cause: 'client', title: 'There is no such object' },
  worker_unknown: { status: 404, cause: 'client', title: 'The worker is not registered; register it again' },
  method_not_allowed: { status: 405, cause: 'client', title: 'This resource does not take that method' },
  host_taken: { status: 409, cause: 'client', title: 'Another domain already claims this host' },
  still_referenced: { status: 409, cause: 'client', title: 'Other objects still name this one' },
  conflict: { status: 409, cause: 'client', title: 'The change collides with the present state' },
  history_trimmed: {
    status: 410,
    cause: 'client',
    title: 'The history that is kept does not reach that far back',
  },
  precondition_failed: { status: 412, cause: 'client', title: 'The object has changed since it was read' },
  too_large: { status: 413, cause: 'client', title: 'The body is larger than this call takes' },
  media_type: { status: 415, cause: 'client', title: 'Bodies are application/json' },
  upgrade_required: { status: 426, cause: 'client', title: 'This resource speaks WebSocket (RFC 6455)' },
  rate_limited: { status: 429, cause: 'client', title: 'Too many attempts; wait and try again' },
  internal: {
    status: 500,
    cause: 'proxy',
    title: 'A failure of ours; the log has the details under this request id',
  },
  store_unavailable: { status: 503, cause: 'proxy', title: 'The store does not answer; nothing was changed' },
  outcome_unknown: {
    status: 503,
    cause: 'proxy',
    title: 'The store broke off while writing; read the object to see whether the change was made',
  },
  setting_invalid: { status: 500, cause: 'configuration', title: 'A setting is not valid' },
  cannot_start: { status: 500, cause: 'configuration', title: 'The process cannot start' },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof ERRORS;

/** One problem inside a document: `path` is dotted with list indexes, e.g. `routes.2.path`. */
export interface FieldProblem {
  readonly path: string;
  readonly message: string;
}

/** An expected failure with a code of the register. `message` says what is wrong and what to do next. */
export class KontrolError extends Error {
  readonly code: ErrorCode;
  readonly problems: readonly FieldProblem[];
  /** Seconds after which another attempt makes sense; null when the code alone says it. */
  readonly retryAfter: number | null;
  override readonly name = 'KontrolError';

  constructor(
    code: ErrorCode,
    message?: string,
    problems: readonly FieldProblem[] = [],
    options?: ErrorOptions & { readonly retryAfter?: number },
  ) {
    super(message ?? ERRORS[code].title, options);
    this.code = code;
    this.problems = problems;
    this.retryAfter = options?.retryAfter ?? null;
  }

  get status(): number {
    return ERRORS[this.code].status;
  }
}
