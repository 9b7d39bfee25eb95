import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../shared/clock.ts';
import { LoginLimiter } from './login-limiter.ts';

const refused = { code: 'rate_limited' };
const fail = (limiter: LoginLimiter, times: number, user: string, address: string) => {
  for (let attempt = 0; attempt < times; attempt++) limiter.attempt(user, address);
};

test('a user is refused after five failures from one address, and may try again when the window ends', () => {
  const clock = new ManualClock();
  const limiter = new LoginLimiter(clock);
  fail(limiter, 5, 'ann', '192.0.2.1');
  assert.throws(() => limiter.attempt('ann', '192.0.2.1'), refused);
  limiter.attempt('ann', '192.0.2.2');
  limiter.attempt('bob', '192.0.2.1');
  clock.advance(15 * 60_000);
  limiter.attempt('ann', '192.0.2.1');
});

test('who is refused hears when the window ends, in the message and in Retry-After', () => {
  const clock = new ManualClock();
  const limiter = new LoginLimiter(clock);
  fail(limiter, 5, 'ann', '192.0.2.1');
  clock.advance(5 * 60_000);
  assert.throws(() => limiter.attempt('ann', '192.0.2.1'), {
    ...refused,
    retryAfter: 600,
    message: /in 10 min$/,
  });
});

test('an address is refused after thirty failures, whatever users it names', () => {
  const limiter = new LoginLimiter(new ManualClock());
  for (let user = 0; user < 30; user++) limiter.attempt(`user${user}`, '192.0.2.1');
  assert.throws(() => limiter.attempt('another', '192.0.2.1'), refused);
});

test('an address that is refused stays so, however many other users it names', () => {
  const limiter = new LoginLimiter(new ManualClock());
  for (let user = 0; user < 30; user++) limiter.attempt(`user${user}`, '192.0.2.1');
  for (let user = 0; user < 20_001; user++) {
    assert.throws(() => limiter.attempt(`other${user}`, '192.0.2.1'), refused);
  }
  assert.throws(() => limiter.attempt('admin', '192.0.2.1'), refused);
});

test('addresses of one IPv6 /64 are one client', () => {
  const limiter = new LoginLimiter(new ManualClock());
  for (let host = 0; host < 5; host++) limiter.attempt('ann', `2001:db8::${host}`);
  assert.throws(() => limiter.attempt('ann', '2001:db8::ffff'), refused);
  limiter.attempt('ann', '2001:db8:0:1::1');
});

test('a success forgives the failures of that user at that address', () => {
  const limiter = new LoginLimiter(new ManualClock());
  for (let round = 0; round < 3; round++) {
    fail(limiter, 5, 'ann', '192.0.2.1');
    limiter.succeeded('ann', '192.0.2.1');
  }
  fail(limiter, 5, 'ann', '192.0.2.1');
  assert.throws(() => limiter.attempt('ann', '192.0.2.1'), refused);
});
