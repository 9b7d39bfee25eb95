import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { RequestView } from '../../shared/routing/decision.ts';
import { ResponseHead } from '../http1/response-head.ts';
import { KeptBody } from './body.ts';
import { Gate } from './gate.ts';
import { KeptHead } from './kept-head.ts';
import type { Terms } from './rules.ts';
import { Store, StoredAnswer, selectingOf } from './store.ts';

const TERMS: Terms = {
  initialAgeMs: 0,
  lifetimeMs: 1_000,
  explicit: true,
  authorized: false,
  alwaysRevalidate: false,
  strict: false,
  whileRevalidateMs: 0,
  ifErrorMs: 0,
};

function view(fields: Readonly<Record<string, string>> = {}): RequestView {
  return { header: (name: string) => fields[name] } as unknown as RequestView;
}

function keptHead(fields = ''): KeptHead {
  const bytes = Buffer.from(`HTTP/1.1 200 OK\r\n${fields}\r\n`);
  const head = new ResponseHead();
  assert.equal(head.parse(bytes, 0, bytes.length), 1);
  return KeptHead.of(head, 0);
}

function stored(
  uri: string,
  size = 10,
  vary = '',
  fields: Readonly<Record<string, string>> = {},
): StoredAnswer {
  const body = new KeptBody();
  body.append(Buffer.alloc(size), 0, size);
  body.finish();
  const head = keptHead(vary === '' ? '' : `Vary: ${vary}\r\n`);
  const selecting = selectingOf(head, view(fields));
  return new StoredAnswer({
    head,
    terms: TERMS,
    receivedAt: 0,
    body,
    uri,
    key: 'k',
    build: 1,
    paths: [],
    selecting,
  });
}

test('an answer is found by its URI, its key, and the fields that Vary names', () => {
  const store = new Store(1e6);
  const french = stored('/a', 10, 'Accept-Language, Accept', { 'accept-language': 'fr' });
  const english = stored('/a', 10, 'Accept-Language, Accept', { 'accept-language': 'en' });
  assert.equal(store.put(french) && store.put(english), true);
  assert.equal(store.find('/a', 'k', view({ 'accept-language': 'fr' })), french);
  assert.equal(store.find('/a', 'k', view({ 'accept-language': 'en' })), english);
  assert.equal(store.find('/a', 'k', view({ 'accept-language': 'en', accept: '*/*' })), null);
  assert.equal(store.find('/a', 'other', view({ 'accept-language': 'fr' })), null);
  assert.equal(store.find('/b', 'k', view({ 'accept-language': 'fr' })), null);
});

test('a newer answer to the same requests takes the place of the older one', () => {
  const store = new Store(1e6);
  const older = stored('/a');
  const newer = stored('/a');
  store.put(older);
  store.put(newer);
  assert.equal(store.find('/a', 'k', view()), newer);
  assert.equal(store.entries, 1);
  assert.equal(older.stored, false);
});

test('one URI has a bounded number of variants', () => {
  const store = new Store(1e9);
  for (let i = 0; i < 100; i++) store.put(stored('/a', 10, 'X', { x: String(i) }));
  assert.equal(store.entries, 64);
  assert.notEqual(store.find('/a', 'k', view({ x: '99' })), null);
  assert.equal(store.find('/a', 'k', view({ x: '0' })), null);
});

