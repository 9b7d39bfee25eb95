import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { type ErrorCode, KontrolError } from '../../shared/errors.ts';
import { sendProblem } from './problem.ts';

/** The `Retry-After` with which a failure is answered. */
async function retryAfterOf(code: ErrorCode, retryAfter?: number): Promise<string | null> {
  const error = new KontrolError(code, undefined, [], retryAfter === undefined ? {} : { retryAfter });
  const server = createServer((_request, response) => sendProblem(response, error, 'id'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  try {
    const response = await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } });
    await response.text();
    return response.headers.get('retry-after');
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
}

test('a refusal says after how many seconds another attempt makes sense', async () => {
  assert.equal(await retryAfterOf('rate_limited', 900), '900');
  assert.equal(await retryAfterOf('rate_limited'), '60');
  assert.equal(await retryAfterOf('store_unavailable'), '2');
  assert.equal(await retryAfterOf('invalid'), null);
});
