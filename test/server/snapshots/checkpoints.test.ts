/** Snapshots of the own table and the log behind them: bounded disk, nothing lost, whatever fails when. */
import test from 'ava';
import * as fc from 'fast-check';
import { InvariantError } from '../../../src/errors.js';
import { silentLogger } from '../../../src/logger.js';
import type { Disk } from '../../../src/log/disk.js';
import { MemoryDisk } from '../../../src/log/memory-disk.js';
import type { Op } from '../../../src/machine/op.js';
import { entryOfBytes, sealRecord } from '../../../src/protocol/entry-codec.js';
import type { Entry } from '../../../src/replica/entry.js';
import { recover } from '../../../src/server/recovery.js';
import { Checkpoints } from '../../../src/server/snapshots/checkpoints.js';

const retainBytes = 64 * 1024;
const segmentBytes = 8 * 1024;
const KiB = 1024;

/** A server as far as its disk goes: appends, applies what is durable, takes checkpoints. */
async function startStore(disk: Disk) {
  const waiting: (() => void)[] = [];
  const failures: unknown[] = [];
  const durable = { seq: 0 };
  const recovered = await recover(
    '/data',
    {
      onDurable: (seq) => {
        durable.seq = seq;
        for (const resolve of waiting.splice(0)) resolve();
      },
      onFatal: (error) => {
        failures.push(error);
        for (const resolve of waiting.splice(0)) resolve();
      },
    },
    { disk, segmentBytes },
  );
  const { machine, log, entryLog, snapshots } = recovered;
  for (const entry of entryLog.uncommitted()) machine.apply(entry);
  let needed = Number.POSITIVE_INFINITY;
  const checkpoints = new Checkpoints(
    {
      store: snapshots,
      log,
      logger: silentLogger,
      retainBytes,
      machine: () => machine,
      runsUpTo: (seq) => entryLog.runs.upTo(seq),
      neededSeq: () => needed,
      onStorageFailure: (error) => failures.push(error),
    },
    recovered.checkpoint,
  );
  /** Appends one put and applies it when it is durable, or gives up when the log has failed. */
  const put = async (key: string, bytes: number): Promise<boolean> => {
    const seq = log.lastSeq + 1;
    const op: Op = { kind: 'put', key: Buffer.from(key), value: Buffer.alloc(bytes, seq) };
    const header = { epoch: 1, firstSeq: seq, count: 1, commit: seq - 1 };
    const entry: Entry = entryOfBytes(sealRecord(header, [op]));
    entryLog.runs.extend(1, seq);
    log.append({ epoch: 1, firstSeq: seq, lastSeq: seq, bytes: entry.record });
    while (durable.seq < seq && failures.length === 0) {
      await new Promise<void>((resolve) => waiting.push(resolve));
    }
    if (durable.seq < seq) return false;
    machine.apply(entry);
    return true;
  };
  const close = async (): Promise<void> => {
    await checkpoints.stop();
    await log.close();
    await recovered.data.close();
  };
  return {
    ...recovered,
    checkpoints,
    failures,
    put,
    close,
    hold: (seq: number) => {
      needed = seq;
    },
  };
}

type Store = Awaited<ReturnType<typeof startStore>>;

