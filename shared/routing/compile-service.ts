/**
 * A service as the data path holds it: its document with the defaults filled in, and under each of its keys the
 * backends from configuration and from workers. What did not change keeps its identity.
 */
import { parseEndpoint } from '../model/fields.ts';
import type { Members } from '../model/live.ts';
import {
  type ConfiguredBackend,
  type ResolvedService,
  resolveService,
  type Service,
} from '../model/service.ts';
import type { Settings } from '../model/settings.ts';
import type { BackendSpec, CompiledKey, CompiledService } from './decision.ts';

/**
 * Compiles `service` with its `members`. Answers `previous` itself when nothing is different, and reuses its keys
 * and backends where they are the same. Members of keys that the service does not have are left out; a configured
 * backend goes before a member with its address.
 */
export function compileService(
  service: Service,
  members: Members | undefined,
  timeouts: Settings['timeouts'],
  previous: CompiledService | undefined,
): CompiledService {
  const keys = new Map<number, CompiledKey>();
  const numbers = Object.keys(service.keys ?? {}).map(Number);
  for (const key of numbers.sort((a, b) => a - b)) {
    const config = service.keys?.[String(key)];
    const compiled: CompiledKey = {
      key,
      enabled: config?.enabled ?? true,
      backends: backendsOf(config?.backends ?? [], members, key, previous?.keys.get(key)),
    };
    const before = previous?.keys.get(key);
    keys.set(key, before !== undefined && sameKey(before, compiled) ? before : compiled);
  }
  const config = resolveService(service, timeouts);
  const current = members?.current ?? null;
  const compiled: CompiledService = {
    name: config.name,
    config: previous !== undefined && sameConfig(previous.config, config) ? previous.config : config,
    keys,
    latest: config.latest === 'auto' ? latestOf(keys, current) : config.latest,
    greatest: Math.max(0, current ?? 0, config.latest === 'auto' ? 0 : config.latest, ...numbers),
  };
  return previous !== undefined && sameService(previous, compiled) ? previous : compiled;
}

function backendsOf(
  configured: readonly ConfiguredBackend[],
  members: Members | undefined,
  key: number,
  previous: CompiledKey | undefined,
): readonly BackendSpec[] {
  const backends = new Map<string, BackendSpec>();
  configured.forEach((backend, index) => {
    backends.set(backend.address, {
      address: backend.address,
      weight: backend.weight ?? 1,
      tier: backend.tier ?? 0,
      state: backend.state ?? 'ready',
      // In the order listed, and before every worker (those count in milliseconds since 1970).
      since: index,
      worker: null,
    });
  });
  for (const member of members?.backends ?? []) {
    if (member.key !== key || member.state === 'starting' || parseEndpoint(member.address) === null) continue;
    const known = backends.get(member.address);
    if (known !== undefined && (known.worker === null || known.since > member.since)) continue;
    backends.set(member.address, {
      address: member.address,
      weight: member.weight,
      tier: 0,
      state: member.state,
      since: member.since,
      worker: member.worker,
    });
  }
  const before = new Map(previous?.backends.map((backend) => [backend.address, backend]));
  return [...backends.values()].map((backend) => {
    const same = before.get(backend.address);
    return same !== undefined && sameBackend(same, backend) ? same : backend;
  });
}

/**
 * The key that `latest: auto` stands for: the greater of the recorded one and the greatest enabled one that has a
 * ready backend. Where neither is there (nothing was ever ready), the greatest enabled key with any backend, so
 * that pinned sessions and lost workers are still reached, else the greatest enabled key.
 */
function latestOf(keys: ReadonlyMap<number, CompiledKey>, current: number | null): number | null {
  let ready: number | null = null;
  let populated: number | null = null;
  let enabled: number | null = null;
  for (const key of keys.values()) {
    if (!key.enabled) continue;
    // The keys come in ascending order.
    enabled = key.key;
    if (key.backends.length > 0) populated = key.key;
    if (key.key === current || key.backends.some((backend) => backend.state === 'ready')) ready = key.key;
  }
  return ready ?? populated ?? enabled;
}

function sameBackend(a: BackendSpec, b: BackendSpec): boolean {
  return (
    a.address === b.address &&
    a.weight === b.weight &&
    a.tier === b.tier &&
    a.state === b.state &&
    a.since === b.since &&
    a.worker === b.worker
  );
}

/** Unchanged backends have been replaced by their earlier objects, so identity says it all. */
function sameKey(a: CompiledKey, b: CompiledKey): boolean {
  return (
    a.enabled === b.enabled &&
    a.backends.length === b.backends.length &&
    a.backends.every((backend, index) => backend === b.backends[index])
  );
}

function sameConfig(a: ResolvedService, b: ResolvedService): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function sameService(a: CompiledService, b: CompiledService): boolean {
  if (a.config !== b.config || a.latest !== b.latest || a.greatest !== b.greatest) return false;
  if (a.keys.size !== b.keys.size) return false;
  for (const [number, key] of a.keys) if (b.keys.get(number) !== key) return false;
  return true;
}
