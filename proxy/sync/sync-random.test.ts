/** Random troubles in random order: whatever happened, in the end every process has what the log says. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from './scripted-primary.ts';
import { type Started, service, World } from './sync-world.ts';

/** Reproducible: the seed is in the name of the test. */
function randomOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    // Park and Miller's generator; good enough to shuffle troubles.
    state = (state * 48_271) % 2_147_483_647;
    return state % below;
  };
}

for (const seed of [7, 99, 4_242]) {
  test(`after sixty troubles (seed ${seed}) every process holds exactly what the log says`, async (t) => {
    const random = randomOf(seed);
    const world = await World.make(t);
    /** Versions that can be used, by name: what must be served in the end. */
    const good = new Map<string, number>();
    let version = 0;
    let started: Started = await world.start({ ttlMs: 200 });
    started.primary.spawn();

    const trouble: (() => Promise<void> | void)[] = [
      async () => {
        const changes = Array.from({ length: 1 + random(5) }, () => `s${random(12)}`);
        const unique = [...new Set(changes)];
        version++;
        for (const name of unique) good.set(name, version);
        await world.append(...unique.map((name) => service(name, { labels: { v: String(version) } })));
      },
      async () => {
        const name = `s${random(12)}`;
        good.delete(name);
        await world.append({ kind: 'service', name, doc: null });
      },
      async () => {
        const [name] = [...good.keys()];
        if (name !== undefined) await world.append({ kind: 'service', name, doc: { name, balance: 'bad' } });
      },
      () => {
        world.away = !world.away;
      },
      () => void started.primary.spawn(),
      () => {
        const [first] = [...started.primary.serving.keys()];
        if (first !== undefined && started.primary.serving.size > 1) started.primary.kill(first);
      },
      () => world.bus.hear('updateProxy', random(2) === 0 ? undefined : { seq: random(100) }),
      () => world.bus.reconnect(),
      () => started.sync.reload(),
      async () => {
        await started.stop();
        started = await world.start({ ttlMs: 200 });
        started.primary.spawn();
      },
      () => new Promise((resolve) => setTimeout(resolve, random(30))),
    ];
    for (let step = 0; step < 60; step++) {
      // Revisions are the most frequent of troubles.
      const pick = random(2) === 0 ? random(2) : random(trouble.length);
      await trouble[pick]?.();
    }

    world.away = false;
    const last = await world.append(service('marker', { labels: { v: 'end' } }));
    const expected = () => [...good].map(([name, v]) => `${name}@${v}`).sort();
    const held = (process: { table: ReadonlyMap<string, { kind: string; name: string; doc: unknown }> }) =>
      [...process.table.values()]
        .filter(({ kind, name }) => kind === 'service' && name !== 'marker')
        .map(({ name, doc }) => `${name}@${(doc as { labels?: { v: string } } | null)?.labels?.v}`)
        .sort();
    await until('every process has the last revision', () =>
      [...started.primary.serving.values()].every(({ seq }) => seq === last),
    );
    for (const process of started.primary.serving.values()) assert.deepEqual(held(process), expected());
  });
}
