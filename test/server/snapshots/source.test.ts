/** Which file a learner is sent, and that nothing a learner says or a timer does ends the source. */
import { mock } from 'node:test';
import test from 'ava';
import type { Machine } from '../../../src/machine/machine.js';
import { configuration, connectTo, machineWith, startIntake, startSource } from './support.js';

const whole = { afterSeq: 0, partial: undefined };

function put(machine: Machine, epoch: number): void {
  machine.apply({
    epoch,
    firstSeq: 41,
    lastSeq: 41,
    commit: 40,
    ops: [{ kind: 'put', key: Buffer.from('key-1'), value: Buffer.from('newer') }],
    keyHashes: [0],
    record: Buffer.alloc(0),
  });
}

test('a learner that claims more chunks than there are gets all of them', async (t) => {
  const { source, checkpoints, store } = await startSource(machineWith(100));
  await checkpoints.take();
  const id = (await store.newest())?.meta['id'] as string;
  const target = await startIntake();
  const { sending, bodies } = connectTo(target);
  t.is(
    await source.send(sending, configuration, { afterSeq: 0, partial: { id, chunks: 10_000 } }),
    40,
  );
  await target.until(() => target.installed.length > 0);
  const [begin] = bodies;
  t.is(begin?.kind === 'snapshot-begin' ? begin.firstChunk : -1, 0);
  await source.close();
});

test('a part of a history that was given up since is not gone on with', async (t) => {
  const machine = machineWith(2_000);
  const { source, checkpoints, ends } = await startSource(machine);
  const target = await startIntake();
  const first = connectTo(target, 5);
  await source.send(first.sending, configuration, whole);
  await target.until(() => first.reasons.length > 0);
  const { partial } = target.intake;
  t.true((partial?.chunks ?? 0) > 0, 'it broke midway');
  // The source took over another history meanwhile: its op 40 is of another epoch.
  put(machine, 9);
  ends.splice(0, ends.length, { epoch: 1, lastSeq: 10 }, { epoch: 9, lastSeq: 41 });
  await checkpoints.take();
  const second = connectTo(target);
  t.is(await source.send(second.sending, configuration, { afterSeq: 10, partial }), 41);
  await target.until(() => target.installed.length > 0);
  t.deepEqual(target.installed[0]?.runs, ends);
  await source.close();
});

test('a snapshot so old that the epoch of its last op is forgotten is replaced: nobody could ack it', async (t) => {
  const machine = machineWith(10);
  const { source, checkpoints, ends } = await startSource(machine);
  await checkpoints.take();
  put(machine, 9);
  ends.splice(0, ends.length, { epoch: 0, lastSeq: 40 }, { epoch: 9, lastSeq: 41 });
  const target = await startIntake();
  const { sending } = connectTo(target);
  t.is(await source.send(sending, configuration, whole), 41);
  await source.close();
});

test.serial('a file whose time runs out while it is chosen again is not closed', async (t) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  t.teardown(() => mock.timers.reset());
  const { source, store } = await startSource(machineWith(100));
  const target = await startIntake();
  t.is(await source.send(connectTo(target).sending, configuration, whole), 40);
  await target.until(() => target.installed.length > 0);
  const newest = store.newest.bind(store);
  let elapsed = 0;
  store.newest = async () => {
    const reader = await newest();
    const close = reader?.close.bind(reader);
    if (reader === undefined || close === undefined) return reader;
    reader.close = async () => {
      elapsed += 1;
      mock.timers.tick(60_001);
      await close();
    };
    return reader;
  };
  t.is(await source.send(connectTo(target).sending, configuration, whole), 40);
  t.is(elapsed, 1, 'the time ran out right then');
  await source.close();
});
