/** What callers hand in, checked before anything is sent; and bytes handed out that pin no larger buffer. Pure. */
import { BadRequestError, LimitError } from '../errors.js';
import { keyBytesMax, valueBytesMax } from '../limits.js';

/** Keys and values: text stands for its UTF-8 bytes. */
export type Bytes = string | Uint8Array;

/** Throws LimitError, or BadRequestError for an empty key. */
export function keyBytes(key: Bytes): Uint8Array {
  const bytes = checkedBytes('the key', key, keyBytesMax);
  if (bytes.length === 0) throw new BadRequestError('the key is empty');
  return bytes;
}

/** Throws LimitError. */
export function valueBytes(value: Bytes): Uint8Array {
  return checkedBytes('the value', value, valueBytesMax);
}

function checkedBytes(what: string, bytes: Bytes, bytesMax: number): Uint8Array {
  if (typeof bytes !== 'string' && !(bytes instanceof Uint8Array)) {
    throw new BadRequestError(`${what} is neither a string nor a Uint8Array`);
  }
  // A copy in either case: the caller may reuse its buffer while the request waits to be sent. In Node's
  // pool: an ArrayBuffer a call would cost a third of all time in garbage collection.
  const own = typeof bytes === 'string' ? Buffer.from(bytes) : Buffer.from(bytes);
  if (own.length > bytesMax) throw new LimitError(what, own.length, bytesMax, 'bytes');
  return own;
}

/** Throws BadRequestError: a call without an end in time is never meant. */
export function checkedTimeout(timeoutMs: number): number {
  if (timeoutMs > 0 && Number.isFinite(timeoutMs)) return timeoutMs;
  throw new BadRequestError(`timeoutMs is ${timeoutMs}; it must be a number of ms above 0`);
}

/**
 * Bytes for the caller to keep: a plain Uint8Array that does not pin the far larger buffer it arrived in.
 * Small ones share Node's pool, as Buffers do.
 */
export function ownBytes(bytes: Uint8Array): Uint8Array {
  const isPinning = bytes.length * 2 < bytes.buffer.byteLength;
  const { buffer, byteOffset, length } = isPinning ? Buffer.from(bytes) : bytes;
  return new Uint8Array(buffer, byteOffset, length);
}
