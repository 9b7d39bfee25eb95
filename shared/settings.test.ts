import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, test } from 'node:test';
import { KontrolError } from './errors.ts';
import { helpText, readSettings } from './settings.ts';
import { accessLogTarget, formatAddress, readAddress, redactUrls } from './settings-values.ts';

const folder = mkdtempSync(join(tmpdir(), 'kontrol-settings-'));
after(() => rmSync(folder, { recursive: true }));

const read = (argv: readonly string[], env: Record<string, string> = {}) =>
  readSettings(argv, env, 'up').settings;

function file(text: string): string {
  const path = join(folder, 'kontrol.yaml');
  writeFileSync(path, text);
  return path;
}

/** The one line that a start with these settings ends with. */
function refusal(
  argv: readonly string[],
  env: Record<string, string> = {},
  which: 'up' | 'api' | 'proxy' = 'up',
): string {
  try {
    readSettings(argv, env, which);
  } catch (error) {
    assert.ok(error instanceof KontrolError, String(error));
    assert.equal(error.code, 'setting_invalid');
    assert.doesNotMatch(error.message, /\n/);
    return error.message;
  }
  return assert.fail('the settings were accepted');
}

test('without flags, environment and file the defaults of the reference hold', () => {
  const settings = read([]);
  assert.deepEqual(settings.http, [{ host: '', port: 8080 }]);
  assert.deepEqual(settings.https, [{ host: '', port: 8443 }]);
  assert.deepEqual(settings.api, { host: '127.0.0.1', port: 7000 });
  assert.deepEqual(settings.internal, { host: '127.0.0.1', port: 42007 });
  assert.equal(settings.data, resolve('data'));
  assert.equal(settings.certs, resolve('certs'));
  assert.equal(settings.ttlMs, 20_000);
  assert.equal(settings.drainMs, 30_000);
  assert.equal(settings.drainWaitMs, 0);
  assert.equal(settings.memoryLimitMb, 0);
  assert.equal(settings.logLevel, 'info');
  assert.equal(settings.accessLog, 'json');
  assert.ok(settings.processes >= 1);
  assert.ok(settings.node.length > 0);
  for (const key of [
    'mongoUrl',
    'redisUrl',
    'apiToken',
    'secret',
    'pages',
    'apiCert',
    'publicHttpsPort',
  ] as const) {
    assert.equal(settings[key], null, key);
  }
  assert.deepEqual([settings.trustedProxies, settings.proxyProtocol], [[], []]);
});

test('a flag goes before the environment, that before the file, and that before the default', () => {
  const config = file('ttl: 3s\ndrain: 3s\nnode: from-file\n');
  const settings = read(['--config', config, '--ttl', '1s'], { KONTROL_TTL: '2s', KONTROL_DRAIN: '2s' });
  assert.equal(settings.ttlMs, 1_000);
  assert.equal(settings.drainMs, 2_000);
  assert.equal(settings.node, 'from-file');
  assert.equal(settings.drainWaitMs, 0);
  assert.equal(read([], { KONTROL_CONFIG: config }).ttlMs, 3_000);
});

test('the file takes lists, numbers and empty values, and its keys may belong to another command', () => {
  const config = file(
    'http: [":80", ":81"]\nprocesses: 3\nmongo-url:\ninternal: ""\napi-token: abcdefghijklmnop\n',
  );
  const settings = readSettings(['--config', config], {}, 'proxy').settings;
  assert.deepEqual(settings.http.map(formatAddress), [':80', ':81']);
  assert.equal(settings.processes, 3);
  assert.equal(settings.mongoUrl, null);
  assert.equal(settings.internal, null);
});

test('an empty address turns a listener off, also from the environment', () => {
  assert.deepEqual(read(['--http', '']).http, []);
  assert.deepEqual(read([], { KONTROL_HTTPS: '' }).https, []);
  assert.equal(read(['--internal=']).internal, null);
});

test('an empty variable counts as not set where a value is needed, an empty flag is refused', () => {
  assert.equal(read([], { KONTROL_NODE: '', KONTROL_TTL: '' }).ttlMs, 20_000);
  assert.match(refusal(['--node', '']), /^--node: needs a value/);
});

test('addresses are read in every usual spelling', () => {
  const cases: readonly (readonly [string, string])[] = [
    [':8080', ':8080'],
    ['8080', ':8080'],
    ['*:80', ':80'],
    ['0.0.0.0:80', '0.0.0.0:80'],
    ['127.0.0.1:0', '127.0.0.1:0'],
    ['localhost:80', '127.0.0.1:80'],
    ['[::1]:443', '[::1]:443'],
    ['[::]:443', '[::]:443'],
  ];
  for (const [text, expected] of cases) assert.equal(formatAddress(readAddress(text)), expected, text);
});

