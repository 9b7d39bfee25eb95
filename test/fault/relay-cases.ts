/**
 * MongoDB and Redis that do not just die: slow, frozen with every connection open, resetting, answering garbage, gone
 * at the start, or cut off from one node alone; and a disk without room. Visitors notice none of it. The API answers
 * writes, or says 503 while it cannot; what it acknowledged is live on every node when the fault is over.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type FaultCase, firstNode, nothingFailed, type Stage } from './cases.ts';
import { lastWritten, live, restored, write } from './changes.ts';
import type { RelayMode } from './relay.ts';

const MODES: readonly (readonly [RelayMode, string])[] = [
  ['slow', 'answers 3 s late'],
  ['frozen', 'freezes with its connections open'],
  ['reset', 'resets every connection'],
  ['garbage', 'answers garbage'],
];

function mongoCase(mode: RelayMode, what: string): FaultCase {
  return {
    name: `MongoDB ${what}`,
    relayed: true,
    async disturb(stage) {
      await stage.at(0.2);
      await stage.relays?.mongo.set(mode);
      const status = await write(stage);
      assert.ok(status === 503 || status < 300, `a write was answered ${status}`);
      await stage.at(0.7);
      await stage.relays?.mongo.set('pass');
    },
    judge: nothingFailed,
    afterwards: restored,
  };
}

function redisCase(mode: RelayMode, what: string): FaultCase {
  return {
    name: `Redis ${what}`,
    relayed: true,
    async disturb(stage) {
      await stage.at(0.2);
      await stage.relays?.redis.set(mode);
      const status = await write(stage);
      assert.ok(status < 300, `a write was answered ${status}: it needs no Redis`);
      await live(stage);
      await stage.at(0.7);
      await stage.relays?.redis.set('pass');
    },
    judge: nothingFailed,
    afterwards: restored,
  };
}

/** Ends the node, and starts it with the services as they are then. */
async function restartWith(stage: Stage, breakIt: () => Promise<void> | undefined): Promise<void> {
  const node = firstNode(stage);
  const copy = join(stage.cluster.data, node.name, 'last-known-good.json');
  await stage.cluster.until('the copy has the domain', () =>
    readFileSync(copy, 'utf8').includes('shop.example.com'),
  );
  await node.command.end();
  await breakIt();
  await stage.cluster.restartNode(node);
}

/** The soft limit alone, so that it can be lifted again: writing beyond it fails as on a full disk. */
function limitFiles(pid: number | undefined, limit: string): void {
  assert.ok(pid !== undefined);
  execFileSync('prlimit', ['--pid', String(pid), `--fsize=${limit}:`]);
}

export const RELAY_CASES: readonly FaultCase[] = [
  {
    name: 'MongoDB is gone when a node starts',
    relayed: true,
    prepare: (stage) => restartWith(stage, () => stage.relays?.mongo.set('refuse')),
    async disturb(stage) {
      assert.equal(await write(stage), 503);
      await stage.at(0.7);
      await stage.relays?.mongo.set('pass');
    },
    judge: nothingFailed,
    afterwards: restored,
  },
  ...MODES.map(([mode, what]) => mongoCase(mode, what)),
  {
    name: 'Redis is gone when a node starts',
    relayed: true,
    prepare: (stage) => restartWith(stage, () => stage.relays?.redis.set('refuse')),
    async disturb(stage) {
      assert.ok((await write(stage)) < 300);
      await live(stage);
      await stage.at(0.7);
      await stage.relays?.redis.set('pass');
    },
    judge: nothingFailed,
    afterwards: restored,
  },
  ...MODES.map(([mode, what]) => redisCase(mode, what)),
  {
    name: 'one node is cut off from Redis, and the cut heals',
    relayed: true,
    partition: true,
    async disturb(stage) {
      await stage.at(0.2);
      await stage.relays?.redis.set('frozen');
      assert.ok((await write(stage)) < 300);
      await live(stage);
      await stage.at(0.7);
      await stage.relays?.redis.set('pass');
    },
    judge: nothingFailed,
    afterwards: restored,
  },
  {
    name: 'the disk has no room for the last-known-good copy',
    async disturb(stage) {
      const { cluster } = stage;
      const node = firstNode(stage);
      const [sync] = cluster.pids(node, 'sync');
      await stage.at(0.2);
      limitFiles(sync, '100');
      assert.ok((await write(stage)) < 300);
      await live(stage);
      await cluster.until('it is told', () => /copy_failed/.test(node.command.output));
      await stage.at(0.7);
      limitFiles(sync, 'unlimited');
    },
    judge: nothingFailed,
    async afterwards(stage) {
      await restored(stage);
      const copy = join(stage.cluster.data, firstNode(stage).name, 'last-known-good.json');
      const last = `n${lastWritten(stage)}.example.com`;
      await stage.cluster.until('the copy has the last write', () =>
        readFileSync(copy, 'utf8').includes(last),
      );
    },
  },
];
