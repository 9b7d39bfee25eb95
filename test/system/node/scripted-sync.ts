/**
 * A sync process that does what the file `SYNC_SCRIPT` says: the table it names goes to everyone who asks, and again
 * whenever the file changes. Says on stdout what it hears.
 */
import { readFileSync, watchFile } from 'node:fs';
import type { ListenerSpec, PrimaryToSync, Relayed, StartMessage } from '../../../proxy/link/messages.ts';
import type { TableEntry } from '../../../shared/routing/entry.ts';

/** `entries: null`: there is no table. `silent`: says nothing at all. `change` goes to those that are loaded. */
export interface SyncScript {
  readonly entries: readonly TableEntry[] | null;
  readonly silent?: boolean;
  readonly listeners?: readonly ListenerSpec[];
  readonly changes?: readonly (readonly TableEntry[])[];
}

process.title = 'kontrol sync';
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const)
  process.on(signal, () => {});
process.on('disconnect', () => process.exit(0));
process.stdout.on('error', () => {});

const path = process.env.SYNC_SCRIPT ?? '';
let script = read();
let sent = 0;

function read(): SyncScript {
  return JSON.parse(readFileSync(path, 'utf8')) as SyncScript;
}
function say(event: Record<string, unknown>): void {
  process.stdout.write(`${JSON.stringify({ event: 'sync', pid: process.pid, ...event })}\n`);
}
function send(message: object): void {
  if (process.connected) process.send?.(message, () => {});
}
function serve(to: number): void {
  if (script.silent) return;
  if (script.entries === null) {
    send({ relay: 'to-serving', to, message: { type: 'no-table' } });
    return;
  }
  const generation = Date.now();
  const entries = [...script.entries, ...(script.changes ?? []).flat()];
  send({ relay: 'to-serving', to, message: { type: 'load', generation } });
  send({ relay: 'to-serving', to, message: { type: 'entries', generation, entries, last: true, seq: 1 } });
}

process.on('message', (message: Relayed | PrimaryToSync | StartMessage) => {
  if ('relay' in message) {
    if (message.relay !== 'from-serving') return;
    if (message.message.type !== 'stats') say({ heard: message.message, from: message.from });
    if (message.message.type === 'hello') serve(message.from);
  } else if (message.type === 'ping') {
    send({ type: 'pong', n: message.n });
  } else {
    say({ heard: message.type === 'start' ? { type: 'start' } : message });
    if (message.type === 'start' && script.listeners) send({ type: 'listeners', specs: script.listeners });
  }
});

watchFile(path, { interval: 20 }, () => {
  const next = read();
  const grown = next.changes ?? [];
  const fresh = grown.slice(script.changes?.length ?? 0);
  const listeners = JSON.stringify(next.listeners) !== JSON.stringify(script.listeners);
  script = next;
  if (listeners) send({ type: 'listeners', specs: next.listeners ?? [] });
  for (const entries of fresh)
    send({
      relay: 'to-serving',
      to: 'all',
      message: { type: 'change', change: ++sent, seq: sent + 1, entries },
    });
});
