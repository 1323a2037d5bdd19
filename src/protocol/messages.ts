/**
 * Between the bytes of proto/catena.proto and the types that the rest of the code uses. Decoding
 * checks what protobuf does not: that a body is there, that numbers are safe integers. Whatever is
 * malformed throws ProtocolError; limits on keys and values are the server's to check.
 */
import type { Op } from '../machine/op.js';
import { areRuns, type EpochRun } from '../replica/epoch-runs.js';
import {
  bytesOf,
  decoded,
  type Fields,
  fieldsOf,
  listOf,
  malformed,
  numberOf,
  requiredFields,
  textOf,
} from './fields.js';
import type { OpId } from './op-id.js';
import { type ServerStatus, statusOf } from './status.js';
import { type View, viewOf } from './view.js';
import { batchType, openedType, openType, pageType, requestType, responseType } from './schema.js';

export type { View } from './view.js';

export const protocolVersion = 2;

export interface PeerIdentity {
  /** Empty while the server belongs to no cluster. */
  readonly clusterId: string;
  readonly serverId: string;
  readonly incarnation: string;
  /** D. Servers that count leases differently may not form a chain: a hold would end before a lease. */
  readonly leaseMs?: number;
}

export interface Open {
  readonly version: number;
  readonly cluster: string;
  readonly peer?: PeerIdentity;
}

export interface Opened {
  readonly serverId: string;
  readonly incarnation: string;
  readonly clusterId: string;
  readonly view?: View;
  readonly refused?: Failure;
}

export type RequestBody =
  | {
      readonly kind: 'write';
      readonly op: Op;
      readonly noWait: boolean;
      readonly announce: boolean;
    }
  | { readonly kind: 'get'; readonly key: Uint8Array }
  | { readonly kind: 'size' }
  | { readonly kind: 'scan'; readonly values: boolean }
  | { readonly kind: 'verify'; readonly opId: OpId }
  | { readonly kind: 'status' }
  /** `force`: also if it is the only member of the chain. */
  | { readonly kind: 'leave'; readonly force: boolean };

export interface Request {
  readonly id: number;
  readonly body: RequestBody;
}

export interface TableEntry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  /** Seq of the op that last changed it. */
  readonly version: number;
}

export interface Page {
  readonly entries: readonly TableEntry[];
  readonly last: boolean;
  /** Of the first page of an answer only. */
  readonly head?: ScanHead;
}

/** The instant that all pages of a scan show. */
export interface ScanHead {
  /** The last op in it. */
  readonly opId: OpId;
  readonly keys: number;
  /** Of keys, values and overhead in memory; for showing progress. */
  readonly bytes: number;
  /** The epochs of all ops up to it. */
  readonly runs: readonly EpochRun[];
  /** Hexadecimal. */
  readonly stateHash: string;
  readonly clusterId: string;
}

export type VerifyOutcome = 'executed' | 'pending' | 'never' | 'unknown';

export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly view?: View;
  readonly opId?: OpId;
}

export type ResponseBody =
  | { readonly kind: 'written'; readonly opId: OpId; readonly existed: boolean }
  | { readonly kind: 'assigned'; readonly opId: OpId }
  | {
      readonly kind: 'value';
      readonly found: boolean;
      readonly value: Uint8Array;
      readonly version: number;
      /** The last op in the state that this shows; epoch 0 and seq 0: the empty table. */
      readonly at: OpId;
    }
  | { readonly kind: 'count'; readonly keys: number; readonly at: OpId }
  | ({ readonly kind: 'page' } & Page)
  | { readonly kind: 'verified'; readonly outcome: VerifyOutcome }
  | ({ readonly kind: 'status' } & ServerStatus)
  | ({ readonly kind: 'failure' } & Failure)
  | ({ readonly kind: 'view' } & View)
  | { readonly kind: 'left' };

export interface Response {
  /** 0: not asked for. */
  readonly id: number;
  readonly body: ResponseBody;
}

export function encodeOpen(open: Open): Uint8Array {
  return openType.encode(open);
}

export function decodeOpen(bytes: Uint8Array): Open {
  const fields = decoded(openType, bytes);
  const peer = fieldsOf(fields, 'peer');
  return {
    version: numberOf(fields, 'version'),
    cluster: textOf(fields, 'cluster'),
    ...(peer === undefined
      ? {}
      : {
          peer: {
            clusterId: textOf(peer, 'clusterId'),
            serverId: textOf(peer, 'serverId'),
            incarnation: textOf(peer, 'incarnation'),
            ...(numberOf(peer, 'leaseMs') === 0 ? {} : { leaseMs: numberOf(peer, 'leaseMs') }),
          },
        }),
  };
}

