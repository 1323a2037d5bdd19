/**
 * What one server keeps on its disk: records, and a log of three segments of which one was changed. Recovery
 * answers a prefix of the log that was written, or refuses; never anything else.
 */
import { isDeepStrictEqual } from 'node:util';
import { crc32 } from 'node:zlib';
import { MemoryDisk } from '../../../src/log/memory-disk.js';
import {
  decodeRecord,
  encodeRecord,
  itemPrefixBytes,
  type LogRecord,
} from '../../../src/log/record.js';
import {
  markerBytes,
  looksLikeMarker,
  segmentHeaderBytes,
} from '../../../src/log/segment-format.js';
import { SegmentedLog } from '../../../src/log/segmented-log.js';
import { entryOfBytes, sealRecord } from '../../../src/protocol/entry-codec.js';
import { decodeBatch } from '../../../src/protocol/messages.js';
import { logDirectory, RecordingListener } from '../../log/support.js';
import type { Random } from '../../support/random.js';
import { withAllocationsUpTo, withAsyncAllocationsUpTo } from '../allocations.js';
import { mutatedProtobuf } from '../protobuf-mutations.js';
import {
  assertHolds,
  type Target,
  unlessRefused,
  unlessRefusedLater,
  type Verdict,
} from '../target.js';

const segmentBytes = 1024;
const recordCount = 14;
/** Of item headers: lengths, kinds, counts; a marker's beginning. */
const dictionary = [
  ...[0, 1, 24, 32, 40, 2 ** 24, 2 ** 31, 2 ** 32 - 8].map((length) => {
    const word = Buffer.alloc(4);
    word.writeUInt32LE(length);
    return word;
  }),
  Buffer.from('CATENLOG'),
  Buffer.alloc(16),
];

function recordOf(seq: number): Uint8Array {
  const key = Buffer.from(`key-${seq % 3}`);
  const value = Buffer.alloc(20 + 17 * (seq % 5), seq);
  const header = { epoch: seq > 6 ? 2 : 1, firstSeq: seq, count: 1, commit: seq - 1 };
  return sealRecord(header, [{ kind: 'put', key, value }]);
}

function checkRecord(input: Buffer): Verdict {
  const entry = withAllocationsUpTo(4 * input.length + 1024, () =>
    unlessRefused(() => entryOfBytes(input)),
  );
  if (entry === undefined) return 'refused';
  const record = decodeRecord(input);
  assertHolds(encodeRecord(record, record.payload).equals(input), 'it is not what was written');
  const { epoch, firstSeq, ops, commit } = entry;
  const again = entryOfBytes(sealRecord({ epoch, firstSeq, count: ops.length, commit }, ops));
  const { record: _, ...rest } = entry;
  assertHolds(
    isDeepStrictEqual({ ...again, record: _ }, { ...rest, record: _ }),
    'it is another one',
  );
  return 'accepted';
}

/** Header and ops changed, the length and the checksum right. */
function mutateRecord(original: Uint8Array, random: Random): Uint8Array {
  if (original.length < 40) return original;
  const source = Buffer.from(original);
  const length = Math.min(source.length, Math.max(40, itemPrefixBytes + source.readUInt32LE(0)));
  const payload = mutatedProtobuf(source.subarray(40, length), random);
  const bytes = Buffer.alloc(Math.ceil((40 + payload.length) / 8) * 8);
  bytes.set(source.subarray(0, 40));
  bytes.set(payload, 40);
  bytes.writeUInt32LE(32 + payload.length, 0);
  const at = 8 + 4 * random(8);
  if (random(3) === 0)
    bytes.writeUInt32LE([0, 1, 2, 2 ** 31, 2 ** 32 - 1][random(5)] as number, at);
  if (random(3) === 0) bytes.writeUInt32LE(countOf(payload), 12);
  bytes.writeUInt32LE(crc32(bytes.subarray(8, 40 + payload.length)), 4);
  return bytes;
}

function countOf(payload: Uint8Array): number {
  return unlessRefused(() => decodeBatch(payload))?.length ?? 1;
}

interface WrittenLog {
  readonly files: ReadonlyMap<string, Buffer>;
  readonly records: readonly LogRecord[];
}

