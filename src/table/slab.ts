/**
 * Memory for the table, off the JavaScript heap: cells of a few fixed sizes, cut from slabs (one
 * ArrayBuffer each) and named by 32-bit addresses. It knows nothing of what a cell holds; a freed
 * cell's first word links it into the free list of its slab. A slab holds cells of one size class.
 *
 * Invariant: a cell is in use, or on exactly one free list, or beyond its slab's `fresh` mark; a slab
 * is on its class's list of slabs with space exactly when a cell can be taken from it.
 *
 * Waste: up to 256 bytes a cell is rounded up by 7 bytes or less, beyond that by less than an eighth of
 * the request; the end of a slab that no cell fits in is less than one cell, at most a sixteenth of
 * the slab. Space freed in one class serves that class again at once, and any other class once the
 * whole slab is empty. So a class never holds more slabs than at its own peak, but a few cells left
 * in each of many slabs keep them all: cells are not moved. Empty slabs that are kept come to at most
 * 10 MiB: 64 KiB a class, and the spare ones.
 */

const KiB = 1024;

/** Addresses count granules: 32 bits of them reach 32 GiB. */
const granuleBytes = 8;
const slabBytes = 1024 * KiB;
/** The first slab of a class is small, so that a small table with values of many sizes stays small. */
const firstSlabBytes = 64 * KiB;
const slabShift = 17;
const granuleMask = (1 << slabShift) - 1;
const slabsMax = 1 << (32 - slabShift);
/** Empty slabs kept for the next class that needs one; the others go back to the system. */
const spareSlabsMax = 4;

/** Up to here a size class for every granule; from here on eight classes for each doubling. */
const exactGranulesMax = 32;
const sizeClassCount = 97;

/** The largest cell; what is larger is kept in several. */
export const cellBytesMax = 64 * KiB;
/** No cell has this address. */
export const nowhere = 0;

export type AllocateBuffer = (bytes: number) => ArrayBuffer;

/** One ArrayBuffer and the state of its cells. Addresses inside it are in granules from its start. */
export class Slab {
  readonly index: number;
  readonly sizeClass: number;
  readonly cellGranules: number;
  readonly granules: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly words: Uint32Array<ArrayBuffer>;
  /** The first free cell, plus one; 0 when the list is empty. */
  free = 0;
  /** The first granule that was never handed out. */
  fresh = 0;
  cellsInUse = 0;
  /** Neighbours in the list of slabs of this class that have space. */
  previous: Slab | undefined = undefined;
  next: Slab | undefined = undefined;

  constructor(index: number, sizeClass: number, buffer: ArrayBuffer) {
    this.index = index;
    this.sizeClass = sizeClass;
    this.cellGranules = granulesOfClass(sizeClass);
    this.granules = buffer.byteLength / granuleBytes;
    this.bytes = new Uint8Array(buffer);
    this.words = new Uint32Array(buffer);
  }

  get hasSpace(): boolean {
    return this.free !== 0 || this.fresh + this.cellGranules <= this.granules;
  }
}

/** Where the bytes of the cell start in the `bytes` of its slab. */
export function byteOffset(address: number): number {
  return (address & granuleMask) << 3;
}

/** Where the words of the cell start in the `words` of its slab. */
export function wordOffset(address: number): number {
  return (address & granuleMask) << 1;
}

export class SlabAllocator {
  readonly #allocateBuffer: AllocateBuffer;
  /** Index 0 is never used, so that no cell has the address 0. */
  readonly #slabs: (Slab | undefined)[] = [undefined];
  readonly #unusedIndexes: number[] = [];
  readonly #withSpace: (Slab | undefined)[] = Array.from({ length: sizeClassCount });
  readonly #slabCounts = new Uint32Array(sizeClassCount);
  readonly #spares: ArrayBuffer[] = [];
  #bytesInUse = 0;
  #bytesReserved = 0;

  constructor(allocateBuffer: AllocateBuffer = (bytes) => new ArrayBuffer(bytes)) {
    this.#allocateBuffer = allocateBuffer;
  }

  /** Bytes of the cells in use, each rounded up to its class. */
  get bytesInUse(): number {
    return this.#bytesInUse;
  }

  /** Bytes of all slabs that are held, spare ones included. */
  get bytesReserved(): number {
    return this.#bytesReserved;
  }

  slabOf(address: number): Slab {
    return this.#slabs[address >>> slabShift]!;
  }

