import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Kind, parseObject } from './kinds.ts';

/** `path: message` of the problems of a document. */
function told(kind: Kind, doc: object): string[] {
  const parsed = parseObject(kind, doc);
  return parsed.ok ? [] : parsed.problems.map(({ path, message }) => `${path}: ${message}`);
}

test('a wrong value is told in plain words: what it must be, and what it is', () => {
  const service = (more: object) => told('service', { name: 'a', ...more });
  const domain = (more: object) => told('domain', { name: 'a.test', ...more });
  const route = (more: object) => domain({ routes: [{ service: 's', ...more }] })[0];
  assert.deepEqual(domain({ owner: 5 }), ['owner: must be a string, is a number (5)']);
  assert.deepEqual(told('domain', {}), ['name: must be a string, is missing']);
  assert.deepEqual(domain({ aliases: 'b.test' }), ['aliases: must be a list, is a string']);
  assert.deepEqual(domain({ limits: ['1MB'] }), ['limits: must be an object, is a list']);
  assert.deepEqual(domain({ mode: 'maintenence' }), [
    'mode: must be one of "on", "maintenance", "off", is a string ("maintenence")',
  ]);
  assert.equal(
    route({ stripPrefix: 'yes' }),
    'routes.0.stripPrefix: must be true or false, is a string ("yes")',
  );
  assert.equal(route({ priority: 1.5 }), 'routes.0.priority: must be a whole number, is a number (1.5)');
  assert.equal(route({ priority: null }), 'routes.0.priority: must be a number, is null');
  assert.equal(route({ priority: 2e6 }), 'routes.0.priority: must be at most 1000000, is a number (2000000)');
  assert.equal(route({ methods: [] }), 'routes.0.methods: must have at least 1 entry, has 0');
  // A union whose forms all fail as a whole is one sentence.
  assert.equal(
    route({ key: 'newest' }),
    'routes.0.key: must be "latest" or a number, is a string ("newest")',
  );
  assert.equal(
    told('domain', { name: 'a.test', routes: [{ redirect: { to: '/', status: 200 } }] })[0],
    'routes.0.redirect.status: must be 301, 302, 303, 307 or 308, is a number (200)',
  );
  assert.ok(service({ balance: 7 })[0]?.startsWith('balance: must be one of "'));
  assert.match(service({ timeouts: { connect: true } })[0] ?? '', /: must be a number or a string, is true$/);
});

test('texts are repeated only where no secret is expected, and only short ones', () => {
  const domain = (more: object) => told('domain', { name: 'a.test', ...more })[0] ?? '';
  assert.ok(!domain({ limits: 'my-password' }).includes('my-password'));
  assert.ok(domain({ mode: 'x'.repeat(25) }).endsWith('is a string'));
  // A secret of digits that nobody has put into quotes.
  assert.equal(domain({ owner: 48_151_623 }), 'owner: must be a string, is a number');
});

test('no message of a schema speaks the language of its library', () => {
  const values: unknown[] = [
    undefined,
    null,
    true,
    -1,
    1.5,
    Number.NaN,
    '',
    'x'.repeat(300_000),
    [],
    [{}],
    {},
  ];
  const fields: Record<string, readonly string[]> = {
    domain: [
      'name',
      'aliases',
      'mode',
      'routes',
      'https',
      'hsts',
      'limits',
      'labels',
      'owner',
      'maintenance',
    ],
    service: [
      'name',
      'balance',
      'protocol',
      'keys',
      'latest',
      'timeouts',
      'retries',
      'health',
      'sticky',
      'cache',
    ],
    rule: ['name', 'list', 'type', 'match', 'enabled', 'expires', 'rate'],
    listener: ['name', 'port', 'address', 'service', 'tls', 'hosts', 'proxyProtocol', 'idle'],
    page: ['name', 'templates'],
    settings: ['firewall', 'pages', 'timeouts', 'via', 'limits', 'maintenance', 'history', 'alerts'],
  };
  for (const [kind, names] of Object.entries(fields)) {
    for (const name of names) {
      for (const value of values) {
        for (const line of told(kind as Kind, { name: 'a', [name]: value }))
          assert.doesNotMatch(
            line,
            /Invalid|expected \w+, received|Too (big|small)|>=|<=|\bNaN\b|undefined/,
            line,
          );
      }
    }
  }
});
