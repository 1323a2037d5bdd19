import test from 'ava';
import { MemoryCoordination } from '../../src/coordination/memory.js';
import type { ContractCluster } from './contract.js';
import { registration, started, testContract } from './contract.js';

function memoryCluster(): ContractCluster {
  const service = new MemoryCoordination();
  const made: ReturnType<MemoryCoordination['coordinator']>[] = [];
  return {
    coordinator() {
      const coordinator = service.coordinator();
      made.push(coordinator);
      return coordinator;
    },
    expire: async (coordinator) => service.expire(coordinator),
    overwriteChain: async (data) => service.overwriteChain(data),
    deleteChain: async () => service.deleteChain(),
    addServerNode: async (data) => void service.addServerNode(data),
    serverNodes: async () => service.serverNodes(),
    async close() {
      await Promise.all(made.map((coordinator) => coordinator.close()));
    },
  };
}

testContract(test, async () => memoryCluster());

/** A service whose tasks run when the test says so, in order. */
function stepped(): { service: MemoryCoordination; run: () => void } {
  const tasks: (() => void)[] = [];
  const service = new MemoryCoordination({ schedule: (task) => tasks.push(task) });
  const run = (): void => {
    for (let task = tasks.shift(); task !== undefined; task = tasks.shift()) task();
  };
  return { service, run };
}

test('nothing happens but in tasks of the scheduler', (t) => {
  const { service, run } = stepped();
  const one = service.coordinator();
  const sees = started(one);
  one.announce(registration('a', 'a1'));
  t.deepEqual(sees.sessions, []);
  t.deepEqual(service.serverNodes(), []);
  run();
  t.deepEqual(sees.sessions, ['connected']);
  t.is(sees.incarnations(), 'a1');
});

test('while it is away: suspended, writes unavailable, reads rejected; sessions stay', async (t) => {
  const service = new MemoryCoordination();
  const one = service.coordinator();
  const sees = started(one);
  one.announce(registration('a', 'a1'));
  await sees.untilIncarnations('a1');
  service.stop();
  await sees.untilSession('suspended');
  t.is(await one.createChain('x'), 'unavailable');
  await t.throwsAsync(one.readChain(), { code: 'COORDINATION' });
  service.start();
  await sees.untilSession('connected');
  t.false(sees.sessions.includes('expired'));
  t.is(service.serverNodes().length, 1);
});

test('a write under way when the service goes away is unknown', async (t) => {
  const { service, run } = stepped();
  const one = service.coordinator();
  started(one);
  run();
  const outcome = one.createChain('x');
  service.stop();
  run();
  t.is(await outcome, 'unknown');
  t.is(service.backup().chain, undefined);
});

test('a lost answer is unknown, the write done, dropped, or done later', async (t) => {
  const service = new MemoryCoordination();
  const one = service.coordinator();
  await started(one).untilSession('connected');
  service.loseNextAnswer(one, 'dropped');
  t.is(await one.createChain('0'), 'unknown');
  t.deepEqual(await one.readChain(), { kind: 'absent' });
  service.loseNextAnswer(one, 'done');
  t.is(await one.createChain('0'), 'unknown');
  t.deepEqual(await one.readChain(), { kind: 'found', data: '0', version: 0 });

  const deliver = service.delayNextWrite(one);
  t.is(await one.setChain('1', 0), 'unknown');
  t.deepEqual(await one.readChain(), { kind: 'found', data: '0', version: 0 });
  deliver();
  t.deepEqual(await one.readChain(), { kind: 'found', data: '1', version: 1 });

  const deliverTooLate = service.delayNextWrite(one);
  t.is(await one.setChain('late', 1), 'unknown');
  t.is(await one.setChain('2', 1), 'done');
  deliverTooLate();
  t.deepEqual(await one.readChain(), { kind: 'found', data: '2', version: 2 });
});

test('frozen reads are stale for that coordinator alone; its writes are not', async (t) => {
  const service = new MemoryCoordination();
  const [one, two] = [service.coordinator(), service.coordinator()];
  const [oneSees, twoSees] = [started(one), started(two)];
  await oneSees.untilSession('connected');
  t.is(await one.createChain('0'), 'done');
  service.freezeReads(one);
  t.is(await two.setChain('1', 0), 'done');
  await twoSees.untilChain('1');
  t.deepEqual(await one.readChain(), { kind: 'found', data: '0', version: 0 });
  t.is(await one.setChain('2', 0), 'conflict');
  t.is(oneSees.chainData(), '0');
  service.thawReads(one);
  await oneSees.untilChain('1');
});

