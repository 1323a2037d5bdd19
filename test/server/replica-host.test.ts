/**
 * The shell around a scripted replica: events in order, effects all carried out before the next event,
 * halts that are final, reads that leave only when they may, and backpressure.
 */
import { rm } from 'node:fs/promises';
import test, { type ExecutionContext } from 'ava';
import type { Configuration } from '../../src/coordination/configuration.js';
import { MemoryCoordination } from '../../src/coordination/memory.js';
import { type CatenaError, InvariantError, StorageError } from '../../src/errors.js';
import { unacknowledgedBytesMax } from '../../src/limits.js';
import { createLogger } from '../../src/logger.js';
import { Connection } from '../../src/protocol/connection.js';
import {
  decodeResponse,
  encodeRequest,
  type RequestBody,
  type Response,
} from '../../src/protocol/messages.js';
import { encodePeer } from '../../src/protocol/peer-messages.js';
import type { Entry } from '../../src/replica/entry.js';
import type { Effect, Event, Role } from '../../src/replica/events.js';
import type { Replica } from '../../src/replica/replica.js';
import { ClientSession } from '../../src/server/client-session.js';
import { PeerNetwork } from '../../src/server/peer-network.js';
import { recover } from '../../src/server/recovery.js';
import { ReplicaHost } from '../../src/server/replica-host.js';
import { duplexPair } from '../support/duplex-pair.js';
import { putOf, temporaryDirectory, until } from './support.js';

const self = { serverId: 'me', incarnation: 'one', address: '127.0.0.1:1' };
const configuration: Configuration = {
  clusterId: 'c',
  generation: 1,
  epoch: 3,
  configId: 'x',
  members: [self],
  left: [],
  change: { kind: 'first', reason: 'r', by: 'b' },
  restartEpoch: 0,
};

/** Does what the test says; notes what it is given. */
class ScriptedReplica {
  role: Role = 'single';
  configuration = configuration;
  unacknowledgedBytes = 0;
  readonly events: Event[] = [];
  answer: (event: Event) => Effect[] = () => [];

  step(event: Event): readonly Effect[] {
    if (event.kind !== 'tick' && event.kind !== 'turn-end') this.events.push(event);
    return this.answer(event);
  }

  runsUpTo(): [] {
    return [];
  }

  epochAt(): number {
    return 0;
  }

  verify(): 'pending' {
    return 'pending';
  }
}

async function startHost(t: ExecutionContext) {
  const path = await temporaryDirectory(t);
  const recovered = await recover(path, { onDurable: () => {}, onFatal: () => {} });
  t.teardown(async () => {
    host.stop();
    await recovered.log.close();
    await recovered.data.close();
  });
  const replica = new ScriptedReplica();
  const log: string[] = [];
  const logger = createLogger('debug', {}, (line) => log.push(line));
  const halts: CatenaError[] = [];
  const congestion: boolean[] = [];
  const peers = new PeerNetwork({
    cluster: 'default',
    identity: () => ({ clusterId: 'c', ...self }),
    scheduleFlush: setImmediate,
    logger,
    handler: {
      onLinkUp: () => {},
      onLinkDown: (link) => host.onLinkDown(link),
      onLinkPayloads: () => {},
      onDialFailed: () => {},
    },
  });
  const host: ReplicaHost = new ReplicaHost({
    replica: replica as unknown as Replica,
    recovered,
    coordinator: new MemoryCoordination().coordinator(),
    peers,
    tickMs: 1_000_000,
    logRetainBytes: 1024 * 1024,
    logger,
    self,
    events: {
      onRole: () => {},
      onRefused: (requests) => {
        for (const request of requests) (request as { refused?: boolean }).refused = true;
      },
      onAbandoned: () => {},
      onCongestion: (congested) => congestion.push(congested),
      onLeft: () => {},
      onHalt: (error) => halts.push(error),
      onDiskFull: (error) => halts.push(error),
      onLine: () => {},
    },
  });
  return { path, host, replica, recovered, log, halts, congestion, peers };
}

/** A client whose requests go to the host. */
function startClient(host: ReplicaHost) {
  const [clientEnd, serverEnd] = duplexPair();
  const session: ClientSession = new ClientSession(
    new Connection(
      serverEnd,
      { onPayloads: (payloads) => session.onPayloads(payloads), onClose: () => {} },
      host.scheduleFlush,
    ),
    {
      onWrite: (write) => host.enqueueWrite(write),
      onRead: (read) => host.enqueueRead(read),
      onStatus: () => {},
      onLeave: () => {},
      onAnswered: () => {},
    },
  );
  const responses: Response[] = [];
  const client = new Connection(clientEnd, {
    onPayloads: (payloads) => responses.push(...payloads.map((each) => decodeResponse(each))),
    onClose: () => {},
  });
  let id = 0;
  const send = (body: RequestBody): void => client.send(encodeRequest({ id: ++id, body }));
  return { session, responses, send };
}

