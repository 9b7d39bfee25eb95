/** Runs one case of a fault: a cluster of its own, the standard load, and the account of every request. */
import { Cluster } from '../cluster.ts';
import { BACKEND_CASES } from './backend-cases.ts';
import { TestBackend } from './backends.ts';
import { CASES, type FaultCase, HOST, type Relays, type Services, type Stage } from './cases.ts';
import { Load, type Summary, summarise } from './load.ts';
import { MACHINE_CASES } from './machine-cases.ts';
import { Relay } from './relay.ts';
import { RELAY_CASES } from './relay-cases.ts';

export const ALL_CASES: readonly FaultCase[] = [...CASES, ...BACKEND_CASES, ...RELAY_CASES, ...MACHINE_CASES];

/** Runs one case; throws what it found, answers the counts. */
export async function runCase(one: FaultCase, services: Services, seconds: number): Promise<Summary> {
  await one.install?.();
  const mongoUrl = databaseOf(services.mongo.url, one.name);
  const relays = one.relayed === true ? await startRelays(services) : null;
  const cluster = await Cluster.start(one.nodes ?? 1, {
    ...(one.embedded ? {} : { mongoUrl: relays?.mongo.through(mongoUrl) ?? mongoUrl }),
    ...(one.embedded ? {} : { redisUrl: redisUrlOf(one, services, relays) }),
    processes: one.processes ?? 2,
    ...(one.proxyArguments === undefined ? {} : { proxyArguments: one.proxyArguments }),
    ...(one.environment === undefined ? {} : { environment: one.environment }),
  });
  const backends = await Promise.all(['a', 'b', 'c'].map((name) => TestBackend.start(name, cluster.folder)));
  try {
    if (one.partition === true)
      await cluster.addNode('apart', { redisUrl: relays?.redis.through(services.redis.url) ?? '' });
    await cluster.apply(
      {
        kind: 'service',
        name: 'shop',
        backends: backends.map((backend) => backend.address),
        passive: { attempts: 2, offline: '1s' },
        health: { type: 'tcp', interval: '500ms' },
      },
      { kind: 'domain', name: HOST, service: 'shop' },
    );
    let started = performance.now();
    const at = async (share: number) => {
      const wait = started + share * seconds * 1_000 - performance.now();
      if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    };
    const stage: Stage = { cluster, services, backends, relays, seconds, at };
    await one.prepare?.(stage);
    started = performance.now();
    const load = new Load({
      ports: cluster.nodes.map((node) => node.http),
      host: HOST,
      seconds,
      ...one.load,
    });
    try {
      await one.disturb(stage);
      await load.done;
      one.judge(load.outcomes, stage);
      await one.afterwards?.(stage);
    } catch (error) {
      load.stop();
      await load.done;
      throw (error as Error).message.includes('--- api')
        ? error
        : new Error(`${(error as Error).message}\n${cluster.logs()}`, { cause: error });
    }
    return summarise(load.outcomes);
  } finally {
    await Promise.all(backends.map((backend) => backend.kill()));
    await cluster.close();
    await relays?.mongo.close();
    await relays?.redis.close();
  }
}

async function startRelays({ mongo, redis }: Services): Promise<Relays> {
  return { mongo: await Relay.start(mongo.url), redis: await Relay.start(redis.url) };
}

/** Where one node is to be cut off alone, the others and kontrolapi go straight to Redis. */
function redisUrlOf(one: FaultCase, { redis }: Services, relays: Relays | null): string {
  return relays === null || one.partition === true ? redis.url : relays.redis.through(redis.url);
}

let databases = 0;
/** A database of its own for each run of a case, on the one server: what an earlier run left would be found. */
function databaseOf(url: string, name: string): string {
  const address = new URL(url);
  address.pathname = `/fault-${++databases}-${name.replace(/[^a-z]+/gi, '-').slice(0, 40)}`;
  return address.toString();
}
