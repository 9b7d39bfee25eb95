import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compilePattern, MAX_PATTERN_LENGTH, MAX_SUBJECT_LENGTH } from './patterns.ts';

test('a pattern is unanchored, and can be asked for the whole subject', () => {
  const pattern = compilePattern('b+');
  assert.equal(pattern.test('abbc'), true);
  assert.equal(pattern.matches('abbc'), false);
  assert.equal(pattern.matches('bb'), true);
  assert.equal(compilePattern('(?i)B').test('abc'), true);
});

test('alternatives match the whole subject, not only its beginning', () => {
  const pattern = compilePattern('a|ab');
  assert.equal(pattern.matches('ab'), true);
});

test('a replacement puts in groups, and nothing for groups that are not there', () => {
  const pattern = compilePattern('^/static/(.*)/(x)?');
  assert.equal(pattern.groups, 2);
  assert.equal(pattern.replace('/static/a/', '/$1'), '/a');
  assert.equal(pattern.replace('/static/a/', '/$1$2$9'), '/a');
  assert.equal(pattern.replace('/static/a/b', '<$0>'), '</static/a/>b');
  assert.equal(pattern.replace('/static/a/', '$$&$'), '$$&$');
  assert.equal(pattern.replace('/other', '/$1'), null);
});

test('only the first match is replaced', () => {
  assert.equal(compilePattern('a').replace('banana', 'o'), 'bonana');
});

test('group text is put in as it is, also when it looks like a group', () => {
  assert.equal(compilePattern('^(.*)$').replace('$1', 'x$1'), 'x$1');
});

test('bad patterns are refused with the reason', () => {
  assert.throws(() => compilePattern('('), /not a valid regular expression/);
  assert.throws(() => compilePattern('(?=x)'), /not a valid regular expression/);
  assert.throws(() => compilePattern('a'.repeat(MAX_PATTERN_LENGTH + 1)), /at most 256/);
  assert.throws(() => compilePattern('a{1001}'), /not a valid regular expression/);
});

test('repeats that multiply the program are refused before it is compiled', () => {
  for (const source of [
    '(a?){1000}'.repeat(20),
    '((a{10}){10}){10}'.repeat(8),
    '[a-z]{1000}[a-z]{1000}[a-z]{1000}',
    '(?:[)(]x{300}){7}',
    '(\\(\\Q(\\Ex{250}){9}',
    '\\pL{900}\\x{41}{900}\\d{900}',
  ]) {
    assert.throws(() => compilePattern(source), /multiply|too complex/, source);
  }
});

test('repeats side by side are not multiplied', () => {
  for (const source of [
    '^/[a-z]{2,64}/[a-z]{2,64}$',
    '^\\d{1,3}(\\.\\d{1,3}){3}$',
    'a{0}',
    'x{,5}',
    '{',
    '[{]{3}',
  ]) {
    compilePattern(source);
  }
});

test('a pattern that would take an eternity elsewhere takes none here', () => {
  const pattern = compilePattern('^(([0-9a-f]*):*)+g');
  assert.equal(pattern.test('0000:0000:0000:0000:0000:0000:0000:0000'), false);
});

test('subjects that are too long never match', () => {
  const pattern = compilePattern('a+');
  assert.equal(pattern.test('a'.repeat(MAX_SUBJECT_LENGTH)), true);
  assert.equal(pattern.test('a'.repeat(MAX_SUBJECT_LENGTH + 1)), false);
  assert.equal(pattern.matches('a'.repeat(MAX_SUBJECT_LENGTH + 1)), false);
  assert.equal(pattern.replace('a'.repeat(MAX_SUBJECT_LENGTH + 1), 'b'), null);
});
