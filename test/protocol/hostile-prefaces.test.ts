import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { describe, it } from 'node:test';
import tls from 'node:tls';
import { certificateFor } from '../../proxy/tls/testing.ts';
import { encodeProxyHeader } from '../../proxy/tunnel/proxy-header.ts';
import { type FrontOptions, type TestFront, withFront } from './front-harness.ts';

/** The same numbers in every run (mulberry32). */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** What OpenSSL sends first for this name. */
async function helloFor(servername: string): Promise<Buffer> {
  const server = net.createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  const client = tls.connect({ port, host: '127.0.0.1', servername });
  client.on('error', () => {});
  const [socket] = await once(server, 'connection');
  const [bytes] = await once(socket, 'data');
  client.destroy();
  socket.destroy();
  server.close();
  return bytes;
}

const ENDS = { source: { address: '203.0.113.7', port: 1 }, destination: { address: '192.0.2.1', port: 2 } };
const GET = Buffer.from('GET / HTTP/1.1\r\nHost: a.test\r\n\r\n');
const COUNT = 250;

/** Starts of connections, spoilt, cut into pieces and ended in every way; then nothing may be left of them. */
async function attack(front: TestFront, seed: number): Promise<void> {
  const below = random(seed);
  const hello = await helloFor('safe.test');
  const starts = [
    Buffer.alloc(0),
    GET,
    hello,
    encodeProxyHeader(1, ENDS),
    encodeProxyHeader(2, ENDS),
    encodeProxyHeader(2, null),
    Buffer.concat([encodeProxyHeader(1, ENDS), hello]),
    Buffer.concat([encodeProxyHeader(2, ENDS), hello]),
    Buffer.concat([encodeProxyHeader(2, ENDS), GET]),
    Buffer.alloc(40_000, 22),
  ];
  const one = async () => {
    const bytes = Buffer.from(starts[below(starts.length)]!);
    for (let spoils = below(3); spoils > 0 && bytes.length > 0; spoils--)
      bytes[below(bytes.length)] = below(256);
    const socket = net.connect({ port: front.port, host: '127.0.0.1', allowHalfOpen: below(2) === 0 });
    socket.on('error', () => {});
    socket.resume();
    await once(socket, 'connect').catch(() => {});
    for (let at = 0; at < bytes.length && !socket.destroyed; ) {
      const end = below(3) === 0 ? bytes.length : Math.min(bytes.length, at + 1 + below(60));
      socket.write(bytes.subarray(at, end));
      at = end;
      if (below(2) === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    const ending = below(4);
    if (ending === 0) socket.destroy();
    else if (ending === 1 && !socket.destroyed) socket.resetAndDestroy();
    else if (ending === 2) socket.end();
    setImmediate(() => socket.destroy());
  };
  for (let done = 0; done < COUNT; done += 10) await Promise.all(Array.from({ length: 10 }, one));
  await front.idle();
}

describe('starts of connections that mean harm', () => {
  const kinds: readonly FrontOptions[] = [
    { type: 'http', proxyProtocol: true },
    { type: 'https', proxyProtocol: true },
    { type: 'https' },
    { type: 'tcp', listener: 'pass', proxyProtocol: true },
    { type: 'tcp', listener: 'pass' },
  ];
  for (const [index, options] of kinds.entries()) {
    it(`leave nothing behind on ${options.type}${options.proxyProtocol ? ' with a PROXY header' : ''}`, () =>
      withFront({ handshakeTimeoutMs: 300, trusts: () => true, ...options }, async (front) => {
        const authority = await certificateFor(['authority']);
        front.service('web');
        front.apply(
          { kind: 'domain', name: '*', routes: [{ service: 'web' }] },
          {
            kind: 'domain',
            name: 'safe.test',
            routes: [{ service: 'web' }],
            clientCertificates: { ca: authority.certificate },
          },
          { kind: 'listener', name: 'pass', port: 3306, tls: 'passthrough', hosts: { 'safe.test': 'web' } },
        );
        front.tls.certificates.setDefault(await certificateFor(['safe.test']));
        await attack(front, 1_000 + index);
        assert.equal(front.proxy.activeRequests(), 0);
      }));
  }
});
