import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { downLine, isWell, standing, unreadyLines } from './status.ts';

test('status names each service without a live backend once, whichever living nodes say so', () => {
  assert.equal(downLine([]), null);
  assert.equal(downLine([{ live: true, trouble: { down: [] } }, { live: true }]), null);
  const nodes = [
    { live: true, trouble: { down: ['shop', 'api'] } },
    { live: true, trouble: { down: ['shop'] } },
    { live: false, trouble: { down: ['of a node that is gone'] } },
  ];
  assert.equal(downLine(nodes), 'no live backend: api, shop');
  const many = Array.from({ length: 12 }, (_, index) => `s${index + 10}`);
  assert.match(downLine([{ live: true, trouble: { down: many } }]) ?? '', /: s10, .*, s19 and 2 more$/);
});

test('a node that was stopped in order is shown as such and is not missed; a lost one, or none at all, is', () => {
  const serving = { live: true, ready: true, state: 'running' };
  const stopped = { live: false, ready: false, state: 'stopped' };
  const lost = { live: false, ready: true, state: 'lost' };
  const stopping = { live: true, ready: false, state: 'stopping' };
  // An earlier API says no state.
  assert.deepEqual([serving, stopped, lost, stopping, { live: true, ready: false }].map(standing), [
    'yes',
    'stopped',
    'lost',
    'stopping',
    'no',
  ]);
  assert.equal(isWell([serving, stopped]), true);
  for (const nodes of [[], [stopped], [serving, stopping]]) assert.equal(isWell(nodes), false);
});

test('status says where to look when a node is not ready, and when there is none', () => {
  const node = { name: 'one', live: true, ready: true };
  assert.deepEqual(unreadyLines([node]), []);
  assert.match(unreadyLines([]).join(), /no node is known: 'kontrol proxy' starts one/);
  assert.match(
    unreadyLines([node, { ...node, name: 'two', ready: false }]).join(),
    /^two is not ready: \/readyz/,
  );
});

test('what is watched as JSON comes one object a line from the first', async (t) => {
  const server = createServer((_, response) => response.end('{"items": []}')).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const main = fileURLToPath(new URL('./main.js', import.meta.url));
  const args = [main, 'status', '--watch', '--json', '--url', url, '--token', 't'];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'ignore'] });
  t.after(() => {
    child.kill('SIGKILL');
    server.closeAllConnections();
    server.close();
  });
  let text = '';
  while (!text.includes('\n')) text += String((await once(child.stdout, 'data'))[0]);
  const first = text.split('\n')[0] ?? '';
  assert.deepEqual(JSON.parse(first), { kind: 'status', nodes: [], alarms: [], workers: [] });
});
