import assert from 'node:assert/strict';
import { test } from 'node:test';
import { COMPLETE } from './field-lines.ts';
import { RequestHead } from './request-head.ts';
import { HttpRequestView } from './request-view.ts';

const IDENTITY = { address: '192.0.2.1', secure: false, port: 80 };

function viewOf(...fields: readonly string[]): HttpRequestView {
  const head = new RequestHead();
  const bytes = Buffer.from(['GET / HTTP/1.1', 'Host: example.com', ...fields, '', ''].join('\r\n'));
  assert.equal(head.parse(bytes, 0, bytes.length, { headSize: 16_384, fields: 100 }), COMPLETE);
  const view = new HttpRequestView(head);
  view.begin(IDENTITY, 0);
  return view;
}

test('a field is found by its name in any case, and its lines are joined', () => {
  const long = 'x-'.padEnd(36, 'y');
  const view = viewOf('X-A: 1', 'x-a: 2', 'Cookie: a=1', 'cookie: b=2', `${long}: 3`);
  assert.equal(view.header('x-a'), '1, 2');
  assert.equal(view.header('cookie'), 'a=1; b=2');
  assert.equal(view.header(long), '3');
  // Of the length of one that is there, and of one that is not.
  assert.equal(view.header('x-b'), undefined);
  assert.equal(view.header('x-none'), undefined);
});

test('single is a field that stands once and goes on', () => {
  assert.equal(viewOf('X-Key: K').single('x-key'), 'K');
  assert.equal(viewOf('X-Key: K', 'x-key: random').single('x-key'), undefined);
  assert.equal(viewOf('X-Key: K', 'X-Key:').single('x-key'), undefined);
  assert.equal(viewOf('X-Key: random', 'Connection: X-Key').single('x-key'), undefined);
  assert.equal(viewOf().single('x-key'), undefined);
});
