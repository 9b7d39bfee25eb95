import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CertificateStore } from './certificate-store.ts';
import { checkPair, covers } from './key-pair.ts';
import { certificateFor, cutOff } from './testing.ts';

describe('a pair', () => {
  test('knows the DNS names of its certificate, in lower case', async () => {
    const pair = checkPair(await certificateFor(['Shop.Example.COM', '*.example.com', '127.0.0.1']));
    assert.deepEqual(pair.names, ['shop.example.com', '*.example.com']);
    assert.ok(pair.expires > Date.now());
  });

  test('is refused with words that say what to do', async () => {
    const good = await certificateFor(['a.test']);
    const other = await certificateFor(['a.test']);
    const bad: [RegExp, { certificate: string; key: string }][] = [
      [/does not belong to the certificate/, { certificate: good.certificate, key: other.key }],
      [/certificate is not in PEM form/, { certificate: good.key, key: good.key }],
      [/private key is not in PEM form/, { certificate: good.certificate, key: good.certificate }],
      [
        /certificate cannot be read/,
        { certificate: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n', key: good.key },
      ],
      [
        /private key cannot be read/,
        {
          certificate: good.certificate,
          key: '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n',
        },
      ],
      [/passphrase/, { certificate: good.certificate, key: '-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA' }],
    ];
    for (const [message, pair] of bad) assert.throws(() => checkPair(pair), message);
  });

  test('of a wildcard covers one label', () => {
    assert.equal(covers('*.example.com', 'www.example.com'), true);
    assert.equal(covers('*.example.com', 'a.www.example.com'), false);
    assert.equal(covers('*.example.com', 'example.com'), false);
    assert.equal(covers('*.example.com', 'wwwexample.com'), false);
    assert.equal(covers('example.com', 'example.com'), true);
  });
});

describe('certificate store', () => {
  test('prefers the exact name, then the wildcard, and has nothing for others', async () => {
    const store = new CertificateStore();
    store.set('wild', await certificateFor(['*.a.test']));
    store.set('exact', await certificateFor(['www.a.test']));
    const wild = store.contextFor('other.a.test');
    const exact = store.contextFor('WWW.a.test.');
    assert.ok(wild !== null && exact !== null);
    assert.notEqual(exact, wild);
    assert.equal(store.contextFor('www.a.test'), exact, 'a context is made once');
    assert.equal(store.contextFor('a.test'), null);
    assert.equal(store.contextFor('x.y.a.test'), null);
    assert.equal(store.contextFor('constructor'), null);
    store.remove('exact');
    assert.equal(store.contextFor('www.a.test'), wild);
  });

  test('keeps the old pair when a bad one is set, and the new one replaces all names of the old', async () => {
    const store = new CertificateStore();
    const old = await certificateFor(['old.test']);
    store.set('shop', old);
    const context = store.contextFor('old.test');
    const stranger = await certificateFor(['new.test']);
    assert.throws(() => store.set('shop', { certificate: stranger.certificate, key: old.key }));
    assert.equal(store.contextFor('old.test'), context);
    assert.equal(store.contextFor('new.test'), null);
    store.set('shop', stranger);
    assert.equal(store.contextFor('old.test'), null);
    assert.ok(store.contextFor('new.test') !== null);
  });

  test('a pair that only OpenSSL refuses takes nobody’s place', async () => {
    const store = new CertificateStore();
    const good = await certificateFor(['www.a.test']);
    store.set('shop', good);
    store.set('wild', await certificateFor(['*.b.test']));
    store.setDefault(good);
    const wild = store.contextFor('www.b.test');
    const bad = cutOff(await certificateFor(['www.a.test', 'www.b.test']));
    for (const set of [
      () => store.set('shop', bad),
      () => store.set('new', bad),
      () => store.setDefault(bad),
    ])
      assert.throws(set, /TLS cannot use the pair .*whole/);
    assert.ok(store.contextFor('www.a.test') !== null);
    assert.equal(store.contextFor('www.b.test'), wild);
    assert.equal(store.default?.certificate, good.certificate);
    assert.deepEqual(store.names(), ['shop', 'wild']);
    // Not every pair of a load of thousands is tried out.
    const isRefused = () => {
      try {
        store.set('shop', bad);
        return false;
      } catch {
        return true;
      }
    };
    let refused = 0;
    while (refused < 1_000 && isRefused()) refused++;
    assert.ok(refused > 100 && refused < 1_000, `${refused}`);
  });

  test('serves of two for one name the one that is good for longer, whatever the order of setting', async () => {
    const soon = await certificateFor(['a.test', 'soon.test'], { expires: new Date(Date.now() + 3_600_000) });
    const late = await certificateFor(['a.test', 'late.test']);
    for (const order of [
      [soon, late],
      [late, soon],
    ]) {
      const store = new CertificateStore();
      order.forEach((pair, index) => {
        store.set(`c${index}`, pair);
      });
      assert.equal(store.contextFor('a.test'), store.contextFor('late.test'));
      assert.notEqual(store.contextFor('a.test'), store.contextFor('soon.test'));
    }
  });

  test('says which hosts a connection was shown a certificate for', async () => {
    const store = new CertificateStore();
    store.set('a', await certificateFor(['a.test', '*.a.test']));
    assert.equal(store.covers('a.test', 'www.a.test'), true);
    assert.equal(store.covers('a.test', 'b.test'), false);
    assert.equal(store.covers(null, 'a.test'), false);
    store.setDefault(await certificateFor(['b.test']));
    assert.equal(store.covers(null, 'b.test'), true);
    assert.equal(store.covers('unknown.test', 'b.test'), true);
  });

  test('reports a default only when it is another, and refuses a bad one', async () => {
    let changes = 0;
    const store = new CertificateStore(() => changes++);
    const pair = await certificateFor(['a.test']);
    store.setDefault(null);
    assert.equal(changes, 0);
    store.setDefault(pair);
    store.setDefault({ ...pair });
    assert.equal(changes, 1);
    assert.throws(() => store.setDefault({ ...pair, key: 'no key' }));
    assert.equal(store.default?.certificate, pair.certificate);
    store.setDefault(null);
    assert.equal(changes, 2);
    assert.equal(store.empty, true);
  });
});
