import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decide, SECURE_COOKIE } from './decide.ts';
import {
  domainEntry,
  NOW,
  type RequestGiven,
  request,
  ruleEntry,
  secretEntry,
  serviceEntry,
  settingsEntry,
  summary,
  tableOf,
} from './fixtures.ts';
import type { TableOptions } from './table.ts';

const HOST = 'shop.example.com';
type Rules = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

interface Lists {
  readonly global?: readonly string[];
  readonly domain?: readonly string[];
  readonly route?: readonly string[];
}

/** A table with these rules; all of them in the domain's list unless `lists` says otherwise. */
function guarded(rules: Rules, lists: Lists = { domain: Object.keys(rules) }, options: TableOptions = {}) {
  return tableOf(
    [
      serviceEntry('web'),
      secretEntry('cookie-key', 'a secret key'),
      ...Object.entries(rules).map(([name, doc]) => ruleEntry(name, doc)),
      settingsEntry({ firewall: lists.global ?? [] }),
      domainEntry(HOST, {
        firewall: lists.domain ?? [],
        routes: [{ path: '/', service: 'web', firewall: lists.route ?? [] }],
      }),
    ],
    options,
  );
}

function outcome(table: ReturnType<typeof guarded>, address: string, given: RequestGiven = {}): string {
  const decision = decide(table, request('/', { address, ...given }));
  return decision.type === 'forward' ? 'passed' : `${summary(decision)} by ${decision.labels.rule}`;
}

const OFFICE = { list: 'whitelist', type: 'ip', match: ['10.0.0.0/8', '192.0.2.7', '2001:db8::/32'] };
const COUNTRIES: Record<string, string> = { '198.51.100.1': 'DE', '198.51.100.2': 'FR', '2001:db8::1': 'DE' };
const country = (address: string) => COUNTRIES[address] ?? null;

test('a whitelist refuses everything else', () => {
  const table = guarded({ office: OFFICE });
  for (const address of ['10.1.2.3', '192.0.2.7', '2001:db8::9'])
    assert.equal(outcome(table, address), 'passed');
  for (const address of ['192.0.2.8', '2001:db9::1', '', 'unix'])
    assert.equal(outcome(table, address), 'page rule_blocked by office');
});

test('a blacklist refuses a match', () => {
  const table = guarded({ bots: { ...OFFICE, list: 'blacklist' } });
  assert.equal(outcome(table, '10.0.0.1'), 'page rule_blocked by bots');
  assert.equal(outcome(table, '192.0.2.8'), 'passed');
});

test('several whitelists must all be met', () => {
  const table = guarded({ a: OFFICE, b: { list: 'whitelist', type: 'ip', match: ['10.1.0.0/16'] } });
  assert.equal(outcome(table, '10.1.0.1'), 'passed');
  assert.equal(outcome(table, '10.2.0.1'), 'page rule_blocked by b');
  assert.equal(outcome(table, '11.1.0.1'), 'page rule_blocked by a');
});

test('rules are asked in the order listed: allow ends its list before a later blacklist, not after', () => {
  const rules = {
    friend: { list: 'allow', type: 'ip', match: ['192.0.2.7'] },
    all: { list: 'blacklist', type: 'all' },
  };
  assert.equal(outcome(guarded(rules), '192.0.2.7'), 'passed');
  assert.equal(outcome(guarded(rules), '192.0.2.8'), 'page rule_blocked by all');
  assert.equal(
    outcome(guarded(rules, { domain: ['all', 'friend'] }), '192.0.2.7'),
    'page rule_blocked by all',
  );
});

test('allow ends only its own list', () => {
  const rules = {
    friend: { list: 'allow', type: 'all' },
    all: { list: 'blacklist', type: 'all' },
  };
  assert.equal(outcome(guarded(rules, { global: ['friend', 'all'] }), '192.0.2.7'), 'passed');
  assert.equal(
    outcome(guarded(rules, { global: ['friend'], domain: ['all'] }), '192.0.2.7'),
    'page rule_blocked by all',
  );
  assert.equal(
    outcome(guarded(rules, { domain: ['friend'], route: ['all'] }), '192.0.2.7'),
    'page rule_blocked by all',
  );
});

test('patterns look at the canonical text of the address', () => {
  const table = guarded({ six: { list: 'blacklist', type: 'ip-regex', match: ['^2001:db8:', '\\.7$'] } });
  assert.equal(outcome(table, '2001:db8::1'), 'page rule_blocked by six');
  assert.equal(outcome(table, '192.0.2.7'), 'page rule_blocked by six');
  assert.equal(outcome(table, '192.0.2.8'), 'passed');
});

