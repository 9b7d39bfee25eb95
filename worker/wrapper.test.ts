/** The wrapper with real programs and a scripted API. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { LeaseOptions } from './lease.ts';
import { accepts } from './probe.ts';
import { ScriptedApi, until } from './scripted-api.ts';
import { Wrapper, type WrapperOptions } from './wrapper.ts';

const LISTEN =
  "require('net').createServer((s) => s.end(String(process.pid))).listen(process.env.PORT, '127.0.0.1')";
/** Speaks first and bears no broken connection, like many simple programs; ends at once on TERM. */
const SERVER = ['node', '-e', LISTEN] as const;
/** Does not care about TERM. */
const STUBBORN = ['node', '-e', `process.on('SIGTERM', () => {}); ${LISTEN}`] as const;
/** The shell goes first; what it has started still listens. */
const SHELL = ['sh', '-c', `trap 'exit 0' TERM; node -e "${LISTEN}" & wait`] as const;

interface Setup extends Partial<WrapperOptions> {
  readonly more?: Partial<LeaseOptions['registration']>;
}

async function wrapped(t: TestContext, { more, ...options }: Setup = {}) {
  const api = await ScriptedApi.start();
  const port = await freePort();
  const notes: string[] = [];
  const wrapper = new Wrapper({
    url: api.url,
    token: '',
    registration: { service: 'web', port, ...more },
    command: SERVER,
    startTimeoutMs: 30_000,
    drainTimeoutMs: 30_000,
    stopTimeoutMs: 10_000,
    restartMs: 20,
    note: (line) => notes.push(line),
    ...options,
  });
  const code = wrapper.run();
  t.after(async () => {
    wrapper.stop();
    wrapper.stop();
    await code;
    await api.close();
  });
  const ready = () => until('it is ready', () => notes.includes(`ready on port ${port}`));
  const closed = () => until('the port is free', async () => !(await accepts(port)));
  return { api, port, notes, wrapper, code, ready, closed };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

test('the program starts with permission, is reported ready, and ends after it was drained and given back', async (t) => {
  const { api, port, wrapper, code, ready, notes } = await wrapped(t);
  await ready();
  await until('it is reported', () => api.heard.at(-1)?.body['state'] === 'ready');
  assert.equal(typeof api.heard.at(-1)?.body['memory'], 'number');
  api.drains = false;
  wrapper.stop();
  await until('it asks', () => api.calls('drain').length === 1);
  assert.equal(await accepts(port), true, 'nothing ends while requests are under way');
  api.finishDrains();
  assert.equal(await code, 0);
  assert.equal(await accepts(port), false);
  assert.equal(api.calls('leave').length, 1);
  assert.deepEqual(
    notes.filter((line) => line.startsWith('the program ended')),
    [],
  );
});

test('a second stop ends the program at once, whatever is under way', async (t) => {
  const { api, wrapper, code, ready, closed } = await wrapped(t, { command: STUBBORN });
  await ready();
  api.drains = false;
  wrapper.stop();
  await until('it asks', () => api.calls('drain').length === 1);
  wrapper.stop();
  assert.equal(await code, 0);
  await closed();
});

test('without an API the program runs and is registered later; an exclusive one waits', async (t) => {
  const many = await wrapped(t);
  const one = await wrapped(t, { more: { mode: 'one' } });
  await Promise.all([many.api.close(), one.api.close()]);
  await many.ready();
  assert.equal(await accepts(one.port), false);
  await Promise.all([many.api.open(), one.api.open()]);
  await until('it is registered', () => many.api.heard.at(-1)?.body['state'] === 'ready');
  await one.ready();
});

test('a crash gives the registration back and starts the program again under a new one, ever more rarely', async (t) => {
  const { api, notes } = await wrapped(t, { command: ['node', '-e', 'process.exit(7)'], restartMs: 100 });
  const waits = () =>
    notes.flatMap((line) => /exit code 7\); it starts again in (.*) s/.exec(line)?.[1] ?? []);
  await until('it crashed three times', () => waits().length >= 3);
  assert.deepEqual(waits().slice(0, 3), ['0.1', '0.2', '0.4']);
  assert.deepEqual(
    api
      .calls('leave')
      .slice(0, 2)
      .map(({ id }) => id),
    ['w1', 'w2'],
  );
});

test('a program that is not there ends the wrapper with 127 and says which', async (t) => {
  const { code, notes } = await wrapped(t, { command: ['/no/such/program'] });
  assert.equal(await code, 127);
  assert.ok(notes.includes('/no/such/program cannot be started (ENOENT)'), notes.join());
});

test('a program that does not listen in time is ended and started again', async (t) => {
  const { notes, api } = await wrapped(t, {
    command: ['node', '-e', 'setInterval(() => {}, 1000)'],
    startTimeoutMs: 50,
  });
  await until('it starts again', () =>
    notes.some((line) => line.startsWith('the program was not ready in time')),
  );
  assert.equal(api.calls('drain').length, 0, 'there was never traffic');
});

test('a port that somebody else has is waited for, without registering', async (t) => {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  const { port } = other.address() as AddressInfo;
  const { api, notes } = await wrapped(t, { more: { port } });
  await until('it is said', () => notes.some((line) => line.includes('is taken by another process')));
  assert.equal(api.heard.length, 0);
  other.close();
  await until('it is ready', () => notes.includes(`ready on port ${port}`));
});

test('a permission that is taken back ends the program; it waits for the next', async (t) => {
  const { api, ready, closed, notes } = await wrapped(t, { more: { mode: 'one' } });
  await ready();
  api.permission = 'wait';
  await closed();
  await until('it waits', () => notes.at(-1) === 'another worker runs; waiting for permission');
  api.permission = 'run';
  await until('it runs again', () => notes.filter((line) => line.startsWith('ready on port')).length === 2);
});

test('an order to stop ends everything with code 0; one to drain is only told', async (t) => {
  const { api, code, ready, notes, port } = await wrapped(t);
  await ready();
  api.command = 'drain';
  await until('it is told', () => notes.includes('told to drain'));
  assert.equal(await accepts(port), true);
  api.command = 'stop';
  assert.equal(await code, 0);
  assert.equal(await accepts(port), false);
});

test('what a program has started has the same time to end as the program itself', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'kontrol-wrapper-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, 'saved');
  const save = `setTimeout(() => { require('fs').writeFileSync('${file}', ''); process.exit(); }, 200)`;
  const child = `process.on('SIGTERM', () => ${save}); ${LISTEN}`;
  const { wrapper, code, ready } = await wrapped(t, {
    command: ['sh', '-c', `trap 'exit 0' TERM; node -e "${child}" & wait`],
  });
  await ready();
  wrapper.stop();
  assert.equal(await code, 0);
  assert.equal(existsSync(file), true);
});

test('what a program has started ends with it, and KILL follows for what ignores TERM', async (t) => {
  for (const command of [SHELL, STUBBORN]) {
    const { wrapper, code, ready, port } = await wrapped(t, { command, stopTimeoutMs: 200 });
    await ready();
    wrapper.stop();
    assert.equal(await code, 0);
    assert.equal(await accepts(port), false);
  }
});
