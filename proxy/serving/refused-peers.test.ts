import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ListenerSpec } from '../link/messages.ts';
import type { Environment } from './environment.ts';
import { RefusedPeers } from './refused-peers.ts';

test('a peer without its PROXY header is named as everywhere else, once a minute, with how many were not told', () => {
  let now = 0;
  const told: unknown[] = [];
  const warn = (code: string, message: string, fields: object) => told.push([code, message, fields]);
  const peers = new RefusedPeers({ clock: { monotonic: () => now }, log: { warn } } as unknown as Pick<
    Environment,
    'clock' | 'log'
  >);
  const spec = { port: 80, listener: null } as unknown as ListenerSpec;
  peers.sent('bad', '::ffff:192.0.2.7', spec);
  peers.untrusted('192.0.2.8', spec);
  peers.sent('gone', '192.0.2.7', spec);
  now = 60_000;
  peers.untrusted('2001:DB8::1', spec);
  const fields = { port: 80, listener: null };
  const sent = '192.0.2.7 sent something else than a PROXY header; make it send one, or do not ask for one';
  const may =
    '2001:db8::1 is no trusted proxy and may not send a PROXY header; ' +
    'if it is your balancer, name it in --trusted-proxies';
  assert.deepEqual(told, [
    ['proxy_header_refused', sent, { peer: '192.0.2.7', ...fields, untold: 0 }],
    ['proxy_header_refused', may, { peer: '2001:db8::1', ...fields, untold: 1 }],
  ]);
});
