import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../shared/clock.ts';
import type { LiveCollection, LiveDocument, LiveStore } from '../../shared/store/contract.ts';
import { Board, type Notice } from './board.ts';
import type { Condition } from './conditions.ts';

/** Live documents in memory. */
class Memory implements LiveStore {
  readonly documents = new Map<string, LiveDocument>();
  away = false;

  async insert(_: LiveCollection, id: string, fields: Readonly<Record<string, unknown>>): Promise<boolean> {
    this.#reach();
    if (this.documents.has(id)) return false;
    this.documents.set(id, { ...fields, _id: id, v: 1 });
    return true;
  }

  async get(_: LiveCollection, id: string): Promise<LiveDocument | null> {
    this.#reach();
    return this.documents.get(id) ?? null;
  }

  async list(): Promise<LiveDocument[]> {
    this.#reach();
    return [...this.documents.values()];
  }

  async replace(
    _: LiveCollection,
    id: string,
    expected: number,
    fields: Readonly<Record<string, unknown>>,
  ): Promise<boolean> {
    this.#reach();
    if (this.documents.get(id)?.v !== expected) return false;
    this.documents.set(id, { ...fields, _id: id, v: expected + 1 });
    return true;
  }

  async put(): Promise<void> {
    throw new Error('not used');
  }

  async delete(_: LiveCollection, id: string, expected?: number): Promise<boolean> {
    this.#reach();
    if (expected !== undefined && this.documents.get(id)?.v !== expected) return false;
    return this.documents.delete(id);
  }

  #reach(): void {
    if (this.away) throw new Error('away');
  }
}

const NOW = { groupMs: 0, quiet: false };

function wrong(key: string, more: Partial<Condition> = {}): Condition {
  return {
    key,
    urgent: false,
    level: 0,
    title: `${key} is wrong`,
    detail: '',
    raiseMs: 5_000,
    clearMs: 15_000,
    ...more,
  };
}

function world() {
  const clock = new ManualClock();
  const live = new Memory();
  const board = (id: string) => new Board(live, clock, id);
  return { clock, live, board };
}

const told = (notices: readonly Notice[]) => notices.map(({ key, state }) => `${key} ${state}`);

test('told once when it has been so for a while, and once when it has been over for a while', async () => {
  const { clock, board, live } = world();
  const one = board('one');
  assert.deepEqual(await one.cycle([wrong('a')], NOW), []);
  clock.advance(5_000);
  const raised = await one.cycle([wrong('a')], NOW);
  assert.deepEqual(told(raised), ['a raised']);
  await one.told(raised);
  for (let i = 0; i < 5; i++) {
    clock.advance(60_000);
    assert.deepEqual(await one.cycle([wrong('a')], NOW), []);
  }
  assert.deepEqual(await one.cycle([], NOW), []);
  clock.advance(10_000);
  // It is back before it was over for long enough: nobody hears of that.
  assert.deepEqual(await one.cycle([wrong('a')], NOW), []);
  clock.advance(10_000);
  assert.deepEqual(await one.cycle([], NOW), []);
  clock.advance(15_000);
  const over = await one.cycle([], NOW);
  assert.deepEqual(told(over), ['a recovered']);
  await one.told(over);
  assert.equal(live.documents.size, 0);
});

test('what is over before it lasted is not told', async () => {
  const { clock, board } = world();
  const one = board('one');
  for (let i = 0; i < 10; i++) {
    assert.deepEqual(await one.cycle([wrong('a')], NOW), []);
    clock.advance(4_000);
    assert.deepEqual(await one.cycle([], NOW), []);
    clock.advance(4_000);
  }
});

test('of several processes one tells it', async () => {
  const { clock, board } = world();
  const boards = ['one', 'two', 'three'].map(board);
  for (const each of boards) await each.cycle([wrong('a'), wrong('b')], NOW);
  clock.advance(6_000);
  const all = await Promise.all(boards.map((each) => each.cycle([wrong('a'), wrong('b')], NOW)));
  assert.deepEqual(told(all.flat()).sort(), ['a raised', 'b raised']);
  clock.advance(6_000);
  const again = await Promise.all(boards.map((each) => each.cycle([wrong('a'), wrong('b')], NOW)));
  assert.deepEqual(again.flat(), []);
});

test('a restart forgets nothing: what was told is not told again, its end is', async () => {
  const { clock, board } = world();
  const one = board('one');
  await one.cycle([wrong('a')], NOW);
  clock.advance(6_000);
  await one.told(await one.cycle([wrong('a')], NOW));
  const two = board('two');
  for (let i = 0; i < 5; i++) {
    assert.deepEqual(await two.cycle([wrong('a')], NOW), []);
    clock.advance(6_000);
  }
  await two.cycle([], NOW);
  clock.advance(16_000);
  assert.deepEqual(told(await two.cycle([], NOW)), ['a recovered']);
});

