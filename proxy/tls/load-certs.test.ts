import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { ManualClock } from '../../shared/clock.ts';
import type { KeyPair, PemPair } from './key-pair.ts';
import { readPair, watchPair } from './load-certs.ts';
import { certificateFor } from './testing.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kontrol-certs-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function write(pair: Partial<PemPair>): Promise<void> {
  if (pair.certificate !== undefined) await writeFile(join(folder, 'cert.pem'), pair.certificate);
  if (pair.key !== undefined) await writeFile(join(folder, 'key.pem'), pair.key);
}

describe('reading the certs folder', () => {
  test('gives the pair, or null when neither file is there', async () => {
    assert.equal(await readPair(folder), null);
    assert.equal(await readPair(join(folder, 'nowhere')), null);
    await write(await certificateFor(['a.test']));
    assert.deepEqual((await readPair(folder))?.names, ['a.test']);
  });

  test('names the file that is missing or wrong', async () => {
    const pair = await certificateFor(['a.test']);
    await write({ certificate: pair.certificate });
    await assert.rejects(readPair(folder), /cert\.pem is there but .*key\.pem is not/);
    await write({ key: (await certificateFor(['a.test'])).key });
    await assert.rejects(readPair(folder), /key\.pem: the private key does not belong/);
    await rm(join(folder, 'cert.pem'));
    await assert.rejects(readPair(folder), /key\.pem is there but .*cert\.pem is not/);
  });
});

describe('watching the certs folder', () => {
  /** Lets the clock run until `holds`; each look at the files ends on its own time. */
  async function passUntil(clock: ManualClock, holds: () => boolean): Promise<void> {
    for (let turn = 0; turn < 2_000 && !holds(); turn++) {
      clock.advance(1_000);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    assert.ok(holds());
  }

  test('brings a new pair, says nothing of a half-done replacement, and tells once of a lasting fault', async () => {
    const clock = new ManualClock();
    const pairs: (KeyPair | null)[] = [];
    const problems: string[] = [];
    const watcher = watchPair(folder, null, clock, {
      onPair: (pair) => pairs.push(pair),
      onProblem: (error) => problems.push(error.message),
    });
    const first = await certificateFor(['a.test']);
    await write(first);
    await passUntil(clock, () => pairs.length === 1);
    assert.equal(pairs[0]?.certificate, first.certificate);

    const second = await certificateFor(['b.test']);
    await write({ certificate: second.certificate });
    await passUntil(clock, () => problems.length === 1);
    assert.match(problems[0] ?? '', /does not belong/);
    await write({ key: second.key });
    await passUntil(clock, () => pairs.length === 2);
    assert.deepEqual(pairs[1]?.names, ['b.test']);
    assert.equal(problems.length, 1);

    await rm(join(folder, 'cert.pem'));
    await rm(join(folder, 'key.pem'));
    await passUntil(clock, () => pairs.length === 3);
    assert.equal(pairs[2], null);
    watcher.close();
  });
});
