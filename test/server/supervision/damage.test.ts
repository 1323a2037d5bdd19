/**
 * FAULTS D3 on whole servers: what is damaged is not served. Its server comes back under another name, the
 * old data kept, while others have what it had; alone it refuses and touches nothing.
 */
import { crc32 } from 'node:zlib';
import test from 'ava';
import type { KvClient } from '../../../src/index.js';
import type { MemoryDisk } from '../../../src/log/memory-disk.js';
import { assertNothingLost, Load, startChain } from './chain.js';

const KiB = 1024;

/** Where in a directory the bit is flipped: the oldest of these files, past its header, before its end. */
const places: readonly { what: string; file: RegExp; at: (bytes: number) => number }[] = [
  { what: 'identity', file: /\/identity\.json$/, at: (bytes) => bytes >> 1 },
  { what: 'metadata', file: /\/meta\.json$/, at: (bytes) => bytes >> 1 },
  { what: 'log', file: /\/log\/[^/]*\d[^/]*$/, at: () => 4 * KiB },
  { what: 'snapshot', file: /\/snapshots\/.*\.snapshot$/, at: (bytes) => bytes >> 1 },
];

function flip(disk: MemoryDisk, directory: string, { file, at }: (typeof places)[number]): string {
  const path = disk
    .paths()
    .filter((path) => path.startsWith(`${directory}/`) && file.test(path))
    .at(0);
  if (path === undefined) throw new Error(`no such file in ${disk.paths().join(' ')}`);
  const before = disk.contents(path);
  disk.flipBit(path, at(before.length) * 8 + 3);
  if (before.equals(disk.contents(path))) throw new Error('nothing was damaged');
  return path;
}

/** All files below a directory, with their checksums. Without halves of files, which every start removes. */
function filesOf(disk: MemoryDisk, directory: string): string[] {
  return disk
    .paths()
    .filter((path) => path.startsWith(`${directory}/`) && !path.endsWith('.new'))
    .map((path) => `${path.slice(directory.length)} ${crc32(disk.contents(path))}`);
}

/** Until there is a snapshot, and some log behind it. */
async function fill(load: Load, client: KvClient, disk: MemoryDisk | undefined): Promise<void> {
  const hasSnapshot = (): boolean =>
    disk?.paths().some((path) => path.endsWith('.snapshot')) === true;
  // One key again and again: the log grows, the table does not.
  while (!hasSnapshot()) await client.put('filler', Buffer.alloc(16 * KiB, 1));
  await load.more(5);
}

for (const place of places) {
  test.serial(
    `D3: one bit of the ${place.what} of one of three is wrong at a start: set aside, back as another, nothing lost`,
    async (t) => {
      const { chain, client } = await startChain(t, [{}, {}, {}]);
      const load = new Load(client, 1 * KiB, 1);
      await fill(load, client, chain.disks[1]);
      const first = chain.servers[1]?.life?.serverId;
      await chain.servers[1]?.kill();
      const disk = chain.disks[1] as MemoryDisk;
      const path = flip(disk, chain.path(1), place);
      const damaged = filesOf(disk, chain.path(1));

      const again = chain.start(1);
      await again.reaches('up');
      await chain.untilAllMembers();
      t.not(again.life?.serverId, first, 'a new name');
      t.true(chain.line(/data damaged/)?.includes(path), 'the file is named');
      const [, aside] =
        /comes back as a new server, its damaged data is kept in (\S+) /.exec(
          chain.line(/comes back/) ?? '',
        ) ?? [];
      t.regex(aside ?? '', /^\/data-1\.damaged-\d{4}-/);
      t.deepEqual(filesOf(disk, aside ?? ''), damaged, 'all of it, as it was');
      await load.more(20);
      await load.stop();
      await client.put('last', 'v');
      await assertNothingLost(t, chain, load);
    },
  );

  test.serial(
    `D3: one bit of the ${place.what} of the only member is wrong: refused, the data untouched`,
    async (t) => {
      const { chain, client } = await startChain(t, [{}]);
      const load = new Load(client, 1 * KiB, 1);
      await fill(load, client, chain.disks[0]);
      await load.stop();
      await chain.servers[0]?.kill();
      const disk = chain.disks[0] as MemoryDisk;
      const path = flip(disk, chain.path(0), place);
      const damaged = filesOf(disk, chain.path(0));
      const reason = await chain.start(0).ended;
      t.is(reason?.code, 'DATA_DAMAGED');
      t.true(reason?.message.includes(path));
      t.regex(reason?.message ?? '', /stays where it is.*only member.*kv-server recover/);
      t.deepEqual(filesOf(disk, chain.path(0)), damaged);
      t.false(disk.paths().some((each) => each.includes('damaged-')));
    },
  );
}

