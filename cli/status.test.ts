import assert from 'node:assert/strict';
import { test } from 'node:test';
import { downLine } from './status.ts';

test('status names each service without a live backend once, whichever living nodes say so', () => {
  assert.equal(downLine([]), null);
  assert.equal(downLine([{ live: true, trouble: { down: [] } }, { live: true }]), null);
  const nodes = [
    { live: true, trouble: { down: ['shop', 'api'] } },
    { live: true, trouble: { down: ['shop'] } },
    { live: false, trouble: { down: ['of a node that is gone'] } },
  ];
  assert.equal(downLine(nodes), 'no live backend: api, shop');
  const many = Array.from({ length: 12 }, (_, index) => `s${index + 10}`);
  assert.match(downLine([{ live: true, trouble: { down: many } }]) ?? '', /: s10, .*, s19 and 2 more$/);
});
