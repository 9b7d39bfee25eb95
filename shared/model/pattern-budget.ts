/**
 * One object may hold thousands of patterns, each of which takes up to some milliseconds to compile, and whoever
 * compiles them answers nobody else meanwhile. So what they weigh together is bounded, before the first is compiled.
 */
import type { FieldProblem } from '../errors.ts';
import { MAX_PATTERNS_WEIGHT, patternWeight } from '../patterns.ts';

/** Most paths that the routes of one domain may have together. */
const MAX_PATHS = 20_000;
/** Where the patterns of a kind stand. */
const PLACES: Readonly<Record<string, string>> = { rule: 'match', listener: 'hosts' };

/** What is wrong with the patterns of an object that was not validated yet; null when they are few enough, and the paths too. */
export function patternBudgetProblem(kind: string, input: unknown): FieldProblem | null {
  if (kind === 'domain' && pathsOfDomain(input) > MAX_PATHS) {
    return { path: 'routes', message: `the routes have more than ${MAX_PATHS} paths together` };
  }
  if (patternsWeight(kind, input) <= MAX_PATTERNS_WEIGHT) return null;
  return {
    path: PLACES[kind] ?? 'routes',
    message:
      'the regular expressions of this object are too many or too complex together; use plain paths, hosts and addresses, or several objects',
  };
}

/** What the patterns of an object, which need not be valid, weigh together (`patternWeight`). */
export function patternsWeight(kind: string, input: unknown): number {
  let sum = 0;
  for (const pattern of patternsOf(kind, input)) sum += patternWeight(pattern);
  return sum;
}

function patternsOf(kind: string, input: unknown): Iterable<string> {
  switch (kind) {
    case 'rule':
      return patternsOfRule(input);
    case 'domain':
      return patternsOfDomain(input);
    case 'listener':
      return marked(Object.keys(field(input, 'hosts') ?? {}));
    default:
      return [];
  }
}

function pathsOfDomain(domain: unknown): number {
  let sum = 0;
  for (const route of listOf(field(domain, 'routes'))) sum += listOf(field(route, 'path')).length;
  return sum;
}

function* patternsOfRule(rule: unknown): Iterable<string> {
  if (field(rule, 'type') !== 'ip-regex') return;
  for (const text of listOf(field(rule, 'match'))) if (typeof text === 'string') yield text;
}

function* patternsOfDomain(domain: unknown): Iterable<string> {
  yield* marked(field(domain, 'name'));
  yield* marked(field(domain, 'aliases'));
  for (const route of listOf(field(domain, 'routes'))) {
    yield* marked(field(route, 'path'));
    yield* marked(field(field(route, 'rewrite'), 'match'));
  }
}

/** What begins with `~` in a text or a list of texts. */
function* marked(value: unknown): Iterable<string> {
  for (const text of Array.isArray(value) ? value : [value]) {
    if (typeof text === 'string' && text.startsWith('~')) yield text.slice(1);
  }
}

function field(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined;
  return Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined;
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
