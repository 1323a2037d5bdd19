/** Setting damaged data aside: all of it, durably, under a new name, whatever stands in the way. */

import {
  access,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { DataDamagedError, RefusedToStartError, StorageError } from '../../src/errors.js';
import { setDataAside } from '../../src/log/damaged-data.js';
import { openDataDirectory } from '../../src/log/data-directory.js';
import type { Disk } from '../../src/log/disk.js';
import { MemoryDisk } from '../../src/log/memory-disk.js';
import { nodeDisk } from '../../src/log/node-disk.js';
import { stopAt } from './support.js';

const now = new Date('2024-05-06T07:08:09.123Z');
const stamp = '2024-05-06T07-08-09Z';

async function temporaryDirectory(t: ExecutionContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'catena-aside-'));
  t.teardown(() => rm(path, { recursive: true, force: true }));
  return path;
}

async function makeData(path: string): Promise<string> {
  const data = await openDataDirectory({ path });
  await data.writeMeta({ epoch: 1 });
  await mkdir(data.logPath);
  await writeFile(join(data.logPath, 'segment'), 'rotten');
  await data.close();
  return data.identity.serverId;
}

/** As on a mount point: the directory itself cannot be renamed. */
function immovable(path: string, code: string): Disk {
  return {
    ...nodeDisk,
    rename: (source, target) =>
      source === path
        ? Promise.reject(Object.assign(new Error(`${code}: rename`), { code }))
        : nodeDisk.rename(source, target),
  };
}

test('D3: data is set aside beside its directory, and a new server begins in its place', async (t) => {
  const path = join(await temporaryDirectory(t), 'data');
  const serverId = await makeData(path);
  const first = await setDataAside(path, now);
  t.is(first, `${path}.damaged-${stamp}`);
  t.is(await readFile(join(first, 'log', 'segment'), 'utf8'), 'rotten');
  t.regex(await readFile(join(first, 'identity.json'), 'utf8'), new RegExp(serverId, 'u'));
  t.true((await readdir(first)).includes('meta.json'));
  await t.throwsAsync(access(path));
  const next = await openDataDirectory({ path });
  t.true(next.isNew);
  t.not(next.identity.serverId, serverId);
  await next.close();
  t.is(await setDataAside(path, now), `${first}-2`, 'never over an earlier one');
  t.is(await readFile(join(first, 'log', 'segment'), 'utf8'), 'rotten');
});

for (const code of ['EBUSY', 'EXDEV', 'EACCES', 'EPERM', 'EROFS']) {
  test(`D3: where the directory cannot be renamed (${code}) its data is moved inside`, async (t) => {
    const path = join(await temporaryDirectory(t), 'data');
    const serverId = await makeData(path);
    const disk = immovable(path, code);
    const first = await setDataAside(path, now, disk);
    t.is(first, join(path, `damaged-${stamp}`));
    t.is(await readFile(join(first, 'log', 'segment'), 'utf8'), 'rotten');
    t.true((await readdir(first)).includes('identity.json'));
    const left = (await readdir(path)).filter((name) => !name.startsWith('lock-'));
    t.deepEqual(left, [`damaged-${stamp}`]);
    const next = await openDataDirectory({ path });
    t.true(next.isNew, 'what was set aside does not disturb');
    t.not(next.identity.serverId, serverId);
    await next.close();
    t.is(await setDataAside(path, now, disk), `${first}-2`);
    t.is(await readFile(join(first, 'log', 'segment'), 'utf8'), 'rotten');
  });
}

test('of a link the target is moved, so that new data lies on the same disk', async (t) => {
  const parent = await temporaryDirectory(t);
  const target = join(parent, 'large', 'data');
  await mkdir(target, { recursive: true });
  const link = join(parent, 'link');
  await symlink(target, link);
  await makeData(link);
  t.is(await setDataAside(link, now), `${target}.damaged-${stamp}`);
});

test('O4: a directory that is in use is not set aside', async (t) => {
  const path = join(await temporaryDirectory(t), 'data');
  const data = await openDataDirectory({ path });
  await t.throwsAsync(setDataAside(path, now), { instanceOf: RefusedToStartError });
  t.true((await readdir(path)).includes('identity.json'));
  await data.close();
});

test('D5: a disk that fails is no reason to try elsewhere', async (t) => {
  const path = join(await temporaryDirectory(t), 'data');
  await makeData(path);
  const aside = setDataAside(path, now, immovable(path, 'EIO'));
  await t.throwsAsync(aside, { instanceOf: StorageError });
  t.true((await readdir(path)).includes('identity.json'));
});

for (const isMovable of [true, false]) {
  const way = isMovable ? 'renamed' : 'moved inside';
  test(`D2: a power cut while data is ${way} never leaves a name without its log`, async (t) => {
    const outcomes = new Set<string>();
    let isDone = false;
    for (let stop = 0; !isDone; stop++) {
      for (const survives of [0, 1]) {
        const disk = new MemoryDisk();
        const data = await openDataDirectory({ path: '/all/data', disk: disk.mount() });
        const { serverId } = data.identity;
        await data.writeMeta({ epoch: 1 });
        for (const name of ['log/1', 'snapshots/1']) {
          const file = await disk.open(`/all/data/${name}`, 'create');
          await file.write([Buffer.from('rotten')], 0);
          await file.sync();
        }
        for (const name of ['log', 'snapshots']) await disk.syncDirectory(`/all/data/${name}`);
        await data.close();
        const files = disk.paths().length;
        const mounted = disk.mount();
        const stopped = stopAt(disk, stop);
        const limited: Disk = {
          ...mounted,
          rename: (source, target) =>
            source === '/all/data' && !isMovable
              ? Promise.reject(Object.assign(new Error('EBUSY'), { code: 'EBUSY' }))
              : mounted.rename(source, target),
        };
        const aside = setDataAside('/all/data', now, limited).then(() => true);
        isDone = await Promise.race([aside, stopped.then(() => false)]);
        disk.crash(({ length }) => survives * length);
        t.is(disk.paths().length, files, 'nothing is lost');
        const left = disk
          .paths()
          .filter((path) => path.startsWith('/all/data/') && !path.includes('damaged'));
        try {
          const again = await openDataDirectory({ path: '/all/data', disk: disk.mount() });
          if (again.identity.serverId === serverId) t.is(left.length, files, 'all or nothing');
          outcomes.add(again.isNew ? 'new' : 'old');
        } catch (error) {
          t.true(error instanceof DataDamagedError, 'data without a name is set aside again');
          outcomes.add('damaged');
        }
      }
    }
    t.deepEqual([...outcomes].sort(), isMovable ? ['new', 'old'] : ['damaged', 'new', 'old']);
  });
}
