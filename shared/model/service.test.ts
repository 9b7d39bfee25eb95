import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseObject } from './kinds.ts';
import { NO_TIME_LIMIT, resolveService, type Service } from './service.ts';
import { resolveLimits } from './settings.ts';

function resolve(doc: Record<string, unknown>, defaults: Parameters<typeof resolveService>[1] = {}) {
  const result = parseObject('service', { name: 's', ...doc });
  if (!result.ok) assert.fail(JSON.stringify(result.problems));
  return resolveService(result.value as Service, defaults);
}

test('a service that says nothing has the documented defaults', () => {
  const service = resolve({});
  assert.equal(service.protocol, 'http');
  assert.equal(service.balance, 'round-robin');
  assert.equal(service.latest, 'auto');
  assert.equal(service.host, null);
  assert.deepEqual(service.timeouts, { connectMs: 3_000, firstByteMs: 60_000, idleMs: 60_000 });
  assert.deepEqual(service.passive, { attempts: 3, offlineMs: 10_000 });
  assert.deepEqual(service.pool, { max: 256, min: 0, idleMs: 4_000 });
  assert.deepEqual(service.queue, { size: 100, waitMs: 2_000, status: 503 });
  assert.deepEqual(service.retries, { max: 2, onReset: true, onStatus: [] });
  assert.deepEqual(service.websocket, { balance: 'least-connections', poolMax: 10_000 });
  assert.deepEqual(service.health, {
    type: 'tcp',
    path: '/',
    status: [],
    body: null,
    intervalMs: 5_000,
    timeoutMs: 2_000,
    rise: 2,
    fall: 3,
    jitter: 0.1,
    tls: false,
  });
});

test('a time-out comes from the service, else the settings, else the default', () => {
  const service = resolve({ timeouts: { connect: '1s' } }, { connect: 2_000, firstByte: 5_000 });
  assert.deepEqual(service.timeouts, { connectMs: 1_000, firstByteMs: 5_000, idleMs: 60_000 });
  assert.equal(resolve({}, { connect: 2_000 }).timeouts.connectMs, 2_000);
});

test('a JSON check asks /healthCheck unless told otherwise', () => {
  assert.equal(resolve({ health: { type: 'json' } }).health.path, '/healthCheck');
  assert.equal(resolve({ health: { type: 'json', path: '/up' } }).health.path, '/up');
  assert.equal(resolve({ health: { type: 'websocket' } }).health.path, '/');
});

test('one status is a list of one', () => {
  assert.deepEqual(resolve({ health: { type: 'http', status: 204 } }).health.status, [204]);
});

test('a broker brokers its WebSockets too', () => {
  assert.equal(resolve({ balance: 'broker' }).websocket.balance, 'broker');
});

test('retries name resets and statuses', () => {
  assert.deepEqual(resolve({ retries: { max: 1, on: [503, 502] } }).retries, {
    max: 1,
    onReset: false,
    onStatus: [503, 502],
  });
});

test('limits that are not given have the documented defaults', () => {
  assert.deepEqual(resolveLimits({}), {
    headSize: 16_384,
    headTimeoutMs: 20_000,
    bodyIdleMs: 30_000,
    keepAliveMs: 65_000,
    fields: 100,
    halfClose: false,
    connections: 0,
    connectionsPerAddress: 0,
    body: 0,
    bodyRate: 1_024,
    h2Streams: 128,
  });
  assert.equal(resolveLimits({ limits: { fields: 5 } }).fields, 5);
});

test('a limit of 0 is none, and never a deadline that is over at once', () => {
  const none = resolveLimits({ limits: { headSize: 0, headTimeout: 0, bodyIdle: 0, keepAlive: 0 } });
  assert.deepEqual(
    [none.headSize, none.headTimeoutMs, none.bodyIdleMs, none.keepAliveMs],
    [1_048_576, NO_TIME_LIMIT, NO_TIME_LIMIT, NO_TIME_LIMIT],
  );
  const timeouts = { connect: 0, firstByte: 0, idle: 0 };
  const unlimited = { connectMs: 5_000, firstByteMs: NO_TIME_LIMIT, idleMs: NO_TIME_LIMIT };
  assert.deepEqual(resolve({ timeouts }).timeouts, unlimited);
  assert.deepEqual(resolve({}, timeouts).timeouts, unlimited);
  assert.equal(resolve({ health: { timeout: 0 } }).health.timeoutMs, 2_000);
});

test('what is about requests is refused for a service of protocol tcp', () => {
  for (const field of [{ sticky: {} }, { coalesce: {} }, { cache: {} }]) {
    const parsed = parseObject('service', { name: 'db', protocol: 'tcp', ...field });
    assert.ok(!parsed.ok && parsed.problems[0]?.path === Object.keys(field)[0], JSON.stringify(field));
  }
  assert.ok(parseObject('service', { name: 'db', protocol: 'tcp', sticky: false, cache: null }).ok);
});

test('health checks without a type are of type tcp, and a typo in them is named', () => {
  assert.deepEqual(resolve({ health: { interval: '3s' } }).health.intervalMs, 3_000);
  assert.equal(resolve({ health: { interval: '3s' } }).health.type, 'tcp');
  const typo = parseObject('service', { name: 's', health: { intervall: '3s' } });
  assert.ok(!typo.ok);
  assert.deepEqual(typo.problems, [
    { path: 'health.intervall', message: 'unknown field; did you mean "interval"?' },
  ]);
});
