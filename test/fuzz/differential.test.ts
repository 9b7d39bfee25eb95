import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { engineRequests } from './engine-reading.ts';
import { mutate, REQUESTS } from './mutations.ts';
import { DIFFERENCES, type Difference } from './node-differences.ts';
import { NodeServer } from './node-reading.ts';
import { eachRound } from './random.ts';

const ROUNDS = 1_500;

describe('the engine beside the parser of Node', () => {
  let node: NodeServer;
  before(async () => {
    node = await NodeServer.start();
  });
  after(() => node.close());

  /** How the two differ about a connection; null when they do not. */
  async function difference(text: string): Promise<Difference | null> {
    const engine = engineRequests([text]);
    const other = await node.requests(text);
    const differs = [...engine.requests.keys(), ...other.requests.keys()].find((i) => {
      const [a, b] = [engine.requests[i], other.requests[i]];
      return a?.method !== b?.method || a?.target !== b?.target || a?.body !== b?.body;
    });
    const engineFine = ['idle', 'closed'].includes(engine.end);
    const bothUnfinished = engine.end === 'unfinished' && other.error === 'HPE_INVALID_EOF_STATE';
    if (differs === undefined && (bothUnfinished || engineFine === (other.error === null))) return null;
    return {
      engine,
      node: other,
      text,
      engineNext: differs === undefined ? null : (engine.requests[differs] ?? null),
      nodeNext: differs === undefined ? null : (other.requests[differs] ?? null),
    };
  }

  async function compare(text: string): Promise<void> {
    const found = await difference(text);
    if (found === null) return;
    const explained = DIFFERENCES.some(({ explains }) => explains(found));
    assert.ok(explained, `not explained: ${JSON.stringify(found, null, 1)}`);
  }

  it('both read every valid request of the collection alike', async () => {
    for (const request of REQUESTS) assert.equal(await difference(request), null, request);
  });

  for (const { what, example, explains } of DIFFERENCES) {
    it(`they differ on ${what}`, async () => {
      const found = await difference(example);
      assert.ok(found !== null && explains(found), JSON.stringify(found));
    });
  }

  it('on mutated requests they differ only where the table says why', () =>
    eachRound(ROUNDS, (random) => compare(mutate(random, random.pick(REQUESTS)))));
});