function entryOf(event: Event & { kind: 'writes' }, firstSeq: number): Entry {
  const ops = event.writes.map(({ op }) => op);
  const lastSeq = firstSeq + ops.length - 1;
  const record = new Uint8Array(0);
  return { epoch: 3, firstSeq, lastSeq, commit: 0, ops, keyHashes: [], record };
}

const note = (message: string): Effect => ({ kind: 'note', level: 'info', message });

test('all effects of an event are carried out before the next event', async (t) => {
  const { host, replica, log } = await startHost(t);
  const order: string[] = [];
  replica.answer = (event) => {
    order.push(event.kind === 'durable' ? `durable ${event.seq}` : event.kind);
    if (event.kind !== 'durable' || event.seq !== 1) return [];
    // Within the step another event arrives: it must wait.
    host.handle({ kind: 'durable', seq: 2 });
    order.push('step over');
    return [note('one'), note('two')];
  };
  host.handle({ kind: 'durable', seq: 1 });
  t.deepEqual(order, ['durable 1', 'step over', 'durable 2']);
  t.is(log.length, 2);
});

test('an exception in an effect halts: once, and nothing is handled after it', async (t) => {
  const { host, replica, halts, log } = await startHost(t);
  const entry = { epoch: 1, firstSeq: 9, lastSeq: 9, commit: 0, ops: [], keyHashes: [] };
  replica.answer = () => [
    { kind: 'apply', entry: { ...entry, record: new Uint8Array(0) }, writes: undefined },
    note('never'),
  ];
  host.handle({ kind: 'durable', seq: 1 });
  host.handle({ kind: 'durable', seq: 2 });
  t.is(halts.length, 1);
  t.true(halts[0] instanceof InvariantError);
  t.is(replica.events.length, 1);
  t.deepEqual(log, []);
});

test('a halt of the replica is final', async (t) => {
  const { host, replica, halts } = await startHost(t);
  const error = new InvariantError('broken');
  replica.answer = () => [{ kind: 'halt', error }];
  const { send, responses } = startClient(host);
  host.handle({ kind: 'durable', seq: 1 });
  t.deepEqual(halts, [error]);
  send({ kind: 'size' });
  send(putOf('k', 'v'));
  for (let turns = 0; turns < 5; turns++) await new Promise((resolve) => setImmediate(resolve));
  t.is(replica.events.length, 1);
  t.deepEqual(responses, []);
});

test('a disk that fails halts with the reason', async (t) => {
  const { path, host, replica, halts } = await startHost(t);
  await rm(path, { recursive: true });
  replica.answer = (event) =>
    event.kind === 'durable' ? [{ kind: 'persist', state: { configuration } }] : [];
  host.handle({ kind: 'durable', seq: 1 });
  await until(() => halts.length > 0);
  t.true(halts[0] instanceof StorageError);
  t.false(replica.events.some(({ kind }) => kind === 'persisted'));
});

test('persisted is reported when it is on disk', async (t) => {
  const { host, replica, recovered } = await startHost(t);
  replica.answer = (event) =>
    event.kind === 'durable' ? [{ kind: 'persist', state: { configuration } }] : [];
  host.handle({ kind: 'durable', seq: 1 });
  await until(() => replica.events.some(({ kind }) => kind === 'persisted'));
  t.deepEqual(await recovered.data.readMeta(), { configuration });
});

test('the writes of one turn are one batch, and each is answered once', async (t) => {
  const { host, replica } = await startHost(t);
  let seq = 1;
  replica.answer = (event) => {
    if (event.kind !== 'writes') return [];
    const entry = entryOf(event, seq);
    seq = entry.lastSeq + 1;
    return [
      { kind: 'assigned', entry, writes: event.writes },
      { kind: 'apply', entry, writes: event.writes },
    ];
  };
  const { send, responses } = startClient(host);
  for (let n = 0; n < 10; n++) send(putOf(`k${n}`, 'v'));
  await until(() => responses.length === 10);
  t.is(replica.events.filter(({ kind }) => kind === 'writes').length, 1);
  t.deepEqual(
    responses.map(({ id, body }) => [id, body.kind === 'written' && body.opId.seq]),
    Array.from({ length: 10 }, (_, index) => [index + 1, index + 1]),
  );
});

test('a read leaves only when the replica says so, with the value read last', async (t) => {
  const { host, replica, recovered } = await startHost(t);
  recovered.machine.load(Buffer.from('k'), Buffer.from('old'), 1);
  let lease = false;
  let dones = 0;
  replica.answer = (event) => {
    if (event.kind === 'reads') return [{ kind: 'read', reads: event.reads }];
    if (event.kind === 'durable') {
      lease = true;
      return [{ kind: 'read', reads: waiting }];
    }
    if (event.kind !== 'reads-done') return [];
    dones += 1;
    waiting = event.reads;
    return lease ? [{ kind: 'answer', reads: event.reads }] : [];
  };
  let waiting: Extract<Event, { kind: 'reads' }>['reads'] = [];
  const { send, responses, session } = startClient(host);
  send({ kind: 'get', key: Buffer.from('k') });
  send({ kind: 'scan', values: true });
  await until(() => dones === 1);
  t.true(session.takesAnswers, 'what may not leave is not kept');
  t.false(session.isStreaming);
  recovered.machine.table.put(Buffer.from('k'), Buffer.from('new'), 2);
  host.handle({ kind: 'durable', seq: 1 });
  await until(() => responses.length === 3);
  const [value, page, last] = responses.map(({ body }) => body);
  t.is(value?.kind === 'value' && Buffer.from(value.value).toString(), 'new');
  t.is(page?.kind === 'page' && Buffer.from(page.entries[0]?.value ?? []).toString(), 'new');
  t.true(last?.kind === 'page' && last.last);
});

