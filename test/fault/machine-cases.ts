/**
 * What the machine may do to a node while visitors are served: too few descriptors for a crowd, a log that nobody
 * reads, and a wall clock that jumps. Visitors on connections that are open notice none of it.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { visit } from '../cluster.ts';
import { clockEnvironment, installFaketime, setClock } from '../services/faketime.ts';
import { stateOf, TestWorker, workersOf } from '../system/workers/worker.ts';
import { type FaultCase, firstNode, HOST, nothingFailed, type Stage } from './cases.ts';

const DESCRIPTORS = 256;
const NEWCOMERS = 400;
const HOUR = 3_600;
const WORKER_HOST = 'web.test';

/** A crowd of clients that connect, ask once, and keep their connections whether they are answered or not. */
class Crowd {
  answered = 0;
  readonly errors: string[] = [];
  readonly #sockets: Socket[] = [];

  constructor(port: number, count: number) {
    for (let index = 0; index < count; index++) {
      const socket = connect(port, '127.0.0.1');
      this.#sockets.push(socket);
      // Whatever the case finds, it holds up nobody.
      socket.unref();
      socket.write(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
      socket.once('data', (chunk) => {
        this.answered++;
        if (!chunk.toString('latin1').startsWith('HTTP/1.1 200 ')) this.errors.push(chunk.toString('latin1'));
      });
      socket.once('error', (error) => this.errors.push(error.message));
    }
  }

  leave(): void {
    for (const socket of this.#sockets.splice(0)) socket.destroy();
  }
}

interface Scene {
  serving: readonly number[];
  crowd: Crowd | null;
}

const SCENES = new WeakMap<Stage, Scene>();

/** Value of a metric without labels; null while it is not there. */
async function metric(stage: Stage, name: string): Promise<number | null> {
  const text = await (await fetch(`http://127.0.0.1:${firstNode(stage).internal}/metrics`)).text();
  const value = new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1];
  return value === undefined ? null : Number(value);
}

const dropped = async (stage: Stage) => (await metric(stage, 'kontrol_log_lines_dropped_total')) ?? 0;

const few = (pid: number) =>
  new RegExp(`^Max open files +${DESCRIPTORS} `, 'm').test(readFileSync(`/proc/${pid}/limits`, 'latin1'));

const clockOf = (folder: string) => join(folder, 'clock');

/** The worker is the one that was registered, and visitors reach it. */
async function workerLives(stage: Stage, id: string): Promise<void> {
  assert.deepEqual(
    (await workersOf(stage.cluster)).map((worker) => [worker.id, worker.state]),
    [[id, 'ready']],
  );
  assert.equal((await visit(firstNode(stage).http, WORKER_HOST)).status, 200);
}

/** Lines of the access log about the standard load. */
function logged({ cluster }: Stage): { time: string }[] {
  return readFileSync(join(cluster.folder, 'n1-access.log'), 'utf8')
    .split('\n')
    .filter((line) => line.includes(`"host":"${HOST}"`))
    .map((line) => JSON.parse(line));
}

const REQUESTS = new WeakMap<Stage, number>();
const WORKERS = new WeakMap<Stage, string>();
let marks = 0;

export const MACHINE_CASES: readonly FaultCase[] = [
  {
    name: `${DESCRIPTORS} descriptors and ${NEWCOMERS} newcomers: who is connected is served, the others wait`,
    // A new connection would wait with the newcomers, and is meant to.
    load: { fresh: false },
    async prepare(stage) {
      const node = firstNode(stage);
      const before = stage.cluster.pids(node, 'serving');
      // Serving processes have it from the primary and read it at their start.
      const limit = `--nofile=${DESCRIPTORS}:${DESCRIPTORS}`;
      execFileSync('prlimit', ['--pid', String(node.command.pid), limit]);
      node.command.process.kill('SIGHUP');
      await stage.cluster.until('the serving processes are new', () => {
        const serving = stage.cluster.pids(node, 'serving');
        return serving.length === 2 && !serving.some((pid) => before.includes(pid)) && serving.every(few);
      });
      SCENES.set(stage, { serving: stage.cluster.pids(node, 'serving'), crowd: null });
    },
    async disturb(stage) {
      const node = firstNode(stage);
      const scene = SCENES.get(stage);
      assert.ok(scene !== undefined);
      await stage.at(0.2);
      const crowd = new Crowd(node.http, NEWCOMERS);
      scene.crowd = crowd;
      try {
        await stage.cluster.until('they stop accepting', () =>
          node.command.output.includes('accepting_paused'),
        );
        await stage.at(0.8);
        assert.deepEqual(crowd.errors, []);
        assert.ok(crowd.answered > 0 && crowd.answered < NEWCOMERS, `${crowd.answered} were answered`);
      } finally {
        crowd.leave();
      }
    },
    judge(outcomes, stage) {
      nothingFailed(outcomes);
      assert.deepEqual(
        outcomes.filter((one) => one.retried),
        [],
        'a connection that was open was closed',
      );
      const serving = stage.cluster.pids(firstNode(stage), 'serving');
      assert.deepEqual(serving, SCENES.get(stage)?.serving, 'the same processes');
    },
    async afterwards(stage) {
      const { http } = firstNode(stage);
      await stage.cluster.until(
        'new connections are served',
        async () => (await visit(http, HOST)).status === 200,
      );
      for (let index = 0; index < 50; index++) assert.equal((await visit(http, HOST)).status, 200);
    },
  },
  {
    name: 'nobody reads the access log: lines are lost and counted, and it goes on when somebody reads',
    proxyArguments: ['--access-log', 'json'],
    async disturb(stage) {
      const node = firstNode(stage);
      const output = node.command.process.stdout;
      assert.ok(output !== null);
      assert.equal(await dropped(stage), 0);
      await stage.at(0.1);
      output.pause();
      try {
        const long = `/${'x'.repeat(1_500)}`;
        await stage.cluster.until('lines are lost', async () => {
          const visits = await Promise.all(Array.from({ length: 20 }, () => visit(node.http, HOST, long)));
          for (const { status } of visits) assert.equal(status, 200);
          return (await dropped(stage)) > 0;
        });
        await stage.at(0.7);
      } finally {
        output.resume();
      }
    },
    judge: nothingFailed,
    async afterwards(stage) {
      const node = firstNode(stage);
      const logged = (mark: string) => node.command.output.includes(`"target":"${mark}"`);
      await stage.cluster.until('the log goes on', async () => {
        await visit(node.http, HOST, `/mark-${++marks}`);
        return /"target":"\/mark-\d/.test(node.command.output);
      });
      await stage.cluster.until('what waited is written', async () => {
        const lost = await dropped(stage);
        const names = Array.from({ length: 20 }, () => `/mark-${++marks}`);
        for (const mark of names) await visit(node.http, HOST, mark);
        await stage.cluster.until('they are logged', () => names.every(logged));
        return lost === (await dropped(stage)) && lost > 0;
      });
    },
  },
  {
    name: 'the clock jumps by an hour, forth and back: nobody is lost, and every request is logged',
    install: installFaketime,
    environment: (folder) => clockEnvironment(clockOf(folder)),
    async prepare(stage) {
      await stage.cluster.ok('PATCH', '/v1/settings', { workers: { loopback: true } });
      await stage.cluster.apply(
        { kind: 'domain', name: WORKER_HOST, service: 'web' },
        {
          kind: 'service',
          name: 'shop',
          backends: stage.backends.map((backend) => backend.address),
          health: { type: 'tcp', interval: '500ms' },
        },
        { kind: 'domain', name: HOST, service: 'shop' },
      );
      await TestWorker.start(stage.cluster, 'steady');
      const [worker] = await workersOf(stage.cluster);
      assert.ok(worker !== undefined);
      WORKERS.set(stage, worker.id);
    },
    async disturb(stage) {
      const id = WORKERS.get(stage) ?? '';
      const file = clockOf(stage.cluster.folder);
      const jumps = [
        [0.2, HOUR],
        [0.4, -HOUR],
        [0.6, 0],
      ] as const;
      for (const [share, seconds] of jumps) {
        await stage.at(share);
        setClock(file, seconds);
        await workerLives(stage, id);
        // A new sync must not take what it says for older than what is served.
        const [sync] = stage.cluster.pids(firstNode(stage), 'sync');
        assert.ok(sync !== undefined);
        process.kill(sync, 'SIGKILL');
        const name = `n${++marks}.example.com`;
        await stage.cluster.ok('PUT', `/v1/domains/${name}`, {
          routes: [{ path: '/', answer: { body: name } }],
        });
        await stage.cluster.until(`${name} is served ${seconds} s from the true time`, async () => {
          return (await visit(firstNode(stage).http, name)).body === name;
        });
        await workerLives(stage, id);
      }
    },
    judge(outcomes, stage) {
      nothingFailed(outcomes);
      REQUESTS.set(stage, outcomes.length);
    },
    async afterwards(stage) {
      await stage.cluster.until(
        'every request is logged',
        () => logged(stage).length === REQUESTS.get(stage),
      );
      // The three times are in it.
      const hours = logged(stage).map((line) =>
        Math.round((Date.parse(line.time) - Date.now()) / (HOUR * 1_000)),
      );
      assert.deepEqual(
        [...new Set(hours)].sort((a, b) => a - b),
        [-1, 0, 1],
      );
      await stage.cluster.until('the worker lives', async () => {
        await workerLives(stage, WORKERS.get(stage) ?? '');
        return (await stateOf(stage.cluster, 'steady')) === 'ready';
      });
    },
  },
];
