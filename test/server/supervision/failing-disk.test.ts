/**
 * FAULTS D5, D7 on whole servers: the first failure of the disk is the end of that server, also when the disk
 * works again at once. Nothing is acknowledged after it, and nothing is written.
 */
import test from 'ava';
import { type DiskOperation, MemoryDisk } from '../../../src/log/memory-disk.js';
import { putOf, RawClient, until } from '../support.js';
import { assertNothingLost, Load, startChain } from './chain.js';

const changes = new Set(['write', 'sync', 'truncate', 'rename', 'remove', 'sync-directory']);

/** From `arm` on the first operation of this kind fails, once; what is changed on the disk after that is counted. */
function failOnce(disk: MemoryDisk, isTarget: (operation: DiskOperation) => boolean) {
  const seen = { failures: 0, changesAfter: [] as string[] };
  const arm = (): void =>
    disk.setFault((operation) => {
      if (seen.failures > 0) {
        if (changes.has(operation.kind)) {
          seen.changesAfter.push(`${operation.kind} ${operation.path}`);
        }
        return undefined;
      }
      if (!isTarget(operation)) return undefined;
      seen.failures += 1;
      return { error: 'EIO' };
    });
  return { seen, arm };
}

const isLogWrite = ({ kind, path }: DiskOperation): boolean =>
  kind === 'write' && /\/log\/\d+\.log$/.test(path);

test.serial(
  'D5: a durable write of the log fails once, then the disk works: the end, nothing acknowledged or written after it',
  async (t) => {
    const disk = new MemoryDisk();
    const { chain, client } = await startChain(t, [{ disk }]);
    await client.put('before', 'v');
    const { seen, arm } = failOnce(disk, isLogWrite);
    const raw = await RawClient.open(chain.port(0));
    t.teardown(() => raw.close());
    arm();
    for (let n = 0; n < 50; n++) raw.send(putOf(`key-${n}`, 'v'));
    const reason = await chain.servers[0]?.ended;
    t.is(seen.failures, 1, 'it failed');
    t.is(reason?.code, 'STORAGE');
    t.regex(reason?.message ?? '', /EIO/);
    await raw.closed;
    t.deepEqual([...raw.answers.values()].flat(), [], 'nothing was answered');
    t.deepEqual(seen.changesAfter, []);
    t.is(chain.servers[0]?.state, 'ended', 'and there is no other life');
  },
);

test.serial('D5: a sync in the background fails once: the end as well', async (t) => {
  const disk = new MemoryDisk();
  const { chain, client } = await startChain(t, [{ disk }]);
  const { seen, arm } = failOnce(disk, ({ kind, path }) => kind === 'sync' && /spare/.test(path));
  arm();
  const load = new Load(client, 16 * 1024, 2);
  const reason = await chain.servers[0]?.ended;
  t.is(seen.failures, 1);
  t.is(reason?.code, 'STORAGE');
  t.true(load.done.size > 0);
  await client.close();
  await load.stop();
});

for (const [place, index] of [
  ['head', 0],
  ['middle', 1],
  ['tail', 2],
] as const) {
  test.serial(
    `D5, D7: the disk of the ${place} fails once: it is gone for good, the others go on and lack nothing`,
    async (t) => {
      const disk = new MemoryDisk();
      const settings = [{}, {}, {}].map((none, other) => (other === index ? { disk } : none));
      const { chain, client } = await startChain(t, settings);
      const { seen, arm } = failOnce(disk, isLogWrite);
      const load = new Load(client, 1_024);
      await load.more(20);
      arm();
      const reason = await chain.servers[index]?.ended;
      t.is(reason?.code, 'STORAGE');
      t.is(seen.failures, 1);
      t.deepEqual(seen.changesAfter, []);
      await chain.watch.untilMembers(2);
      await load.more(20);
      await load.stop();
      t.is(chain.servers[index]?.state, 'ended');

      // Somebody looks at the disk, and starts it again.
      await chain.start(index).reaches('up');
      await chain.untilAllMembers();
      await client.put('last', 'v');
      await assertNothingLost(t, chain, load);
    },
  );
}

test.serial('D7: writes that take only a part are continued, and nothing is noticed', async (t) => {
  const disk = new MemoryDisk();
  const { chain, client } = await startChain(t, [{ disk }, {}]);
  let cut = 0;
  disk.setFault(({ kind, length = 0 }) => {
    if (kind !== 'write' || length < 2) return undefined;
    cut += 1;
    return { bytes: Math.ceil(length / 2) };
  });
  const load = new Load(client, 1_024);
  await load.more(50);
  await load.stop();
  t.true(cut > 50, 'writes were cut short');
  await assertNothingLost(t, chain, load);
  await chain.servers[0]?.kill();
  disk.setFault(() => undefined);
  await chain.start(0).reaches('up');
  await chain.untilAllMembers();
  await client.put('last', 'v');
  await assertNothingLost(t, chain, load);
});

test.serial(
  'D7: a part is written, then EIO: the end; the torn record was never acknowledged',
  async (t) => {
    const disk = new MemoryDisk();
    const { chain, client } = await startChain(t, [{ disk }]);
    await client.put('before', 'v');
    const raw = await RawClient.open(chain.port(0));
    t.teardown(() => raw.close());
    let failures = 0;
    disk.setFault((operation) => {
      if (!isLogWrite(operation)) return undefined;
      failures += 1;
      return { bytes: 40, error: 'EIO' };
    });
    raw.send(putOf('torn', 'v'));
    const reason = await chain.servers[0]?.ended;
    t.is(reason?.code, 'STORAGE');
    t.is(failures, 1);
    await raw.closed;
    t.is(raw.answers.size, 0);
    disk.setFault(() => undefined);
    const again = chain.start(0);
    await again.reaches('up');
    await until(() => again.life?.role === 'single');
    t.is(Buffer.from((await client.get('before'))?.value ?? []).toString(), 'v');
  },
);
