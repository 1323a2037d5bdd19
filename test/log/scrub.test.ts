/** The scrub: rot is found wherever it is; what comes and goes meanwhile is no damage; it takes its time. */

import test, { type ExecutionContext } from 'ava';
import * as fc from 'fast-check';
import { AbortedError, DataDamagedError, StorageError } from '../../src/errors.js';
import { type DataDirectory, openDataDirectory } from '../../src/log/data-directory.js';
import { MemoryDisk } from '../../src/log/memory-disk.js';
import { scrub } from '../../src/log/scrub.js';
import type { SegmentedLog } from '../../src/log/segmented-log.js';
import { SnapshotStore } from '../../src/log/snapshot-store.js';
import { type RecordingListener, isLogFile, makeRecord, openLog, range } from './support.js';

interface Parts {
  readonly disk: MemoryDisk;
  readonly data: DataDirectory;
  readonly log: SegmentedLog;
  readonly listener: RecordingListener;
  readonly snapshots: SnapshotStore;
}

/** A directory with metadata, a snapshot of seq 8, and a log of `records` over several segments. */
async function makeParts(records = 12): Promise<Parts> {
  const disk = new MemoryDisk();
  const data = await openDataDirectory({ path: '/data', disk: disk.mount() });
  await data.writeMeta({ epoch: 1 });
  const snapshots = await SnapshotStore.open({
    disk: disk.mount(),
    directory: data.snapshotsPath,
  });
  await writeSnapshot(snapshots, 8);
  const { log, listener } = await openLog(disk, { directory: data.logPath, segmentBytes: 512 });
  for (const seq of range(1, records)) {
    log.append(makeRecord(seq, { bytes: 60 }));
    await listener.durableThrough(seq);
  }
  return { disk, data, log, listener, snapshots };
}

async function writeSnapshot(snapshots: SnapshotStore, seq: number): Promise<void> {
  const writer = await snapshots.create({ seq, epoch: 1 });
  for (const chunk of ['one', 'three', `up to ${seq}`]) await writer.write(Buffer.from(chunk));
  await writer.finish();
}

interface Extras {
  readonly signal?: AbortSignal;
  readonly onProgress?: (bytes: number) => void;
  readonly bytesPerSecond?: number;
  readonly clock?: () => number;
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>;
}

function scrubAll(parts: Parts, extras: Extras = {}): ReturnType<typeof scrub> {
  const { data, log, snapshots } = parts;
  const { signal = new AbortController().signal, bytesPerSecond = 1e12, ...rest } = extras;
  return scrub({ data, log, snapshots, signal, bytesPerSecond, ...rest });
}

test('a whole directory is read once: every byte of log and snapshot in use', async (t) => {
  const parts = await makeParts();
  const progress: number[] = [];
  const { bytes } = await scrubAll(parts, { onProgress: (total) => progress.push(total) });
  const reader = await parts.snapshots.newest();
  t.is(bytes, parts.log.bytes + (reader?.bytes ?? 0));
  t.is(progress.at(-1), bytes);
  t.deepEqual(
    progress,
    [...progress].sort((left, right) => left - right),
  );
});

test('D3: a flipped bit at every byte in use is found, with file and offset', async (t) => {
  const parts = await makeParts();
  const { disk } = parts;
  await parts.log.seal();
  const found = new Set<string>();
  for (const path of disk.paths()) {
    if (!/\.(log|snapshot|json)$/u.test(path)) continue;
    const bytes = disk.contents(path);
    const used = bytes.findLastIndex((byte) => byte !== 0) + 1;
    // The last item of a segment ends in padding, and its last numbers may have zeros.
    for (let byte = 0; byte < used; byte++) {
      disk.flipBit(path, byte * 8 + (byte % 8));
      const error = await t.throwsAsync(
        scrubAll(parts),
        { instanceOf: DataDamagedError },
        `${path} ${byte}`,
      );
      t.true(error?.message.includes(path), error?.message);
      const offset = Number(/offset (\d+)/u.exec(error?.message ?? '')?.[1]);
      t.true(offset <= used, `${error?.message} after byte ${byte}`);
      found.add(path);
      disk.flipBit(path, byte * 8 + (byte % 8));
    }
  }
  t.true([...found].filter(isLogFile).length > 2);
  t.is(found.size, [...found].filter(isLogFile).length + 3);
  await scrubAll(parts);
});

