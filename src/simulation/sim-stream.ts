/**
 * One end of a simulated connection, as the code of a process sees it: a Duplex. What is written goes to a pipe of the
 * network; what the network delivers is pushed. It decides nothing.
 */
import { Duplex } from 'node:stream';

export interface StreamOutput {
  /** `done`: there is room for more. */
  write(bytes: Buffer, done: () => void): void;
  /** All has been written. */
  end(): void;
  /** The end is gone, whatever was written. */
  destroyed(): void;
}

export class SimStream extends Duplex {
  readonly #output: StreamOutput;
  #onRoom: (() => void) | undefined;

  constructor(capacityBytes: number, output: StreamOutput) {
    super({ allowHalfOpen: false, writableHighWaterMark: capacityBytes });
    this.#output = output;
  }

  /** `taken`: the reader has room again. */
  receive(bytes: Buffer, taken: () => void): void {
    if (this.destroyed) return;
    if (this.push(bytes)) taken();
    else this.#onRoom = taken;
  }

  override _read(): void {
    const onRoom = this.#onRoom;
    this.#onRoom = undefined;
    onRoom?.();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#output.write(chunk, done);
  }

  override _writev(chunks: { chunk: Buffer }[], done: () => void): void {
    this.#output.write(Buffer.concat(chunks.map(({ chunk }) => chunk)), done);
  }

  override _final(done: () => void): void {
    this.#output.end();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#output.destroyed();
    done(error);
  }
}
