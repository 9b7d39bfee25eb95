/**
 * What a person or a supervisor asks for by signals, told from how often a signal arrives: a terminal sends it to every
 * process of its group, and `npx` sends it on once more, so that one Ctrl-C would count as "a second one ends at once".
 */

/** Signals that come this close together are one. */
const TOGETHER_MS = 300;

/** A handler of signals that calls `pressed` once for those that come together. `now` in milliseconds. */
export function presses(
  pressed: (signal: NodeJS.Signals) => void,
  now: () => number = () => performance.now(),
): (signal: NodeJS.Signals) => void {
  let last = Number.NEGATIVE_INFINITY;
  return (signal) => {
    const at = now();
    if (at - last < TOGETHER_MS) return;
    last = at;
    pressed(signal);
  };
}