test('one that is cut off learns of its expiry when it is back', async (t) => {
  const service = new MemoryCoordination();
  const [one, two] = [service.coordinator(), service.coordinator()];
  const [oneSees, twoSees] = [started(one), started(two)];
  one.announce(registration('a', 'a1'));
  await twoSees.untilIncarnations('a1');
  service.disconnect(one);
  await oneSees.untilSession('suspended');
  t.is(service.serverNodes().length, 1);
  service.expire(one);
  await twoSees.untilIncarnations();
  t.deepEqual(oneSees.sessions, ['connected', 'suspended']);
  service.reconnect(one);
  await twoSees.untilIncarnations('a1');
  t.deepEqual(oneSees.sessions, ['connected', 'suspended', 'expired', 'connected']);
});

test('a crashed one hears nothing more and leaves its node until its session expires', async (t) => {
  const service = new MemoryCoordination();
  const [one, two] = [service.coordinator(), service.coordinator()];
  const [oneSees, twoSees] = [started(one), started(two)];
  one.announce(registration('a', 'a1'));
  await twoSees.untilIncarnations('a1');
  service.crash(one);
  service.overwriteChain('x');
  await twoSees.untilChain('x');
  t.is(oneSees.chainData(), undefined);
  t.is(service.serverNodes().length, 1);
  service.expire(one);
  await twoSees.untilIncarnations();
});

test('all sessions expire at once: all come back, each once', async (t) => {
  const service = new MemoryCoordination();
  const all = [1, 2, 3].map((number) => {
    const coordinator = service.coordinator();
    const sees = started(coordinator);
    coordinator.announce(registration(`s${number}`, `i${number}`));
    return sees;
  });
  await Promise.all(all.map((sees) => sees.untilIncarnations('i1', 'i2', 'i3')));
  service.expireAll();
  await Promise.all(all.map((sees) => sees.until(() => sees.sessions.includes('expired'))));
  await Promise.all(all.map((sees) => sees.untilIncarnations('i1', 'i2', 'i3')));
  t.is(service.serverNodes().length, 3);
});

test('wiped, or back with an older copy: sessions end and the chain is what it was', async (t) => {
  const service = new MemoryCoordination();
  const one = service.coordinator();
  const sees = started(one);
  one.announce(registration('a', 'a1'));
  await sees.untilIncarnations('a1');
  await one.createChain('0');
  const backup = service.backup();
  await one.setChain('1', 0);
  await sees.untilChain('1');
  service.restore(backup);
  await sees.untilChain('0');
  t.deepEqual(sees.chains.at(-1), { kind: 'found', data: '0', version: 0 });
  service.wipe();
  await sees.until(() => sees.chains.at(-1)?.kind === 'absent');
  await sees.until(() => service.serverNodes().length === 1);
  t.true(sees.sessions.includes('expired'));
});

test('with a keeper, a write is done and seen only when it was kept', async (t) => {
  const kept: { data: string; version: number; resolve: () => void }[] = [];
  const service = new MemoryCoordination({
    initialChain: { data: 'kept', version: 6 },
    onChainWritten: (data, version) =>
      new Promise<void>((resolve) => void kept.push({ data, version, resolve })),
  });
  const one = service.coordinator();
  await started(one).untilSession('connected');
  const [first, second] = [one.setChain('7', 6), one.setChain('also 7', 6)];
  t.deepEqual(await one.readChain(), { kind: 'found', data: 'kept', version: 6 });
  t.deepEqual(
    kept.map(({ data, version }) => [data, version]),
    [['7', 7]],
  );
  kept[0]?.resolve();
  t.is(await first, 'done');
  t.is(await second, 'conflict');
  t.deepEqual(await one.readChain(), { kind: 'found', data: '7', version: 7 });
});

test('a write that could not be kept is unknown and ends the service', async (t) => {
  const service = new MemoryCoordination({
    onChainWritten: () => Promise.reject(new Error('disk')),
  });
  const one = service.coordinator();
  const sees = started(one);
  await sees.untilSession('connected');
  t.is(await one.createChain('x'), 'unknown');
  await sees.untilSession('suspended');
  t.is(await one.createChain('x'), 'unavailable');
  t.throws(() => service.start(), { message: 'disk' });
});
