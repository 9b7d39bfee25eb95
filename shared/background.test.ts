import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { getPriority } from 'node:os';
import { test } from 'node:test';
import { ONE_HELPER } from './background.ts';

/** Niceness of the main thread and of the others, in a process of its own: it cannot be raised again. */
function afterCalling(name: string): { readonly main: number; readonly others: readonly number[] } {
  const module = new URL('./background.js', import.meta.url).href;
  const { stdout, stderr } = spawnSync(
    process.execPath,
    [
      ONE_HELPER,
      '--input-type=module',
      '-e',
      `import { ${name} } from '${module}';
       import { readdirSync } from 'node:fs';
       import { getPriority } from 'node:os';
       ${name}();
       const others = readdirSync('/proc/self/task').map(Number).filter((thread) => thread !== process.pid);
       console.log(JSON.stringify({ main: getPriority(), others: others.map((thread) => getPriority(thread)) }));`,
    ],
    { encoding: 'utf8' },
  );
  assert.equal(stderr, '');
  return JSON.parse(stdout);
}

const mine = getPriority();
const nicer = (by: number) => Math.min(mine + by, 19);

test('in a process that serves only the threads of V8 give way', () => {
  const { main, others } = afterCalling('helpersGiveWay');
  assert.equal(main, mine);
  assert.ok(others.length >= 1);
  for (const other of others) assert.equal(other, nicer(10));
});

test('a process in the background gives way with all its threads, those of V8 most', () => {
  const { main, others } = afterCalling('processGivesWay');
  assert.equal(main, nicer(5));
  for (const other of others) assert.equal(other, nicer(10));
});
