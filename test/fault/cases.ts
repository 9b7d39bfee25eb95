/**
 * What may break while visitors are served, and what they may notice of it: nothing, or exactly what is written at
 * the case. Each case runs under the standard load and accounts for every request.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Redis } from 'ioredis';
import { type Cluster, visit } from '../cluster.ts';
import type { MongoService, RedisService } from '../services/index.ts';
import { doubled, type TestBackend } from './backends.ts';
import { restored } from './changes.ts';
import { type LoadOptions, type Outcome, summarise } from './load.ts';
import type { Relay } from './relay.ts';

export interface Services {
  readonly mongo: MongoService;
  readonly redis: RedisService;
}

export interface Relays {
  readonly mongo: Relay;
  readonly redis: Relay;
}

export interface Stage {
  readonly cluster: Cluster;
  readonly services: Services;
  readonly backends: readonly TestBackend[];
  /** In front of MongoDB and Redis, where the case asks for them. */
  readonly relays: Relays | null;
  /** Length of the load. */
  readonly seconds: number;
  /** Resolves after this share of the load's time. */
  at(share: number): Promise<void>;
}

export interface FaultCase {
  readonly name: string;
  readonly nodes?: number;
  readonly processes?: number;
  /** Only the embedded store and the local bus. */
  readonly embedded?: boolean;
  /** MongoDB and Redis are behind relays that can break. */
  readonly relayed?: boolean;
  /** A further node whose Redis alone is behind the relay. */
  readonly partition?: boolean;
  /** Makes sure that the machine has what the case needs. */
  install?(): Promise<void>;
  /** Further arguments of the nodes. */
  readonly proxyArguments?: readonly string[];
  /** Further environment of every process of ours, given the folder of the cluster. */
  readonly environment?: (folder: string) => NodeJS.ProcessEnv;
  /** What is another in the load. */
  readonly load?: Partial<LoadOptions>;
  /** Before the load begins. */
  prepare?(stage: Stage): Promise<void>;
  /** Breaks things while the load runs. */
  disturb(stage: Stage): Promise<void>;
  /** What visitors may have noticed. */
  judge(outcomes: readonly Outcome[], stage: Stage): void;
  /** What has to work when the load is over. */
  afterwards?(stage: Stage): Promise<void>;
}

export const HOST = 'shop.example.com';

export const nothingFailed = (outcomes: readonly Outcome[]): void => {
  const summary = summarise(outcomes);
  assert.equal(summary.ok, summary.requests, JSON.stringify(summary));
};

const noneTwice = (stage: Stage): void =>
  assert.deepEqual(doubled(stage.backends), [], 'a POST was delivered twice');

export const firstNode = (stage: Stage) => {
  const [node] = stage.cluster.nodes;
  assert.ok(node !== undefined);
  return node;
};

async function killOne(stage: Stage, role: 'primary' | 'sync' | 'serving'): Promise<void> {
  const [pid] = stage.cluster.pids(firstNode(stage), role);
  assert.ok(pid !== undefined, `no ${role} process is running`);
  process.kill(pid, 'SIGKILL');
}

/** Also false for one that has ended and waits to be reaped by whoever inherited it. */
function runs(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1') !== '';
  } catch {
    return false;
  }
}

/** Failed before any byte of an answer: a visitor would have seen an error that a retry could have prevented. */
const unbegun = (outcomes: readonly Outcome[], method: 'GET' | 'POST') =>
  outcomes.filter((one) => one.method === method && !one.begun && (one.error !== null || one.status !== 200));

/** A serving process was killed: what was open in it at that moment may fail, nothing else, and nothing is refused. */
function onlyOpenFailed(outcomes: readonly Outcome[]): void {
  const failed = outcomes.filter((one) => one.error !== null || one.status !== 200);
  assert.deepEqual(
    failed.filter((one) => one.error === 'ECONNREFUSED'),
    [],
    'a connection was refused',
  );
  assert.deepEqual(
    failed.filter((one) => one.error === null),
    [],
    'an answer other than 200',
  );
  if (failed.length === 0) return;
  const killedAt = Math.min(...failed.map((one) => one.endedAt));
  const late = failed.filter((one) => one.startedAt > killedAt + 50);
  assert.deepEqual(late, [], 'a request begun after the kill failed');
}

/** As many serving processes as before, and a change reaches them. */
async function replaced(stage: Stage, processes: number): Promise<void> {
  const node = firstNode(stage);
  await stage.cluster.until(
    `${processes} serving processes`,
    () => stage.cluster.pids(node, 'serving').filter(runs).length === processes,
  );
  await restored(stage);
}

