import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { test } from 'node:test';
import type { WebSocket } from 'ws';
import type { EventKind, LiveEvent } from './hub.ts';
import { Listener } from './listener.ts';

class FakeSocket extends EventEmitter {
  readonly OPEN = 1;
  readyState = 1;
  bufferedAmount = 0;
  readonly sent: Record<string, unknown>[] = [];
  closed: number | null = null;
  terminated = false;
  pings = 0;
  /** What is called when a message went out; kept while `stuck`. */
  readonly waiting: (() => void)[] = [];
  stuck = false;
  send(text: string, sent: () => void) {
    this.sent.push(JSON.parse(text));
    if (this.stuck) this.waiting.push(sent);
    else sent();
  }
  close(code: number) {
    this.closed = code;
  }
  terminate() {
    this.terminated = true;
    this.emit('close');
  }
  ping() {
    this.pings++;
  }
}

function listening(kinds: ReadonlySet<EventKind> | null = null) {
  const socket = new FakeSocket();
  return { socket, listener: new Listener(socket as unknown as WebSocket, kinds) };
}
const change = (seq: number): LiveEvent => ({ kind: 'change', at: 0, seq });

test('what is told while the missed changes are read comes after them, and nothing twice', () => {
  const { socket, listener } = listening();
  for (const seq of [2, 3, 4]) listener.tell(change(seq));
  for (const seq of [1, 2, 3]) void listener.tellFirst(change(seq));
  assert.equal(socket.sent.length, 3);
  listener.begin();
  listener.tell(change(5));
  assert.deepEqual(
    socket.sent.map(({ seq }) => seq),
    [1, 2, 3, 4, 5],
  );
});

test('who does not read is sent away with a code, and nothing more is kept for it', () => {
  const { socket, listener } = listening();
  listener.begin();
  socket.bufferedAmount = 300_000;
  listener.tell(change(1));
  assert.deepEqual([socket.closed, socket.sent.length], [4008, 0]);
  socket.bufferedAmount = 0;
  listener.tell(change(2));
  assert.equal(socket.sent.length, 0);
  socket.emit('close');
});

test('whoever tells what was missed hears when it went out, and also when it never will', async () => {
  const { socket, listener } = listening();
  socket.stuck = true;
  let told = false;
  const telling = listener.tellFirst(change(1)).then(() => {
    told = true;
  });
  await Promise.resolve();
  assert.deepEqual([told, listener.left], [false, false]);
  for (const sent of socket.waiting) sent();
  await telling;
  listener.leave(4008, 'gone');
  await listener.tellFirst(change(2));
  assert.deepEqual([listener.left, socket.sent.length], [true, 1]);
  socket.emit('close');
});

test('a flood while the missed changes are read is bounded', () => {
  const { socket, listener } = listening();
  for (let seq = 1; seq <= 1_001; seq++) listener.tell(change(seq));
  assert.equal(socket.closed, 4008);
  socket.emit('close');
});

test('a connection that answers no ping is cut at the next one', () => {
  const { socket, listener } = listening();
  listener.ping();
  socket.emit('pong');
  listener.ping();
  assert.deepEqual([socket.pings, socket.terminated], [2, false]);
  listener.ping();
  assert.equal(socket.terminated, true);
});

test('only the kinds that were asked for are told', () => {
  const { socket, listener } = listening(new Set<EventKind>(['alarm']));
  listener.begin();
  listener.tell(change(1));
  listener.tell({ kind: 'alarm', at: 0 });
  assert.deepEqual(
    socket.sent.map(({ kind }) => kind),
    ['alarm'],
  );
});
