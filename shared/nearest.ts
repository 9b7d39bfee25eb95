/** What was probably meant by a name that is not known: the nearest of those that are. */

/** The candidate that is at most two edits away, and less than half of the text; null when there is none. */
export function nearest(text: string, candidates: Iterable<string>): string | null {
  let best: string | null = null;
  const given = text.slice(0, 64).toLowerCase();
  let least = Math.min(3, Math.ceil(given.length / 2));
  for (const candidate of candidates) {
    const distance = editDistance(given, candidate.toLowerCase());
    if (distance < least) {
      least = distance;
      best = candidate;
    }
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      next.push(Math.min((next[j - 1] as number) + 1, (row[j] as number) + 1, (row[j - 1] as number) + same));
    }
    row = next;
  }
  return row[b.length] as number;
}
