/**
 * Hashes all entries of the table as they lie in memory, once an interval, and compares the sum with the
 * state hash that was kept from change to change. That hash takes in what is changed, so it does not
 * notice a bit that flips in an entry which nobody touches; this does, before the bit is served for long.
 *
 * A pass goes on in slices of `memoryCheckSliceBytes`, with a pause behind each, at
 * `memoryCheckBytesPerSecond`; it holds no memory, and changes go on meanwhile. One pass at a time.
 */
import { CatenaError, InvariantError } from '../../errors.js';
import { memoryCheckBytesPerSecond, memoryCheckSliceBytes } from '../../limits.js';
import type { Logger } from '../../logger.js';
import type { Machine } from '../../machine/machine.js';

export interface MemoryCheckOptions {
  /** From the end of one pass to the beginning of the next. 0: never. */
  readonly intervalMs: number;
  /** The one in use; an installed snapshot brings another. */
  readonly machine: () => Machine;
  /** Calls once after so many milliseconds, unless what it returns is called before. */
  readonly schedule: (act: () => void, ms: number) => () => void;
  readonly logger: Logger;
  /** Nothing may be answered from this memory any more. No pass comes after it. */
  readonly onDamage: (error: CatenaError) => void;
}

const pauseMs = (memoryCheckSliceBytes / memoryCheckBytesPerSecond) * 1000;

export class MemoryCheck {
  readonly #options: MemoryCheckOptions;
  #cancel: (() => void) | undefined;
  /** Ends the pass that is under way. */
  #close: (() => void) | undefined;
  #stopped = false;

  constructor(options: MemoryCheckOptions) {
    this.#options = options;
  }

  start(): void {
    const { intervalMs } = this.#options;
    if (intervalMs > 0) this.#after(intervalMs, () => this.#pass());
  }

  /** The next pass is due now, unless one is under way. */
  begin(): void {
    if (this.#options.intervalMs === 0 || this.#close !== undefined) return;
    this.#cancel?.();
    this.#after(0, () => this.#pass());
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel?.();
    this.#close?.();
  }

  #pass(): void {
    const machine = this.#options.machine();
    const check = machine.table.check();
    this.#close = () => check.close();
    const slice = (): void => {
      if (this.#options.machine() !== machine) {
        // A snapshot was installed: what this pass has seen is gone, and so is the table itself.
        check.close();
        this.#pass();
        return;
      }
      const result = check.next(memoryCheckSliceBytes);
      if (result === undefined) this.#after(pauseMs, slice);
      else this.#onEnd(machine, result.found, result.kept);
    };
    slice();
  }

  #onEnd({ appliedSeq, table }: Machine, found: string, kept: string): void {
    const { intervalMs, logger } = this.#options;
    this.#close = undefined;
    if (found !== kept) {
      throw new InvariantError(
        `the memory check of the state after op ${appliedSeq} found ${found}, but ${kept} was kept from ` +
          "change to change: this server's memory is damaged or the program is wrong; started again, " +
          'it rebuilds its state from its disk',
      );
    }
    logger.debug('memory checked', { seq: appliedSeq, keys: table.size, hash: found });
    this.#after(intervalMs, () => this.#pass());
  }

  #after(ms: number, act: () => void): void {
    if (this.#stopped) return;
    this.#cancel = this.#options.schedule(() => {
      try {
        act();
      } catch (error) {
        this.stop();
        this.#options.onDamage(damageOf(error));
      }
    }, ms);
  }
}

/** Where links between entries are damaged, anything may be thrown on the way along them. */
function damageOf(error: unknown): CatenaError {
  if (error instanceof CatenaError) return error;
  return new InvariantError(`the memory check failed, the table is damaged: ${String(error)}`);
}