test('D3: a file that is cut short or gone is found', async (t) => {
  const parts = await makeParts();
  for (const path of parts.disk.paths().filter((name) => /\.(log|json)$/u.test(name))) {
    if (path.endsWith('meta.json')) continue;
    const bytes = parts.disk.contents(path);
    const file = await parts.disk.open(path, 'write');
    await file.truncate(100);
    await t.throwsAsync(scrubAll(parts), { instanceOf: DataDamagedError }, path);
    await file.write([bytes], 0);
    await parts.disk.rename(path, '/elsewhere');
    const code = isLogFile(path) ? 'STORAGE' : 'DATA_DAMAGED';
    await t.throwsAsync(scrubAll(parts), { code }, path);
    await parts.disk.rename('/elsewhere', path);
  }
  await scrubAll(parts);
});

test('D7: what cannot be read is a failure of the disk', async (t) => {
  const parts = await makeParts();
  for (const name of ['.log', '.snapshot', 'meta.json']) {
    parts.disk.setFault(({ kind, path }) =>
      kind === 'read' && path.endsWith(name) ? { error: 'EIO' } : undefined,
    );
    await t.throwsAsync(scrubAll(parts), { instanceOf: StorageError }, name);
  }
});

type Change = (parts: Parts) => Promise<unknown>;
const changes: Readonly<Record<string, Change>> = {
  trim: ({ log }) => log.trim(9),
  cut: ({ log }) => log.cut(6),
  'cut of whole segments': ({ log }) => log.cut(0),
  'cut and append': ({ log }) => {
    const cut = log.cut(7);
    log.append(makeRecord(8, { epoch: 2, bytes: 60 }));
    return cut;
  },
  reset: async ({ log, snapshots }) => {
    await writeSnapshot(snapshots, 90);
    const reset = log.reset({ seq: 90, epoch: 1 });
    log.append(makeRecord(91));
    await reset;
  },
  wipe: async ({ log, snapshots }) => {
    await log.reset({ seq: 0, epoch: 0 });
    await snapshots.removeAll();
    log.append(makeRecord(1, { epoch: 5 }));
  },
  'new snapshot': ({ snapshots }) => writeSnapshot(snapshots, 11),
  'metadata and appends': async ({ data, log, listener }) => {
    for (const seq of range(13, 20)) log.append(makeRecord(seq, { bytes: 60 }));
    await data.writeMeta({ epoch: 2 });
    await listener.durableThrough(20);
  },
};

for (const [name, change] of Object.entries(changes)) {
  test(`no damage: ${name} at any step of a scrub, done at once or a step at a time`, async (t) => {
    const run = async (at: number, length: number): Promise<boolean> => {
      const parts = await makeParts();
      let step = 0;
      let changing: Promise<unknown> | undefined;
      parts.disk.setFault(({ kind }) => {
        const isScrub = kind === 'open' || kind === 'read';
        if (!isScrub || changing || step++ !== at) return undefined;
        changing = change(parts);
        // The scrub goes on when all of the change is done, or while it is half done.
        return { until: Promise.race([changing, turns(length)]) };
      });
      await t.notThrowsAsync(scrubAll(parts), `step ${at}, ${length} turns`);
      await changing;
      return changing !== undefined;
    };
    let last = 0;
    for (const length of [0, 3, 6, 9, 15, 25, 1e6]) {
      let at = 0;
      while (await run(at, length)) at++;
      last = Math.max(last, at);
    }
    t.true(last > 10, `${last} steps`);
  });
}

