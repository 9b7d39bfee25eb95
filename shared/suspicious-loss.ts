/**
 * When documents that are gone look like an accident (an empty answer, a dropped collection) rather than an edit.
 * Nodes and kontrolapi judge alike, or one would make the deletions that the other holds back.
 */

/** Losing up to this many objects of a kind is an ordinary edit, unless nothing is left. */
const BELIEVABLE = 5;

/** Whether losing `lost` of `count` objects of a kind is not to be believed until someone confirms it. */
export function isSuspiciousLoss(lost: number, count: number): boolean {
  return lost > 0 && (lost >= count || (lost > BELIEVABLE && lost > count / 2));
}
