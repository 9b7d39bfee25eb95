import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type Log, silentLog } from '../../shared/log.ts';
import { COUNT } from './counters.ts';
import { exampleRecord } from './example.ts';
import { createObserver } from './observer.ts';
import type { RequestRecord } from './record.ts';

const folder = mkdtempSync(join(tmpdir(), 'kontrol-observe-'));
after(() => rmSync(folder, { recursive: true }));

const linesOf = (path: string) => readFileSync(path, 'utf8').split('\n').slice(0, -1);

test('close gives the descriptor of the file back, and may be called twice', async () => {
  const openDescriptors = () => readdirSync('/proc/self/fd').length;
  const before = openDescriptors();
  const observer = createObserver({ accessLog: `json:${join(folder, 'closed.log')}`, log: silentLog });
  observer.record(exampleRecord());
  await observer.close();
  await observer.close();
  assert.equal(openDescriptors(), before);
  observer.record(exampleRecord());
});

test('one record is one line, one count and one place in the ring', async () => {
  const path = join(folder, 'access.log');
  const observer = createObserver({ accessLog: `json:${path}`, log: silentLog });
  observer.record(exampleRecord({ id: 'r1' }));
  observer.record(exampleRecord({ id: 'r2' }));
  await observer.close();
  assert.deepEqual(
    linesOf(path).map((line) => JSON.parse(line).id),
    ['r1', 'r2'],
  );
  assert.equal(observer.snapshot().services[0]?.counts[COUNT.timed], 2);
  assert.equal(observer.recent.find('r1')?.id, 'r1');
});

test('connections are counted as they open and close', async () => {
  const observer = createObserver({ accessLog: 'off', log: silentLog });
  observer.connectionOpened();
  observer.connectionOpened();
  observer.connectionClosed();
  const { connectionsActive, connectionsTotal } = observer.snapshot();
  assert.deepEqual([connectionsActive, connectionsTotal], [1, 2]);
  await observer.close();
});

test('without an access log requests are counted and kept all the same', async () => {
  const observer = createObserver({ accessLog: 'off', log: silentLog, recent: 1 });
  observer.record(exampleRecord({ id: 'x' }));
  assert.equal(observer.recent.newest(9).length, 1);
  assert.equal(observer.snapshot().services.length, 1);
  await observer.close();
});

test('after a rotation the lines go to the new file, in either format', async () => {
  const path = join(folder, 'rotated.log');
  const observer = createObserver({ accessLog: `combined:${path}`, log: silentLog });
  observer.record(exampleRecord({ target: '/old' }));
  await observer.flush();
  renameSync(path, `${path}.1`);
  observer.reopen();
  observer.record(exampleRecord({ target: '/new' }));
  await observer.close();
  assert.match(linesOf(`${path}.1`).join(), /GET \/old /);
  assert.match(linesOf(path).join(), /GET \/new /);
});

test('a record that cannot be read hurts nobody and is counted', async () => {
  const codes: string[] = [];
  const log: Log = { ...silentLog, error: (code) => codes.push(code) };
  const observer = createObserver({ accessLog: 'off', log });
  const broken = new Proxy(exampleRecord(), {
    get() {
      throw new Error('on purpose');
    },
  });
  observer.record(broken as RequestRecord);
  assert.equal(observer.snapshot().failures, 1);
  assert.deepEqual(codes, ['record_failed']);
  await observer.close();
});

test('lines that are lost are counted, and the log says once why', async () => {
  const codes: string[] = [];
  const log: Log = { ...silentLog, error: (code) => codes.push(code) };
  const observer = createObserver({ accessLog: 'json:/dev/full', log });
  for (let round = 0; round < 3; round++) {
    observer.record(exampleRecord());
    await observer.flush();
  }
  assert.equal(observer.snapshot().logLinesDropped, 3);
  assert.deepEqual(codes, ['access_log_failed']);
  await observer.close();
});

test('an access log that cannot be opened stops the start', () => {
  const accessLog = `json:${join(folder, 'none', 'a.log')}`;
  assert.throws(() => createObserver({ accessLog, log: silentLog }), { code: 'ENOENT' });
});
