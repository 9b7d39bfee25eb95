import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../shared/clock.ts';
import { silentLog } from '../../shared/log.ts';
import type { TableEntry } from '../../shared/routing/entry.ts';
import { type Applied, Distributor } from './distribute.ts';
import { Outbox } from './link.ts';
import { ScriptedPrimary, ScriptedServing, until } from './scripted-primary.ts';

function service(name: string, port = 1): TableEntry {
  return { kind: 'service', name, doc: { name, keys: { '1': { backends: [{ address: `h:${port}` }] } } } };
}

function setup() {
  const primary = new ScriptedPrimary();
  const clock = new ManualClock();
  const applied: Applied[] = [];
  const deadly: TableEntry[] = [];
  const again: boolean[] = [];
  const distributor: Distributor = new Distributor(new Outbox(primary), clock, silentLog, {
    confirmed() {},
    applied: (report) => applied.push(report),
    rejected: () => new Set(),
    deadly: (entries) => deadly.push(...entries),
    afterLoad: (hadOne) => {
      again.push(hadOne);
      return [{ type: 'resolved' as const, name: 'h', addresses: ['127.0.0.1'] }].values();
    },
  });
  primary.receiver = (message) => {
    if ('relay' in message) {
      if (message.relay === 'from-serving') distributor.receive(message.from, message.message);
    } else if (message.type === 'processes') distributor.announce(message.processes);
    else if (message.type === 'gone') distributor.gone(message.id);
  };
  return { primary, clock, distributor, applied, deadly, again };
}

test('a new process gets the whole table, a hundred objects a message, then names and health', async () => {
  const { primary, distributor } = setup();
  distributor.install(
    Array.from({ length: 250 }, (_, i) => service(`s${i}`)),
    7,
  );
  const process = primary.spawn();
  await until('it is loaded', () => process.received.length === 5);
  assert.equal(process.table.size, 250);
  assert.equal(process.seq, 7);
  assert.deepEqual(
    process.received.map((message) => ('entries' in message ? message.entries.length : message.type)),
    ['load', 100, 100, 50, 'resolved'],
  );
});

test('a change goes to one process first and to the others after its word; then it is reported once', async () => {
  const { primary, clock, distributor, applied } = setup();
  distributor.install([service('a')], 1);
  const processes = [primary.spawn(), primary.spawn(), primary.spawn()];
  await until('all are loaded', () => distributor.processes().filter((p) => p.loaded).length === 3);
  for (const process of processes) process.answers = false;
  distributor.submit([[service('b')]], 2, clock.monotonic());
  await until('one has it', () => processes.some((process) => process.table.has('service/b')));
  const first = processes.filter((process) => process.table.has('service/b'));
  assert.equal(first.length, 1);
  clock.advance(5);
  first[0]!.answer();
  await until('all have it', () => processes.every((process) => process.table.has('service/b')));
  assert.deepEqual(applied, []);
  for (const process of processes) process.answer();
  await until('it is reported', () => applied.length === 1);
  assert.deepEqual(applied, [{ seq: 2, ms: 5 }]);
});

test('changes that arrive while one is tried go out as one message', async () => {
  const { primary, clock, distributor, applied } = setup();
  distributor.install([], 0);
  const process = primary.spawn();
  await until('it is loaded', () => process.seq === 0);
  process.answers = false;
  for (let seq = 1; seq <= 50; seq++) distributor.submit([[service('s', seq)]], seq, clock.monotonic());
  await until('the first came', () => process.seq === 1);
  process.answer();
  await until('the last came', () => process.seq === 50);
  const changes = process.received.filter((message) => message.type === 'change');
  assert.equal(changes.length, 2);
  await until('it is reported', () => applied.at(-1)?.seq === 50);
});

test('a change that kills two processes is taken out; the others never see it and later changes go on', async () => {
  const { primary, clock, distributor, applied, deadly } = setup();
  distributor.install([service('a')], 1);
  const [one, two] = [primary.spawn(), primary.spawn()];
  await until('both are loaded', () => distributor.processes().filter((p) => p.loaded).length === 2);
  primary.deadly = (entry) => entry.name === 'poison';
  distributor.submit([[service('poison')], [service('good')]], 3, clock.monotonic());
  await until('it is applied', () => {
    clock.advance(1_000);
    return applied.at(-1)?.seq === 3;
  });
  await until('those that came instead are loaded', () =>
    [...primary.serving.values()].every(({ seq }) => seq === 3),
  );
  assert.deepEqual(
    deadly.map((entry) => entry.name),
    ['poison'],
  );
  assert.equal([one, two].filter((process) => primary.serving.has(process.id)).length, 1);
  for (const process of primary.serving.values()) {
    assert.ok(process.table.has('service/good'));
    assert.ok(!process.table.has('service/poison'));
  }
  assert.ok(!distributor.table.has('service/poison'));
});

test('a process that dies once in the middle of a change costs no object', async () => {
  const { primary, clock, distributor, applied, deadly } = setup();
  distributor.install([service('a')], 1);
  primary.spawn();
  primary.spawn();
  await until('both are loaded', () => distributor.processes().filter((p) => p.loaded).length === 2);
  let armed = true;
  primary.deadly = (entry) => {
    const kills = armed && entry.name === 'b';
    if (kills) armed = false;
    return kills;
  };
  distributor.submit([[service('b')]], 2, clock.monotonic());
  await until('it is applied', () => applied.at(-1)?.seq === 2);
  assert.deepEqual(deadly, []);
  assert.equal(primary.deaths, 1);
});

