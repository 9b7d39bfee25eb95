import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  constantTimeEqual,
  cookieValue,
  holdsSignedCookie,
  signCookie,
  verifyCookie,
} from './signed-cookie.ts';

const KEY = 'k'.repeat(32);
const BINDING = { name: 'kontrol_secure', host: 'shop.example.com' };
const NOW = 1_767_225_600_000;

test('a signed value is read back until it expires', () => {
  const value = signCookie(KEY, BINDING, 'abc-1', NOW + 60_000);
  assert.equal(verifyCookie(KEY, BINDING, value, NOW), 'abc-1');
  assert.equal(verifyCookie(KEY, BINDING, value, NOW + 59_999), 'abc-1');
  assert.equal(verifyCookie(KEY, BINDING, value, NOW + 60_000), null);
});

test('an empty payload is a payload', () => {
  assert.equal(verifyCookie(KEY, BINDING, signCookie(KEY, BINDING, '', NOW + 1_000), NOW), '');
});

test('a value is void under another host, name or key', () => {
  const value = signCookie(KEY, BINDING, 'x', NOW + 60_000);
  assert.equal(verifyCookie(KEY, { ...BINDING, host: 'other.example.com' }, value, NOW), null);
  assert.equal(verifyCookie(KEY, { ...BINDING, name: 'kontrol_shop' }, value, NOW), null);
  assert.equal(verifyCookie('other', BINDING, value, NOW), null);
});

test('the first of several keys signs, all are believed', () => {
  const old = signCookie('old', BINDING, 'x', NOW + 60_000);
  assert.equal(verifyCookie('new,next,old', BINDING, old, NOW), 'x');
  const now = signCookie('new,next,old', BINDING, 'x', NOW + 60_000);
  assert.equal(verifyCookie('new', BINDING, now, NOW), 'x');
  assert.equal(verifyCookie('next,old', BINDING, now, NOW), null);
});

test('no change of a value survives', () => {
  const value = signCookie(KEY, BINDING, 'backend-7', NOW + 60_000);
  fc.assert(
    fc.property(fc.nat({ max: value.length - 1 }), fc.constantFrom(...'abcXYZ019.-_'), (index, character) => {
      const forged = value.slice(0, index) + character + value.slice(index + 1);
      if (forged !== value) assert.equal(verifyCookie(KEY, BINDING, forged, NOW), null);
    }),
  );
});

test('anything else is no signed value', () => {
  fc.assert(fc.property(fc.string(), (text) => assert.equal(verifyCookie(KEY, BINDING, text, NOW), null)));
  assert.equal(verifyCookie(KEY, BINDING, '.'.repeat(100_000), NOW), null);
});

test('one that another host of the domain set under the same name hides no signed one', () => {
  const value = signCookie(KEY, BINDING, '', NOW + 60_000);
  const holds = (field: string | undefined) => holdsSignedCookie(KEY, BINDING, field, NOW);
  assert.equal(holds(`a=1; kontrol_secure=${value}`), true);
  assert.equal(holds(`kontrol_secure=x; kontrol_secure=.zzzz.A; kontrol_secure=${value}`), true);
  assert.equal(holds('kontrol_secure=x; kontrol_secure=y'), false);
  assert.equal(holds(undefined), false);
  // Nobody makes us look at thousands.
  assert.equal(holds(`${'kontrol_secure=x; '.repeat(8)}kontrol_secure=${value}`), false);
});

test('texts are compared whole', () => {
  assert.equal(constantTimeEqual('abc', 'abc'), true);
  assert.equal(constantTimeEqual('abc', 'abd'), false);
  assert.equal(constantTimeEqual('abc', 'ab'), false);
  assert.equal(constantTimeEqual('', ''), true);
});

test('the value of a cookie is found among others', () => {
  assert.equal(cookieValue('a=1; kontrol_secure=x.y; b=2', 'kontrol_secure'), 'x.y');
  assert.equal(cookieValue('kontrol_secure2=no; xkontrol_secure=no', 'kontrol_secure'), null);
  assert.equal(cookieValue('a="quoted"', 'a'), 'quoted');
  assert.equal(cookieValue('a=b=c', 'a'), 'b=c');
  assert.equal(cookieValue('a=; b=2', 'a'), '');
  assert.equal(cookieValue('flag; a=1', 'flag'), null);
  assert.equal(cookieValue('flag; a=1', 'a'), '1');
  assert.equal(cookieValue('a=1;a=2', 'a'), '1');
  assert.equal(cookieValue('A=1', 'a'), null);
  assert.equal(cookieValue(undefined, 'a'), null);
  assert.equal(cookieValue('', 'a'), null);
  assert.equal(cookieValue('x;y;z; a=1', 'a'), '1');
  assert.equal(cookieValue('b=2;c;d;a=1', 'a'), '1');
  assert.equal(cookieValue('b=2;c;d', 'a'), null);
  assert.equal(cookieValue(';;;', 'a'), null);
  assert.equal(cookieValue('a=1; b=3; a=2', 'a', 1), '2');
  assert.equal(cookieValue('a=1; b=3; a=2', 'a', 2), null);
});
