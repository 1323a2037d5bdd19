/** What servers send each other, between bytes and the types of src/replica/messages.ts. */
import type { EpochRun } from '../replica/epoch-runs.js';
import type { PeerBody, PeerMessage } from '../replica/messages.js';
import { entryOfBytes } from './entry-codec.js';
import { bytesOf, decoded, type Fields, fieldsOf, malformed, numberOf, textOf } from './fields.js';
import { runsOf } from './messages.js';
import { peerType } from './schema.js';

export interface SnapshotOffer {
  /** The epochs of all ops up to its end. */
  readonly runs: readonly EpochRun[];
  readonly keys: number;
  /** Of the file at the source: chunks of two files never mix. */
  readonly id: string;
  /** The number of the chunk that follows. Above 0, a broken transfer goes on. */
  readonly firstChunk: number;
  /** Of all chunks. */
  readonly bytes: number;
  /** Hexadecimal. */
  readonly stateHash: string;
}

/** A snapshot on its way to a learner. The core never sees the chunks. */
export type SnapshotBody =
  | ({ readonly kind: 'snapshot-begin' } & SnapshotOffer)
  /** An encoded page of table entries. */
  | { readonly kind: 'snapshot-chunk'; readonly chunk: Uint8Array }
  | { readonly kind: 'snapshot-end'; readonly chunks: number };

export interface Stamped<Body> {
  readonly epoch: number;
  readonly configId: string;
  readonly body: Body;
}

/** The bytes of a message; for the same entry the record's bytes are taken as they are. */
export function encodePeer({
  epoch,
  configId,
  body,
}: Stamped<PeerBody | SnapshotBody>): Uint8Array {
  const stamp = { epoch, configId };
  switch (body.kind) {
    case 'append':
      return peerType.encode({
        ...stamp,
        append: { record: body.entry.record, commit: body.commit },
      });
    case 'hello':
      return peerType.encode({ ...stamp, hello: {} });
    case 'hello-answer':
      return peerType.encode({ ...stamp, helloAnswer: body });
    case 'settle':
      return peerType.encode({ ...stamp, settle: body });
    case 'ack':
      return peerType.encode({ ...stamp, ack: body });
    case 'commit':
      return peerType.encode({ ...stamp, commit: body });
    case 'down-beat':
      return peerType.encode({ ...stamp, downBeat: body });
    case 'up-beat':
      return peerType.encode({ ...stamp, upBeat: body });
    case 'ping':
      return peerType.encode({ ...stamp, ping: {} });
    case 'join':
      return peerType.encode({
        ...stamp,
        join: { ...body, partialId: body.partial?.id, partialChunks: body.partial?.chunks },
      });
    case 'catch-up':
      return peerType.encode({ ...stamp, catchUp: body });
    case 'gate':
      return peerType.encode({ ...stamp, gate: body });
    case 'ungate':
      return peerType.encode({ ...stamp, ungate: {} });
    case 'stale':
      return peerType.encode({ ...stamp, stale: {} });
    case 'state-hash':
      return peerType.encode({ ...stamp, stateHash: body });
    case 'snapshot-begin':
      return peerType.encode({ ...stamp, snapshotBegin: body });
    case 'snapshot-chunk':
      return peerType.encode({ ...stamp, snapshotChunk: body });
    case 'snapshot-end':
      return peerType.encode({ ...stamp, snapshotEnd: body });
  }
}

/** Throws ProtocolError, or DataDamagedError for a bad record: the connection must be closed. */
export function decodePeer(bytes: Uint8Array): PeerMessage | Stamped<SnapshotBody> {
  const fields = decoded(peerType, bytes);
  const stamp = { epoch: numberOf(fields, 'epoch'), configId: textOf(fields, 'configId') };
  const snapshot = snapshotBodyOf(fields);
  if (snapshot !== undefined) return { ...stamp, body: snapshot };
  return { ...stamp, body: peerBodyOf(fields) };
}

export function isSnapshotMessage(
  message: PeerMessage | Stamped<SnapshotBody>,
): message is Stamped<SnapshotBody> {
  return message.body.kind.startsWith('snapshot-');
}

