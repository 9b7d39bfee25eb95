/** `kontrol deploy` against an API that is not always there; what it does in a cluster is tested with real processes. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { run } from './deploy.ts';

test('an API that fails for a moment neither ends the watching nor keeps from pointing back', async () => {
  const patched: unknown[] = [];
  let looks = 0;
  const server = createServer((request, response) => {
    const { method, url = '' } = request;
    const say = (status: number, body: unknown) => response.writeHead(status).end(JSON.stringify(body));
    if (method === 'PATCH') {
      request.on('data', (chunk) => patched.push(JSON.parse(String(chunk))));
      request.on('end', () => say(200, {}));
    } else if (url.startsWith('/v1/stats')) {
      looks++;
      const requests = looks * 100;
      if (looks % 2 === 0) say(503, { detail: 'not now' });
      else say(200, { services: [{ name: 'shop', requests, errors: requests }] });
    } else {
      const items = [1, 2].map((key) => ({ key, enabled: true, latest: key === 1, backends: { ready: 1 } }));
      say(200, { latest: 1, items });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const argv = ['shop', '--key', '2', '--watch', '1500ms', '--rollback', '--json', '--url', url];
    // Three looks, of which the second fails.
    const code = await run([...argv, '--token', 't']);
    assert.equal(code, 1);
    assert.deepEqual(patched, [{ latest: 2 }, { latest: 1 }]);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
