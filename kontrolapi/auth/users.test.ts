import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { ManualClock } from '../../shared/clock.ts';
import type { LiveDocument, LiveStore } from '../../shared/store/contract.ts';
import { Users } from './users.ts';

/** Users `ann` and `bob`, both admins, in a store whose every call takes a turn. */
function twoAdmins(): Users {
  const documents = new Map<string, LiveDocument>(
    ['ann', 'bob'].map((_id) => [_id, { _id, v: 1, role: 'admin', epoch: 1, created: 1 }]),
  );
  const live = {
    async list() {
      await turn();
      return [...documents.values()];
    },
    async get(_: string, id: string) {
      await turn();
      return documents.get(id) ?? null;
    },
    async insert(_: string, _id: string, fields: object) {
      await turn();
      if (documents.has(_id)) return false;
      documents.set(_id, { ...fields, _id, v: 1 });
      return true;
    },
    async replace(_: string, _id: string, v: number, fields: object) {
      await turn();
      if (documents.get(_id)?.v !== v) return false;
      documents.set(_id, { ...fields, _id, v: v + 1 });
      return true;
    },
    async delete(_: string, id: string) {
      await turn();
      return documents.delete(id);
    },
  } as unknown as LiveStore;
  return new Users(live, new ManualClock());
}

for (const [what, race] of [
  ['remove', (users: Users) => [users.remove('ann'), users.remove('bob')]],
  ['demote', (users: Users) => ['ann', 'bob'].map((name) => users.change(name, { role: 'viewer' }))],
  ['remove and demote', (users: Users) => [users.remove('ann'), users.change('bob', { role: 'viewer' })]],
] as const) {
  test(`two admins who ${what} each other at the same time leave an admin`, async () => {
    const users = twoAdmins();
    const ends = await Promise.allSettled(race(users));
    assert.ok((await users.list()).some(({ role }) => role === 'admin'));
    for (const end of ends) if (end.status === 'rejected') assert.equal(end.reason.code, 'conflict');
  });
}
