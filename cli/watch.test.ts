import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { type WebSocket, WebSocketServer } from 'ws';
import { watchEvents } from './watch.ts';

test('a connection on which nothing is heard any more is made anew, and goes on where it was', {
  timeout: 30_000,
}, async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let open = true;
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', verifyClient: () => open });
  await once(server, 'listening');
  t.after(() => {
    for (const socket of server.clients) socket.terminate();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const heard: unknown[] = [];
  let told = () => {};
  const ended = watchEvents({ url, token: 't' }, (event) => {
    heard.push(event);
    told();
  });
  const [first] = (await once(server, 'connection')) as [WebSocket];
  const news = new Promise<void>((resolve) => {
    told = resolve;
  });
  first.send('{"kind": "change", "seq": 7}');
  await news;
  // A ping counts as a sign of life.
  t.mock.timers.tick(50_000);
  first.ping();
  await once(first, 'pong');
  t.mock.timers.tick(59_000);
  assert.equal(server.clients.size, 1);
  const gone = once(first, 'close');
  t.mock.timers.tick(1_000);
  await gone;
  const again = once(server, 'connection');
  const turns = setInterval(() => t.mock.timers.tick(1_000), 5);
  const [second, request] = (await again) as [WebSocket, { url: string }];
  assert.equal(request.url, '/v1/events?since=7');
  assert.deepEqual(heard, [{ kind: 'change', seq: 7 }]);
  open = false;
  second.terminate();
  assert.equal(await ended, 'it answers 401', 'who is refused is not tried for ever');
  clearInterval(turns);
});
