import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { describe, it } from 'node:test';
import tls from 'node:tls';
import { certificateFor } from '../../proxy/tls/testing.ts';
import { encodeProxyHeader } from '../../proxy/tunnel/proxy-header.ts';
import { type FrontOptions, type TestFront, withFront } from './front-harness.ts';
import type { Wire } from './wire.ts';

const V1 = 'PROXY TCP4 203.0.113.7 192.0.2.1 54321 8080\r\n';
const ENDS = {
  source: { address: '203.0.113.7', port: 54_321 },
  destination: { address: '192.0.2.1', port: 8_080 },
};
const V2 = encodeProxyHeader(2, ENDS).toString('latin1');
const LOCAL = '\r\n\r\n\0\r\nQUIT\n\x20\0\0\0';
const GET =
  'GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 192.0.2.99\r\nX-Forwarded-Proto: https\r\n\r\n';

/** The balancer is 127.0.0.1; other loopback addresses are strangers. */
const trusts = (address: string) => address === '127.0.0.1';
const HTTP: FrontOptions = { type: 'http', proxyProtocol: true, trusts };

/** A front where every host goes to one service. */
const withSite = (options: FrontOptions, body: (front: TestFront) => Promise<void>) =>
  withFront(options, async (front) => {
    front.service('web');
    front.apply({ kind: 'domain', name: '*', routes: [{ service: 'web' }] });
    await body(front);
  });

async function heardBy(front: TestFront): Promise<ReadonlyMap<string, string>> {
  const backend = await front.proxy.backend.connection();
  const { fields } = await backend.readMessage();
  backend.write('HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n');
  return fields;
}

async function answered(client: Wire): Promise<void> {
  assert.match(await client.readHead(), /^HTTP\/1\.1 204/);
}

