/**
 * Validates an object as `parseObject` does. A domain with thousands of routes is validated some routes at a time:
 * all of them at once would hold up every other call for a tenth of a second.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { FieldProblem } from '../../shared/errors.ts';
import { type Domain, MAX_ROUTES, type Route } from '../../shared/model/domain.ts';
import { type Kind, type ObjectOf, type ParseResult, parseObject } from '../../shared/model/kinds.ts';
import { patternBudgetProblem } from '../../shared/model/pattern-budget.ts';
import type { Doc } from '../revisions/view.ts';

/** Routes that are validated without a pause. */
const SLICE = 250;
/** After so many problems the rest is not looked at: an answer has no room for more. */
const MAX_PROBLEMS = 100;

export async function parseInSlices(kind: Kind, input: Doc): Promise<ParseResult<ObjectOf[Kind]>> {
  const { routes } = input;
  if (kind !== 'domain' || !Array.isArray(routes) || routes.length <= SLICE) return parseObject(kind, input);
  if (routes.length > MAX_ROUTES) {
    const message = `must have at most ${MAX_ROUTES} entries, has ${routes.length}`;
    return { ok: false, problems: [{ path: 'routes', message }] };
  }
  const heavy = patternBudgetProblem(kind, input);
  if (heavy !== null) return { ok: false, problems: [heavy] };
  const problems: FieldProblem[] = [];
  const valid: Route[] = [];
  let domain: Domain | null = null;
  for (let from = 0; from < routes.length && problems.length < MAX_PROBLEMS; from += SLICE) {
    if (from > 0) await nextTurn();
    const slice = routes.slice(from, from + SLICE);
    // The rest of the domain is validated with the first routes.
    const parsed = parseObject(
      'domain',
      from === 0 ? { ...input, routes: slice } : { name: 'any', routes: slice },
    );
    if (parsed.ok) {
      domain ??= parsed.value;
      for (const route of parsed.value.routes ?? []) valid.push(route);
    } else {
      for (const { path, message } of parsed.problems) problems.push({ path: shifted(path, from), message });
    }
  }
  if (problems.length > 0 || domain === null) return { ok: false, problems };
  return { ok: true, value: { ...domain, routes: valid }, ignored: [] };
}

/** `routes.3.path` of a slice, where it stands in the whole. */
function shifted(path: string, by: number): string {
  return path.replace(/^routes\.(\d+)/, (_, index) => `routes.${Number(index) + by}`);
}
