/**
 * Memory of a serving process under connections that only cost memory: 10 000 idle ones that are kept alive, and
 * 1 000 readers of a 100 MB body that take nothing after their first bytes. Prints what they add to its RSS.
 */
import { once } from 'node:events';
import { truncateSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { call, firstToken, startKontrol } from './kontrol-peer.ts';
import { end, residentMegabytes, servingProcesses } from './processes.ts';
import { openStage } from './stage.ts';

const IDLE = Number(process.env['BENCH_IDLE'] ?? 10_000);
const READERS = Number(process.env['BENCH_READERS'] ?? 1_000);
const SETTLE_MS = 5_000;
const AT_ONCE = 50;

const stage = await openStage();
const large = join(stage.folder, 'www', '100m');
writeFileSync(large, '');
truncateSync(large, 100 * 1_048_576);
const kontrol = await startKontrol(stage, { domains: 100, services: 100 });
try {
  // One backend for all of them: the limit of the pool is not what is measured.
  const token = await firstToken(kontrol.apiPort, kontrol.data);
  await call(kontrol.apiPort, token, 'PATCH', '/v1/services/bench?wait=all', { pool: { max: 2 * READERS } });
  const [serving] = servingProcesses(kontrol.process.pid as number);
  if (serving === undefined) throw new Error('no serving process was found');
  // Both kinds once, so that what every process needs only once is there.
  await closeAll(await openAll(200, '/1k', true));
  await pause(SETTLE_MS);

  await added(serving, `${IDLE} idle connections`, () => openAll(IDLE, '/1k', true));
  await added(serving, `${READERS} readers of 100 MB that take nothing`, () =>
    openAll(READERS, '/100m', false),
  );
} finally {
  for (const child of [kontrol.process, ...kontrol.others]) await end(child);
  await stage.close();
}

async function added(pid: number, what: string, open: () => Promise<Socket[]>): Promise<void> {
  const before = residentMegabytes(pid);
  const sockets = await open();
  await pause(SETTLE_MS);
  const during = residentMegabytes(pid);
  await closeAll(sockets);
  await pause(SETTLE_MS);
  const after = residentMegabytes(pid);
  const text = `${(during - before).toFixed(0)} MB more (${before.toFixed(0)} before, ${during.toFixed(0)} during, ${after.toFixed(0)} after)`;
  process.stdout.write(`${what}: ${text}\n`);
}

/** `all`: reads its answer to the end; else only the first bytes. */
async function openAll(count: number, path: string, all: boolean): Promise<Socket[]> {
  const sockets: Socket[] = [];
  while (sockets.length < count) {
    const batch = Array.from({ length: Math.min(AT_ONCE, count - sockets.length) }, () => openOne(path, all));
    sockets.push(...(await Promise.all(batch)));
  }
  return sockets;
}

async function openOne(path: string, all: boolean): Promise<Socket> {
  const socket = connect(kontrol.port, '127.0.0.1');
  socket.on('error', () => {});
  await once(socket, 'connect');
  socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`);
  await once(socket, 'readable');
  const first = socket.read() as Buffer;
  if (first.toString('latin1', 9, 12) !== '200')
    throw new Error(`answered ${first.toString('latin1', 0, 40)}`);
  if (all) {
    for (let bytes = first.length; bytes < 1_024; ) {
      const chunk = socket.read() as Buffer | null;
      if (chunk === null) await once(socket, 'readable');
      else bytes += chunk.length;
    }
  }
  return socket;
}

async function closeAll(sockets: readonly Socket[]): Promise<void> {
  for (const socket of sockets) socket.destroy();
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
