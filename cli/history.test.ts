import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { run } from './history.ts';
import { said } from './said-for-test.ts';

/** What `kontrol history` prints of one answer, and what it asked for. */
async function printed(answer: object, ...args: string[]) {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? '');
    response.end(JSON.stringify(answer));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  try {
    const { code, out, err } = await said(() => run([...args, '--url', url, '--token', 't']));
    assert.equal(code, 0);
    return { out, err, asked };
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

const ITEM = { seq: 9, at: 0, author: 'me', message: '', changes: [{ kind: 'service', name: 'a' }] };

test('a list that is not at its end says so, how far it looked, and the command that goes on', async () => {
  const last = await printed({ items: [ITEM], next: null }, 'service', 'a');
  assert.equal(last.err, '');
  const more = await printed({ items: [ITEM], next: '9', lookedTo: null }, '--limit', '1');
  assert.equal(more.err, "there are older ones: 'kontrol history --before 9' goes on\n");
  const far = await printed({ items: [], next: '50', lookedTo: 50 }, 'services', 'a', '--before', '20050');
  assert.deepEqual(far.asked, ['/v1/revisions?limit=20&kind=service&name=a&cursor=20050']);
  assert.equal(
    far.err,
    "only looked back to revision 50: 'kontrol history services a --before 50' goes on\n",
  );
  // Scripts get the list alone on stdout.
  const json = await printed({ items: [], next: '50', lookedTo: 50 }, '--json');
  assert.deepEqual([json.out, json.err.includes('looked back')], ['[]\n', true]);
});

test('an object of which it is not known what it was before is named with the reason', async () => {
  const changes = [
    { kind: 'service', name: 'b', change: 'change', fields: [{ path: 'balance', to: 'naive' }] },
    { kind: 'service', name: 'a', change: null, fields: null },
  ];
  const { out } = await printed({ ...ITEM, changes, lookedTo: 50 }, '90000');
  assert.match(out, /~ service b\n {4}\+ balance: naive\n\? service a\n/);
  assert.match(out, /older than revision 50: 'kontrol history service a --before 50 --limit 1' finds it/);
  const trimmed = await printed({ ...ITEM, changes: changes.slice(1), lookedTo: null }, '9');
  assert.match(trimmed.out, /\? service a\n.*the history that is kept does not tell/);
  assert.ok(!trimmed.out.includes('nothing'));
});
