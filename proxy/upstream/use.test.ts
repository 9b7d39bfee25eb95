import assert from 'node:assert/strict';
import { test } from 'node:test';
import { heldRig, service, spec } from './testing.ts';

const A = '10.0.0.1:80';
const B = '10.0.0.2:80';

test('a backend is balanced while a key names it ready or lost, and busy while anything is under way on it', () => {
  const { upstreams, acquire, connector } = heldRig();
  const use = () => upstreams.use('shop', A);
  assert.deepEqual(use(), { balanced: false, busy: false });
  const states = (state: 'ready' | 'lost' | 'drain' | 'maintenance') => {
    upstreams.setService('shop', service({ 1: [spec(A, { state }), B] }));
    return use().balanced;
  };
  assert.deepEqual([states('lost'), states('drain'), states('maintenance')], [true, false, false]);
  const only = service({ 1: [A] });
  upstreams.setService('shop', only);
  const got = acquire(only);
  assert.deepEqual(use(), { balanced: true, busy: true }, 'while connecting');
  connector.succeed();
  assert.equal(states('drain'), false);
  assert.equal(use().busy, true);
  got.connection?.release(null);
  assert.deepEqual(use(), { balanced: false, busy: false });
});

test('a backend that the table names no longer is busy until its last request and tunnel have ended', () => {
  const { upstreams, acquire, connector } = heldRig();
  const shop = service({ 1: [A] });
  upstreams.setService('shop', shop);
  const request = acquire(shop);
  connector.succeed();
  const tunnel = acquire(shop, { websocket: true });
  connector.succeed();
  upstreams.setService('shop', service({ 1: [B] }));
  assert.deepEqual(upstreams.use('shop', A), { balanced: false, busy: true });
  upstreams.setService('shop', null);
  request.connection?.release(null);
  assert.equal(upstreams.use('shop', A).busy, true);
  assert.equal(upstreams.use('other', A).busy, false);
  tunnel.connection?.discard(false);
  assert.deepEqual(upstreams.use('shop', A), { balanced: false, busy: false });
});
