/**
 * What people read when a value is not what a schema wants: `must be a string, is a number (5)`, instead of the
 * schema library's own words. Importing this file sets them for every schema of the process; a schema that says more
 * itself is not overruled.
 */
import { z } from 'zod';

type Issue = z.core.$ZodIssue;
type RawIssue = z.core.$ZodRawIssue;

/** Longer texts are not repeated to whoever wrote them. */
const MAX_SHOWN = 24;
/** A number where a text is wanted may be a secret of digits, without its quotes; one this short is none. */
const MAX_DIGITS = 3;

const TYPES: Readonly<Record<string, string>> = {
  string: 'a string',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
  record: 'an object',
  null: 'null',
};
/** What may stand in a text without being a secret: where one of these is wanted, none is written. */
const PLAIN_TYPES: ReadonlySet<string> = new Set(['number', 'int', 'boolean']);
const FORMATS: Readonly<Record<string, string>> = {
  datetime: 'a time like 2027-01-31T12:00:00Z',
  email: 'an e-mail address',
  url: 'an address like https://example.com',
};
const UNITS: Readonly<Record<string, readonly [one: string, many: string]>> = {
  string: ['character', 'characters'],
  array: ['entry', 'entries'],
};

z.config({ localeError: plainMessage });

function plainMessage(issue: RawIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return `must be ${TYPES[issue.expected] ?? issue.expected}, is ${told(issue.input, PLAIN_TYPES.has(issue.expected))}`;
    case 'invalid_value':
      return `must be ${issue.values.length === 1 ? '' : 'one of '}${issue.values.map((value) => JSON.stringify(value)).join(', ')}, is ${told(issue.input, true)}`;
    case 'too_big':
      return bounded(issue.origin, issue.inclusive === false ? 'less than' : 'at most', issue.maximum, issue);
    case 'too_small':
      return bounded(
        issue.origin,
        issue.inclusive === false ? 'more than' : 'at least',
        issue.minimum,
        issue,
      );
    case 'not_multiple_of':
      return `must be a multiple of ${issue.divisor}, is ${told(issue.input, true)}`;
    case 'invalid_format':
      return formatMessage(issue);
    case 'invalid_union':
      return 'is in none of the forms that are allowed here';
    default:
      return 'is not valid';
  }
}

/** `must be a number or a string, is null`: one sentence when every form of a union fails as a whole; else null. */
export function unionMessage(branches: readonly (readonly Issue[])[]): string | null {
  const wanted = new Set<string>();
  let is = '';
  for (const [issue, ...more] of branches) {
    if (issue === undefined || more.length > 0 || issue.path.length > 0) return null;
    if (issue.code !== 'invalid_type' && issue.code !== 'invalid_value') return null;
    const [, must, found] = /^must be (?:one of )?(.+?), is (.+)$/s.exec(issue.message) ?? [];
    if (must === undefined || found === undefined) return null;
    wanted.add(must);
    if (found.length > is.length) is = found;
  }
  const list = [...wanted];
  const last = list.pop();
  return last === undefined
    ? null
    : `must be ${list.length === 0 ? '' : `${list.join(', ')} or `}${last}, is ${is}`;
}

/** What a value is, for the sentence `… is …`. */
function told(value: unknown, show: boolean): string {
  if (value === undefined) return 'missing';
  if (value === null || typeof value === 'boolean') return String(value);
  if (typeof value === 'number') {
    if (Number.isNaN(value)) return 'not a number';
    return show || String(value).length <= MAX_DIGITS ? `a number (${value})` : 'a number';
  }
  if (typeof value === 'string') {
    const shown = show && value.length <= MAX_SHOWN;
    return value === '' ? 'an empty string' : `a string${shown ? ` (${JSON.stringify(value)})` : ''}`;
  }
  return Array.isArray(value) ? 'a list' : 'an object';
}

function bounded(origin: string, how: string, limit: number | bigint, { input }: RawIssue): string {
  const units = UNITS[origin];
  if (units === undefined) return `must be ${how} ${limit}, is ${told(input, true)}`;
  const length = (input as { length?: unknown } | null | undefined)?.length;
  const has = typeof length === 'number' ? `, has ${length}` : '';
  return `must have ${how} ${limit} ${units[limit === 1 ? 0 : 1]}${has}`;
}

function formatMessage(issue: z.core.$ZodRawIssue & { readonly code: 'invalid_format' }): string {
  const { format, prefix, suffix, includes, pattern } = issue as typeof issue & Record<string, unknown>;
  if (format === 'starts_with') return `must begin with ${JSON.stringify(prefix)}`;
  if (format === 'ends_with') return `must end with ${JSON.stringify(suffix)}`;
  if (format === 'includes') return `must contain ${JSON.stringify(includes)}`;
  if (format === 'regex') return `must match ${pattern}`;
  return `must be ${FORMATS[format] ?? `a valid ${format}`}`;
}
