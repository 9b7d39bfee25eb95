import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import ipaddr from 'ipaddr.js';
import type { View } from '../revisions/view.ts';
import { Whitelists } from './whitelists.ts';

function stateOf(rules: Readonly<Record<string, readonly string[]>>): View {
  const get = (_kind: string, name: string) => {
    const match = rules[name];
    return match && { rev: 1, doc: { name, list: 'whitelist', type: 'ip', match } };
  };
  return { get } as unknown as View;
}

/** `count` lists of 100 networks each; all of them share one address only, the last that is compared. */
function alike(count: number): Record<string, string[]> {
  const lists: Record<string, string[]> = {};
  for (let list = 0; list < count; list++) {
    const own = Array.from({ length: 99 }, (_, index) => `10.${list}.${index}.0/24`);
    lists[`list${list}`] = [...own, '192.0.2.1'];
  }
  return lists;
}

describe('whitelists that contradict each other', () => {
  it('are named; those that share an address are none', () => {
    const state = stateOf({ a: ['10.0.0.0/8'], b: ['10.1.0.0/16'], c: ['192.0.2.0/24'] });
    assert.equal(Whitelists.of(state).contradiction(['a', 'b']), null);
    assert.match(Whitelists.of(state).contradiction(['a', 'b', 'c']) ?? '', /both whitelists a and c/);
  });

  it('are compared with bounded effort for one state, however many domains name how many of them', (t) => {
    const rules = alike(100);
    const state = stateOf(rules);
    const prototype = ipaddr.IPv4.prototype as { match: (...args: unknown[]) => boolean };
    const { match } = prototype;
    let compared = 0;
    prototype.match = function counted(...args) {
      compared++;
      return match.apply(this, args);
    };
    t.after(() => {
      prototype.match = match;
    });
    for (let domain = 0; domain < 3; domain++) {
      assert.equal(Whitelists.of(state).contradiction(Object.keys(rules)), null);
    }
    assert.ok(compared > 0 && compared <= 700_000, `${compared} comparisons`);
  });

  it('are looked up with bounded effort, however many routes name them', () => {
    const names = Object.keys(alike(100));
    let asked = 0;
    const get = (_kind: string, name: string) => {
      asked++;
      return { rev: 1, doc: { name, list: 'whitelist', type: 'ip', match: ['192.0.2.1'] } };
    };
    const whitelists = Whitelists.of({ get } as unknown as View);
    for (let route = 0; route < 10_000; route++) assert.equal(whitelists.contradiction(names), null);
    assert.equal(asked, names.length);
    assert.ok(whitelists.exhausted);
  });
});
