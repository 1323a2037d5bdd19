/**
 * Reads whole segments of a log in use and checks every item. No judge of what it finds: while a cut, a
 * reset or a trim is under way a file may look wrong and be right (see SegmentedLog.verify).
 */

import { CatenaError, DataDamagedError } from '../errors.js';
import type { Disk, DiskFile } from './disk.js';
import { readUpTo } from './disk.js';
import { decodeSegmentHeader, segmentHeaderBytes } from './segment-format.js';
import { SegmentReader } from './segment-reader.js';
import type { Segment } from './segment.js';
import { storageFailure } from './storage-failure.js';

/** How much is checked between two reports. */
const reportBytes = 64 * 1024;

/**
 * What is wrong with the bytes of this segment that are in use now; undefined if nothing is. Rejects
 * only with what `onBytes` rejects with.
 */
export async function verifySegment(
  disk: Disk,
  segment: Segment,
  onBytes: (bytes: number) => Promise<void>,
): Promise<CatenaError | undefined> {
  const { path, endOffset } = segment;
  const steps = openSteps(disk, segment, endOffset);
  try {
    for (;;) {
      const step = await steps.next().catch((error: unknown) => asProblem(path, error));
      if (step instanceof CatenaError) return step;
      if (step.done) return undefined;
      await onBytes(step.value);
    }
  } finally {
    await steps.return(undefined);
  }
}

/** Yields how many bytes were checked. */
async function* openSteps(
  disk: Disk,
  segment: Segment,
  endOffset: number,
): AsyncGenerator<number, void> {
  const file = await disk.open(segment.path, 'read');
  try {
    yield* stepsOf(file, segment, endOffset);
  } finally {
    await file.close();
  }
}

async function* stepsOf(
  file: DiskFile,
  segment: Segment,
  endOffset: number,
): AsyncGenerator<number, void> {
  const { path, header } = segment;
  const found = decodeSegmentHeader(await readUpTo(file, 0, segmentHeaderBytes), path);
  if (found.firstSeq !== header.firstSeq || found.salt !== header.salt) {
    throw damaged(path, 0, 'it has the header of another segment');
  }
  const reader = new SegmentReader(file, header.salt, segmentHeaderBytes, endOffset);
  let nextSeq = header.firstSeq;
  let reported = 0;
  for (;;) {
    const item = await reader.next();
    if (item.kind === 'end' && item.offset === endOffset) {
      yield endOffset - reported;
      return;
    }
    if (item.kind === 'bad') throw damaged(path, item.offset, item.reason);
    if (item.kind === 'end' || item.kind === 'zero') {
      throw damaged(path, item.offset, 'there is nothing where records were');
    }
    if (item.kind === 'record') {
      if (item.record.firstSeq !== nextSeq) {
        throw damaged(path, item.offset, `seq ${item.record.firstSeq} stands where ${nextSeq} was`);
      }
      nextSeq = item.record.lastSeq + 1;
    }
    if (item.offset - reported < reportBytes) continue;
    yield item.offset - reported;
    reported = item.offset;
  }
}

function asProblem(path: string, error: unknown): CatenaError {
  return error instanceof CatenaError ? error : storageFailure(`reading ${path}`, path, error);
}

function damaged(path: string, offset: number, reason: string): DataDamagedError {
  return new DataDamagedError(
    `the log is damaged in ${path} at offset ${offset}: ${reason}. It was whole when it was written`,
  );
}
