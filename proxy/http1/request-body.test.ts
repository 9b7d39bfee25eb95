import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RequestBody } from './request-body.ts';
import { RequestHead } from './request-head.ts';

const NOWHERE = { onBody() {} };

function start(framing: string, body = 0, bodyRate = 1_024): RequestBody {
  const head = new RequestHead();
  const text = Buffer.from(`POST / HTTP/1.1\r\nHost: a\r\n${framing}\r\n\r\n`);
  head.parse(text, 0, text.length, { headSize: 16_384, fields: 100 });
  const request = new RequestBody();
  request.start(head, { body, bodyRate });
  return request;
}

const receive = (body: RequestBody, text: string) => body.receive(Buffer.from(text), 0, text.length, NOWHERE);

describe('request body', () => {
  it('takes what belongs to it and no more', () => {
    const body = start('Content-Length: 5');
    assert.equal(body.done, false);
    assert.equal(receive(body, 'abc'), 3);
    assert.equal(receive(body, 'defgh'), 2);
    assert.equal(body.done, true);
    const chunked = start('Transfer-Encoding: chunked');
    assert.equal(receive(chunked, '1\r\na\r\n0\r\n\r\nGET'), 11);
    assert.equal(chunked.done, true);
  });

  it('is too slow when the mean rate is, once its grace is over', () => {
    const body = start('Content-Length: 1000000');
    receive(body, 'abc');
    // Counted from here: before, it may have waited to be asked.
    assert.equal(body.violation(1_000), null);
    assert.equal(body.violation(60_900), null);
    assert.equal(body.violation(61_100), 'body_timeout');
    receive(body, 'x'.repeat(70_000));
    assert.equal(body.violation(61_100), null);
    const free = start('Content-Length: 9', 0, 0);
    assert.equal(free.violation(1_000), null);
    assert.equal(free.violation(10_000_000), null);
  });

  it('the time in which it was held back does not count', () => {
    const body = start('Content-Length: 1000000');
    receive(body, 'abc');
    assert.equal(body.violation(1_000), null);
    body.hold(2_000);
    body.hold(3_000);
    body.letFlow(502_000);
    body.letFlow(503_000);
    assert.equal(body.violation(560_000), null);
    assert.equal(body.violation(562_000), 'body_timeout');
  });

  it('is too large by its data, not by its framing', () => {
    const body = start('Transfer-Encoding: chunked', 10);
    receive(body, '5;extension\r\nabcde\r\n5\r\nabcde\r\n');
    assert.equal(body.violation(1_000), null);
    receive(body, '1\r\na\r\n');
    assert.equal(body.violation(1_000), 'body_too_large');
  });

  it('is worth reading to its end only when that is near', () => {
    assert.equal(start('Content-Length: 65536').drainable, true);
    assert.equal(start('Content-Length: 65537').drainable, false);
    assert.equal(start('Transfer-Encoding: chunked').drainable, false);
  });
});
