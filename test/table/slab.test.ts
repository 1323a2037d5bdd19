import test from 'ava';
import * as fc from 'fast-check';

import { EntryStore } from '../../src/table/entry.js';
import { freePieces, readPieces, writePieces } from '../../src/table/pieces.js';
import { byteOffset, cellBytesMax, SlabAllocator } from '../../src/table/slab.js';
import { valueOf } from './support.js';

const MiB = 1024 * 1024;
const GiB = 1024 * MiB;

/** Fills the whole cell, so that a cell that overlaps another destroys what stands there. */
function write(slabs: SlabAllocator, address: number, bytes: number, fill: number): void {
  const start = byteOffset(address);
  slabs.slabOf(address).bytes.fill(fill, start, start + bytes);
}

function holds(slabs: SlabAllocator, address: number, bytes: number, fill: number): boolean {
  const start = byteOffset(address);
  const cell = slabs.slabOf(address).bytes.subarray(start, start + bytes);
  return cell.length === bytes && cell.every((byte) => byte === fill);
}

test('cells in use never overlap, whatever is allocated and freed in between', (t) => {
  const step = fc.record({
    free: fc.boolean(),
    pick: fc.nat(),
    bytes: fc.oneof(
      { weight: 4, arbitrary: fc.integer({ min: 1, max: 600 }) },
      { weight: 1, arbitrary: fc.integer({ min: 1, max: cellBytesMax }) },
    ),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200, size: 'max' }), (steps) => {
      const slabs = new SlabAllocator();
      const cells: { address: number; bytes: number; fill: number }[] = [];
      for (const [index, { free, pick, bytes }] of steps.entries()) {
        if (free && cells.length > 0) {
          const [cell] = cells.splice(pick % cells.length, 1);
          if (!holds(slabs, cell!.address, cell!.bytes, cell!.fill)) return false;
          slabs.free(cell!.address);
        } else {
          const cell = { address: slabs.allocate(bytes), bytes, fill: index & 255 };
          write(slabs, cell.address, bytes, cell.fill);
          cells.push(cell);
        }
      }
      const intact = cells.every(({ address, bytes, fill }) => holds(slabs, address, bytes, fill));
      for (const { address } of cells) slabs.free(address);
      return intact && slabs.bytesInUse === 0;
    }),
    { numRuns: 60 },
  );
  t.pass();
});

test('every size gets a cell within the stated waste', (t) => {
  let wrong = 0;
  const slabs = new SlabAllocator();
  for (let bytes = 1; bytes <= cellBytesMax; bytes += 1) {
    const address = slabs.allocate(bytes);
    const waste = slabs.bytesInUse - bytes;
    const wasteMax = bytes <= 256 ? 7 : bytes / 8;
    if (waste < 0 || waste > wasteMax || !slabs.fits(address, bytes)) wrong += 1;
    slabs.free(address);
  }
  t.is(wrong, 0);
});

test('sizes that no cell can have are refused', (t) => {
  const slabs = new SlabAllocator();
  t.throws(() => slabs.allocate(0), { instanceOf: RangeError });
  t.throws(() => slabs.allocate(cellBytesMax + 1), { instanceOf: RangeError });
  t.is(slabs.bytesReserved, 0);
});

test('freed cells are used again before memory is asked for', (t) => {
  const slabs = new SlabAllocator();
  const fill = (): number[] => Array.from({ length: 20_000 }, () => slabs.allocate(168));
  let cells = fill();
  const reserved = slabs.bytesReserved;
  for (let round = 0; round < 5; round += 1) {
    // Every other one first, so that the free lists are in no order.
    for (const [index, cell] of cells.entries()) if (index % 2 === 0) slabs.free(cell);
    for (const [index, cell] of cells.entries()) if (index % 2 === 1) slabs.free(cell);
    t.is(slabs.bytesInUse, 0);
    cells = fill();
    t.is(new Set(cells).size, cells.length);
    t.true(slabs.bytesReserved <= reserved + 4 * MiB);
  }
});

