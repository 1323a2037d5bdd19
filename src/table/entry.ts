/**
 * The one place that knows how an entry lies in its cell: six words, then the key, then the value.
 *
 *     word 0  address of the next entry in the chain
 *     word 1  hash of the key
 *     word 2  version, low 32 bits
 *     word 3  version, high 21 bits
 *     word 4  length of the value in bytes
 *     word 5  length of the key (bits 0-15), kind (bits 16-23), 1 = value in pieces (bits 24-31)
 *
 * An entry too large for one cell holds, in the place of the value and aligned to a word, the address
 * of the first piece. It is not the table: it follows chains but does not know where they begin.
 */

import type { Murmur128 } from './murmur128.js';
import { addPieces, freePieces, readPieces, writePieces } from './pieces.js';
import { byteOffset, cellBytesMax, nowhere, wordOffset } from './slab.js';
import type { SlabAllocator } from './slab.js';

/** What the table hands out for one key. */
export interface TableEntry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly version: number;
}

const hashWord = 1;
const versionLowWord = 2;
const versionHighWord = 3;
const valueBytesWord = 4;
const shapeWord = 5;
const headerBytes = 24;

const keyBytesMask = 0xffff;
/** Reserved for entries that are not a value (lists): bits 16-23 of the shape word. */
const kindValue = 0 << 16;
const inPieces = 1 << 24;

const twoTo32 = 2 ** 32;

export class EntryStore {
  readonly #slabs: SlabAllocator;

  constructor(slabs: SlabAllocator) {
    this.#slabs = slabs;
  }

  /** An entry that is in no chain yet. Throws, holding nothing, without memory. */
  create(hash: number, key: Uint8Array, value: Uint8Array, version: number): number {
    const bytes = headerBytes + key.length + value.length;
    const address =
      bytes <= cellBytesMax ? this.#slabs.allocate(bytes) : this.#allocateInPieces(key, value);
    const slab = this.#slabs.slabOf(address);
    const word = wordOffset(address);
    const shape = key.length | kindValue;
    slab.words[word] = nowhere;
    slab.words[word + hashWord] = hash;
    slab.words[word + shapeWord] = bytes <= cellBytesMax ? shape : shape | inPieces;
    slab.bytes.set(key, byteOffset(address) + headerBytes);
    this.#setVersion(address, version);
    slab.words[word + valueBytesWord] = value.length;
    if (bytes <= cellBytesMax) {
      slab.bytes.set(value, byteOffset(address) + headerBytes + key.length);
    }
    return address;
  }