/** By key: version, length and fill of each value; `put` fills a value with one byte. */
function tableOf({ machine }: Pick<Store, 'machine'>): Record<string, string> {
  const rows: [string, string][] = [];
  const snapshot = machine.snapshot();
  for (let page = snapshot.next(1_000_000); page.length > 0; page = snapshot.next(1_000_000)) {
    for (const { key, value, version } of page) {
      if (value.some((byte) => byte !== value[0])) throw new Error(`torn value of ${version}`);
      rows.push([Buffer.from(key).toString(), `${version}: ${value.length} times ${value[0]}`]);
    }
  }
  return Object.fromEntries(rows.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Considers as a tick would, and lets what it begins come to its end. */
async function consider({ checkpoints, machine }: Store, seqMin: number): Promise<void> {
  checkpoints.consider();
  if (checkpoints.newest.seq < seqMin && machine.appliedSeq >= seqMin) await checkpoints.take();
}

test('a snapshot is due when the log has grown by R, and then the log is trimmed to R', async (t) => {
  const disk = new MemoryDisk();
  const store = await startStore(disk);
  for (let n = 0; n < 40; n++) await store.put(`key-${n % 10}`, 1_000);
  store.checkpoints.consider();
  t.is(store.checkpoints.newest.seq, 0, 'not before');
  for (let n = 0; n < 100; n++) await store.put(`key-${n % 10}`, 1_000);
  store.checkpoints.consider();
  await store.checkpoints.take();
  t.is(store.checkpoints.newest.seq, 140);
  t.true(store.log.firstSeq > 1);
  t.true(store.log.bytes >= retainBytes);
  t.true(store.log.bytes <= retainBytes + 2 * segmentBytes, `${store.log.bytes} bytes of log`);
  await store.close();
});

test('disk use stays bounded and a restart finds the same table, however much is written', async (t) => {
  const disk = new MemoryDisk();
  let store = await startStore(disk);
  let largest = 0;
  for (let n = 1; n <= 3_000; n++) {
    await store.put(`key-${n % 20}`, 500);
    if (n % 50 === 0) store.checkpoints.consider();
    // The memory disk needs no turn of the loop; the snapshot that is being taken does.
    await new Promise((resolve) => setImmediate(resolve));
    if (n % 50 === 25) largest = Math.max(largest, store.log.bytes);
    if (n % 1_000 === 0) {
      const before = tableOf(store);
      await store.close();
      store = await startStore(disk);
      t.deepEqual(tableOf(store), before);
    }
  }
  // R retained, R until the next snapshot is due, and what is written while one is taken.
  t.true(largest <= 2 * retainBytes + 64 * KiB, `${largest} bytes of log at most`);
  t.true(store.log.firstSeq > 1_000);
  t.deepEqual(store.failures, []);
  await store.close();
});

test('what a peer still lacks is kept, but not for ever', async (t) => {
  const store = await startStore(new MemoryDisk());
  for (let n = 0; n < 150; n++) await store.put(`key-${n % 10}`, 1_000);
  store.hold(5);
  await consider(store, 150);
  t.is(store.log.firstSeq, 1, 'seq 5 is needed');
  for (let n = 0; n < 400; n++) await store.put(`key-${n % 10}`, 1_000);
  await consider(store, 550);
  t.true(store.log.firstSeq > 300, `${store.log.firstSeq}`);
  await store.close();
});

test('D4: a snapshot that finds no room is given up; the log keeps everything', async (t) => {
  const disk = new MemoryDisk();
  const store = await startStore(disk);
  for (let n = 0; n < 100; n++) await store.put(`key-${n % 10}`, 1_000);
  let refused = 0;
  disk.setFault(({ kind, path }) => {
    if (kind !== 'write' || !path.includes('/snapshots/')) return undefined;
    refused += 1;
    return { error: 'ENOSPC' };
  });
  await store.checkpoints.take();
  t.true(refused > 0, 'the fault happened');
  t.is(store.checkpoints.newest.seq, 0);
  t.deepEqual(store.failures, []);
  t.deepEqual(await disk.list('/data/snapshots'), []);
  t.true(await store.put('more', 10));
  const before = tableOf(store);
  disk.setFault(() => undefined);
  await store.close();
  const again = await startStore(disk);
  t.deepEqual(tableOf(again), before);
  await again.close();
});

test('a snapshot of damaged memory never replaces a sound one', async (t) => {
  const store = await startStore(new MemoryDisk());
  for (let n = 0; n < 50; n++) await store.put(`key-${n % 10}`, 1_000);
  await store.checkpoints.take();
  for (let n = 0; n < 50; n++) await store.put(`key-${n % 10}`, 1_000);
  // A view into the table's own memory.
  const value = store.machine.table.get(Buffer.from('key-3'))!;
  value[500]! ^= 4;
  await t.throwsAsync(store.checkpoints.take(), { instanceOf: InvariantError, message: /memory/ });
  t.is(store.checkpoints.newest.seq, 50);
  t.is((await store.snapshots.newest())?.meta.seq, 50);
  await store.close();
});

test('D2: a crash at any step, all unsynced lost: the table is that of an acknowledged prefix', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 400 }), fc.boolean(), async (step, keepsAll) => {
      const disk = new MemoryDisk();
      const store = await startStore(disk.mount());
      const history = [tableOf(store)];
      let operations = 0;
      const never = new Promise<never>(() => {});
      let crashed!: () => void;
      const crash = new Promise<void>((resolve) => {
        crashed = resolve;
      });
      disk.setFault(({ kind }) => {
        if (kind === 'read' || kind === 'open') return undefined;
        operations += 1;
        if (operations < step) return undefined;
        crashed();
        return { until: never };
      });
      const writes = (async () => {
        for (let n = 0; n < 200; n++) {
          if (!(await store.put(`key-${n % 7}`, 900))) return;
          history.push(tableOf(store));
          if (n % 10 === 9) store.checkpoints.consider();
        }
      })();
      await Promise.race([writes, crash]);
      disk.setFault(() => undefined);
      // From here on nothing of the dead process happens any more.
      const [acknowledged, count] = [history.at(-1)!, history.length];
      disk.crash(keepsAll ? () => Number.MAX_SAFE_INTEGER : () => 0);
      const again = await startStore(disk);
      const found = tableOf(again);
      // The last put may be on disk without having been acknowledged.
      if (again.machine.appliedSeq !== count) t.deepEqual(found, acknowledged);
      await again.close();
    }),
    { numRuns: 60 },
  );
});
