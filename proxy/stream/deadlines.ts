/**
 * Deadlines of streams as such: how long one that closes waits for its peer, how often one that hears nothing looks
 * whether the peer is still there. Those of protocols belong to their engines. Shared by all variants.
 */
import { TimerWheel } from './timer-wheel.ts';

/** Above this many bytes that the kernel has not taken, `write` says false. */
export const HIGH_WATER = 65_536;
/** How long `close` waits for the FIN of the peer, so that an unread byte does not turn our last ones into a reset. */
export const LINGER_MS = 2_000;
/** A closing peer that takes nothing of what is pending for this long is given up. */
export const STALL_MS = 30_000;
/** The kernel reports no reset to who neither reads nor writes: a paused stream asks this often. */
export const PROBE_MS = 500;
/** Seconds of silence after which the kernel asks whether the peer is still there. */
export const KEEP_ALIVE_S = 60;
/** After a write failed, the event loop comes round this often without a byte before the stream is given up. */
export const LAST_WORDS_ROUNDS = 2;

/** Runs only once a stream asked for a deadline. */
export const timers: TimerWheel = new TimerWheel(reportFailure);

let report: (error: unknown) => void = (error) => {
  // Nobody said where to: it surfaces as an uncaught exception, apart from whatever runs now.
  setImmediate(() => {
    throw error;
  });
};

/** Where exceptions go that nobody above a stream catches; the stream has ended by then, and nothing else has. */
export function setFailureReport(to: (error: unknown) => void): void {
  report = to;
}

export function reportFailure(error: unknown): void {
  report(error);
}
