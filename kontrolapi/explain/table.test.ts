import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../shared/clock.ts';
import type { ApiContext } from '../context.ts';
import { State } from '../revisions/view.ts';
import { ExplainTables } from './table.ts';

test('while the store is away services keep the workers that were read last, as in the nodes', async () => {
  const state = new State();
  state.put('service', 'shop', { rev: 1, doc: { name: 'shop', keys: { 1: {} } } });
  const worker = {
    worker: 'w',
    key: 1,
    address: '127.0.0.1:4000',
    weight: 1,
    state: 'ready',
    since: 0,
    name: '',
  };
  let away = false;
  const list = async () => {
    if (away) throw new Error('away');
    return [{ _id: 'shop', v: 1, current: 1, backends: [{ ...worker, mode: 'many', version: '' }] }];
  };
  const tables = new ExplainTables({
    settings: { publicHttpsPort: null, https: [] },
    present: { fresh: async () => state, reloads: 1 },
    store: { live: { list } },
    clock: new ManualClock(),
  } as unknown as ApiContext);
  const addresses = () =>
    tables.present((table) =>
      table
        .service('shop')
        ?.keys.get(1)
        ?.backends.map(({ address }) => address),
    );
  assert.deepEqual(await addresses(), ['127.0.0.1:4000']);
  away = true;
  assert.deepEqual(await addresses(), ['127.0.0.1:4000']);
});
