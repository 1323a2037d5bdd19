/** A table on its way to a learner: whole, broken midway, wrongly counted; and files that never mix. */
import test, { type ExecutionContext } from 'ava';
import { ProtocolError } from '../../src/errors.js';
import { MemoryDisk } from '../../src/log/memory-disk.js';
import { SnapshotStore } from '../../src/log/snapshot-store.js';
import { Machine } from '../../src/machine/machine.js';
import { Connection } from '../../src/protocol/connection.js';
import { encodePage } from '../../src/protocol/messages.js';
import {
  decodePeer,
  isSnapshotMessage,
  type SnapshotBody,
} from '../../src/protocol/peer-messages.js';
import type { PeerLink } from '../../src/server/peer-network.js';
import { machineFrom } from '../../src/server/recovery.js';
import { SnapshotReceiver, sendSnapshot } from '../../src/server/snapshot-transfer.js';
import { duplexPair } from '../support/duplex-pair.js';

const runs = [
  { epoch: 1, lastSeq: 10 },
  { epoch: 3, lastSeq: 40 },
];
const configuration = { epoch: 3, configId: 'c' } as Parameters<typeof sendSnapshot>[1];

async function openStore(disk = new MemoryDisk()): Promise<SnapshotStore> {
  return SnapshotStore.open({ disk, directory: '/data/snapshots' });
}

function machineWith(keys: number): Machine {
  const machine = new Machine(40);
  for (let n = 0; n < keys; n++) {
    machine.load(Buffer.from(`key-${n}`), Buffer.alloc(1_000, n), (n % 40) + 1);
  }
  return machine;
}

/** A link, and what comes out of it at the other end. */
function startLink() {
  const [left, right] = duplexPair();
  const bodies: SnapshotBody[] = [];
  let wake: (() => void) | undefined;
  const link: PeerLink = {
    id: 1,
    peer: { serverId: 's', incarnation: 'i' },
    dialed: false,
    connection: new Connection(left, { onPayloads: () => {}, onClose: () => {} }),
  };
  const other = new Connection(right, {
    onPayloads: (payloads) => {
      for (const payload of payloads) {
        const message = decodePeer(Buffer.from(payload));
        if (isSnapshotMessage(message)) bodies.push(message.body);
      }
      wake?.();
    },
    onClose: () => wake?.(),
  });
  const untilBodies = async (count: number): Promise<void> => {
    while (bodies.length < count) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  return { link, other, bodies, untilBodies };
}

async function sentBodies(keys: number): Promise<SnapshotBody[]> {
  const { link, bodies, untilBodies } = startLink();
  const whole = await sendSnapshot(link, configuration, runs, machineWith(keys).snapshot());
  if (!whole) throw new Error('the link closed');
  await untilBodies(1);
  while (bodies.at(-1)?.kind !== 'snapshot-end') await untilBodies(bodies.length + 1);
  return bodies;
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
    const bodies = await sentBodies(keys);
    const store = await openStore();
    const receiver = new SnapshotReceiver(store, Promise.resolve());
    const results = [];
    for (const body of bodies) results.push(await receiver.receive(body));
    t.deepEqual(results.at(-1), runs);
    t.true(results.slice(0, -1).every((result) => result === undefined));
    const reader = await store.newest();
    t.deepEqual(reader?.meta, { seq: 40, epoch: 3, runs });
    if (reader !== undefined) assertTable(t, await machineFrom(reader), keys);
  });
}

test('a link that closes midway: the source says so and its snapshot is closed', async (t) => {
  const { link, other } = startLink();
  other.pause();
  const snapshot = machineWith(5_000).snapshot();
  const sending = sendSnapshot(link, configuration, runs, snapshot);
  await new Promise((resolve) => setImmediate(resolve));
  link.connection.close(undefined);
  t.false(await sending);
  t.deepEqual(snapshot.next(1000), []);
});

test('broken off midway, nothing is left, and what was there stays', async (t) => {
  const disk = new MemoryDisk();
  const store = await openStore(disk);
  const bodies = await sentBodies(1_000);
  const receiver = new SnapshotReceiver(store, Promise.resolve());
  for (const body of bodies.slice(0, -1)) await receiver.receive(body);
  await receiver.abort();
  await receiver.abort();
  t.is(await store.newest(), undefined);
  t.deepEqual(await disk.list('/data/snapshots'), []);
});

for (const [what, change] of [
  ['a chunk too few', (bodies: SnapshotBody[]) => bodies.toSpliced(1, 1)],
  ['a chunk too many', (bodies: SnapshotBody[]) => bodies.toSpliced(1, 0, bodies[1]!)],
  ['a chunk before the beginning', (bodies: SnapshotBody[]) => bodies.slice(1)],
  ['an end without a beginning', (bodies: SnapshotBody[]) => bodies.slice(-1)],
  ['a second end', (bodies: SnapshotBody[]) => [...bodies, bodies.at(-1)!]],
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
    const bodies = change(await sentBodies(1_000));
    const receiver = new SnapshotReceiver(await openStore(), Promise.resolve());
    const all = async (): Promise<void> => {
      for (const body of bodies) await receiver.receive(body);
    };
    await t.throwsAsync(all(), { instanceOf: ProtocolError });
    await receiver.abort();
  });
}

test('beginning again on the same link drops what had come', async (t) => {
  const store = await openStore();
  const bodies = await sentBodies(500);
  const receiver = new SnapshotReceiver(store, Promise.resolve());
  await receiver.receive(bodies[0]!);
  await receiver.receive(bodies[1]!);
  for (const body of bodies) await receiver.receive(body);
  const reader = await store.newest();
  if (reader !== undefined) assertTable(t, await machineFrom(reader), 500);
});

test('a new link waits until the files of the old one are gone', async (t) => {
  // Same seq, so the same file name: the removal of the first must not take the second away.
  const store = await openStore();
  const bodies = await sentBodies(500);
  const first = new SnapshotReceiver(store, Promise.resolve());
  const begun = first.receive(bodies[0]!);
  const gone = first.abort();
  const second = new SnapshotReceiver(store, gone);
  const results = bodies.map((body) => second.receive(body));
  await begun;
  t.deepEqual(await results.at(-1), runs);
  await Promise.all(results);
  const reader = await store.newest();
  if (reader !== undefined) assertTable(t, await machineFrom(reader), 500);
});

test('what is under way on disk ends before the file is closed', async (t) => {
  const store = await openStore();
  const bodies = await sentBodies(500);
  const receiver = new SnapshotReceiver(store, Promise.resolve());
  const received = bodies.slice(0, -1).map((body) => receiver.receive(body));
  const gone = receiver.abort();
  await t.notThrowsAsync(Promise.all([...received, gone]));
  t.is(await store.newest(), undefined);
});
