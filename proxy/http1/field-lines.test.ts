import assert from 'node:assert/strict';
import { it } from 'node:test';
import { COMPLETE, FieldLines } from './field-lines.ts';

function parsed(lines: FieldLines, text: string): number {
  lines.buffer = Buffer.from(text, 'latin1');
  lines.base = 0;
  lines.start(0);
  return lines.parse(text.length, 100, false);
}

it('memory that was given back serves one other section, and its old owner finds nothing in it', () => {
  const first = new FieldLines();
  assert.equal(parsed(first, 'a: 1\r\nsecret: 2\r\n\r\n'), COMPLETE);
  first.free();
  first.free();
  const [second, third] = [new FieldLines(), new FieldLines()];
  assert.equal(parsed(second, 'bb: 33\r\n\r\n'), COMPLETE);
  assert.equal(parsed(third, 'cccc: 4\r\nd: 5\r\n\r\n'), COMPLETE);
  assert.equal(first.count, 0);
  assert.equal(first.value(0), '');
  assert.deepEqual([second.name(0), second.value(0)], ['bb', '33']);
  assert.deepEqual([third.name(0), third.value(0), third.value(1)], ['cccc', '4', '5']);
  // Whoever goes on all the same gets memory of its own.
  const many = Array.from({ length: 60 }, (_, n) => `f${n}: ${n}\r\n`).join('');
  assert.equal(parsed(first, `${many}\r\n`), COMPLETE);
  assert.equal(first.value(59), '59');
  assert.deepEqual([second.value(0), third.value(1)], ['33', '5']);
});