test('whatever is done, the bytes are the sum of what is there and within the bound; what was used last stays', () => {
  const step = fc.record({
    what: fc.constantFrom('put', 'put', 'put', 'find', 'remove', 'invalidate', 'resize'),
    uri: fc.integer({ min: 0, max: 9 }).map((n) => `/${n}`),
    size: fc.integer({ min: 0, max: 5_000 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      let limit = 20_000;
      const store = new Store(limit);
      /** In order of use. */
      let model: StoredAnswer[] = [];
      const fit = () => {
        while (model.reduce((sum, { size }) => sum + size, 0) > limit) model.shift();
      };
      for (const { what, uri, size } of steps) {
        const at = model.find((answer) => answer.uri === uri);
        if (what === 'put') {
          const answer = stored(uri, size);
          if (store.put(answer)) model = [...model.filter((one) => one !== at), answer];
        } else if (what === 'find') {
          assert.equal(store.find(uri, 'k', view()), at ?? null);
          if (at !== undefined) model = [...model.filter((one) => one !== at), at];
        } else if (what === 'resize') {
          limit = 10_000 + size;
          store.resize(limit);
        } else {
          if (what === 'invalidate') store.invalidate(uri);
          else if (at !== undefined) store.remove(at);
          model = model.filter((one) => one !== at);
        }
        fit();
        assert.equal(store.entries, model.length);
        assert.equal(
          store.bytes,
          model.reduce((sum, answer) => sum + answer.size, 0),
        );
        assert.ok(store.bytes <= limit);
        for (const answer of model) assert.equal(answer.stored, true);
      }
    }),
  );
});

test('an answer larger than the whole cache is not stored, and costs nobody a place', () => {
  const store = new Store(10_000);
  store.put(stored('/a'));
  assert.equal(store.put(stored('/b', 20_000)), false);
  assert.equal(store.entries, 1);
});

test('what slow visitors keep of evicted answers is counted, and nothing more is stored while it is too much', () => {
  const store = new Store(20_000);
  const slow = [stored('/a', 5_000), stored('/b', 5_000)];
  for (const answer of slow) {
    store.put(answer);
    answer.pin();
  }
  store.purge(() => true);
  assert.equal(store.put(stored('/c')), false);
  slow[0]?.unpin();
  assert.equal(store.put(stored('/c')), true);
  slow[1]?.unpin();
  assert.equal(store.entries, 1);
});

test('a body takes what it holds, and can be followed without being kept', () => {
  const body = new KeptBody();
  for (let i = 0; i < 100; i++) {
    body.append(Buffer.alloc(1_000, i), 0, 1_000);
    assert.equal(body.from(i * 1_000, (i + 1) * 1_000)[999], i);
    body.discardTo((i + 1) * 1_000);
  }
  assert.ok(body.held < 10_000);
  const whole = new KeptBody();
  whole.append(Buffer.from('hello'), 0, 5);
  whole.finish();
  assert.equal(whole.held, 5);
  assert.equal(whole.from(1, 3).toString(), 'el');
});

test('a gate lets a crowd through in order, a bounded number at a time, also when all fail at once', () => {
  const gate = new Gate();
  const gone: number[] = [];
  for (let i = 0; i < 100; i++) gate.enter(() => gone.push(i));
  assert.equal(gone.length, 32);
  gate.passed();
  assert.equal(gone.length, 33);
  const failing = new Gate();
  let count = 0;
  for (let i = 0; i < 100_000; i++) {
    failing.enter(() => {
      count++;
      failing.passed();
    });
  }
  assert.equal(count, 100_000);
});

test('a head that is given again has one Age, one Cache-Status of ours, and the fields as they were', () => {
  const head = keptHead('Age: 7\r\nX-A: 1\r\nx-a: 2\r\nCache-Status: origin; hit\r\nContent-Length: 99\r\n');
  const made = head.answer(5, 12, 'kontrol; hit');
  const text = made.fields.buffer.toString('latin1');
  assert.match(
    text,
    /^HTTP\/1\.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\nCache-Status: origin; hit\r\nDate: [^\r]+\r\n/,
  );
  assert.match(text, /\r\nAge: 12\r\nCache-Status: kontrol; hit\r\nContent-Length: 5\r\n\r\n$/);
  assert.equal(head.answer(5, 12, 'kontrol; hit'), made);
  assert.notEqual(head.answer(5, 13, 'kontrol; hit'), made);
});

test('a 304 replaces the fields that it has, and leaves the description of the body', () => {
  const head = keptHead('Age: 7\r\nETag: "a"\r\nX-A: 1\r\nX-A: 2\r\nContent-Type: text/html\r\n');
  const updated = head.updated(keptHead('ETag: "a"\r\nX-A: 3\r\nX-New: 1\r\nContent-Type: text/plain\r\n'));
  assert.equal(updated.field('x-a'), '3');
  assert.equal(updated.field('content-type'), 'text/html');
  assert.equal(updated.field('age'), undefined);
});
