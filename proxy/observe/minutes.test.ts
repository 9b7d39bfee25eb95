import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../shared/clock.ts';
import { Counters } from './counters.ts';
import { DomainCounts } from './domain-counts.ts';
import { exampleRecord } from './example.ts';
import { Minutes } from './minutes.ts';
import type { RequestRecord } from './record.ts';

/** A serving process that counts and reports. */
function processOf(minutes: Minutes) {
  const counters = new Counters();
  const domains = new DomainCounts();
  return {
    serve(record: Partial<RequestRecord>) {
      const whole = exampleRecord(record);
      counters.count(whole);
      domains.count(whole);
    },
    report(full = false) {
      minutes.report({ ...counters.snapshot(full), domainGrowth: domains.take() });
    },
  };
}

test('each minute has what grew in it, over all processes, and a new sync does not count old totals', () => {
  const clock = new ManualClock(60_000_000);
  const minutes = new Minutes(clock);
  const [one, two] = [processOf(minutes), processOf(minutes)];
  for (let n = 0; n < 1_000; n++) one.serve({ service: 'shop', domain: 'shop.test' });
  one.report(true);
  two.report(true);
  one.serve({ service: 'shop', domain: 'shop.test', status: 200 });
  two.serve({ service: 'shop', domain: 'shop.test', status: 502 });
  one.report();
  two.report();
  one.report();
  clock.advance(60_000);
  two.serve({ service: 'blog', domain: 'blog.test', status: 200 });
  two.report();
  const { minutes: told, services, domains } = minutes.answer();
  assert.deepEqual(
    told.map(({ requests, errors }) => [requests, errors]),
    [
      [2, 1],
      [1, 0],
    ],
  );
  const brief = (list: typeof services) => list.map(({ name, requests, errors }) => [name, requests, errors]);
  assert.deepEqual(brief(services), [
    ['shop', 2, 1],
    ['blog', 1, 0],
  ]);
  assert.deepEqual(brief(domains), [
    ['shop.test', 2, 1],
    ['blog.test', 1, 0],
  ]);
  clock.advance(15 * 60_000);
  const later = minutes.answer();
  assert.deepEqual([later.services, later.domains], [[], []]);
  assert.deepEqual(
    later.minutes.map(({ requests }) => requests),
    [0],
  );
});

test('domains that come and go never use up the room of those that come later', () => {
  const clock = new ManualClock();
  const minutes = new Minutes(clock);
  const one = processOf(minutes);
  one.report(true);
  for (let n = 0; n < 6_000; n++) {
    one.serve({ service: 'shop', domain: `preview-${n}.test` });
    if (n % 400 === 399) one.report();
    if (n % 2_000 === 1_999) clock.advance(60_000);
  }
  for (let n = 0; n < 6_100; n++) one.serve({ service: 'shop', domain: 'new.test' });
  one.report();
  one.report();
  const [first] = minutes.answer().domains;
  assert.deepEqual([first?.name, first?.requests], ['new.test', 6_100]);
});

test('an answer fits into a message of the bus however long the names are', () => {
  const clock = new ManualClock();
  const minutes = new Minutes(clock);
  const one = processOf(minutes);
  one.report(true);
  for (let n = 0; n < 2_500; n++) {
    const name = `${n}.${'x'.repeat(240)}`;
    one.serve({ service: name.slice(0, 120), domain: name });
  }
  for (let round = 0; round < 6; round++) one.report();
  const answer = minutes.answer();
  assert.ok(JSON.stringify(answer).length < 60_000);
  assert.ok(answer.domains.length > 10);
});

test('garbage from a process of another version is ignored', () => {
  const minutes = new Minutes(new ManualClock());
  for (const stats of [null, 1, {}, { version: 2 }, { version: 1, process: 'p', services: null }])
    minutes.report(stats);
  minutes.report({ version: 1, process: 'p', services: [], domainGrowth: 'many' });
  assert.deepEqual(minutes.answer().services, []);
});

test('a service that is asked for by name is told, also when hundreds of others have more traffic', () => {
  const minutes = new Minutes(new ManualClock(60_000_000));
  const process = processOf(minutes);
  process.report(true);
  for (let n = 0; n < 300; n++) {
    for (let twice = 0; twice < 2; twice++) process.serve({ service: `busy-${n}`, domain: 'x.test' });
  }
  process.serve({ service: 'quiet', domain: 'x.test', status: 502 });
  process.report();
  assert.ok(!minutes.answer().services.some(({ name }) => name === 'quiet'));
  const { services, domains } = minutes.answer('quiet');
  assert.deepEqual(
    services.map(({ name, requests, errors }) => [name, requests, errors]),
    [['quiet', 1, 1]],
  );
  assert.deepEqual(domains, []);
  assert.deepEqual(minutes.answer('unknown').services, []);
});
