import assert from 'node:assert/strict';
import { afterEach, before, describe, test } from 'node:test';
import tls from 'node:tls';
import { type Log, silentLog } from '../../shared/log.ts';
import type { PemPair } from '../tls/key-pair.ts';
import { certificateFor } from '../tls/testing.ts';
import { type Got, rig, service, TestBackend, until } from './testing.ts';
import { type ClientCertificate, MAX_IDENTITIES, TlsIdentities, TlsIdentity } from './tls-identity.ts';
import type { UpstreamOptions } from './upstreams.ts';

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

let named: PemPair;
let addressed: PemPair;
let client: PemPair;
before(async () => {
  named = await certificateFor(['app.internal']);
  addressed = await certificateFor(['127.0.0.1']);
  client = await certificateFor(['kontrol']);
});

/** A backend that speaks TLS; `resumed` and `clients` tell of each handshake. */
async function secure(pair: PemPair, options: tls.TlsOptions = {}) {
  const resumed: boolean[] = [];
  const clients: (string | undefined)[] = [];
  const names: (string | false | undefined)[] = [];
  const server = tls.createServer({ cert: pair.certificate, key: pair.key, ...options }, (socket) => {
    resumed.push(socket.isSessionReused());
    const name = socket.getPeerCertificate().subject?.CN;
    clients.push(Array.isArray(name) ? name[0] : name);
    names.push((socket as { servername?: string | false }).servername);
    socket.on('error', () => {});
    socket.resume();
  });
  server.on('tlsClientError', () => {});
  const backend = await TestBackend.start(server);
  closing.push(() => backend.close());
  return { backend, resumed, clients, names };
}

function started(options: Partial<UpstreamOptions> = {}) {
  const made = rig(options);
  closing.push(() => {
    made.upstreams.close();
    made.timers.stop();
  });
  const shop = (address: string, settings: Record<string, unknown>, more: Record<string, unknown> = {}) => {
    const compiled = service(
      { 1: [address] },
      { protocol: 'https', tls: settings, pool: { idle: '1h' }, ...more },
    );
    made.upstreams.setService('shop', compiled);
    return compiled;
  };
  /** What came of a connect: `ok`, or why not. */
  const outcome = (got: Got) => (got.connection === null ? got.unavailable?.cause : 'ok');
  return { ...made, shop, outcome };
}

