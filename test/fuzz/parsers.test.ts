import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { engineRequests } from './engine-reading.ts';
import { cut, mutate, REQUESTS } from './mutations.ts';
import { naiveRequests } from './naive.ts';
import { eachRound } from './random.ts';

const ROUNDS = 6_000;

/** Agreement on what the naive reading is sure of; it does not know how early a message is refused. */
function compare(text: string): void {
  const engine = engineRequests([text]);
  const naive = naiveRequests(text);
  assert.deepEqual(
    engine.requests.map(({ method, target, body }) => ({ method, target, body })),
    naive.requests,
    JSON.stringify(text),
  );
  const known = ['unfinished', 'idle', 'closed'];
  if (naive.end === 'refused')
    assert.ok(!known.includes(engine.end), `${engine.end}: ${JSON.stringify(text)}`);
  else if (naive.end === 'unfinished')
    assert.ok(engine.end !== 'idle' && engine.end !== 'closed', JSON.stringify(text));
  else assert.equal(engine.end, naive.end, JSON.stringify(text));
}

describe('the parsers of requests', () => {
  it('read mutated requests as a naive reading of the rules does', async () => {
    for (const request of REQUESTS) compare(request);
    await eachRound(ROUNDS, (random) => compare(mutate(random, random.pick(REQUESTS))));
  });

  it('read every input the same wherever it is cut', async () => {
    for (const text of REQUESTS) {
      const whole = engineRequests([text]);
      for (let at = 0; at <= text.length; at++) {
        assert.deepEqual(engineRequests([text.slice(0, at), text.slice(at)]), whole, `cut at ${at}`);
      }
    }
    await eachRound(ROUNDS / 20, (random) => {
      const text = mutate(random, random.pick(REQUESTS));
      const whole = engineRequests([text]);
      for (let at = 0; at <= text.length; at++) {
        assert.deepEqual(
          engineRequests([text.slice(0, at), text.slice(at)]),
          whole,
          `${at}: ${JSON.stringify(text)}`,
        );
      }
      assert.deepEqual(engineRequests([...text]), whole, `byte by byte: ${JSON.stringify(text)}`);
      const pieces = cut(random, text);
      assert.deepEqual(engineRequests(pieces), whole, JSON.stringify(pieces));
    });
  });

  it('read long heads as the naive reading does, at the limits of size and number', async () => {
    await eachRound(ROUNDS / 60, (random) => {
      const fields = Array.from(
        { length: 95 + random.below(10) },
        (_, i) => `X-${i}: ${'v'.repeat(random.below(260))}\r\n`,
      );
      const text = `GET /${'a'.repeat(random.below(50))} HTTP/1.1\r\nHost: a\r\n${fields.join('')}\r\n`;
      compare(text);
      const target = 16_384 - 30 + random.below(60);
      compare(`GET /${'a'.repeat(target)} HTTP/1.1\r\nHost: a\r\n\r\n`);
    });
  });
});
