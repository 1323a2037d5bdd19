/**
 * The disk of the torment is no softer and no harder than the twin in memory: whatever is done to both,
 * a process sees the same on both, and after a power cut the same is left.
 */
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import * as fc from 'fast-check';
import { type Disk, type DiskFile, errorCode, type OpenMode } from '../../src/log/disk.js';
import { MemoryDisk } from '../../src/log/memory-disk.js';
import { nodeDisk } from '../../src/log/node-disk.js';
import { openWriteBackDisk, type Unsynced } from '../support/write-back-disk.js';

type Step =
  | { readonly kind: 'open'; readonly path: string; readonly mode: OpenMode }
  | { readonly kind: 'write'; readonly file: number; readonly at: number; readonly text: string }
  | { readonly kind: 'truncate'; readonly file: number; readonly at: number }
  | { readonly kind: 'read'; readonly file: number; readonly at: number; readonly length: number }
  | { readonly kind: 'sync' | 'close'; readonly file: number }
  | { readonly kind: 'rename'; readonly path: string; readonly name: string }
  | { readonly kind: 'remove'; readonly path: string }
  | { readonly kind: 'list' | 'sync-directory'; readonly directory: string }
  | { readonly kind: 'power-cut' };

const directories = ['one', 'two'];
const names = ['a', 'b', 'c'];
const modes: OpenMode[] = ['read', 'write', 'write-dsync', 'create'];
const path = fc
  .tuple(fc.constantFrom(...directories), fc.constantFrom(...names))
  .map((parts) => parts.join('/'));
const file = fc.nat(5);
const at = fc.nat(40);
const text = fc.string({ unit: fc.constantFrom('x', 'y', 'z'), minLength: 1, maxLength: 30 });
const directory = fc.constantFrom(...directories);

function kind<Kind extends string>(name: Kind) {
  return fc.constant(name);
}

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: kind('open'), path, mode: fc.constantFrom(...modes) }),
  },
  { weight: 8, arbitrary: fc.record({ kind: kind('write'), file, at, text }) },
  { weight: 2, arbitrary: fc.record({ kind: kind('truncate'), file, at }) },
  { weight: 6, arbitrary: fc.record({ kind: kind('read'), file, at, length: fc.nat(60) }) },
  { weight: 3, arbitrary: fc.record({ kind: kind('sync'), file }) },
  { weight: 1, arbitrary: fc.record({ kind: kind('close'), file }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: kind('rename'), path, name: fc.constantFrom(...names) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: kind('remove'), path }) },
  { weight: 2, arbitrary: fc.record({ kind: kind('list'), directory }) },
  { weight: 3, arbitrary: fc.record({ kind: kind('sync-directory'), directory }) },
  { weight: 1, arbitrary: fc.record({ kind: kind('power-cut') }) },
);

/** One process with its open files, on whichever of the two disks. */
class Process {
  readonly #disk: Disk;
  readonly #root: string;
  readonly #files: { file: DiskFile; mode: OpenMode; isOpen: boolean }[] = [];

  constructor(disk: Disk, root: string) {
    this.#disk = disk;
    this.#root = root;
  }

  /** What it sees of this step: a result, or the code of an error. */
  async see(step: Step): Promise<unknown> {
    try {
      return await this.#do(step);
    } catch (error) {
      const code = errorCode(error);
      if (code === undefined) throw error;
      return { code };
    }
  }

  async close(): Promise<void> {
    for (const each of this.#files) if (each.isOpen) await each.file.close();
  }

  async #do(step: Step): Promise<unknown> {
    const full = (name: string): string => join(this.#root, name);
    switch (step.kind) {
      case 'open':
        this.#files.push({
          file: await this.#disk.open(full(step.path), step.mode),
          mode: step.mode,
          isOpen: true,
        });
        return 'opened';
      case 'rename':
        return this.#disk.rename(full(step.path), full(`${step.path.split('/')[0]}/${step.name}`));
      case 'remove':
        return this.#disk.remove(full(step.path));
      case 'list':
        return (await this.#disk.list(full(step.directory))).sort();
      case 'sync-directory':
        return this.#disk.syncDirectory(full(step.directory));
      case 'power-cut':
        return undefined;
      case 'write':
      case 'truncate':
      case 'read':
      case 'sync':
      case 'close':
        return this.#doToFile(step);
    }
  }

  async #doToFile(step: Extract<Step, { file: number }>): Promise<unknown> {
    const target = this.#files[step.file % Math.max(1, this.#files.length)];
    if (target === undefined || !target.isOpen) return 'no such file';
    const { file: opened, mode } = target;
    // What a file opened for reading does about these is the kernel's business.
    if (mode === 'read' && step.kind !== 'read' && step.kind !== 'close') return 'not asked';
    switch (step.kind) {
      case 'write':
        return opened.write([Buffer.from(step.text)], step.at);
      case 'truncate':
        return opened.truncate(step.at);
      case 'sync':
        return opened.sync();
      case 'read': {
        const bytes = Buffer.alloc(step.length, '-');
        const count = await opened.read(bytes, step.at);
        return { count, text: bytes.toString('latin1'), size: await opened.size() };
      }
      case 'close':
        target.isOpen = false;
        return opened.close();
    }
  }
}

async function contentsOf(root: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const name of directories) {
    for (const entry of (await readdir(join(root, name))).sort()) {
      found[`${name}/${entry}`] = await readFile(join(root, name, entry), 'latin1');
    }
  }
  return found;
}

