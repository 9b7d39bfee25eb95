import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { test } from 'node:test';
import { readSettings } from '../shared/settings.ts';
import { isHeldByAnother } from './internal-port.ts';
import { welcome } from './welcome.ts';

/** Whether what answers like this is another than the node whose primary has the pid 7. */
async function held(server: net.Server): Promise<boolean> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    const { port } = server.address() as AddressInfo;
    return await isHeldByAnother({ host: '127.0.0.1', port }, 7);
  } finally {
    server.close();
  }
}
const web = (answer: RequestListener) => held(createServer({ keepAlive: false } as object, answer));
const node = (...processes: object[]) =>
  web((_, response) => {
    response.setHeader('connection', 'close');
    response.end(JSON.stringify({ node: { processes } }));
  });

test('an internal port where another node or program answers is not taken for ours', async () => {
  assert.equal(await node({ role: 'primary', id: 0, pid: 7 }, { role: 'sync', id: 0, pid: 8 }), false);
  assert.equal(await node({ role: 'primary', id: 0, pid: 9 }), true);
  assert.equal(
    await web((_, response) => response.writeHead(404, { connection: 'close' }).end('nothing here')),
    true,
  );
  assert.equal(await held(net.createServer((socket) => socket.end('220 mail\r\n'))), true);
  // Not open yet, or not told yet.
  assert.equal(await node(), false);
  const gone = net.createServer().listen(0, '127.0.0.1');
  await once(gone, 'listening');
  const { port } = gone.address() as AddressInfo;
  gone.close();
  await once(gone, 'close');
  assert.equal(await isHeldByAnother({ host: '127.0.0.1', port }, 7), false);
});

test('what is printed at the start never sends people to the internal port of another node', () => {
  const { settings } = readSettings(['--internal', '127.0.0.1:42007'], {}, 'up');
  const started = { api: { url: 'http://127.0.0.1:7000', firstAdmin: null }, proxy: { listening: [] } };
  assert.match(welcome(settings, started, false), /internal +http:\/\/127\.0\.0\.1:42007\/status\n/);
  const taken = welcome(settings, started, true);
  assert.doesNotMatch(taken, /42007\/status/);
  assert.match(taken, /internal +127\.0\.0\.1:42007 is in use by another process.*--internal/);
});
