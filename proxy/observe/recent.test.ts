import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exampleRecord } from './example.ts';
import { RecentRequests } from './recent.ts';

test('the last requests are kept, the newest first', () => {
  const recent = new RecentRequests(3);
  assert.deepEqual(recent.newest(5), []);
  for (const id of ['a', 'b', 'c', 'd']) recent.add(exampleRecord({ id }));
  assert.deepEqual(
    recent.newest(5).map((record) => record.id),
    ['d', 'c', 'b'],
  );
  assert.deepEqual(
    recent.newest(1).map((record) => record.id),
    ['d'],
  );
});

test('a request is found by its id until it was pushed out', () => {
  const recent = new RecentRequests(2);
  recent.add(exampleRecord({ id: 'a', status: 200 }));
  recent.add(exampleRecord({ id: 'b' }));
  assert.equal(recent.find('a')?.status, 200);
  recent.add(exampleRecord({ id: 'c' }));
  assert.equal(recent.find('a'), null);
});

test('texts of visitors are cut, so that the ring stays small', () => {
  const recent = new RecentRequests(1);
  const long = 'x'.repeat(16_000);
  for (const changes of [{ target: long }, { userAgent: long }, { referer: long }]) {
    recent.add(exampleRecord(changes));
    const [kept] = recent.newest(1);
    assert.ok(JSON.stringify(kept).length < 4_000);
  }
});
