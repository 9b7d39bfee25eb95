import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { HpackDecoder } from './hpack-decoder.ts';
import { HpackEncoder } from './hpack-encoder.ts';
import { decodeHuffman, encodeHuffman, huffmanLength } from './huffman.ts';
import { TABLE_SIZE } from './static-table.ts';

type Pair = [name: string, value: string];

/** All fields of a block, or null when it is not valid. */
function decode(decoder: HpackDecoder, block: Buffer): Pair[] | null {
  const fields: Pair[] = [];
  const valid = decoder.decode(block, 0, block.length, {
    field(line, start, nameLength, valueLength) {
      const text = line.toString('latin1', start, start + nameLength + valueLength + 4);
      const name = text.slice(0, nameLength);
      const value = text.slice(nameLength + 2, -2);
      assert.equal(text, `${name}: ${value}\r\n`);
      fields.push([name, value]);
    },
  });
  return valid ? fields : null;
}

function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(' ', ''), 'hex');
}

function encode(encoder: HpackEncoder, fields: readonly Pair[]): Buffer {
  encoder.begin();
  for (const [name, value] of fields) encoder.text(name, value);
  return Buffer.from(encoder.buffer.subarray(0, encoder.length));
}

const REQUESTS: Pair[][] = [
  [
    [':method', 'GET'],
    [':scheme', 'http'],
    [':path', '/'],
    [':authority', 'www.example.com'],
  ],
  [
    [':method', 'GET'],
    [':scheme', 'http'],
    [':path', '/'],
    [':authority', 'www.example.com'],
    ['cache-control', 'no-cache'],
  ],
  [
    [':method', 'GET'],
    [':scheme', 'https'],
    [':path', '/index.html'],
    [':authority', 'www.example.com'],
    ['custom-key', 'custom-value'],
  ],
];

const COOKIE = 'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1';
const RESPONSES: Pair[][] = [
  [
    [':status', '302'],
    ['cache-control', 'private'],
    ['date', 'Mon, 21 Oct 2013 20:13:21 GMT'],
    ['location', 'https://www.example.com'],
  ],
  [
    [':status', '307'],
    ['cache-control', 'private'],
    ['date', 'Mon, 21 Oct 2013 20:13:21 GMT'],
    ['location', 'https://www.example.com'],
  ],
  [
    [':status', '200'],
    ['cache-control', 'private'],
    ['date', 'Mon, 21 Oct 2013 20:13:22 GMT'],
    ['location', 'https://www.example.com'],
    ['content-encoding', 'gzip'],
    ['set-cookie', COOKIE],
  ],
];

/** RFC 7541, Appendix C; the responses are given for a table of 256 bytes. */
const VECTORS: readonly { name: string; blocks: string[]; fields: Pair[][] }[] = [
  {
    name: 'C.2.1, literal with indexing',
    blocks: ['400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572'],
    fields: [[['custom-key', 'custom-header']]],
  },
  {
    name: 'C.2.2, literal without indexing',
    blocks: ['040c 2f73 616d 706c 652f 7061 7468'],
    fields: [[[':path', '/sample/path']]],
  },
  {
    name: 'C.2.3, literal never indexed',
    blocks: ['1008 7061 7373 776f 7264 0673 6563 7265 74'],
    fields: [[['password', 'secret']]],
  },
  { name: 'C.2.4, indexed', blocks: ['82'], fields: [[[':method', 'GET']]] },
  {
    name: 'C.3, requests without Huffman code',
    blocks: [
      '8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
      '8286 84be 5808 6e6f 2d63 6163 6865',
      '8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65',
    ],
    fields: REQUESTS,
  },
  {
    name: 'C.4, requests with Huffman code',
    blocks: [
      '8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff',
      '8286 84be 5886 a8eb 1064 9cbf',
      '8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf',
    ],
    fields: REQUESTS,
  },
  {
    name: 'C.5, responses without Huffman code',
    blocks: [
      '3fe101 4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
      '4803 3330 37c1 c0bf',
      '88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31',
    ],
    fields: RESPONSES,
  },
  {
    name: 'C.6, responses with Huffman code',
    blocks: [
      '3fe101 4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3',
      '4883 640e ffc1 c0bf',
      '88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07',
    ],
    fields: RESPONSES,
  },
];

