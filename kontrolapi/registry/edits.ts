/**
 * What can happen to the members of one service, as pure edits of the one document that holds them. Whoever writes
 * that document by compare-and-set applies them, so a permission to run is decided atomically between any number of
 * kontrolapi processes: being a member is the permission.
 */
import { KontrolError } from '../../shared/errors.ts';
import type { Member } from '../../shared/model/live.ts';

export interface Draft {
  /** Greatest key that ever had a ready member; only grows. */
  current: number | null;
  backends: Member[];
}

export type Permission = 'run' | 'wait';

/** Members of one key, and of one service over all its keys. */
export const MAX_PER_KEY = 1_000;
export const MAX_PER_SERVICE = 10_000;

/**
 * A worker asks to run. The newest registration of an address replaces an older one; who excludes others by its
 * mode waits while one of them is a member, and drops lost ones when it starts: they may still run somewhere.
 * Throws `conflict` when there is no room for one more.
 */
export function join(draft: Draft, member: Member): Permission {
  // Its own older entry, and one of its address, must not keep the place of a process that has to wait now.
  const others = draft.backends.filter(
    (other) => other.worker !== member.worker && other.address !== member.address,
  );
  if (others.some((other) => other.state !== 'lost' && excludes(member, other))) {
    draft.backends = others;
    return 'wait';
  }
  const beside = others.filter((other) => !excludes(member, other));
  draft.backends = [...withRoom(beside, member.key), member];
  noteReady(draft, member);
  return 'run';
}

/** Lost members make way, the oldest first. */
function withRoom(members: Member[], key: number): Member[] {
  const perKey = members.filter((member) => member.key === key).length;
  const full = perKey >= MAX_PER_KEY || members.length >= MAX_PER_SERVICE;
  if (!full) return members;
  const lost = members.findIndex(
    (member) => member.state === 'lost' && (perKey < MAX_PER_KEY || member.key === key),
  );
  if (lost < 0) {
    throw new KontrolError(
      'conflict',
      `there are ${perKey} workers of key ${key} and ${members.length} of the service already, more than are taken; end some, or use another service`,
    );
  }
  return members.toSpliced(lost, 1);
}

function excludes(a: Member, b: Member): boolean {
  if (a.mode === 'one' || b.mode === 'one') return true;
  return (a.mode === 'version' || b.mode === 'version') && a.version !== b.version;
}

/**
 * A member beats. A drained one stays drained; a lost one is back, with `drain` as one that takes no traffic. False
 * when it is no member (any more).
 */
export function report(draft: Draft, worker: string, state: 'starting' | 'ready' | 'drain'): boolean {
  const index = draft.backends.findIndex((member) => member.worker === worker);
  const member = draft.backends[index];
  if (member === undefined) return false;
  if (member.state === state || member.state === 'drain') return true;
  const changed = { ...member, state };
  draft.backends = draft.backends.with(index, changed);
  noteReady(draft, changed);
  return true;
}

export function drain(draft: Draft, worker: string): boolean {
  const member = draft.backends.find((one) => one.worker === worker);
  if (member === undefined) return false;
  draft.backends = draft.backends.map((one) => (one === member ? { ...one, state: 'drain' } : one));
  return true;
}

export function leave(draft: Draft, workers: ReadonlySet<string>): void {
  draft.backends = draft.backends.filter((member) => !workers.has(member.worker));
}

/** Their leases ran out: out of balancing, kept as the last resort. Answers how many were not lost before. */
export function lose(draft: Draft, workers: ReadonlySet<string>): number {
  let lost = 0;
  draft.backends = draft.backends.map((member) => {
    if (!workers.has(member.worker) || member.state === 'lost') return member;
    lost++;
    return { ...member, state: 'lost' };
  });
  return lost;
}

function noteReady(draft: Draft, member: Member): void {
  if (member.state === 'ready' && (draft.current === null || member.key > draft.current))
    draft.current = member.key;
}
