/**
 * Backends whose name means nothing: told with a dry run, which has the time to ask the resolver. Only a clear "there
 * is no such name" counts; a resolver that is slow or away says nothing, and the nodes ask their own in any case.
 */
import { lookup, Resolver } from 'node:dns/promises';
import type { Clock } from '../../shared/clock.ts';
import { parseEndpoint } from '../../shared/model/fields.ts';
import type { Change } from '../../shared/model/revision.ts';
import type { Service } from '../../shared/model/service.ts';
import type { Warning } from '../revisions/validation.ts';
import { within } from '../within.ts';

/** Names that one dry run asks for, and the time it gives them, in milliseconds. */
const MAX_NAMES = 20;
const ASK_MS = 900;
const NO_SUCH_NAME: ReadonlySet<unknown> = new Set(['ENOTFOUND', 'ENODATA', 'ENONAME']);

/** Resolves when the name has an address, rejects with the resolver's code when not. */
export type Resolve = (name: string) => Promise<unknown>;

export async function unresolvedNames(
  changes: readonly Change[],
  clock: Clock,
  resolve: Resolve = resolveName,
): Promise<Warning[]> {
  const uses = namesIn(changes);
  const names = [...new Set(uses.map(({ host }) => host))].slice(0, MAX_NAMES);
  const unknown = new Set<string>();
  await Promise.all(
    names.map((name) =>
      within(resolve(name), ASK_MS, clock).catch((error: NodeJS.ErrnoException) => {
        if (NO_SUCH_NAME.has(error.code)) unknown.add(name);
      }),
    ),
  );
  return uses
    .filter(({ host }) => unknown.has(host))
    .map(({ host, warning }) => {
      const message = `the name ${host} has no address here; until it resolves on the nodes this backend gets no requests`;
      return { ...warning, message };
    });
}

interface NamedBackend {
  readonly host: string;
  readonly warning: Omit<Warning, 'message'>;
}

function namesIn(changes: readonly Change[]): NamedBackend[] {
  const found: NamedBackend[] = [];
  for (const { kind, name, doc } of changes) {
    if (kind !== 'service' || doc === null) continue;
    for (const [key, { backends }] of Object.entries((doc as unknown as Service).keys ?? {})) {
      for (const [index, { address }] of (backends ?? []).entries()) {
        const endpoint = parseEndpoint(address);
        if (endpoint?.type !== 'name') continue;
        const path = `keys.${key}.backends.${index}.address`;
        found.push({ host: endpoint.host, warning: { kind, name, path } });
      }
    }
  }
  return found;
}

/**
 * DNS first, which holds up nothing else in this process; only a name that DNS does not know is looked for in the
 * hosts file and the search domains, by the resolver of the system, which answers at once then.
 */
async function resolveName(name: string): Promise<void> {
  const resolver = new Resolver({ timeout: ASK_MS, tries: 1 });
  try {
    await Promise.any([resolver.resolve4(name), resolver.resolve6(name)]);
  } catch (error) {
    const { errors } = error as AggregateError;
    const failed = errors.find((each) => !NO_SUCH_NAME.has((each as NodeJS.ErrnoException).code));
    if (failed !== undefined) throw failed;
    await lookup(name);
  }
}
