import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ChunkDecoder, MAX_CHUNK_LINE, writeChunkLine } from './chunk-decoder.ts';

interface Result {
  readonly text: string;
  readonly done: boolean;
  readonly broken: boolean;
  readonly used: number;
}

/** Decodes `pieces` one after the other; `used` counts over all of them. */
function decode(pieces: readonly Buffer[], raw: boolean): Result {
  const decoder = new ChunkDecoder();
  decoder.start(raw);
  let text = '';
  let used = 0;
  const sink = {
    onBody(buffer: Buffer, start: number, end: number) {
      assert.ok(start < end, 'an empty range');
      text += buffer.toString('latin1', start, end);
    },
  };
  for (const piece of pieces) {
    if (decoder.done || decoder.broken) break;
    used += decoder.decode(piece, 0, piece.length, sink);
  }
  return { text, done: decoder.done, broken: decoder.broken, used };
}

const VALID: readonly (readonly [body: string, data: string, raw: string])[] = [
  ['0\r\n\r\n', '', '0\r\n\r\n'],
  ['3\r\nabc\r\n0\r\n\r\n', 'abc', '3\r\nabc\r\n0\r\n\r\n'],
  [
    '3\r\nabc\r\nA\r\n0123456789\r\n000\r\n\r\n',
    'abc0123456789',
    '3\r\nabc\r\nA\r\n0123456789\r\n000\r\n\r\n',
  ],
  ['3;a=b;c="d e"\r\nabc\r\n0;x\r\n\r\n', 'abc', '3\r\nabc\r\n0\r\n\r\n'],
  ['1\r\n\r\r\n2\r\n\r\n\r\n0\r\n\r\n', '\r\r\n', '1\r\n\r\r\n2\r\n\r\n\r\n0\r\n\r\n'],
  ['1\r\na\r\n0\r\nX-A: 1\r\nX-B:2\r\n\r\n', 'a', '1\r\na\r\n0\r\nX-A: 1\r\nX-B:2\r\n\r\n'],
  ['0\r\nContent-Length: 1\r\nX-A: 1\r\nTrailer: x\r\n\r\n', '', '0\r\nX-A: 1\r\n\r\n'],
  ['0\r\nTransfer-Encoding: chunked\r\n\r\n', '', '0\r\n\r\n'],
];
const BROKEN = [
  'x\r\n',
  '\r\n',
  '3 \r\nabc',
  '3\nabc',
  '3\r\nabcd',
  '3\r\nabc\n',
  '3;\x01\r\n',
  '0\r\n\rX',
  '0\r\nX : 1\r\n\r\n',
  '0\r\n x: 1\r\n\r\n',
  '12345678901234567\r\n',
];

const bytes = (text: string) => Buffer.from(text, 'latin1');

describe('chunk decoder', () => {
  for (const [body, data, raw] of VALID) {
    it(`decodes ${JSON.stringify(body)} however it is cut`, () => {
      const whole = bytes(`${body}REST`);
      for (const [mode, expected] of [
        [false, data],
        [true, raw],
      ] as const) {
        const expectation = { text: expected, done: true, broken: false, used: body.length };
        assert.deepEqual(decode([whole], mode), expectation);
        assert.deepEqual(
          decode(
            [...whole].map((byte) => Buffer.of(byte)),
            mode,
          ),
          expectation,
        );
        for (let a = 0; a <= whole.length; a++) {
          for (let b = a; b <= whole.length; b++) {
            const pieces = [whole.subarray(0, a), whole.subarray(a, b), whole.subarray(b)];
            assert.deepEqual(decode(pieces, mode), expectation, `${a} ${b}`);
          }
        }
      }
    });
  }

  for (const body of BROKEN) {
    it(`refuses ${JSON.stringify(body)} however it is cut`, () => {
      const whole = bytes(body);
      for (let a = 0; a <= whole.length; a++) {
        const result = decode([whole.subarray(0, a), whole.subarray(a)], true);
        assert.equal(result.broken, true, `cut at ${a}`);
      }
    });
  }

  it('is not done while the end is missing', () => {
    const body = '3;x\r\nabc\r\n0\r\nX: 1\r\n\r\n';
    for (let end = 0; end < body.length; end++) {
      const { done, broken } = decode([bytes(body.slice(0, end))], true);
      assert.deepEqual([done, broken], [false, false], `after ${end}`);
    }
  });

  it('bounds extensions per line and per body, and trailers', () => {
    assert.equal(decode([bytes(`1;${'a'.repeat(1_024)}\r\n`)], true).broken, false);
    assert.equal(decode([bytes(`1;${'a'.repeat(1_025)}`)], true).broken, true);
    assert.equal(decode([bytes(`1;${'a'.repeat(1_000)}\r\nx\r\n`.repeat(17))], true).broken, true);
    assert.equal(decode([bytes(`0\r\nX: ${'a'.repeat(16_384)}`)], true).broken, true);
    assert.equal(decode([bytes(`0\r\n${'X: a\r\n'.repeat(101)}`)], true).broken, true);
  });

  it('gives back what any chunking and cutting of any data carries', () => {
    const chunk = fc
      .string({ unit: 'binary', minLength: 1, maxLength: 40 })
      .map((text) => bytes(text).toString('latin1'));
    fc.assert(
      fc.property(
        fc.array(chunk, { maxLength: 8 }),
        fc.array(fc.nat(300), { maxLength: 6 }),
        (chunks, cuts) => {
          const line = Buffer.alloc(MAX_CHUNK_LINE);
          const parts = chunks.flatMap((text) => {
            const length = writeChunkLine(line, 0, text.length);
            return [Buffer.from(line.subarray(0, length)), bytes(text), bytes('\r\n')];
          });
          const body = Buffer.concat([...parts, bytes('0\r\n\r\n')]);
          const sorted = [0, ...cuts.filter((cut) => cut < body.length).sort((a, b) => a - b), body.length];
          const pieces = sorted.slice(1).map((end, index) => body.subarray(sorted[index], end));
          const expectation = { done: true, broken: false, used: body.length };
          assert.deepEqual(decode(pieces, false), { text: chunks.join(''), ...expectation });
          assert.deepEqual(decode(pieces, true), { text: body.toString('latin1'), ...expectation });
        },
      ),
      { numRuns: 500 },
    );
  });

  it('writes sizes in hexadecimal without leading zeros', () => {
    const target = Buffer.alloc(MAX_CHUNK_LINE);
    for (const size of [1, 9, 10, 15, 16, 255, 256, 65_535, 65_536, 2 ** 32 - 1]) {
      const length = writeChunkLine(target, 0, size);
      assert.equal(target.toString('latin1', 0, length), `${size.toString(16)}\r\n`);
    }
  });
});
