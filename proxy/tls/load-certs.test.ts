import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { ManualClock } from '../../shared/clock.ts';
import type { KeyPair, PemPair } from './key-pair.ts';
import { readPair, watchPair } from './load-certs.ts';
import { certificateFor, cutOff } from './testing.ts';

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
    await write(cutOff(pair));
    await assert.rejects(readPair(folder), /cert\.pem and .*key\.pem: TLS cannot use the pair .*whole/);
  });
});

/** A clock that knows when somebody waits on it again. */
class WatchedClock extends ManualClock {
  waits = 0;
  override after(ms: number, callback: () => void): () => void {
    this.waits++;
    return super.after(ms, callback);
  }
}

describe('watching the certs folder', () => {
  test('brings a new pair, says nothing of a half-done replacement, and tells once of a lasting fault', async () => {
    const clock = new WatchedClock();
    const pairs: (KeyPair | null)[] = [];
    const problems: string[] = [];
    const watcher = watchPair(folder, null, clock, {
      onPair: (pair) => pairs.push(pair),
      onProblem: (error) => problems.push(error.message),
    });
    /** Lets it look at the files once. */
    const look = async () => {
      const before = clock.waits;
      clock.advance(1_000);
      while (clock.waits === before) await new Promise((resolve) => setImmediate(resolve));
    };
    await look();
    assert.equal(pairs.length, 0);
    const first = await certificateFor(['a.test']);
    await write(first);
    await look();
    assert.equal(pairs[0]?.certificate, first.certificate);

    const second = await certificateFor(['b.test']);
    await write({ certificate: second.certificate });
    await look();
    await write({ key: second.key });
    await look();
    assert.deepEqual(pairs[1]?.names, ['b.test']);
    assert.deepEqual(problems, []);

    await write({ key: first.key });
    for (let looks = 0; looks < 5; looks++) await look();
    assert.equal(problems.length, 1);
    assert.match(problems[0] ?? '', /does not belong/);
    assert.equal(pairs.length, 2);

    await rm(join(folder, 'cert.pem'));
    await rm(join(folder, 'key.pem'));
    await look();
    assert.equal(pairs[2], null);
    watcher.close();
  });
});
