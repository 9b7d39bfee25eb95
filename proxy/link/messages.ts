/**
 * The messages between primary, sync and serving processes, over Node's IPC ('json' serialization). The primary
 * relays between sync and serving without looking inside. A process ignores a message type it does not know.
 */
import type { ControlPort } from '../../shared/backend-addresses.ts';
import type { Quarantined } from '../../shared/model/live.ts';
import type { RejectedEntry, TableEntry } from '../../shared/routing/entry.ts';
import type { SettingsOfProcess } from '../../shared/settings.ts';

/** Where and how to accept. `key` names the socket: two equal keys are the same socket. */
export interface ListenerSpec {
  readonly key: string;
  readonly type: 'http' | 'https' | 'tcp';
  /** Empty for all addresses. */
  readonly address: string;
  readonly port: number;
  /** A PROXY header is required on each connection. */
  readonly proxyProtocol: boolean;
  /** Name of the listener object for type tcp; null otherwise. */
  readonly listener: string | null;
}

/** How a backend stands, by identity (`service` and `address`). */
export interface HealthVerdict {
  readonly service: string;
  readonly address: string;
  readonly alive: boolean;
}

/** A service, and a URI of which it keeps no answer any more (RFC 9111 §4.4). */
export type InvalidAnswer = readonly [service: string, uri: string];

/** sync → serving (through the primary). A load is `load`, then `entries` until `last`, and replaces everything. */
export type ToServing =
  | { readonly type: 'load'; readonly generation: number }
  | {
      readonly type: 'entries';
      readonly generation: number;
      readonly entries: readonly TableEntry[];
      readonly last: boolean;
      readonly seq: number;
    }
  /** One change: a revision, a hand edit, members, secrets. `change` grows by one with each, for the acknowledgement. */
  | {
      readonly type: 'change';
      readonly change: number;
      readonly seq: number;
      readonly entries: readonly TableEntry[];
    }
  /** There is no table to be had yet: listen and answer 503. */
  | { readonly type: 'no-table' }
  | { readonly type: 'health'; readonly verdicts: readonly HealthVerdict[] }
  /** Stored answers that unsafe requests made invalid on other nodes. */
  | { readonly type: 'invalid'; readonly answers: readonly InvalidAnswer[] }
  /** Addresses that names of backends stand for now; an empty list means the name never resolved. */
  | { readonly type: 'resolved'; readonly name: string; readonly addresses: readonly string[] }
  /** Places under rate rules, in the order of the asks of message `n`. See `rate/desk.ts`. */
  | {
      readonly type: 'rate-grants';
      readonly n: number;
      readonly grants: readonly (readonly [
        granted: number,
        left: number,
        resetMs: number,
        slot: number,
        /** Where all nodes count; -1 when only this one does. */
        sharedSlot: number,
      ])[];
    }
  /** Asks for what only a serving process knows; `n` comes back in its `answer`. */
  | { readonly type: 'ask'; readonly n: number; readonly about: Question };

export type Question =
  /** Answered by `BackendStatus[]` of `proxy/upstream/upstreams.ts`: active requests and tunnels of each backend. */
  | { readonly type: 'backends' }
  /** How one address of a service stands; answered by `BackendUse` of `proxy/upstream/upstreams.ts`. */
  | { readonly type: 'backend'; readonly service: string; readonly address: string }
  /** Removes stored answers: of one path (its end may be `*`), or all of the service. Answered by their number. */
  | { readonly type: 'purge'; readonly service: string; readonly path: string | null }
  /** The last requests, newest first; answered by `BriefRequest[]` of `proxy/observe/recent.ts`. */
  | { readonly type: 'recent'; readonly count: number }
  /** A request of the recent past by its id; answered by its RequestRecord, or null. */
  | { readonly type: 'request'; readonly id: string };

/** serving → sync (through the primary). */
export type FromServing =
  /** Sent at start and again when sync is new: asks for a load. */
  | { readonly type: 'hello'; readonly pid: number }
  | {
      readonly type: 'loaded';
      readonly generation: number;
      readonly seq: number;
      readonly rejected: readonly RejectedEntry[];
    }
  | {
      readonly type: 'applied';
      readonly change: number;
      readonly seq: number;
      readonly rejected: readonly RejectedEntry[];
    }
  /**
   * Failed connects since the last report. Passive health is shared within the node: the primary passes `failures`
   * and `recovered` on to the other serving processes as well, so sync need not.
   */
  | {
      readonly type: 'failures';
      readonly failures: readonly {
        readonly service: string;
        readonly address: string;
        readonly count: number;
        /** Answers 5xx and ejections, see `proxy/upstream/failure-report.ts`. */
        readonly status5xx?: number;
        readonly ejectedMs?: number;
      }[];
    }
  | { readonly type: 'recovered'; readonly service: string; readonly address: string }
  /** Stored answers that an unsafe request made invalid: for the other nodes, and by the primary for this one. */
  | { readonly type: 'invalid'; readonly answers: readonly InvalidAnswer[] }
  /** Wants places under rate rules, and gives back what it did not use; see `rate/gate.ts`. */
  | {
      readonly type: 'rate-ask';
      readonly n: number;
      readonly asks: readonly (readonly [
        key: string,
        limit: number,
        periodMs: number,
        waiting: number,
        extra: number,
        debt: number,
      ])[];
      readonly back: readonly (readonly [key: string, slot: number, sharedSlot: number, count: number])[];
    }
  /** About once a second, everything when sync is new. Layout: `StatsSnapshot` of `proxy/observe/counters.ts`. */
  | { readonly type: 'stats'; readonly stats: unknown }
  | { readonly type: 'answer'; readonly n: number; readonly answer: unknown };

