/** Any message of each kind, for round trips and as the valid inputs that fuzzing begins with. */
import * as fc from 'fast-check';
import type { Op } from '../../src/machine/op.js';
import { sealRecord, entryOfBytes } from '../../src/protocol/entry-codec.js';
import type {
  Open,
  Opened,
  Request,
  RequestBody,
  Response,
  ResponseBody,
} from '../../src/protocol/messages.js';
import type { SnapshotBody, Stamped } from '../../src/protocol/peer-messages.js';
import type { PeerBody } from '../../src/replica/messages.js';

const count = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
const text = fc.string({ maxLength: 20 });
const bytes = fc.uint8Array({ maxLength: 40 });
const id = fc.integer({ min: 1, max: 2 ** 32 - 1 });
const opId = fc.record({ epoch: count, seq: count });
const member = fc.record({ serverId: text, incarnation: text, address: text });
const view = fc.record({
  clusterId: text,
  generation: count,
  epoch: count,
  members: fc.array(member, { maxLength: 4 }),
});
const failure = fc.record(
  { code: text, message: text, view, opId },
  { requiredKeys: ['code', 'message'] },
);
const entry = fc.record({ key: bytes, value: bytes, version: count });

export const anyOp: fc.Arbitrary<Op> = fc.oneof(
  fc.record({ kind: fc.constant('put' as const), key: bytes, value: bytes }),
  fc.record({ kind: fc.constant('delete' as const), key: bytes }),
  fc.constant({ kind: 'epoch' as const }),
);

export const anyOpen: fc.Arbitrary<Open> = fc.record(
  {
    version: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    cluster: text,
    peer: fc.record({ clusterId: text, serverId: text, incarnation: text }),
  },
  { requiredKeys: ['version', 'cluster'] },
);

export const anyOpened: fc.Arbitrary<Opened> = fc.record(
  { serverId: text, incarnation: text, clusterId: text, view, refused: failure },
  { requiredKeys: ['serverId', 'incarnation', 'clusterId'] },
);

const requestBody: fc.Arbitrary<RequestBody> = fc.oneof(
  fc.record({
    kind: fc.constant('write' as const),
    op: anyOp,
    noWait: fc.boolean(),
    announce: fc.boolean(),
  }),
  fc.record({ kind: fc.constant('get' as const), key: bytes }),
  fc.constant({ kind: 'size' as const }),
  fc.record({ kind: fc.constant('scan' as const), values: fc.boolean() }),
  fc.record({ kind: fc.constant('verify' as const), opId }),
  fc.constant({ kind: 'status' as const }),
  fc.record({ kind: fc.constant('leave' as const), force: fc.boolean() }),
);
export const anyRequest: fc.Arbitrary<Request> = fc.record({ id, body: requestBody });

const double = fc.double({ min: 0, noNaN: true, noDefaultInfinity: true });
const statistics = fc.record({
  kind: text,
  count,
  failures: count,
  meanMs: double,
  maxMs: double,
});
const small = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const transfer = fc.record({ bytes: count, totalBytes: count });
const scrub = fc.record({ atMs: count, bytes: count, durationMs: count });
const disk = fc.record(
  {
    logFirstSeq: count,
    logBytes: count,
    snapshotSeq: count,
    snapshotBytes: count,
    freeBytes: count,
    scrub,
  },
  {
    requiredKeys: ['logFirstSeq', 'logBytes', 'snapshotSeq', 'snapshotBytes', 'freeBytes'],
  },
);
const learner = fc.record(
  { serverId: text, ackedSeq: count, state: text, sending: transfer },
  { requiredKeys: ['serverId', 'ackedSeq', 'state'] },
);
const status = fc.record(
  {
    kind: fc.constant('status' as const),
    serverId: text,
    incarnation: text,
    address: text,
    role: text,
    view,
    lastSeq: count,
    durableSeq: count,
    commitSeq: count,
    lease: fc.boolean(),
    keys: count,
    tableBytes: count,
    clientConnections: small,
    serverConnections: small,
    uptimeMs: double,
    ops: fc.array(statistics, { maxLength: 3 }),
    learners: fc.array(learner, { maxLength: 3 }),
    reason: text,
    waitingFor: text,
    appliedSeq: count,
    stateHash: text,
    disk,
    receiving: transfer,
  },
  {
    requiredKeys: [
      ...(['kind', 'serverId', 'incarnation', 'address', 'role', 'lastSeq', 'durableSeq'] as const),
      ...(['commitSeq', 'lease', 'keys', 'tableBytes', 'clientConnections'] as const),
      ...(['serverConnections', 'uptimeMs', 'ops', 'learners', 'reason'] as const),
      ...(['waitingFor', 'appliedSeq', 'stateHash', 'disk'] as const),
    ],
  },
);
const rising = fc
  .uniqueArray(count, { maxLength: 4 })
  .map((counts) => counts.sort((a, b) => a - b));
