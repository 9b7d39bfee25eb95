import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { acceptForKey } from '../../proxy/tunnel/websocket-handshake.ts';
import { type TestProxy, withProxy } from './harness.ts';
import type { Wire } from './wire.ts';

const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
const HANDSHAKE =
  'GET /chat HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n' +
  `Sec-WebSocket-Key: ${KEY}\r\nSec-WebSocket-Version: 13\r\n`;
const SWITCH =
  'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
  `Sec-WebSocket-Accept: ${acceptForKey(KEY)}\r\n`;

async function open(proxy: TestProxy, more = ''): Promise<{ client: Wire; backend: Wire }> {
  const client = await proxy.client();
  client.write(`${HANDSHAKE}\r\n${more}`);
  const backend = await proxy.backend.connection();
  await backend.readHead();
  backend.write(`${SWITCH}\r\n`);
  const head = await client.readHead();
  assert.match(head, /^HTTP\/1\.1 101 /);
  return { client, backend };
}

describe('WebSocket', () => {
  it('a valid handshake opens a tunnel that carries bytes both ways', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write(`${HANDSHAKE}\r\n`);
      const backend = await proxy.backend.connection();
      const request = await backend.readMessage();
      assert.equal(request.fields.get('upgrade'), 'websocket');
      assert.equal(request.fields.get('connection'), 'Upgrade');
      assert.equal(request.fields.get('sec-websocket-key'), KEY);
      backend.write(`${SWITCH}Sec-WebSocket-Protocol: chat\r\n\r\n`);
      const answer = await client.readMessage();
      assert.equal(answer.fields.get('upgrade'), 'websocket');
      assert.equal(answer.fields.get('connection'), 'Upgrade');
      assert.equal(answer.fields.get('sec-websocket-protocol'), 'chat');
      client.write('\x81\x85\x00\x00\x00\x00hello');
      assert.equal(await backend.readBytes(11), '\x81\x85\x00\x00\x00\x00hello');
      backend.write('\x81\x02hi');
      assert.equal(await client.readBytes(4), '\x81\x02hi');
      client.end();
      backend.end();
      const record = await proxy.record();
      assert.equal(record.protocol, 'websocket');
      assert.equal(record.status, 101);
      assert.equal(record.phase, 'tunnel');
      assert.equal(record.endedBy, 'complete');
      assert.equal(record.bytesIn, 11);
      assert.equal(record.bytesOut, 4);
      await proxy.idle();
    }));

  it('with limits.halfClose the end of a client that came before the tunnel is passed on', () =>
    withProxy({ limits: { halfClose: true } }, async (proxy) => {
      const client = await proxy.client();
      client.write(`${HANDSHAKE}\r\n`);
      const backend = await proxy.backend.connection();
      await backend.readHead();
      client.end();
      for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
      backend.write(`${SWITCH}\r\n`);
      await client.readHead();
      await backend.until(() => backend.ended !== null, 'the end of the client');
      backend.end();
      assert.equal((await proxy.record()).endedBy, 'complete');
      await proxy.idle();
    }));

  it('bytes that came with the handshake are forwarded in both directions', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write(`${HANDSHAKE}\r\nearly`);
      const backend = await proxy.backend.connection();
      await backend.readHead();
      backend.write(`${SWITCH}\r\nfirst`);
      await client.readHead();
      assert.equal(await client.readBytes(5), 'first');
      assert.equal(await backend.readBytes(5), 'early');
    }));

  it('the end of one side is passed on and the other may go on', () =>
    withProxy({}, async (proxy) => {
      const { client, backend } = await open(proxy);
      client.write('last');
      client.end();
      assert.equal(await backend.readToEnd(), 'last');
      assert.equal(backend.ended, 'end');
      backend.write('answer');
      backend.end();
      assert.equal(await client.readToEnd(), 'answer');
      assert.equal(client.ended, 'end');
      await proxy.idle();
    }));

  for (const side of ['client', 'backend'] as const) {
    it(`a reset of the ${side} ends both`, () =>
      withProxy({}, async (proxy) => {
        const wires = await open(proxy);
        wires[side].reset();
        const other = side === 'client' ? wires.backend : wires.client;
        await other.readToEnd();
        assert.equal((await proxy.record()).endedBy, side);
        await proxy.idle();
      }));
  }

  it('an answer other than 101 is an ordinary one', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write(`${HANDSHAKE}\r\n`);
      const backend = await proxy.backend.connection();
      await backend.readHead();
      backend.write(
        'HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\nContent-Length: 2\r\n\r\nno',
      );
      const answer = await client.readMessage();
      assert.equal(answer.status, 426);
      assert.equal(answer.body, 'no');
      assert.equal(answer.fields.get('sec-websocket-version'), '13');
    }));

  it('a 101 with a wrong accept value is a 502', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write(`${HANDSHAKE}\r\n`);
      const backend = await proxy.backend.connection();
      await backend.readHead();
      backend.write(`${SWITCH.replace('Accept: ', 'Accept: x')}\r\n`);
      assert.equal((await client.readMessage()).status, 502);
      assert.equal((await proxy.record()).cause, 'backend_upgrade');
    }));

  const invalid = {
    'another protocol': HANDSHAKE.replace('Upgrade: websocket', 'Upgrade: h2c'),
    'no Connection: Upgrade': HANDSHAKE.replace('keep-alive, Upgrade', 'keep-alive'),
    'a key of the wrong length': HANDSHAKE.replace(KEY, 'c2hvcnQ='),
    'another method': HANDSHAKE.replace('GET', 'PUT'),
    'a body': `${HANDSHAKE}Content-Length: 1\r\n`,
  };
  for (const [what, head] of Object.entries(invalid)) {
    it(`with ${what} it is forwarded as an ordinary request without Upgrade`, () =>
      withProxy({}, async (proxy) => {
        const client = await proxy.client();
        client.write(`${head}\r\nx`);
        const backend = await proxy.backend.connection();
        const request = await backend.readMessage();
        assert.equal(request.fields.has('upgrade'), false);
        assert.equal(request.fields.has('connection'), false);
        backend.write(`${SWITCH}\r\n`);
        assert.equal((await client.readMessage()).status, 502);
      }));
  }

  it('a client that leaves during the handshake frees both sides', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write(`${HANDSHAKE}\r\n`);
      const backend = await proxy.backend.connection();
      await backend.readHead();
      client.reset();
      await backend.readToEnd();
      assert.equal((await proxy.record()).status, 499);
      await proxy.idle();
    }));

  it('a handshake that is never answered times out', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write(`${HANDSHAKE}\r\n`);
      const backend = await proxy.backend.connection();
      await backend.readHead();
      proxy.passTime(61_000);
      assert.equal((await client.readMessage()).status, 504);
    }));

  it('a slow reader holds the sender back, and nothing is lost', () =>
    withProxy({}, async (proxy) => {
      const { client, backend } = await open(proxy);
      client.socket.pause();
      const total = 64 * 1_048_576;
      backend.write(Buffer.alloc(total, 'x'));
      for (let i = 0; i < 300; i++) await new Promise((resolve) => setImmediate(resolve));
      assert.ok(backend.socket.writableLength > 0, 'the proxy took everything');
      client.socket.resume();
      await client.until(() => client.received.length >= total, 'all bytes');
    }));

  it('closing now says goodbye to both where a frame may stand', () =>
    withProxy({}, async (proxy) => {
      const { client, backend } = await open(proxy);
      backend.write('\x81\x02hi');
      await client.readBytes(4);
      client.write('\x81\x85\x00\x00\x00\x00he');
      await backend.readBytes(8);
      for (const connection of proxy.connections) {
        connection.drain();
        connection.closeNow();
      }
      assert.equal(await client.readToEnd(), '\x88\x02\x03\xe9');
      assert.equal(await backend.readToEnd(), '');
      assert.equal((await proxy.record()).endedBy, 'proxy');
    }));
});
