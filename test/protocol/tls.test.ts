import assert from 'node:assert/strict';
import { once } from 'node:events';
import type net from 'node:net';
import { after, before, describe, it } from 'node:test';
import tls from 'node:tls';
import selfsigned from 'selfsigned';
import { ClientConnection } from '../../proxy/http1/client-connection.ts';
import { wrapTlsSocket } from '../../proxy/stream/tls-handle.ts';
import { TestProxy, TLS_VARIANT } from './harness.ts';
import { Wire } from './wire.ts';

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';

let proxy: TestProxy;
let server: tls.Server;
const open = new Set<ClientConnection>();
const wires: Wire[] = [];

before(async () => {
  const pems = await selfsigned.generate([{ name: 'commonName', value: 'localhost' }], {
    algorithm: 'sha256',
  });
  proxy = await TestProxy.start();
  server = tls.createServer({ key: pems.private, cert: pems.cert, allowHalfOpen: true } as tls.TlsOptions);
  server.on('secureConnection', (socket) => {
    const listener = { secure: true, port: 443 };
    open.add(
      new ClientConnection(wrapTlsSocket(socket, TLS_VARIANT), proxy.environment, listener, (one) =>
        open.delete(one),
      ),
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});

after(() => {
  for (const wire of wires) wire.destroy();
  server.close();
  proxy.close();
});

async function connect(): Promise<Wire> {
  const socket = tls.connect({
    port: (server.address() as net.AddressInfo).port,
    host: '127.0.0.1',
    rejectUnauthorized: false,
    allowHalfOpen: true,
  } as tls.ConnectionOptions);
  await once(socket, 'secureConnect');
  const wire = new Wire(socket);
  wires.push(wire);
  return wire;
}

describe('HTTP/1.1 over TLS', () => {
  it('keeps the connection, and says https to the backend', async () => {
    const client = await connect();
    const backend = proxy.backend.connection();
    for (let i = 0; i < 3; i++) {
      client.write(GET);
      const wire = await backend;
      const request = await wire.readMessage();
      assert.equal(request.fields.get('x-forwarded-proto'), 'https');
      assert.equal(request.fields.get('x-forwarded-port'), '443');
      wire.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      assert.equal((await client.readMessage()).body, 'ok');
    }
    client.end();
    await proxy.settled(() => open.size === 0, 'the connection to end');
  });

  it('carries large bodies both ways, held back by a slow reader', async () => {
    const client = await connect();
    const size = 16 * 1_048_576;
    client.write(`PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n`);
    client.write(Buffer.alloc(size, 'u'));
    await proxy.settled(() => proxy.backend.accepted.length > 0, 'a backend');
    const wire = proxy.backend.accepted.at(-1)!;
    await wire.readHead();
    await wire.readBytes(size);
    client.socket.pause();
    wire.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
    wire.write(Buffer.alloc(size, 'd'));
    for (let i = 0; i < 300; i++) await new Promise((resolve) => setImmediate(resolve));
    assert.ok(wire.socket.writableLength > 0, 'the proxy took the whole answer');
    for (const connection of open) assert.ok(connection.pendingBytes <= 262_144);
    client.socket.resume();
    await client.readHead();
    assert.equal((await client.readBytes(size)).length, size);
    client.destroy();
  });

  it('a backend that dies mid-body cuts the client', async () => {
    const client = await connect();
    const before = proxy.backend.accepted.length;
    client.write(GET);
    await proxy.settled(
      () => proxy.backend.accepted.slice(before - 1).some((one) => one.rest.includes('\r\n\r\n')),
      'the request',
    );
    const wire = proxy.backend.accepted.slice(before - 1).find((one) => one.rest.includes('\r\n\r\n'))!;
    await wire.readHead();
    wire.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc');
    await client.readUntil('abc');
    wire.reset();
    assert.equal(await client.readToEnd(), '');
    assert.equal(proxy.records.at(-1)!.cause, 'backend_cut');
  });

  it('a client that leaves frees the backend', async () => {
    const client = await connect();
    client.write(GET);
    const count = proxy.records.length;
    await proxy.settled(
      () => proxy.backend.accepted.some((one) => one.ended === null && one.rest.includes('\r\n\r\n')),
      'the request',
    );
    client.destroy();
    assert.equal((await proxy.record(count + 1)).status, 499);
    await proxy.settled(() => proxy.activeRequests() === 0, 'the backend to be free');
    await proxy.settled(() => open.size === 0, 'the connection to end');
  });
});
