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
  send(text: string) {
    this.sent.push(JSON.parse(text));
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
  for (const seq of [1, 2, 3]) listener.tellFirst(change(seq));
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
