/**
 * Tells a recorder which hosts and routes were candidates and why each lost. Slow and thorough, for Explain only; what
 * won is what the indexes found.
 */
import type { CompiledDomain, CompiledRoute } from './compile-domain.ts';
import type { RequestView } from './decision.ts';
import { matchingHosts, rankRoutes } from './naive.ts';
import type { Recorder } from './recorder.ts';
import type { Table } from './table.ts';

/** The host patterns that match, and why all but one lost. Patterns that do not match are not named: there are too many. */
export function explainHosts(
  table: Table,
  host: string,
  winner: CompiledDomain | undefined,
  recorder: Recorder,
): void {
  const claims = [...table.claims.patterns()].flatMap((pattern) => {
    const owner = table.claims.ownerOf(pattern);
    return owner === undefined ? [] : [{ pattern, domain: owner.name }];
  });
  const [first, ...others] = matchingHosts(claims, host);
  if (winner === undefined || first === undefined) {
    recorder.note(`no domain claims ${host}, and there is no domain "*"`);
    return;
  }
  const named = (pattern: string, domain: string) => (pattern === domain ? domain : `${domain} (${pattern})`);
  recorder.candidate(named(first.pattern, winner.name), true, 'the most specific match');
  for (const { pattern, domain } of others) {
    recorder.candidate(named(pattern, domain), false, `${first.pattern} is more specific`);
  }
  if (winner.broken !== null) recorder.note(`the domain could not be loaded: ${winner.broken}`);
}

/** Every path of every route of the domain in the order of trial. */
export function explainRoutes(
  domain: CompiledDomain,
  path: string,
  request: RequestView,
  winner: CompiledRoute | null,
  recorder: Recorder,
): void {
  if (path !== request.rawPath) recorder.note(`the path is matched as ${path}`);
  let won: string | null = null;
  for (const verdict of rankRoutes(domain.doc?.routes ?? [], path, request)) {
    const name = `${verdict.route}: ${verdict.path}`;
    if (verdict.against !== null) recorder.candidate(name, false, verdict.against);
    else if (won !== null) recorder.candidate(name, false, `${won} goes before it`);
    else {
      won = verdict.path;
      recorder.candidate(name, verdict.route === winner?.index, 'the first that fits');
    }
  }
  if (winner === null) recorder.note('no route fits');
}