describe('PROXY header on http sockets', () => {
  it('its address is the client for log, fields and rules, and the port it came to', () =>
    withSite(HTTP, async (front) => {
      for (const header of [V1, V2]) {
        const client = await front.client();
        client.write(header + GET);
        const fields = await heardBy(front);
        await answered(client);
        assert.equal(fields.get('x-forwarded-for'), '203.0.113.7');
        assert.equal(fields.get('x-real-ip'), '203.0.113.7');
        assert.equal(fields.get('x-forwarded-port'), '8080');
        assert.equal(
          fields.get('x-forwarded-proto'),
          'http',
          'what the client says of itself is not believed',
        );
        assert.equal(front.proxy.records.at(-1)!.address, '203.0.113.7');
      }
      front.apply(
        { kind: 'rule', name: 'no', list: 'blacklist', type: 'ip', match: ['203.0.113.0/24'] },
        { kind: 'domain', name: '*', firewall: ['no'], routes: [{ service: 'web' }] },
      );
      const refused = await front.client();
      refused.write(V1 + GET);
      assert.match(await refused.readHead(), /^HTTP\/1\.1 403/);
    }));

  it('split at every byte it means the same, and so does the request behind it', () =>
    withSite(HTTP, async (front) => {
      for (const header of [V1, V2]) {
        const all = header + GET;
        for (let at = 1; at < all.length; at += at < header.length + 3 ? 1 : 17) {
          const client = await front.client();
          client.write(all.slice(0, at));
          await new Promise((resolve) => setImmediate(resolve));
          client.write(all.slice(at));
          assert.equal((await heardBy(front)).get('x-forwarded-for'), '203.0.113.7', `split at ${at}`);
          await answered(client);
          client.destroy();
        }
      }
    }));

  it('a health check of the balancer is its own connection, and its fields are believed', () =>
    withSite(HTTP, async (front) => {
      const client = await front.client();
      client.write(LOCAL + GET);
      const fields = await heardBy(front);
      await answered(client);
      assert.equal(fields.get('x-forwarded-for'), '192.0.2.99, 127.0.0.1');
      assert.equal(front.proxy.records.at(-1)!.address, '192.0.2.99');
    }));

  it('a client that the balancer does not name is not believed either', () =>
    withSite(HTTP, async (front) => {
      const client = await front.client();
      client.write(`PROXY UNKNOWN\r\n${GET}`);
      const fields = await heardBy(front);
      await answered(client);
      assert.equal(fields.get('x-forwarded-for'), '127.0.0.1');
      assert.equal(fields.get('x-forwarded-proto'), 'http');
    }));

  it('a proxy behind the balancer is believed when it is trusted, too', () =>
    withSite(
      { ...HTTP, trusts: (address) => trusts(address) || address === '203.0.113.7' },
      async (front) => {
        const client = await front.client();
        client.write(V1 + GET);
        const fields = await heardBy(front);
        await answered(client);
        assert.equal(fields.get('x-forwarded-for'), '192.0.2.99, 203.0.113.7');
        assert.equal(fields.get('x-forwarded-proto'), 'https');
      },
    ));

  it('anyone but a trusted proxy is reset, whatever it sends', () =>
    withSite(HTTP, async (front) => {
      const stranger = await front.client('127.0.0.2');
      stranger.write(V1 + GET);
      await stranger.readToEnd();
      assert.equal(stranger.ended, 'reset');
      assert.equal(stranger.received, '');
      assert.equal(front.proxy.backend.accepted.length, 0);
    }));

  it('a trusted proxy without a header, with a bad one, or with half of one is reset', () =>
    withSite(HTTP, async (front) => {
      for (const bytes of [GET, 'PROXY TCP4 1 2 3 4\r\n', `${V2.slice(0, 12)}\xff`, 'x'.repeat(200)]) {
        const client = await front.client();
        client.write(bytes);
        await client.readToEnd();
        assert.equal(client.ended, 'reset', JSON.stringify(bytes));
        assert.equal(client.received, '');
      }
      const slow = await front.client();
      slow.write(V1.slice(0, 20));
      await front.proxy.settled(() => front.connections.size === 1, 'the connection');
      front.proxy.passTime(6_000);
      await slow.readToEnd();
      assert.equal(slow.ended, 'reset');
      const half = await front.client();
      half.write(V1.slice(0, 20));
      half.end();
      await half.readToEnd();
      await front.idle();
      assert.equal(front.proxy.backend.accepted.length, 0);
    }));

  it('places per address are those of the clients, not of the balancer', () =>
    withSite({ ...HTTP, limits: { connectionsPerAddress: 1 } }, async (front) => {
      const first = await front.client();
      first.write(V1);
      await front.proxy.settled(() => front.proxy.opened === 1, 'the first to be served');
      const second = await front.client();
      second.write(V1 + GET);
      assert.match(await second.readHead(), /^HTTP\/1\.1 503/);
      const other = await front.client();
      other.write(V1.replace('203.0.113.7', '203.0.113.8') + GET);
      await heardBy(front);
      await answered(other);
    }));

  it('a draining process does not wait for a connection that has said nothing', () =>
    withSite(HTTP, async (front) => {
      const silent = await front.client();
      await front.proxy.settled(() => front.connections.size === 1, 'the connection');
      front.connections.drain();
      await silent.readToEnd();
      assert.equal(front.connections.size, 0);
    }));
});

describe('PROXY header before TLS', () => {
  const HTTPS: FrontOptions = { ...HTTP, type: 'https' };
  const withSecureSite = (body: (front: TestFront) => Promise<void>) =>
    withSite(HTTPS, async (front) => {
      front.tls.certificates.setDefault(await certificateFor(['a.test']));
      await body(front);
    });

  /** Writes `header` in pieces, then shakes hands. */
  async function secure(front: TestFront, header: string, cut: number, together = false): Promise<Wire> {
    const socket = net.connect({ port: front.port, host: '127.0.0.1', allowHalfOpen: true });
    socket.on('error', () => {});
    await once(socket, 'connect');
    socket.setNoDelay(true);
    socket.write(Buffer.from(header.slice(0, cut), 'latin1'));
    await new Promise((resolve) => setImmediate(resolve));
    if (together) socket.cork();
    socket.write(Buffer.from(header.slice(cut), 'latin1'));
    const secured = tls.connect({ socket, servername: 'a.test', rejectUnauthorized: false });
    if (together) process.nextTick(() => socket.uncork());
    const wire = front.wire(secured);
    await Promise.race([once(secured, 'secureConnect'), once(secured, 'close')]).catch(() => {});
    return wire;
  }

  it('names the client, however it is split, also in one packet with the ClientHello', () =>
    withSecureSite(async (front) => {
      for (const header of [V1, V2])
        for (const [cut, together] of [
          [0, false],
          [1, false],
          [header.length, false],
          [0, true],
          [7, true],
        ] as const) {
          const client = await secure(front, header, cut, together);
          client.write(GET);
          const fields = await heardBy(front);
          await answered(client);
          assert.equal(fields.get('x-forwarded-for'), '203.0.113.7');
          assert.equal(fields.get('x-forwarded-proto'), 'https');
          assert.equal(fields.get('x-forwarded-port'), '8080');
          client.destroy();
        }
    }));

  it('is required: a handshake without it, or from a stranger, is cut', () =>
    withSecureSite(async (front) => {
      const without = await secure(front, '', 0);
      await without.readToEnd();
      const socket = net.connect({ port: front.port, host: '127.0.0.1', localAddress: '127.0.0.2' });
      const stranger = front.wire(socket);
      stranger.write(V1);
      await stranger.readToEnd();
      assert.equal(stranger.ended, 'reset');
    }));
});

