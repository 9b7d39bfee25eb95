import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import type { KontrolError } from '../shared/errors.ts';
import { call, connectionFrom } from './connection.ts';

test('an answer that breaks off is told as that, with what may have been done', async (t) => {
  const server = createServer((_, response) => {
    response.writeHead(200, { 'content-length': '100' });
    response.write('{"items": [', () => response.destroy());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  for (const [method, advice] of [
    ['GET', /broke off .*; try again$/],
    ['PATCH', /broke off .*; it may have been done all the same: 'kontrol history' says so$/],
  ] as const)
    await assert.rejects(call({ url, token: 't' }, method, '/v1/x'), (error: KontrolError) => {
      assert.equal(error.code, 'store_unavailable');
      assert.match(error.message, advice);
      return true;
    });
});

test('an empty token is told as that, and no other one is taken in its place', () => {
  for (const [option, env] of [
    ['', {}],
    [undefined, { KONTROL_TOKEN: '', KONTROL_API_TOKEN: 't' }],
  ] as const)
    assert.throws(() => connectionFrom({ token: option }, env), /the token is empty/);
  assert.equal(connectionFrom({ token: 't' }, { KONTROL_TOKEN: '' }).token, 't');
});
