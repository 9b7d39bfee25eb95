/** Where live events come from: the log, the looks at nodes, and what nodes say on the bus. */
import type { Log } from '../../shared/log.ts';
import type { Revision } from '../../shared/model/revision.ts';
import type { ApiContext } from '../context.ts';
import type { Alarm } from '../nodes/alarms.ts';
import type { NodeItem } from '../nodes/node-watch.ts';
import type { EventHub, LiveEvent } from './hub.ts';
import { WorkerEvents } from './worker-events.ts';

/** Objects that one event names; the revision has them all. */
const MAX_NAMED = 100;
const MAX_TEXT = 300;

export class EventSources {
  readonly #context: ApiContext;
  readonly #hub: EventHub;
  readonly #workers: WorkerEvents;
  readonly #stops: (() => void)[] = [];
  /** What was last said of each node and alarm; null before the first look, which is no news. */
  #nodes: Map<string, string> | null = null;
  #alarms = new Map<string, Alarm>();

  constructor(context: ApiContext, hub: EventHub) {
    this.#context = context;
    this.#hub = hub;
    this.#workers = new WorkerEvents(context, hub);
  }

  start(): void {
    const { present, nodes, bus } = this.#context;
    this.#stops.push(
      present.onStep((revisions) => this.#changed(revisions)),
      nodes.onLook((items, alarms) => {
        this.#looked(items);
        this.#alarmed(alarms, this.#context.log);
      }),
      bus.subscribe('kontrol:events', (message) => this.#said(message ?? {})),
    );
    this.#workers.start();
  }

  close(): void {
    for (const stop of this.#stops) stop();
    this.#workers.close();
  }

  #changed(revisions: readonly Revision[]): void {
    const { present, clock } = this.#context;
    // Everything was read afresh (another store, a restored backup): whoever keeps a copy does the same.
    if (revisions.length === 0 && present.reloads > 1)
      this.#hub.tell({ kind: 'change', at: clock.now(), seq: present.seq, reloaded: true });
    for (const revision of revisions) this.#hub.tell(changeEvent(revision));
  }

  #looked(items: readonly NodeItem[]): void {
    const before = this.#nodes;
    const now = new Map<string, string>();
    for (const { name, live, ready, store, bus, state } of items) {
      const told = { live, ready: live && ready === true, store, bus, state };
      const text = JSON.stringify(told);
      now.set(name, text);
      if (before !== null && before.get(name) !== text)
        this.#hub.tell({ kind: 'node', at: this.#context.clock.now(), node: name, ...told });
    }
    for (const name of before?.keys() ?? []) {
      if (!now.has(name))
        this.#hub.tell({ kind: 'node', at: this.#context.clock.now(), node: name, live: false, gone: true });
    }
    this.#nodes = now;
  }

  #alarmed(alarms: readonly Alarm[], log: Log): void {
    const at = this.#context.clock.now();
    const now = new Map(alarms.map((each) => [`${each.alarm} ${each.about}`, each]));
    for (const [key, each] of now) {
      if (this.#alarms.has(key)) continue;
      this.#hub.tell({ kind: 'alarm', at, raised: true, ...each });
      if (each.alarm === 'hash_mismatch') log.error('hash_mismatch', each.message, { about: each.about });
    }
    for (const [key, each] of this.#alarms) {
      if (now.has(key)) continue;
      this.#hub.tell({ kind: 'alarm', at, raised: false, ...each });
      if (each.alarm === 'hash_mismatch')
        log.info('hash_match', 'all hold the same objects again', { about: each.about });
    }
    this.#alarms = now;
  }

  /** What came over the bus may be from anyone: only what has the right shape is passed on. */
  #said({ event, node, backends }: Readonly<Record<string, unknown>>): void {
    if (event !== 'backends' || typeof node !== 'string' || !Array.isArray(backends)) return;
    const at = this.#context.clock.now();
    for (const each of backends.slice(0, MAX_NAMED)) {
      const { service, address, alive, problem } = (each ?? {}) as Record<string, unknown>;
      if (typeof service !== 'string' || typeof address !== 'string' || typeof alive !== 'boolean') continue;
      this.#hub.tell({
        kind: 'health',
        at,
        node: node.slice(0, MAX_TEXT),
        service: service.slice(0, MAX_TEXT),
        address: address.slice(0, MAX_TEXT),
        alive,
        problem: typeof problem === 'string' ? problem.slice(0, MAX_TEXT) : null,
      });
    }
  }
}

export function changeEvent(revision: Revision): LiveEvent {
  const { seq, at, author, message, changes, undoes, confirmWithinMs } = revision;
  return {
    kind: 'change',
    at,
    seq,
    author,
    message,
    changes: changes
      .slice(0, MAX_NAMED)
      .map(({ kind, name, doc }) => ({ kind, name, deleted: doc === null })),
    changesTotal: changes.length,
    ...(undoes === undefined ? {} : { undoes }),
    ...(confirmWithinMs === undefined ? {} : { confirmUntil: at + confirmWithinMs }),
  };
}