/** What serving processes of a node tell each other, through the primary; sync hears it, too. */
export type BetweenServing = Extract<FromServing, { readonly type: 'failures' | 'recovered' | 'invalid' }>;

/**
 * primary → serving. A `listen` carries the socket's handle, and `spec.port` is the port it is bound to. Without a
 * handle (fallback of `primary/sockets.ts`) the connections themselves come, as `connection`.
 */
export type PrimaryToServing =
  | { readonly type: 'listen'; readonly spec: ListenerSpec }
  /** A second handle of the same socket, kept unused: pausing closes the one in use, resuming goes on with this. */
  | { readonly type: 'spare'; readonly key: string }
  | { readonly type: 'connection'; readonly key: string }
  | { readonly type: 'unlisten'; readonly key: string }
  | { readonly type: 'drain'; readonly ms: number }
  /** A new sync process is there: say hello. */
  | { readonly type: 'greet' }
  /** `mean`: open connections of a serving process of this node on average; null when it is the only one. */
  | { readonly type: 'ping'; readonly n: number; readonly mean: number | null }
  | { readonly type: 'reopen-logs' };

/** serving → primary. */
export type ServingToPrimary =
  /** It has a table (or word that there is none) and accepts on every socket it was given or will be. */
  | { readonly type: 'ready' }
  /** It accepts on this socket. */
  | { readonly type: 'accepting'; readonly key: string }
  | { readonly type: 'pong'; readonly n: number; readonly rss: number; readonly connections: number }
  | { readonly type: 'wants-spare'; readonly key: string }
  /** The kernel refused to listen on a socket that could be bound: somebody else was faster. */
  | { readonly type: 'listen-failed'; readonly key: string; readonly reason: string }
  /** Nothing is open any more (or the drain time is over); it ends now. */
  | { readonly type: 'drained' };

/** sync → primary. */
export type SyncToPrimary =
  /**
   * Everything the table wants open beside the HTTP addresses of the settings: the TCP listeners, and the HTTPS
   * addresses once there is a certificate. Replaces what was said before. See `link/listener-specs.ts`.
   */
  | { readonly type: 'listeners'; readonly specs: readonly ListenerSpec[] }
  | { readonly type: 'quarantine'; readonly quarantined: readonly Quarantined[] }
  /** Answer to `ping`. A sync process that answered once is replaced when it stops to. */
  | { readonly type: 'pong'; readonly n: number };

/** primary → sync. */
export type PrimaryToSync =
  | {
      readonly type: 'processes';
      readonly processes: readonly {
        readonly role: 'primary' | 'sync' | 'serving';
        readonly id: number;
        readonly pid: number;
        readonly state: 'starting' | 'ready' | 'draining';
      }[];
    }
  /** A serving process has ended, however; its number is never used again. */
  | { readonly type: 'gone'; readonly id: number }
  | { readonly type: 'listen-failed'; readonly key: string; readonly reason: string }
  | { readonly type: 'listening'; readonly key: string; readonly port: number }
  | { readonly type: 'ping'; readonly n: number }
  /** The node is stopping: report not ready, keep everything else going until the channel closes. */
  | { readonly type: 'stopping' }
  /** Every serving process has left in order; the channel closes next, and no other sync process follows. */
  | { readonly type: 'stopped' };

/**
 * What sync sends and gets: `to`/`from` is a serving process's number, or `all` (draining ones too: requests on
 * their open connections are still decided). Serving processes send and get the bare `message`.
 */
export type Relayed =
  | { readonly relay: 'to-serving'; readonly to: number | 'all'; readonly message: ToServing }
  | { readonly relay: 'from-serving'; readonly from: number; readonly message: FromServing };

/** primary → sync or serving, first message of all. A serving process gets the settings without URLs and secrets. */
export interface StartMessage {
  readonly type: 'start';
  /** Number of the serving process, 1…; 0 for sync. */
  readonly id: number;
  readonly settings: SettingsOfProcess;
  /** For serving processes: where our own control plane listens, which no backend may reach. */
  readonly control?: readonly ControlPort[];
}
