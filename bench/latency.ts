/**
 * Latency at a steady rate: 6 400 requests a second on 64 kept connections, sent when they are due and not when the
 * proxy is ready for them, so that a pause of the proxy is seen by all that were due in it. nginx and Kontrol take
 * turns; prints medians of the rounds' percentiles and the ratio. BENCH_RATE, BENCH_ROUNDS, BENCH_SECONDS.
 *
 * What is due is sent every millisecond, and this process sleeps between: one that spins until the next is due keeps
 * a processor of two to itself, and what is measured then is how the kernel shares out the other. A request counts
 * from the millisecond in which it was sent or found no connection free.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { startKontrol } from './kontrol-peer.ts';
import { median } from './median.ts';
import { PEERS, type Peer } from './peers.ts';
import { end } from './processes.ts';
import { openStage } from './stage.ts';

const RATE = Number(process.env['BENCH_RATE'] ?? 6_400);
const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 5);
const SECONDS = Number(process.env['BENCH_SECONDS'] ?? 4);
const CONNECTIONS = 64;
const TICK_MS = 1;
const REQUEST = Buffer.from('GET /1k HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
const HEAD_END = Buffer.from('\r\n\r\n');
const BODY = 1_024;

/** One connection with at most one request under way. */
class Client {
  readonly #socket: Socket;
  readonly #done: (client: Client, dueAt: number) => void;
  readonly #failed: (error: Error) => void;
  #dueAt = 0;
  #received = 0;
  #total = Number.POSITIVE_INFINITY;

  /** `done` for each answer; `failed` for one that is not expected, and for a connection that ends. */
  constructor(socket: Socket, done: (client: Client, dueAt: number) => void, failed: (error: Error) => void) {
    this.#socket = socket;
    this.#done = done;
    this.#failed = failed;
    socket.setNoDelay(true);
    socket.on('data', (chunk) => this.#onData(chunk));
    socket.on('error', failed);
    socket.on('end', () => failed(new Error('a connection was closed')));
  }

  send(dueAt: number): void {
    this.#dueAt = dueAt;
    this.#received = 0;
    this.#total = Number.POSITIVE_INFINITY;
    this.#socket.write(REQUEST);
  }

  close(): void {
    this.#socket.destroy();
  }

  #onData(chunk: Buffer): void {
    if (this.#received === 0) {
      const head = chunk.indexOf(HEAD_END);
      if (head < 0 || chunk.toString('latin1', 9, 12) !== '200') {
        this.#failed(new Error(`an answer that is not expected: ${chunk.toString('latin1', 0, 60)}`));
        return;
      }
      this.#total = head + HEAD_END.length + BODY;
    }
    this.#received += chunk.length;
    if (this.#received >= this.#total) this.#done(this, this.#dueAt);
  }
}

async function round(port: number): Promise<number[]> {
  const latencies: number[] = [];
  const idle: Client[] = [];
  const waiting: number[] = [];
  const done = (client: Client, dueAt: number) => {
    latencies.push(performance.now() - dueAt);
    const next = waiting.shift();
    if (next === undefined) idle.push(client);
    else client.send(next);
  };
  const failures: Error[] = [];
  const failed = (error: Error) => failures.push(error);
  for (let i = 0; i < CONNECTIONS; i++) {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    idle.push(new Client(socket, done, failed));
  }
  const clients = [...idle];
  const began = performance.now();
  const total = RATE * SECONDS;
  for (let sent = 0; sent < total && failures.length === 0; ) {
    const now = performance.now();
    const due = Math.min(total, Math.floor(((now - began) / 1_000) * RATE));
    for (; sent < due; sent++) {
      const client = idle.pop();
      if (client === undefined) waiting.push(now);
      else client.send(now);
    }
    await new Promise((resolve) => setTimeout(resolve, TICK_MS));
  }
  const deadline = performance.now() + 5_000;
  while (latencies.length < total && failures.length === 0 && performance.now() < deadline)
    await new Promise((resolve) => setTimeout(resolve, 10));
  for (const client of clients) client.close();
  const [failure] = failures;
  if (failure !== undefined) throw failure;
  if (latencies.length < total) throw new Error(`${total - latencies.length} requests were not answered`);
  return latencies.sort((a, b) => a - b);
}

const stage = await openStage();
const peers: Peer[] = [];
try {
  const nginx = PEERS.find(({ name }) => name === 'nginx');
  if (nginx === undefined) throw new Error('nginx is no peer');
  peers.push(await nginx.start(stage), await startKontrol(stage));
  const percentiles = new Map<string, { p50: number[]; p99: number[] }>();
  for (let turn = -1; turn < ROUNDS; turn++) {
    for (const { name, port } of peers) {
      const latencies = await round(port);
      // The first turn warms up.
      if (turn < 0) continue;
      const of = percentiles.get(name) ?? { p50: [], p99: [] };
      of.p50.push(latencies[Math.floor(latencies.length * 0.5)] as number);
      of.p99.push(latencies[Math.floor(latencies.length * 0.99)] as number);
      percentiles.set(name, of);
    }
  }
  process.stdout.write(`latency at ${RATE} requests a second, median of ${ROUNDS} rounds of ${SECONDS} s\n`);
  const base = median(percentiles.get('nginx')?.p99 ?? []);
  for (const [name, { p50, p99 }] of percentiles) {
    process.stdout.write(
      `  ${name.padEnd(8)} p50 ${median(p50).toFixed(2)} ms, p99 ${median(p99).toFixed(2)} ms (${(median(p99) / base).toFixed(2)} × nginx)\n`,
    );
  }
} finally {
  for (const peer of peers) for (const child of [peer.process, ...peer.others]) await end(child);
  await stage.close();
}