  /** Changes the value in its cell, if a new entry would get a cell of the same size; false if not. */
  overwrite(address: number, value: Uint8Array, version: number): boolean {
    const slab = this.#slabs.slabOf(address);
    const word = wordOffset(address);
    const shape = slab.words[word + shapeWord]!;
    const bytes = headerBytes + (shape & keyBytesMask) + value.length;
    if (shape & inPieces || bytes > cellBytesMax || !this.#slabs.fits(address, bytes)) return false;
    slab.words[word + valueBytesWord] = value.length;
    slab.bytes.set(value, byteOffset(address) + headerBytes + (shape & keyBytesMask));
    this.#setVersion(address, version);
    return true;
  }

  /** An equal entry in a cell of its own, in no chain. Throws, holding nothing, without memory. */
  copy(address: number): number {
    return this.create(
      this.hash(address),
      this.#key(address),
      this.value(address),
      this.version(address),
    );
  }

  free(address: number): void {
    const first = this.#firstPiece(address);
    this.#slabs.free(address);
    freePieces(this.#slabs, first);
  }

  next(address: number): number {
    return this.#slabs.slabOf(address).words[wordOffset(address)]!;
  }

  setNext(address: number, next: number): void {
    this.#slabs.slabOf(address).words[wordOffset(address)] = next;
  }

  hash(address: number): number {
    return this.#slabs.slabOf(address).words[wordOffset(address) + hashWord]!;
  }

  version(address: number): number {
    const { words } = this.#slabs.slabOf(address);
    const word = wordOffset(address);
    return words[word + versionHighWord]! * twoTo32 + words[word + versionLowWord]!;
  }

  /** A view into the slab, good until the next change of the table; a copy if it lies in pieces. */
  value(address: number): Uint8Array {
    const slab = this.#slabs.slabOf(address);
    const word = wordOffset(address);
    const valueBytes = slab.words[word + valueBytesWord]!;
    const shape = slab.words[word + shapeWord]!;
    if (shape & inPieces) {
      const target = new Uint8Array(valueBytes);
      readPieces(this.#slabs, this.#firstPiece(address), target);
      return target;
    }
    const start = byteOffset(address) + headerBytes + (shape & keyBytesMask);
    return slab.bytes.subarray(start, start + valueBytes);
  }

  /**
   * The hash of everything that the entry says: key, value, version, kind, their lengths and the
   * hash of the key. Reads memory as it is now. Where the entry lies, and what follows it, is not part of it.
   */
  digest(address: number, target: Murmur128): void {
    const { words } = this.#slabs.slabOf(address);
    const word = wordOffset(address);
    const valueBytes = words[word + valueBytesWord]!;
    const shape = words[word + shapeWord]!;
    const bytes = headerBytes - hashWord * 4 + (shape & keyBytesMask);
    target.start();
    if (shape & inPieces) {
      target.add(words, word + hashWord, bytes);
      addPieces(this.#slabs, this.#firstPiece(address), valueBytes, target);
    } else {
      target.add(words, word + hashWord, bytes + valueBytes);
    }
  }

  /** What the entry weighs in a page of a snapshot: key, value and header. */
  weight(address: number): number {
    const { words } = this.#slabs.slabOf(address);
    const word = wordOffset(address);
    return headerBytes + words[word + valueBytesWord]! + (words[word + shapeWord]! & keyBytesMask);
  }

  /** A copy of the whole entry that the caller owns; `allocate` gives the memory for it. */
  read(address: number, allocate: (bytes: number) => Uint8Array): TableEntry {
    const keyView = this.#key(address);
    const key = allocate(keyView.length);
    key.set(keyView);
    let value = this.value(address);
    if (this.#firstPiece(address) === nowhere) {
      const view = value;
      value = allocate(view.length);
      value.set(view);
    }
    return { key, value, version: this.version(address) };
  }

  /** The entry with that key in the chain that begins at `head`, or `nowhere`. */
  find(head: number, hash: number, key: Uint8Array): number {
    let address = head;
    while (address !== nowhere) {
      const slab = this.#slabs.slabOf(address);
      const word = wordOffset(address);
      if (
        slab.words[word + hashWord] === hash &&
        (slab.words[word + shapeWord]! & keyBytesMask) === key.length &&
        equalsAt(slab.bytes, byteOffset(address) + headerBytes, key)
      ) {
        return address;
      }
      address = slab.words[word]!;
    }
    return nowhere;
  }

  #key(address: number): Uint8Array {
    const slab = this.#slabs.slabOf(address);
    const start = byteOffset(address) + headerBytes;
    const keyBytes = slab.words[wordOffset(address) + shapeWord]! & keyBytesMask;
    return slab.bytes.subarray(start, start + keyBytes);
  }

  #setVersion(address: number, version: number): void {
    const { words } = this.#slabs.slabOf(address);
    const word = wordOffset(address);
    words[word + versionLowWord] = version >>> 0;
    words[word + versionHighWord] = Math.floor(version / twoTo32);
  }

  #firstPiece(address: number): number {
    const { words } = this.#slabs.slabOf(address);
    const word = wordOffset(address);
    const shape = words[word + shapeWord]!;
    return shape & inPieces ? words[word + pieceWord(shape & keyBytesMask)]! : nowhere;
  }

  #allocateInPieces(key: Uint8Array, value: Uint8Array): number {
    const first = writePieces(this.#slabs, value);
    let address = nowhere;
    try {
      address = this.#slabs.allocate((pieceWord(key.length) + 1) * 4);
    } catch (error) {
      freePieces(this.#slabs, first);
      throw error;
    }
    const { words } = this.#slabs.slabOf(address);
    words[wordOffset(address) + pieceWord(key.length)] = first;
    return address;
  }
}

/** The word of an entry in pieces that holds the address of the first: the next whole one after the key. */
function pieceWord(keyBytes: number): number {
  return (headerBytes + keyBytes + 3) >>> 2;
}

function equalsAt(bytes: Uint8Array, start: number, key: Uint8Array): boolean {
  for (let at = 0; at < key.length; at += 1) {
    if (bytes[start + at] !== key[at]) return false;
  }
  return true;
}
