/** Live documents: they come and go all day and do not go through revisions. */
import { z } from 'zod';

/** `starting`: its program runs but takes no traffic yet. `lost`: its lease ran out; the last resort. */
export const MEMBER_STATES = ['starting', 'ready', 'drain', 'lost'] as const;

/** `many`: any number runs. `one`: one at a time. `version`: only workers of one version at a time. */
export const START_MODES = ['many', 'one', 'version'] as const;
export type StartMode = (typeof START_MODES)[number];

export const memberSchema = z.object({
  worker: z.string().max(128),
  key: z.number().int().min(1),
  address: z.string().max(300),
  weight: z.number().int().min(0).max(1_000),
  state: z.enum(MEMBER_STATES),
  /** Milliseconds since 1970 of the registration; the newest wins in broker mode. */
  since: z.number(),
  name: z.string().max(256),
  /** Start mode and version of the worker: who else may run is decided by compare-and-set on this document. */
  mode: z.enum(START_MODES).default('many'),
  version: z.string().max(256).default(''),
});
export type Member = z.output<typeof memberSchema>;

/** `members/<service>`: the worker backends of one service, changed by compare-and-set on `v`. */
export const membersSchema = z.object({
  _id: z.string(),
  v: z.number().int().min(0),
  /** The greatest key that ever had a ready backend; null when none had. Only ever grows. */
  current: z.number().int().min(1).nullable(),
  backends: z.array(memberSchema).max(10_000),
});
export type Members = z.output<typeof membersSchema>;

/** An object that a node could not load; its last good version, if any, stays in force. */
export interface Quarantined {
  readonly kind: string;
  readonly name: string;
  readonly reason: string;
  /** True when an older good version is served instead. */
  readonly lastGood: boolean;
}

/** Names at most 2 000 each, sorted. */
export interface ServiceTrouble {
  /** Services of which no backend is left alive. */
  readonly down: readonly string[];
  /** Backends (`service address`) that went dead and came back again and again. */
  readonly flapping: readonly string[];
  /** Backends that are dead while others of their service serve; left out by nodes of an earlier version. */
  readonly dead?: readonly string[];
  /**
   * Backends of which the last check failed, too few times in a row to tell, and services that have no others left:
   * what was known of them before, maybe by an earlier sync process, is not over yet. Left out by earlier versions.
   */
  readonly failingBackends?: readonly string[];
  readonly failingServices?: readonly string[];
  /** All checks fail at once and are not believed; left out by nodes of an earlier version. */
  readonly checksSuspended?: boolean;
}

/** `nodes/<name>`: what a node says of itself, every few seconds and after each applied revision. */
export interface NodeRecord {
  readonly _id: string;
  readonly version: string;
  readonly seq: number;
  readonly hash: string;
  /** Milliseconds between the revision's time and its last acknowledgement here. */
  readonly lagMs: number;
  readonly processes: readonly {
    readonly role: 'primary' | 'sync' | 'serving';
    readonly id: number;
    readonly pid: number;
    readonly seq: number;
  }[];
  readonly quarantined: readonly Quarantined[];
  /** Objects whose stored document was edited by hand and differs from the log. */
  readonly drift: readonly string[];
  readonly store: 'up' | 'down';
  readonly bus: 'up' | 'down';
  readonly ready: boolean;
  /**
   * `stopping`: it was told to end and still serves what it has begun. `stopped`: it has ended in order, and nobody
   * waits for it; one that was killed says `running` until its beat is missed. Left out by nodes of an earlier version.
   */
  readonly state?: 'running' | 'stopping' | 'stopped';
  /** Deletions that the emptiness guard holds back, `kind/name`; empty when there is no alarm. */
  readonly held: readonly string[];
  /** What visitors may be about to notice; left out by nodes of an earlier version. */
  readonly trouble?: ServiceTrouble;
  /**
   * Until when the certificate of the folder `--certs` is valid, in milliseconds since 1970; null without one, left
   * out by nodes of an earlier version.
   */
  readonly certificateValidTo?: number | null;
  /** Increases with every write; readers time its changes on their own clock. */
  readonly beat: number;
}