test.serial(
  'D3: a full outage, and one of three is damaged: it waits for the others',
  async (t) => {
    const { chain, client } = await startChain(t, [{}, {}, {}]);
    const load = new Load(client, 1 * KiB, 1);
    await fill(load, client, chain.disks[0]);
    await load.stop();
    await Promise.all(chain.servers.map((server) => server.kill()));
    flip(chain.disks[0] as MemoryDisk, chain.path(0), places[2] as (typeof places)[number]);
    const damaged = chain.start(0);
    await damaged.reaches('waits for others');
    t.is(chain.line(/comes back/), undefined, 'nobody else is there yet');
    await Promise.all([1, 2].map((index) => chain.start(index).reaches('up')));
    await damaged.reaches('up');
    await chain.untilAllMembers();
    await client.put('last', 'v');
    await assertNothingLost(t, chain, load);
  },
);

test.serial('D3: all members damaged after a full outage: none is set aside', async (t) => {
  const { chain, client } = await startChain(t, [{}, {}]);
  const load = new Load(client, 1 * KiB, 1);
  await fill(load, client, chain.disks[0]);
  await load.stop();
  await Promise.all(chain.servers.map((server) => server.kill()));
  for (const index of [0, 1]) {
    flip(chain.disks[index] as MemoryDisk, chain.path(index), places[1] as (typeof places)[number]);
  }
  const reasons = await Promise.all([0, 1].map((index) => chain.start(index).ended));
  for (const [index, reason] of reasons.entries()) {
    t.is(reason?.code, 'DATA_DAMAGED');
    t.regex(reason?.message ?? '', new RegExp(`${chain.address(1 - index)}.*none is there`));
    t.false(chain.disks[index]?.paths().some((each) => each.includes('damaged-')));
  }
});

test.serial(
  'D3: found by the scrub of a running member: it halts, and is back as another',
  async (t) => {
    const { chain, client } = await startChain(t, [{}, {}, { scrubIntervalMs: 300 }]);
    const load = new Load(client, 1 * KiB, 1);
    await fill(load, client, chain.disks[2]);
    const first = chain.servers[2]?.life?.serverId;
    flip(chain.disks[2] as MemoryDisk, chain.path(2), places[3] as (typeof places)[number]);
    await chain.untilLine(/comes back as a new server/);
    await chain.servers[2]?.reaches('up');
    await chain.untilAllMembers();
    t.not(chain.servers[2]?.life?.serverId, first);
    await load.more(5);
    await load.stop();
    await client.put('last', 'v');
    await assertNothingLost(t, chain, load);
  },
);

test.serial('O3: another format is refused, never set aside, although others live', async (t) => {
  const { chain } = await startChain(t, [{}, {}, {}]);
  await chain.servers[1]?.kill();
  const disk = chain.disks[1] as MemoryDisk;
  const path = `${chain.path(1)}/identity.json`;
  const text = disk.contents(path).toString();
  const content = text.slice(text.indexOf('"content":') + 10, -2);
  const newer = `{"formatVersion":9,"crc32":${crc32(`9${content}`)},"content":${content}}\n`;
  await disk.remove(path);
  const file = await disk.open(path, 'create');
  await file.write([Buffer.from(newer)], 0);
  await file.close();
  const reason = await chain.start(1).ended;
  t.is(reason?.code, 'REFUSED_TO_START');
  t.regex(reason?.message ?? '', /format version 9/);
  t.false(disk.paths().some((each) => each.includes('damaged-')));
});