test('as the twin in memory: what a process sees, and what a power cut leaves', async (t) => {
  let lostBytes = 0;
  let lostNames = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60 }), async (steps) => {
      const base = await mkdtemp(join(tmpdir(), 'catena-write-back-'));
      const root = join(base, 'data');
      for (const name of directories) await nodeDisk.makeDirectory(join(root, name));
      let unsynced: Unsynced = { bytes: 0, names: 0 };
      const open = async (): Promise<Process> => {
        unsynced = { bytes: 0, names: 0 };
        const onUnsynced = (now: Unsynced): void => {
          unsynced = now;
        };
        const stagingPath = join(base, 'staging');
        return new Process(await openWriteBackDisk({ stagingPath, onUnsynced }), root);
      };
      const twinDisk = new MemoryDisk();
      let twin = new Process(twinDisk.mount(), root);
      let real = await open();
      try {
        for (const each of [...steps, { kind: 'power-cut' } as const]) {
          t.deepEqual(await real.see(each), await twin.see(each), JSON.stringify(each));
          if (each.kind !== 'power-cut') continue;
          lostBytes += unsynced.bytes;
          lostNames += unsynced.names;
          twinDisk.crash();
          await real.close();
          const left = twinDisk.paths().map((name) => {
            return [name.slice(root.length + 1), twinDisk.contents(name).toString('latin1')];
          });
          t.deepEqual(await contentsOf(root), Object.fromEntries(left));
          twin = new Process(twinDisk.mount(), root);
          real = await open();
        }
      } finally {
        await real.close();
        await rm(base, { recursive: true, force: true });
      }
    }),
    { numRuns: 300 },
  );
  t.true(lostBytes > 0 && lostNames > 0, 'something was lost');
});

/** A file whose self-syncing writes reach the disk only when told. */
async function openSlowFile(t: ExecutionContext, { tears = false } = {}) {
  const base = await mkdtemp(join(tmpdir(), 'catena-write-back-'));
  t.teardown(() => rm(base, { recursive: true, force: true }));
  const path = join(base, 'data', 'log');
  await nodeDisk.makeDirectory(join(base, 'data'));
  const reports: Unsynced[] = [];
  let flush = (): void => undefined;
  const disk = await openWriteBackDisk({
    stagingPath: join(base, 'staging'),
    onUnsynced: (unsynced) => reports.push(unsynced),
    tears,
    flush: () =>
      new Promise<void>((resolve) => {
        flush = resolve;
      }),
  });
  await (await disk.open(path, 'create')).close();
  await disk.syncDirectory(join(base, 'data'));
  return { disk, path, reports, flush: () => flush() };
}

test('a write that syncs itself is lost until it is on the disk, and seen meanwhile', async (t) => {
  const { disk, path, reports, flush } = await openSlowFile(t);
  const log = await disk.open(path, 'write-dsync');
  const written = log.write([Buffer.from('in '), Buffer.from('flight')], 0);
  t.deepEqual(reports.at(-1), { bytes: 9, names: 0 });
  const seen = Buffer.alloc(9);
  t.is(await log.read(seen, 0), 9);
  t.is(seen.toString(), 'in flight');
  t.is(await readFile(path, 'utf8'), '');
  flush();
  t.is(await written, 9);
  t.deepEqual(reports.at(-1), { bytes: 0, names: 0 });
  t.is(await readFile(path, 'utf8'), 'in flight');
  await log.close();
});

test('a torn write: half of it is on the disk while it is under way, and its process sees the whole', async (t) => {
  const { disk, path, reports, flush } = await openSlowFile(t, { tears: true });
  const log = await disk.open(path, 'write-dsync');
  const written = log.write([Buffer.from('in '), Buffer.from('flight')], 0);
  while (reports.at(-1)?.torn !== 1) await new Promise((resolve) => setImmediate(resolve));
  t.is(await readFile(path, 'utf8'), 'in fl');
  const seen = Buffer.alloc(9);
  await log.read(seen, 0);
  t.is(seen.toString(), 'in flight');
  flush();
  t.is(await written, 9);
  t.deepEqual(reports.at(-1), { bytes: 0, names: 0 });
  t.is(await readFile(path, 'utf8'), 'in flight');
  await log.close();
});

test('a slow write does not cover a newer one that was synced meanwhile', async (t) => {
  const { disk, path, flush } = await openSlowFile(t);
  const log = await disk.open(path, 'write-dsync');
  const other = await disk.open(path, 'write');
  const written = log.write([Buffer.from('older')], 0);
  await other.write([Buffer.from('newer')], 0);
  await other.sync();
  flush();
  t.is(await written, 5);
  t.is(await readFile(path, 'utf8'), 'newer');
  await other.close();
  await log.close();
});

test('a directory moves with what is in it, synced or not', async (t) => {
  const { disk, path } = await openSlowFile(t);
  const directory = dirname(path);
  const file = await disk.open(join(directory, 'new'), 'create');
  await file.write([Buffer.from('not synced')], 0);
  await disk.rename(directory, `${directory}.aside`);
  t.deepEqual((await disk.list(`${directory}.aside`)).sort(), ['log', 'new']);
  const moved = await disk.open(join(`${directory}.aside`, 'new'), 'read');
  const seen = Buffer.alloc(10);
  t.is(await moved.read(seen, 0), 10);
  t.is(seen.toString(), 'not synced');
  await t.throwsAsync(disk.open(path, 'read'), { code: 'ENOENT' });
  await file.close();
  await moved.close();
});
