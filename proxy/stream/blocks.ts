/**
 * Memory that is received into and composed in, used again and again. A block is lent for the length of one call; a
 * stream whose write could not finish at once may keep it instead of copying, and then its owner takes another.
 */

export const BLOCK_SIZE = 65_536;
const MAX_FREE = 64;

/** Received into by every stream over a handle that is not in the middle of bulk data: what is read is used up within the call. */
export const sharedBlock: Buffer = Buffer.allocUnsafeSlow(BLOCK_SIZE);

const free: Buffer[] = [];
/** Blocks that belong to their taker. A block that was kept is in nobody's hands and is left to the collector. */
const owned = new Set<Buffer>();

/** A block of at least `size` bytes; its owner ends with `returnBlock`. */
export function takeBlock(size = BLOCK_SIZE): Buffer {
  const block =
    size <= BLOCK_SIZE ? (free.pop() ?? Buffer.allocUnsafeSlow(BLOCK_SIZE)) : Buffer.allocUnsafeSlow(size);
  owned.add(block);
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

/** For streams: a write under way needs these bytes. The owner finds out by `isOwnedBlock`. */
export function keepBlock(block: Buffer): void {
  owned.delete(block);
}

/** How many blocks are in someone's hands; for leak tests. */
export function ownedBlocks(): number {
  return owned.size;
}
