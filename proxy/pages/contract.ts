/** What the data path asks of `pages/`: a complete answer of the proxy itself, in the form the visitor prefers. */
import type { CauseCode } from '../../shared/causes.ts';

export interface PageRequest {
  readonly cause: CauseCode;
  /** Overrides the status of the cause (429 instead of 503 where the service says so). */
  readonly status?: number;
  readonly host: string;
  readonly requestId: string;
  /** Value of Accept; undefined when absent. */
  readonly accept: string | undefined;
  /** Seconds; null for none. */
  readonly retryAfter: number | null;
  /** Brand whose templates are used; null for the default ones. */
  readonly brand: string | null;
  /** Says what is wrong, for people; the message of the cause when absent. Never carries bytes of the request. */
  readonly message?: string;
}

/** Fields are complete but for Date, Connection and Content-Length, which the protocol engine adds. */
export interface PageAnswer {
  readonly status: number;
  readonly fields: readonly (readonly [name: string, value: string])[];
  readonly body: Buffer;
}

export interface Pages {
  render(request: PageRequest): PageAnswer;
  /** Templates of a brand, or null when it is gone. */
  setBrand(name: string, templates: Readonly<Partial<Record<string, string>>> | null): void;
}
