import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import tls from 'node:tls';
import { certificateFor } from '../../proxy/tls/testing.ts';
import { type TestFront, withFront } from './front-harness.ts';

const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const;
type Version = (typeof VERSIONS)[number];
const NAMES = ['open.test', 'safe.test'] as const;

const options = (front: TestFront, servername: string, version: Version): tls.ConnectionOptions => ({
  port: front.port,
  host: '127.0.0.1',
  rejectUnauthorized: false,
  servername,
  minVersion: version,
  maxVersion: version,
});

async function session(front: TestFront, servername: string, version: Version): Promise<Buffer> {
  const socket = tls.connect(options(front, servername, version));
  const [ticket] = await once(socket, 'session');
  socket.destroy();
  return ticket;
}

async function resumes(
  front: TestFront,
  servername: string,
  version: Version,
  ticket: Buffer,
): Promise<boolean> {
  const socket = tls.connect({ ...options(front, servername, version), session: ticket });
  await once(socket, 'secureConnect');
  const reused = socket.isSessionReused();
  socket.destroy();
  return reused;
}

/** `open.test` asks for no certificates; with `safe`, `safe.test` does. */
const withSite = (safe: boolean, body: (front: TestFront) => Promise<void>) =>
  withFront({ type: 'https', handshakeTimeoutMs: 1_000 }, async (front) => {
    const authority = await certificateFor(['authority']);
    front.service('web');
    front.apply({ kind: 'domain', name: '*', routes: [{ service: 'web' }] });
    if (safe) {
      const clientCertificates = { ca: authority.certificate };
      front.apply({ kind: 'domain', name: 'safe.test', routes: [{ service: 'web' }], clientCertificates });
    }
    front.tls.certificates.setDefault(await certificateFor(['open.test', 'safe.test']));
    await body(front);
  });

const keys = () => randomBytes(48);

describe('TLS session tickets', () => {
  for (const safe of [false, true]) {
    it(`made with the keys before are taken for two hours, ${safe ? 'with' : 'without'} client certificates`, () =>
      withSite(safe, async (front) => {
        const [first, second, third] = [keys(), keys(), keys()];
        const both = NAMES.flatMap((name) => VERSIONS.map((version) => [name, version] as const));
        front.tls.setTicketKeys(first);
        const old = await Promise.all(both.map(([name, version]) => session(front, name, version)));
        const all = async (tickets: Buffer[]) =>
          await Promise.all(both.map(([name, version], at) => resumes(front, name, version, tickets[at]!)));
        front.tls.setTicketKeys(Buffer.concat([second, first]));
        assert.deepEqual(await all(old), [true, true, true, true], 'after a rotation');
        const fresh = await Promise.all(both.map(([name, version]) => session(front, name, version)));
        assert.deepEqual(await all(fresh), [true, true, true, true], 'of the present keys');

        front.proxy.passTime(7_300_000);
        assert.equal(front.tls.takesFormerTickets, false);
        assert.deepEqual(await all(old), [false, false, false, false], 'when the time is over');
        assert.deepEqual(await all(fresh), [true, true, true, true]);

        front.tls.setTicketKeys(Buffer.concat([third, second]));
        assert.deepEqual(await all(fresh), [true, true, true, true], 'after the next rotation');
        assert.deepEqual(await all(old), [false, false, false, false], 'two rotations later');
        front.tls.setTicketKeys(third);
        assert.deepEqual(await all(fresh), [false, false, false, false], 'a node without the keys before');
      }));
  }

  it('a ticket nobody knows, or a broken one, costs a whole handshake and nothing else', () =>
    withSite(false, async (front) => {
      const [first, second] = [keys(), keys()];
      front.tls.setTicketKeys(first);
      const ticket = await session(front, 'open.test', 'TLSv1.2');
      const stranger = keys();
      first.copy(stranger, 0, 0, 16);
      // The name of the keys before, with other keys behind it.
      front.tls.setTicketKeys(Buffer.concat([second, stranger]));
      assert.equal(await resumes(front, 'open.test', 'TLSv1.2', ticket), false);
    }));
});

describe('a change of what handshakes need', () => {
  it('under load, no handshake fails: certificates, default, ticket keys, authorities', () =>
    withSite(true, async (front) => {
      const pairs = await Promise.all([1, 2, 3].map(() => certificateFor(['open.test', 'safe.test'])));
      const authorities = await Promise.all([1, 2].map(() => certificateFor(['authority'])));
      let present = keys();
      let handshakes = 0;
      let running = true;
      const visitor = async (name: string, version: Version) => {
        let ticket: Buffer | undefined;
        while (running) {
          const socket = tls.connect({
            ...options(front, name, version),
            ...(ticket && { session: ticket }),
          });
          socket.on('session', (fresh: Buffer) => {
            ticket = fresh;
          });
          await once(socket, 'secureConnect');
          socket.write('GET / HTTP/1.1\r\nHost: nobody\r\nConnection: close\r\n\r\n');
          socket.destroy();
          handshakes++;
        }
      };
      const visitors = NAMES.flatMap((name) => VERSIONS.map((version) => visitor(name, version)));
      for (let turn = 0; turn < 60; turn++) {
        const pair = pairs[turn % 3]!;
        const before = handshakes;
        if (turn % 5 === 0) front.tls.certificates.set('named', pair);
        if (turn % 5 === 1) front.tls.certificates.setDefault(pair);
        if (turn % 5 === 2) front.tls.certificates.remove('named');
        if (turn % 5 === 3) {
          const next = keys();
          front.tls.setTicketKeys(Buffer.concat([next, present]));
          present = next;
        }
        if (turn % 5 === 4) {
          const ca = authorities[turn % 2]!.certificate;
          const clientCertificates = turn % 3 === 0 ? null : { ca };
          front.apply({
            kind: 'domain',
            name: 'safe.test',
            routes: [{ service: 'web' }],
            clientCertificates,
          });
        }
        await front.proxy.settled(() => handshakes > before, 'the next handshake');
      }
      running = false;
      await Promise.all(visitors);
    }));
});
