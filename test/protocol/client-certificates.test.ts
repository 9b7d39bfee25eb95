import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import { before, describe, it } from 'node:test';
import tls from 'node:tls';
import type { PemPair } from '../../proxy/tls/key-pair.ts';
import { certificateFor } from '../../proxy/tls/testing.ts';
import { type FrontOptions, type TestFront, withFront } from './front-harness.ts';
import type { Message, Wire } from './wire.ts';

let authority: PemPair;
let otherAuthority: PemPair;
let ann: PemPair;
let stranger: PemPair;
let expired: PemPair;

before(async () => {
  authority = await certificateFor(['authority']);
  otherAuthority = await certificateFor(['other authority']);
  ann = await certificateFor(['ann'], { ca: authority });
  stranger = await certificateFor(['ann'], { ca: otherAuthority });
  expired = await certificateFor(['ann'], { ca: authority, expires: new Date(Date.now() - 1_000) });
});

/** `safe.test` (also `also.safe.test`) and `twin.test` ask for certificates of the authority, `other.test` of another, the rest for none. */
const withSites = (body: (front: TestFront) => Promise<void>, more: Partial<FrontOptions> = {}) =>
  withFront({ type: 'https', ...more }, async (front) => {
    const site = (name: string, ca: PemPair | null, fields: object = {}) => ({
      kind: 'domain',
      name,
      routes: [{ service: 'web' }],
      ...(ca === null ? {} : { clientCertificates: { ca: ca.certificate } }),
      ...fields,
    });
    front.service('web');
    front.apply(
      site('safe.test', authority, { aliases: ['also.safe.test'] }),
      site('twin.test', authority),
      site('other.test', otherAuthority),
      site('*', null),
    );
    front.tls.certificates.setDefault(await certificateFor(['default.test']));
    front.tls.certificates.set('safe', await certificateFor(['safe.test', 'also.safe.test']));
    await body(front);
  });

interface Client {
  readonly wire: Wire;
  readonly socket: tls.TLSSocket;
}

async function connect(
  front: TestFront,
  servername: string | null,
  pair: PemPair | null,
  options: tls.ConnectionOptions = {},
): Promise<Client> {
  const socket = tls.connect({
    port: front.port,
    host: '127.0.0.1',
    rejectUnauthorized: false,
    ...(servername === null ? {} : { servername }),
    ...(pair === null ? {} : { cert: pair.certificate, key: pair.key }),
    ...options,
  });
  await once(socket, 'secureConnect');
  return { wire: front.wire(socket), socket };
}

/** What comes back for a request, and what the backend heard of it (null: nothing). */
async function ask(
  front: TestFront,
  { wire }: Client,
  host: string,
  fields = '',
): Promise<{ answer: Message; heard: Message | null; cause: string | null }> {
  const records = front.proxy.records.length;
  wire.write(`GET / HTTP/1.1\r\nHost: ${host}\r\n${fields}\r\n`);
  const seen = front.proxy.backend.accepted.length;
  const served = () => front.proxy.backend.accepted.slice(0).find((one) => one.rest.includes('\r\n\r\n'));
  await front.proxy.settled(
    () => served() !== undefined || front.proxy.records.length > records,
    `an answer (${seen} backends)`,
  );
  const backend = served();
  const heard = backend === undefined ? null : await backend.readMessage();
  backend?.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
  const answer = await wire.readMessage();
  return { answer, heard, cause: (await front.proxy.record(records + 1)).cause };
}