test('no room at the head: writes wait, clients are told; room again: they go on', async (t) => {
  const { host, replica, congestion } = await startHost(t);
  replica.unacknowledgedBytes = unacknowledgedBytesMax;
  let seq = 1;
  const held: Effect[] = [];
  replica.answer = (event) => {
    if (event.kind === 'durable') return held.splice(0);
    if (event.kind !== 'writes') return [];
    const entry = entryOf(event, seq);
    seq = entry.lastSeq + 1;
    held.push({ kind: 'apply', entry, writes: event.writes });
    return [];
  };
  const { send, responses } = startClient(host);
  send(putOf('k', 'v'));
  await until(() => congestion.length === 1);
  t.deepEqual(congestion, [true]);
  send(putOf('k', 'v'));
  await new Promise((resolve) => setImmediate(resolve));
  t.deepEqual(replica.events, []);
  // Something that was under way commits: half of the room is free again.
  const nothing = { epoch: 3, firstSeq: 1, lastSeq: 1, commit: 0, keyHashes: [] };
  const entry: Entry = { ...nothing, ops: [{ kind: 'epoch' }], record: new Uint8Array(0) };
  held.push({ kind: 'apply', entry, writes: undefined });
  seq = 2;
  replica.unacknowledgedBytes = unacknowledgedBytesMax / 2 - 1;
  host.handle({ kind: 'durable', seq: 1 });
  await until(() => replica.events.some(({ kind }) => kind === 'writes'));
  t.deepEqual(congestion, [true, false]);
  await until(() => held.length > 0);
  host.handle({ kind: 'durable', seq: 2 });
  await until(() => responses.length >= 1);
});

test('no longer head while writes wait for room: they are handed over, to be refused', async (t) => {
  const { host, replica, congestion } = await startHost(t);
  replica.unacknowledgedBytes = unacknowledgedBytesMax;
  const { send } = startClient(host);
  send(putOf('k', 'v'));
  await until(() => congestion.length === 1);
  replica.answer = (event) =>
    event.kind === 'durable' ? [{ kind: 'role', role: 'learner', configuration, reason: 'r' }] : [];
  replica.role = 'learner';
  host.handle({ kind: 'durable', seq: 1 });
  await until(() => replica.events.some(({ kind }) => kind === 'writes'));
  t.deepEqual(congestion, [true, false]);
});

const emptyOffer = { runs: [], keys: 0, id: 'x', firstChunk: 0, bytes: 0, stateHash: '' };

for (const [what, role, body, reason] of [
  ['for a member', 'single', { kind: 'snapshot-begin', ...emptyOffer }, /for a member/],
  [
    'from somebody else than the tail',
    'learner',
    { kind: 'snapshot-begin', ...emptyOffer },
    /not the tail/,
  ],
  ['for a member, its end', 'tail', { kind: 'snapshot-end', chunks: 0 }, /for a member/],
] as const) {
  test(`a snapshot ${what} closes that link and touches nothing`, async (t) => {
    const { host, replica, peers, halts, recovered } = await startHost(t);
    replica.role = role;
    const [left] = duplexPair();
    const reasons: (Error | undefined)[] = [];
    const connection = new Connection(left, {
      onPayloads: () => {},
      onClose: (error) => reasons.push(error),
    });
    const link = peers.accept({ clusterId: 'c', serverId: 's', incarnation: 'i' }, connection);
    const message = { epoch: 3, configId: 'x', body };
    host.onLinkPayloads(link, [Buffer.from(encodePeer(message)), Buffer.from(encodePeer(message))]);
    t.is(reasons.length, 1);
    t.regex(String(reasons[0]), reason);
    t.deepEqual(replica.events, []);
    t.deepEqual(halts, []);
    t.is(await recovered.snapshots.newest(), undefined);
  });
}

test('messages behind the one that closed their link are dropped', async (t) => {
  const { host, replica, peers } = await startHost(t);
  const [left] = duplexPair();
  const connection = new Connection(left, { onPayloads: () => {}, onClose: () => {} });
  const link = peers.accept({ clusterId: 'c', serverId: 's', incarnation: 'i' }, connection);
  replica.answer = (event) =>
    event.kind === 'message' ? [{ kind: 'close-link', link: link.id, reason: 'enough' }] : [];
  const ping = Buffer.from(encodePeer({ epoch: 3, configId: 'x', body: { kind: 'ping' } }));
  host.onLinkPayloads(link, [ping, ping, ping]);
  t.deepEqual(
    replica.events.map(({ kind }) => kind),
    ['message'],
  );
});
