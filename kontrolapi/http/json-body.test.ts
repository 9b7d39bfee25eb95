import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { describe, it } from 'node:test';
import { readJsonBody } from './json-body.ts';

const LIMIT = 16_777_216;

function read(text: string): Promise<Record<string, unknown> | undefined> {
  const request = Readable.from([Buffer.from(text)]) as unknown as IncomingMessage;
  request.headers = { 'content-type': 'application/json', 'content-length': String(text.length) };
  return readJsonBody(request, LIMIT);
}

/** Messages of the problems, or of the failure itself. */
async function refusal(text: string): Promise<string> {
  try {
    await read(text);
    return '';
  } catch (error) {
    const { message, problems } = error as { message: string; problems: { path: string; message: string }[] };
    return [message, ...problems.map((problem) => `${problem.path}: ${problem.message}`)].join('\n');
  }
}

describe('the JSON body of a request', () => {
  it('is an object, with any text that Unicode has', async () => {
    assert.deepEqual(await read('{"a":["😀","\\ud83d\\ude00","\\u0000"],"ä":{}}'), {
      a: ['😀', '😀', '\0'],
      ä: {},
    });
  });

  it('is refused with half of a surrogate pair, in a value or a name: not every store gives it back', async () => {
    assert.match(await refusal('{"a":{"b":["x","y\\ud800"]}}'), /^a\.b\.1: not valid Unicode/m);
    assert.match(await refusal('{"a":"\\udc00x"}'), /^a: not valid Unicode/m);
    assert.match(await refusal('{"a":{"\\udfff":1}}'), /^a: not valid Unicode/m);
  });

  it('is refused nested too deep, and with a name that prototypes know, wherever it stands', async () => {
    assert.match(await refusal(`${'{"a":'.repeat(40)}1${'}'.repeat(40)}`), /nested deeper than 32/);
    assert.match(
      await refusal(`{"a":${'['.repeat(200_000)}${']'.repeat(200_000)}}`),
      /nested deeper than 32/,
    );
    assert.match(await refusal('{"a":[{"__proto__":1}]}'), /^a\.0\.__proto__: unknown field/m);
  });

  it('is refused for too many values, or levels, before it is parsed', async (t) => {
    const parse = t.mock.method(JSON, 'parse');
    assert.match(await refusal(`{"a":[${'1,'.repeat(1_000_001)}1]}`), /more than 1000000 values/);
    assert.match(await refusal(`{"a":${'[{"b":'.repeat(40)}`), /nested deeper than 32/);
    assert.equal(parse.mock.callCount(), 0);
  });

  it('is refused for an object with too many fields before it is parsed; lists may be longer', async (t) => {
    const parse = t.mock.method(JSON, 'parse');
    const fields = (count: number) => Array.from({ length: count }, (_, n) => `"k${n}":[1,2]`).join();
    for (const body of [`{${fields(20_001)}}`, `{"a":[{"b":1,"c":{${fields(20_001)}}}]}`])
      assert.match(await refusal(body), /more than 20000 fields/);
    assert.equal(parse.mock.callCount(), 0);
    assert.equal(await refusal(`{"a":{${fields(20_000)}},"b":{${fields(20_000)}}}`), '');
    assert.equal(await refusal(`{"a":[${'{"b":1,"c":2},'.repeat(30_000)}1]}`), '');
    assert.match(await refusal(`}}]]${','.repeat(30_000)}`), /JSON|fields/);
  });

  it('may have any commas and brackets in its strings', async () => {
    const text = `${','.repeat(1_000_001)}${'[{"\\'.repeat(40)}`;
    assert.deepEqual(await read(JSON.stringify({ a: text, b: '\\', c: ['"'] })), {
      a: text,
      b: '\\',
      c: ['"'],
    });
  });
});
