/**
 * What gives way when processors are short. Serving visitors comes first: the threads that V8 starts in every process
 * (four, for concurrent marking and compiling) and the processes that only keep configuration run at a lower
 * priority. Without this a collection in kontrolapi stands as five threads against the one that serves.
 */
import { readdirSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';

/** Added to the niceness the process was started with: about a third of a processor's share against one that serves. */
const NICER = 5;
/** For the threads of V8: about a tenth. */
const HELPERS_NICER = 10;
const LOWEST = 19;

/** Node's option for a process that is started: one V8 thread beside the main one instead of four. */
export const ONE_HELPER = '--v8-pool-size=1';

/** The threads of V8 in this process give way to its main thread and to every other process. */
export function helpersGiveWay(): void {
  giveWay({ main: 0 });
}

/** All of this process gives way to those that serve visitors, its V8 threads more than its main thread. */
export function processGivesWay(): void {
  giveWay({ main: NICER });
}

/**
 * Linux keeps niceness per thread; elsewhere, and where `/proc` is not mounted, nothing happens. Threads started later
 * take that of the thread that starts them.
 */
function giveWay({ main }: { readonly main: number }): void {
  if (process.platform !== 'linux') return;
  try {
    const started = getPriority();
    const lower = (thread: number, by: number) => setPriority(thread, Math.min(started + by, LOWEST));
    for (const entry of readdirSync('/proc/self/task')) {
      const thread = Number(entry);
      if (thread !== process.pid) lower(thread, HELPERS_NICER);
    }
    if (main > 0) lower(process.pid, main);
  } catch {
    // A matter of latency under load, never of right or wrong: a sandbox may forbid it.
  }
}
