import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../shared/clock.ts';
import { type Log, silentLog } from '../../shared/log.ts';
import { isOwnFailure, OwnFailures } from './own-failures.ts';

test('an operator reads what the machine lacks and how often, once in ten seconds', () => {
  const said: [string, string, unknown][] = [];
  const clock = new ManualClock();
  const log: Log = {
    ...silentLog,
    error: (code, message, fields) => said.push([code, message, fields?.['connects']]),
  };
  const failures = new OwnFailures(clock, log);
  const full = Object.assign(new Error('connect EMFILE'), { code: 'EMFILE' });
  assert.ok(isOwnFailure(full));
  assert.ok(!isOwnFailure(Object.assign(new Error('no'), { code: 'ECONNREFUSED' })));
  assert.ok(!isOwnFailure(new Error('it did not accept the connection in time')));
  failures.note(full);
  clock.advance(9_999);
  failures.note(full);
  assert.equal(said.length, 1);
  assert.equal(said[0]?.[0], 'out_of_sockets');
  assert.match(said[0]?.[1] ?? '', /LimitNOFILE/);
  clock.advance(1);
  failures.note(full);
  assert.deepEqual(
    said.map(([, , connects]) => connects),
    [1, 2],
  );
});
