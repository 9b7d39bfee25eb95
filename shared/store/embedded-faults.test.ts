/** What only the embedded store can meet: a full disk, a stopped process, another container, a broken folder. */
import assert from 'node:assert/strict';
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { silentLog } from '../log.ts';
import { problemNow } from './data-file.ts';
import { openEmbedded } from './embedded.ts';
import { EmbeddedRecords, openDatabase } from './embedded-records.ts';
import { openStore } from './open.ts';

const PROCESS = fileURLToPath(new URL('./conformance-process.js', import.meta.url));

async function temporaryFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'kontrol-store-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

function startProcess(t: TestContext, folder: string, command: string, argument: string): ChildProcess {
  const child = fork(PROCESS, [JSON.stringify({ type: 'embedded', folder }), command, argument]);
  t.after(() => child.kill('SIGKILL'));
  return child;
}

test('the store of the settings lies in the folder store of the data folder', async (t) => {
  const data = await temporaryFolder(t);
  const store = await openStore({ mongoUrl: null, data }, silentLog);
  assert.equal(store.type, 'embedded');
  await store.live.insert('users', 'a', {});
  await store.close();
  assert.ok(existsSync(join(data, 'store', 'data.mdb')));
});

test('a commit is on disk before the next one begins, which is what a kill -9 between them takes', async (t) => {
  const db = openDatabase(await temporaryFolder(t));
  assert.equal((db as unknown as { overlappingSync: boolean }).overlappingSync, false);
  await db.close();
});

test('a folder that cannot be used is named in one line', async (t) => {
  const folder = await temporaryFolder(t);
  writeFileSync(join(folder, 'file'), '');
  const fails = {
    code: 'cannot_start',
    message: /^The embedded store in \S+file\S* cannot be opened .*--data/,
  };
  await assert.rejects(openEmbedded(join(folder, 'file'), silentLog), fails);
  await assert.rejects(openEmbedded(join(folder, 'file', 'below'), silentLog), fails);
});

test('a data file that is none, or was cut off, is named, and left as it is', async (t) => {
  const whole = await temporaryFolder(t);
  const store = await openEmbedded(whole, silentLog);
  for (let n = 0; n < 50; n++) await store.live.insert('users', `n${n}`, { text: 'x'.repeat(3_000) });
  await store.close();
  const bytes = readFileSync(join(whole, 'data.mdb'));
  const noise = Buffer.from('not a database'.repeat(1_000));
  const secondGone = Buffer.concat([bytes.subarray(0, 4_096), Buffer.alloc(4_096), bytes.subarray(8_192)]);
  for (const damaged of [
    noise,
    Buffer.alloc(14_000),
    bytes.subarray(0, 100),
    bytes.subarray(0, 20_000),
    secondGone,
  ]) {
    const folder = await temporaryFolder(t);
    writeFileSync(join(folder, 'data.mdb'), damaged);
    await assert.rejects(openEmbedded(folder, silentLog), {
      code: 'cannot_start',
      message: /^data\.mdb .*backup/,
    });
    assert.deepEqual(readFileSync(join(folder, 'data.mdb')), damaged);
  }
  const empty = await temporaryFolder(t);
  writeFileSync(join(empty, 'data.mdb'), '');
  const begun = await openEmbedded(empty, silentLog);
  assert.equal((await begun.head()).seq, 0);
  await begun.close();
});

test('a folder that is open in another PID namespace is refused, until it is closed there', async (t) => {
  const folder = await temporaryFolder(t);
  const here = await openEmbedded(folder, silentLog, { namespace: '1' });
  const neighbour = await openEmbedded(folder, silentLog, { namespace: '1' });
  await assert.rejects(openEmbedded(folder, silentLog, { namespace: '2' }), {
    code: 'cannot_start',
    message: /another container/,
  });
  await here.close();
  await assert.rejects(openEmbedded(folder, silentLog, { namespace: '2' }), { code: 'cannot_start' });
  await neighbour.close();
  const there = await openEmbedded(folder, silentLog, { namespace: '2' });
  assert.equal(await there.live.insert('users', 'a', {}), true);
  await there.close();
});

