/** What is known of a request when it has ended, however it ended: one record, one log line, one count each. */
import type { CauseCode } from '../../shared/causes.ts';

/** In which phase a request ended, and by whom. */
export type Phase =
  | 'head'
  | 'decide'
  | 'queue'
  | 'connect'
  | 'send'
  | 'wait'
  | 'response'
  | 'tunnel'
  | 'done';
export type EndedBy = 'complete' | 'client' | 'backend' | 'proxy';

/**
 * Where the answer came from, for services with a cache or coalescing: a stored answer that was fresh (`hit`), past its
 * lifetime (`stale`) or confirmed by the backend (`revalidated`); the backend (`miss`); the request of another visitor
 * (`collapsed`); or the backend because this request may not share (`bypass`).
 */
export type CacheOutcome = 'hit' | 'stale' | 'revalidated' | 'miss' | 'collapsed' | 'bypass';

export interface RequestRecord {
  readonly id: string;
  /** Milliseconds since 1970 when its head was complete. */
  readonly at: number;
  readonly protocol: 'HTTP/1.0' | 'HTTP/1.1' | 'HTTP/2.0' | 'websocket' | 'tcp';
  readonly secure: boolean;
  readonly method: string;
  readonly host: string;
  /** Path and query as received; empty when the head could not be read. */
  readonly target: string;
  readonly address: string;
  readonly referer: string | null;
  readonly userAgent: string | null;
  readonly domain: string | null;
  readonly route: number | null;
  readonly service: string | null;
  readonly key: number | null;
  readonly backend: string | null;
  readonly rule: string | null;
  /** What the visitor got (499 when they left before a head), and what the backend said; 0 when it said nothing. */
  readonly status: number;
  readonly backendStatus: number;
  readonly cause: CauseCode | null;
  readonly phase: Phase;
  readonly endedBy: EndedBy;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly retries: number;
  readonly cache: CacheOutcome | null;
  /** Milliseconds; null where the phase was not reached. */
  readonly queueMs: number | null;
  readonly connectMs: number | null;
  readonly firstByteMs: number | null;
  readonly totalMs: number;
}

export interface Observer {
  /** Exactly once for each request, tunnel and refused head. */
  record(record: RequestRecord): void;
  connectionOpened(): void;
  connectionClosed(): void;
}
