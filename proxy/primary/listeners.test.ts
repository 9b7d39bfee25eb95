import assert from 'node:assert/strict';
import net from 'node:net';
import test from 'node:test';
import { ManualClock } from '../../shared/clock.ts';
import { silentLog } from '../../shared/log.ts';
import type { SettingsOfProcess } from '../../shared/settings.ts';
import { specOfListener, specsOfSettings } from '../link/listener-specs.ts';
import type { ListenerSpec, PrimaryToServing, PrimaryToSync } from '../link/messages.ts';
import { Listeners } from './listeners.ts';
import { BindError, selfTest } from './sockets.ts';

class Receiver {
  readonly got: PrimaryToServing[] = [];
  send(message: PrimaryToServing): boolean {
    this.got.push(message);
    return true;
  }
  types(): string[] {
    return this.got.map((message) => message.type);
  }
  clear(): void {
    this.got.length = 0;
  }
}

function listeners(
  t: { after(end: () => void): void },
  settings: Partial<SettingsOfProcess> = {},
  accepts = true,
) {
  const clock = new ManualClock();
  const reports: PrimaryToSync[] = [];
  const changed: (() => void)[] = [];
  const subject = new Listeners({
    settings: {
      http: [{ host: '127.0.0.1', port: 0 }],
      https: [],
      proxyProtocol: [],
      ...settings,
    } as unknown as SettingsOfProcess,
    kind: 'handle',
    log: silentLog,
    clock,
    report(message) {
      reports.push(message);
      for (const look of changed.splice(0)) look();
    },
  });
  t.after(() => subject.close());
  // Some process that accepts on whatever there is.
  if (accepts)
    subject.add({
      send(message) {
        if (message.type === 'listen') queueMicrotask(() => subject.accepted(message.spec.key));
        return true;
      },
    });
  const until = async (condition: () => boolean) => {
    while (!condition()) await new Promise<void>((resolve) => changed.push(resolve));
  };
  return { subject, clock, reports, until };
}

/** A port that nothing listens on now. */
async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const tcp = (name: string, port: number): ListenerSpec =>
  specOfListener({ name, address: '127.0.0.1', port });

test('this Node can share listening sockets', () => {
  assert.equal(selfTest(), 'handle');
});

test('a receiver gets every socket with a spare handle, also those that open later', async (t) => {
  const { subject, reports, until } = listeners(t);
  await subject.bindSettings();
  const receiver = new Receiver();
  subject.add(receiver);
  assert.deepEqual(receiver.types(), ['listen', 'spare']);
  receiver.clear();
  const port = await freePort();
  subject.want([tcp('db', port)]);
  await until(() => reports.some((report) => report.type === 'listening' && report.port === port));
  assert.deepEqual(receiver.types(), ['listen', 'spare']);
});

test('ports of the settings that sync wanted before they were bound are ours, and not in use', async (t) => {
  const [http, https] = [await freePort(), await freePort()];
  const settings = {
    http: [{ host: '127.0.0.1', port: http }],
    https: [{ host: '127.0.0.1', port: https }],
    proxyProtocol: [],
  };
  const { subject } = listeners(t, settings);
  await subject.want(specsOfSettings(settings, 'https'));
  await subject.bindSettings();
  assert.deepEqual(
    subject
      .bound()
      .map(({ port }) => port)
      .sort(),
    [http, https].sort(),
  );
  assert.equal(subject.accepting, true);
});

test('a port is open when a process accepts on it: bound alone it refuses', async (t) => {
  const { subject, reports } = listeners(t, { http: [] }, false);
  const receiver = new Receiver();
  subject.add(receiver);
  await subject.bindSettings();
  assert.equal(subject.accepting, true);
  const spec = tcp('db', await freePort());
  await subject.want([spec]);
  subject.tell();
  assert.deepEqual([reports, receiver.types(), subject.accepting], [[], ['listen', 'spare'], false]);
  subject.accepted(spec.key);
  subject.accepted(spec.key);
  assert.deepEqual(reports, [{ type: 'listening', key: spec.key, port: spec.port }]);
  assert.equal(subject.accepting, true);
  await subject.want([]);
  await subject.want([spec]);
  assert.equal(reports.length, 1, 'it was closed in between');
});