test('what a killed process of another PID namespace left behind does not keep the folder closed', async (t) => {
  const folder = await temporaryFolder(t);
  const child = startProcess(t, folder, 'commit', '1000000');
  await once(child, 'message');
  await assert.rejects(openEmbedded(folder, silentLog, { namespace: 'other' }), { code: 'cannot_start' });
  child.kill('SIGKILL');
  await once(child, 'exit');
  const sockets = join(folder, 'open');
  const [left] = readdirSync(sockets);
  assert.ok(left);
  utimesSync(join(sockets, left), 0, 0);
  const store = await openEmbedded(folder, silentLog, { namespace: 'other' });
  assert.ok(!readdirSync(sockets).includes(left));
  await store.close();
  assert.deepEqual(readdirSync(sockets), []);
});

test('a folder with a very long name opens, and guards itself', async (t) => {
  const folder = join(await temporaryFolder(t), 'x'.repeat(120), 'data.store');
  const store = await openEmbedded(folder, silentLog, { namespace: '1' });
  assert.equal(await store.live.insert('users', 'a', {}), true);
  await assert.rejects(openEmbedded(folder, silentLog, { namespace: '2' }), { code: 'cannot_start' });
  await store.close();
});

test('calls end in time while another process is stopped, and go on after it', async (t) => {
  const folder = await temporaryFolder(t);
  const store = await openEmbedded(folder, silentLog, { callMs: 300 });
  const child = startProcess(t, folder, 'commit', '1000000');
  await once(child, 'message');
  try {
    // Stopped at any moment; it holds the lock at some of them.
    for (let stuck = false; !stuck; ) {
      child.kill('SIGSTOP');
      try {
        await store.live.put('nodes', 'a', {});
        child.kill('SIGCONT');
        await once(child, 'message');
      } catch (error) {
        assert.equal((error as { code: string }).code, 'outcome_unknown');
        assert.equal(store.reachable, false);
        stuck = true;
      }
    }
    assert.equal((await store.live.list('users')).length, 0, 'reads are not held up');
    child.kill('SIGCONT');
    await once(child, 'message');
    await store.live.put('nodes', 'a', { later: true });
    assert.equal((await store.live.get('nodes', 'a'))?.['later'], true);
    assert.equal(store.reachable, true);
  } finally {
    child.kill('SIGKILL');
    await once(child, 'exit');
    await store.close();
  }
});

test('a full disk refuses writes, ends nothing, and is over when there is room again', async (t) => {
  const folder = await temporaryFolder(t);
  mkdirSync(join(folder, 'store'));
  const opening = new URL('./embedded.js', import.meta.url).href;
  // The limit on the size of a file fails a write as a full disk does; another process makes room.
  const script = `
    import { openEmbedded } from ${JSON.stringify(opening)};
    const lines = [];
    const say = (level) => (code) => lines.push(level + ' ' + code);
    const log = { debug: say('debug'), info: say('info'), warn: say('warn'), error: say('error') };
    const store = await openEmbedded(process.argv[1], log);
    let written = 0;
    let failure = null;
    while (failure === null)
      await store.live.insert('users', 'n' + written, { text: 'x'.repeat(50_000) }).then(
        () => written++,
        (error) => { failure = error; },
      );
    const again = await store.live.insert('users', 'again', { text: 'x'.repeat(500_000) }).catch((error) => error.code);
    const both = await Promise.allSettled([store.live.put('users', 'n0', { text: 'y'.repeat(500_000) }), store.head()]);
    const kept = (await store.live.list('users')).length;
    const { reachable } = store;
    await store.live.delete('users', 'n0');
    await new Promise((resolve) => setImmediate(resolve));
    Promise.reject(new Error('of somebody else'));
    await new Promise((resolve) => setImmediate(resolve));
    await store.close();
    console.log(JSON.stringify({
      written, kept, code: failure.code, message: failure.message, again, both: both.map((each) => each.status),
      lines: [...new Set(lines)],
    }));`;
  const command = 'ulimit -f 4096 && exec "$0" --input-type=module -e "$1" "$2"';
  const child = spawn('sh', ['-c', command, process.execPath, script, join(folder, 'store')], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  let complaints = '';
  child.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    complaints += chunk.toString();
  });
  const [code] = await once(child, 'close');
  assert.equal(code, 0, complaints);
  const result = JSON.parse(said);
  assert.equal(result.code, 'store_unavailable');
  assert.match(result.message, /is the disk full\?/);
  assert.equal(result.again, 'store_unavailable');
  assert.deepEqual(result.both, ['rejected', 'fulfilled']);
  assert.ok(result.written > 5);
  assert.equal(result.kept, result.written);
  assert.ok(result.lines.includes('debug store_commit_failed'));
  assert.ok(result.lines.includes('error unhandled_rejection'));
  const store = await openEmbedded(join(folder, 'store'), silentLog);
  assert.equal((await store.live.list('users')).length, result.written - 1);
  await store.live.insert('users', 'again', { text: 'x'.repeat(500_000) });
  await store.close();
});

