import assert from 'node:assert/strict';
import { test } from 'node:test';
import { keepBlock, returnBlock, takeBlock, viewOf } from './blocks.ts';

test('a view of the beginning of a block is made once for each length, and shows what stands there now', () => {
  const block = takeBlock();
  block.write('first');
  const view = viewOf(block, 0, 5);
  assert.equal(view.toString('latin1'), 'first');
  block.write('later');
  assert.equal(viewOf(block, 0, 5), view);
  assert.equal(view.toString('latin1'), 'later');
  assert.equal(viewOf(block, 0, 4).toString('latin1'), 'late');
  assert.equal(viewOf(block, 1, 5).toString('latin1'), 'ater');
  assert.equal(viewOf(block, 0, 60_000).length, 60_000);
  returnBlock(block);
});

test('a block that is nobody owns any more has no views that are kept', () => {
  const block = takeBlock();
  const view = viewOf(block, 0, 5);
  keepBlock(block);
  assert.notEqual(viewOf(block, 0, 5), view);
  assert.deepEqual(viewOf(block, 0, 5), view);
});
