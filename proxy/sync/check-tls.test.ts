/** TLS of active checks: what they expect of a backend, and show it, is what requests do. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import https from 'node:https';
import type net from 'node:net';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { generate } from 'selfsigned';
import { resolveService, type Service } from '../../shared/model/service.ts';
import { Table } from '../../shared/routing/table.ts';
import { clientPairOf } from './check-tls.ts';
import { probe, type Target } from './probe.ts';

const made = (commonName: string, altNames: object[]) =>
  generate([{ name: 'commonName', value: commonName }], {
    keySize: 2048,
    extensions: [{ name: 'subjectAltName', altNames }] as never,
  });

async function listen(t: TestContext, server: net.Server): Promise<Target> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  return { type: 'tcp', host: '127.0.0.1', port: (server.address() as AddressInfo).port, name: '127.0.0.1' };
}

function check(
  target: Target,
  more: Partial<Service>,
  pair: { certificate: string; key: string } | null = null,
) {
  const service = resolveService({
    name: 's',
    health: { type: 'http' },
    protocol: 'https',
    ...more,
  } as Service);
  return probe(target, service, new Set(), pair);
}

test('under an address the name is that of `host`, as it is for requests', async (t) => {
  const { private: key, cert } = await made('app.example.com', [{ type: 2, value: 'app.example.com' }]);
  const asked: unknown[] = [];
  const server = https.createServer({ key, cert }, (request, response) => {
    asked.push((request.socket as TLSSocket & { servername?: unknown }).servername, request.headers.host);
    response.end();
  });
  const target = await listen(t, server);
  assert.equal(await check(target, { host: 'app.example.com:8443', tls: { ca: cert } }), null);
  assert.deepEqual(asked, ['app.example.com', 'app.example.com:8443']);
  const bare = { health: { type: 'tcp' as const, tls: true }, tls: { ca: cert } };
  assert.equal(await check(target, { ...bare, host: 'app.example.com' }), null);
  assert.match(String(await check(target, { tls: { ca: cert } })), /altnames|does not match/i);
});

test('a server name that is an address is compared, and not asked for', async (t) => {
  const { private: key, cert } = await made('10.9.8.7', [{ type: 7, ip: '10.9.8.7' }]);
  const target = await listen(
    t,
    https.createServer({ key, cert }, (_, response) => response.end()),
  );
  assert.equal(await check(target, { tls: { ca: cert, serverName: '10.9.8.7' } }), null);
  assert.match(
    String(await check(target, { tls: { ca: cert, serverName: '10.9.8.8' } })),
    /altnames|does not match/i,
  );
});

test('a backend that asks for the certificate of the service is shown it', async (t) => {
  const own = await made('localhost', [{ type: 7, ip: '127.0.0.1' }]);
  const client = await made('kontrol', []);
  const server = https.createServer(
    { key: own.private, cert: own.cert, ca: client.cert, requestCert: true, rejectUnauthorized: true },
    (_, response) => response.end(),
  );
  const target = await listen(t, server);
  const tls = { ca: own.cert, certificate: 'mine' };
  const table = new Table();
  const keyDigest = createHash('sha256').update(client.private).digest('hex');
  assert.equal(clientPairOf(table, 'mine'), null);
  assert.match(String(await check(target, { tls })), /client certificate "mine" is not there/);
  table.apply([
    { kind: 'certificate', name: 'mine', doc: { name: 'mine', certificate: client.cert, keyDigest } },
    { kind: 'secret', name: `certificate/${keyDigest}`, doc: { value: client.private } },
  ]);
  assert.equal(await check(target, { tls }, clientPairOf(table, 'mine')), null);
  // A service that shows none is not let in: nothing else made the check above pass.
  assert.equal(typeof (await check(target, { tls: { ca: own.cert } })), 'string');
});