test('countries are matched by code in any case, and an unknown one matches nothing', () => {
  const options = { country };
  const white = guarded({ eu: { list: 'whitelist', type: 'country', match: ['de'] } }, undefined, options);
  assert.equal(outcome(white, '198.51.100.1'), 'passed');
  assert.equal(outcome(white, '2001:db8::1'), 'passed');
  assert.equal(outcome(white, '198.51.100.2'), 'page rule_blocked by eu');
  assert.equal(outcome(white, '198.51.100.3'), 'page rule_blocked by eu');
  const black = guarded({ no: { list: 'blacklist', type: 'country', match: ['FR'] } }, undefined, options);
  assert.equal(outcome(black, '198.51.100.2'), 'page rule_blocked by no');
  assert.equal(outcome(black, '198.51.100.3'), 'passed');
});

test('private and loopback addresses pass country whitelists, and only those', () => {
  const rules = {
    eu: { list: 'whitelist', type: 'country', match: ['DE'] },
    friend: { list: 'allow', type: 'country', match: ['DE'] },
    all: { list: 'blacklist', type: 'all' },
  };
  for (const address of ['127.0.0.1', '10.0.0.1', '::1', 'fd00::1']) {
    assert.equal(outcome(guarded(rules, { domain: ['eu'] }, { country }), address), 'passed');
    assert.equal(
      outcome(guarded(rules, { domain: ['friend', 'all'] }, { country }), address),
      'page rule_blocked by all',
    );
  }
});

test('a disabled rule does nothing', () => {
  const table = guarded({
    white: { ...OFFICE, enabled: false },
    black: { list: 'blacklist', type: 'all', enabled: false },
  });
  assert.equal(outcome(table, '192.0.2.8'), 'passed');
});

test('an expired blacklist, allow or securepage is inert; an expired whitelist refuses all', () => {
  const expires = new Date(NOW).toISOString();
  const early = { now: NOW - 1, headers: { accept: 'text/html' } };
  const late = { now: NOW, headers: { accept: 'text/html' } };
  const black = guarded({ r: { list: 'blacklist', type: 'all', expires } });
  assert.equal(outcome(black, '10.0.0.1', early), 'page rule_blocked by r');
  assert.equal(outcome(black, '10.0.0.1', late), 'passed');
  const white = guarded({ r: { ...OFFICE, expires } });
  assert.equal(outcome(white, '10.0.0.1', early), 'passed');
  assert.equal(outcome(white, '10.0.0.1', late), 'page rule_blocked by r');
  const allow = guarded({
    r: { list: 'allow', type: 'all', expires },
    all: { list: 'blacklist', type: 'all' },
  });
  assert.equal(outcome(allow, '10.0.0.1', early), 'passed');
  assert.equal(outcome(allow, '10.0.0.1', late), 'page rule_blocked by all');
  const secure = guarded({ r: { list: 'securepage', type: 'all', expires } });
  assert.equal(outcome(secure, '10.0.0.1', early), 'page securepage by r');
  assert.equal(outcome(secure, '10.0.0.1', late), 'passed');
});

test('a dry run never ends or allows anything, it is only told', () => {
  const told: string[] = [];
  const table = guarded(
    {
      white: { ...OFFICE, dryRun: true },
      black: { list: 'blacklist', type: 'all', dryRun: true },
      friend: { list: 'allow', type: 'all', dryRun: true },
      quiet: { list: 'blacklist', type: 'ip', match: ['10.0.0.1'], dryRun: true },
      last: { list: 'blacklist', type: 'ip', match: ['192.0.2.9'] },
    },
    undefined,
    { onDryRun: (rule, what) => told.push(`${rule} ${what}`) },
  );
  assert.equal(outcome(table, '192.0.2.8'), 'passed');
  assert.deepEqual(told, ['white refused', 'black refused', 'friend allowed']);
  assert.equal(outcome(table, '192.0.2.9'), 'page rule_blocked by last');
});

test('a rule that is missing or could not be loaded never means open', () => {
  const missing = guarded({}, { domain: ['nowhere'] });
  assert.equal(outcome(missing, '10.0.0.1'), 'page rule_unloadable by nowhere');
  missing.apply([ruleEntry('nowhere', { list: 'blacklist', type: 'ip', match: ['192.0.2.9'] })]);
  assert.equal(outcome(missing, '10.0.0.1'), 'passed');
  missing.apply([{ kind: 'rule', name: 'nowhere', doc: null, broken: { reason: 'x', claims: [] } }]);
  assert.equal(outcome(missing, '10.0.0.1'), 'page rule_unloadable by nowhere');
  missing.apply([{ kind: 'rule', name: 'nowhere', doc: null }]);
  assert.equal(outcome(missing, '10.0.0.1'), 'page rule_unloadable by nowhere');
});

