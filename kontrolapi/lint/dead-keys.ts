/** Routes to keys that nothing serves: told with a dry run, which has the time to ask who is there. */
import type { Domain } from '../../shared/model/domain.ts';
import { membersSchema } from '../../shared/model/live.ts';
import type { Change } from '../../shared/model/revision.ts';
import type { Service } from '../../shared/model/service.ts';
import type { LiveStore } from '../../shared/store/contract.ts';
import type { NodeQuestions } from '../nodes/questions.ts';
import type { Warning } from '../revisions/validation.ts';
import type { View } from '../revisions/view.ts';

const MAX_SERVICES = 10;
const ASK_MS = 700;

interface Use {
  readonly service: string;
  readonly key: number | 'latest';
  readonly warning: Omit<Warning, 'message'>;
}

export async function deadKeys(
  draft: View,
  changes: readonly Change[],
  live: LiveStore,
  questions: NodeQuestions,
): Promise<Warning[]> {
  const uses = usesIn(draft, changes);
  const services = [...new Set(uses.map(({ service }) => service))].slice(0, MAX_SERVICES);
  const messages = new Map<string, (key: number | 'latest') => string | null>();
  await Promise.all(
    services.map(async (service) => {
      messages.set(service, await judge(draft, service, live, questions));
    }),
  );
  return uses.flatMap(({ service, key, warning }) => {
    const message = messages.get(service)?.(key) ?? null;
    return message === null ? [] : [{ ...warning, message }];
  });
}

function usesIn(draft: View, changes: readonly Change[]): Use[] {
  return changes.flatMap(({ kind, name, doc }): Use[] => {
    if (doc === null) return [];
    if (kind === 'service' && draft.referrers('service', name).length > 0)
      return [{ service: name, key: 'latest', warning: { kind, name, path: 'keys' } }];
    if (kind !== 'domain') return [];
    return ((doc as unknown as Domain).routes ?? []).flatMap(({ service, key }, index): Use[] => {
      // That there is no such service is told without asking anybody.
      if (service === undefined || draft.get('service', service) === undefined) return [];
      const warning = { kind, name, path: `routes.${index}.service` };
      return [{ service, key: key ?? 'latest', warning }];
    });
  });
}

/** Who may take requests of a service, by key, and what nodes say of them. */
async function judge(draft: View, service: string, live: LiveStore, questions: NodeQuestions) {
  const doc = draft.get('service', service)?.doc as Service | undefined;
  const ready = new Map<number, string[]>();
  for (const [key, { enabled, backends }] of Object.entries(doc?.keys ?? {})) {
    const addresses = (backends ?? [])
      .filter(({ state, weight }) => (state ?? 'ready') === 'ready' && weight !== 0)
      .map(({ address }) => address);
    if (enabled !== false && addresses.length > 0) ready.set(Number(key), addresses);
  }
  const members = membersSchema.safeParse(await live.get('members', service).catch(() => null));
  for (const { key, address, state } of members.data?.backends ?? []) {
    if (state === 'ready') ready.set(key, [...(ready.get(key) ?? []), address]);
  }
  const alive = await aliveBackends(service, questions);
  const latest = typeof doc?.latest === 'number' ? doc.latest : Math.max(...ready.keys());
  return (wanted: number | 'latest'): string | null => {
    const key = wanted === 'latest' ? latest : wanted;
    const addresses = ready.get(key);
    if (addresses === undefined) {
      const named = Number.isFinite(key) ? `key ${key} of service ${service}` : `service ${service}`;
      return `${named} has no backend that takes requests; until one comes it answers 503`;
    }
    if (alive === null || addresses.some((address) => alive.get(address) !== false)) return null;
    return `every backend of key ${key} of service ${service} is dead right now: ${addresses.slice(0, 5).join(', ')}`;
  };
}

/** By address, whether any serving process has it alive; null when nobody said. */
async function aliveBackends(
  service: string,
  questions: NodeQuestions,
): Promise<ReadonlyMap<string, boolean> | null> {
  const answers = await questions.ask({ ask: 'backends', service }, ASK_MS);
  if (answers.size === 0) return null;
  const alive = new Map<string, boolean>();
  for (const { backends } of answers.values()) {
    for (const each of Array.isArray(backends) ? backends : []) {
      const { address, alive: is } = (each ?? {}) as { address?: unknown; alive?: unknown };
      if (typeof address === 'string') alive.set(address, alive.get(address) === true || is === true);
    }
  }
  return alive;
}
