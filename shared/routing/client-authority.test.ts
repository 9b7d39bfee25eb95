import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileClientAuthority } from './client-authority.ts';
import { decide } from './decide.ts';
import { AUTHORITY, domainEntry, request, serviceEntry, summary, tableOf } from './fixtures.ts';
import { Table } from './table.ts';

/** A certificate that signs nothing. */
const LEAF = `-----BEGIN CERTIFICATE-----
MIIBcTCCARigAwIBAgIUPEzQNEU+yg9NrpRN9pjFJ2/Afc4wCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEbGVhZjAgFw0yNjExMjExMjM3MzFaGA8yMTI2MTAyODEyMzcz
MVowDzENMAsGA1UEAwwEbGVhZjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABF+f
ypk6ntJAufDyj24YR6GOPPetAxOkH8IcHjdZGMx/aoMh0YZYIGraVlIVNNGXZFp9
FwcUZUjvLEzQPm/rHBSjUDBOMB0GA1UdDgQWBBTLb7b3zqb+tx0MxfcpTfOoC8M7
PjAfBgNVHSMEGDAWgBTLb7b3zqb+tx0MxfcpTfOoC8M7PjAMBgNVHRMBAf8EAjAA
MAoGCCqGSM49BAMCA0cAMEQCIDyfdizPbKNzqI1gsEoLZrcsnisTtBStUNsV4HTj
lIQDAiAy0WXWLaLp6hK6jAHWKokMJDZdSMK983ylhPKXIGldeg==
-----END CERTIFICATE-----
`;

const site = (doc: Record<string, unknown> = {}) =>
  tableOf([
    serviceEntry('web'),
    domainEntry('safe.example.com', {
      aliases: ['too.example.com'],
      routes: [{ service: 'web' }],
      clientCertificates: { ca: AUTHORITY },
      ...doc,
    }),
    domainEntry('*', { routes: [{ service: 'web' }] }),
  ]);
const { id } = compileClientAuthority(AUTHORITY);
const outcome = (
  table: ReturnType<typeof site>,
  client: { serverName: string; authority: string; verified: boolean } | null,
  host = 'safe.example.com',
) => summary(decide(table, request('/', { host, secure: true, tls: { client } })));
const proof = (serverName: string, more: object = {}) => ({
  authority: id,
  verified: true,
  serverName,
  ...more,
});

test('who has shown a certificate of the authority gets in, and the backend is told', () => {
  const table = site();
  assert.equal(outcome(table, proof('safe.example.com')), 'forward web/1');
  const tls = { client: proof('safe.example.com') };
  const decision = decide(table, request('/', { host: 'safe.example.com', secure: true, tls }));
  assert.equal(decision.type === 'forward' && decision.identified, true);
  const open = decide(table, request('/', { host: 'open.example.com', secure: true, tls }));
  assert.equal(
    open.type === 'forward' && open.identified,
    undefined,
    'a domain that asks for none hears of none',
  );
});

test('names of one domain share a connection', () => {
  assert.equal(outcome(site(), proof('too.example.com')), 'forward web/1');
});

test('who has shown none, or a bad one, is refused', () => {
  const refused = 'page client_certificate_missing';
  assert.equal(outcome(site(), proof('safe.example.com', { verified: false })), refused);
  for (const secure of [true, false]) {
    const plain = request('/', { host: 'safe.example.com', secure });
    assert.equal(summary(decide(site(), plain)), refused, 'behind a proxy that ends TLS, or over plain HTTP');
  }
  const moved = decide(site({ https: 'redirect' }), request('/', { host: 'safe.example.com' }));
  assert.equal(moved.type, 'redirect');
});

test('a connection made for another name or another authority is misdirected', () => {
  for (const client of [
    null,
    proof('open.example.com'),
    proof('safe.example.com', { authority: 'other' }),
    proof('open.example.com', { verified: false }),
  ])
    assert.equal(outcome(site(), client), 'page misdirected');
});

test('an authority that cannot be used makes its domain unusable, never open', () => {
  for (const [ca, reason] of [
    ['', /no certificate in PEM/],
    ['-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----', /certificate 1 cannot be read/],
    [`${AUTHORITY}\n${LEAF}`, /certificate 2 is not that of an authority/],
  ] as const) {
    assert.throws(() => compileClientAuthority(ca), reason);
    const table = new Table();
    table.apply([domainEntry('safe.example.com', { clientCertificates: { ca } })]);
    assert.equal(outcome(table, proof('safe.example.com')), 'page quarantined');
  }
});

test('a table knows whether any domain asks', () => {
  const table = site();
  assert.equal(table.verifiesClients, true);
  table.apply([domainEntry('safe.example.com', { routes: [{ service: 'web' }] })]);
  assert.equal(table.verifiesClients, false);
  table.apply([domainEntry('safe.example.com', { clientCertificates: { ca: AUTHORITY }, routes: [] })]);
  assert.equal(table.verifiesClients, true);
  table.apply([{ kind: 'domain', name: 'safe.example.com', doc: null }]);
  assert.equal(table.verifiesClients, false);
});