/** Records in groups of two, as a busy log has them, over some segments. */
async function writtenLog(): Promise<WrittenLog> {
  const disk = new MemoryDisk();
  const listener = new RecordingListener();
  let salts = 0;
  const salt = (): number => (0x1234_5678 + 0x1111 * salts++) >>> 0;
  const log = await SegmentedLog.open({
    disk,
    directory: logDirectory,
    listener,
    segmentBytes,
    salt,
    onRecord: () => {},
  });
  const records: LogRecord[] = [];
  for (let seq = 1; seq <= recordCount; seq++) {
    const record = decodeRecord(recordOf(seq));
    records.push(record);
    log.append(record);
    if (seq % 2 === 0) await listener.durableThrough(seq);
  }
  const paths = disk.paths().filter((path) => path.endsWith('.log'));
  const files = new Map(paths.map((path) => [path, disk.contents(path)]));
  return { files, records };
}

/** Opens the log in which one file was replaced, and reads what is there. */
async function recoveredRecords(files: ReadonlyMap<string, Buffer>): Promise<LogRecord[]> {
  const disk = new MemoryDisk();
  for (const [path, bytes] of files) {
    await (await disk.open(path, 'create')).write([bytes], 0);
  }
  const records: LogRecord[] = [];
  await SegmentedLog.open({
    disk,
    directory: logDirectory,
    listener: new RecordingListener(),
    segmentBytes,
    onRecord: (record) => records.push(record),
  });
  return records;
}

function logCheck({ files, records }: WrittenLog): Target['check'] {
  const paths = [...files.keys()];
  return async (input) => {
    const path = pathFor(input, files);
    const original = files.get(path) as Buffer;
    const changed = new Map(files).set(path, input);
    const size = [...changed.values()].reduce((sum, { length }) => sum + length, 0);
    const found = await withAsyncAllocationsUpTo(size + segmentBytes + 65_536, () =>
      unlessRefusedLater(() => recoveredRecords(changed)),
    );
    if (found === undefined) return 'refused';
    const isPrefix = found.every(
      (record, at) => records[at]?.bytes && sameBytes(record, records[at]),
    );
    assertHolds(isPrefix && found.length <= records.length, 'it holds what was never written');
    const provenSeq = provenBy(original, input);
    const isLast = path === paths.at(-1);
    if (!isLast && input.length > 0 && !input.equals(original)) {
      assertHolds(found.length === records.length, 'a hole before a later segment went unnoticed');
    }
    if (isLast && provenSeq !== undefined) {
      assertHolds(found.length >= provenSeq, `durable up to ${provenSeq}, found ${found.length}`);
    }
    return 'accepted';
  };
}

/** The file that these bytes are most likely a changed copy of. */
function pathFor(input: Buffer, files: ReadonlyMap<string, Buffer>): string {
  const paths = [...files.keys()];
  const salt = input.subarray(32, 36);
  const same = paths.find((path) => files.get(path)?.subarray(32, 36).equals(salt));
  return same ?? (paths[crc32(input) % paths.length] as string);
}

function sameBytes(a: LogRecord, b: LogRecord | undefined): boolean {
  return b !== undefined && Buffer.from(a.bytes).equals(b.bytes);
}

/**
 * If only one item was changed: the seq up to which the last marker that is whole proves all to be durable. Whoever
 * destroys a record and every marker behind it leaves no proof, and this says undefined.
 */
function provenBy(original: Buffer, input: Buffer): number | undefined {
  if (input.length !== original.length) return undefined;
  const first = original.findIndex((byte, at) => byte !== input[at]);
  if (first < segmentHeaderBytes) return undefined;
  const last = original.findLastIndex((byte, at) => byte !== input[at]);
  let proven: number | undefined;
  let itemStart = 0;
  for (let at = segmentHeaderBytes; at + itemPrefixBytes <= original.length; ) {
    const body = original.readUInt32LE(at);
    if (body === 0) break;
    const end = at + Math.ceil((itemPrefixBytes + body) / 8) * 8;
    if (at <= first) itemStart = at;
    if (at <= first && last >= end) return undefined;
    if (looksLikeMarker(original, at) && end === at + markerBytes && at !== itemStart) {
      proven = original.readUInt32LE(at + 16);
    }
    at = end;
  }
  return proven;
}

export async function logTargets(): Promise<Target[]> {
  const written = await writtenLog();
  return [
    {
      name: 'record',
      inputs: 50_000,
      bytesMax: 1_024,
      corpus: [
        recordOf(1),
        recordOf(9),
        sealRecord({ epoch: 3, firstSeq: 10, count: 2, commit: 9 }, [
          { kind: 'epoch' },
          { kind: 'delete', key: Buffer.from('key') },
        ]),
      ],
      dictionary,
      mutate: mutateRecord,
      check: checkRecord,
    },
    {
      name: 'log',
      inputs: 40_000,
      bytesMax: 2 * segmentBytes,
      corpus: [...written.files.values()],
      dictionary,
      check: logCheck(written),
    },
  ];
}
