/** The sync process itself, forked as the primary does: how it lives, what it ignores, and how it ends. */
import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { FromPrimary, ToPrimary } from '../../../proxy/sync/link.ts';
import { ScriptedPrimary, until } from '../../../proxy/sync/scripted-primary.ts';
import { type ControlSide, controlSide, service } from './real-services.ts';

const MAIN = fileURLToPath(new URL('../../../proxy/sync/main.js', import.meta.url));

interface Forked {
  readonly child: ChildProcess;
  readonly primary: ScriptedPrimary;
  readonly said: string[];
  exit: { code: number | null; signal: string | null } | null;
}

/** Forks a sync process; its serving processes are those of `primary`, a new one unless given. */
function forkSync(control: ControlSide, primary = new ScriptedPrimary()): Forked {
  const child = fork(MAIN, [], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'], serialization: 'json' });
  const said: string[] = [];
  child.stderr?.on('data', (chunk: Buffer) => said.push(chunk.toString()));
  const forked: Forked = { child, primary, said, exit: null };
  child.once('exit', (code, signal) => {
    forked.exit = { code, signal };
  });
  child.on('message', (message: ToPrimary) => primary.send(message, () => {}));
  primary.receiver = (message: FromPrimary) => {
    if (child.connected) child.send(message, () => {});
  };
  child.send({ type: 'start', id: 0, settings: control.settings });
  control.atEnd(async () => {
    child.kill('SIGKILL');
    await until('it has ended', () => forked.exit !== null);
  });
  return forked;
}

test('it serves the store, answers pings, ignores signals, and ends with its channel', async (t) => {
  const control = await controlSide(t, {});
  const forked = forkSync(control);
  const { child, primary } = forked;
  const process = primary.spawn();
  await until('the empty table is loaded', () => process.seq === 0);
  const seq = await control.append([service('one')]);
  await until('it is served', () => process.seq === seq);
  const title = await readFile(`/proc/${child.pid}/cmdline`, 'utf8');
  assert.match(title, /^kontrol sync/);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const) child.kill(signal);
  child.send({ type: 'ping', n: 7 });
  await until('it answers', () => primary.heard.some((said) => said.type === 'pong' && said.n === 7));
  assert.equal(forked.exit, null);
  assert.ok(!forked.said.join('').includes('Debugger listening'));
  child.disconnect();
  await until('it has ended', () => forked.exit !== null);
  assert.deepEqual(forked.exit, { code: 0, signal: null });
});

test('killed, it is followed by another that goes on: nothing is taken back, nothing is lost', async (t) => {
  const control = await controlSide(t, {});
  const first = forkSync(control);
  const { primary } = first;
  const process = primary.spawn();
  await until('the empty table is loaded', () => process.seq === 0);
  const one = await control.append([service('one')]);
  await until('it is served', () => process.seq === one);
  first.child.kill('SIGKILL');
  await until('it is gone', () => first.exit !== null);
  const two = await control.append([service('two'), { kind: 'service', name: 'one', doc: null }]);

  const seen: number[] = [];
  const second = forkSync(control, primary);
  primary.announce();
  primary.fromServing(process.id, { type: 'hello', pid: process.pid });
  await until('the change is served', () => {
    if (seen.at(-1) !== process.seq) seen.push(process.seq);
    return process.seq === two;
  });
  assert.deepEqual(seen, [one, two]);
  assert.deepEqual(process.names('service'), ['two']);
  const three = await control.append([service('three')]);
  await until('changes go on', () => process.seq === three);
  assert.equal(second.exit, null);
});

test('killed again and again in the middle of changes, the copy it leaves is always whole', async (t) => {
  const control = await controlSide(t, {});
  const primary = new ScriptedPrimary();
  let process: ReturnType<ScriptedPrimary['spawn']> | null = null;
  for (let round = 1; round <= 5; round++) {
    const forked = forkSync(control, primary);
    if (process === null) process = primary.spawn();
    else {
      primary.announce();
      primary.fromServing(process.id, { type: 'hello', pid: process.pid });
    }
    let seq = 0;
    for (let i = 0; i < 10; i++) seq = await control.append([service(`r${round}-${i}`)]);
    const serving = process;
    await until('it is served', () => serving.seq === seq);
    forked.child.kill('SIGKILL');
    await until('it is gone', () => forked.exit !== null);
    assert.ok(!forked.said.join('').includes('copy_damaged'), forked.said.join(''));
    const copy = await readFile(join(control.settings.data, 'n1', 'last-known-good.json'), 'utf8').catch(
      () => null,
    );
    if (copy !== null) JSON.parse(copy.slice(copy.indexOf('\n')));
  }
});
