import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Member } from '../../shared/model/live.ts';
import type { Service } from '../../shared/model/service.ts';
import { withKeysOf } from './builds-without-keys.ts';

const service = (keys?: object) => ({ name: 'shop', balance: 'random', keys }) as unknown as Service;
const member = (key: number, state: Member['state'] = 'ready') => ({ key, state }) as unknown as Member;

test('a service without any key gets those of its workers that live; another, or none, is left alone', () => {
  const members = [member(2), member(2, 'starting'), member(3, 'drain'), member(4, 'lost')];
  for (const bare of [service(), service({})])
    assert.deepEqual(withKeysOf(bare, members), { name: 'shop', balance: 'random', keys: { 2: {}, 3: {} } });
  assert.equal(withKeysOf(service({ 1: {} }), members), null);
  assert.equal(withKeysOf(service(), [member(4, 'lost')]), null);
  assert.equal(withKeysOf(undefined, members), null);
});