test('a country rule without country data could not be loaded', () => {
  const rule = ruleEntry('eu', { list: 'blacklist', type: 'country', match: ['DE'] });
  for (const options of [
    {},
    {
      country: () => {
        throw new Error('no data');
      },
    },
  ]) {
    const table = guarded({}, { domain: ['eu'] }, options);
    assert.equal(table.apply([rule]).rejected[0]?.name, 'eu');
    assert.equal(outcome(table, '198.51.100.1'), 'page rule_unloadable by eu');
  }
});

test('a rate rule loads and lets everything pass for now', () => {
  const table = guarded({ slow: { list: 'limit', type: 'rate', rate: { requests: 1, per: 'minute' } } });
  for (let n = 0; n < 5; n++) assert.equal(outcome(table, '192.0.2.8'), 'passed');
});

test('rules hold for WebSockets', () => {
  const table = guarded({ office: OFFICE });
  assert.equal(outcome(table, '192.0.2.8', { websocket: true }), 'page rule_blocked by office');
});

const SECURE = { ask: { list: 'securepage', type: 'ip', match: ['192.0.2.0/24'] } };
const HTML = { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' };

test('a visitor sees the interstitial once, then the cookie it came with passes for an hour', () => {
  const table = guarded(SECURE);
  const first = decide(table, request('/', { address: '192.0.2.7', headers: HTML }));
  assert.equal(summary(first), 'page securepage');
  const [, cookie] = first.response?.add.find(([name]) => name === 'set-cookie') ?? [];
  assert.match(cookie ?? '', /^kontrol_secure=[^;]+; Path=\/; Max-Age=3600; HttpOnly; SameSite=Lax$/);
  const headers = { ...HTML, cookie: `a=1; ${cookie?.split(';')[0]}` };
  const later = (now: number, given: RequestGiven = {}) =>
    outcome(table, '192.0.2.7', { headers, now, ...given });
  assert.equal(later(NOW), 'passed');
  assert.equal(later(NOW + 3_599_999), 'passed');
  assert.equal(later(NOW + 3_600_000), 'page securepage by ask');
});

test('the cookie holds for its host only', () => {
  const table = guarded(SECURE);
  table.apply([domainEntry('*', { service: 'web', firewall: ['ask'] })]);
  const first = decide(table, request('/', { address: '192.0.2.7', headers: HTML }));
  const cookie = first.response?.add[0]?.[1].split(';')[0];
  const headers = { ...HTML, cookie: cookie ?? '' };
  assert.equal(outcome(table, '192.0.2.7', { headers }), 'passed');
  assert.equal(outcome(table, '192.0.2.7', { headers, host: 'other.example.com' }), 'page securepage by ask');
  // A host below the same parent domain may set one of this name, which comes first.
  const hidden = { ...HTML, cookie: `${SECURE_COOKIE}=x; ${cookie}` };
  assert.equal(outcome(table, '192.0.2.7', { headers: hidden }), 'passed');
});

test('over https the cookie is Secure', () => {
  const decision = decide(
    guarded(SECURE),
    request('/', { address: '192.0.2.7', headers: HTML, secure: true }),
  );
  assert.match(decision.response?.add[0]?.[1] ?? '', /; Secure$/);
});

test('whatever cannot show the interstitial passes', () => {
  const table = guarded(SECURE);
  const given: RequestGiven[] = [
    { headers: {} },
    { headers: { accept: '*/*' } },
    { headers: { accept: 'application/json' } },
    { headers: { accept: 'application/json, text/html;q=0' } },
    { headers: { accept: 'text/html;q=0.0, */*' } },
    { headers: HTML, method: 'POST' },
    { headers: HTML, method: 'HEAD' },
    { headers: HTML, websocket: true },
    { headers: HTML, address: '198.51.100.1' },
  ];
  for (const each of given) assert.equal(outcome(table, '192.0.2.7', each), 'passed', JSON.stringify(each));
  assert.equal(
    outcome(table, '192.0.2.7', { headers: { accept: 'text/html;q=0.5' } }),
    'page securepage by ask',
  );
});

test('without a key no cookie can be believed, so the rule counts as not loadable', () => {
  const table = guarded(SECURE);
  table.apply([{ kind: 'secret', name: 'cookie-key', doc: null }]);
  const headers = { ...HTML, cookie: `${SECURE_COOKIE}=x` };
  assert.equal(outcome(table, '192.0.2.7', { headers }), 'page rule_unloadable by ask');
  assert.equal(outcome(table, '192.0.2.7'), 'passed');
});

test('a list of ten thousand ranges is searched, not walked', () => {
  const match = Array.from({ length: 10_000 }, (_, n) => `10.${n >> 8}.${n & 255}.0/25`);
  const table = guarded({ many: { list: 'blacklist', type: 'ip', match } });
  assert.equal(outcome(table, '10.39.15.127'), 'page rule_blocked by many');
  assert.equal(outcome(table, '10.39.15.128'), 'passed');
});
