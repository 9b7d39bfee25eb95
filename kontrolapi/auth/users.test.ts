import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { ManualClock } from '../../shared/clock.ts';
import type { LiveDocument, LiveStore } from '../../shared/store/contract.ts';
import { checkedId } from '../../shared/store/tables.ts';
import { Users } from './users.ts';

/** Users `ann` and `bob`, both admins, in a store whose every call takes a turn; `deleting` is done before a delete. */
function twoAdmins(deleting: () => Promise<unknown> = async () => {}): Users {
  const documents = new Map<string, LiveDocument>(
    ['ann', 'bob'].map((_id) => [_id, { _id, v: 1, role: 'admin', epoch: 1, created: 1 }]),
  );
  const live = {
    async list() {
      await turn();
      return [...documents.values()];
    },
    async get(_: string, id: string) {
      checkedId(id);
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
    async delete(_: string, id: string, v?: number) {
      await turn();
      await deleting();
      return (v === undefined || documents.get(id)?.v === v) && documents.delete(id);
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

test('a viewer who is made the only admin while being removed stays', async () => {
  let raced = false;
  const users: Users = twoAdmins(async () => {
    if (raced) return;
    raced = true;
    await users.change('bob', { role: 'admin' });
    await users.change('ann', { role: 'viewer' });
  });
  await users.change('bob', { role: 'viewer' });
  await assert.rejects(users.remove('bob'), { code: 'conflict' });
  assert.deepEqual(
    (await users.list()).map(({ name, role }) => [name, role]),
    [
      ['ann', 'viewer'],
      ['bob', 'admin'],
    ],
  );
});

test('a name that no user can have is a wrong one like any other', async () => {
  for (const name of ['', 'a\0b', 'x'.repeat(2_000)]) assert.equal(await twoAdmins().logIn(name, 'x'), null);
});
