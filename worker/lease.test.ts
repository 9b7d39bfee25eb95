import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type LeaseOptions, WorkerLease } from './lease.ts';
import { ScriptedApi, until } from './scripted-api.ts';

async function leased(t: TestContext, more: Partial<LeaseOptions> = {}) {
  const api = await ScriptedApi.start();
  const notes: string[] = [];
  const lease = new WorkerLease({
    url: api.url,
    token: 'secret',
    registration: { service: 'web', port: 3_000 },
    onNote: (line) => notes.push(line),
    ...more,
  });
  t.after(async () => {
    await lease.close();
    await api.close();
  });
  return { api, lease, notes };
}

/** A drain is under way that the API has been asked for and does not end yet. */
async function draining(t: TestContext) {
  const { api, lease } = await leased(t);
  lease.start();
  await until('it is registered', () => lease.id !== null);
  api.drains = false;
  const drained = lease.drain(600_000);
  await until('it is asked', () => api.calls('drain').length === 1);
  return { api, lease, drained };
}

test('it registers, beats with its state, and reports a change of state at once', async (t) => {
  const { api, lease } = await leased(t, { vitals: () => ({ memory: 5, uptime: 6 }) });
  lease.start();
  lease.start();
  await until('it beats', () => api.calls('beat').length >= 2);
  assert.deepEqual(
    api.calls('register').map(({ body }) => body),
    [{ service: 'web', port: 3_000, state: 'starting' }],
  );
  assert.deepEqual(api.calls('beat')[0]?.body, { state: 'starting', memory: 5, uptime: 6 });
  lease.setState('ready');
  await until('it said so', () => api.heard.at(-1)?.body['state'] === 'ready');
  assert.equal(lease.permission, 'run');
});

test('an API that is not there is tried until it is; the state of then is what is registered', async (t) => {
  const { api, lease, notes } = await leased(t);
  await api.close();
  lease.start();
  await until('it noticed', () => lease.reachable === false);
  lease.setState('ready');
  await api.open();
  await until('it is registered', () => lease.id !== null);
  assert.equal(api.calls('register')[0]?.body['state'], 'ready');
  assert.equal(
    notes.filter((line) => line.includes('does not answer (ECONNREFUSED)')).length,
    1,
    notes.join(),
  );
  assert.ok(notes.includes('kontrolapi answers again'));
});

test('a worker that was forgotten registers again at once', async (t) => {
  const { api, lease } = await leased(t);
  lease.start();
  await until('it is registered', () => lease.id === 'w1');
  api.forget();
  await until('it is registered again', () => lease.id === 'w2');
  assert.equal(lease.permission, 'run');
});

test('a failing API takes no permission back and costs no registration', async (t) => {
  const seen: string[] = [];
  const { api, lease } = await leased(t, { onPermission: (permission) => seen.push(permission) });
  lease.start();
  await until('it is registered', () => lease.id === 'w1');
  api.status = 503;
  const before = api.calls('beat').length;
  await until('it asked some more', () => api.calls('beat').length >= before + 2);
  assert.equal(lease.reachable, false);
  api.status = null;
  await until('it answers', () => lease.reachable === true);
  assert.deepEqual([lease.id, seen, api.calls('register').length], ['w1', ['run'], 1]);
});

test('a refusal is told once and tried again; it is no permission', async (t) => {
  const { api, lease, notes } = await leased(t);
  api.status = 401;
  lease.start();
  await until('it tried twice', () => api.calls('register').length >= 2);
  assert.deepEqual(
    [notes, lease.permission],
    [['kontrolapi refuses: 401 as told; it is asked again every few seconds'], null],
  );
  api.status = null;
  await until('it is registered', () => lease.id !== null);
});

