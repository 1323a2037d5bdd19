/** The data directory: identity, metadata, and the lock against real processes. */

import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import test, { type ExecutionContext } from 'ava';
import { DataDamagedError, InvariantError, RefusedToStartError } from '../../src/errors.js';
import { writeCheckedJson } from '../../src/log/checked-json.js';
import { openDataDirectory } from '../../src/log/data-directory.js';
import { MemoryDisk } from '../../src/log/memory-disk.js';
import { stopAt } from './support.js';

interface Report {
  readonly serverId?: string;
  readonly refused?: string;
}

async function temporaryDirectory(t: ExecutionContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'catena-data-'));
  t.teardown(() => rm(path, { recursive: true, force: true }));
  return path;
}

async function startHolder(
  t: ExecutionContext,
  path: string,
): Promise<{ child: ChildProcess; report: Report }> {
  const child = fork(new URL('./lock-holder.js', import.meta.url), [path]);
  t.teardown(() => child.kill('SIGKILL'));
  const [report] = (await once(child, 'message')) as [Report];
  return { child, report };
}

async function end(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

test('identity stays, metadata is what was written last', async (t) => {
  const disk = new MemoryDisk();
  const open = (): ReturnType<typeof openDataDirectory> =>
    openDataDirectory({ path: '/data', disk: disk.mount(), createServerId: () => 'server-1' });
  const first = await open();
  t.true(first.isNew);
  t.is(await first.readMeta(), undefined);
  await Promise.all([first.writeMeta({ epoch: 1 }), first.writeMeta({ epoch: 2 })]);
  await first.setClusterId('cluster-1');
  await t.throwsAsync(first.setClusterId('cluster-2'), { instanceOf: InvariantError });
  await t.throwsAsync(open(), { instanceOf: RefusedToStartError });
  void first.writeMeta({ epoch: 3 });
  disk.crash();
  const second = await open();
  t.false(second.isNew);
  t.like(second.identity, { serverId: 'server-1', clusterId: 'cluster-1' });
  t.deepEqual(await second.readMeta(), { epoch: 2 });
});

test('D3: metadata with any bit flipped is found, and an identity that is lost', async (t) => {
  const disk = new MemoryDisk();
  const open = (): ReturnType<typeof openDataDirectory> =>
    openDataDirectory({ path: '/data', disk: disk.mount() });
  const directory = await open();
  await directory.writeMeta({ epoch: 1 });
  const { length } = disk.contents('/data/meta.json');
  for (let bit = 0; bit < length * 8; bit++) {
    disk.flipBit('/data/meta.json', bit);
    await t.throwsAsync(directory.readMeta(), { instanceOf: DataDamagedError }, `bit ${bit}`);
    disk.flipBit('/data/meta.json', bit);
  }
  await directory.close();
  await disk.remove('/data/identity.json');
  await t.throwsAsync(open(), { instanceOf: DataDamagedError });
});

for (const name of ['identity', 'meta'] as const) {
  test(`O3: another format version of ${name}.json is refused with a clear message`, async (t) => {
    const disk = new MemoryDisk();
    const first = await openDataDirectory({ path: '/data', disk: disk.mount() });
    await first.writeMeta({ epoch: 1 });
    await first.close();
    const path = `/data/${name}.json`;
    const text = disk.contents(path).toString();
    const content = /"content":(.*)\}\n$/su.exec(text)?.[1] ?? '';
    const checksum = crc32(`2${content}`);
    const newer = `{"formatVersion":2,"crc32":${checksum},"content":${content}}\n`;
    await replace(disk, path, Buffer.from(newer));
    const open = async (): Promise<unknown> => {
      const data = await openDataDirectory({ path: '/data', disk: disk.mount() });
      return data.readMeta();
    };
    const error = await t.throwsAsync(open(), { instanceOf: RefusedToStartError });
    t.regex(error?.message ?? '', /format version 2; this release reads version 1/u);
  });
}

test('D3: an identity with any bit flipped is found, at the start and by verify', async (t) => {
  const disk = new MemoryDisk();
  const path = '/data/identity.json';
  const data = await openDataDirectory({ path: '/data', disk: disk.mount() });
  await data.verify();
  const { length } = disk.contents(path);
  for (let bit = 0; bit < length * 8; bit++) {
    disk.flipBit(path, bit);
    await t.throwsAsync(data.verify(), { instanceOf: DataDamagedError }, `bit ${bit}`);
    disk.flipBit(path, bit);
  }
  await data.close();
  for (let bit = 0; bit < length * 8; bit++) {
    disk.flipBit(path, bit);
    const opening = openDataDirectory({ path: '/data', disk: disk.mount() });
    const error = await t.throwsAsync(opening, { instanceOf: DataDamagedError }, `bit ${bit}`);
    t.regex(error?.message ?? '', /identity\.json is damaged at offset 0/u);
    disk.flipBit(path, bit);
  }
});

