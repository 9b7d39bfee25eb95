/** What becomes of the four systems' own files; that they also work then is shown with real processes elsewhere. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { parseObject } from '../shared/model/kinds.ts';
import { packageRoot } from '../shared/package-root.ts';
import * as example from './import/examples-for-test.ts';
import type { Imported } from './import/imported.ts';
import { readObjectLiteral } from './import/object-literal.ts';
import { importFiles, run } from './import.ts';

function imported(t: TestContext, format: string, ...texts: readonly string[]): Imported {
  const folder = mkdtempSync(join(tmpdir(), 'kontrol-import-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const files = texts.map((text, index) => {
    const file = join(folder, `file${index}`);
    writeFileSync(file, text);
    return file;
  });
  const result = importFiles(format, files);
  for (const { kind, ...fields } of result.objects) {
    const parsed = parseObject(kind, fields);
    assert.ok(parsed.ok, `${kind} ${JSON.stringify(fields)}: ${JSON.stringify(parsed)}`);
  }
  return result;
}

const routesOf = (result: Imported, domain?: string) =>
  (named(result, 'domain', domain)?.['routes'] ?? []) as { path: string | string[]; service: string }[];
const named = ({ objects }: Imported, kind: string, name?: string) =>
  objects.find((object) => object.kind === kind && (name === undefined || object.name === name));
const remarks = (result: Imported) => result.remarks.map(({ line, text }) => `${line}: ${text}`);

test('go-reverse-proxy: the example becomes a listener, services with their own Host, and ordered routes', (t) => {
  const result = imported(t, 'go-reverse-proxy', example.GO_REVERSE_PROXY);
  assert.deepEqual(result.flags, ['--http :8021', '--drain 5s', '--log-level debug']);
  assert.deepEqual(result.remarks, []);
  assert.deepEqual(named(result, 'listener'), {
    kind: 'listener',
    name: 'tcp-8020',
    port: 8020,
    service: 'tcp-localhost-8080',
  });
  assert.equal(named(result, 'service', 'localhost-8083')?.['host'], 'localhost:8083');
  assert.deepEqual(named(result, 'domain', 'admin.localhost')?.['routes'], [
    { path: '~^/users', service: 'localhost-8083' },
    { path: '/', service: 'localhost-8084' },
  ]);
});

test('go-reverse-proxy: rules behind one that takes everything are told and left out; prefixes are cut as there', (t) => {
  const result = imported(
    t,
    'go-reverse-proxy',
    `http_routes:
  - { target: "https://a.example", host: "x.example", path_prefix: "/v1.0", strip_path_prefix: true }
  - { target: "http://b.example:81/base", host: "x.example" }
  - { target: "http://c.example", host: "x.example", path_prefix: "/late" }
  - { target: "ftp://d.example", host: "y.example" }
  - { target: "http://d.example" }
retries: 3
log_level: log
`,
  );
  assert.deepEqual(named(result, 'domain', 'x.example')?.['routes'], [
    { path: '~^/v1\\.0', service: 'a.example-443', rewrite: { match: '~^/v1\\.0/?(.*)', to: '/$1' } },
    { path: '/', service: 'b.example-81' },
  ]);
  assert.deepEqual(named(result, 'service', 'a.example-443'), {
    kind: 'service',
    name: 'a.example-443',
    protocol: 'https',
    backends: ['a.example:443'],
    host: 'a.example',
  });
  assert.equal(named(result, 'domain', 'y.example'), undefined);
  assert.deepEqual(
    remarks(result).map((text) => text.slice(0, 28)),
    [
      "3: the path of the target 'h",
      "5: 'ftp://d.example' is not ",
      '6: a route without a host ma',
      '4: never reached: an earlier',
      "7: 'retries' is not known an",
      '1: http_config has no port: ',
    ],
  );
});

test('go-reverse-proxy: what is left out may be empty, ports may have an address, and each field is known or named', (t) => {
  const tcp = 'tcp: { target: "db:3306", port: "localhost:3307", idle: 5 }\n';
  const result = imported(t, 'go-reverse-proxy', `${tcp}http_routes:\nhttp_config:\n`);
  const listener = { kind: 'listener', name: 'tcp-3307', address: '127.0.0.1', port: 3307 };
  assert.deepEqual(named(result, 'listener'), { ...listener, service: 'tcp-db-3306' });
  assert.deepEqual(remarks(result), ["1: 'idle' is not known and not carried over"]);
  const routes = 'http_routes: [{ target: "http://a", host: a }]\n';
  const bad = imported(t, 'go-reverse-proxy', `${routes}http_config: { port: ":99999", tls: true }\n`);
  assert.deepEqual(bad.flags, []);
  assert.match(remarks(bad).join('\n'), /2: 'tls' is not known[\s\S]*2: port ':99999' is not like/);
  const local = imported(t, 'go-reverse-proxy', `${routes}http_config: { port: "127.0.0.1:80" }\n`);
  assert.deepEqual(local.flags, ['--http 127.0.0.1:80']);
});

test('monkey: entries inherit Match too, and of what stands twice it is said which counts', (t) => {
  const result = imported(
    t,
    'monkey',
    `[PROXY_DEFAULTS]
    Match /all
    LoadBalancer Naive
[PROXY_ENTRY]
    ServerList a:1
    ServerList b:2
`,
  );
  assert.deepEqual(routesOf(result), [{ path: ['~(?i)/all'], service: 'proxy-entry-1' }]);
  assert.deepEqual(named(result, 'service')?.['backends'], ['b:2']);
  assert.deepEqual(
    remarks(result).map((text) => text.slice(0, 38)),
    ['6: ServerList stands at line 5 already'],
  );
});

test('monkey: entries in their order, defaults that entries inherit, expressions without regard to case', (t) => {
  const result = imported(t, 'monkey', example.MONKEY);
  assert.deepEqual(result.remarks, []);
  assert.deepEqual(named(result, 'service', 'proxy-entry-1'), {
    kind: 'service',
    name: 'proxy-entry-1',
    backends: ['host4:80', 'host5:8080'],
    balance: 'first-alive',
  });
  assert.equal(named(result, 'service', 'proxy-entry-2')?.['balance'], 'round-robin');
  const [php, files] = routesOf(result, '*');
  assert.deepEqual(php, { path: ['~(?i)/*.php'], service: 'proxy-entry-1' });
  assert.equal(files?.path.length, 5);
});

test('monkey: a server that stands several times has that weight', (t) => {
  const result = imported(t, 'monkey', example.MONKEY_WEIGHTED);
  assert.deepEqual(named(result, 'service'), {
    kind: 'service',
    name: 'proxy-entry-1',
    backends: [
      { address: '127.0.0.1:80', weight: 3 },
      { address: '127.0.0.1:81', weight: 2 },
      { address: '127.0.0.1:82', weight: 1 },
    ],
    balance: 'weighted-round-robin',
  });
});

test('monkey: availability is carried over, and each line that is not is named', (t) => {
  const result = imported(
    t,
    'monkey',
    `[PROXY_DEFAULTS]
    ServerList     127.0.0.1:8080 remote
    LoadBalancer   Sideways
    AttemptsCount  2
    OfflineTimeOut 60
    StatisticsURL  /proxy-status
[PROXY_ENTRY]
    Match /a /b
    Match /(unclosed
    OfflineTimeOut 0
    Colour blue
[PROXY_ENTRY]
    LoadBalancer Naive
[OTHER]
`,
  );
  assert.deepEqual(named(result, 'service')?.['passive'], { attempts: 2 });
  assert.deepEqual(named(result, 'domain')?.['routes'], [{ path: ['~(?i)/a|/b'], service: 'proxy-entry-1' }]);
  assert.deepEqual(
    result.remarks.map(({ line }) => line).sort((a, b) => a - b),
    [2, 3, 6, 9, 10, 11, 12, 14],
  );
});

test('websocket-reverse-proxy: two lists of servers, pools, buffers and health checks', (t) => {
  const result = imported(t, 'websocket-reverse-proxy', example.WEBSOCKET_REVERSE_PROXY);
  assert.deepEqual(result.flags, ['--http :8080']);
  assert.deepEqual(
    remarks(result).map((text) => text.slice(0, 12)),
    ['2: the proxy', '11: workers '],
  );
  const backends = ['es1_hc:8080', 'es2_hc:8080', 'es3_hc:8080'];
  const health = { type: 'json', path: '/healthCheck' };
  assert.deepEqual(named(result, 'service', 'websocket'), {
    kind: 'service',
    name: 'websocket',
    backends,
    health,
    websocket: { balance: 'round-robin' },
  });
  assert.deepEqual(named(result, 'service', 'http'), {
    kind: 'service',
    name: 'http',
    backends,
    balance: 'random',
    health,
    pool: { max: 10, min: 3, idle: '3s' },
    queue: { size: 60 },
  });
});

test('websocket-reverse-proxy: what is not given has its defaults; differing servers are told', (t) => {
  const result = imported(
    t,
    'websocket-reverse-proxy',
    '[frontend]\nport=80\n[http]\nserver1=a:1\nserver2=b:2\nserver2_max_workers=9\nserver3_max_workers=2\n',
  );
  assert.deepEqual(named(result, 'service')?.['pool'], { max: 9, min: 1, idle: '3s' });
  assert.deepEqual(named(result, 'service')?.['queue'], { size: 20 });
  assert.match(remarks(result).join('\n'), /server3 has no address[\s\S]*differ in max_workers/);
});

test('websocket-reverse-proxy: limits of WebSocket servers, which had none, are named', (t) => {
  const result = imported(
    t,
    'websocket-reverse-proxy',
    '[frontend]\nport=80\n[websocket]\nserver1=a:1\nserver1_max_workers=9\n[http]\nserver1=b:1\nserver1_min_workers=9\n',
  );
  assert.match(
    remarks(result).join('\n'),
    /4: max_workers of server1 had no effect for WebSockets[\s\S]*min_workers is above max_workers: 3 of both/,
  );
  assert.deepEqual(named(result, 'service', 'http')?.['pool'], { max: 3, min: 3, idle: '3s' });
});

test('websocket-reverse-proxy: a section that stands twice is one, and comments may follow values', (t) => {
  const text =
    '[frontend]\nport=80 ; plain\n[http]\nserver1=a:1 # old\n[websocket]\nserver1=w:1\n[http]\nserver2=b:2\n';
  const result = imported(t, 'websocket-reverse-proxy', text);
  assert.deepEqual(result.flags, ['--http :80']);
  assert.deepEqual(named(result, 'service', 'http')?.['backends'], ['a:1', 'b:2']);
  assert.equal(named(result, 'service', 'http-2'), undefined);
});

test('proxy-etc: without its section there is no HTTPS, and what is half said is told', (t) => {
  const none = imported(t, 'proxy-etc', 'http: { port: 80 }, tcpTimeout: 5');
  assert.deepEqual(none.flags, ['--http :80', "--https ''"]);
  const half = imported(
    t,
    'proxy-etc',
    "http: {}, https: { port: 443, keyPath: 'k' }, memoryMonitor: {}, maxSockets: 1",
  );
  assert.deepEqual(half.flags, ['--https :443']);
  assert.match(
    remarks(half).join('\n'),
    /http has no port[\s\S]*no keyPath and certPath both[\s\S]*no memoryLimit/,
  );
  const twice = '{ "a.test": { "targets": [ { "host": "h", "port": 1 }, { "host": "h", "port": 1 } ] } }';
  assert.match(remarks(imported(t, 'proxy-etc', twice)).join('\n'), /'a.test' has a target more than once/);
});

test('proxy-etc: the settings of its processes become flags, its limits those of every service', (t) => {
  const result = imported(t, 'proxy-etc', example.PROXY_ETC, example.PROXY_ETC_ROUTES);
  assert.deepEqual(result.flags, [
    '--processes 4',
    '--api localhost:3333',
    '--http localhost:80',
    '--https localhost:443',
    '--memory-limit 100',
    '--drain 30s',
  ]);
  assert.deepEqual(named(result, 'settings'), {
    kind: 'settings',
    timeouts: { firstByte: '90s', idle: '90s' },
  });
  assert.deepEqual(named(result, 'service', 'shop.errzero.com-cart'), {
    kind: 'service',
    name: 'shop.errzero.com-cart',
    backends: ['192.168.1.180:8080', '192.168.1.181:8080'],
    sticky: { cookie: 'SERVERID' },
    pool: { max: 500 },
  });
  assert.equal(named(result, 'domain', 'www.errzero.com')?.['service'], 'www.errzero.com');
  assert.deepEqual(named(result, 'domain', 'shop.errzero.com')?.['routes'], [
    { path: '~(?i)^/cart(/|$)', service: 'shop.errzero.com-cart' },
    { path: '~(?i)^/static(/|$)', service: 'static' },
  ]);
  assert.deepEqual(named(result, 'domain', '*')?.['routes'], [
    { path: '~(?i)^/static(/|$)', service: 'static' },
  ]);
});

test('proxy-etc: a host alone takes every path of it; a name without a dot was a host and a path', (t) => {
  const target = { targets: [{ host: 'h', port: 1 }] };
  const result = imported(
    t,
    'proxy-etc',
    JSON.stringify({
      intra: target,
      'a.example': target,
      'a.example/never': target,
      9090: target,
      empty: { targets: [] },
    }),
  );
  assert.deepEqual(
    result.objects.filter(({ kind }) => kind === 'domain').map(({ name }) => name),
    ['intra', 'a.example', '*'],
  );
  assert.deepEqual(
    routesOf(result, '*').map(({ path }) => path),
    ['~(?i)^/9090(/|$)', '~(?i)^/intra(/|$)'],
  );
  assert.match(
    remarks(result).join('\n'),
    /9090 was a port[\s\S]*'empty' has no target[\s\S]*\/never is left out/,
  );
});

test('what two files make, and only one can have, is told with both places before anything is written', async (t) => {
  const entry = (server: string) =>
    `[PROXY_ENTRY]\n  Match /\n  LoadBalancer Naive\n  ServerList ${server}\n`;
  const result = imported(t, 'monkey', entry('a:1'), `\n${entry('b:1')}`);
  assert.equal(result.collisions().length, 1);
  assert.match(result.collisions()[0] ?? '', /file1:2: domain \* stands also at .*file0:1$/);
  const tcp = (port: number, seconds: string) =>
    `tcp: { target: "a${seconds}:1", port: ":${port}" }\nhttp_routes: [{ target: "http://b${seconds}", host: x }]\nhttp_config: { port: ":${port + 1}", shutdown_timeout: ${seconds}s }\n`;
  const both = imported(t, 'go-reverse-proxy', tcp(8020, '5'), tcp(8020, '6'));
  assert.match(
    both.collisions().join('\n'),
    /file1:1: port 8020 stands also at .*file0:1\n.*file1:2: domain x stands/,
  );
  assert.match(remarks(both).join('\n'), /3: --drain 6s is left out: .*file0:3 says 5s/);
  const apart = imported(t, 'go-reverse-proxy', tcp(8020, '5'), tcp(8030, '5').replace('host: x', 'host: y'));
  assert.deepEqual(apart.collisions(), []);
  assert.deepEqual(apart.flags, ['--http :8021,:8031', '--drain 5s']);

  const folder = mkdtempSync(join(tmpdir(), 'kontrol-import-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const files = ['a', 'b'].map((name) => join(folder, name));
  for (const file of files) writeFileSync(file, entry('a:1'));
  assert.equal(await run(['--from', 'monkey', ...files]), 1);
  assert.equal(await run(['--from', 'monkey', files[0] as string, '--json']), 0);
  await assert.rejects(
    run(['--from', 'monkey', files[0] as string, '--dry-run']),
    /--dry-run is for --apply/,
  );
});

test('a configuration in JavaScript is read and never run; what would have to be run is named by its line', () => {
  const read = (text: string) => [...readObjectLiteral(text)].map(([key, { value }]) => [key, value]);
  assert.deepEqual(read("'use strict';\n/* a */ module.exports = { a: 'it\\'s', \"b\": -1.5, c: null, };"), [
    ['a', "it's"],
    ['b', -1.5],
    ['c', null],
  ]);
  for (const [text, line, message] of [
    ['module.exports = {\n  port: process.env.PORT || 80 }', 2, /'process.env.PORT' is not a value/],
    ['exports.x = {\n\n a: require("fs") }', 3, /'require'/],
    ['{ a: 1', 1, /expected a comma/],
    ['{ a: "x\n" }', 1, /string without its end/],
    ['{ a: 1 }\nrun()', 2, /end of the file/],
    ['{ a 1 }', 1, /colon/],
    [`{ a: ${'['.repeat(100)} }`, 1, /too deep/],
  ] as const) {
    assert.throws(
      () => readObjectLiteral(text),
      (error: { line?: number; message: string }) => error.line === line && message.test(error.message),
      text,
    );
  }
  assert.deepEqual(read('{ "__proto__": 1 }'), [['__proto__', 1]]);
});

