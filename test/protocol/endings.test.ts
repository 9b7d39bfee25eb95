import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { describe, it } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { ownedBlocks } from '../../proxy/stream/blocks.ts';
import { ENDINGS, HeldConnector, realConnector, Stage } from './endings.ts';
import { type TestProxy, withProxy } from './harness.ts';

/** Of each ending, and `make test` plays them on each kind of socket; `make leaks` plays more. */
const ROUNDS = Number(process.env['LEAK_ROUNDS'] ?? 60);
/** Growth of the heap that is no leak: what the engine and the test hold on to once. */
const HEAP_SLACK = 6_000_000;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
const heap = () => {
  collect();
  return process.memoryUsage().heapUsed;
};
const descriptors = () => readdirSync('/proc/self/fd').length;

async function quiet(proxy: TestProxy): Promise<void> {
  await proxy.settled(() => proxy.connections.size === 0, 'the client connections to end');
  await proxy.settled(() => proxy.activeRequests() === 0, 'the backend to be free');
}

describe('an exchange that ends, in every phase and by everyone, has one record with one cause and leaves nothing behind', () => {
  for (const [name, { play, outcomes, options = {}, refused = false, connecting = false }] of ENDINGS) {
    it(name, { timeout: 600_000 }, () => {
      const held = new HeldConnector();
      const service = { retries: { max: 0 }, ...options.service };
      const connector = connecting ? held : realConnector;
      return withProxy({ ...options, service, connector }, async (proxy) => {
        const stage = new Stage(proxy, held);
        if (refused) proxy.backend.close();
        const before = { fds: descriptors(), blocks: ownedBlocks(), timers: proxy.timers.size };
        let used = 0;
        for (let round = 0; round < ROUNDS; round++) {
          if (round === Math.floor(ROUNDS / 4)) used = heap();
          proxy.records.length = 0;
          await play(stage);
          if (outcomes.length > 0) await proxy.record(outcomes.length);
          await quiet(proxy);
          assert.deepEqual(
            proxy.records.map(({ status, cause, phase, endedBy }) => [status, cause, phase, endedBy]),
            outcomes,
            `round ${round}`,
          );
        }
        assert.equal(proxy.opened, 0);
        assert.equal(proxy.retriesHeld, 0);
        proxy.upstreams.setService('shop', null);
        await proxy.settled(() => descriptors() <= before.fds, 'the descriptors to be closed');
        assert.ok(ownedBlocks() <= before.blocks + 1, `${ownedBlocks()} blocks, ${before.blocks} before`);
        await proxy.settled(() => proxy.timers.size <= before.timers + 1, 'the wheel to be empty');
        const grown = heap() - used;
        assert.ok(grown < HEAP_SLACK, `the heap has grown by ${grown} bytes`);
      });
    });
  }
});
