import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { it } from 'node:test';
import { certificateFor } from '../../proxy/tls/testing.ts';
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

/** The same over TLS, again and again: as soon as the handshake is done on its side. */
async function hitAndRunOverTls(port: number, times: number): Promise<void> {
  const script = `
    const [net, tls] = [require('node:net'), require('node:tls')];
    let left = ${times};
    const one = () => {
      if (left-- === 0) return;
      const below = net.connect(${port}, '127.0.0.1');
      const socket = tls.connect({ socket: below, servername: 'a.test', rejectUnauthorized: false }, () => {
        socket.write('POST /change HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 0\\r\\n\\r\\n');
        below.resetAndDestroy();
      });
      socket.on('error', () => {});
      below.on('error', () => {});
      below.on('close', () => setImmediate(one));
    };
    one();`;
  const [status] = await once(spawn(process.execPath, ['-e', script], { stdio: 'inherit' }), 'exit');
  assert.equal(status, 0);
}

it('nor over TLS, where the reset comes on the heels of the handshake', () =>
  withFront({ type: 'https' }, async (front) => {
    front.service('shop');
    front.apply(BLOCKED, { kind: 'domain', name: '*', firewall: ['blocked'], routes: [{ service: 'shop' }] });
    front.tls.certificates.setDefault(await certificateFor(['a.test']));
    await hitAndRunOverTls(front.port, 50);
    await front.idle();
    assert.equal(front.proxy.backend.accepted.length, 0);
    for (const { address } of front.proxy.records) assert.equal(address, '127.0.0.1');
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
