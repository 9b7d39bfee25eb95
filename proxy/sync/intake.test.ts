/** The line between what looks find and what serving processes get, when something in it fails. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../shared/clock.ts';
import { silentLog } from '../../shared/log.ts';
import { Distributor } from './distribute.ts';
import { Guard, type ObjectChange } from './guard.ts';
import { Intake } from './intake.ts';
import { Outbox } from './link.ts';
import { Objects } from './objects.ts';
import { ScriptedPrimary, until } from './scripted-primary.ts';
import { SecretKeys } from './secret-keys.ts';

function service(name: string): ObjectChange {
  return { kind: 'service', name, doc: { name, backends: ['127.0.0.1:1'] } };
}

function setup() {
  const primary = new ScriptedPrimary();
  const distributor: Distributor = new Distributor(new Outbox(primary), new ManualClock(), silentLog, {
    confirmed() {},
    applied() {},
    rejected: () => new Set(),
    deadly() {},
    afterLoad: () => [].values(),
  });
  primary.receiver = (message) => {
    if ('relay' in message) {
      if (message.relay === 'from-serving') distributor.receive(message.from, message.message);
    } else if (message.type === 'processes') distributor.announce(message.processes);
  };
  const failures: Error[] = [];
  const intake = new Intake({
    guard: new Guard(silentLog),
    objects: new Objects(),
    secrets: new SecretKeys(() => null, null),
    distributor,
    log: silentLog,
    async servicesChanged() {
      const failure = failures.pop();
      if (failure !== undefined) throw failure;
    },
  });
  const found = (seq: number, ...parts: ObjectChange[][]) =>
    intake.found({ parts, seq, hash: '', at: null, since: 0, reread: false });
  return { primary, intake, failures, found };
}

test('a change that could not be taken in is not lost: it goes out with the next one', async () => {
  const { primary, intake, failures, found } = setup();
  await found(1, [service('first')]);
  const process = primary.spawn();
  await until('it serves the first', () => process.table.has('service/first'));
  failures.push(new Error('a defect'));
  await found(2, [service('second')]);
  assert.equal(intake.seq, 1, 'what is not in force is not reported as applied');
  await found(3, [service('third')]);
  await until('it serves them all', () => process.seq === 3);
  assert.deepEqual([...process.table.keys()].sort(), ['service/first', 'service/second', 'service/third']);
});

test('a newer state of an object is not undone by the repetition of an older one', async () => {
  const { primary, failures, found } = setup();
  await found(1, [service('first')]);
  const process = primary.spawn();
  failures.push(new Error('a defect'));
  await found(2, [service('second')]);
  await found(3, [{ kind: 'service', name: 'second', doc: null }, service('third')]);
  await until('it serves the third', () => process.seq === 3);
  assert.ok(!process.table.has('service/second'));
});
