/** A client's requests as the server holds them between frame and answer. */
import type { Op } from '../machine/op.js';
import type { RequestBody, ScanHead } from '../protocol/messages.js';
import type { ReadRequest, WriteRequest } from '../replica/events.js';
import type { TableSnapshot } from '../table/hash-table.js';
import type { ClientSession } from './client-session.js';

interface RequestOrigin {
  readonly session: ClientSession;
  /** The client's number for it. */
  readonly id: number;
  /** Monotonic, when its frame had arrived. */
  readonly arrivedAtMs: number;
}

export interface ClientWrite extends WriteRequest, RequestOrigin {
  readonly op: Op;
  /** About what it takes in a record. */
  readonly opBytes: number;
  readonly noWait: boolean;
  readonly announce: boolean;
}

export type ReadBody = Exclude<RequestBody, { kind: 'write' | 'status' | 'leave' }>;

export interface ClientRead extends ReadRequest, RequestOrigin {
  readonly body: ReadBody;
  /** The answer made from the value that was read; it leaves only if the lease holds after that. */
  payload: Uint8Array | undefined;
  /** For a scan: the instant of the table that its pages come from. */
  instant: ScanInstant | undefined;
}

export interface ScanInstant {
  readonly head: ScanHead;
  readonly snapshot: TableSnapshot;
}

export function isWrite(request: WriteRequest | ReadRequest): request is WriteRequest {
  return 'op' in request;
}