test('a disk without room for a new folder is named in one line, and nothing is left in it', async (t) => {
  const folder = await temporaryFolder(t);
  const opening = new URL('./embedded.js', import.meta.url).href;
  const script = `
    import { openEmbedded } from ${JSON.stringify(opening)};
    const log = { debug() {}, info() {}, warn() {}, error() {} };
    console.log(await openEmbedded(process.argv[1], log).then(() => 'opened', (error) => error.code + ' ' + error.message));`;
  // 32 KB: less than a new folder needs, and enough for its locks, so that LMDB would not notice before its first write.
  const command = 'ulimit -f 64 && exec "$0" --input-type=module -e "$1" "$2"';
  const child = spawn('sh', ['-c', command, process.execPath, script, folder], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  await once(child, 'close');
  assert.match(
    said,
    /^cannot_start The embedded store in \S+ cannot be opened \(EFBIG.*\); make room there\n$/,
  );
  assert.deepEqual(readdirSync(folder), []);
  const store = await openEmbedded(folder, silentLog);
  await store.close();
});

test('nothing is acknowledged once the data file was removed or replaced', async (t) => {
  const data = await temporaryFolder(t);
  const folder = join(data, 'store');
  const store = await openEmbedded(folder, silentLog);
  await store.live.insert('users', 'before', {});
  await rm(folder, { recursive: true });
  const gone = { code: 'store_unavailable', message: /data\.mdb was removed or replaced/ };
  await assert.rejects(store.live.insert('users', 'after', {}), gone);
  const other = await openEmbedded(folder, silentLog);
  await other.live.insert('users', 'new', {});
  await assert.rejects(store.live.insert('users', 'later', {}), gone);
  assert.deepEqual((await other.live.list('users')).length, 1);
  await store.close();
  await other.close();
});

test('a data file that grows while it is looked at is not taken for one that was cut off', async (t) => {
  const folder = await temporaryFolder(t);
  const store = await openEmbedded(folder, silentLog);
  let writing = true;
  const writes = (async () => {
    for (let n = 0; n < 400; n++) await store.live.insert('users', `n${n}`, { text: 'x'.repeat(20_000) });
    writing = false;
  })();
  let looks = 0;
  const found = new Set<string | null>();
  for (; writing; looks++) {
    // Often enough within one turn that the writer's thread gets in between two reads of the same look.
    for (let again = 0; again < 20; again++) found.add(problemNow(join(folder, 'data.mdb')));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await writes;
  await store.close();
  assert.deepEqual([...found], [null], `in ${looks * 20} looks`);
});

test('a look for readers of killed processes that comes due while the folder is closed does no harm', async (t) => {
  const records = new EmbeddedRecords(await temporaryFolder(t), async () => {});
  const closing = records.close();
  records.checkReaders();
  await closing;
  records.checkReaders();
});
