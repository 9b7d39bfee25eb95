/** Whom a change concerns: the hosts and listeners of the objects it touches, and of those that name them. */
import { claimedHosts, type Domain } from '../../shared/model/domain.ts';
import type { Kind } from '../../shared/model/kinds.ts';
import type { Change } from '../../shared/model/revision.ts';
import type { View } from '../revisions/view.ts';

export interface Effect {
  /** The first fifty hosts; `*` stands for every host, when the settings change or a rule that is global. */
  readonly hosts: readonly string[];
  readonly hostsTotal: number;
  readonly listeners: readonly string[];
}

const MAX_HOSTS = 50;
const MAX_LISTENERS = 50;

/** `before` is the state without, `after` the one with the changes. */
export function effectOf(before: View, after: View, changes: readonly Change[]): Effect {
  const hosts = new Set<string>();
  const listeners = new Set<string>();
  const touch = (kind: Kind, name: string) => {
    if (kind === 'settings') hosts.add('*');
    if (kind === 'listener') listeners.add(name);
    if (kind !== 'domain') return;
    for (const view of [before, after]) {
      const doc = view.get('domain', name)?.doc;
      if (doc !== undefined) for (const host of claimedHosts(doc as unknown as Domain)) hosts.add(host);
    }
  };
  for (const { kind, name } of changes) {
    touch(kind, name);
    for (const view of [before, after]) {
      for (const user of view.referrers(kind, name)) {
        touch(user.kind, user.name);
        // A certificate is named by services, and these by domains.
        if (user.kind === 'service')
          for (const further of view.referrers('service', user.name)) touch(further.kind, further.name);
      }
    }
  }
  const sorted = [...hosts].sort();
  return {
    hosts: sorted.slice(0, MAX_HOSTS),
    hostsTotal: sorted.length,
    listeners: [...listeners].sort().slice(0, MAX_LISTENERS),
  };
}