export function encodeOpened(opened: Opened): Uint8Array {
  return openedType.encode(opened);
}

export function decodeOpened(bytes: Uint8Array): Opened {
  const fields = decoded(openedType, bytes);
  const view = fieldsOf(fields, 'view');
  const refused = fieldsOf(fields, 'refused');
  return {
    serverId: textOf(fields, 'serverId'),
    incarnation: textOf(fields, 'incarnation'),
    clusterId: textOf(fields, 'clusterId'),
    ...(view === undefined ? {} : { view: viewOf(view) }),
    ...(refused === undefined ? {} : { refused: failureOf(refused) }),
  };
}

export function encodeRequest({ id, body }: Request): Uint8Array {
  switch (body.kind) {
    case 'write': {
      const { op, noWait, announce } = body;
      return requestType.encode({ id, write: { op: opFields(op), noWait, announce } });
    }
    case 'get':
      return requestType.encode({ id, get: { key: body.key } });
    case 'size':
      return requestType.encode({ id, size: {} });
    case 'scan':
      return requestType.encode({ id, scan: { values: body.values } });
    case 'verify':
      return requestType.encode({ id, verify: { opId: body.opId } });
    case 'status':
      return requestType.encode({ id, status: {} });
    case 'leave':
      return requestType.encode({ id, leave: { force: body.force } });
  }
}

export function decodeRequest(bytes: Uint8Array): Request {
  const fields = decoded(requestType, bytes);
  const id = numberOf(fields, 'id');
  let of: Fields | undefined;
  let body: RequestBody;
  if ((of = fieldsOf(fields, 'write')) !== undefined) {
    const op = opOf(requiredFields(of, 'op'));
    body = { kind: 'write', op, noWait: of['noWait'] === true, announce: of['announce'] === true };
  } else if ((of = fieldsOf(fields, 'get')) !== undefined) {
    body = { kind: 'get', key: bytesOf(of, 'key') };
  } else if (fieldsOf(fields, 'size') !== undefined) {
    body = { kind: 'size' };
  } else if ((of = fieldsOf(fields, 'scan')) !== undefined) {
    body = { kind: 'scan', values: of['values'] === true };
  } else if ((of = fieldsOf(fields, 'verify')) !== undefined) {
    body = { kind: 'verify', opId: opIdOf(requiredFields(of, 'opId')) };
  } else if (fieldsOf(fields, 'status') !== undefined) {
    body = { kind: 'status' };
  } else if ((of = fieldsOf(fields, 'leave')) !== undefined) {
    body = { kind: 'leave', force: of['force'] === true };
  } else {
    throw malformed('a request without a known body');
  }
  return { id, body };
}

export function encodeResponse({ id, body }: Response): Uint8Array {
  switch (body.kind) {
    case 'written':
      return responseType.encode({ id, written: { opId: body.opId, existed: body.existed } });
    case 'assigned':
      return responseType.encode({ id, assigned: { opId: body.opId } });
    case 'value':
      return responseType.encode({ id, value: body });
    case 'count':
      return responseType.encode({ id, count: body });
    case 'page':
      return responseType.encode({ id, page: body });
    case 'verified':
      return responseType.encode({ id, verified: { outcome: body.outcome } });
    case 'status':
      return responseType.encode({ id, status: body });
    case 'failure':
      return responseType.encode({ id, failure: body });
    case 'view':
      return responseType.encode({ id, view: body });
    case 'left':
      return responseType.encode({ id, left: {} });
  }
}

export function decodeResponse(bytes: Uint8Array): Response {
  const fields = decoded(responseType, bytes);
  return { id: numberOf(fields, 'id'), body: responseBodyOf(fields) };
}

/** The payload of a log record. */
export function encodeBatch(ops: readonly Op[]): Uint8Array {
  return batchType.encode({ ops: ops.map(opFields) });
}

export function decodeBatch(payload: Uint8Array): Op[] {
  return listOf(decoded(batchType, payload), 'ops').map(opOf);
}

/** Pages are answers to `scan`, and the chunks of a snapshot on the wire and on disk. */
export function encodePage(page: Page): Uint8Array {
  return pageType.encode(page);
}

export function decodePage(bytes: Uint8Array): Page {
  return pageOf(decoded(pageType, bytes));
}

