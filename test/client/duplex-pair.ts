/**
 * Two ends of one connection without a socket: what is written to one is read from the other. To destroy
 * one end is to lose the connection: the other one reads what it had been handed, then the end.
 */
import { Duplex } from 'node:stream';

class End extends Duplex {
  peer: End | undefined;
  #resume: (() => void) | undefined;

  override _read(): void {
    const resume = this.#resume;
    this.#resume = undefined;
    resume?.();
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.peer?.receive(chunk, done);
  }

  override _final(done: () => void): void {
    this.peer?.receive(null, done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#resume?.();
    this.peer?.receive(null, () => {});
    done(error);
  }

  receive(chunk: Buffer | null, done: () => void): void {
    setImmediate(() => {
      if (this.destroyed || this.readableEnded) return done();
      const hasRoom = this.push(chunk);
      if (hasRoom || chunk === null) done();
      else this.#resume = done;
    });
  }
}

export function duplexPair(): [Duplex, Duplex] {
  const one = new End({ allowHalfOpen: false });
  const other = new End({ allowHalfOpen: false });
  one.peer = other;
  other.peer = one;
  for (const end of [one, other]) end.on('error', () => {});
  return [one, other];
}
