/**
 * The single writer's queue. Decoded writes wait here; one drain task at a time turns what waits into
 * batches and hands them to the replica, which assigns their op ids. The only file that uses p-queue.
 *
 * Invariant: at most one drain task runs and at most one waits, however many writes there are.
 */
import PQueue from 'p-queue';
import { batchBytesMax, batchOpsMax } from '../limits.js';
import { rarely } from '../runtime/runtime.js';
import type { ClientWrite } from './client-requests.js';

export interface WriteSink {
  /** Whether the chain may be given more; while not, the drain task waits for `roomAgain`. */
  hasRoom(): boolean;
  /** There is no room: the drain task waits until `roomAgain`. */
  full(): void;
  submit(batch: readonly ClientWrite[]): void;
  /** Everything that waited has been submitted. */
  drained(): void;
}

export class WriteQueue {
  readonly #queue = new PQueue({ concurrency: 1 });
  readonly #sink: WriteSink;
  #waiting: ClientWrite[] = [];
  #wakeWriter: (() => void) | undefined;

  constructor(sink: WriteSink) {
    this.#sink = sink;
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  push(write: ClientWrite): void {
    this.#waiting.push(write);
  }

  /** Sees to it that a drain task will take what waits. */
  drainSoon(): void {
    if (this.#queue.size === 0) void this.#queue.add(() => this.#drain());
  }

  /** The chain can take more, or will take none any more: either way the writer looks again. */
  roomAgain(): void {
    this.#wakeWriter?.();
    this.#wakeWriter = undefined;
  }

  async #drain(): Promise<void> {
    while (this.#waiting.length > 0) {
      if (!this.#sink.hasRoom()) {
        const room = new Promise<void>((resolve) => {
          this.#wakeWriter = resolve;
        });
        this.#sink.full();
        await room;
      }
      this.#sink.submit(this.#takeBatch());
    }
    this.#sink.drained();
  }

  /** The oldest writes that fit into one log record; a single larger op goes alone. */
  #takeBatch(): ClientWrite[] {
    const opsMax = rarely('a batch of one', 1, batchOpsMax);
    let count = 0;
    let bytes = 0;
    while (count < this.#waiting.length && count < opsMax) {
      bytes += (this.#waiting[count] as ClientWrite).opBytes;
      if (count > 0 && bytes > batchBytesMax) break;
      count += 1;
    }
    if (count === this.#waiting.length) {
      const batch = this.#waiting;
      this.#waiting = [];
      return batch;
    }
    return this.#waiting.splice(0, count);
  }
}
