import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net, { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import type { PassedHandle } from '../link/handle-pass.ts';
import { orphanSocketName } from '../link/orphan-socket.ts';
import { type HeldSocket, openOrphanSocket } from '../serving/orphan.ts';
import { takeSockets } from './handover.ts';
import { findOrphans, isAlive, prepareFolder } from './orphans.ts';

function folder(t: TestContext): string {
  const made = mkdtempSync(join(tmpdir(), 'kontrol-handover-'));
  t.after(() => rmSync(made, { recursive: true }));
  return made;
}

/** The number of a process that has ended. */
function dead(): number {
  return spawnSync(process.execPath, ['-e', '']).pid;
}

/**
 * Something on the Unix socket of `pid` that answers a question with `answer` (the first of several to the first
 * question, the last to all that follow), or not at all.
 */
async function pretender(
  t: TestContext,
  at: string,
  pid: number,
  answer: string | null | readonly string[],
): Promise<string[]> {
  const answers = typeof answer === 'string' ? [answer] : [...(answer ?? [])];
  const heard: string[] = [];
  const server = net.createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (data) => {
      heard.push(String(data));
      const next = answers.length > 1 ? answers.shift() : answers[0];
      if (next !== undefined) socket.end(next);
    });
  });
  server.listen(join(at, orphanSocketName(pid)));
  await once(server, 'listening');
  t.after(() => server.close());
  return heard;
}

test('one that is gone, hangs or talks nonsense is passed over; nobody left means nothing taken', async (t) => {
  const at = folder(t);
  const heard = await Promise.all([
    pretender(t, at, 1, null),
    pretender(t, at, 2, 'socket {"address":"127.0.0.1","port":1}\n'),
    pretender(t, at, 3, 'end of\nthe world\n'),
    pretender(t, at, 4, 'none\n'),
    pretender(t, at, 5, ''),
  ]);
  assert.equal(await takeSockets(at, [5, 4, 3, 2, 1, 99]), null);
  assert.deepEqual(heard, Array(5).fill([`take ${process.pid}\n`]));
});

test('who is told that another primary is faster asks nobody else', async (t) => {
  const at = folder(t);
  await pretender(t, at, 1, `busy ${process.pid}\n`);
  const heard = await pretender(t, at, 2, 'none\n');
  assert.equal(await takeSockets(at, [2, 1]), null);
  assert.deepEqual(heard, []);
});

test('who still believes in a primary that has died is asked until it knows, before any port is bound', async (t) => {
  const at = folder(t);
  const busy = `busy ${dead()}\n`;
  await pretender(t, at, 1, [busy, busy, 'orphan 1\n']);
  await pretender(t, at, 2, 'orphan 2\n');
  assert.deepEqual([...(await findOrphans(at))].sort(), [1, 2]);
  // One whose primary lives is nobody's to take over, and is not waited for.
  const heard = await pretender(t, at, 3, `busy ${process.pid}\n`);
  assert.deepEqual([...(await findOrphans(at))].sort(), [1, 2]);
  assert.equal(heard.length, 1);
});

test('a process that has ended is not alive, even while its parent takes no notice', async (t) => {
  // The shell becomes a program that never waits for the child it was left with.
  const parent = spawn('sh', ['-c', 'sh -c "echo \\$\\$; read line" & exec sleep 60'], { stdio: 'pipe' });
  t.after(() => parent.kill('SIGKILL'));
  const [line] = await once(parent.stdout, 'data');
  const pid = Number(String(line));
  process.kill(pid, 'SIGKILL');
  const deadline = performance.now() + 10_000;
  while (isAlive(pid) && performance.now() < deadline) await new Promise(setImmediate);
  assert.ok(!isAlive(pid));
  assert.ok(isAlive(process.pid));
});

test('who still believes in a taker that has died is asked for its sockets again', async (t) => {
  const at = folder(t);
  const busy = `busy ${dead()}\n`;
  const heard = await pretender(t, at, 1, [busy, busy, 'none\n']);
  const next = await pretender(t, at, 2, 'none\n');
  assert.equal(await takeSockets(at, [1, 2]), null);
  assert.equal(heard.length, 3);
  assert.equal(next.length, 1);
});

test('a socket is taken once, by its place; the next primary may ask when the first has closed', async (t) => {
  const data = folder(t);
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const { _handle: handle } = server as unknown as { _handle: PassedHandle };
  let held: HeldSocket[] = [{ at: { address: '127.0.0.1', port }, handle }];
  const state = { primary: () => null, leave() {}, sockets: () => held };
  const at = await prepareFolder(data, 'n');
  const orphan = openOrphanSocket({ data, node: 'n' }, state, assert.ifError);
  t.after(() => orphan.close());
  let first = await takeSockets(at, [process.pid]);
  while (first === null) first = await takeSockets(at, [process.pid]);
  assert.equal(first.size, 1);
  assert.equal(await takeSockets(at, [process.pid]), null);
  assert.equal(first.take('', port), null);
  assert.equal(first.take('127.0.0.1', port + 1), null);
  const taken = first.take('127.0.0.1', port);
  assert.ok(taken !== null);
  assert.equal(first.take('127.0.0.1', port), null);
  taken.close();
  first.close();
  // A socket that is not where it is said to be is not believed.
  held = [{ at: { address: '127.0.0.1', port: port === 1 ? 2 : 1 }, handle }];
  assert.equal(await takeSockets(at, [process.pid]), null);
});