describe('HPACK', () => {
  for (const { name, blocks, fields } of VECTORS) {
    it(`decodes the examples of the RFC: ${name}`, () => {
      const decoder = new HpackDecoder();
      assert.deepEqual(
        blocks.map((block) => decode(decoder, hex(block))),
        fields,
      );
    });
  }

  const INVALID: Readonly<Record<string, string>> = {
    'index 0': '80',
    'an index beyond both tables': 'be',
    'a name beyond both tables': '7f00 0161',
    'an index that never ends': 'ffffffffffffffffff01',
    'an index that is cut off': 'ff',
    'a string longer than the block': '0003 6161',
    'a value that is missing': '0001 61',
    'a size update behind a field': '8220',
    'a size update beyond the agreed size': '3fe2ff01',
    'eight bits of padding': '0082 1fff 0161',
    'padding of zeros': '0081 18 0161',
    'EOS inside a string': '0085 ffffffffff 0161',
  };
  for (const [name, block] of Object.entries(INVALID)) {
    it(`refuses ${name}`, () => assert.equal(decode(new HpackDecoder(), hex(block)), null));
  }

  it('keeps entries only as long as they fit', () => {
    const decoder = new HpackDecoder();
    const add = (name: string, value: string) => {
      const bytes = [0x40, name.length, ...Buffer.from(name), value.length, ...Buffer.from(value)];
      return decode(decoder, Buffer.from(bytes));
    };
    for (let i = 0; i < 200; i++) add(`n${i}`, 'v'.repeat(60));
    const entry = 32 + 4 + 60;
    const fit = Math.floor(TABLE_SIZE / entry);
    assert.deepEqual(decode(decoder, Buffer.from([0x80 | 62])), [['n199', 'v'.repeat(60)]]);
    assert.deepEqual(decode(decoder, Buffer.from([0x80 | (62 + fit - 1)]))?.[0]?.[0], `n${200 - fit}`);
    assert.equal(decode(decoder, Buffer.from([0x80 | (62 + fit)])), null);
    // An entry as large as the table pushes all others out, and one byte more empties it.
    decode(decoder, Buffer.concat([hex('4001 61 7fe01e'), Buffer.alloc(4_063, 'x')]));
    assert.equal(decode(decoder, hex('be'))?.[0]?.[1]?.length, 4_063);
    assert.equal(decode(decoder, hex('bf')), null);
    decode(decoder, Buffer.concat([hex('4001 61 7fe11e'), Buffer.alloc(4_064, 'x')]));
    assert.equal(decode(decoder, hex('be')), null);
  });

  it('a table of size 0 holds nothing', () => {
    const decoder = new HpackDecoder();
    assert.deepEqual(decode(decoder, hex('20 4001 61 0162')), [['a', 'b']]);
    assert.equal(decode(decoder, hex('be')), null);
  });

  const bytes = fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array));

  it('the Huffman code gives back what was put in, whatever that was', () => {
    fc.assert(
      fc.property(bytes, (raw) => {
        const coded = Buffer.alloc(huffmanLength(raw, 0, raw.length));
        assert.equal(encodeHuffman(raw, 0, raw.length, coded, 0), coded.length);
        const back = Buffer.alloc(2 * coded.length + 8);
        const end = decodeHuffman(coded, 0, coded.length, back, 0);
        assert.deepEqual(back.subarray(0, end), raw);
      }),
    );
  });

  it('garbage never throws, and leaves no more than the table may hold', () => {
    fc.assert(
      fc.property(fc.array(bytes, { maxLength: 10 }), (blocks) => {
        const decoder = new HpackDecoder();
        for (const block of blocks) decode(decoder, block);
      }),
      { numRuns: 500 },
    );
  });

  const name = fc.constantFrom(
    'date',
    'etag',
    'content-type',
    'x-a',
    'x-b',
    'set-cookie',
    'server',
    'x'.repeat(300),
  );
  const value = fc.oneof(
    fc.constantFrom('', 'nginx', 'text/html', 'a'.repeat(100), 'A'.repeat(100)),
    fc.string({ maxLength: 40 }).map((text) => Buffer.from(text).toString('latin1')),
  );
  const block = fc.record({
    fields: fc.array(fc.tuple(name, value), { maxLength: 12 }),
    limit: fc.option(fc.constantFrom(0, 100, 1_000, 4_096, 65_536), { freq: 4 }),
  });

  it('encoder and decoder agree over any sequence of blocks and table sizes', () => {
    fc.assert(
      fc.property(fc.array(block, { maxLength: 40 }), (blocks) => {
        const encoder = new HpackEncoder();
        const decoder = new HpackDecoder();
        for (const { fields, limit } of blocks) {
          if (limit !== null) encoder.setLimit(limit);
          assert.deepEqual(decode(decoder, encode(encoder, fields)), fields);
        }
      }),
    );
  });

  it('what repeats costs a byte, and cookies are never put into a table', () => {
    const encoder = new HpackEncoder();
    const fields: Pair[] = [
      ['server', 'nginx'],
      ['x-frame-options', 'DENY'],
    ];
    encode(encoder, fields);
    encode(encoder, fields);
    assert.equal(encode(encoder, fields).length, 2);
    const cookie: Pair[] = [['set-cookie', 'a=b']];
    for (let i = 0; i < 3; i++) assert.equal((encode(encoder, cookie)[0] as number) & 0xf0, 0x10);
  });

  it('a field that never repeats pushes nothing out', () => {
    const encoder = new HpackEncoder();
    for (let i = 0; i < 2; i++) encode(encoder, [['server', 'nginx']]);
    for (let i = 0; i < 1_000; i++) encode(encoder, [['etag', `"${i}"`]]);
    assert.equal(encode(encoder, [['server', 'nginx']]).length, 1);
  });
});
