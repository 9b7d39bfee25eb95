/**
 * What can happen to the members of one service, as pure edits of the one document that holds them. Whoever writes
 * that document by compare-and-set applies them, so a permission to run is decided atomically between any number of
 * kontrolapi processes: being a member is the permission.
 */
import type { Member } from '../../shared/model/live.ts';

export interface Draft {
  /** Greatest key that ever had a ready member; only grows. */
  current: number | null;
  backends: Member[];
}

export type Permission = 'run' | 'wait';

/**
 * A worker asks to run. The newest registration of an address replaces an older one; who excludes others by its
 * mode waits while one of them is a member, and drops lost ones when it starts: they may still run somewhere.
 */
export function join(draft: Draft, member: Member): Permission {
  const others = draft.backends.filter(
    (other) => other.worker !== member.worker && other.address !== member.address,
  );
  if (others.some((other) => other.state !== 'lost' && excludes(member, other))) {
    // Its own older entry must not keep the place of a process that has to wait now.
    draft.backends = draft.backends.filter((other) => other.worker !== member.worker);
    return 'wait';
  }
  draft.backends = others.filter((other) => !excludes(member, other));
  draft.backends.push(member);
  noteReady(draft, member);
  return 'run';
}

function excludes(a: Member, b: Member): boolean {
  if (a.mode === 'one' || b.mode === 'one') return true;
  return (a.mode === 'version' || b.mode === 'version') && a.version !== b.version;
}

/** A member beats. A drained one stays drained; a lost one is back. False when it is no member (any more). */
export function report(draft: Draft, worker: string, state: 'starting' | 'ready'): boolean {
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
