import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { describe, it } from 'node:test';
import tls from 'node:tls';
import type { PemPair } from '../../proxy/tls/key-pair.ts';
import { certificateFor } from '../../proxy/tls/testing.ts';
import { encodeProxyHeader } from '../../proxy/tunnel/proxy-header.ts';
import { type FrontOptions, type TestFront, withFront } from './front-harness.ts';
import type { Wire } from './wire.ts';

const UNRECOGNIZED_NAME = '\x15\x03\x03\0\x02\x02\x70';
const HOSTS = { 'db.example.com': 'db', '*.example.com': 'rest' };

/** Backend 0 is the service `db`, 1 is `rest`, 2 is `default`. */
const withListener = (
  listener: Record<string, unknown>,
  body: (front: TestFront) => Promise<void>,
  more: Partial<FrontOptions> = {},
) =>
  withFront({ type: 'tcp', listener: 'pass', backends: 3, ...more }, async (front) => {
    for (const [index, name] of ['db', 'rest', 'default'].entries())
      front.service(name, index, { protocol: 'tcp' });
    front.apply({ kind: 'listener', name: 'pass', port: 3306, tls: 'passthrough', ...listener });
    await body(front);
  });

/** The bytes of a ClientHello for this name. */
async function helloFor(servername?: string): Promise<Buffer> {
  const server = net.createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  const client = tls.connect({
    port,
    host: '127.0.0.1',
    ...(servername === undefined ? {} : { servername }),
  });
  client.on('error', () => {});
  const [socket] = await once(server, 'connection');
  const [bytes] = await once(socket, 'data');
  client.destroy();
  socket.destroy();
  server.close();
  return bytes;
}

/** Which backend (of three) got exactly these bytes. */
async function reached(front: TestFront, index: number, bytes: Buffer): Promise<Wire> {
  const backend = await front.proxy.backends[index]!.connection();
  assert.equal(await backend.readBytes(bytes.length), bytes.toString('latin1'));
  return backend;
}