function responseBodyOf(fields: Fields): ResponseBody {
  let of: Fields | undefined;
  if ((of = fieldsOf(fields, 'written')) !== undefined) {
    const opId = opIdOf(requiredFields(of, 'opId'));
    return { kind: 'written', opId, existed: of['existed'] === true };
  }
  if ((of = fieldsOf(fields, 'value')) !== undefined) {
    const value = bytesOf(of, 'value');
    const at = opIdOf(requiredFields(of, 'at'));
    const version = numberOf(of, 'version');
    return { kind: 'value', found: of['found'] === true, value, version, at };
  }
  if ((of = fieldsOf(fields, 'failure')) !== undefined)
    return { kind: 'failure', ...failureOf(of) };
  if ((of = fieldsOf(fields, 'assigned')) !== undefined) {
    return { kind: 'assigned', opId: opIdOf(requiredFields(of, 'opId')) };
  }
  if ((of = fieldsOf(fields, 'count')) !== undefined) {
    return { kind: 'count', keys: numberOf(of, 'keys'), at: opIdOf(requiredFields(of, 'at')) };
  }
  if ((of = fieldsOf(fields, 'page')) !== undefined) return { kind: 'page', ...pageOf(of) };
  if ((of = fieldsOf(fields, 'verified')) !== undefined) {
    return { kind: 'verified', outcome: outcomeOf(textOf(of, 'outcome')) };
  }
  if ((of = fieldsOf(fields, 'status')) !== undefined) return { kind: 'status', ...statusOf(of) };
  if ((of = fieldsOf(fields, 'view')) !== undefined) return { kind: 'view', ...viewOf(of) };
  if (fieldsOf(fields, 'left') !== undefined) return { kind: 'left' };
  throw malformed('a response without a known body');
}

function opFields(op: Op): object {
  switch (op.kind) {
    case 'put':
      return { put: op };
    case 'delete':
      return { delete: op };
    case 'epoch':
      return { epoch: {} };
  }
}

function opOf(fields: Fields): Op {
  let of: Fields | undefined;
  if ((of = fieldsOf(fields, 'put')) !== undefined) {
    return { kind: 'put', key: bytesOf(of, 'key'), value: bytesOf(of, 'value') };
  }
  if ((of = fieldsOf(fields, 'delete')) !== undefined) {
    return { kind: 'delete', key: bytesOf(of, 'key') };
  }
  if (fieldsOf(fields, 'epoch') !== undefined) return { kind: 'epoch' };
  throw malformed('an op of no known kind');
}

function opIdOf(fields: Fields): OpId {
  return { epoch: numberOf(fields, 'epoch'), seq: numberOf(fields, 'seq') };
}

function failureOf(fields: Fields): Failure {
  const view = fieldsOf(fields, 'view');
  const opId = fieldsOf(fields, 'opId');
  return {
    code: textOf(fields, 'code'),
    message: textOf(fields, 'message'),
    ...(view === undefined ? {} : { view: viewOf(view) }),
    ...(opId === undefined ? {} : { opId: opIdOf(opId) }),
  };
}

function pageOf(fields: Fields): Page {
  const entries = listOf(fields, 'entries').map((entry) => ({
    key: bytesOf(entry, 'key'),
    value: bytesOf(entry, 'value'),
    version: numberOf(entry, 'version'),
  }));
  const head = fieldsOf(fields, 'head');
  const last = fields['last'] === true;
  return head === undefined ? { entries, last } : { entries, last, head: scanHeadOf(head) };
}

function scanHeadOf(fields: Fields): ScanHead {
  return {
    opId: opIdOf(requiredFields(fields, 'opId')),
    keys: numberOf(fields, 'keys'),
    bytes: numberOf(fields, 'bytes'),
    runs: runsOf(fields),
    stateHash: textOf(fields, 'stateHash'),
    clusterId: textOf(fields, 'clusterId'),
  };
}

/** The `runs` of a message. */
export function runsOf(fields: Fields): EpochRun[] {
  const runs = listOf(fields, 'runs').map((run) => ({
    epoch: numberOf(run, 'epoch'),
    lastSeq: numberOf(run, 'lastSeq'),
  }));
  if (!areRuns(runs)) throw malformed('runs that do not rise');
  return runs;
}

function outcomeOf(text: string): VerifyOutcome {
  switch (text) {
    case 'executed':
    case 'pending':
    case 'never':
    case 'unknown':
      return text;
    default:
      throw malformed(`the outcome '${text}'`);
  }
}
