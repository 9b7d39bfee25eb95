/**
 * Small messages between the processes of all nodes and APIs: hints, acknowledgements, events. Never the truth:
 * messages may be lost, doubled, late or garbage, and every receiver can do without. Two adapters (Redis, local
 * Unix socket) pass one conformance suite (`conformance.ts`). Nothing here ever throws or rejects because the other
 * side is away.
 */
import type { Quarantined } from '../model/live.ts';

/** The Redis channel is the name itself, so `PUBLISH updateProxy x` by hand works too. */
export type Channel = 'updateProxy' | 'kontrol:applied' | 'kontrol:events' | 'kontrol:ask' | 'kontrol:answer';

/** Largest message that is sent or believed, in bytes of JSON. */
export const MAX_MESSAGE_BYTES = 65_536;

/**
 * `updateProxy`: something changed. All fields are optional, since the message may come from anyone: `seq` names
 * the revision, `members` the service whose members changed. Anything else (also an empty or non-JSON message)
 * means: look.
 */
export interface UpdateHint {
  readonly seq?: number;
  readonly members?: string;
}

/** `kontrol:applied`: every serving process of a node serves `seq`, but for what is quarantined there. */
export interface Applied {
  readonly node: string;
  readonly seq: number;
  readonly hash: string;
  /** Milliseconds from the hint (or tick) to the last acknowledgement. */
  readonly ms: number;
  /**
   * Objects that the node could not load, or whose port it could not open. Null when there are too many for a
   * message: then its record names them. Left out by nodes of an earlier version.
   */
  readonly quarantined?: readonly Quarantined[] | null;
}

export interface Bus {
  /** Sends when connected, drops otherwise: never queues, never throws. */
  publish(channel: Channel, message: object): void;
  /** Calls `handler` with each message: the parsed JSON, or undefined for anything that is not a JSON object. */
  subscribe(
    channel: Channel,
    handler: (message: Readonly<Record<string, unknown>> | undefined) => void,
  ): () => void;
  /** Calls `handler` after each time the connection came (back): messages may have been missed, so re-read. */
  onConnected(handler: () => void): () => void;
  readonly connected: boolean;
  close(): Promise<void>;
}