describe('client certificates', () => {
  it('of the authority open its domain, under each of its names, and the backend hears whose they are', () =>
    withSites(async (front) => {
      const certificate = new X509Certificate(ann.certificate);
      for (const version of ['TLSv1.2', 'TLSv1.3'] as const)
        for (const name of ['safe.test', 'also.safe.test']) {
          const client = await connect(front, name, ann, { minVersion: version, maxVersion: version });
          const forged = 'Client-Cert: :AAAA:\r\nclient_cert: :AAAA:\r\nX-Client-Cert-Subject: CN=root\r\n';
          const { answer, heard } = await ask(front, client, name, forged);
          assert.equal(answer.status, 200);
          assert.equal(heard!.fields.get('client-cert'), `:${certificate.raw.toString('base64')}:`);
          assert.equal(heard!.fields.get('x-client-cert-subject'), 'CN=ann');
          assert.equal(
            heard!.fields.get('x-client-cert-fingerprint'),
            certificate.fingerprint256.replaceAll(':', '').toLowerCase(),
          );
          assert.doesNotMatch(heard!.head, /AAAA|CN=root/);
          client.socket.destroy();
        }
    }));

  it('are asked for by their own domains only', () =>
    withSites(async (front) => {
      const open = await connect(front, 'open.test', ann);
      const { heard } = await ask(front, open, 'open.test', 'Client-Cert: :AAAA:\r\n');
      assert.equal(heard!.fields.get('client-cert'), undefined, 'nobody asked, and the forged one is gone');
    }));

  it('that are missing, of another authority or expired are refused with an answer that says so', () =>
    withSites(async (front) => {
      for (const version of ['TLSv1.2', 'TLSv1.3'] as const)
        for (const pair of [null, stranger, expired]) {
          const client = await connect(front, 'safe.test', pair, {
            minVersion: version,
            maxVersion: version,
          });
          const { answer, heard, cause } = await ask(front, client, 'safe.test');
          assert.equal(answer.status, 403);
          assert.equal(cause, 'client_certificate_missing');
          assert.equal(heard, null);
          client.socket.destroy();
        }
    }));

  it('count on a connection that was made for their domain, and on no other: 421', () =>
    withSites(async (front) => {
      for (const [servername, host] of [
        ['open.test', 'safe.test'],
        [null, 'safe.test'],
        ['safe.test', 'other.test'],
        ['other.test', 'safe.test'],
        ['safe.test', 'twin.test'],
      ] as const) {
        const client = await connect(front, servername, ann);
        const { answer, heard } = await ask(front, client, host);
        assert.equal(answer.status, 421, `${servername} ${host}`);
        assert.equal(heard, null);
        client.socket.destroy();
      }
      const client = await connect(front, 'safe.test', ann);
      const { answer, heard } = await ask(front, client, 'open.test');
      assert.equal(answer.status, 200, 'a domain that asks for none is open to all connections');
      assert.equal(heard!.fields.get('client-cert'), undefined);
    }));

  it('a session that began without them, or for another authority, is not resumed into their domain', () =>
    withSites(async (front) => {
      for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
        for (const [from, pair] of [
          ['open.test', null],
          ['other.test', stranger],
        ] as const) {
          const first = tls.connect({
            port: front.port,
            host: '127.0.0.1',
            rejectUnauthorized: false,
            servername: from,
            minVersion: version,
            maxVersion: version,
            ...(pair === null ? {} : { cert: pair.certificate, key: pair.key }),
          });
          const [session] = await once(first, 'session');
          first.destroy();
          const second = await connect(front, 'safe.test', null, { session, maxVersion: version });
          assert.equal(second.socket.isSessionReused(), false);
          assert.equal((await ask(front, second, 'safe.test')).answer.status, 403);
          second.socket.destroy();
        }
        const first = tls.connect({
          port: front.port,
          host: '127.0.0.1',
          rejectUnauthorized: false,
          servername: 'safe.test',
          cert: ann.certificate,
          key: ann.key,
          maxVersion: version,
        });
        const [session] = await once(first, 'session');
        first.destroy();
        const again = await connect(front, 'safe.test', ann, { session, maxVersion: version });
        assert.equal(again.socket.isSessionReused(), true, 'their own are');
        const { answer, heard } = await ask(front, again, 'safe.test');
        assert.equal(answer.status, 200);
        assert.match(heard!.fields.get('x-client-cert-subject')!, /ann/);
        again.socket.destroy();
        const bare = await connect(front, 'safe.test', null, { maxVersion: version });
        assert.equal((await ask(front, bare, 'safe.test')).answer.status, 403);
        bare.socket.destroy();
      }
    }));

  it('a session without a certificate stays one without when it is resumed', () =>
    withSites(async (front) => {
      const options = {
        port: front.port,
        host: '127.0.0.1',
        rejectUnauthorized: false,
        servername: 'safe.test',
      };
      const first = tls.connect(options);
      const [session] = await once(first, 'session');
      first.destroy();
      const again = await connect(front, 'safe.test', null, { session });
      assert.equal((await ask(front, again, 'safe.test')).answer.status, 403);
    }));

  it('follow the domain: another authority counts at once, on open connections too', () =>
    withSites(async (front) => {
      const client = await connect(front, 'safe.test', ann);
      assert.equal((await ask(front, client, 'safe.test')).answer.status, 200);
      const site = { kind: 'domain', name: 'safe.test', routes: [{ service: 'web' }] };
      front.apply({ ...site, clientCertificates: { ca: otherAuthority.certificate } });
      assert.equal((await ask(front, client, 'safe.test')).answer.status, 421);
      const other = await connect(front, 'safe.test', stranger);
      assert.equal((await ask(front, other, 'safe.test')).answer.status, 200);
      front.apply({ ...site, clientCertificates: null });
      const none = await connect(front, 'safe.test', null);
      assert.equal((await ask(front, none, 'safe.test')).answer.status, 200);
      assert.equal((await ask(front, client, 'safe.test')).answer.status, 200);
    }));

  it('a default domain asks those who name nobody, too', () =>
    withSites(async (front) => {
      const clientCertificates = { ca: authority.certificate };
      front.apply({ kind: 'domain', name: '*', routes: [{ service: 'web' }], clientCertificates });
      for (const servername of [null, 'open.test']) {
        const client = await connect(front, servername, ann);
        const { answer, heard } = await ask(front, client, '192.0.2.1');
        assert.equal(answer.status, 200);
        assert.equal(heard!.fields.get('x-client-cert-subject'), 'CN=ann');
        const none = await connect(front, servername, null);
        assert.equal((await ask(front, none, '192.0.2.1')).answer.status, 403);
        client.socket.destroy();
        none.socket.destroy();
      }
    }));

  it('plain HTTP on the port is told as ever, and a ClientHello in pieces is understood', () =>
    withSites(async (front) => {
      const plain = await front.client();
      plain.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
      assert.match(await plain.readToEnd(), /^HTTP\/1\.1 400 [\s\S]*speaks HTTPS/);
      const silent = await front.client();
      await front.proxy.settled(() => front.connections.size >= 1, 'the connection');
      front.proxy.passTime(11_000);
      await silent.readToEnd();
      const client = await connect(front, 'safe.test', ann);
      assert.equal((await ask(front, client, 'safe.test')).answer.status, 200);
    }));

  it('names of a trusted proxy that ends TLS itself stay, on domains that ask for none', () =>
    withSites(
      async (front) => {
        const client = await connect(front, 'open.test', null);
        const { heard } = await ask(front, client, 'open.test', 'Client-Cert: :AAAA:\r\n');
        assert.equal(heard!.fields.get('client-cert'), ':AAAA:');
        const safe = await connect(front, 'safe.test', ann);
        const own = await ask(front, safe, 'safe.test', 'Client-Cert: :AAAA:\r\n');
        assert.doesNotMatch(own.heard!.fields.get('client-cert')!, /AAAA:/);
      },
      { trusts: () => true },
    ));

  it('a client that leaves before, during or right after its handshake leaves nothing behind', () =>
    withSites(
      async (front) => {
        const before = front.wire(net.connect(front.port, '127.0.0.1'));
        await front.proxy.settled(() => front.connections.size > 0, 'the connection');
        before.reset();
        await front.idle();
        for (const servername of ['safe.test', 'open.test'])
          for (let at = 0; at < 30; at++) {
            const socket = tls.connect({
              port: front.port,
              host: '127.0.0.1',
              rejectUnauthorized: false,
              servername,
              cert: ann.certificate,
              key: ann.key,
            });
            socket.on('error', () => {});
            await once(socket, at % 2 === 0 ? 'secureConnect' : 'connect');
            for (let rounds = 0; rounds < at % 7; rounds++)
              await new Promise((resolve) => setImmediate(resolve));
            socket.destroy();
          }
        await front.idle();
        // One that ends its side in the middle of a handshake gets the rest of the time that a handshake has.
      },
      { handshakeTimeoutMs: 200 },
    ));
});
