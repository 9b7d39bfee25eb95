import assert from 'node:assert/strict';
import { it } from 'node:test';
import { keepBlock, ownedBlocks } from '../stream/blocks.ts';
import type { ByteStream } from '../stream/byte-stream.ts';
import { Outbox } from './outbox.ts';

/** Takes nothing at once, so that each write keeps the block it came from. */
const BLOCKED = {
  writeShared: (buffer: Buffer) => {
    keepBlock(buffer);
    return false;
  },
} as unknown as ByteStream;

const LARGE = 200_000;

it('an outbox has one block at a time, however large messages come and whoever keeps them', () => {
  const outbox = new Outbox();
  const before = ownedBlocks();
  for (let i = 0; i < 20; i++) {
    outbox.begin(LARGE);
    outbox.text('x');
    outbox.flush(BLOCKED);
    outbox.begin(0);
    outbox.text('x');
  }
  assert.ok(ownedBlocks() <= before, `${ownedBlocks() - before} more blocks are on record as taken`);
});

it('an outbox that grows while it is written gives the smaller block back and keeps its bytes', () => {
  const outbox = new Outbox();
  outbox.begin(0);
  const before = ownedBlocks();
  outbox.text('begin');
  outbox.bytes(Buffer.alloc(LARGE, 'x'), 0, LARGE);
  assert.equal(ownedBlocks(), before);
  let sent = '';
  outbox.flush({
    writeShared: (buffer: Buffer, start: number, end: number) => {
      sent = buffer.toString('latin1', start, end);
      return true;
    },
  } as unknown as ByteStream);
  assert.ok(sent === `begin${'x'.repeat(LARGE)}`);
});
