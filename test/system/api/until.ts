/** Waits for a condition that no event tells. */
import { setTimeout as pause } from 'node:timers/promises';

const DEADLINE_MS = 20_000;

/** Asks again and again until `holds` answers true; throws when it has not within 20 s. */
export async function until(holds: () => Promise<boolean> | boolean): Promise<void> {
  const end = performance.now() + DEADLINE_MS;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`this did not come true: ${holds}`);
    await pause(20);
  }
}
