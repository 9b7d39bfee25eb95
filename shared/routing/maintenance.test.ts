import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decide } from './decide.ts';
import {
  domainEntry,
  NOW,
  type RequestGiven,
  request,
  serviceEntry,
  settingsEntry,
  tableOf,
} from './fixtures.ts';

const HOST = 'shop.example.com';
const at = (offset: number) => new Date(NOW + offset).toISOString();

type Place = 'settings' | 'domain' | 'route';

function withMaintenance(place: Place, maintenance: unknown, mode = 'on') {
  const own = { maintenance };
  return tableOf([
    serviceEntry('web'),
    settingsEntry(place === 'settings' ? own : {}),
    domainEntry(HOST, {
      mode,
      ...(place === 'domain' ? own : {}),
      routes: [{ path: '/', service: 'web', ...(place === 'route' ? own : {}) }],
    }),
  ]);
}

function outcome(table: ReturnType<typeof withMaintenance>, given: RequestGiven = {}): string {
  const decision = decide(table, request('/', given));
  return decision.type === 'page' ? `${decision.cause} ${decision.retryAfter}` : decision.type;
}

for (const place of ['settings', 'domain', 'route'] as const) {
  test(`maintenance of ${place} holds from its begin to its end, and says when that is`, () => {
    const table = withMaintenance(place, { from: at(0), until: at(90_500) });
    assert.equal(outcome(table, { now: NOW - 1 }), 'forward');
    assert.equal(outcome(table, { now: NOW }), 'maintenance 91');
    assert.equal(outcome(table, { now: NOW + 90_499 }), 'maintenance 1');
    assert.equal(outcome(table, { now: NOW + 90_500 }), 'forward');
  });

  test(`maintenance of ${place} may be switched on, off, or be open at either end`, () => {
    assert.equal(outcome(withMaintenance(place, true)), 'maintenance 60');
    assert.equal(outcome(withMaintenance(place, false)), 'forward');
    assert.equal(outcome(withMaintenance(place, {})), 'maintenance 60');
    assert.equal(outcome(withMaintenance(place, { from: at(1) })), 'forward');
    assert.equal(outcome(withMaintenance(place, { from: at(-1), until: null })), 'maintenance 60');
    assert.equal(outcome(withMaintenance(place, { until: at(0) })), 'forward');
  });

  test(`maintenance of ${place} is passed by address, cookie or header`, () => {
    const table = withMaintenance(place, {
      bypass: {
        addresses: ['10.0.0.0/8', '2001:db8::1'],
        cookie: { name: 'Preview', value: 's3cret' },
        header: { name: 'X-Preview', value: 'other' },
      },
    });
    const passes: RequestGiven[] = [
      { address: '10.9.8.7' },
      { address: '2001:db8::1' },
      { headers: { cookie: 'a=b; Preview=s3cret' } },
      { headers: { 'x-preview': 'other' } },
    ];
    for (const given of passes) assert.equal(outcome(table, given), 'forward', JSON.stringify(given));
    const waits: RequestGiven[] = [
      {},
      { address: '11.0.0.1' },
      { headers: { cookie: 'Preview=s3cre' } },
      { headers: { cookie: 'preview=s3cret' } },
      { headers: { 'x-preview': 's3cret' } },
      { headers: { 'x-preview': '' } },
    ];
    for (const given of waits) assert.equal(outcome(table, given), 'maintenance 60', JSON.stringify(given));
  });
}

test('a domain in mode maintenance is so at any time, with the same ways past it', () => {
  const table = withMaintenance(
    'domain',
    { from: at(1_000), bypass: { addresses: ['10.0.0.1'] } },
    'maintenance',
  );
  assert.equal(outcome(table), 'maintenance 60');
  assert.equal(outcome(table, { address: '10.0.0.1' }), 'forward');
});

test('a route that only says maintenance gives way to the next one when that is over, and for those who may pass', () => {
  const table = tableOf([
    serviceEntry('web'),
    domainEntry(HOST, {
      routes: [
        { path: '/', service: 'web' },
        { path: '/sale', maintenance: { until: at(1_000), bypass: { addresses: ['10.0.0.1'] } } },
      ],
    }),
  ]);
  const ask = (given: RequestGiven) => decide(table, request('/sale', given)).labels.route;
  assert.equal(ask({}), 1);
  assert.equal(ask({ now: NOW + 1_000 }), 0);
  assert.equal(ask({ address: '10.0.0.1' }), 0);
});
