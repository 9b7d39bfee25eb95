/**
 * Memory that is received into and composed in, used again and again. A block is lent for the length of one call; a
 * stream whose write could not finish at once may keep it instead of copying, and then its owner takes another.
 */

export const BLOCK_SIZE = 65_536;
const MAX_FREE = 64;

/** Received into by every stream over a handle that is not in the middle of bulk data: what is read is used up within the call. */
export const sharedBlock: Buffer = Buffer.allocUnsafeSlow(BLOCK_SIZE);

const free: Buffer[] = [];
/** Longest beginning of a block whose view is kept: most heads are shorter. */
const MAX_VIEW = 4_096;
/**
 * Blocks that belong to their taker, with views of their beginnings by length: what is composed at the start of a block
 * is often as long as something before. A block that was kept is in nobody's hands and is left to the collector.
 */
const owned = new Map<Buffer, (Buffer | undefined)[] | null>();

/** A block of at least `size` bytes; its owner ends with `returnBlock`. */
export function takeBlock(size = BLOCK_SIZE): Buffer {
  const block =
    size <= BLOCK_SIZE ? (free.pop() ?? Buffer.allocUnsafeSlow(BLOCK_SIZE)) : Buffer.allocUnsafeSlow(size);
  owned.set(block, null);
  return block;
}

/** Back to the free list; does nothing for a block that was kept. */
export function returnBlock(block: Buffer): void {
  if (owned.delete(block) && block.length === BLOCK_SIZE && free.length < MAX_FREE) free.push(block);
}

/** Whether the block still belongs to whoever took it. */
export function isOwnedBlock(buffer: Buffer): boolean {
  return owned.has(buffer);
}

/** The bytes `start` … `end` of a block, without copying them; not to be kept for longer than its owner has it. */
export function viewOf(block: Buffer, start: number, end: number): Buffer {
  let views = start === 0 && end <= MAX_VIEW ? owned.get(block) : undefined;
  if (views === undefined) return block.subarray(start, end);
  if (views === null) {
    views = new Array<Buffer | undefined>(MAX_VIEW + 1).fill(undefined);
    owned.set(block, views);
  }
  let view = views[end];
  if (view === undefined) {
    view = block.subarray(0, end);
    views[end] = view;
  }
  return view;
}

/** For streams: a write under way needs these bytes. The owner finds out by `isOwnedBlock`. */
export function keepBlock(block: Buffer): void {
  owned.delete(block);
}

/** How many blocks are in someone's hands; for leak tests. */
export function ownedBlocks(): number {
  return owned.size;
}