describe('TLS to backends', () => {
  test('is verified unless the service says otherwise', async () => {
    const { backend } = await secure(addressed);
    const { shop, get, outcome, failures } = started();
    assert.equal(outcome(await get(shop(backend.address, {}))), 'all_dead');
    assert.equal(failures.length, 1, 'it counts as a failed connect');
    assert.equal(outcome(await get(shop(backend.address, { ca: client.certificate }))), 'all_dead');
    assert.equal(outcome(await get(shop(backend.address, { ca: addressed.certificate }))), 'ok');
    assert.equal(outcome(await get(shop(backend.address, { verify: false }))), 'ok');
  });

  test('compares the name: tls.serverName, else the backend’s, else the Host of the service, else the address', async () => {
    const { backend, names } = await secure(named);
    const { shop, get, outcome, upstreams } = started();
    const ca = named.certificate;
    upstreams.setResolved('app.internal', ['127.0.0.1']);
    upstreams.setResolved('other.internal', ['127.0.0.1']);
    const cases: [string, Record<string, unknown>, Record<string, unknown>, string][] = [
      [backend.address, { ca }, {}, 'all_dead'],
      [backend.address, { ca, serverName: 'app.internal' }, {}, 'ok'],
      [backend.address, { ca, serverName: 'other.internal' }, {}, 'all_dead'],
      [backend.address, { ca }, { host: 'app.internal:8443' }, 'ok'],
      [`app.internal:${backend.port}`, { ca }, {}, 'ok'],
      [`other.internal:${backend.port}`, { ca }, {}, 'all_dead'],
      [`other.internal:${backend.port}`, { ca, serverName: 'app.internal' }, {}, 'ok'],
    ];
    for (const [address, settings, more, expected] of cases) {
      const got = await get(shop(address, settings, more));
      assert.equal(outcome(got), expected, JSON.stringify([address, settings.serverName, more]));
      upstreams.setService('shop', null);
    }
    assert.ok(names.every((name) => name === 'app.internal'));
    const ip = await secure(addressed);
    const settings = { ca: addressed.certificate, serverName: '127.0.0.1' };
    assert.equal(outcome(await get(shop(ip.backend.address, settings))), 'ok');
    await until('the handshake is over', () => ip.names.length === 1);
    assert.deepEqual(ip.names, [false], 'an address is not sent as a server name');
  });

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    test(`sessions are resumed, but never one of a peer that failed verification (${version})`, async () => {
      const good = await secure(named, { maxVersion: version });
      const { shop, get, outcome } = started();
      const right = { ca: named.certificate, serverName: 'app.internal' };
      const compiled = shop(good.backend.address, right);
      for (let turn = 0; turn < 3; turn++) {
        const got = await get(compiled, { fresh: true });
        // Tickets of TLS 1.3 come after the handshake: a round trip makes sure that they are here.
        await new Promise<void>((resolve) => {
          got.connection!.stream.handler = {
            onData() {},
            onEnd: resolve,
            onDrain() {},
            onClose: () => resolve(),
          };
          got.connection!.stream.end();
        });
        got.connection?.discard(false);
      }
      assert.deepEqual(good.resumed, [false, true, true]);

      const accepted = good.resumed.length;
      const wrong = shop(
        good.backend.address,
        { ...right, serverName: 'other.internal' },
        { passive: { attempts: 99 } },
      );
      for (let turn = 0; turn < 3; turn++) {
        assert.equal(outcome(await get(wrong, { fresh: true })), 'all_dead');
      }
      assert.ok(!good.resumed.slice(accepted).includes(true));
    });
  }

  test('shows the client certificate, uses a new one at once, and connects not at all without it', async () => {
    const store = new Map<string, ClientCertificate>();
    const { backend, clients } = await secure(addressed, {
      requestCert: true,
      rejectUnauthorized: true,
      ca: [client.certificate, named.certificate],
    });
    const {
      shop,
      get,
      outcome,
      upstreams,
      backend: status,
    } = started({
      clientCertificate: (name) => store.get(name) ?? null,
    });
    const compiled = shop(backend.address, { ca: addressed.certificate, certificate: 'mine', verify: true });
    assert.equal(outcome(await get(compiled)), 'all_dead');
    assert.equal(backend.accepted, 0);
    store.set('mine', client);
    upstreams.certificateChanged('other');
    assert.equal(outcome(await get(compiled)), 'all_dead');
    upstreams.certificateChanged('mine');
    const got = await get(compiled);
    assert.equal(outcome(got), 'ok');
    got.connection?.release(null);
    assert.equal(status(backend.address).idle, 1);
    store.set('mine', named);
    upstreams.certificateChanged('mine');
    assert.equal(status(backend.address).idle, 0, 'a connection of the old identity is not used any more');
    const next = await get(compiled);
    assert.equal(next.connection?.reused, false);
    await new Promise<void>((resolve) => {
      next.connection!.stream.handler = {
        onData() {},
        onEnd: resolve,
        onDrain() {},
        onClose: () => resolve(),
      };
      next.connection!.stream.end();
    });
    assert.deepEqual(clients, ['kontrol', 'app.internal']);
  });

  test('a lent connection of an identity that changed is closed after its exchange', async () => {
    const { backend } = await secure(addressed);
    const { shop, get, backend: status } = started();
    const lent = await get(shop(backend.address, { verify: false }));
    shop(backend.address, { ca: addressed.certificate });
    lent.connection?.release(null);
    assert.equal(status(backend.address).idle, 0);
    await until('closed', () => lent.connection?.stream.closed === true);
  });

  test('so many identities are kept of names that come and go, and one that is made again is the same', () => {
    const { config } = service({ 1: [] }, { protocol: 'https' });
    const identities = new TlsIdentities(config, null);
    const first = identities.for('first.test');
    assert.equal(identities.for('first.test'), first);
    for (let number = 0; number < MAX_IDENTITIES; number++) identities.for(`${number}.test`);
    const again = identities.for('first.test');
    assert.notEqual(again, first);
    assert.ok(first instanceof TlsIdentity && again instanceof TlsIdentity);
    assert.equal(again.key, first.key);
  });

  test('a CA that cannot be read stops every connect with words that say so', async () => {
    const lines: string[] = [];
    const log: Log = { ...silentLog, warn: (_, message) => lines.push(message) };
    const { backend } = await secure(addressed);
    const { shop, get, outcome } = started({ log });
    const bad = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
    assert.equal(outcome(await get(shop(backend.address, { ca: bad }))), 'all_dead');
    assert.equal(backend.accepted, 0);
    assert.match(
      lines.join('\n'),
      /service shop cannot use TLS: its tls\.ca or tls\.certificate cannot be used/,
    );
  });

  test('a backend that closes or talks nonsense in the handshake is a failed connect', async () => {
    const { createServer } = await import('node:net');
    for (const answer of [null, 'HTTP/1.1 400 Bad Request\r\n\r\n']) {
      const rude = await TestBackend.start(
        createServer((socket) => (answer === null ? socket.destroy() : socket.end(answer))),
      );
      closing.push(() => rude.close());
      const { shop, get, outcome, failures } = started();
      assert.equal(outcome(await get(shop(rude.address, { verify: false }))), 'all_dead');
      assert.equal(failures.length, 1);
    }
  });
});