test('permissions and commands are told once each, also when one is taken back', async (t) => {
  const told: string[] = [];
  const { api, lease } = await leased(t, {
    onPermission: (permission) => told.push(permission),
    onCommand: (command) => told.push(command),
  });
  api.permission = 'wait';
  lease.start();
  await until('it waits', () => told.length === 1);
  api.permission = 'run';
  await until('it runs', () => told.length === 2);
  api.command = 'stop';
  await until('it is to stop', () => told.length === 3);
  const beats = api.calls('beat').length;
  await until('it beats on', () => api.calls('beat').length > beats + 2);
  assert.deepEqual(told, ['wait', 'run', 'stop']);
});

test('a drain is asked for again when the API was just restarted, and gives up on one that stays away', async (t) => {
  const { api, lease } = await leased(t);
  assert.equal(await lease.drain(1_000), true, 'nothing was registered');
  lease.start();
  await until('it is registered', () => lease.id !== null);
  await api.close();
  const drained = lease.drain(30_000);
  await api.open();
  assert.equal(await drained, true);
  await api.close();
  assert.equal(await lease.drain(100), false);
});

test('a drain goes on when the API is restarted in the middle of it, however long it has lasted', async (t) => {
  const { api, drained } = await draining(t);
  const now = performance.now.bind(performance);
  t.mock.method(performance, 'now', () => now() + 60_000);
  await api.close();
  api.drains = true;
  await api.open();
  assert.equal(await drained, true);
});

test('a long drain is asked for in pieces that nothing on the way cuts, until its time is over', async (t) => {
  const { api, lease } = await leased(t);
  lease.start();
  await until('it is registered', () => lease.id !== null);
  api.stillActive = 2;
  assert.equal(await lease.drain(7_200_000), true);
  const asked = api.calls('drain').map(({ query }) => query.get('timeout'));
  assert.deepEqual(asked, ['10000ms', '10000ms', '10000ms']);
  api.stillActive = Number.POSITIVE_INFINITY;
  assert.equal(await lease.drain(300), false);
});

test('a refusal is told with the field that is at fault, and what to do about it', async (t) => {
  const { api, lease, notes } = await leased(t);
  api.status = 400;
  const errors = [{ path: 'host', message: 'give the address of this machine' }];
  api.problem = { title: 'Invalid', detail: 'The body is not valid', errors };
  lease.start();
  await until('it is told', () => notes.length > 0);
  assert.match(
    notes[0] ?? '',
    /refuses: 400 The body is not valid; host: give the address of this machine; it is/,
  );
});

test('a refusal that comes back is told again', async (t) => {
  const { api, lease, notes } = await leased(t);
  lease.start();
  await until('it is registered', () => lease.id !== null);
  const refusals = () => notes.filter((line) => line.includes('refuses: 403')).length;
  for (const round of [1, 2]) {
    api.status = 403;
    await until('it is told', () => refusals() === round);
    api.status = null;
    const beats = api.calls('beat').length;
    await until('it beats', () => api.calls('beat').length >= beats + 2);
  }
});

test('a note that cannot be taken ends nothing', async (t) => {
  const { api, lease } = await leased(t, {
    onNote: () => {
      throw new Error('the log is closed');
    },
  });
  lease.start();
  await until('it beats all the same', () => api.calls('beat').length >= 2);
});

test('close gives the registration back, ends a drain that is still waiting, and may be called twice', async (t) => {
  const { api, lease, drained } = await draining(t);
  await lease.close();
  await lease.close();
  assert.equal(await drained, false);
  assert.deepEqual(
    api.calls('leave').map(({ id }) => id),
    ['w1'],
  );
  const heard = api.heard.length;
  lease.setState('ready');
  assert.equal(api.heard.length, heard);
});

test('a callback that throws is told of and ends nothing: beats go on', async (t) => {
  const { api, lease, notes } = await leased(t, {
    onPermission: () => {
      throw new Error('my own mistake');
    },
    vitals: () => {
      throw new Error('no numbers');
    },
  });
  lease.start();
  await until('it beats all the same', () => api.calls('beat').length >= 2);
  assert.ok(notes.some((line) => line.includes('my own mistake')));
  assert.ok(notes.some((line) => line.includes('no numbers')));
});
