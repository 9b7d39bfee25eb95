import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { ManualClock } from '../../shared/clock.ts';
import { type Log, silentLog } from '../../shared/log.ts';
import { type Copy, CopyKeeper, readCopy, writeCopy } from './last-known-good.ts';
import { until } from './scripted-primary.ts';

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'kontrol-copy-'));
  t.after(() => rm(path, { recursive: true, force: true }));
  return join(path, 'node');
}

function copy(seq: number): Copy {
  return {
    store: 'store-1',
    seq,
    id: `id-${seq}`,
    hash: 'h',
    at: 1,
    entries: [
      { kind: 'domain', name: 'shop.test', doc: { name: 'shop.test', service: 'shop' } },
      { kind: 'service', name: 'shop', doc: { name: 'shop', latest: seq } },
    ],
    log: [{ kind: 'service', name: 'shop', rev: seq }],
    secrets: [{ name: 'cookie-key', sealed: 'kontrol1.plain.eA' }],
    names: [{ name: 'h', addresses: ['127.0.0.1'] }],
  };
}

function listening(): { log: Log; codes: string[] } {
  const codes: string[] = [];
  const note = (code: string) => void codes.push(code);
  return { log: { ...silentLog, warn: note, error: note, info: note }, codes };
}

test('a copy is read back as it was written, for its owner only', async (t) => {
  const path = await folder(t);
  await writeCopy(path, copy(1));
  assert.deepEqual(await readCopy(path, silentLog), copy(1));
  for (const file of await readdir(path)) assert.equal((await stat(join(path, file))).mode & 0o777, 0o600);
  assert.equal((await stat(path)).mode & 0o777, 0o700);
});

for (const [what, damage] of [
  ['cut short', (file: string) => truncate(file, 200)],
  ['empty', (file: string) => truncate(file, 0)],
  [
    'changed in one letter',
    async (file: string) => writeFile(file, (await readFile(file, 'utf8')).replace('shop', 'shot')),
  ],
  ['gone', (file: string) => rm(file)],
] as const) {
  test(`a newest copy that is ${what} is not believed; the older one is used`, async (t) => {
    const path = await folder(t);
    await writeCopy(path, copy(1));
    await writeCopy(path, copy(2));
    await damage(join(path, 'last-known-good.json'));
    const { log, codes } = listening();
    assert.equal((await readCopy(path, log))?.seq, 1);
    assert.deepEqual(codes, what === 'gone' ? [] : ['copy_damaged']);
  });
}

test('a whole copy of a build that kept less in it is not believed; the older one is used', async (t) => {
  const path = await folder(t);
  await writeCopy(path, copy(1));
  const { names, ...less } = copy(2);
  await writeCopy(path, less as Copy);
  const { log, codes } = listening();
  assert.equal((await readCopy(path, log))?.seq, 1);
  assert.deepEqual(codes, ['copy_damaged']);
});

test('behind a damaged copy one that serves nothing counts as none; as the newest it is what is served', async (t) => {
  const path = await folder(t);
  const empty = { ...copy(1), entries: [] };
  await writeCopy(path, empty);
  assert.equal((await readCopy(path, silentLog))?.seq, 1);
  await writeCopy(path, copy(2));
  await truncate(join(path, 'last-known-good.json'), 50);
  const { log, codes } = listening();
  assert.equal(await readCopy(path, log), null);
  assert.deepEqual(codes, ['copy_damaged', 'copy_empty']);
});

test('two damaged copies are said and count as none', async (t) => {
  const path = await folder(t);
  await writeCopy(path, copy(1));
  await writeCopy(path, copy(2));
  for (const file of await readdir(path)) await truncate(join(path, file), 50);
  const { log, codes } = listening();
  assert.equal(await readCopy(path, log), null);
  assert.deepEqual(codes, ['copy_damaged', 'copy_damaged']);
});

test('a burst of changes is written once a second, with the last state', async (t) => {
  const path = await folder(t);
  const clock = new ManualClock();
  let made = 0;
  let seq = 0;
  const keeper = new CopyKeeper(path, clock, silentLog, () => {
    made++;
    return copy(seq);
  });
  for (seq = 1; seq < 50; seq++) keeper.touch();
  clock.advance(0);
  await until('it is written', async () => (await readCopy(path, silentLog))?.seq === 50);
  seq = 51;
  keeper.touch();
  clock.advance(900);
  assert.equal(made, 1);
  await until('it is written again', async () => {
    clock.advance(200);
    return (await readCopy(path, silentLog))?.seq === 51;
  });
  seq = 52;
  keeper.touch();
  await keeper.close();
  assert.equal((await readCopy(path, silentLog))?.seq, 52);
});

test('a disk that refuses is said once and tried again later; what was there stays', async (t) => {
  const path = await folder(t);
  await writeCopy(path, copy(1));
  const clock = new ManualClock();
  const { log, codes } = listening();
  // A folder in the place of the temporary file is a failure that does not depend on who runs the test.
  const { mkdir } = await import('node:fs/promises');
  await mkdir(join(path, 'last-known-good.json.tmp'));
  const keeper = new CopyKeeper(path, clock, log, () => copy(2));
  keeper.touch();
  clock.advance(0);
  await until('it failed', () => keeper.failing);
  await until('it is tried again', () => {
    clock.advance(10_000);
    return codes.length >= 1;
  });
  assert.deepEqual(codes, ['copy_failed']);
  assert.equal((await readCopy(path, silentLog))?.seq, 1);
  await rm(join(path, 'last-known-good.json.tmp'), { recursive: true });
  await until('it is written', async () => {
    clock.advance(60_000);
    return (await readCopy(path, silentLog))?.seq === 2;
  });
  await until('it says so', () => codes.includes('copy_written'));
  await keeper.close();
});
