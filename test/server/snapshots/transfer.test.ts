/** A table on its way to a learner: whole, broken and gone on with, replaced, wrongly counted. */
import test, { type ExecutionContext } from 'ava';
import { ProtocolError } from '../../../src/errors.js';
import type { Machine } from '../../../src/machine/machine.js';
import { encodePage } from '../../../src/protocol/messages.js';
import { encodePeer, type SnapshotBody } from '../../../src/protocol/peer-messages.js';
import { machineFrom } from '../../../src/server/recovery.js';
import {
  configuration,
  connectTo,
  type Intake,
  machineWith,
  runs,
  startIntake,
  startSource,
} from './support.js';

const whole = { afterSeq: 0, partial: undefined };

async function assertInstalled(t: ExecutionContext, target: Intake, keys: number): Promise<void> {
  t.is(target.installed.length, 1);
  t.deepEqual(target.failures, []);
  const reader = await target.store.newest();
  if (reader === undefined) throw new Error('no snapshot is there');
  t.is(reader.meta.seq, 40);
  t.is(reader.meta.epoch, 3);
  t.deepEqual(reader.meta['runs'], runs);
  assertTable(t, await machineFrom(reader), keys);
}

function assertTable(t: ExecutionContext, machine: Machine, keys: number): void {
  t.is(machine.table.size, keys);
  t.is(machine.appliedSeq, 40);
  for (let n = 0; n < keys; n++) {
    const key = Buffer.from(`key-${n}`);
    t.true(Buffer.alloc(1_000, n).equals(machine.table.get(key) ?? Buffer.alloc(0)));
    t.is(machine.table.version(key), (n % 40) + 1);
  }
}

for (const keys of [0, 1, 2_000]) {
  test(`a table of ${keys} keys arrives as it was`, async (t) => {
    const { source } = await startSource(machineWith(keys));
    const target = await startIntake();
    const { sending } = connectTo(target);
    t.is(await source.send(sending, configuration, whole), 40);
    await target.until(() => target.installed.length > 0);
    await assertInstalled(t, target, keys);
    await source.close();
  });
}

test('O5: a transfer whose connection breaks goes on with the chunk that is missing', async (t) => {
  const { source } = await startSource(machineWith(2_000));
  const target = await startIntake();
  const first = connectTo(target, 7);
  t.is(await source.send(first.sending, configuration, whole), undefined);
  await target.until(() => first.reasons.length > 0);
  const { partial } = target.intake;
  t.true(partial !== undefined && partial.chunks > 0 && partial.chunks <= 7, 'it broke midway');
  t.deepEqual(target.installed, []);
  const second = connectTo(target);
  t.is(await source.send(second.sending, configuration, { afterSeq: 0, partial }), 40);
  await target.until(() => target.installed.length > 0);
  const begin = second.bodies[0];
  t.is(begin?.kind === 'snapshot-begin' ? begin.firstChunk : 0, partial?.chunks ?? -1);
  const chunks = second.bodies.filter(({ kind }) => kind === 'snapshot-chunk').length;
  const end = second.bodies.at(-1);
  t.is(end?.kind === 'snapshot-end' ? end.chunks : 0, (partial?.chunks ?? 0) + chunks);
  await assertInstalled(t, target, 2_000);
  await source.close();
});

test('O5: it goes on also when a newer snapshot has replaced the file meanwhile', async (t) => {
  const machine = machineWith(2_000);
  const { source, checkpoints, store, ends } = await startSource(machine);
  const target = await startIntake();
  const first = connectTo(target, 5);
  await source.send(first.sending, configuration, whole);
  await target.until(() => first.reasons.length > 0);
  const { partial } = target.intake;
  machine.apply({
    epoch: 3,
    firstSeq: 41,
    lastSeq: 41,
    commit: 40,
    ops: [{ kind: 'put', key: Buffer.from('key-1'), value: Buffer.from('newer') }],
    keyHashes: [0],
    record: Buffer.alloc(0),
  });
  ends.push({ epoch: 4, lastSeq: 41 });
  await checkpoints.take();
  t.is((await store.newest())?.meta.seq, 41, 'the file was replaced');
  const second = connectTo(target);
  t.is(await source.send(second.sending, configuration, { afterSeq: 0, partial }), 40);
  await target.until(() => target.installed.length > 0);
  await assertInstalled(t, target, 2_000);
  await source.close();
});