test('what the table does not want any more closes, the HTTP ports of the settings never', async (t) => {
  const { subject, reports, until } = listeners(t);
  await subject.bindSettings();
  const spec = tcp('db', await freePort());
  subject.want([spec]);
  await until(() => reports.length === 2);
  const receiver = new Receiver();
  subject.add(receiver);
  receiver.clear();
  subject.want([]);
  assert.deepEqual(receiver.got, [{ type: 'unlisten', key: spec.key }]);
  assert.equal(subject.bound().length, 1);
});

test('a listener that is renamed keeps its socket: nothing is refused in between', async (t) => {
  const { subject, reports, until } = listeners(t, { http: [] });
  await subject.bindSettings();
  const port = await freePort();
  subject.want([tcp('old', port)]);
  await until(() => reports.length === 1);
  const receiver = new Receiver();
  subject.add(receiver);
  receiver.clear();
  subject.want([tcp('new', port)]);
  assert.deepEqual(receiver.types(), ['unlisten', 'listen', 'spare']);
  assert.deepEqual(
    subject.bound().map(({ listener, port: bound }) => [listener, bound]),
    [['new', port]],
  );
});

test('a port in use is reported once and opened as soon as it is free', async (t) => {
  const { subject, clock, reports, until } = listeners(t, { http: [] });
  await subject.bindSettings();
  const other = net.createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => other.once('listening', resolve));
  const { port } = other.address() as net.AddressInfo;
  const spec = tcp('db', port);
  subject.want([spec]);
  await until(() => reports.length === 1);
  assert.equal(reports[0]?.type, 'listen-failed');
  clock.advance(1_000);
  await new Promise((resolve) => other.close(resolve));
  await until(() => {
    clock.advance(1_000);
    return reports.length > 1;
  });
  assert.deepEqual(reports.slice(1), [{ type: 'listening', key: spec.key, port }]);
});

test('an HTTPS port is taken at the start but opens only when it is wanted', async (t) => {
  const port = await freePort();
  const { subject, reports, until } = listeners(t, { http: [], https: [{ host: '127.0.0.1', port }] });
  await subject.bindSettings();
  const receiver = new Receiver();
  subject.add(receiver);
  assert.deepEqual(receiver.got, []);
  assert.equal(subject.bound()[0]?.type, 'https');
  subject.want(subject.bound());
  await until(() => reports.length === 1);
  assert.deepEqual(receiver.types(), ['listen', 'spare']);
});

test('of several ports of the settings none stays taken when one cannot be had', async (t) => {
  const other = net.createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => other.once('listening', resolve));
  t.after(() => other.close());
  const free = await freePort();
  const used = (other.address() as net.AddressInfo).port;
  const at = (port: number) => ({ host: '127.0.0.1', port });
  const { subject } = listeners(t, { http: [at(free), at(used)] });
  await assert.rejects(
    subject.bindSettings(),
    (error) => error instanceof BindError && error.code === 'EADDRINUSE',
  );
  const again = net.createServer().listen(free, '127.0.0.1');
  await new Promise((resolve) => again.once('listening', resolve));
  again.close();
});

test('a socket on which nobody could listen is given up and bound anew', async (t) => {
  const { subject, clock, reports, until } = listeners(t, { http: [] });
  await subject.bindSettings();
  const spec = tcp('db', await freePort());
  subject.want([spec]);
  await until(() => reports.length === 1);
  subject.lost(spec.key, 'EADDRINUSE');
  assert.equal(reports[1]?.type, 'listen-failed');
  clock.advance(1_000);
  await until(() => reports.length === 3);
  assert.equal(reports[2]?.type, 'listening');
});

test('a port named twice in the settings is in use the second time', async (t) => {
  const at = { host: '127.0.0.1', port: await freePort() };
  const { subject } = listeners(t, { http: [at], https: [at] });
  await assert.rejects(
    subject.bindSettings(),
    (error) => error instanceof BindError && error.code === 'EADDRINUSE',
  );
});
