/** The kinds of object, their collections, and the one way a document becomes a valid object. */
import type { z } from 'zod';
import type { FieldProblem } from '../errors.ts';
import { type Certificate, certificateSchema } from './certificate.ts';
import { type Domain, domainSchema } from './domain.ts';
import { type Listener, listenerSchema } from './listener.ts';
import { type Page, pageSchema } from './page.ts';
import { patternBudgetProblem } from './pattern-budget.ts';
import { unionMessage } from './plain-messages.ts';
import { type Rule, ruleSchema } from './rule.ts';
import { type Service, serviceSchema } from './service.ts';
import { type Settings, settingsSchema } from './settings.ts';
import { unknownField } from './unknown-field.ts';

/** Every kind of object that revisions change, in an order in which references point backwards. */
export const KINDS = ['rule', 'page', 'certificate', 'service', 'listener', 'domain', 'settings'] as const;
export type Kind = (typeof KINDS)[number];

/** The collection (and the path segment of the API) of each kind. */
export const COLLECTIONS = {
  rule: 'rules',
  page: 'pages',
  certificate: 'certificates',
  service: 'services',
  listener: 'listeners',
  domain: 'domains',
  settings: 'settings',
} as const satisfies Record<Kind, string>;

/** The name of the one object of kind `settings`. */
export const SETTINGS_NAME = 'settings';

export interface ObjectOf {
  rule: Rule;
  page: Page;
  certificate: Certificate;
  service: Service;
  listener: Listener;
  domain: Domain;
  settings: Settings;
}

export const SCHEMAS: { readonly [K in Kind]: z.ZodType<ObjectOf[K]> } = {
  rule: ruleSchema as z.ZodType<Rule>,
  page: pageSchema as z.ZodType<Page>,
  certificate: certificateSchema as z.ZodType<Certificate>,
  service: serviceSchema as z.ZodType<Service>,
  listener: listenerSchema as z.ZodType<Listener>,
  domain: domainSchema as z.ZodType<Domain>,
  settings: settingsSchema as z.ZodType<Settings>,
};

/** Unknown fields of one object that it is guessed for what was meant. */
const MAX_GUESSES = 20;

export type ParseResult<T> =
  | {
      readonly ok: true;
      readonly value: T /** Paths of unknown fields that were left out. */;
      readonly ignored: readonly string[];
    }
  | { readonly ok: false; readonly problems: readonly FieldProblem[] };

/**
 * Validates `input` and brings it into its long form; defaults stay unwritten. Unknown fields are problems, unless
 * `unknown` is `ignore` (a node reading what a newer API wrote): then they are left out and listed.
 */
export function parseObject<K extends Kind>(
  kind: K,
  input: unknown,
  unknown: 'refuse' | 'ignore' = 'refuse',
): ParseResult<ObjectOf[K]> {
  const schema = SCHEMAS[kind] as z.ZodType<ObjectOf[K]>;
  const heavy = patternBudgetProblem(kind, input);
  if (heavy !== null) return { ok: false, problems: [heavy] };
  const ignored: string[] = [];
  let candidate = input;
  // Each round removes the unknown fields that one level of the schema reported; depth bounds the rounds.
  for (let round = 0; round < 8; round++) {
    const result = schema.safeParse(candidate);
    if (result.success) return { ok: true, value: result.data, ignored };
    const extra = result.error.issues.filter((issue) => issue.code === 'unrecognized_keys');
    if (unknown === 'refuse' || extra.length === 0)
      return { ok: false, problems: problemsOf(result.error, schema) };
    candidate = structuredClone(candidate);
    for (const issue of extra) {
      for (const key of (issue as unknown as { keys: string[] }).keys) {
        ignored.push([...issue.path, key].join('.'));
        removeAt(candidate, [...issue.path, key]);
      }
    }
  }
  return { ok: false, problems: [{ path: '', message: 'too many levels of unknown fields' }] };
}

function removeAt(root: unknown, path: readonly PropertyKey[]): void {
  let at = root as Record<PropertyKey, unknown>;
  for (const step of path.slice(0, -1)) {
    const next = at[step];
    if (typeof next !== 'object' || next === null) return;
    at = next as Record<PropertyKey, unknown>;
  }
  delete at[path.at(-1) as PropertyKey];
}

/**
 * The problems of a failed validation, with dotted paths; those inside a union are unfolded. Unknown fields come
 * with the one of `schema` that was probably meant.
 */
export function problemsOf(error: z.ZodError, schema: z.ZodType): FieldProblem[] {
  const problems: FieldProblem[] = [];
  let guesses = MAX_GUESSES;
  const walk = (issues: readonly z.core.$ZodIssue[], prefix: readonly PropertyKey[]): void => {
    for (const issue of issues) {
      const path = [...prefix, ...issue.path];
      if (issue.code === 'unrecognized_keys') {
        for (const key of issue.keys) {
          const message = unknownField(guesses-- > 0 ? schema : null, path, key);
          problems.push({ path: [...path, key].join('.'), message });
        }
      } else if (issue.code === 'invalid_union' && issue.errors.length > 0) {
        const message = unionMessage(issue.errors);
        if (message !== null) {
          problems.push({ path: path.join('.'), message });
          continue;
        }
        // The branch that got furthest is the one the author meant.
        const deepest = issue.errors.reduce((best, branch) => (depth(branch) > depth(best) ? branch : best));
        walk(deepest, path);
      } else {
        problems.push({ path: path.join('.'), message: issue.message });
      }
    }
  };
  walk(error.issues, []);
  return problems;
}

function depth(issues: readonly z.core.$ZodIssue[]): number {
  return issues.reduce((deepest, issue) => Math.max(deepest, issue.path.length), 0);
}

/** The name of an object, as its document carries it. */
export function nameOf(kind: Kind, object: { name?: string }): string {
  return kind === 'settings' ? SETTINGS_NAME : (object.name ?? '');
}