test('O5: another source begins anew, and chunks of two files never mix', async (t) => {
  const one = await startSource(machineWith(2_000));
  const other = await startSource(machineWith(1_500));
  const target = await startIntake();
  const first = connectTo(target, 5);
  await one.source.send(first.sending, configuration, whole);
  await target.until(() => first.reasons.length > 0);
  const { partial } = target.intake;
  t.true((partial?.chunks ?? 0) > 0);
  const second = connectTo(target);
  await other.source.send(second.sending, configuration, { afterSeq: 0, partial });
  await target.until(() => target.installed.length > 0);
  await assertInstalled(t, target, 1_500);
  await one.source.close();
  await other.source.close();
});

test('a snapshot that reaches less far than what the learner may have acked is never sent', async (t) => {
  const { source, checkpoints } = await startSource(machineWith(10));
  await checkpoints.take();
  const target = await startIntake();
  const { sending, bodies } = connectTo(target);
  await t.throwsAsync(source.send(sending, configuration, { afterSeq: 41, partial: undefined }));
  t.deepEqual(bodies, []);
  await source.close();
});

test('while one is under way the log behind it is needed, and how far it is can be seen', async (t) => {
  const { source } = await startSource(machineWith(2_000));
  const target = await startIntake();
  t.is(source.neededSeq, Number.POSITIVE_INFINITY);
  const { sending, receiving } = connectTo(target);
  receiving.connection.pause();
  const sent = source.send(sending, configuration, whole);
  while (source.neededSeq !== 41) await new Promise((resolve) => setImmediate(resolve));
  const status = source.statusOf(sending.id);
  t.true(status !== undefined && status.bytes < status.totalBytes && status.totalBytes > 2_000_000);
  receiving.connection.resume();
  await sent;
  t.is(source.statusOf(sending.id), undefined);
  t.is(source.neededSeq, 41, 'what was sent may have broken off: it can still be gone on with');
  await source.close();
  t.is(source.neededSeq, Number.POSITIVE_INFINITY);
});

test('given up, nothing is left, and what was there stays', async (t) => {
  const { source } = await startSource(machineWith(1_000));
  const target = await startIntake();
  const { sending, reasons } = connectTo(target, 4);
  await source.send(sending, configuration, whole);
  await target.until(() => reasons.length > 0);
  await target.intake.close();
  t.is(await target.store.newest(), undefined);
  t.deepEqual(await target.disk.list('/data/snapshots'), []);
  await source.close();
});

async function bodiesOf(keys: number): Promise<SnapshotBody[]> {
  const { source } = await startSource(machineWith(keys));
  const target = await startIntake();
  const { sending, bodies } = connectTo(target);
  await source.send(sending, configuration, whole);
  await target.until(() => target.installed.length > 0);
  await source.close();
  return bodies;
}

for (const [what, change] of [
  ['a chunk too few', (bodies: SnapshotBody[]) => bodies.toSpliced(1, 1)],
  ['a chunk too many', (bodies: SnapshotBody[]) => bodies.toSpliced(1, 0, bodies[1]!)],
  ['a chunk before the beginning', (bodies: SnapshotBody[]) => bodies.slice(1)],
  ['an end without a beginning', (bodies: SnapshotBody[]) => bodies.slice(-1)],
  ['a second end', (bodies: SnapshotBody[]) => [...bodies, bodies.at(-1)!]],
  [
    'the rest of a snapshot of which nothing is here',
    (bodies: SnapshotBody[]) =>
      bodies.toSpliced(0, 1, { ...bodies[0]!, firstChunk: 3 } as SnapshotBody),
  ],
  [
    'a chunk that is no page',
    (bodies: SnapshotBody[]) =>
      bodies.toSpliced(1, 1, { kind: 'snapshot-chunk', chunk: Buffer.from([255, 255]) }),
  ],
  [
    'an empty chunk',
    (bodies: SnapshotBody[]) =>
      bodies.toSpliced(1, 1, {
        kind: 'snapshot-chunk',
        chunk: encodePage({ entries: [], last: false }),
      }),
  ],
] as const) {
  test(`${what} is the fault of the peer, not of the disk`, async (t) => {
    const bodies = change(await bodiesOf(1_000));
    const target = await startIntake();
    const { sending, reasons } = connectTo(target);
    const { epoch, configId } = configuration;
    for (const body of bodies) sending.connection.send(encodePeer({ epoch, configId, body }));
    await target.until(() => reasons.length > 0);
    t.true(reasons[0] instanceof ProtocolError, String(reasons[0]));
    t.deepEqual(target.failures, []);
  });
}

test('beginning again on the same link drops what had come', async (t) => {
  const bodies = await bodiesOf(500);
  const target = await startIntake();
  const { sending } = connectTo(target);
  const { epoch, configId } = configuration;
  for (const body of [bodies[0]!, bodies[1]!, ...bodies]) {
    sending.connection.send(encodePeer({ epoch, configId, body }));
  }
  await target.until(() => target.installed.length > 0);
  await assertInstalled(t, target, 500);
});
