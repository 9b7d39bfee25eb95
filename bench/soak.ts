/**
 * Mixed load for a long time on one serving process: requests on kept and fresh connections, uploads,
 * clients that leave at any moment, WebSockets that come and go, a change every few seconds, a re-read of everything
 * every minute. Prints memory and descriptors of the serving processes every minute, and at the end the slope of the
 * memory after the first third, by least squares. BENCH_MINUTES (default 30).
 */
import { readdirSync } from 'node:fs';
import { Agent, get, request } from 'node:http';
import { connect } from 'node:net';
import { WebSocket } from 'ws';
import { call, firstToken, startKontrol } from './kontrol-peer.ts';
import { end, residentMegabytes, servingProcesses } from './processes.ts';
import { openStage } from './stage.ts';

const MINUTES = Number(process.env['BENCH_MINUTES'] ?? 30);
const PER_SECOND = 100;
const WARM_UP = 1 / 3;

interface Sample {
  readonly minute: number;
  readonly megabytes: number;
  readonly descriptors: number;
}

const stage = await openStage();
const kontrol = await startKontrol(stage, { domains: 1_000, services: 200 });
const agent = new Agent({ keepAlive: true, maxSockets: 32 });
const counts = { served: 0, failed: 0, left: 0, webSockets: 0, changes: 0 };

try {
  const token = await firstToken(kontrol.apiPort, kontrol.data);
  const began = performance.now();
  const elapsed = () => (performance.now() - began) / 60_000;
  const samples: Sample[] = [];
  let nextSample = 1;
  let nextChange = 0;
  let nextReload = 1;
  for (let turn = 0; elapsed() < MINUTES; turn++) {
    const wait = began + (turn / PER_SECOND) * 1_000 - performance.now();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    one(turn);
    if (elapsed() * 60 >= nextChange) {
      nextChange += 3;
      const domain = { name: `d${turn % 1_000}.example.com`, service: `s${turn % 200}` };
      void call(kontrol.apiPort, token, 'PUT', `/v1/domains/${domain.name}`, domain).then(
        () => counts.changes++,
        () => counts.failed++,
      );
    }
    if (elapsed() >= nextReload) {
      nextReload += 1;
      get({ host: '127.0.0.1', port: kontrol.internalPort, path: '/reload', agent: false }, (r) =>
        r.resume(),
      ).on('error', () => {});
    }
    if (elapsed() >= nextSample) {
      const sample = { minute: nextSample++, ...measure() };
      samples.push(sample);
      process.stdout.write(
        `minute ${sample.minute}: ${sample.megabytes.toFixed(1)} MB, ${sample.descriptors} descriptors, ${JSON.stringify(counts)}\n`,
      );
    }
  }
  const late = samples.filter(({ minute }) => minute > MINUTES * WARM_UP);
  process.stdout.write(
    `slope after warm-up: ${(slopePerMinute(late) * 60).toFixed(1)} MB an hour; descriptors ${Math.min(...late.map((s) => s.descriptors))} to ${Math.max(...late.map((s) => s.descriptors))}\n`,
  );
} finally {
  agent.destroy();
  for (const child of [kontrol.process, ...kontrol.others]) await end(child);
  await stage.close();
}

/** The kinds of load in turn, in odd proportions so that they meet each other in every order. */
function one(turn: number): void {
  const { port } = kontrol;
  if (turn % 50 === 7) webSocket(port);
  else if (turn % 23 === 5) leave(port, turn);
  else if (turn % 7 === 3) ask(port, '/post', 'POST', turn % 2 === 0);
  else ask(port, turn % 11 === 0 ? '/100k' : '/1k', 'GET', turn % 5 !== 0);
}

function ask(port: number, path: string, method: string, kept: boolean): void {
  const call = request(
    { host: '127.0.0.1', port, path, method, agent: kept ? agent : false, headers: { host: '127.0.0.1' } },
    (response) => {
      response.resume();
      response.on('end', () => (response.statusCode === 200 ? counts.served++ : counts.failed++));
      response.on('error', () => counts.failed++);
    },
  );
  call.on('error', () => counts.failed++);
  call.end(method === 'POST' ? 'x'.repeat(10_240) : undefined);
}

/** A client that leaves in the middle: of its head, its body, or the answer. */
function leave(port: number, turn: number): void {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  const phase = turn % 3;
  if (phase === 0) socket.write('GET /1k HTTP/1.1\r\nHost: 127');
  else if (phase === 1)
    socket.write('POST /post HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\nhalf');
  else {
    socket.write('GET /100k HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
    socket.once('data', () => socket.destroy());
  }
  counts.left++;
  setTimeout(() => socket.destroy(), 200);
}

function webSocket(port: number): void {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/ws`);
  socket.on('error', () => counts.failed++);
  socket.on('open', () => socket.send('hello'));
  socket.on('message', () => {
    counts.webSockets++;
    if (Math.random() < 0.5) socket.close();
    else socket.terminate();
  });
}

function measure(): Omit<Sample, 'minute'> {
  const serving = servingProcesses(kontrol.process.pid as number);
  return {
    megabytes: serving.reduce((sum, pid) => sum + residentMegabytes(pid), 0),
    descriptors: serving.reduce((sum, pid) => sum + readdirSync(`/proc/${pid}/fd`).length, 0),
  };
}

function slopePerMinute(samples: readonly Sample[]): number {
  const n = samples.length;
  const meanX = samples.reduce((sum, { minute }) => sum + minute, 0) / n;
  const meanY = samples.reduce((sum, { megabytes }) => sum + megabytes, 0) / n;
  const above = samples.reduce(
    (sum, { minute, megabytes }) => sum + (minute - meanX) * (megabytes - meanY),
    0,
  );
  const below = samples.reduce((sum, { minute }) => sum + (minute - meanX) ** 2, 0);
  return above / below;
}
