import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { startApi } from '../../../kontrolapi/main.ts';
import { openBus } from '../../../shared/bus/open.ts';
import { ManualClock } from '../../../shared/clock.ts';
import { silentLog } from '../../../shared/log.ts';
import { ApiUnderTest, type Json, settingsFor, startApiUnderTest, TOKEN } from './api-under-test.ts';
import { until } from './until.ts';

let data: string;
let apis: ApiUnderTest[] = [];
const at = (index: number) => apis[index] as ApiUnderTest;
before(async () => {
  data = await mkdtemp(join(tmpdir(), 'kontrol-events-'));
  apis = await Promise.all([startApiUnderTest({ data }), startApiUnderTest({ data })]);
});
after(async () => {
  await Promise.all(apis.map((api) => api.close()));
  await rm(data, { recursive: true, force: true });
});

interface Heard {
  readonly events: Json[];
  readonly socket: WebSocket;
  readonly closed: Promise<number>;
}

/** Connects and waits for the greeting. */
async function listen(
  api: ApiUnderTest,
  query = '',
  headers: Record<string, string> = { authorization: `Bearer ${TOKEN}` },
): Promise<Heard> {
  const socket = new WebSocket(`${api.url.replace('http', 'ws')}/v1/events${query}`, { headers });
  const events: Json[] = [];
  socket.on('message', (text) => events.push(JSON.parse(String(text))));
  const closed = new Promise<number>((resolve) => socket.once('close', resolve));
  await until(() => events.length > 0);
  return { events, socket, closed };
}

/** The status with which a connection is refused. */
function refusal(api: ApiUnderTest, path: string, headers: Record<string, string>): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(api.url.replace('http', 'ws') + path, { headers });
    socket.once('unexpected-response', (_request, response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    socket.once('open', () => {
      socket.terminate();
      reject(new Error('it was let in'));
    });
    socket.on('error', () => {});
  });
}

const kindsOf = (events: readonly Json[]) => events.map(({ kind }) => String(kind));
const seqsOf = (events: readonly Json[]) =>
  events.filter(({ kind }) => String(kind) === 'change').map(({ seq }) => Number(seq));

test('changes are told at every API in their order, and again from any revision on', async () => {
  const [one, two] = await Promise.all([listen(at(0)), listen(at(1), '?kinds=change')]);
  const seqs: number[] = [];
  for (let round = 0; round < 6; round++) {
    const reply = await at(round % 2).put('/v1/services/told', { labels: { round: String(round) } });
    seqs.push(Number(reply.body.seq));
  }
  for (const { events } of [one, two]) {
    await until(() => seqsOf(events).length === seqs.length);
    assert.deepEqual(seqsOf(events), seqs);
  }
  const change = one.events.find(({ kind }) => String(kind) === 'change');
  assert.deepEqual(change?.changes, [{ kind: 'service', name: 'told', deleted: false }]);
  assert.equal(change?.author, 'token/KONTROL_API_TOKEN');
  two.socket.terminate();
  const last = Number((await at(0).put('/v1/services/told', {})).body.seq);
  const resumed = await listen(at(1), `?since=${seqs.at(-2)}`);
  await until(() => seqsOf(resumed.events).length === 2);
  assert.deepEqual(seqsOf(resumed.events), [seqs.at(-1), last]);
  assert.equal(kindsOf(resumed.events)[0], 'hello');
  for (const { socket } of [one, resumed]) socket.terminate();
});

test('who has missed nothing, or more than is kept, is told where the changes stand', async () => {
  const current = await listen(at(0));
  const seq = Number(current.events[0]?.seq);
  const ahead = await listen(at(0), `?since=${seq + 1_000}`);
  assert.deepEqual([ahead.events[0]?.seq, ahead.events[0]?.missed], [seq, 'too-many']);
  for (const { socket } of [current, ahead]) socket.terminate();
});

test('only readers with a good token are let in, and only pages of our own with a cookie', async () => {
  const { body } = await at(0).post('/v1/tokens', { name: 'w', role: 'worker', service: 'told' });
  const bearer = { authorization: `Bearer ${TOKEN}` };
  assert.equal(await refusal(at(0), '/v1/events', {}), 401);
  assert.equal(await refusal(at(0), '/v1/events', { authorization: 'Bearer nonsense' }), 401);
  assert.equal(await refusal(at(0), '/v1/events', { authorization: `Bearer ${body.token}` }), 403);
  assert.equal(await refusal(at(0), '/v1/events?kinds=gossip', bearer), 400);
  assert.equal(await refusal(at(0), '/v1/events?since=x', bearer), 400);
  assert.equal(await refusal(at(0), '/v1/elsewhere', bearer), 404);
  await at(0).put('/v1/users/eve', { password: 'a long enough password', role: 'viewer' });
  const session = await at(0).call('POST', '/v1/session', {
    token: null,
    body: { user: 'eve', password: 'a long enough password' },
  });
  const cookie = (session.headers.get('set-cookie') ?? '').split(';', 1)[0] ?? '';
  assert.equal(await refusal(at(0), '/v1/events', { cookie, origin: 'https://evil.example' }), 403);
  assert.equal(await refusal(at(0), '/v1/events', { cookie, origin: 'null' }), 403);
  const own = await listen(at(0), '', { cookie, origin: at(0).url });
  assert.equal(kindsOf(own.events)[0], 'hello');
  own.socket.terminate();
  assert.equal((await at(0).get('/v1/events')).status, 426);
});

