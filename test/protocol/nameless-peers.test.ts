import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { it } from 'node:test';
import { withFront } from './front-harness.ts';

/** Sends this and resets, all before this process comes to accept the connection. */
function hitAndRun(port: number, text: string): void {
  const script = `
    const socket = require('node:net').connect(${port}, '127.0.0.1', () =>
      socket.write(${JSON.stringify(text)}, () => socket.resetAndDestroy()));`;
  const { status } = spawnSync(process.execPath, ['-e', script], { timeout: 5_000 });
  assert.equal(status, 0);
}

const BLOCKED = {
  kind: 'rule',
  name: 'blocked',
  list: 'blacklist',
  type: 'ip',
  match: ['127.0.0.1'],
} as const;

it('a request that is followed by a reset before it was accepted does not pass rules about addresses', () =>
  withFront({ type: 'http' }, async (front) => {
    front.service('shop');
    front.apply(BLOCKED, { kind: 'domain', name: '*', firewall: ['blocked'], routes: [{ service: 'shop' }] });
    hitAndRun(front.port, 'POST /change HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n');
    const client = await front.client();
    client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    assert.equal((await client.readMessage()).status, 403);
    assert.equal(front.proxy.backend.accepted.length, 0);
    assert.equal(front.proxy.records.length, 1);
  }));

it('nor do the bytes of a TCP connection', () =>
  withFront({ type: 'tcp', listener: 'mysql' }, async (front) => {
    front.service('db', 0, { protocol: 'tcp' });
    front.apply(BLOCKED, {
      kind: 'listener',
      name: 'mysql',
      port: 3306,
      service: 'db',
      firewall: ['blocked'],
    });
    hitAndRun(front.port, 'DROP TABLE x');
    const client = await front.client();
    await client.readToEnd();
    assert.equal(front.proxy.backend.accepted.length, 0);
  }));