  /** Whether a cell for so many bytes would have the size of this one. */
  fits(address: number, bytes: number): boolean {
    return classOfGranules(granulesOf(bytes)) === this.slabOf(address).sizeClass;
  }

  /** The address of a cell of at least so many bytes, not zeroed. Throws, changing nothing, without memory. */
  allocate(bytes: number): number {
    if (!(bytes > 0 && bytes <= cellBytesMax)) {
      throw new RangeError(`a cell holds 1 to ${cellBytesMax} bytes, not ${bytes}`);
    }
    const sizeClass = classOfGranules(granulesOf(bytes));
    const slab = this.#withSpace[sizeClass] ?? this.#addSlab(sizeClass);
    let cell = slab.fresh;
    if (slab.free === 0) {
      slab.fresh += slab.cellGranules;
    } else {
      cell = slab.free - 1;
      slab.free = slab.words[cell << 1]!;
    }
    slab.cellsInUse += 1;
    this.#bytesInUse += slab.cellGranules * granuleBytes;
    if (!slab.hasSpace) this.#unlink(slab);
    return ((slab.index << slabShift) | cell) >>> 0;
  }

  /** Gives a cell back; never fails. The caller holds no other reference to the address. */
  free(address: number): void {
    const slab = this.slabOf(address);
    const cell = address & granuleMask;
    const hadSpace = slab.hasSpace;
    slab.words[cell << 1] = slab.free;
    slab.free = cell + 1;
    slab.cellsInUse -= 1;
    this.#bytesInUse -= slab.cellGranules * granuleBytes;
    if (!hadSpace) this.#link(slab);
    // A class keeps one small slab though it is empty: the next allocation would want it back.
    const alone = slab.next === undefined && slab.previous === undefined;
    const kept = alone && slab.bytes.length === firstSlabBytes;
    if (slab.cellsInUse === 0 && !kept) this.#removeSlab(slab);
  }

  #addSlab(sizeClass: number): Slab {
    const index = this.#unusedIndexes.at(-1) ?? this.#slabs.length;
    if (index >= slabsMax) throw new RangeError('the table has used its 32 GiB of addresses');
    const bytes = this.#slabCounts[sizeClass] === 0 ? firstSlabBytes : slabBytes;
    let buffer = bytes === slabBytes ? this.#spares.pop() : undefined;
    if (buffer === undefined) {
      buffer = this.#allocateBuffer(bytes);
      this.#bytesReserved += bytes;
    }
    const slab = new Slab(index, sizeClass, buffer);
    if (index === this.#slabs.length) this.#slabs.push(slab);
    else this.#slabs[this.#unusedIndexes.pop()!] = slab;
    this.#slabCounts[sizeClass]! += 1;
    this.#link(slab);
    return slab;
  }

  #removeSlab(slab: Slab): void {
    this.#unlink(slab);
    this.#slabs[slab.index] = undefined;
    this.#unusedIndexes.push(slab.index);
    this.#slabCounts[slab.sizeClass]! -= 1;
    const buffer = slab.bytes.buffer;
    if (buffer.byteLength === slabBytes && this.#spares.length < spareSlabsMax) {
      this.#spares.push(buffer);
    } else {
      this.#bytesReserved -= buffer.byteLength;
    }
  }

  /** At the front: a slab that was full until now is used first, and emptier ones get to run empty. */
  #link(slab: Slab): void {
    const first = this.#withSpace[slab.sizeClass];
    slab.next = first;
    if (first !== undefined) first.previous = slab;
    this.#withSpace[slab.sizeClass] = slab;
  }

  #unlink(slab: Slab): void {
    if (slab.previous === undefined) this.#withSpace[slab.sizeClass] = slab.next;
    else slab.previous.next = slab.next;
    if (slab.next !== undefined) slab.next.previous = slab.previous;
    slab.previous = undefined;
    slab.next = undefined;
  }
}

function granulesOf(bytes: number): number {
  return (bytes + granuleBytes - 1) >>> 3;
}

/** Beyond the exact classes the size is rounded up to four significant bits. */
function classOfGranules(granules: number): number {
  if (granules <= exactGranulesMax) return granules;
  const shift = 28 - Math.clz32(granules - 1);
  return exactGranulesMax + (shift - 2) * 8 + ((granules - 1) >>> shift) - 7;
}

function granulesOfClass(sizeClass: number): number {
  if (sizeClass <= exactGranulesMax) return sizeClass;
  const above = sizeClass - exactGranulesMax - 1;
  return (9 + (above & 7)) << ((above >>> 3) + 2);
}
