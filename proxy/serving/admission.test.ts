import assert from 'node:assert/strict';
import test from 'node:test';
import { ManualClock } from '../../shared/clock.ts';
import { silentLog } from '../../shared/log.ts';
import { Admission } from './admission.ts';

function admission({
  max = 0,
  full = (): boolean => false,
  connections = Number.POSITIVE_INFINITY,
  pausable = true,
}: {
  max?: number;
  full?: () => boolean;
  connections?: number;
  pausable?: boolean;
} = {}) {
  const clock = new ManualClock();
  const gate = { paused: false, pauses: 0 };
  const subject = new Admission({
    gate: {
      pause() {
        if (!pausable) return false;
        gate.paused = true;
        gate.pauses++;
        return true;
      },
      resume() {
        gate.paused = false;
      },
    },
    descriptors: { full, stride: 1, connections },
    clock,
    log: silentLog,
    maxConnections: () => max,
  });
  const open = (count: number) => {
    for (let index = 0; index < count; index++) subject.opened();
  };
  return { subject, clock, gate, open };
}

test('a process alone never steps back', () => {
  const { gate, open } = admission();
  open(10_000);
  assert.equal(gate.pauses, 0);
});

test('a process well above its share leaves newcomers to the others for a moment', () => {
  const { subject, clock, gate, open } = admission();
  subject.setMean(100);
  open(141);
  assert.equal(gate.paused, false);
  open(1);
  assert.equal(gate.paused, true);
  clock.advance(20);
  assert.equal(gate.paused, false);
});

test('who steps back again before the mean is told anew does so for longer: the others may wait for a processor', () => {
  const { subject, clock, gate, open } = admission();
  const pauses: number[] = [];
  subject.setMean(0);
  for (let count = 17; pauses.length < 5; count = 2 * count + 1) {
    open(count - subject.open);
    assert.equal(gate.paused, true);
    let waited = 0;
    for (; gate.paused; waited += 20) clock.advance(20);
    pauses.push(waited);
    open(1);
    assert.equal(gate.paused, false);
  }
  assert.deepEqual(pauses, [20, 40, 80, 80, 80]);
  subject.setMean(0);
  open(1);
  clock.advance(20);
  assert.equal(gate.paused, false);
});

test('in a rush of thousands a process steps back a few times only', () => {
  const { subject, clock, gate } = admission();
  subject.setMean(0);
  for (let index = 0; index < 10_000; index++) {
    subject.opened();
    if (gate.paused) clock.advance(80);
  }
  assert.ok(gate.pauses > 1 && gate.pauses < 12, String(gate.pauses));
});

test('out of descriptors it accepts nothing until some are free again', () => {
  let full = false;
  const { clock, gate, open } = admission({ full: () => full });
  open(5);
  full = true;
  open(1);
  assert.equal(gate.paused, true);
  clock.advance(1_000);
  assert.equal(gate.paused, true);
  full = false;
  clock.advance(100);
  assert.equal(gate.paused, false);
});

test('at the configured number of connections it waits until one has ended', () => {
  const { subject, clock, gate, open } = admission({ max: 3 });
  open(3);
  assert.equal(gate.paused, true);
  clock.advance(500);
  assert.equal(gate.paused, true);
  subject.closed();
  clock.advance(100);
  assert.equal(gate.paused, false);
});

test('an error of accept pauses even where the limit is not known', () => {
  const { subject, gate } = admission();
  subject.failed();
  assert.equal(gate.paused, true);
});

test('closed, it neither pauses nor resumes', () => {
  const { subject, clock, gate, open } = admission({ max: 2 });
  open(2);
  subject.close();
  clock.advance(1_000);
  assert.equal(gate.paused, true);
  open(2);
  assert.equal(gate.pauses, 1);
});

test('accepting stops while each visitor has a descriptor left for a backend, and goes on when one has gone', () => {
  const { subject, clock, gate, open } = admission({ connections: 100 });
  open(99);
  assert.equal(gate.paused, false);
  open(1);
  assert.equal(gate.paused, true);
  clock.advance(100);
  assert.equal(gate.paused, true);
  subject.closed();
  clock.advance(100);
  assert.equal(gate.paused, false);
});
