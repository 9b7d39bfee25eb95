/** The example of each proxy that this one takes over from: read unchanged but for addresses, applied, and visited. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import * as example from '../../../cli/import/examples-for-test.ts';
import { Cluster, type NodeOfCluster, visit } from '../../cluster.ts';
import { freePort } from '../../services/process.ts';
import { Backend } from '../visitors/backends.ts';

let cluster: Cluster;
let node: NodeOfCluster;
const backends: Backend[] = [];

before(async () => {
  cluster = await Cluster.start(1);
  node = cluster.nodes[0] as NodeOfCluster;
});
after(async () => {
  await cluster?.close();
  await Promise.all(backends.map((backend) => backend.close()));
});

async function backend(name: string): Promise<Backend> {
  const made = await Backend.start(name, {
    handler: (request, response) => {
      if (request.url === '/healthCheck') response.end('{"status":200}');
      else response.end(JSON.stringify({ name, url: request.url, host: request.headers.host }));
    },
  });
  backends.push(made);
  return made;
}

/** Applies the text under `format`, with each address of `places` replaced by that of a backend. */
async function take(format: string, text: string, places: Readonly<Record<string, string>>): Promise<void> {
  const file = join(cluster.folder, `${format}.conf`);
  let local = text;
  for (const [from, to] of Object.entries(places)) local = local.replaceAll(from, to);
  writeFileSync(file, local);
  const command = cluster.run(['import', '--from', format, file, '--apply', '--owner', 'import', '--wait']);
  await once(command.process, 'close');
  assert.match(command.output, /revision \d+; served by every node/);
}

const reached = async (host: string, path: string) =>
  JSON.parse((await visit(node.http, host, path)).body) as { name: string; url: string; host: string };

test('go-reverse-proxy: its routes and its TCP target reach what the file names', async () => {
  const [web, users, admin] = [await backend('web'), await backend('users'), await backend('admin')];
  const port = await freePort();
  await take('go-reverse-proxy', example.GO_REVERSE_PROXY, {
    'localhost:8080': web.address,
    'localhost:8081': web.address,
    'localhost:8083': users.address,
    'localhost:8084': admin.address,
    ':8020': `:${port}`,
  });
  assert.deepEqual(await reached('localhost', '/anything'), {
    name: 'web',
    url: '/anything',
    host: web.address,
  });
  for (const [path, name] of [
    ['/users', 'users'],
    ['/users/1?x=/y', 'users'],
    ['/usersx', 'users'],
    ['/', 'admin'],
    ['/other/users', 'admin'],
  ] as const) {
    assert.deepEqual([path, (await reached('admin.localhost', path)).name], [path, name]);
  }
  await cluster.until('the port is open', async () => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.end('GET /tcp HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
    let text = '';
    for await (const chunk of socket) text += String(chunk);
    return text.includes('"name":"web"');
  });
});

test('monkey: expressions go to their servers in the order written; repeated servers have their share', async () => {
  const servers = await Promise.all(['h1', 'h2', 'h3', 'h4', 'h5'].map(backend));
  const [h1, h2, h3, h4, h5] = servers.map(({ address }) => address) as [
    string,
    string,
    string,
    string,
    string,
  ];
  const places = { 'Host1:80': h1, 'Host2:80': h2, 'Host3:80': h3, 'Host4:80': h4, 'Host5:8080': h5 };
  await take('monkey', example.MONKEY, places);
  for (let i = 0; i < 3; i++) assert.equal((await reached('any.test', '/index.php')).name, 'h4');
  const names = new Set<string>();
  for (let i = 0; i < 12; i++) names.add((await reached('any.test', `/a/${i}.PNG`)).name);
  assert.deepEqual([...names].sort(), ['h1', 'h2', 'h3']);
  assert.equal((await visit(node.http, 'any.test', '/none')).status, 404);

  const weighted = { '127.0.0.1:80': h1, '127.0.0.1:81': h2, '127.0.0.1:82': h3 };
  await take('monkey', example.MONKEY_WEIGHTED, weighted);
  const counts: Record<string, number> = {};
  // Both serving processes count for themselves: whole turns in each are what can be told.
  for (let i = 0; i < 120; i++) {
    const { name } = await reached('any.test', '/x');
    counts[name] = (counts[name] ?? 0) + 1;
  }
  const share = (name: string) => Math.round(((counts[name] ?? 0) / 120) * 6);
  assert.deepEqual(['h1', 'h2', 'h3'].map(share), [3, 2, 1], JSON.stringify(counts));
});

test('websocket-reverse-proxy: WebSockets go to their servers and requests to theirs', async () => {
  const servers = await Promise.all(['es1', 'es2', 'es3'].map(backend));
  const rooms = servers.map(({ server, name }) => {
    const room = new WebSocketServer({ server });
    room.on('connection', (socket) => socket.send(`room ${name}`));
    return room;
  });
  const places = Object.fromEntries(servers.map(({ address }, index) => [`es${index + 1}_hc:8080`, address]));
  await take('websocket-reverse-proxy', example.WEBSOCKET_REVERSE_PROXY, places);
  assert.match((await reached('any.test', '/page')).name, /^es[123]$/);
  const heard = new Set<string>();
  for (let i = 0; i < 12; i++) {
    const socket = new WebSocket(`ws://127.0.0.1:${node.http}/chat`);
    const [message] = await once(socket, 'message');
    heard.add(String(message));
    socket.close();
    await once(socket, 'close');
  }
  assert.deepEqual([...heard].sort(), ['room es1', 'room es2', 'room es3']);
  for (const room of rooms) room.close();
});