async function replace(disk: MemoryDisk, path: string, bytes: Buffer): Promise<void> {
  const file = await disk.open(path, 'write');
  await file.truncate(0);
  await file.write([bytes], 0);
  await file.sync();
}

/** All files of a directory of the twin, as `cp -a` would make them. */
async function copyFiles(disk: MemoryDisk, from: string, to: string): Promise<void> {
  for (const path of disk.paths().filter((each) => each.startsWith(`${from}/`))) {
    const file = await disk.open(to + path.slice(from.length), 'create');
    await file.write([disk.contents(path)], 0);
    await file.sync();
  }
  await disk.syncDirectory(to);
}

const wasCopied = { instanceOf: RefusedToStartError, message: /--moved-data/u };

test('O4: a copied data directory is refused, a renamed one is not', async (t) => {
  const disk = new MemoryDisk();
  const openAt = (path: string, acceptMoved = false): ReturnType<typeof openDataDirectory> =>
    openDataDirectory({ path, disk: disk.mount(), acceptMoved });
  const first = await openAt('/data');
  await first.writeMeta({ epoch: 4 });
  await first.close();
  await copyFiles(disk, '/data', '/copy');
  const error = await t.throwsAsync(openAt('/copy'), wasCopied);
  t.regex(error?.message ?? '', /\/copy is a copy, or was moved/u);
  await disk.rename('/data', '/renamed');
  const renamed = await openAt('/renamed');
  t.is(renamed.identity.serverId, first.identity.serverId);
  await renamed.close();
  await disk.remove('/copy/origin');
  await t.throwsAsync(openAt('/copy'), wasCopied, 'without the file, too');
  const accepted = await openAt('/copy', true);
  t.like(accepted.identity, { serverId: first.identity.serverId });
  t.deepEqual(await accepted.readMeta(), { epoch: 4 });
  await accepted.setClusterId('cluster-1');
  await accepted.close();
  disk.crash();
  const again = await openAt('/copy');
  t.is(again.identity.clusterId, 'cluster-1', 'once is enough');
  await again.close();
  await copyFiles(disk, '/copy', '/second');
  await t.throwsAsync(openAt('/second'), wasCopied, 'it is guarded again');
});

test('O4: real files: a copy is refused, a move on the same file system is not', async (t) => {
  const parent = await temporaryDirectory(t);
  const path = join(parent, 'data');
  const first = await openDataDirectory({ path });
  await first.setClusterId('cluster-1');
  await first.close();
  await cp(path, join(parent, 'copy'), {
    recursive: true,
    preserveTimestamps: true,
    filter: (name) => !/lock-\d/u.test(name),
  });
  await t.throwsAsync(openDataDirectory({ path: join(parent, 'copy') }), wasCopied);
  await rename(path, join(parent, 'moved'));
  const moved = await openDataDirectory({ path: join(parent, 'moved') });
  t.is(moved.identity.serverId, first.identity.serverId);
  await moved.close();
  // Replaced in place, as a restore of files does: the same names, other files.
  await rm(join(parent, 'moved'), { recursive: true });
  await rename(join(parent, 'copy'), join(parent, 'moved'));
  await t.throwsAsync(openDataDirectory({ path: join(parent, 'moved') }), wasCopied);
});

test('an identity of an older release gets an origin, and is guarded from then on', async (t) => {
  const disk = new MemoryDisk();
  const open = (): ReturnType<typeof openDataDirectory> =>
    openDataDirectory({ path: '/data', disk: disk.mount() });
  await writeCheckedJson(disk, '/data/identity.json', { serverId: 'old', clusterId: 'c' });
  const first = await open();
  t.like(first.identity, { serverId: 'old', clusterId: 'c' });
  t.false(first.isNew);
  await first.close();
  disk.crash();
  await (await open()).close();
  await disk.remove('/data/origin');
  await t.throwsAsync(open(), wasCopied);
});

