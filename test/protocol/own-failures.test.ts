import assert from 'node:assert/strict';
import { it } from 'node:test';
import { TestProxy } from './harness.ts';

/** A decision whose last part cannot be written: the head of the request stands half composed by then. */
const BROKEN = {
  set: [],
  remove: new Set<string>(),
  get add(): [] {
    throw new Error('a defect of ours');
  },
};

async function withBrokenPath(body: (proxy: TestProxy) => Promise<void>): Promise<void> {
  const proxy = await TestProxy.start({
    decide: (view, forward) => (view.rawPath === '/broken' ? { ...forward, request: BROKEN } : forward),
  });
  try {
    await body(proxy);
  } finally {
    proxy.close();
  }
}

it('a failure of ours while a head is composed ends its own connection, with a page and a log line', () =>
  withBrokenPath(async (proxy) => {
    const client = await proxy.client();
    client.write('GET /broken HTTP/1.1\r\nHost: a\r\n\r\n');
    assert.match(await client.readHead(), /^HTTP\/1\.1 500 /);
    assert.equal((await proxy.record()).cause, 'internal');
    assert.ok(proxy.errors.length > 0);
    await proxy.idle();
  }));

it('what was composed when it failed never reaches a backend with the body of another client', () =>
  withBrokenPath(async (proxy) => {
    const other = await proxy.client();
    other.write('POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc');
    const backend = await proxy.backend.connection();
    await backend.readHead();
    await backend.readUntil('abc');
    const client = await proxy.client();
    client.write('GET /broken HTTP/1.1\r\nHost: a\r\n\r\n');
    await client.readHead();
    other.write('def');
    assert.equal(await backend.readUntil('def'), 'def');
  }));