test('what is no address is refused, and the flag at fault is named with what was given', () => {
  for (const text of ['x', ':', ':65536', '1.2.3:80', 'example.com:80', '::1:80', '[1.2.3.4]:80', ':80:']) {
    const message = refusal(['--http', text]);
    assert.match(message, /^--http: /, text);
    assert.ok(message.includes(`"${text}"`), message);
  }
});

test('the message names the variable or the file key when the value came from there', () => {
  assert.match(refusal([], { KONTROL_PROCESSES: '0' }), /^KONTROL_PROCESSES: .* from 1 to 1024, got "0"$/);
  assert.match(
    refusal(['--config', file('ttl: fast\n')]),
    /kontrol\.yaml: ttl: expected a duration .*"fast"$/,
  );
});

test('an unknown flag stops the start and the nearest one is proposed', () => {
  assert.equal(refusal(['--htpp', 'x']), 'unknown flag --htpp; did you mean --http?');
  assert.equal(refusal(['--wrong=mongodb://u:secret@h']), 'unknown flag --wrong; see --help');
  assert.match(refusal(['serve']), /^unexpected argument "serve"/);
});

test('a flag without its value is refused, also when another flag follows', () => {
  assert.match(refusal(['--http']), /^--http needs a value/);
  assert.match(refusal(['--http', '--https', ':1']), /^--http needs a value/);
});

test('an unknown key, a wrong type or broken YAML in the file stops the start', () => {
  assert.match(
    refusal(['--config', file('htp: x\n')]),
    /kontrol\.yaml: unknown key htp; did you mean http\?$/,
  );
  assert.match(refusal(['--config', file('http: {a: 1}\n')]), /kontrol\.yaml: http: expected text/);
  assert.match(refusal(['--config', file('a: 1\nhttp: [\n')]), /kontrol\.yaml: not valid YAML at line \d/);
  assert.match(refusal(['--config', file('- http\n')]), /kontrol\.yaml: expected a map/);
  assert.match(
    refusal(['--config', file('http: :1\nhttp: :2\n')]),
    /not valid YAML at line 2 \(DUPLICATE_KEY\)/,
  );
  assert.match(refusal(['--config', join(folder, 'none')]), /^--config: cannot read .*ENOENT/);
  assert.match(refusal([], { KONTROL_CONFIG: join(folder, 'none') }), /^KONTROL_CONFIG: cannot read/);
});

test('an unknown variable is a warning; those of the CLI are known', () => {
  const env = { KONTROL_FOO: '1', KONTROL_MONGO_URL: 'x', KONTROL_URL: 'x', KONTROL_TOKEN: 'x', OTHER: '1' };
  assert.deepEqual(readSettings([], env, 'up').warnings, [
    'unknown variable KONTROL_FOO is ignored',
    'unknown variable KONTROL_MONGO_URL is ignored; did you mean MONGO_URL?',
  ]);
});

test('a child of `up` repeats no warning', () => {
  assert.deepEqual(readSettings([], { KONTROL_SUPERVISED: '1', KONTROL_FOO: '1' }, 'api').warnings, []);
});

test('a flag that does nothing in this command is a warning', () => {
  const { warnings } = readSettings(['--http', ':80'], {}, 'api');
  assert.deepEqual(warnings, ['--http does nothing in kontrol api']);
});

test('credentials are no flags, and no message ever shows one', () => {
  const secret = 'pa55word';
  const messages = [
    refusal(['--secret', secret]),
    refusal([`--api-token=${secret}`]),
    refusal(['--mongo-url', `http://user:${secret}@host`]),
    refusal([], { MONGO_URL: `${secret}://x` }),
    refusal([], { REDIS_URL: `http://:${secret}@x` }),
    refusal([], { KONTROL_SECRET: `${secret} with spaces` }),
    refusal([], { KONTROL_API_TOKEN: `a ${secret}` }),
    refusal(['--http', `mongodb://user:${secret}@host`]),
    refusal([`mongodb://user:${secret}@host`]),
    refusal(['--config', file(`mongo-url: "mongodb://u:${secret}@h\n`)]),
    refusal(['--config', file(`secret: {a: ${secret}}\n`)]),
  ];
  for (const message of messages) assert.ok(!message.includes(secret), message);
});

test('MONGO_URL and REDIS_URL are read without the prefix, and as flags', () => {
  const settings = read(['--redis-url', 'redis://:p@h:6379/1'], { MONGO_URL: 'mongodb://u:p@h/db' });
  assert.equal(settings.mongoUrl, 'mongodb://u:p@h/db');
  assert.equal(settings.redisUrl, 'redis://:p@h:6379/1');
  assert.equal(read(['--redis-url', 'unix:///run/redis.sock']).redisUrl, '/run/redis.sock');
  assert.equal(read(['--mongo-url', ''], { MONGO_URL: 'mongodb://h' }).mongoUrl, null);
});

