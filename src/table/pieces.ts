/**
 * Byte strings too large for one cell, kept as a chain of cells: a word that links to the next piece,
 * then bytes. Every piece but the last is a largest cell, so that large values need no memory of
 * their own and, freed, leave cells that any other large value can use.
 */

import type { Murmur128 } from './murmur128.js';
import { byteOffset, cellBytesMax, nowhere, wordOffset } from './slab.js';
import type { SlabAllocator } from './slab.js';

const linkBytes = 4;
const pieceBytesMax = cellBytesMax - linkBytes;

/** Stores a copy; the address of the first piece. Throws, holding nothing, without memory. */
export function writePieces(slabs: SlabAllocator, source: Uint8Array): number {
  let following = nowhere;
  // From the last piece to the first: each is written once, with its link.
  let end = source.length;
  while (end > 0) {
    const start = end - (end % pieceBytesMax || pieceBytesMax);
    let piece = nowhere;
    try {
      piece = slabs.allocate(linkBytes + end - start);
    } catch (error) {
      freePieces(slabs, following);
      throw error;
    }
    const slab = slabs.slabOf(piece);
    slab.words[wordOffset(piece)] = following;
    slab.bytes.set(source.subarray(start, end), byteOffset(piece) + linkBytes);
    following = piece;
    end = start;
  }
  return following;
}

/** Copies the chain into `target`, which has exactly its length. */
export function readPieces(slabs: SlabAllocator, first: number, target: Uint8Array): void {
  let piece = first;
  for (let start = 0; start < target.length; start += pieceBytesMax) {
    const slab = slabs.slabOf(piece);
    const from = byteOffset(piece) + linkBytes;
    const bytes = Math.min(pieceBytesMax, target.length - start);
    target.set(slab.bytes.subarray(from, from + bytes), start);
    piece = slab.words[wordOffset(piece)]!;
  }
}

/** Hashes the chain, which holds so many bytes; each piece is a run of its own. */
export function addPieces(
  slabs: SlabAllocator,
  first: number,
  bytes: number,
  target: Murmur128,
): void {
  let piece = first;
  for (let start = 0; start < bytes; start += pieceBytesMax) {
    const { words } = slabs.slabOf(piece);
    const word = wordOffset(piece);
    target.add(words, word + 1, Math.min(pieceBytesMax, bytes - start));
    piece = words[word]!;
  }
}

export function freePieces(slabs: SlabAllocator, first: number): void {
  let piece = first;
  while (piece !== nowhere) {
    const following = slabs.slabOf(piece).words[wordOffset(piece)]!;
    slabs.free(piece);
    piece = following;
  }
}
