import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { Cluster, type NodeOfCluster } from '../../cluster.ts';
import { freePort } from '../../services/process.ts';
import { Backend } from './backends.ts';
import { HAS_IPV6 } from './firewall-cases.ts';

let cluster: Cluster;
const servers: TcpServer[] = [];
const clients = new Set<Socket>();

/** Says its name to whoever connects, then echoes. */
class TcpServer {
  readonly name: string;
  readonly server: Server;
  readonly sockets = new Set<Socket>();
  connections = 0;

  constructor(name: string) {
    this.name = name;
    this.server = createServer({ allowHalfOpen: true }, (socket) => {
      this.connections++;
      this.sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => this.sockets.delete(socket));
      socket.write(`${name}\n`);
      socket.pipe(socket);
    });
  }

  get address(): string {
    return `127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    const closed = once(this.server, 'close');
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }
}

async function tcpServer(name: string): Promise<TcpServer> {
  const made = new TcpServer(name);
  servers.push(made);
  made.server.listen(0, '127.0.0.1');
  await once(made.server, 'listening');
  return made;
}

before(async () => {
  cluster = await Cluster.start(2);
  const [one, two] = [await tcpServer('one'), await tcpServer('two')];
  await cluster.apply(
    { kind: 'service', name: 'one', protocol: 'tcp', backends: [one.address] },
    { kind: 'service', name: 'two', protocol: 'tcp', backends: [two.address] },
  );
});
after(async () => {
  for (const client of clients) client.destroy();
  await cluster.close();
  await Promise.all(servers.map((server) => server.close()));
});

interface Visitor {
  readonly socket: Socket;
  /** First line that was said. */
  readonly greeting: string;
}

/** A connection that was greeted; rejects when it is refused or cut before. */
async function visit(port: number, from = '127.0.0.1'): Promise<Visitor> {
  const host = from.includes(':') ? '::1' : '127.0.0.1';
  const socket = connect({ host, port, localAddress: from, allowHalfOpen: true });
  clients.add(socket);
  socket.on('error', () => {});
  socket.on('close', () => clients.delete(socket));
  const cut = once(socket, 'close').then(() => {
    throw new Error('cut before a word was said');
  });
  const refused = once(socket, 'error').then(([error]) => {
    throw error;
  });
  for (const end of [cut, refused]) end.catch(() => {});
  const [data] = await Promise.race([once(socket, 'data'), refused, cut]);
  return { socket, greeting: String(data).split('\n')[0] ?? '' };
}

const greeting = async (port: number, from?: string): Promise<string | null> => {
  try {
    const { socket, greeting } = await visit(port, from);
    socket.destroy();
    return greeting;
  } catch {
    return null;
  }
};

/** Until a port answers so, in every serving process of whoever listens there. */
const answers = (port: number, expected: string | null) =>
  cluster.until(`port ${port} says ${expected}`, async () => {
    const all = await Promise.all(Array.from({ length: 6 }, () => greeting(port)));
    return all.every((each) => each === expected);
  });

async function echoed(socket: Socket, text: string): Promise<string> {
  const answer = once(socket, 'data');
  socket.write(text);
  return String((await answer)[0]);
}

const listener = (name: string, port: number, more: object = {}) => ({
  kind: 'listener',
  name,
  // Both nodes are on one machine: only one of them can have a port.
  address: '127.0.0.1',
  port,
  ...more,
});

const recordOf = async ({ name }: NodeOfCluster) =>
  (await cluster.ok('GET', '/v1/nodes')).body.items.find((item: { name: string }) => item.name === name);

test('a listener opens when it is saved, moves with its port, follows its service, and closes when it is deleted', async () => {
  const [first, second] = [await freePort(), await freePort()];
  assert.equal(await greeting(first), null);
  await cluster.apply(listener('life', first, { service: 'one' }));
  await answers(first, 'one');
  const old = await visit(first);
  assert.equal(await echoed(old.socket, 'hello'), 'hello');

  await cluster.apply(listener('life', first, { service: 'two' }));
  await answers(first, 'two');
  assert.equal(await echoed(old.socket, 'as before'), 'as before');

  await cluster.apply(listener('life', second, { service: 'two' }));
  await answers(second, 'two');
  await answers(first, null);
  assert.equal(await echoed(old.socket, 'on and on'), 'on and on');

  await cluster.ok('DELETE', '/v1/listeners/life?wait=all&timeout=10s');
  await answers(second, null);
  assert.equal(await echoed(old.socket, 'still'), 'still');
  old.socket.destroy();
});

test('megabytes pass both ways unchanged, and an end is passed on while the answer goes on', async () => {
  const port = await freePort();
  await cluster.apply(listener('bytes', port, { service: 'one' }));
  await answers(port, 'one');
  const { socket } = await visit(port);
  const sent = randomBytes(16 << 20);
  const hash = createHash('sha256');
  let length = 0;
  socket.on('data', (chunk: Buffer) => {
    length += chunk.length;
    hash.update(chunk);
  });
  const ended = once(socket, 'end');
  // The echo ends its side only after ours has: all of it has come back by then.
  socket.end(sent);
  await ended;
  assert.equal(length, sent.length);
  assert.equal(hash.digest('hex'), createHash('sha256').update(sent).digest('hex'));
});

test('an empty address means every address of the machine', async () => {
  const port = await freePort();
  await cluster.apply(listener('anywhere', port, { service: 'one', address: '' }));
  await answers(port, 'one');
  assert.equal(await greeting(port, '127.0.0.77'), 'one');
  if (HAS_IPV6) assert.equal(await greeting(port, '::1'), 'one');
  await cluster.ok('DELETE', '/v1/listeners/anywhere?wait=all&timeout=10s');
});

test('a port in use is quarantined on that node and harms nothing else; it opens when the port is free', async () => {
  const [node, other] = cluster.nodes as [NodeOfCluster, NodeOfCluster];
  const [taken, free] = [await freePort(), await freePort()];
  const squatter = await Backend.start('squatter', { port: taken });
  const objects = [listener('taken', taken, { service: 'one' }), listener('free', free, { service: 'two' })];
  const reply = await cluster.call('POST', '/v1/apply?wait=all&timeout=10s', { owner: 'test', objects });
  assert.deepEqual([reply.status, reply.body.nodes, reply.body.pending], [202, [], []]);
  const problems: { node: string; name: string }[] = reply.body.problems;
  const unserved = problems.filter(({ name }) => name === 'taken').map((problem) => problem.node);
  assert.equal(unserved.length, 2, 'the answer names the listener that no node could open');
  await answers(free, 'two');
  await cluster.until('both nodes say so', async () => {
    const quarantined = await Promise.all(
      [node, other].map(async (each) => (await recordOf(each)).quarantined),
    );
    return quarantined.every((list) => list.some((item: { name: string }) => item.name === 'taken'));
  });
  const { quarantined, ready } = await recordOf(node);
  const [said] = quarantined.filter(({ name }: { name: string }) => name === 'taken');
  assert.equal(said.kind, 'listener');
  assert.match(said.reason, new RegExp(`${taken}.*in use`));
  assert.equal(ready, true);
  assert.ok(node.command.running && node.command.output.includes('"code":"listen_failed"'));
  await squatter.close();
  await answers(taken, 'one');
  // Of two nodes on one machine one has the port now; elsewhere both would.
  await cluster.until('one of them is well again', async () => {
    const lists = await Promise.all([node, other].map(async (each) => (await recordOf(each)).quarantined));
    return lists.some((list) => !list.some((item: { name: string }) => item.name === 'taken'));
  });
});

test('the firewall judges connections before a backend hears of them', async () => {
  const [one] = servers;
  const rules: [name: string, rule: object, passes: string[], cut: string[]][] = [
    [
      't-white',
      { list: 'whitelist', type: 'ip', match: ['127.0.0.2/32'] },
      ['127.0.0.2'],
      ['127.0.0.1', '127.0.0.3'],
    ],
    ['t-black', { list: 'blacklist', type: 'ip', match: ['127.0.1.0/24'] }, ['127.0.0.1'], ['127.0.1.9']],
    ['t-regex', { list: 'blacklist', type: 'ip-regex', match: ['\\.7$'] }, ['127.0.0.8'], ['127.0.0.7']],
    ['t-country', { list: 'whitelist', type: 'country', match: ['DE'] }, ['127.0.0.1'], []],
    ['t-all', { list: 'blacklist', type: 'all' }, [], ['127.0.0.1']],
    ['t-dry', { list: 'blacklist', type: 'all', dryRun: true }, ['127.0.0.1'], []],
    ['t-expired', { list: 'whitelist', type: 'all', expires: '2020-01-01T00:00:00Z' }, [], ['127.0.0.1']],
    ['t-page', { list: 'securepage', type: 'all' }, ['127.0.0.1'], []],
    // Its socket is for both families: an IPv4 visitor arrives there as ::ffff:127.0.0.2.
    ['t-mapped', { list: 'whitelist', type: 'ip', match: ['127.0.0.2'] }, ['127.0.0.2'], ['127.0.0.3']],
  ];
  const ports = await Promise.all(rules.map(() => freePort()));
  const reply = await cluster.ok('POST', '/v1/apply?wait=all&timeout=10s', {
    owner: 'test',
    objects: rules.flatMap(([name, rule], index) => [
      { kind: 'rule', name, ...rule },
      listener(name, ports[index]!, {
        service: 'one',
        firewall: [name],
        ...(name === 't-mapped' ? { address: '' } : {}),
      }),
    ]),
  });
  assert.match(JSON.stringify(reply.body.warnings), /t-page speaks HTTP/);
  for (const [index, [name, , passes, cut]] of rules.entries()) {
    const port = ports[index]!;
    if (passes[0] !== undefined)
      await cluster.until(`${name} is open`, async () => (await greeting(port, passes[0])) === 'one');
    else await cluster.until(`${name} is open`, () => opens(port));
    for (const from of passes) assert.equal(await greeting(port, from), 'one', `${name} ${from}`);
    const before = one!.connections;
    for (const from of cut) assert.equal(await greeting(port, from), null, `${name} ${from}`);
    assert.equal(one!.connections, before, name);
  }
});

/** Whether something listens there at all. */
async function opens(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  const opened = await Promise.race([
    once(socket, 'connect').then(() => true),
    once(socket, 'close').then(() => false),
  ]);
  socket.destroy();
  return opened;
}

test('global rules hold for listeners too, and a new rule leaves open connections alone', async () => {
  const port = await freePort();
  await cluster.apply(
    { kind: 'rule', name: 'global', list: 'blacklist', type: 'ip', match: ['127.0.0.1'] },
    listener('global', port, { service: 'one' }),
  );
  await answers(port, 'one');
  const { socket } = await visit(port);
  await cluster.ok('PATCH', '/v1/settings?wait=all&timeout=10s', { firewall: ['global'] });
  assert.equal(await greeting(port), null);
  assert.equal(await greeting(port, '127.0.0.2'), 'one');
  assert.equal(await echoed(socket, 'undisturbed'), 'undisturbed');
  await cluster.ok('PATCH', '/v1/settings?wait=all&timeout=10s', { firewall: [] });
  assert.equal(await greeting(port), 'one');
  socket.destroy();
});

test('a dead backend is passed over; with none alive, disabled or missing the connection is cut', async () => {
  const [one] = servers;
  const dead = `127.0.0.1:${await freePort()}`;
  const service = (name: string, more: object) => ({ kind: 'service', name, protocol: 'tcp', ...more });
  const cases: [string, string | null][] = [
    ['t-half', 'one'],
    ['t-dead', null],
    ['t-off', null],
    ['t-empty', null],
    ['t-missing', null],
  ];
  const ports = await Promise.all(cases.map(() => freePort()));
  await cluster.apply(
    service('t-half', { backends: [dead, one!.address], balance: 'naive' }),
    service('t-dead', { backends: [dead] }),
    service('t-off', { backends: [one!.address], enabled: false }),
    service('t-empty', {}),
    ...cases.map(([name], index) => listener(name, ports[index]!, { service: name })),
  );
  for (const [index, [name, expected]] of cases.entries()) {
    await cluster.until(`${name} is open`, () => opens(ports[index]!));
    for (let attempt = 0; attempt < 4; attempt++) assert.equal(await greeting(ports[index]!), expected, name);
  }
});

test('a connection that nobody uses is cut after the idle time of its listener', async () => {
  const port = await freePort();
  await cluster.apply(listener('idle', port, { service: 'one', idle: '300ms' }));
  await answers(port, 'one');
  const { socket } = await visit(port);
  socket.resume();
  await Promise.race([once(socket, 'close'), once(socket, 'end')]);
});

test('two listeners cannot have one port, and one without a service is refused', async () => {
  const port = await freePort();
  await cluster.apply(listener('here', port, { service: 'one' }));
  const same = await cluster.call('PUT', '/v1/listeners/there', { port, service: 'two' });
  assert.equal(same.status, 400);
  assert.match(JSON.stringify(same.body.errors), /listener here has port/);
  assert.equal((await cluster.call('PUT', '/v1/listeners/nowhere', { port: await freePort() })).status, 400);
  for (const bad of [0, 65_536, 1.5, '3306'])
    assert.equal((await cluster.call('PUT', '/v1/listeners/bad', { port: bad, service: 'one' })).status, 400);
});
