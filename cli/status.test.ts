import assert from 'node:assert/strict';
import { test } from 'node:test';
import { downLine, isWell, standing } from './status.ts';

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

test('a node that was stopped in order is shown as such and is not missed; a lost one, or none at all, is', () => {
  const serving = { live: true, ready: true, state: 'running' };
  const stopped = { live: false, ready: false, state: 'stopped' };
  const lost = { live: false, ready: true, state: 'lost' };
  const stopping = { live: true, ready: false, state: 'stopping' };
  // An earlier API says no state.
  assert.deepEqual([serving, stopped, lost, stopping, { live: true, ready: false }].map(standing), [
    'yes',
    'stopped',
    'lost',
    'stopping',
    'no',
  ]);
  assert.equal(isWell([serving, stopped]), true);
  for (const nodes of [[], [stopped], [serving, stopping]]) assert.equal(isWell(nodes), false);
});
