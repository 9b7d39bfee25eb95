import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { Descriptors } from './descriptors.ts';

const MODULE = fileURLToPath(new URL('./descriptors.js', import.meta.url));

test('each visitor has a descriptor for a backend, and no more than a thousand are kept for backends', () => {
  const small = new Descriptors(1_024);
  assert.ok(small.connections > 350 && small.connections < 461, String(small.connections));
  const large = new Descriptors(100_000);
  assert.ok(large.connections > 88_000 && large.connections < 89_000, String(large.connections));
  assert.equal(new Descriptors(8).connections, 1);
});

test('without a free descriptor the memory of the process is what it was last', () => {
  const program = `
    import { openSync } from 'node:fs';
    import { Descriptors, residentBytes } from ${JSON.stringify(MODULE)};
    const before = residentBytes();
    const descriptors = new Descriptors();
    try { for (;;) openSync('/dev/null', 'r'); } catch {}
    console.log(JSON.stringify([before > 0, residentBytes() === before, descriptors.full()]));`;
  const limited = [
    '-c',
    'ulimit -n 64; exec "$@"',
    'sh',
    process.execPath,
    '--input-type=module',
    '-e',
    program,
  ];
  assert.equal(execFileSync('/bin/sh', limited, { encoding: 'utf8' }).trim(), '[true,true,true]');
});
