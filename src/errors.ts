/**
 * One class per condition that a caller can act on. `code` is stable and crosses the wire;
 * `message` says what happened and what to do. Errors of the programmer are plain Errors.
 */

/** Every code, as it stands in answers on the wire and in `--json` output. */
export type ErrorCode =
  | 'BAD_REQUEST'
  | 'LIMIT_EXCEEDED'
  | 'NOT_HEAD'
  | 'NOT_SERVING'
  | 'NOT_ENOUGH_REPLICAS'
  | 'LAST_MEMBER'
  | 'UNAVAILABLE'
  | 'OUTCOME_UNKNOWN'
  | 'TIMEOUT'
  | 'ABORTED'
  | 'CLOSED'
  | 'PROTOCOL'
  | 'WRONG_CLUSTER'
  | 'COORDINATION'
  | 'STORAGE'
  | 'DISK_FULL'
  | 'DATA_DAMAGED'
  | 'REFUSED_TO_START'
  | 'INVARIANT';

/** Base of all typed errors of Catena. */
export class CatenaError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
    this.name = new.target.name;
  }
}

/** The request itself is wrong; retrying it will not help. */
export class BadRequestError extends CatenaError {
  constructor(message: string, options?: { cause?: unknown }) {
    super('BAD_REQUEST', message, options);
  }
}

/**
 * Something is larger than a named limit; `limit` is the number that it ran into. `actual` is in words where
 * nobody counted to the end.
 */
export class LimitError extends CatenaError {
  readonly limit: number;

  constructor(what: string, actual: number | 'more than that', limit: number, unit: string) {
    const size = typeof actual === 'number' ? actual : `more than ${limit}`;
    super('LIMIT_EXCEEDED', `${what} is ${size} ${unit}, the limit is ${limit} ${unit}`);
    this.limit = limit;
  }
}

/** The only member of the chain was asked to leave: nothing would serve any more. It stays. */
export class LastMemberError extends CatenaError {
  constructor(message: string) {
    super('LAST_MEMBER', message);
  }
}

/** No server could do it within the deadline. Nothing was written. */
export class UnavailableError extends CatenaError {
  constructor(message: string, options?: { cause?: unknown }) {
    super('UNAVAILABLE', message, options);
  }
}

/** The deadline passed before an answer; for a read, or a write that was certainly not sent. */
export class TimeoutError extends CatenaError {
  constructor(message: string, options?: { cause?: unknown }) {
    super('TIMEOUT', message, options);
  }
}

/** The write was sent and its answer was not seen. `opId`, when known, can be verified. */
export class OutcomeUnknownError extends CatenaError {
  readonly opId: string | undefined;

  constructor(message: string, opId?: string, options?: { cause?: unknown }) {
    super('OUTCOME_UNKNOWN', message, options);
    this.opId = opId;
  }
}

/** The caller's AbortSignal fired before the request was sent, or the request was a read. */
export class AbortedError extends CatenaError {
  constructor(message: string, options?: { cause?: unknown }) {
    super('ABORTED', message, options);
  }
}

/** The client was closed. */
export class ClosedError extends CatenaError {
  constructor(message: string) {
    super('CLOSED', message);
  }
}

/** What came over the connection is not this protocol; the connection is closed. */
export class ProtocolError extends CatenaError {
  constructor(message: string, options?: { cause?: unknown }) {
    super('PROTOCOL', message, options);
  }
}

/** ZooKeeper, or its stand-in, cannot be reached or refuses. */
export class CoordinationError extends CatenaError {
  constructor(message: string, options?: { cause?: unknown }) {
    super('COORDINATION', message, options);
  }
}

/** A write or sync of this server's disk failed. Fatal to the server, never retried (R14). */
export class StorageError extends CatenaError {
  constructor(message: string, options?: { cause?: unknown }) {
    super('STORAGE', message, options);
  }
}

/** There is no room on this server's disk: it leaves the chain, and comes back when there is room. */
export class DiskFullError extends CatenaError {
  constructor(message: string, options?: { cause?: unknown }) {
    super('DISK_FULL', message, options);
  }
}

/** What is on disk fails its checksum at a place where a crash cannot have torn it. */
export class DataDamagedError extends CatenaError {
  constructor(message: string, options?: { cause?: unknown }) {
    super('DATA_DAMAGED', message, options);
  }
}

/** The server may not start with this data and this coordination state; the message names the way out. */
export class RefusedToStartError extends CatenaError {
  constructor(message: string, options?: { cause?: unknown }) {
    super('REFUSED_TO_START', message, options);
  }
}

/** An invariant of the chain does not hold. The server halts; it never answers wrongly (P8). */
export class InvariantError extends CatenaError {
  constructor(message: string) {
    super('INVARIANT', message);
  }
}
