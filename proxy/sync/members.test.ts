import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../shared/clock.ts';
import { EmptinessGuard } from '../../shared/emptiness-guard.ts';
import { KontrolError } from '../../shared/errors.ts';
import type { LiveDocument, LiveStore } from '../../shared/store/contract.ts';
import { MembersFollower } from './members.ts';

function membersOver(versions: Map<string, number>) {
  const clock = new ManualClock();
  let listable = true;
  const live = {
    async get(collection: string, id: string): Promise<LiveDocument | null> {
      if (collection === 'counters')
        return { _id: id, v: [...versions.values()].reduce((sum, v) => sum + v, 0) };
      const v = versions.get(id);
      return v === undefined ? null : { _id: id, v };
    },
    async list(): Promise<LiveDocument[]> {
      if (!listable) throw new KontrolError('store_unavailable');
      return [...versions].map(([_id, v]) => ({ _id, v }));
    },
  } as unknown as LiveStore;
  const members = new MembersFollower(live, new EmptinessGuard(), clock);
  return {
    clock,
    members,
    names: async () => (await members.look()).map(({ name }) => name),
    setListable: (value: boolean) => {
      listable = value;
    },
  };
}

test('members that were read before the store went away are not lost with the list after them', async () => {
  const versions = new Map([
    ['shop', 1],
    ['blog', 1],
  ]);
  const { clock, members, names, setListable } = membersOver(versions);
  assert.deepEqual(await names(), ['shop', 'blog']);
  clock.advance(60_000);
  versions.set('shop', 2);
  // No hint told of this one, so the counter asks for a list.
  versions.set('blog', 2);
  members.hint('shop');
  setListable(false);
  const before = await names().catch(() => []);
  setListable(true);
  assert.deepEqual([...before, ...(await names())].sort(), ['blog', 'shop']);
});
