/** Conformance: several processes share a store, race for its numbers, and are killed at any moment. */
import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Revision } from '../model/revision.ts';
import { change, commit, documentsOf, type OnStore, type Place } from './conformance-place.ts';
import { type Acknowledged, LARGE_CHANGES } from './conformance-process.ts';
import type { Store } from './contract.ts';
import { Follower } from './follower.ts';
import type { StoreStep } from './record-store.ts';

const PROCESS = fileURLToPath(new URL('./conformance-process.js', import.meta.url));

export function raceConformance(onStore: OnStore): void {
  onStore('processes that race for numbers each win theirs once, and the documents follow', async (place) => {
    const acknowledged: Acknowledged[] = [];
    const ends = [1, 2, 3].map(() => ended(start(place, acknowledged, 'commit', '15')));
    assert.deepEqual(await Promise.all(ends), [0, 0, 0]);
    const store = await place.open();
    const revisions = await wholeLog(store);
    assert.equal(revisions.length, 45);
    assert.deepEqual(
      sorted(acknowledged),
      revisions.map(({ seq, id }) => ({ seq, id })),
    );
    assert.equal(await store.mark(), 45);
    assert.deepEqual(await documentsOf(store, 'rule'), folded(revisions));
  });

  onStore(
    'processes that are killed at any moment lose nothing they acknowledged and harm no other',
    async (place) => {
      const acknowledged: Acknowledged[] = [];
      const running = new Set<ChildProcess>();
      const begin = (): void => {
        running.add(start(place, acknowledged, 'commit', '1000000'));
      };
      begin();
      begin();
      const store = await place.open();
      for (let kills = 0; kills < 8; kills++) {
        begin();
        const [victim] = running;
        assert.ok(victim);
        const enough = acknowledged.length + 3 + ((kills * 7) % 5);
        while (acknowledged.length < enough) await once(victim, 'message');
        victim.kill('SIGKILL');
        await ended(victim);
        running.delete(victim);
        // The next commit of another process is where a careless store breaks.
        await store.live.put('counters', 'kills', { kills });
      }
      for (const child of running) {
        child.kill('SIGKILL');
        await ended(child);
      }
      await commit(store, change('rule', 'after', {}));
      const revisions = await wholeLog(store);
      const ids = new Map(revisions.map(({ seq, id }) => [seq, id]));
      assert.equal(
        new Set(acknowledged.map(({ seq }) => seq)).size,
        acknowledged.length,
        'no number was won twice',
      );
      for (const { seq, id } of acknowledged) assert.equal(ids.get(seq), id, `revision ${seq} is there`);
      assert.equal(await store.mark(), revisions.length);
      assert.deepEqual(await documentsOf(store, 'rule'), folded(revisions));
    },
  );

  onStore('no increment by compare-and-set is lost among racing processes', async (place) => {
    const ends = [1, 2, 3].map(() => ended(start(place, [], 'count', '20')));
    assert.deepEqual(await Promise.all(ends), [0, 0, 0]);
    const store = await place.open();
    assert.deepEqual(await store.live.get('counters', 'n'), { _id: 'n', v: 60, count: 60 });
  });

  onStore('what a process says it wrote is seen at once by any other', async (place) => {
    const store = await place.open();
    const child = start(place, [], 'count', '40');
    const stale: unknown[] = [];
    const looks: Promise<void>[] = [];
    child.on('message', (written) => {
      const look = async (): Promise<void> => {
        const read = await store.live.get('counters', 'n');
        if (Number(read?.['count']) < Number(written)) stale.push(written);
      };
      looks.push(look());
    });
    assert.equal(await ended(child), 0);
    await Promise.all(looks);
    assert.equal(looks.length, 40);
    assert.deepEqual(stale, []);
  });

  for (const step of ['parts', 'appended', 'documents', 'projected', 'marked'] satisfies StoreStep[]) {
    onStore(
      `a writer that is killed when it has its ${step} is repaired by the next reader and writer`,
      async (place) => {
        const store = await place.open();
        await commit(store, change('page', 'large-0', { first: true }), change('rule', 'a', {}));
        const before = new Follower(store);
        await before.catchUp();
        assert.equal(await ended(start(place, [], 'crash', step)), 'SIGKILL');

        const written = step !== 'parts';
        const reader = new Follower(await place.open());
        await reader.catchUp();
        await before.catchUp();
        assert.equal(reader.seq, written ? 2 : 1);
        const pages = written
          ? LARGE_CHANGES.map(({ name, doc }) => [name, doc])
          : [['large-0', { first: true }]];
        for (const each of [reader, before])
          assert.deepEqual([...each.objects('page')].map(([name, { doc }]) => [name, doc]).sort(), pages);
        assert.equal(reader.hash, before.hash);

        const last = await commit(store, change('rule', 'b', {}));
        assert.equal(last.seq, reader.seq + 1);
        assert.equal(await store.mark(), last.seq);
        const documents = (await documentsOf(store, 'page')).map(([name, , doc]) => [name, doc]);
        assert.deepEqual(documents, pages);
      },
    );
  }
}

function start(place: Place, acknowledged: Acknowledged[], command: string, argument: string): ChildProcess {
  const child = fork(PROCESS, [JSON.stringify(place.address), command, argument]);
  child.on('message', (message) => acknowledged.push(message as Acknowledged));
  return child;
}

async function ended(child: ChildProcess): Promise<number | string | null> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  return child.signalCode ?? child.exitCode;
}

/** All revisions; each names its predecessor. */
async function wholeLog(store: Store): Promise<Revision[]> {
  const revisions: Revision[] = [];
  for (;;) {
    const since = await store.since(revisions.length);
    assert.ok(!since.trimmed);
    if (since.revisions.length === 0) return revisions;
    for (const revision of since.revisions) {
      assert.equal(revision.previous, revisions.at(-1)?.id ?? '');
      revisions.push(revision);
    }
  }
}

function sorted(acknowledged: readonly Acknowledged[]): Acknowledged[] {
  return [...acknowledged].sort((a, b) => a.seq - b.seq);
}

/** The documents of the rules that a log leads to. */
function folded(revisions: readonly Revision[]): [string, number, unknown][] {
  const rules = new Map<string, [string, number, unknown]>();
  for (const { seq, changes } of revisions)
    for (const { kind, name, doc } of changes) if (kind === 'rule') rules.set(name, [name, seq, doc]);
  return [...rules.values()].sort(([a], [b]) => (a < b ? -1 : 1));
}
