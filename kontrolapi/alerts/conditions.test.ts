import assert from 'node:assert/strict';
import { test } from 'node:test';
import { generate } from 'selfsigned';
import type { Alarm } from '../nodes/alarms.ts';
import { State } from '../revisions/view.ts';
import { conditionsOf, type Seen } from './conditions.ts';

const DAY = 86_400_000;
const NOW = Date.now();

function seen(more: Partial<Seen> = {}): Seen {
  return { nodes: [], alarms: [], view: new State(), seq: 10, now: NOW, geoDataAt: null, ...more };
}

const keys = (given: Partial<Seen>) => conditionsOf(seen(given)).map(({ key }) => key);

test('a service that any live node finds without backends is down, and urgent', () => {
  const nodes = [
    { name: 'n1', live: true, seq: 10, trouble: { down: ['shop'], flapping: ['web 10.0.0.1:80'] } },
    { name: 'n2', live: true, seq: 10, trouble: { down: ['shop'], flapping: [] } },
    { name: 'dead', live: false, seq: 1, trouble: { down: ['old'], flapping: [] } },
    { name: 'earlier', live: true, seq: 10 },
    { name: 'odd', live: true, seq: 10, trouble: { down: [7, null, 'x'.repeat(1_000)], flapping: 'no' } },
  ];
  const conditions = conditionsOf(seen({ nodes }));
  assert.deepEqual(
    conditions.map(({ key, urgent }) => [key, urgent]),
    [
      ['service_down/shop', true],
      ['backend_flapping/web 10.0.0.1:80', false],
    ],
  );
  assert.match(conditions[0]!.detail, /on n1, n2/);
  assert.equal(conditions[1]!.title, 'backend 10.0.0.1:80 of service web comes and goes');
});

test('a dead backend is told after half a minute, and only then; suspended checks are urgent', () => {
  const trouble = { down: [], dead: ['shop 10.0.0.1:80'], flapping: [], checksSuspended: true };
  const conditions = conditionsOf(seen({ nodes: [{ name: 'n1', live: true, seq: 10, trouble }] }));
  assert.deepEqual(
    conditions.map(({ key, urgent, raiseMs }) => [key, urgent, raiseMs]),
    [
      ['checks_suspended/n1', true, 5_000],
      ['backend_down/shop 10.0.0.1:80', false, 30_000],
    ],
  );
  assert.equal(conditions[1]!.title, 'backend 10.0.0.1:80 of service shop is down');
});

test('what the last node said stands when it is gone, but begins nothing', () => {
  const trouble = { down: ['shop'], flapping: [] };
  const gone = { name: 'n1', live: false, seq: 10, trouble };
  const [down] = conditionsOf(seen({ nodes: [gone] }));
  assert.equal(down?.key, 'service_down/shop');
  assert.equal(down?.raiseMs, Number.POSITIVE_INFINITY);
  const well = { name: 'n2', live: true, seq: 10, trouble: { down: [], flapping: [] } };
  assert.deepEqual(keys({ nodes: [gone, well] }), []);
});

test('what fails its checks again keeps what was told from being over, as after a restart of the node', () => {
  const trouble = {
    down: ['shop'],
    dead: [],
    flapping: [],
    failingServices: ['api', 'shop'],
    failingBackends: ['api 10.0.0.1:80'],
  };
  const conditions = conditionsOf(seen({ nodes: [{ name: 'n1', live: true, seq: 10, trouble }] }));
  assert.deepEqual(
    conditions.map(({ key, raiseMs }) => [key, raiseMs]),
    [
      ['service_down/shop', 5_000],
      ['service_down/api', Number.POSITIVE_INFINITY],
      ['backend_down/api 10.0.0.1:80', Number.POSITIVE_INFINITY],
    ],
  );
});

test('the certificate that a node reads from its folder is watched like those of the API', () => {
  const nodes = [
    { name: 'near', live: true, seq: 10, certificateValidTo: NOW + 6 * DAY },
    { name: 'over', live: true, seq: 10, certificateValidTo: NOW - DAY },
    { name: 'far', live: true, seq: 10, certificateValidTo: NOW + 60 * DAY },
    { name: 'none', live: true, seq: 10, certificateValidTo: null },
    { name: 'earlier', live: true, seq: 10 },
    { name: 'dead', live: false, seq: 10, certificateValidTo: NOW },
  ];
  const conditions = conditionsOf(seen({ nodes }));
  assert.deepEqual(
    conditions.map(({ key, level, urgent, title }) => [key, level, urgent, title]),
    [
      ['certificate_file/over', 4, true, 'the default certificate of node over has expired'],
      ['certificate_file/near', 2, false, 'the default certificate of node near expires within 6 days'],
    ],
  );
  assert.match(conditions[0]?.detail ?? '', /--certs/);
});

test('a live node that serves an older revision lags, a dead one is lost instead', () => {
  const nodes = [
    { name: 'slow', live: true, seq: 9 },
    { name: 'dead', live: false, seq: 1 },
  ];
  const alarms: Alarm[] = [
    { alarm: 'node_lost', about: 'dead', message: 'gone' },
    { alarm: 'quarantined', about: 'slow', message: 'bad' },
    { alarm: 'deletions_held', about: 'slow', message: 'held' },
  ];
  assert.deepEqual(keys({ nodes, alarms }), [
    'node_lagging/slow',
    'node_lost/dead',
    'quarantined/slow',
    'deletions_held/slow',
  ]);
});

test('a certificate is told of at 30, 7 and 1 days and when it has expired, each worse than the one before', async () => {
  const pems = await generate([{ name: 'commonName', value: 'shop' }], { keySize: 2_048 });
  const view = new State();
  view.put('certificate', 'shop', { rev: 1, doc: { name: 'shop', certificate: pems.cert } });
  view.put('certificate', 'odd', { rev: 1, doc: { name: 'odd', certificate: 'not a certificate' } });
  const until = Date.parse(new (await import('node:crypto')).X509Certificate(pems.cert).validTo);
  const at = (days: number) => {
    const [condition] = conditionsOf(seen({ view, now: until - days * DAY }));
    return condition === undefined ? null : [condition.level, condition.urgent, condition.title];
  };
  assert.equal(at(30.5), null);
  assert.deepEqual(at(29.5), [1, false, 'certificate shop expires within 30 days']);
  assert.deepEqual(at(6.5), [2, false, 'certificate shop expires within 7 days']);
  assert.deepEqual(at(0.5), [3, true, 'certificate shop expires within 1 day']);
  assert.deepEqual(at(-1), [4, true, 'certificate shop has expired']);
});

test('old country data is told of where a country rule goes by it', () => {
  const view = new State();
  const geoDataAt = NOW - 31 * DAY;
  assert.deepEqual(keys({ view, geoDataAt }), []);
  view.put('rule', 'de', { rev: 1, doc: { name: 'de', type: 'country' } });
  assert.deepEqual(keys({ view, geoDataAt }), ['geo_data/old']);
  assert.deepEqual(keys({ view, geoDataAt: NOW - 29 * DAY }), []);
  assert.deepEqual(keys({ view, geoDataAt: null }), []);
});

test('thousands of things that are wrong make a bounded list', () => {
  const down = Array.from({ length: 50_000 }, (_, i) => `s${i}`);
  const nodes = [{ name: 'n1', live: true, seq: 10, trouble: { down, flapping: down } }];
  assert.equal(keys({ nodes }).length, 10_000);
});