export const CASES: readonly FaultCase[] = [
  {
    name: 'a backend is killed and comes back',
    async disturb(stage) {
      await stage.at(0.3);
      await stage.backends[0]?.kill();
      await stage.at(0.7);
      await stage.backends[0]?.start();
    },
    judge(outcomes, stage) {
      assert.deepEqual(unbegun(outcomes, 'GET'), []);
      assert.deepEqual(
        outcomes.filter((one) => one.method === 'GET' && one.status !== 200),
        [],
      );
      noneTwice(stage);
    },
  },
  {
    name: 'all backends are killed: 503 with Retry-After, then recovery without a restart',
    async disturb(stage) {
      await stage.at(0.3);
      await Promise.all(stage.backends.map((backend) => backend.kill()));
      const dead = performance.now();
      await stage.at(0.6);
      const back = performance.now();
      await Promise.all(stage.backends.map((backend) => backend.start()));
      await stage.cluster.until('the first 200 after the recovery', async () => {
        return (await visit(firstNode(stage).http, HOST)).status === 200;
      });
      TIMES.set(stage, { dead, back });
    },
    judge(outcomes, stage) {
      const { dead, back } = TIMES.get(stage) ?? { dead: 0, back: 0 };
      const during = outcomes.filter((one) => one.startedAt > dead && one.endedAt < back);
      assert.ok(during.length > 0);
      for (const one of during) {
        assert.deepEqual(
          [one.status, one.error, one.retryAfter !== null],
          [503, null, true],
          JSON.stringify(one),
        );
      }
      assert.equal(outcomes.at(-1)?.status, 200);
      noneTwice(stage);
    },
  },
  {
    name: 'MongoDB is killed and comes back',
    async disturb(stage) {
      await stage.at(0.2);
      await stage.services.mongo.kill();
      await stage.at(0.7);
      await stage.services.mongo.restart();
    },
    judge: nothingFailed,
    afterwards: restored,
  },
  {
    name: 'Redis is killed and comes back',
    async disturb(stage) {
      await stage.at(0.2);
      await stage.services.redis.stop();
      await stage.at(0.7);
      await stage.services.redis.restart();
    },
    judge: nothingFailed,
    afterwards: restored,
  },
  {
    name: 'kontrolapi is killed and comes back',
    async disturb(stage) {
      await stage.at(0.2);
      await stage.cluster.api?.end('SIGKILL');
      await stage.at(0.6);
      await stage.cluster.startApi();
    },
    judge: nothingFailed,
    afterwards: restored,
  },
  {
    name: 'MongoDB, Redis and kontrolapi are killed together and come back',
    async disturb(stage) {
      const { mongo, redis } = stage.services;
      await stage.at(0.2);
      await Promise.all([mongo.kill(), redis.stop(), stage.cluster.api?.end('SIGKILL')]);
      await stage.at(0.6);
      await Promise.all([mongo.restart(), redis.restart()]);
      await stage.cluster.startApi();
    },
    judge: nothingFailed,
    afterwards: restored,
  },
  {
    name: 'the sync process is killed: another takes its place',
    async disturb(stage) {
      const before = stage.cluster.pids(firstNode(stage), 'sync');
      await stage.at(0.3);
      await killOne(stage, 'sync');
      await stage.cluster.until('there is another sync process', () =>
        stage.cluster.pids(firstNode(stage), 'sync').some((pid) => !before.includes(pid)),
      );
    },
    judge: nothingFailed,
    afterwards: restored,
  },
  {
    name: 'the primary is killed: serving goes on, and a new primary takes over afterwards',
    async disturb(stage) {
      await stage.at(0.2);
      await killOne(stage, 'primary');
    },
    judge: nothingFailed,
    async afterwards(stage) {
      const node = firstNode(stage);
      await stage.cluster.restartNode(node);
      await stage.cluster.until(
        'the new primary has its own processes',
        () => stage.cluster.pids(node, 'serving').length === 2,
      );
      await stage.cluster.until('they serve', async () => (await visit(node.http, HOST)).status === 200);
    },
  },
  {
    name: 'a new primary takes over under load: nobody notices',
    async disturb(stage) {
      const node = firstNode(stage);
      const orphans = stage.cluster.pids(node, 'serving');
      assert.equal(orphans.length, 2);
      await stage.at(0.1);
      await killOne(stage, 'primary');
      await stage.at(0.2);
      await stage.cluster.restartNode(node);
      await stage.cluster.until('the earlier serving processes have left', () => !orphans.some(runs));
    },
    judge: nothingFailed,
    async afterwards(stage) {
      const node = firstNode(stage);
      assert.equal(stage.cluster.pids(node, 'serving').length, 2);
      assert.equal((await visit(node.http, HOST)).status, 200);
    },
  },
  {
    name: 'a serving process of two is killed: only what was open in it fails',
    async disturb(stage) {
      await stage.at(0.3);
      await killOne(stage, 'serving');
    },
    judge: onlyOpenFailed,
    afterwards: (stage) => replaced(stage, 2),
  },
  {
    name: 'the only serving process is killed: only what was open in it fails',
    processes: 1,
    async disturb(stage) {
      await stage.at(0.3);
      await killOne(stage, 'serving');
    },
    judge: onlyOpenFailed,
    afterwards: (stage) => replaced(stage, 1),
  },
  {
    name: 'a rolling restart: every serving process is another one afterwards',
    async disturb(stage) {
      const node = firstNode(stage);
      const before = stage.cluster.pids(node, 'serving');
      assert.equal(before.length, 2);
      await stage.at(0.2);
      node.command.process.kill('SIGHUP');
      await stage.cluster.until('the earlier serving processes have left', () => !before.some(runs));
    },
    judge: nothingFailed,
    async afterwards(stage) {
      assert.equal(stage.cluster.pids(firstNode(stage), 'serving').length, 2);
      await restored(stage);
    },
  },
  {
    name: 'a storm of updateProxy messages, half of them garbage',
    async disturb(stage) {
      const redis = new Redis(stage.services.redis.url);
      const end = performance.now() + stage.seconds * 800;
      for (let sent = 0; performance.now() < end; ) {
        for (let burst = 0; burst < 20; burst++, sent++) {
          await redis.publish(
            'updateProxy',
            sent % 2 === 0 ? JSON.stringify({ seq: sent }) : `\u0000{"garbage ${'x'.repeat(sent % 500)}`,
          );
        }
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      redis.disconnect();
    },
    judge: nothingFailed,
    afterwards: restored,
  },
];

const TIMES = new WeakMap<Stage, { dead: number; back: number }>();
