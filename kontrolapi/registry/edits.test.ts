import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Member, StartMode } from '../../shared/model/live.ts';
import { type Draft, drain, join, leave, lose, MAX_PER_KEY, report } from './edits.ts';

let counter = 0;
function member(over: Partial<Member> = {}): Member {
  counter++;
  return {
    worker: `w${counter}`,
    key: 1,
    address: `10.0.0.1:${3_000 + counter}`,
    weight: 1,
    state: 'starting',
    since: counter,
    name: '',
    mode: 'many',
    version: '',
    ...over,
  };
}
const draft = (...backends: Member[]): Draft => ({ current: null, backends });
const ids = (from: Draft) => from.backends.map((one) => one.worker);

test('the newest registration of an address replaces the older one', () => {
  const old = member({ address: '10.0.0.1:80' });
  const fresh = member({ address: '10.0.0.1:80' });
  const members = draft(old);
  assert.equal(join(members, fresh), 'run');
  assert.deepEqual(ids(members), [fresh.worker]);
});

test('a registration that has to wait takes the older one of its address out of balancing', () => {
  const old = member({ address: '10.0.0.1:80', state: 'ready' });
  const beside = member({ state: 'ready' });
  const members = draft(old, beside);
  assert.equal(join(members, member({ address: '10.0.0.1:80', mode: 'one' })), 'wait');
  assert.deepEqual(ids(members), [beside.worker]);
});

test('a key that is full takes one more only in the place of a lost one, the oldest first', () => {
  const full = Array.from({ length: MAX_PER_KEY }, () => member({ state: 'ready' }));
  const members = draft(...full);
  assert.throws(() => join(members, member()), { code: 'conflict' });
  assert.equal(join(members, member({ key: 2 })), 'run');
  lose(members, new Set([full[3]?.worker ?? '', full[7]?.worker ?? '']));
  const fresh = member();
  assert.equal(join(members, fresh), 'run');
  const left = new Set(ids(members));
  assert.deepEqual([left.has(full[3]?.worker ?? ''), left.has(full[7]?.worker ?? '')], [false, true]);
  assert.equal(left.has(fresh.worker), true);
});

test('one: the second waits until the first has left, and never beside a drained one', () => {
  const first = member({ mode: 'one' });
  const second = member({ mode: 'one' });
  const members = draft();
  assert.equal(join(members, first), 'run');
  assert.equal(join(members, second), 'wait');
  drain(members, first.worker);
  assert.equal(join(members, second), 'wait');
  leave(members, new Set([first.worker]));
  assert.equal(join(members, second), 'run');
});

test('one: the next takes over from a lost one, which has to wait when it is back', () => {
  const first = member({ mode: 'one' });
  const second = member({ mode: 'one' });
  const members = draft(first);
  assert.equal(lose(members, new Set([first.worker])), 1);
  assert.equal(join(members, second), 'run');
  assert.deepEqual(ids(members), [second.worker]);
  assert.equal(report(members, first.worker, 'ready'), false);
  assert.equal(join(members, first), 'wait');
});

test('version: workers of the running version join, another version waits for all of them', () => {
  const members = draft();
  const a1 = member({ mode: 'version', version: 'a' });
  const a2 = member({ mode: 'version', version: 'a' });
  const b = member({ mode: 'version', version: 'b' });
  assert.deepEqual([join(members, a1), join(members, a2), join(members, b)], ['run', 'run', 'wait']);
  leave(members, new Set([a1.worker]));
  assert.equal(join(members, b), 'wait');
  leave(members, new Set([a2.worker]));
  assert.equal(join(members, b), 'run');
});

test('current grows with the first ready member of a greater key and never shrinks', () => {
  const members = draft();
  const old = member({ key: 41 });
  const fresh = member({ key: 42 });
  join(members, old);
  join(members, fresh);
  assert.equal(members.current, null);
  report(members, old.worker, 'ready');
  assert.equal(members.current, 41);
  report(members, fresh.worker, 'ready');
  assert.equal(members.current, 42);
  leave(members, new Set([fresh.worker]));
  report(members, old.worker, 'starting');
  report(members, old.worker, 'ready');
  assert.equal(members.current, 42);
});

test('a drained member stays drained whatever it reports; a lost one is back with its next beat', () => {
  const members = draft(member({ state: 'ready' }), member({ state: 'ready' }));
  const [first, second] = members.backends as [Member, Member];
  drain(members, first.worker);
  lose(members, new Set([second.worker]));
  report(members, first.worker, 'ready');
  report(members, second.worker, 'ready');
  assert.deepEqual(
    members.backends.map((one) => one.state),
    ['drain', 'ready'],
  );
});

test('whatever happens in whatever order, workers that exclude each other are never members together', () => {
  const mode = fc.constantFrom<StartMode>('many', 'one', 'version');
  const event = fc.record({
    what: fc.constantFrom('join', 'report', 'lose', 'leave', 'drain'),
    who: fc.nat({ max: 5 }),
  });
  fc.assert(
    fc.property(
      fc.array(fc.tuple(mode, fc.constantFrom('a', 'b')), { minLength: 6, maxLength: 6 }),
      fc.array(event, { maxLength: 40 }),
      (kinds, events) => {
        const workers = kinds.map(([kind, version], index) =>
          member({ mode: kind, version, worker: `p${index}` }),
        );
        const members = draft();
        for (const { what, who } of events) {
          const worker = workers[who] as Member;
          if (what === 'join') join(members, worker);
          else if (what === 'report') report(members, worker.worker, 'ready');
          else if (what === 'lose') lose(members, new Set([worker.worker]));
          else if (what === 'leave') leave(members, new Set([worker.worker]));
          else drain(members, worker.worker);
          for (const a of members.backends) {
            for (const b of members.backends) {
              if (a === b) continue;
              assert.ok(a.mode !== 'one', 'one runs beside another');
              if (a.mode === 'version') assert.equal(a.version, b.version);
            }
          }
        }
      },
    ),
  );
});