test('empty slabs serve other sizes, or go back to the system', (t) => {
  const slabs = new SlabAllocator();
  for (const bytes of [168, 4000, 30_000, 168]) {
    const cells = Array.from({ length: (16 * MiB) / bytes }, () => slabs.allocate(bytes));
    t.true(slabs.bytesReserved <= 24 * MiB);
    for (const cell of cells) slabs.free(cell);
    t.true(slabs.bytesReserved <= 8 * MiB);
  }
});

test('a failed allocation changes nothing, and the next one may succeed', (t) => {
  let fails = false;
  const slabs = new SlabAllocator((bytes) => {
    if (fails) throw new RangeError('Array buffer allocation failed');
    return new ArrayBuffer(bytes);
  });
  const kept = slabs.allocate(100);
  write(slabs, kept, 100, 9);
  const { bytesInUse, bytesReserved } = slabs;
  fails = true;
  t.throws(() => slabs.allocate(5000), { message: /allocation failed/ });
  t.throws(() => writePieces(slabs, valueOf(1, 3 * cellBytesMax)), { message: /failed/ });
  t.deepEqual([slabs.bytesInUse, slabs.bytesReserved], [bytesInUse, bytesReserved]);
  fails = false;
  slabs.free(slabs.allocate(5000));
  t.true(holds(slabs, kept, 100, 9));
});

test('a large value comes back from its pieces, and leaves nothing when freed', (t) => {
  const slabs = new SlabAllocator();
  const piece = cellBytesMax - 4;
  for (const bytes of [1, piece - 1, piece, piece + 1, 2 * piece, 2 * piece + 1, 3 * MiB]) {
    const value = valueOf(bytes, bytes);
    const first = writePieces(slabs, value);
    const target = new Uint8Array(bytes);
    readPieces(slabs, first, target);
    t.is(Buffer.compare(target, value), 0);
    freePieces(slabs, first);
    t.is(slabs.bytesInUse, 0);
  }
});

test('pieces are given back when memory runs out half way', (t) => {
  let buffers = 0;
  const slabs = new SlabAllocator((bytes) => {
    buffers += 1;
    if (buffers > 3) throw new RangeError('Array buffer allocation failed');
    return new ArrayBuffer(bytes);
  });
  t.throws(() => writePieces(slabs, valueOf(1, 4 * MiB)), { message: /failed/ });
  t.is(slabs.bytesInUse, 0);
});

test('addresses reach 32 GiB, and the end of them is an error', (t) => {
  // Slabs that nobody writes to share one buffer, so that the test needs no such memory.
  const shared = new ArrayBuffer(MiB);
  let filling = true;
  const slabs = new SlabAllocator((bytes) =>
    filling && bytes === MiB ? shared : new ArrayBuffer(bytes),
  );
  while (slabs.bytesInUse < 20 * GiB) slabs.allocate(cellBytesMax);
  filling = false;
  const entries = new EntryStore(slabs);
  const value = valueOf(1, 5 * cellBytesMax);
  const first = entries.create(1, valueOf(1, 10), valueOf(2, 200), 5);
  const second = entries.create(1, valueOf(3, 10), value, 2 ** 40 + 1);
  entries.setNext(first, second);
  t.true(first > 2 ** 31 && second > 2 ** 31);
  t.is(entries.find(first, 1, valueOf(3, 10)), second);
  const copy = entries.copy(second);
  t.is(Buffer.compare(entries.value(copy), value), 0);
  t.is(entries.version(copy), 2 ** 40 + 1);
  for (const address of [first, second]) entries.free(address);
  t.is(Buffer.compare(entries.value(copy), value), 0);

  filling = true;
  const error = t.throws(() => {
    for (;;) slabs.allocate(cellBytesMax);
  });
  t.regex(error.message, /32 GiB/);
  t.true(slabs.bytesReserved > 31.9 * GiB);
});