test('workers that come and go and backends that die are told; garbage on the bus is not', async () => {
  const { events, socket } = await listen(at(1), '?kinds=worker,health');
  const reply = await at(0).post('/v1/workers', {
    service: 'told',
    key: 1,
    host: '127.0.0.1',
    port: 4711,
    name: 'w1',
    pid: 1,
    version: '1',
    mode: 'many',
  });
  const id = String(reply.body.id);
  await until(() => events.some(({ worker }) => String(worker) === id));
  await at(0).delete(`/v1/workers/${id}`);
  await until(() => events.some(({ state }) => String(state) === 'gone'));
  const bus = openBus(at(0).settings, silentLog);
  if (!bus.connected) await new Promise<void>((resolve) => bus.onConnected(resolve));
  for (const backends of [null, [null], [{ service: 1 }], [{ service: 'a', address: 'b', alive: 'no' }]])
    bus.publish('kontrol:events', { event: 'backends', node: 'n', backends } as object);
  const dead = { service: 'told', address: '127.0.0.1:1', alive: false, problem: 'refused' };
  bus.publish('kontrol:events', { event: 'backends', node: 'n', at: 1, backends: [dead] });
  await until(() => kindsOf(events).includes('health'));
  const health = events.filter(({ kind }) => String(kind) === 'health');
  assert.equal(health.length, 1);
  assert.deepEqual([health[0]?.service, health[0]?.alive, health[0]?.node], ['told', false, 'n']);
  await bus.close();
  socket.terminate();
});

test('who floods us is cut, who loses its token is sent away, and all are told when the API stops', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'kontrol-events-'));
  const clock = new ManualClock();
  const settings = settingsFor(folder);
  const api = new ApiUnderTest(await startApi(settings, silentLog, { clock }), settings, folder);
  try {
    const loud = await listen(api);
    loud.socket.send('x'.repeat(2_000));
    assert.equal(await loud.closed, 1009);
    const { body } = await api.post('/v1/tokens', { name: 'short', role: 'viewer' });
    const revoked = await listen(api, '', { authorization: `Bearer ${body.token}` });
    const stays = await listen(api);
    await api.delete('/v1/tokens/short');
    // In steps, so that each ping is answered before the next.
    for (let round = 1; round <= 3; round++) {
      const pings = [revoked, stays].map(({ socket }) => new Promise((heard) => socket.once('ping', heard)));
      clock.advance(20_000);
      if (round < 3) await Promise.all(pings);
      for (let call = 0; call < 3; call++) await api.get('/healthz');
    }
    assert.equal(await revoked.closed, 4401);
    await api.api.close();
    assert.equal(await stays.closed, 1001);
  } finally {
    await api.close();
  }
});

test('a client that offers another protocol is answered as if it had not; strange targets are 404', async () => {
  const ask = (head: string) =>
    new Promise<string>((resolve) => {
      const socket = connect(Number(new URL(at(0).url).port), '127.0.0.1');
      let said = '';
      socket.on('data', (chunk) => {
        said += chunk;
      });
      socket.on('close', () => resolve(said));
      socket.write(head.replaceAll('\n', '\r\n'));
    });
  const offer = 'Host: x\nConnection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABk\n';
  const token = `Authorization: Bearer ${TOKEN}\n`;
  assert.match(await ask(`GET /healthz HTTP/1.1\n${offer}\n`), /^HTTP\/1\.1 200 [\s\S]*"ok"/);
  assert.match(await ask(`GET /v1/services HTTP/1.1\n${offer}${token}\n`), /^HTTP\/1\.1 200 [\s\S]*"items"/);
  const body = `POST /v1/apply HTTP/1.1\n${offer}${token}Content-Length: 2\n\n{}`;
  assert.match(await ask(body), /^HTTP\/1\.1 400 /);
  const socket = 'Host: x\nConnection: Upgrade\nUpgrade: websocket\n';
  for (const target of ['//', '/v1/events/', 'http://x:99999/', '*'])
    assert.match(await ask(`GET ${target} HTTP/1.1\n${socket}${token}\n`), /^HTTP\/1\.1 404 /, target);
  assert.match(await ask(`GET /v1/events HTTP/1.1\n${socket}${token}\n`), /^HTTP\/1\.1 4\d\d /);
});
