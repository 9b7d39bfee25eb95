import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Log, silentLog } from '../log.ts';
import { type BusPlace, busConformance, recordingLog, until } from './conformance.ts';
import { LocalBus, socketPath } from './local.ts';

const FAST = { pingMs: 50, silenceMs: 400 };
const newFolder = () => mkdtempSync(join(tmpdir(), 'kontrol-bus-'));

/** Starts a process that takes part; resolves when it is connected. */
async function startHub(data: string): Promise<ChildProcess> {
  const child = fork(fileURLToPath(new URL('./hub-for-test.js', import.meta.url)), [data]);
  await once(child, 'message');
  return child;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}

async function connectRaw(data: string): Promise<Socket> {
  const socket = connect(socketPath(data));
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

async function openPlace(): Promise<BusPlace> {
  const data = newFolder();
  let hub = await startHub(data);
  const ended: ChildProcess[] = [];
  return {
    open: (log: Log) => new LocalBus(data, log, FAST),
    async kill() {
      await end(hub);
    },
    async restore() {
      ended.push(hub);
      hub = await startHub(data);
    },
    freeze: () => void hub.kill('SIGSTOP'),
    thaw: () => void hub.kill('SIGCONT'),
    async sendRaw(channel, payload) {
      const socket = await connectRaw(data);
      socket.resume();
      // The answer to the ping comes after what was sent before it was taken.
      socket.write(
        Buffer.concat([Buffer.from(`${channel} `), Buffer.from(payload), Buffer.from('\nping\n')]),
      );
      await until('it was taken', () => socket.bytesRead > 0);
      socket.destroy();
    },
    async close() {
      await end(hub);
      rmSync(data, { recursive: true });
    },
  };
}

busConformance('local bus', openPlace);

/** Opens buses on a folder, runs `body`, closes and removes all. */
async function onFolder(
  body: (data: string, open: (log?: Log) => LocalBus) => Promise<void>,
  data: string = newFolder(),
): Promise<void> {
  const buses: LocalBus[] = [];
  try {
    await body(data, (log = silentLog) => {
      const bus = new LocalBus(data, log, FAST);
      buses.push(bus);
      return bus;
    });
  } finally {
    await Promise.all(buses.map((bus) => bus.close()));
    rmSync(data, { recursive: true, force: true });
  }
}

const oneHub = (buses: readonly LocalBus[]) =>
  buses.every((bus) => bus.connected) && buses.filter((bus) => bus.isHub).length === 1;

/** Resolves when a message of each reaches all. */
async function allHearEachOther(buses: readonly LocalBus[]): Promise<void> {
  const heard = buses.map(() => new Set<unknown>());
  const stops = buses.map((bus, i) =>
    bus.subscribe('kontrol:events', (message) => heard[i]?.add(message?.['from'])),
  );
  await until('all hear each other', () => {
    buses.forEach((bus, from) => void bus.publish('kontrol:events', { from }));
    return heard.every((set) => set.size === buses.length);
  });
  for (const stop of stops) stop();
}

test('many that start at once over the socket of a dead process agree on one hub', async () => {
  await onFolder(async (data, open) => {
    await end(await startHub(data));
    assert.ok(existsSync(socketPath(data)), 'a killed process leaves its socket');
    const buses = Array.from({ length: 12 }, () => open());
    await until('one hub', () => oneHub(buses));
    await allHearEachOther(buses);
  });
});

test('when the hub closes another takes over at once, and the last one leaves nothing behind', async () => {
  await onFolder(async (data, open) => {
    const buses = [open(), open(), open()];
    await until('one hub', () => oneHub(buses));
    while (buses.length > 0) {
      const hub = buses.find((bus) => bus.isHub) as LocalBus;
      buses.splice(buses.indexOf(hub), 1);
      await hub.close();
      if (buses.length > 0) await until('one hub', () => oneHub(buses));
      if (buses.length > 0) await allHearEachOther(buses);
    }
    assert.deepEqual(readdirSync(data), []);
  });
});

test('however often the hub is killed, the others find each other again', async () => {
  await onFolder(async (data, open) => {
    const hubs = new Set<ChildProcess>();
    const children = await Promise.all([1, 2, 3, 4].map(() => startHub(data)));
    const ours = open();
    await until('ours takes part', () => ours.connected);
    for (const child of children) {
      child.on('message', (message: { hub: boolean }) => message.hub && hubs.add(child));
    }
    while (children.length > 0) {
      // The one that said so, or, for the very first, whichever comes first.
      const hub = children.find((child) => hubs.has(child)) ?? (children[0] as ChildProcess);
      children.splice(children.indexOf(hub), 1);
      await end(hub);
      const second = open();
      await until('ours take part', () => ours.connected && second.connected);
      await allHearEachOther([ours, second]);
      await second.close();
    }
    await until('ours is the last', () => ours.isHub);
  });
});

test('a hub whose socket was removed or replaced steps down, so that nobody stays apart', async () => {
  await onFolder(async (data, open) => {
    const old = open();
    await until('a hub', () => old.isHub);
    unlinkSync(socketPath(data));
    const others = [open(), open()];
    await until('one hub', () => oneHub([old, ...others]));
    await allHearEachOther([old, ...others]);
  });
});

test('a hub that hangs is replaced, and takes part again when it wakes up', async () => {
  const data = newFolder();
  const child = await startHub(data);
  await onFolder(async (_data, open) => {
    const buses = [open(), open()];
    await until('both take part', () => buses.every((bus) => bus.connected));
    child.kill('SIGSTOP');
    await until('another is the hub', () => oneHub(buses));
    await allHearEachOther(buses);
    const rejoined = once(child, 'message');
    child.kill('SIGCONT');
    await rejoined;
    assert.ok(oneHub(buses));
    await end(child);
  }, data);
});

test('a folder whose path is too long for a socket works through the temporary folder', async () => {
  const root = newFolder();
  const data = join(root, 'd'.repeat(120));
  await onFolder(async (_data, open) => {
    const path = socketPath(data);
    assert.ok(Buffer.byteLength(path) <= 103);
    assert.ok(path.startsWith(tmpdir()));
    assert.equal(statSync(dirname(path)).mode & 0o077, 0);
    const buses = [open(), open()];
    await until('one hub', () => oneHub(buses));
    await allHearEachOther(buses);
  }, data);
  rmSync(root, { recursive: true });
});

test('one folder known by two names is one place', async () => {
  const root = newFolder();
  const data = join(root, 'data');
  mkdirSync(data);
  symlinkSync(data, join(root, 'alias'));
  assert.equal(socketPath(data), socketPath(join(root, 'alias')));
  rmSync(root, { recursive: true });
});

test('the socket is for the user of the process only', async () => {
  await onFolder(async (data, open) => {
    const bus = open();
    await until('a hub', () => bus.isHub);
    assert.equal(statSync(socketPath(data)).mode & 0o777, 0o600);
  });
});

test('a folder that cannot be used is told once, and taken as soon as it can', async () => {
  const root = newFolder();
  const data = join(root, 'data');
  writeFileSync(data, 'not a folder');
  const { log, lines } = recordingLog();
  const bus = new LocalBus(data, log, FAST);
  bus.publish('updateProxy', {});
  await until('it was told', () => lines.length > 0);
  rmSync(data);
  await until('it is connected', () => bus.connected);
  assert.equal(lines.filter((line) => line.code === 'bus_lost').length, 1);
  await bus.close();
  rmSync(root, { recursive: true });
});

test('one that reads nothing is cut off before it costs memory, the others notice nothing', async () => {
  await onFolder(async (data, open) => {
    const [hub, other] = [open(), open()];
    await until('one hub', () => oneHub([hub, other]));
    const stuck = await connectRaw(data);
    stuck.pause();
    const heard: unknown[] = [];
    other.subscribe('updateProxy', (message) => heard.push(message));
    // A paused socket shows its end only to who writes.
    await until('it was cut off', () => {
      hub.publish('updateProxy', { pad: 'x'.repeat(60_000) });
      stuck.write('ping\n');
      return stuck.destroyed;
    });
    assert.ok(hub.connected && other.connected);
    assert.ok(heard.length > 0);
  });
});

test('lines of strangers that are no message are passed on to nobody', async () => {
  await onFolder(async (data, open) => {
    const buses = [open(), open()];
    await until('one hub', () => oneHub(buses));
    const heard: unknown[] = [];
    for (const bus of buses) bus.subscribe('updateProxy', (message) => heard.push(message));
    const raw = await connectRaw(data);
    raw.resume();
    for (const line of ['GET / HTTP/1.1\r', '', 'nonsense {}', 'updateProxyX {}', '\u0000\u0001'])
      raw.write(`${line}\n`);
    raw.write('x'.repeat(500_000));
    raw.write('\nupdateProxy {"seq":1}\n');
    await until('the good one was heard by both', () => heard.length === 2);
    assert.deepEqual(heard, [{ seq: 1 }, { seq: 1 }]);
    raw.destroy();
  });
});

test('a temporary folder that others may enter is refused', () => {
  const before = process.env['TMPDIR'];
  const root = newFolder();
  process.env['TMPDIR'] = root;
  try {
    const data = join(root, 'd'.repeat(120));
    const shelter = dirname(socketPath(data));
    chmodSync(shelter, 0o777);
    assert.throws(() => socketPath(data), /not a private folder/);
  } finally {
    if (before === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = before;
    rmSync(root, { recursive: true });
  }
});
