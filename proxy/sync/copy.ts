/** What the last-known-good copy says, and back: the served entries beside the state of the log that led to them. */
import type { Clock } from '../../shared/clock.ts';
import { KINDS } from '../../shared/model/kinds.ts';
import type { TableEntry } from '../../shared/routing/entry.ts';
import type { Follower, FollowerState } from '../../shared/store/follower.ts';
import { sameDocument } from './documents.ts';
import type { Copy, LoggedObject } from './last-known-good.ts';
import type { Objects } from './objects.ts';
import type { SecretKeys } from './secret-keys.ts';

/** What travels in the table but is kept elsewhere: secrets sealed, the default certificate in its own folder. */
const KEPT_ELSEWHERE: ReadonlySet<string> = new Set(['secret', 'defaultCertificate']);

export function makeCopy(
  { table, seq: served }: { readonly table: ReadonlyMap<string, TableEntry>; readonly seq: number },
  follower: Follower,
  secrets: SecretKeys,
  names: Iterable<readonly [name: string, addresses: readonly string[]]>,
  clock: Clock,
): Copy {
  const log: LoggedObject[] = [];
  for (const kind of KINDS) {
    for (const [name, { doc, rev }] of follower.objects(kind)) {
      const same = sameDocument(table.get(`${kind}/${name}`)?.doc, doc);
      log.push(same ? { kind, name, rev } : { kind, name, rev, doc });
    }
  }
  return {
    store: follower.store,
    seq: follower.seq,
    id: follower.id,
    hash: follower.hash,
    at: clock.now(),
    ...(served === follower.seq ? {} : { served }),
    entries: [...table.values()].filter((entry) => !KEPT_ELSEWHERE.has(entry.kind)),
    log,
    secrets: secrets.sealed(),
    names: [...names].map(([name, addresses]) => ({ name, addresses })),
  };
}

/** Where the log goes on from a copy. */
export function followerState(copy: Copy): FollowerState {
  const docs = new Map(copy.entries.map((entry) => [`${entry.kind}/${entry.name}`, entry.doc]));
  const objects = copy.log.flatMap(({ kind, name, rev, doc }) => {
    const found = doc ?? docs.get(`${kind}/${name}`) ?? null;
    return found === null ? [] : [{ kind, name, rev, doc: found }];
  });
  return { store: copy.store, seq: copy.seq, id: copy.id, objects };
}

/** What is believed of the objects when starting from a copy: what was served, and the log beneath it. */
export function seedObjects(objects: Objects, copy: Copy): void {
  const served = new Map(copy.entries.map((entry) => [`${entry.kind}/${entry.name}`, entry.doc]));
  for (const { kind, name, rev, doc } of followerState(copy).objects) {
    objects.seed(kind, name, served.get(`${kind}/${name}`) ?? null, doc, rev);
    served.delete(`${kind}/${name}`);
  }
  for (const { kind, name, doc } of copy.entries) {
    if (kind === 'members' || kind === 'secret' || kind === 'defaultCertificate') continue;
    // Written by hand, or held back from deletion: the log does not have it.
    if (served.has(`${kind}/${name}`) && doc !== null) objects.seed(kind, name, doc, null, 0);
  }
}