describe('PROXY header on tcp listeners', () => {
  const TCP: FrontOptions = { type: 'tcp', proxyProtocol: true, trusts, listener: 'db' };
  const withListener = (fields: Record<string, unknown>, body: (front: TestFront) => Promise<void>) =>
    withFront({ ...TCP, proxyProtocol: fields['proxyProtocol'] === true }, async (front) => {
      front.service('db', 0, { protocol: 'tcp' });
      const { proxyProtocol: _, ...more } = fields;
      front.apply({ kind: 'listener', name: 'db', port: 3306, service: 'db', ...more });
      await body(front);
    });

  it('what stands behind it goes to the backend, also with nothing else in the packet', () =>
    withListener({ proxyProtocol: true }, async (front) => {
      for (const bytes of [`${V1}hello`, V1]) {
        const client = await front.client();
        client.write(bytes);
        if (!bytes.endsWith('hello')) client.write('hello');
        const backend = await front.proxy.backend.connection();
        assert.equal(await backend.readBytes(5), 'hello');
        backend.write('greeting');
        assert.equal(await client.readBytes(8), 'greeting');
        client.end();
        await backend.readToEnd();
        backend.end();
        await client.readToEnd();
        await front.proxy.settled(() => front.connections.size === 0, 'the end');
        assert.equal(front.proxy.records.at(-1)!.address, '203.0.113.7');
      }
    }));

  it('rules judge its address', () =>
    withListener({ proxyProtocol: true, firewall: ['no'] }, async (front) => {
      front.apply({ kind: 'rule', name: 'no', list: 'blacklist', type: 'ip', match: ['203.0.113.7'] });
      const client = await front.client();
      client.write(`${V1}hello`);
      await client.readToEnd();
      assert.equal(client.ended, 'reset');
      assert.equal((await front.proxy.record()).rule, 'no');
      assert.equal(front.proxy.backend.accepted.length, 0);
    }));

  it('backends are sent one of the version that is configured, with both ends of the connection', async () => {
    for (const out of [true, 1, 2] as const) {
      await withFront({ type: 'tcp', listener: 'db' }, async (front) => {
        front.service('db', 0, { protocol: 'tcp' });
        front.apply({ kind: 'listener', name: 'db', port: 3306, service: 'db', proxyProtocol: { out } });
        const client = await front.client('127.0.0.9');
        client.write('hello');
        const expected = encodeProxyHeader(out === 1 ? 1 : 2, {
          source: { address: '127.0.0.9', port: client.socket.localPort! },
          destination: { address: '127.0.0.1', port: front.port },
        }).toString('latin1');
        const backend = await front.proxy.backend.connection();
        assert.equal(await backend.readBytes(expected.length + 5), `${expected}hello`);
      });
    }
  });

  it('what came in with a header goes out with its addresses', () =>
    withListener({ proxyProtocol: true }, async (front) => {
      front.apply({
        kind: 'listener',
        name: 'db',
        port: 3306,
        service: 'db',
        proxyProtocol: { in: true, out: 1 },
      });
      const client = await front.client();
      client.write(`${V2}hello`);
      const backend = await front.proxy.backend.connection();
      assert.equal(await backend.readBytes(V1.length + 5), `${V1}hello`);
    }));
});
