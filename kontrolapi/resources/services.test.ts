import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Service } from '../../shared/model/service.ts';
import { readSettings } from '../../shared/settings.ts';
import { Draft, State } from '../revisions/view.ts';
import { serviceRules } from './services.ts';

const rules = serviceRules(readSettings([], {}, 'api').settings);
const CONFIGURED = { backends: [{ address: '10.0.0.1:80' }] };

/** Where the warnings are about a service that is put over the one that is held. */
function warned(keys: Service['keys'], held: Service['keys'], more: Partial<Service> = {}): string[] {
  const present = { rev: 1, doc: { name: 'shop', keys: held } };
  const doc = rules.retain?.({ name: 'shop', keys, ...more }, present) ?? {};
  const draft = new Draft(new State(), [{ kind: 'service', name: 'shop', doc }]);
  return (rules.check?.(doc, draft, 'shop')?.warnings ?? []).map(({ path }) => path);
}

test('who writes backends into a service of workers is told of the key that stays before them', () => {
  assert.deepEqual(warned({ 1: CONFIGURED }, { 41: {} }), ['keys.41']);
  assert.deepEqual(warned({ 1: CONFIGURED, 9: { enabled: false } }, { 41: {} }), ['keys.41']);
});

test('keys of workers alone, behind the configured ones, disabled, or with a named latest are as they were meant', () => {
  assert.deepEqual(warned(undefined, { 40: {}, 41: {} }), []);
  assert.deepEqual(warned({ 50: CONFIGURED }, { 41: {} }), []);
  assert.deepEqual(warned({ 1: CONFIGURED, 41: { enabled: false } }, {}), []);
  assert.deepEqual(warned({ 1: CONFIGURED }, { 41: {} }, { latest: 1 }), []);
});