const runs = fc.tuple(rising, rising).map(([epochs, lastSeqs]) =>
  lastSeqs
    .filter((lastSeq) => lastSeq > 0)
    .slice(0, epochs.length)
    .map((lastSeq, index) => ({ epoch: epochs[index] as number, lastSeq })),
);
const page = fc.record(
  {
    kind: fc.constant('page' as const),
    entries: fc.array(entry, { maxLength: 4 }),
    last: fc.boolean(),
    head: fc.record({
      opId,
      keys: count,
      bytes: count,
      runs,
      stateHash: text,
      clusterId: text,
    }),
  },
  { requiredKeys: ['kind', 'entries', 'last'] },
);
const outcome = fc.constantFrom('executed', 'pending', 'never', 'unknown');
const responseBody: fc.Arbitrary<ResponseBody> = fc.oneof(
  fc.record({ kind: fc.constant('written' as const), opId, existed: fc.boolean() }),
  fc.record({ kind: fc.constant('assigned' as const), opId }),
  fc.record({
    kind: fc.constant('value' as const),
    found: fc.boolean(),
    value: bytes,
    version: count,
    at: opId,
  }),
  fc.record({ kind: fc.constant('count' as const), keys: count, at: opId }),
  page,
  fc.constant({ kind: 'left' as const }),
  fc.record({ kind: fc.constant('verified' as const), outcome }),
  status,
  failure.map((fields) => ({ kind: 'failure' as const, ...fields })),
  view.map((fields) => ({ kind: 'view' as const, ...fields })),
);
export const anyResponse: fc.Arbitrary<Response> = fc.record({ id, body: responseBody });

const beat = { number: count, echo: count };
const append = fc
  .record({
    epoch: count,
    firstSeq: fc.integer({ min: 1, max: 2 ** 50 }),
    headCommit: count,
    ops: fc.array(anyOp, { minLength: 1, maxLength: 5 }),
    commit: count,
  })
  .map(({ epoch, firstSeq, headCommit, ops, commit }) => {
    const header = { epoch, firstSeq, count: ops.length, commit: headCommit };
    return {
      kind: 'append' as const,
      entry: entryOfBytes(sealRecord(header, ops)),
      commit,
    };
  });
const peerBody: fc.Arbitrary<PeerBody | SnapshotBody> = fc.oneof(
  append,
  ...(['hello', 'ping', 'ungate', 'stale'] as const).map((kind) => fc.constant({ kind })),
  fc.record({ kind: fc.constant('hello-answer' as const), runs, commit: count }),
  fc.record({ kind: fc.constant('settle' as const), seq: count }),
  fc.record({ kind: fc.constant('ack' as const), seq: count, entryEpoch: count }),
  fc.record({ kind: fc.constant('commit' as const), commit: count }),
  fc.record({ kind: fc.constant('down-beat' as const), ...beat }),
  fc.record({ kind: fc.constant('up-beat' as const), ...beat }),
  fc.record({ kind: fc.constant('join' as const), runs, commit: count }),
  fc.record({
    kind: fc.constant('join' as const),
    runs,
    commit: count,
    partial: fc.record({ id: fc.string({ minLength: 1 }), chunks: count }),
  }),
  fc.record({ kind: fc.constant('state-hash' as const), seq: count, hash: text }),
  fc.record({ kind: fc.constant('catch-up' as const), seq: count }),
  fc.record({ kind: fc.constant('gate' as const), upNumber: count }),
  fc.record({
    kind: fc.constant('snapshot-begin' as const),
    runs,
    keys: count,
    id: text,
    firstChunk: count,
    bytes: count,
    stateHash: text,
  }),
  fc.record({ kind: fc.constant('snapshot-chunk' as const), chunk: bytes }),
  fc.record({ kind: fc.constant('snapshot-end' as const), chunks: count }),
);
export const anyPeerMessage: fc.Arbitrary<Stamped<PeerBody | SnapshotBody>> = fc.record({
  epoch: count,
  configId: text,
  body: peerBody,
});