test('what a process took and did not tell before it died, another one tells', async () => {
  const { clock, board } = world();
  const [one, two] = [board('one'), board('two')];
  await one.cycle([wrong('a')], NOW);
  clock.advance(6_000);
  assert.deepEqual(told(await one.cycle([wrong('a')], NOW)), ['a raised']);
  await two.cycle([wrong('a')], NOW);
  clock.advance(200_000);
  assert.deepEqual(await two.cycle([wrong('a')], NOW), []);
  clock.advance(101_000);
  assert.deepEqual(told(await two.cycle([wrong('a')], NOW)), ['a raised']);
});

test('what happens within the time of a group is one message', async () => {
  const { clock, board } = world();
  const one = board('one');
  const group = { groupMs: 30_000, quiet: false };
  await one.cycle([wrong('a'), wrong('b')], group);
  clock.advance(6_000);
  await one.cycle([wrong('a')], group);
  clock.advance(20_000);
  await one.cycle([wrong('a'), wrong('b')], group);
  clock.advance(6_000);
  assert.deepEqual(await one.cycle([wrong('a'), wrong('b')], group), []);
  clock.advance(6_000);
  assert.deepEqual(told(await one.cycle([wrong('a'), wrong('b')], group)).sort(), ['a raised', 'b raised']);
});

test('in quiet hours only what is urgent is told, the rest afterwards, unless it is over by then', async () => {
  const { clock, board } = world();
  const one = board('one');
  const night = { groupMs: 0, quiet: true };
  const all = [wrong('urgent', { urgent: true }), wrong('later'), wrong('short')];
  await one.cycle(all, night);
  clock.advance(6_000);
  const urgent = await one.cycle(all, night);
  assert.deepEqual(told(urgent), ['urgent raised']);
  await one.told(urgent);
  clock.advance(6_000);
  await one.cycle(all.slice(0, 2), night);
  clock.advance(16_000);
  assert.deepEqual(await one.cycle(all.slice(0, 2), night), []);
  assert.deepEqual(told(await one.cycle(all.slice(0, 2), NOW)), ['later raised']);
});

test('what gets worse is told again', async () => {
  const { clock, board } = world();
  const one = board('one');
  await one.cycle([wrong('a', { level: 1 })], NOW);
  clock.advance(6_000);
  await one.told(await one.cycle([wrong('a', { level: 1 })], NOW));
  assert.deepEqual(told(await one.cycle([wrong('a', { level: 2 })], NOW)), ['a raised']);
});

test('a store that is away loses no notice and doubles none', async () => {
  const { clock, board, live } = world();
  const one = board('one');
  await one.cycle([wrong('a')], NOW);
  clock.advance(6_000);
  const raised = await one.cycle([wrong('a')], NOW);
  live.away = true;
  await one.told(raised);
  await assert.rejects(one.cycle([wrong('a')], NOW));
  live.away = false;
  assert.deepEqual(await one.cycle([wrong('a')], NOW), []);
  assert.equal(live.documents.get('a')?.['told'], true);
});

test('a flood of things that are wrong stays within bounds, and documents by hand are left alone', async () => {
  const { clock, board, live } = world();
  live.documents.set('by-hand', { _id: 'by-hand', v: 1, text: 'hello' });
  const one = board('one');
  const flood = Array.from({ length: 2_000 }, (_, i) => wrong(`kind${i % 10}/${i}`));
  await one.cycle(flood, NOW);
  clock.advance(6_000);
  assert.equal((await one.cycle(flood, NOW)).length, 500);
});

test('of one kind a hundred are told, and something new pushes out nothing that was told', async () => {
  const { clock, board } = world();
  const one = board('one');
  const names = (from: number) => Array.from({ length: 150 }, (_, i) => wrong(`down/${from + i}`));
  await one.cycle([...names(1_000), wrong('lost/n1')], NOW);
  clock.advance(6_000);
  const raised = await one.cycle([...names(1_000), wrong('lost/n1')], NOW);
  assert.equal(raised.length, 101);
  await one.told(raised);
  for (let looks = 0; looks < 10; looks++) {
    // Others come before them.
    assert.deepEqual(await one.cycle([...names(0), ...names(1_000), wrong('lost/n1')], NOW), []);
    clock.advance(6_000);
  }
});

test('what got better without being over is told when it gets worse again', async () => {
  const { clock, board } = world();
  const one = board('one');
  const expiring = async (level: number) => {
    const notices = await one.cycle([wrong('certificate/shop', { level, title: `level ${level}` })], NOW);
    await one.told(notices);
    return notices.map(({ title }) => title);
  };
  await expiring(2);
  clock.advance(6_000);
  assert.deepEqual(await expiring(2), ['level 2']);
  assert.deepEqual(await expiring(1), []);
  assert.deepEqual(await expiring(2), ['level 2']);
  assert.deepEqual(await expiring(2), []);
});
