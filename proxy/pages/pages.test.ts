import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { CAUSES, type CauseCode } from '../../shared/causes.ts';
import { PAGE_NAMES } from '../../shared/model/page.ts';
import { packageRoot } from '../../shared/package-root.ts';
import { preferredForm } from './accept.ts';
import type { PageRequest } from './contract.ts';
import { createPages } from './pages.ts';

const warnings: string[] = [];
const pages = createPages({ folder: packageRoot('errorpages'), onWarning: (text) => warnings.push(text) });

const request = (over: Partial<PageRequest> = {}): PageRequest => ({
  cause: 'all_dead',
  host: 'shop.example.com',
  requestId: 'r-1',
  accept: 'text/html',
  retryAfter: 5,
  brand: null,
  ...over,
});
const fieldOf = (answer: { fields: readonly (readonly [string, string])[] }, name: string) =>
  answer.fields.find(([field]) => field === name)?.[1];

test('every page has a default template, and none of them uses anything from outside', () => {
  assert.deepEqual(warnings, []);
  for (const cause of Object.keys(CAUSES) as CauseCode[]) {
    const html = pages.render(request({ cause })).body.toString();
    assert.match(html, /<!doctype html>/, cause);
    assert.doesNotMatch(html, /(?:src|href)="(?:https?:|\/\/)|@import|url\(/, cause);
    assert.doesNotMatch(html, /\{\{/, cause);
  }
  assert.equal(PAGE_NAMES.length, 10);
});

test('the form follows Accept: HTML for browsers, problem+json when preferred, else text', () => {
  const browser = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8';
  assert.equal(preferredForm(browser), 'html');
  assert.equal(preferredForm('application/json'), 'json');
  assert.equal(preferredForm('text/html;q=0.5, application/json'), 'json');
  assert.equal(preferredForm('text/html;q=0, application/json;q=0'), 'text');
  assert.equal(preferredForm('*/*'), 'text');
  assert.equal(preferredForm(undefined), 'text');
  assert.equal(preferredForm(', ;;q=, /'), 'text');
});

test('an answer of the proxy says so: Proxy-Status, request id, Retry-After, and it is never cached', () => {
  const answer = pages.render(request());
  assert.equal(answer.status, 503);
  assert.equal(fieldOf(answer, 'Proxy-Status'), 'kontrol; error=destination_unavailable; details="all_dead"');
  assert.equal(fieldOf(answer, 'X-Request-Id'), 'r-1');
  assert.equal(fieldOf(answer, 'Retry-After'), '5');
  assert.equal(fieldOf(answer, 'Cache-Control'), 'no-store');
  const json = JSON.parse(pages.render(request({ accept: 'application/json' })).body.toString());
  assert.deepEqual([json.status, json.code, json.retryAfter], [503, 'all_dead', 5]);
});

test('a brand replaces single templates, falls back for the others, and is gone when removed', () => {
  pages.setBrand('shop', { maintenance: '<b>{{host}}</b> {{ retryAfter }} {{unknown}}' });
  assert.equal(
    pages.render(request({ brand: 'shop' })).body.toString(),
    '<b>shop.example.com</b> 5 {{unknown}}',
  );
  assert.match(pages.render(request({ brand: 'shop', cause: 'host_unknown' })).body.toString(), /Not found/);
  pages.setBrand('shop', null);
  assert.match(pages.render(request({ brand: 'shop' })).body.toString(), /Back soon/);
});

test('values are escaped, and prototype names in a brand are no templates', () => {
  const html = pages.render(request({ message: '<script>"x"&\'' })).body.toString();
  assert.match(html, /&lt;script&gt;&quot;x&quot;&amp;&#39;/);
  pages.setBrand('odd', JSON.parse('{"__proto__": {"404": "x"}, "constructor": "y"}'));
  assert.match(pages.render(request({ brand: 'odd', cause: 'host_unknown' })).body.toString(), /Not found/);
});

test('a folder that cannot be read costs a warning, not the answer', () => {
  const said: string[] = [];
  const bare = createPages({
    folder: fileURLToPath(new URL('./nowhere/', import.meta.url)),
    onWarning: (text) => said.push(text),
  });
  assert.match(bare.render(request()).body.toString(), /<h1>503 Back soon<\/h1>/);
  assert.equal(said.length, PAGE_NAMES.length);
});
