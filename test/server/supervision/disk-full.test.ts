/** FAULTS D4 on whole servers: a full disk costs its server the place in the chain, for as long as it is full. */
import test from 'ava';
import { MemoryDisk } from '../../../src/log/memory-disk.js';
import { segmentBytesFor } from '../../../src/server/server-options.js';
import { LimitedDisk } from '../../support/limited-disk.js';
import { freePorts, putOf, RawClient } from '../support.js';
import { assertNothingLost, Load, startChain, SupervisedChain } from './chain.js';

const KiB = 1024;
const MiB = 1024 * KiB;

for (const [place, index] of [
  ['head', 0],
  ['middle', 1],
  ['tail', 2],
] as const) {
  test.serial(
    `D4: the disk of the ${place} fills up under load: it leaves in order, comes back with room, lacks nothing`,
    async (t) => {
      const disk = new LimitedDisk(new MemoryDisk(), 4 * MiB);
      const settings = [{}, {}, {}].map((none, other) => (other === index ? { disk } : none));
      const { chain, client } = await startChain(t, settings);
      const address = chain.address(index);
      const raw = await RawClient.open(chain.port(index));
      t.teardown(() => raw.close());
      let tooLate: Promise<string> | undefined;
      let acknowledged = -1;
      chain.onLine = (line) => {
        if (!line.includes('no room on')) return;
        tooLate ??= raw.request(putOf('too-late', 'v')).then(
          ({ kind }) => kind,
          () => 'closed',
        );
      };
      const load = new Load(client, 16 * KiB);
      await chain.untilLine(/waits for room/);
      acknowledged = load.done.size;
      t.true(acknowledged > 20, 'there was traffic before');
      t.true(disk.refusals > 0, 'the disk refused');
      t.true(chain.line(/no room on/)?.startsWith(`${address}: no room on /data-${index}: leaves`));
      t.true(
        ['failure', 'closed'].includes((await tooLate) ?? ''),
        'nothing is acknowledged after',
      );
      const configuration = await chain.configuration();
      t.deepEqual(
        configuration.left.map((member) => member.address),
        [address],
        'by agreement: nobody waits for its leases',
      );
      t.false(configuration.members.some((member) => member.address === address));
      await load.more(20);
      t.is(chain.servers[index]?.state, 'waits for room');
      t.regex(chain.line(/waits for room/) ?? '', /waits for room: 0 MiB free, needs \d+ MiB$/);

      disk.capacityBytes = 1_000 * MiB;
      await chain.untilAllMembers();
      t.not(chain.line(/there is room again/), undefined);
      t.is((await chain.configuration()).members.at(-1)?.address, address);
      await load.more(5);
      await load.stop();
      await client.put('last', 'v');
      await assertNothingLost(t, chain, load);
    },
  );
}

test.serial(
  'D4: no room for what was assigned already: open, with its op id; the next head has it, and tells',
  async (t) => {
    const disk = new MemoryDisk();
    const { chain, client } = await startChain(t, [{ disk }, {}, {}]);
    await client.put('before', 'v');
    const raw = await RawClient.open(chain.port(0));
    t.teardown(() => raw.close());
    let refusals = 0;
    let onBelow!: () => void;
    const below = new Promise<void>((resolve) => {
      onBelow = resolve;
    });
    chain.disks[2]?.setFault(({ kind, path }) => {
      if (kind === 'write' && path.includes('/log/')) onBelow();
      return undefined;
    });
    disk.free = 0;
    disk.setFault(({ kind, path }) => {
      if (kind !== 'write' || !path.includes('/log/')) return undefined;
      refusals += 1;
      return { until: below, error: 'ENOSPC' };
    });
    const answer = await raw.request(putOf('key', 'v'));
    t.is(refusals, 1, 'tried once, never again');
    if (answer.kind !== 'failure') return t.fail(answer.kind);
    t.is(answer.code, 'OUTCOME_UNKNOWN');
    t.not(answer.opId, undefined);
    await chain.watch.untilMembers(2);
    t.deepEqual(
      (await chain.configuration()).left.map(({ address }) => address),
      [chain.address(0)],
    );
    const { epoch, seq } = answer.opId ?? { epoch: 0, seq: 0 };
    // Acknowledged by the new chain, so what it took over before is committed, too.
    await client.put('after', 'v');
    t.is(await client.verify(`${epoch}-${seq}`), 'executed');
    t.is(Buffer.from((await client.get('key'))?.value ?? []).toString(), 'v');

    disk.setFault(() => undefined);
    disk.free = 1_000 * MiB;
    await chain.untilAllMembers();
    await assertNothingLost(t, chain, { done: new Set(['before', 'key', 'after']) });
  },
);

test.serial('D4: alone there is nobody to leave to: it stops, waits, and goes on', async (t) => {
  const disk = new LimitedDisk(new MemoryDisk(), 4 * MiB);
  const { chain, client } = await startChain(t, [{ disk }]);
  const load = new Load(client, 16 * KiB, 1);
  await chain.untilLine(/waits for room/);
  t.regex(chain.line(/no room on/) ?? '', /stops$/);
  t.is((await chain.configuration()).members[0]?.address, chain.address(0));
  const acknowledged = new Set(load.done);
  disk.capacityBytes = 1_000 * MiB;
  await load.more(5);
  await load.stop();
  t.true(acknowledged.size > 20);
  await assertNothingLost(t, chain, load);
});

test.serial('D4: full from the start: it waits, and starts when there is room', async (t) => {
  const disk = new LimitedDisk(new MemoryDisk(), 0);
  const chain = new SupervisedChain(await freePorts(1), [{ disk }]);
  const server = chain.start(0);
  t.teardown(() => server.kill());
  await server.reaches('waits for room');
  disk.capacityBytes = 2 * segmentBytesFor(MiB) - 1;
  await chain.untilLine(/waits for room/);
  t.is(server.state, 'waits for room');
  disk.capacityBytes = 10 * MiB;
  await server.reaches('up');
  await server.leave();
  t.is(await server.ended, undefined);
});

test.serial('D4: asked to stop while it waits for room', async (t) => {
  const disk = new LimitedDisk(new MemoryDisk(), 4 * MiB);
  const { chain, client } = await startChain(t, [{ disk }]);
  const load = new Load(client, 16 * KiB, 1);
  await chain.servers[0]?.reaches('waits for room');
  const stopped = load.stop();
  await chain.servers[0]?.leave();
  t.is(await chain.servers[0]?.ended, undefined);
  await client.close();
  await stopped;
});