describe('TLS that is passed through', () => {
  it('goes where its name says, byte for byte, and the answer comes back', () =>
    withListener({ hosts: HOSTS, service: 'default' }, async (front) => {
      for (const [name, index] of [
        ['db.example.com', 0],
        ['DB.Example.Com', 0],
        ['x.example.com', 1],
        ['x.y.example.com', 2],
        ['example.org', 2],
        [undefined, 2],
      ] as const) {
        const hello = await helloFor(name);
        const client = await front.client();
        client.write(hello);
        const backend = await reached(front, index, hello);
        backend.write('ServerHello');
        assert.equal(await client.readBytes(11), 'ServerHello');
        client.write('more');
        assert.equal(await backend.readBytes(4), 'more');
        client.destroy();
        backend.end();
        await front.proxy.settled(() => front.connections.size === 0, 'the end');
        assert.equal(front.proxy.records.at(-1)!.host, name?.toLowerCase() ?? '');
      }
    }));

  it('split at any byte it goes to the same place', () =>
    withListener({ hosts: HOSTS }, async (front) => {
      const hello = await helloFor('db.example.com');
      for (let at = 1; at < hello.length; at += 13) {
        const client = await front.client();
        client.write(hello.subarray(0, at));
        await new Promise((resolve) => setImmediate(resolve));
        client.write(hello.subarray(at));
        const backend = await reached(front, 0, hello);
        client.destroy();
        backend.end();
      }
    }));

  it('for a name that nobody has is ended with the alert that says so', () =>
    withListener({ hosts: HOSTS }, async (front) => {
      for (const name of ['example.org', undefined]) {
        const client = await front.client();
        client.write(await helloFor(name));
        assert.equal(await client.readToEnd(), UNRECOGNIZED_NAME);
        assert.equal(client.ended, 'end');
        assert.equal(front.proxy.records.at(-1)!.cause, 'host_unknown');
      }
      for (const { accepted } of front.proxy.backends) assert.equal(accepted.length, 0);
      const client = tls.connect({ port: front.port, host: '127.0.0.1', servername: 'example.org' });
      await assert.rejects(once(client, 'secureConnect'), /unrecognized name/i, 'OpenSSL understands it');
    }));

  it('that is none, or is not complete in time, is reset and touches no backend', () =>
    withListener({ hosts: HOSTS, service: 'default' }, async (front) => {
      const hello = await helloFor('db.example.com');
      const spoilt = Buffer.from(hello);
      spoilt[5] = 2;
      for (const bytes of [Buffer.from('GET / HTTP/1.1\r\n\r\n'), spoilt, Buffer.alloc(20_000, 22)]) {
        const client = await front.client();
        client.write(bytes);
        await client.readToEnd();
        assert.equal(client.ended, 'reset');
        assert.equal(front.proxy.records.at(-1)!.cause, 'bad_request');
      }
      for (const bytes of [hello.subarray(0, 40), Buffer.alloc(0)]) {
        const client = await front.client();
        if (bytes.length > 0) client.write(bytes);
        await front.proxy.settled(() => front.connections.size === 1, 'the connection');
        front.proxy.passTime(11_000);
        await client.readToEnd();
        assert.equal(front.proxy.records.at(-1)!.cause, 'head_timeout');
      }
      const gone = await front.client();
      gone.write(hello.subarray(0, 40));
      gone.end();
      await gone.readToEnd();
      assert.equal(front.proxy.records.at(-1)!.cause, 'client_gone');
      for (const { accepted } of front.proxy.backends) assert.equal(accepted.length, 0);
    }));

  it('is judged by the rules before a word is listened to', () =>
    withListener({ hosts: HOSTS, firewall: ['no'] }, async (front) => {
      front.apply({ kind: 'rule', name: 'no', list: 'blacklist', type: 'ip', match: ['127.0.0.9'] });
      const refused = await front.client('127.0.0.9');
      await refused.readToEnd();
      assert.equal(refused.ended, 'reset');
      assert.equal(front.proxy.records.at(-1)!.rule, 'no');
      const hello = await helloFor('db.example.com');
      const client = await front.client();
      client.write(hello);
      await reached(front, 0, hello);
    }));

  it('goes on to the next backend while connecting fails', () =>
    withListener({ hosts: HOSTS }, async (front) => {
      const [first, second] = front.proxy.backends;
      front.apply({
        kind: 'service',
        name: 'db',
        protocol: 'tcp',
        balance: 'naive',
        keys: { 1: { backends: [{ address: first!.address }, { address: second!.address }] } },
      });
      first!.close();
      const hello = await helloFor('db.example.com');
      const client = await front.client();
      client.write(hello);
      await reached(front, 1, hello);
    }));

  it('is cut after the idle time of its listener', () =>
    withListener({ hosts: HOSTS, idle: '5s' }, async (front) => {
      const hello = await helloFor('db.example.com');
      const client = await front.client();
      client.write(hello);
      const backend = await reached(front, 0, hello);
      front.proxy.passTime(6_000);
      await client.readToEnd();
      await backend.readToEnd();
    }));

  it('stands between PROXY headers: one in before the name is read, one out before the ClientHello', () =>
    withListener(
      { hosts: HOSTS, proxyProtocol: { in: true, out: 2 } },
      async (front) => {
        const ends = {
          source: { address: '2001:db8::7', port: 54_321 },
          destination: { address: '2001:db8::1', port: 443 },
        };
        const hello = await helloFor('db.example.com');
        const client = await front.client();
        client.write(Buffer.concat([encodeProxyHeader(1, ends), hello]));
        await reached(front, 0, Buffer.concat([encodeProxyHeader(2, ends), hello]));
        client.destroy();
        await front.idle();
        assert.equal(front.proxy.records.at(-1)!.address, '2001:db8::7');
      },
      { proxyProtocol: true, trusts: (address) => address === '127.0.0.1' },
    ));

  it('keeps its keys to itself: the handshake is between client and backend', async () => {
    const pair: PemPair = await certificateFor(['db.example.com']);
    const server = tls.createServer({ cert: pair.certificate, key: pair.key }, (socket) => {
      socket.end(`${socket.getProtocol()} ${(socket as { servername?: string }).servername}`);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    await withListener({ hosts: HOSTS }, async (front) => {
      const address = `127.0.0.1:${(server.address() as net.AddressInfo).port}`;
      front.apply({ kind: 'service', name: 'db', protocol: 'tcp', keys: { 1: { backends: [{ address }] } } });
      const client = tls.connect({
        port: front.port,
        host: '127.0.0.1',
        servername: 'db.example.com',
        ca: pair.certificate,
      });
      const [said] = await once(client, 'data');
      assert.equal(String(said), 'TLSv1.3 db.example.com');
      assert.equal(client.authorized, true);
      client.destroy();
    });
    server.close();
  });
});
