import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseFields } from './set.ts';

test('values are JSON where they can be, but labels are the text that was typed', () => {
  assert.deepEqual(parseFields(['weight=2', 'labels.build=42', 'labels.stage=prod', 'labels.old=null']), {
    weight: 2,
    labels: { build: '42', stage: 'prod', old: null },
  });
  assert.deepEqual(parseFields(['labels.quoted="null"', 'labels={"a": "1"}', 'keys.1=null']), {
    labels: { a: '1' },
    keys: { 1: null },
  });
  assert.deepEqual(parseFields(['labels.quoted="null"']), { labels: { quoted: 'null' } });
});