test('settings that contradict each other are refused', () => {
  assert.match(refusal(['--api-cert', 'c.pem']), /^--api-cert needs --api-key/);
  assert.match(refusal([], { KONTROL_API_KEY: 'k.pem' }), /^KONTROL_API_KEY needs --api-cert/);
  assert.match(refusal(['--https', ':8080']), /^--https: :8080 is already taken by --http$/);
  assert.match(refusal(['--internal', '127.0.0.1:7000']), /^--api: 127\.0\.0\.1:7000 is already taken/);
  assert.match(refusal(['--http', ':80,:80']), /^--http: an address stands there twice/);
  assert.match(refusal(['--proxy-protocol', ':99']), /^--proxy-protocol: :99 is neither in --http nor/);
  assert.equal(read(['--http', ':0', '--https', ':0']).https.length, 1);
});

test('networks, durations, sizes, levels and names are checked', () => {
  assert.deepEqual(read(['--trusted-proxies', '10.0.0.0/8, ::1,2001:DB8::/32']).trustedProxies, [
    '10.0.0.0/8',
    '::1',
    '2001:db8::/32',
  ]);
  for (const text of ['10.0.0.0/33', '::1/129', 'host', '10.0.0.0/8/8', '10.0.0.0/']) {
    assert.match(refusal(['--trusted-proxies', text]), /^--trusted-proxies: expected addresses/, text);
  }
  assert.match(refusal(['--ttl', '1ms']), /^--ttl: expected a duration from 100 ms/);
  assert.match(refusal(['--drain', '2d']), /^--drain: expected a duration from 0 ms/);
  assert.equal(read(['--memory-limit', '1GB']).memoryLimitMb, 1_024);
  assert.equal(read(['--memory-limit', '512']).memoryLimitMb, 512);
  assert.match(refusal(['--memory-limit', 'much']), /^--memory-limit: expected megabytes/);
  assert.match(refusal(['--log-level', 'loud']), /expected one of debug, info, warn, error, got "loud"/);
  assert.match(refusal(['--node', '../x']), /^--node: expected 1 to 128/);
  assert.match(refusal(['--public-https-port', '0']), /^--public-https-port: /);
});

test('the access log is off, JSON or combined, to stdout or a file; a mistyped word is not a file', () => {
  const target = (text: string) => accessLogTarget(read(['--access-log', text]).accessLog);
  assert.deepEqual(target('off'), { format: 'off' });
  assert.deepEqual(target('json'), { format: 'json', file: null });
  assert.deepEqual(target('combined'), { format: 'combined', file: null });
  assert.deepEqual(target('./a.log'), { format: 'json', file: resolve('a.log') });
  assert.deepEqual(target('combined:/var/log/a.log'), { format: 'combined', file: '/var/log/a.log' });
  assert.match(refusal(['--access-log', 'combned']), /^--access-log: expected off, json, combined/);
  assert.match(refusal(['--access-log', '/var/log/']), /^--access-log: /);
});

test('what is hardly meant is a warning', () => {
  const { warnings } = readSettings(
    ['--proxy-protocol', ':8080', '--memory-limit', '20'],
    { KONTROL_SECRET: 'short', KONTROL_API_TOKEN: 'short' },
    'up',
  );
  assert.equal(warnings.length, 4);
  for (const warning of warnings) assert.doesNotMatch(warning, /"?short"?$/);
});

test('help is asked for before anything is checked, and lists every setting with its default', () => {
  assert.equal(readSettings(['--nonsense', '--help'], { KONTROL_TTL: 'x' }, 'up').help, true);
  assert.equal(readSettings(['-h'], {}, 'up').help, true);
  const text = helpText('up');
  for (const name of [
    '--http ',
    'KONTROL_HTTP',
    'MONGO_URL',
    'REDIS_URL',
    'KONTROL_SECRET',
    '--config',
    ':8443',
    '20s',
  ]) {
    assert.ok(text.includes(name), name);
  }
  assert.doesNotMatch(text, /--secret|--api-token/);
  assert.doesNotMatch(helpText('api'), /--processes/);
});

test('passwords are taken out of the URLs in any text, also odd ones', () => {
  assert.equal(redactUrls('to mongodb://u:p@h/db failed'), 'to mongodb://***@h/db failed');
  assert.equal(redactUrls('redis://:p@ss@h:1 and a@b'), 'redis://***@h:1 and a@b');
  assert.equal(redactUrls('https://h/a@b'), 'https://h/a@b');
});