test('a file that cannot be read ends with its name and line, and brings nothing', (t) => {
  for (const [format, text, message] of [
    ['go-reverse-proxy', 'http_routes: [', /file0:\d+: /],
    ['go-reverse-proxy', '- a', /file0:1: expected tcp/],
    ['monkey', 'ServerList a:1', /file0:1: this stands before/],
    ['monkey', '[PROXY_DEFAULTS]\nLoadBalancer Naive', /no \[PROXY_ENTRY\]/],
    ['websocket-reverse-proxy', '[http]\nserver1', /file0:2: expected a key/],
    ['proxy-etc', '{ a: b }', /file0:1: 'b' is not a value/],
    ['nginx', '', /there is no format 'nginx'/],
  ] as const) {
    assert.throws(() => imported(t, format, text), message);
  }
});

test('a file of which nothing is carried over is a failure, not an empty success', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'kontrol-import-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'config.yml');
  writeFileSync(file, 'hosts: [a.example.com]\n');
  assert.equal(await run(['--from', 'go-reverse-proxy', file]), 1);
  writeFileSync(file, example.GO_REVERSE_PROXY);
  assert.equal(await run(['--from', 'go-reverse-proxy', file, '--json']), 0);
});

test('the example of the guide gives what the guide shows', (t) => {
  const guide = readFileSync(packageRoot('docs', 'guides', 'import.md'), 'utf8');
  const file = /```yaml\n([\s\S]*?)```/.exec(guide)?.[1] ?? '';
  const result = imported(t, 'go-reverse-proxy', file);
  assert.ok(guide.includes(`# start the proxy with: ${result.flags.join(' ')}`));
  for (const { line, text } of result.remarks) assert.ok(guide.includes(`config.yml:${line}: ${text}`), text);
  assert.equal(result.remarks.length, 1);
});