function peerBodyOf(fields: Fields): PeerBody {
  let of: Fields | undefined;
  if ((of = fieldsOf(fields, 'append')) !== undefined) {
    const entry = entryOfBytes(ownBytes(bytesOf(of, 'record')));
    return { kind: 'append', entry, commit: numberOf(of, 'commit') };
  }
  if ((of = fieldsOf(fields, 'ack')) !== undefined) {
    return { kind: 'ack', seq: numberOf(of, 'seq'), entryEpoch: numberOf(of, 'entryEpoch') };
  }
  if ((of = fieldsOf(fields, 'commit')) !== undefined) {
    return { kind: 'commit', commit: numberOf(of, 'commit') };
  }
  if ((of = fieldsOf(fields, 'downBeat')) !== undefined) {
    return { kind: 'down-beat', number: numberOf(of, 'number'), echo: numberOf(of, 'echo') };
  }
  if ((of = fieldsOf(fields, 'upBeat')) !== undefined) {
    return { kind: 'up-beat', number: numberOf(of, 'number'), echo: numberOf(of, 'echo') };
  }
  return rareBodyOf(fields);
}

/** Records are kept for a while: a small one must not keep a whole socket buffer alive. */
function ownBytes(bytes: Uint8Array): Uint8Array {
  return bytes.length * 2 < bytes.buffer.byteLength ? Buffer.from(bytes) : bytes;
}

function rareBodyOf(fields: Fields): PeerBody {
  let of: Fields | undefined;
  if (fieldsOf(fields, 'ping') !== undefined) return { kind: 'ping' };
  if (fieldsOf(fields, 'hello') !== undefined) return { kind: 'hello' };
  if ((of = fieldsOf(fields, 'helloAnswer')) !== undefined) {
    return { kind: 'hello-answer', runs: runsOf(of), commit: numberOf(of, 'commit') };
  }
  if ((of = fieldsOf(fields, 'settle')) !== undefined) {
    return { kind: 'settle', seq: numberOf(of, 'seq') };
  }
  if ((of = fieldsOf(fields, 'join')) !== undefined) {
    const id = textOf(of, 'partialId');
    const partial = { id, chunks: numberOf(of, 'partialChunks') };
    const known = { runs: runsOf(of), commit: numberOf(of, 'commit') };
    return { kind: 'join', ...known, ...(id === '' ? {} : { partial }) };
  }
  if ((of = fieldsOf(fields, 'catchUp')) !== undefined) {
    return { kind: 'catch-up', seq: numberOf(of, 'seq') };
  }
  if ((of = fieldsOf(fields, 'gate')) !== undefined) {
    return { kind: 'gate', upNumber: numberOf(of, 'upNumber') };
  }
  if (fieldsOf(fields, 'ungate') !== undefined) return { kind: 'ungate' };
  if (fieldsOf(fields, 'stale') !== undefined) return { kind: 'stale' };
  if ((of = fieldsOf(fields, 'stateHash')) !== undefined) {
    return { kind: 'state-hash', seq: numberOf(of, 'seq'), hash: textOf(of, 'hash') };
  }
  throw malformed('a server message without a known body');
}

function snapshotBodyOf(fields: Fields): SnapshotBody | undefined {
  let of: Fields | undefined;
  if ((of = fieldsOf(fields, 'snapshotChunk')) !== undefined) {
    return { kind: 'snapshot-chunk', chunk: bytesOf(of, 'chunk') };
  }
  if ((of = fieldsOf(fields, 'snapshotBegin')) !== undefined) {
    return {
      kind: 'snapshot-begin',
      runs: runsOf(of),
      keys: numberOf(of, 'keys'),
      id: textOf(of, 'id'),
      firstChunk: numberOf(of, 'firstChunk'),
      bytes: numberOf(of, 'bytes'),
      stateHash: textOf(of, 'stateHash'),
    };
  }
  if ((of = fieldsOf(fields, 'snapshotEnd')) !== undefined) {
    return { kind: 'snapshot-end', chunks: numberOf(of, 'chunks') };
  }
  return undefined;
}
