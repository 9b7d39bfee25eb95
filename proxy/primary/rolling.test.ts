import assert from 'node:assert/strict';
import test from 'node:test';
import { silentLog } from '../../shared/log.ts';
import type { Child } from './child.ts';
import { Rolling } from './rolling.ts';

const MB = 1_048_576;

function node({ limitMb = 0, fails = [] as number[], successor = {} } = {}) {
  const did: string[] = [];
  const seated = [1, 2, 3].map((id) => ({ id, rss: 0, age: 120_000, state: 'ready', name: `serving ${id}` }));
  let underWay = 0;
  const rolling = new Rolling(
    {
      seated: () => seated as unknown as Child[],
      async replace(child) {
        assert.equal(++underWay, 1, 'one at a time');
        did.push(`replace ${child.id}`);
        await Promise.resolve();
        underWay--;
        const index = seated.findIndex(({ id }) => id === child.id);
        if (!fails.includes(child.id)) seated[index] = { ...seated[index]!, rss: 0, ...successor };
        return !fails.includes(child.id);
      },
      async replaceSync() {
        did.push('sync');
      },
    },
    limitMb,
    silentLog,
  );
  return { rolling, seated, did };
}

/** Everything that was begun has run. */
const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

test('a restart replaces the serving processes one after the other, then sync', async () => {
  const { rolling, did } = node();
  await rolling.restart();
  assert.deepEqual(did, ['replace 1', 'replace 2', 'replace 3', 'sync']);
});

test('a restart stops where a new process does not get ready: the others go on serving', async () => {
  const { rolling, did } = node({ fails: [2] });
  await rolling.restart();
  assert.deepEqual(did, ['replace 1', 'replace 2']);
});

test('restarts asked for while one is under way happen once more, after it', async () => {
  const { rolling, did } = node();
  const first = rolling.restart();
  await Promise.resolve();
  const others = [rolling.restart(), rolling.restart(), rolling.restart()];
  await Promise.all([first, ...others]);
  assert.equal(did.filter((step) => step === 'sync').length, 2);
});

test('a process above the memory limit is replaced once', async () => {
  const { rolling, seated, did } = node({ limitMb: 100 });
  seated[1]!.rss = 101 * MB;
  seated[2]!.rss = 100 * MB;
  rolling.checkMemory();
  rolling.checkMemory();
  await settled();
  assert.deepEqual(did, ['replace 2']);
});

test('where the limit is too low for any process, they are replaced once a minute and not without end', async () => {
  const { rolling, seated, did } = node({ limitMb: 100, successor: { rss: 500 * MB, age: 1_000 } });
  Object.assign(seated[0]!, { rss: 500 * MB, age: 1_000 });
  rolling.checkMemory();
  await settled();
  assert.deepEqual(did, ['replace 1']);
  rolling.checkMemory();
  await settled();
  assert.deepEqual(did, ['replace 1']);
  seated[0]!.age = 60_000;
  rolling.checkMemory();
  await settled();
  assert.deepEqual(did, ['replace 1', 'replace 1']);
});
