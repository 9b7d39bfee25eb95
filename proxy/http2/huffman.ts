/**
 * The Huffman code of HPACK (RFC 7541 §5.2, Appendix B). The code is canonical, so the lengths say everything; both
 * directions work from tables that are made once. What does not end as the RFC wants it is refused.
 */

/** Bits of the code of each byte; the last one is EOS. */
// biome-ignore format: sixteen to a row
const LENGTHS: readonly number[] = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
  28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
  6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
  5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
  7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
  15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
  6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
  20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
  24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
  22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
  21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
  19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
  20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
  26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
  30,
];
const EOS = 256;
const MAX_LENGTH = 30;
/** A string ends with at most this many bits of padding. */
const MAX_PADDING = 7;

const codes = canonicalCodes();
const lengths = Uint8Array.from(LENGTHS);

function canonicalCodes(): Uint32Array {
  const all = new Uint32Array(LENGTHS.length);
  let code = 0;
  for (let length = 1; length <= MAX_LENGTH; length++) {
    for (let symbol = 0; symbol < LENGTHS.length; symbol++)
      if (LENGTHS[symbol] === length) all[symbol] = code++;
    code *= 2;
  }
  return all;
}

/**
 * The decoder walks the code's tree four bits at a time. An entry: the next node, whether a byte was completed on the
 * way and which; `REFUSED` where EOS would be. A node is an inner node of the tree; node 0 is the root.
 */
const NODE_SHIFT = 9;
const EMITS = 256;
const REFUSED = -1;
const transitions: Int32Array = new Int32Array(EOS * 16);
/** By node, whether a string may end there: only ones since the last byte, fewer than eight. */
const accepting: Uint8Array = new Uint8Array(EOS);
makeTransitions();

function makeTransitions(): void {
  // Children of inner nodes: another inner node, or a symbol as -1 - symbol.
  const children: [number | null, number | null][] = [[null, null]];
  for (let symbol = 0; symbol <= EOS; symbol++) {
    const length = LENGTHS[symbol] as number;
    let node = 0;
    for (let bit = length - 1; bit >= 0; bit--) {
      const side = ((codes[symbol] as number) >>> bit) & 1;
      const pair = children[node] as [number | null, number | null];
      if (bit === 0) pair[side] = -1 - symbol;
      else {
        pair[side] ??= children.push([null, null]) - 1;
        node = pair[side] as number;
      }
    }
  }
  for (let node = 0; node < children.length; node++) {
    for (let bits = 0; bits < 16; bits++) transitions[node * 16 + bits] = transition(children, node, bits);
  }
  let node = 0;
  for (let bits = 0; bits <= MAX_PADDING; bits++) {
    accepting[node] = 1;
    node = children[node]?.[1] as number;
  }
}

function transition(children: [number | null, number | null][], from: number, bits: number): number {
  let node = from;
  let emitted = 0;
  for (let bit = 3; bit >= 0; bit--) {
    const child = children[node]?.[(bits >>> bit) & 1] as number;
    if (child >= 0) node = child;
    else {
      if (child === -1 - EOS) return REFUSED;
      // No code is shorter than five bits, so at most one byte ends within four.
      emitted = EMITS | (-1 - child);
      node = 0;
    }
  }
  return (node << NODE_SHIFT) | emitted;
}

/**
 * Decodes `start`…`end` to `target` from `at` on, which must have room for 8/5 as many bytes. Answers the position
 * behind the last byte, or -1 when the string is not valid.
 */
export function decodeHuffman(
  source: Buffer,
  start: number,
  end: number,
  target: Buffer,
  at: number,
): number {
  let node = 0;
  let out = at;
  // In range: `start`…`end` lies in the source, nodes and entries come from the tables above.
  for (let i = start; i < end; i++) {
    const byte = source[i] as number;
    let entry = transitions[node * 16 + (byte >>> 4)] as number;
    if (entry < 0) return -1;
    if ((entry & EMITS) !== 0) target[out++] = entry & 255;
    entry = transitions[(entry >>> NODE_SHIFT) * 16 + (byte & 15)] as number;
    if (entry < 0) return -1;
    if ((entry & EMITS) !== 0) target[out++] = entry & 255;
    node = entry >>> NODE_SHIFT;
  }
  return accepting[node] === 1 ? out : -1;
}

/** How many bytes the bytes take in the code. */
export function huffmanLength(source: Buffer, start: number, end: number): number {
  let bits = 0;
  for (let i = start; i < end; i++) bits += lengths[source[i] as number] as number;
  return (bits + 7) >>> 3;
}

/** Encodes to `target` from `at` on, which must have room for `huffmanLength`; answers the position behind it. */
export function encodeHuffman(
  source: Buffer,
  start: number,
  end: number,
  target: Buffer,
  at: number,
): number {
  let out = at;
  /** Bits that have not made a byte yet, fewer than eight of them. */
  let pending = 0;
  let count = 0;
  for (let i = start; i < end; i++) {
    const symbol = source[i] as number;
    const code = codes[symbol] as number;
    let left = lengths[symbol] as number;
    while (left > 0) {
      const take = Math.min(8 - count, left);
      left -= take;
      pending = (pending << take) | ((code >>> left) & ((1 << take) - 1));
      count += take;
      if (count === 8) {
        target[out++] = pending;
        pending = 0;
        count = 0;
      }
    }
  }
  // Padded with the beginning of EOS: ones.
  if (count > 0) target[out++] = (pending << (8 - count)) | ((1 << (8 - count)) - 1);
  return out;
}