const beginnings: readonly [name: string, prepare: (disk: MemoryDisk) => Promise<void>][] = [
  ['a new directory', async () => {}],
  [
    'one of an older release',
    (disk) => writeCheckedJson(disk, '/data/identity.json', { serverId: 'server-1' }),
  ],
  [
    'one that was moved',
    async (disk) => {
      await (await openDataDirectory({ path: '/before', disk, createServerId })).close();
      await copyFiles(disk, '/before', '/data');
    },
  ],
];
function createServerId(): string {
  return 'server-1';
}

test('D2: metadata that a killed process renamed, but did not sync, is durable once it was read', async (t) => {
  const disk = new MemoryDisk();
  const open = (): ReturnType<typeof openDataDirectory> =>
    openDataDirectory({ path: '/data', disk: disk.mount(), createServerId });
  const first = await open();
  await first.writeMeta({ epoch: 1 });
  const renamed = new Promise<void>((resolve) => {
    disk.setFault(({ kind }) => {
      if (kind !== 'sync-directory') return undefined;
      resolve();
      return { until: new Promise(() => {}) };
    });
  });
  void first.writeMeta({ epoch: 2 });
  await renamed;
  disk.kill();
  t.deepEqual(await (await open()).readMeta(), { epoch: 2 }, 'the next process acts on it');
  disk.crash();
  t.deepEqual(
    await (await open()).readMeta(),
    { epoch: 2 },
    'so it must be there after a power cut',
  );
});

for (const [name, prepare] of beginnings) {
  test(`D2: a power cut at any step of the first opening of ${name} is put right`, async (t) => {
    const open = (disk: MemoryDisk): ReturnType<typeof openDataDirectory> =>
      openDataDirectory({ path: '/data', disk: disk.mount(), createServerId, acceptMoved: true });
    let isDone = false;
    let stops = 0;
    for (; !isDone; stops++) {
      for (const survives of [0, 1]) {
        const disk = new MemoryDisk();
        await prepare(disk);
        disk.crash();
        const stopped = stopAt(disk, stops);
        isDone = await Promise.race([open(disk).then(() => true), stopped.then(() => false)]);
        disk.crash(({ length }) => survives * length);
        const data = await open(disk);
        t.is(data.identity.serverId, 'server-1');
        await data.close();
        disk.crash();
        const again = await openDataDirectory({ path: '/data', disk: disk.mount() });
        t.is(again.identity.serverId, 'server-1', `stop ${stops}`);
        await again.close();
      }
    }
    t.true(stops > 5, `${stops} steps`);
  });
}

test('O4: a second opening is refused, in this process and in another, until it is closed', async (t) => {
  const path = await temporaryDirectory(t);
  const first = await openDataDirectory({ path });
  const other = await openDataDirectory({ path: await temporaryDirectory(t) });
  const error = await t.throwsAsync(openDataDirectory({ path }), {
    instanceOf: RefusedToStartError,
  });
  t.regex(error?.message ?? '', new RegExp(`process ${process.pid} on `, 'u'));
  t.regex((await startHolder(t, path)).report.refused ?? '', /in use/u);
  await first.close();
  const again = await openDataDirectory({ path });
  t.is(again.identity.serverId, first.identity.serverId);
  await again.close();
  await other.close();
});

test('O4: a stopped process holds it, a killed one does not', async (t) => {
  const path = await temporaryDirectory(t);
  const { child, report } = await startHolder(t, path);
  child.kill('SIGSTOP');
  await t.throwsAsync(openDataDirectory({ path }), { instanceOf: RefusedToStartError });
  await end(child);
  const directory = await openDataDirectory({ path });
  t.is(report.serverId, directory.identity.serverId);
  t.deepEqual(
    (await readdir(path)).filter((name) => /^lock-\w*\d/u.test(name)),
    ['lock-2'],
  );
  await directory.close();
});

test('O4: of many starters after a crash exactly one wins', async (t) => {
  const path = await temporaryDirectory(t);
  await end((await startHolder(t, path)).child);
  for (let round = 0; round < 20; round++) {
    const starts = await Promise.allSettled(
      Array.from({ length: 8 }, () => openDataDirectory({ path })),
    );
    const winners = starts.flatMap((start) => (start.status === 'fulfilled' ? [start.value] : []));
    t.is(winners.length, 1);
    await winners[0]?.close();
  }
});

test('a path longer than a socket address works', async (t) => {
  const path = join(await temporaryDirectory(t), 'long'.repeat(50), 'data');
  const directory = await openDataDirectory({ path });
  await t.throwsAsync(openDataDirectory({ path }), { instanceOf: RefusedToStartError });
  await directory.close();
});
