/**
 * Two streams, each of which reads what is written to the other, with the backpressure of a socket: a
 * write is done when the other end has read it. It counts the writes, and can stop reading.
 */
import { Duplex } from 'node:stream';

export class PairEnd extends Duplex {
  other: PairEnd | undefined;
  /** Calls of `_write` or `_writev`: what would be system calls. */
  writes = 0;
  #onRead: (() => void) | undefined;

  constructor() {
    super({ allowHalfOpen: false });
    this.on('error', () => {});
  }

  override _read(): void {
    const onRead = this.#onRead;
    this.#onRead = undefined;
    onRead?.();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.writes += 1;
    this.other?.receive([chunk], done);
  }

  override _writev(chunks: { chunk: Buffer }[], done: () => void): void {
    this.writes += 1;
    this.other?.receive(
      chunks.map(({ chunk }) => chunk),
      done,
    );
  }

  override _final(done: () => void): void {
    this.other?.push(null);
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    if (this.other?.destroyed === false) this.other.push(null);
    done(error);
  }

  receive(chunks: Buffer[], done: () => void): void {
    if (this.destroyed) return done();
    let hasRoom = true;
    for (const chunk of chunks) hasRoom = this.push(chunk);
    if (hasRoom) setImmediate(done);
    else this.#onRead = done;
  }
}

export function duplexPair(): [PairEnd, PairEnd] {
  const left = new PairEnd();
  const right = new PairEnd();
  left.other = right;
  right.other = left;
  return [left, right];
}