test('no damage: a cut in each of several tries to read one segment', async (t) => {
  for (const gap of range(1, 4)) {
    for (const first of range(8, 32)) {
      const parts = await makeParts();
      let step = 0;
      let isCutting = false;
      const cuts: Promise<void>[] = [];
      parts.disk.setFault(({ kind }) => {
        if ((kind !== 'open' && kind !== 'read') || isCutting) return undefined;
        if (step++ !== first + cuts.length * gap || cuts.length === 3) return undefined;
        isCutting = true;
        const cut = parts.log.cut(parts.log.lastSeq - 1).finally(() => {
          isCutting = false;
        });
        cuts.push(cut);
        return { until: cut };
      });
      await t.notThrowsAsync(scrubAll(parts), `from step ${first}, each ${gap}`);
      await Promise.all(cuts);
      if (first < 15) t.is(cuts.length, 3);
    }
  }
});

async function turns(count: number): Promise<void> {
  if (count > 1000) return new Promise(() => {});
  for (let turn = 0; turn < count; turn++) await Promise.resolve();
}

test('no damage: any mixture of changes while it is scrubbed again and again', async (t) => {
  let changed = 0;
  const run = async (choices: number[]): Promise<void> => {
    const parts = await makeParts(30);
    let choice = 0;
    const choose = (max: number): number => (choices[choice++ % choices.length] ?? 0) % max;
    const writer = { isDone: false };
    const change = async (): Promise<void> => {
      for (let round = 0; round < 30; round++) {
        const { log } = parts;
        await turns(choose(12));
        const span = log.lastSeq - log.firstSeq + 1;
        const kind = choose(12);
        if (kind < 3 && span > 0) {
          void log.trim(log.firstSeq + choose(span));
        } else if (kind < 6 && span > 0) {
          void log.cut(log.lastSeq - choose(span));
        } else if (kind === 6) {
          void log.reset({ seq: choose(40), epoch: log.lastEpoch });
        } else {
          log.append(makeRecord(log.lastSeq + 1, { bytes: choose(200), epoch: log.lastEpoch }));
        }
        changed++;
      }
      writer.isDone = true;
    };
    const changing = change();
    do await scrubAll(parts);
    while (!writer.isDone);
    await changing;
    await scrubAll(parts);
    t.deepEqual(parts.listener.errors, []);
  };
  await fc.assert(fc.asyncProperty(fc.array(fc.nat(1000), { minLength: 20, maxLength: 80 }), run), {
    numRuns: 200,
  });
  t.true(changed > 5000);
});

test('it is never faster than it may be, and does not make up for lost time', async (t) => {
  const parts = await makeParts(40);
  let nowMs = 1000;
  const slept: number[] = [];
  const bytesPerSecond = 10_000;
  let read = 0;
  const { bytes, durationMs } = await scrubAll(parts, {
    bytesPerSecond,
    clock: () => nowMs,
    onProgress: (total) => {
      read = total;
      // The machine stood still for a minute, once.
      if (slept.length === 3) nowMs += 60_000;
    },
    sleep: (ms) => {
      slept.push(ms);
      nowMs += ms;
      return Promise.resolve();
    },
  });
  t.is(read, bytes);
  const expectedMs = (bytes / bytesPerSecond) * 1000;
  const total = slept.reduce((sum, ms) => sum + ms, 0);
  t.true(slept.length > 10);
  t.true(Math.abs(total - expectedMs) < expectedMs / 50, `${total} of ${expectedMs} ms`);
  t.is(durationMs, total + 60_000);
});

test('the signal ends it, also while it sleeps', async (t) => {
  const parts = await makeParts();
  const stopped = new AbortController();
  stopped.abort();
  await t.throwsAsync(scrubAll(parts, { signal: stopped.signal }), { instanceOf: AbortedError });
  const stopping = new AbortController();
  const scrubbing = scrubAll(parts, {
    signal: stopping.signal,
    bytesPerSecond: 1,
    onProgress: () => setImmediate(() => stopping.abort()),
  });
  await t.throwsAsync(scrubbing, { instanceOf: AbortedError });
  await assertClosable(t, parts);
});

async function assertClosable(t: ExecutionContext, { log, data }: Parts): Promise<void> {
  await log.close();
  await data.close();
  t.pass();
}
