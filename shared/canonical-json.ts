/**
 * JSON with one spelling per value: keys in order of their code units, no white space, nothing undefined. Two
 * documents are the same exactly when their canonical texts are, whichever store or parser they came through.
 */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item ?? null)).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const object = value as Record<string, unknown>;
  if (typeof object['toJSON'] === 'function') return canonicalJson(object['toJSON']());
  const members: string[] = [];
  for (const key of Object.keys(object).sort()) {
    const member = object[key];
    if (member !== undefined) members.push(`${JSON.stringify(key)}:${canonicalJson(member)}`);
  }
  return `{${members.join(',')}}`;
}
