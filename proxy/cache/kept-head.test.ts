import assert from 'node:assert/strict';
import { test } from 'node:test';
import { COMPLETE } from '../http1/field-lines.ts';
import { ResponseHead } from '../http1/response-head.ts';
import { HeadInPlace } from './head-in-place.ts';
import { KeptHead } from './kept-head.ts';

const NAMES = ['date', 'vary', 'etag', 'x-hop', 'x-list', 'content-length', 'connection', 'age', 'none'];

function parsed(fields: readonly string[]): { head: ResponseHead; bytes: Buffer } {
  const bytes = Buffer.from(['HTTP/1.1 200 Fine', ...fields, '', ''].join('\r\n'), 'latin1');
  const head = new ResponseHead();
  assert.equal(head.parse(bytes, 0, bytes.length), COMPLETE);
  return { head, bytes };
}

for (const [what, fields] of [
  ['a date', ['Date: Sun, 06 Nov 1994 08:49:37 GMT', 'ETag: "a"', 'Content-Length: 3']],
  ['no date', ['Vary: Accept', 'vary:Cookie ', 'Age: 7']],
  ['fields that stay on their hop', ['Connection: X-Hop, Date', 'X-Hop: 1', 'Date: now', 'Keep-Alive: x']],
  ['values repeated and beyond ASCII', ['X-List: caf\u00e9', 'X-List:', 'X-LIST: b']],
] as const) {
  test(`a head with ${what} says the same in place, kept, and after its bytes are gone`, () => {
    const { head, bytes } = parsed(fields);
    const inPlace = new HeadInPlace(head, 1_000);
    const before = NAMES.map((name) => inPlace.field(name));
    const kept = KeptHead.of(head, 1_000);
    const { size } = kept;
    bytes.fill(0);
    head.fields.free();
    assert.deepEqual(
      NAMES.map((name) => kept.field(name)),
      before,
    );
    assert.equal(kept.size, size, 'what it is counted with does not change');
    const made = kept.answer(5, null, '');
    assert.equal(made.fields.text(made.statusStart, made.reasonEnd), ' 200 Fine');
    assert.equal(made.contentLength, 5);
    assert.ok(made.hasDate);
  });
}
