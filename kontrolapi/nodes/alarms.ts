/** What is wrong with the nodes, as a list for `/v1/nodes`, the log and live events. */
import type { LiveDocument } from '../../shared/store/contract.ts';
import type { Disagreement } from './agreement.ts';

export interface Alarm {
  readonly alarm: 'hash_mismatch' | 'quarantined' | 'deletions_held' | 'node_lost';
  /** What it is about, so that the same alarm is raised and cleared once. */
  readonly about: string;
  readonly message: string;
}

type NodeItem = LiveDocument & { readonly name: string; readonly live: boolean; readonly state: string };

/** Objects named in one message. */
const MAX_NAMED = 5;

export function alarmsOf(nodes: readonly NodeItem[], disagreements: readonly Disagreement[]): Alarm[] {
  const alarms: Alarm[] = disagreements.map(({ seq, hashes }) => ({
    alarm: 'hash_mismatch',
    about: `revision ${seq}`,
    message: `at revision ${seq} not all hold the same objects: ${Object.entries(hashes)
      .map(([hash, names]) => `${hash.slice(0, 12)} on ${names.join(', ')}`)
      .join('; ')}. POST /reload on the internal port of the one that is wrong makes it read afresh`,
  }));
  for (const { name, live, state, quarantined, held } of nodes) {
    // Whoever ended it knows.
    if (state === 'stopped') continue;
    if (!live) {
      const message = `node ${name} has not been heard of for a while; DELETE /v1/nodes/${name} when it is gone for good`;
      alarms.push({ alarm: 'node_lost', about: name, message });
      continue;
    }
    if (Array.isArray(quarantined) && quarantined.length > 0) {
      const named = quarantined.slice(0, MAX_NAMED).map((entry) => `${entry?.kind} ${entry?.name}`);
      const message = `node ${name} could not load ${quarantined.length} object(s): ${named.join(', ')}`;
      alarms.push({ alarm: 'quarantined', about: name, message });
    }
    if (Array.isArray(held) && held.length > 0) {
      const message = `node ${name} holds back ${held.length} deletion(s) until POST /v1/nodes/confirm`;
      alarms.push({ alarm: 'deletions_held', about: name, message });
    }
  }
  return alarms;
}
