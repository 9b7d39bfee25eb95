import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BSON } from 'mongodb';
import { fromBson, toBson } from './mongodb-codec.ts';

/** As the driver writes and reads it. */
function stored(value: unknown): unknown {
  const bytes = BSON.serialize(toBson({ value }) as BSON.Document, { ignoreUndefined: true });
  return (fromBson(BSON.deserialize(bytes)) as { value: unknown }).value;
}

test('any JSON comes back from BSON as it was', () => {
  const awkward = fc.constantFrom(
    '$set',
    'a.b',
    '',
    '%',
    '%24',
    '%zz',
    '__proto__',
    '_bsontype',
    'constructor',
    'a\0b',
    '$ref',
    '$id',
    '$db',
    'length',
    '_id',
  );
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      fc.integer(),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      fc.boolean(),
      fc.constant(null),
      fc.string({ unit: 'grapheme' }),
      fc.array(tie('value')),
      tie('object'),
    ),
    object: fc
      .array(fc.tuple(fc.oneof(awkward, fc.string({ unit: 'grapheme' })), tie('value')))
      .map((entries) => Object.fromEntries(entries)),
  }));
  fc.assert(fc.property(value, (json) => assert.deepEqual(stored(json), json)));
});

test('no key that a server could take for an operator or a path is written', () => {
  const keys = Object.keys(
    toBson({ $where: 1, 'a.b': 1, 'a\0': 1, ['__proto__']: 1, _bsontype: 1, toString: 1 }) as object,
  );
  assert.deepEqual(keys, ['%24where', 'a%2Eb', 'a%00', '%5F_proto__', '%5Fbsontype', '%74oString']);
});

test('types that JSON does not have come back as plain values', () => {
  const hand = {
    long: BSON.Long.fromString('9007199254740993'),
    small: BSON.Long.fromNumber(5),
    decimal: BSON.Decimal128.fromString('1.5'),
    not: BSON.Decimal128.fromString('NaN'),
    date: new Date(Number.NaN),
    key: new BSON.MinKey(),
    code: new BSON.Code('x'),
    reference: new BSON.DBRef('a', new BSON.ObjectId()),
    symbol: new BSON.BSONSymbol('s'),
    time: new BSON.Timestamp({ t: 1, i: 2 }),
    binary: new BSON.Binary(Buffer.from('abc')),
  };
  const read = fromBson(BSON.deserialize(BSON.serialize(hand)));
  assert.deepEqual(JSON.parse(JSON.stringify(read)), read);
  const { small, decimal, not } = read as Record<string, unknown>;
  assert.deepEqual([small, decimal, not], [5, 1.5, 'NaN']);
});