test('one bad object in the first table of all is found by halving', async () => {
  const { primary, clock, distributor, applied, deadly } = setup();
  primary.deadly = (entry) => entry.name === 's5';
  primary.spawn();
  primary.spawn();
  const parts = Array.from({ length: 8 }, (_, i) => [service(`s${i}`)]);
  distributor.submit(parts, 8, clock.monotonic());
  await until('it is applied', () => {
    clock.advance(1_000);
    return applied.at(-1)?.seq === 8 && distributor.table.size === 7;
  });
  assert.deepEqual(
    deadly.map((entry) => entry.name),
    ['s5'],
  );
});

test('one bad object among hundreds of changes that waited together costs no other', async () => {
  const { primary, clock, distributor, applied, deadly } = setup();
  distributor.install([], 0);
  const first = primary.spawn();
  primary.spawn();
  await until('both are loaded', () => distributor.processes().filter((p) => p.loaded).length === 2);
  primary.deadly = (entry) => entry.name === 's150';
  for (const process of primary.serving.values()) process.answers = false;
  for (let seq = 1; seq <= 600; seq++)
    distributor.submit([[service(`s${seq % 300}`, seq)]], seq, clock.monotonic());
  await until('the first came', () => [...primary.serving.values()].some(({ seq }) => seq === 1));
  for (const process of primary.serving.values()) process.answer();
  await until('it is applied', () => {
    clock.advance(1_000);
    return applied.at(-1)?.seq === 600;
  });
  assert.deepEqual(
    deadly.map((entry) => entry.name),
    ['s150'],
  );
  assert.equal(distributor.table.size, 299);
  assert.deepEqual(distributor.table.get('service/s7'), service('s7', 307));
  assert.ok(primary.deaths < 25, `${primary.deaths} processes died`);
  assert.ok(first.received.length < 50);
});

test('when processes die whatever they get, objects stop being blamed for it', async () => {
  const { primary, clock, distributor, deadly } = setup();
  primary.sick = true;
  primary.spawn();
  const parts = Array.from({ length: 32 }, (_, i) => [service(`s${i}`)]);
  distributor.submit(parts, 1, clock.monotonic());
  await until('many died', () => primary.deaths > 100);
  primary.respawns = false;
  assert.ok(deadly.length <= 3, `${deadly.length} objects were blamed`);
});

test('a table of ten thousand changed objects reaches a loaded process as a load, swapped at once', async () => {
  const { primary, clock, distributor, applied } = setup();
  distributor.install([service('a')], 1);
  const process = primary.spawn();
  await until('it is loaded', () => process.seq === 1);
  const many = Array.from({ length: 10_000 }, (_, i) => service(`s${i}`));
  distributor.submit([many], 2, clock.monotonic());
  await until('it is applied', () => applied.at(-1)?.seq === 2);
  assert.equal(process.table.size, 10_001);
  assert.ok(!process.received.some((message) => message.type === 'change'));
});

test('a process that has the table of an earlier sync is never sent back to an older copy', async () => {
  const { primary, clock, distributor } = setup();
  const process = new ScriptedServing(primary, 7);
  process.state = 'ready';
  primary.serving.set(process.id, process);
  primary.announce();
  primary.fromServing(process.id, { type: 'hello', pid: process.pid });
  distributor.install([service('old')], 1);
  await until('it is known', () => distributor.processes().length === 1);
  const fresh = primary.spawn();
  await until('one that has nothing gets the copy at once', () => fresh.seq === 1);
  assert.equal(process.received.length, 0);
  distributor.submit([[service('new')]], 2, clock.monotonic());
  await until('it has both', () => process.table.size === 2);
  const tables = process.received.filter((message) => message.type === 'entries');
  assert.deepEqual(
    tables.map(({ entries }) => entries.length),
    [2],
  );
});

test('without any table a process hears that there is none, and gets the table when it comes', async () => {
  const { primary, clock, distributor, applied } = setup();
  const process = primary.spawn();
  distributor.noTable();
  await until('it knows', () => process.noTable);
  distributor.submit([[service('a')]], 1, clock.monotonic());
  await until('it has it', () => process.seq === 1);
  await until('it is reported', () => applied.at(-1)?.seq === 1);
});

test('a draining process is not waited for', async () => {
  const { primary, clock, distributor, applied } = setup();
  distributor.install([], 0);
  const leaving = primary.spawn();
  const staying = primary.spawn();
  await until('both are loaded', () => distributor.processes().filter((p) => p.loaded).length === 2);
  leaving.answers = false;
  leaving.state = 'draining';
  primary.announce();
  await until('it is known', () => distributor.processes().some((p) => p.state === 'draining'));
  distributor.submit([[service('a')]], 1, clock.monotonic());
  await until('it is reported', () => applied.at(-1)?.seq === 1);
  assert.equal(staying.seq, 1);
});

test('a process that is loaded once more is told all of health: what waited for it was dropped', async () => {
  const { primary, clock, distributor, applied, again } = setup();
  distributor.install([service('a')], 1);
  const process = primary.spawn();
  await until('it is loaded', () => process.seq === 1);
  assert.deepEqual(again, [false]);
  const great = Array.from({ length: 1_500 }, (_, i) => service(`s${i}`));
  distributor.submit([great], 2, clock.monotonic());
  await until('it is applied', () => applied.at(-1)?.seq === 2);
  assert.deepEqual(again, [false, true]);
});
