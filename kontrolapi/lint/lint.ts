/**
 * What is allowed but hardly meant, said with every write and dry run: routes that nothing reaches, hosts without a
 * certificate, marks that no template knows, rules that keep their author out, a build held back that is so no more.
 * It never refuses anything.
 */
import type { FieldProblem } from '../../shared/errors.ts';
import type { Domain } from '../../shared/model/domain.ts';
import type { Change } from '../../shared/model/revision.ts';
import type { Service } from '../../shared/model/service.ts';
import type { Warning } from '../revisions/validation.ts';
import type { View } from '../revisions/view.ts';
import { certificateProblems, uncoveredHosts } from './certificates.ts';
import { contradiction, lockout } from './lockout.ts';
import { shadowedRoutes } from './shadowed-routes.ts';

/** Of a large apply only the first are looked at, for as long as this, in milliseconds. */
const MAX_OBJECTS = 2_000;
const MAX_MS = 50;
const MARKS: ReadonlySet<string> = new Set(['host', 'status', 'title', 'message', 'requestId', 'retryAfter']);

/** `draft` has the changes already, `before` has not. `address` is that of the caller, if there is one. */
export function lint(
  draft: View,
  changes: readonly Change[],
  address: string | null,
  now: number,
  before: View,
): Warning[] {
  const warnings: Warning[] = [];
  const until = performance.now() + MAX_MS;
  for (const { kind, name, doc } of changes.slice(0, MAX_OBJECTS)) {
    if (doc === null) continue;
    if (performance.now() > until) break;
    const found: FieldProblem[] = [];
    switch (kind) {
      case 'domain': {
        const domain = doc as unknown as Domain;
        found.push(...shadowedRoutes(domain.routes ?? []), ...uncoveredHosts(domain, draft));
        found.push(...withoutRoutes(domain));
        break;
      }
      case 'service':
        found.push(
          ...latestGivenUp(before.get(kind, name)?.doc as Service | undefined, doc as unknown as Service),
        );
        break;
      case 'certificate':
        found.push(...certificateProblems(doc, name, draft, now));
        break;
      case 'page':
        found.push(...unknownMarks(doc.templates));
        break;
      case 'rule': {
        const message = contradiction(name, draft);
        if (message !== null) found.push({ path: 'match', message });
        break;
      }
      default:
        break;
    }
    const out = lockout(kind, name, doc, draft, address, now);
    if (out !== null) found.push(out);
    for (const { path, message } of found) warnings.push({ kind, name, path, message });
  }
  return warnings;
}

/** A domain that is on and goes nowhere: a service that was forgotten, or misspelt in a patch that left it out. */
export function withoutRoutes({ mode, maintenance, routes = [] }: Domain): FieldProblem[] {
  if (routes.length > 0 || (mode ?? 'on') !== 'on' || (maintenance ?? false) !== false) return [];
  return [{ path: 'routes', message: 'there is none: every request is answered 404; give it a service' }];
}

/** A deploy, or its way back, has set the number; a file that does not name it would move everybody on. */
export function latestGivenUp(before: Service | undefined, { latest }: Service): FieldProblem[] {
  if (latest !== undefined || typeof before?.latest !== 'number') return [];
  const message = `it was key ${before.latest} and is "auto" again: the greatest build that was ever ready; name ${before.latest} to stay there, or "auto"`;
  return [{ path: 'latest', message }];
}

function unknownMarks(templates: unknown): FieldProblem[] {
  if (typeof templates !== 'object' || templates === null) return [];
  return Object.entries(templates).flatMap(([page, text]) => {
    const marks = [...String(text).matchAll(/\{\{\s*([A-Za-z0-9_.-]{1,64})\s*\}\}/g)].map((match) =>
      String(match[1]),
    );
    const unknown = [...new Set(marks)].filter((mark) => !MARKS.has(mark));
    if (unknown.length === 0) return [];
    const message = `{{${unknown.slice(0, 5).join('}}, {{')}}} stay as they are: there are only ${[...MARKS].join(', ')}`;
    return [{ path: `templates.${page}`, message }];
  });
}
