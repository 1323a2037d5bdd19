/** The data directory: identity, metadata, and the lock against real processes. */

import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { DataDamagedError, InvariantError, RefusedToStartError } from '../../src/errors.js';
import { openDataDirectory } from '../../src/log/data-directory.js';
import { MemoryDisk } from '../../src/log/memory-disk.js';

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

test('a second opening is refused, in this process and in another, until it is closed', async (t) => {
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

test('a stopped process holds it, a killed one does not', async (t) => {
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

test('of many starters after a crash exactly one wins', async (t) => {
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
