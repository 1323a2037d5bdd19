/**
 * Runs one reading task again and again: when asked, and at a low rate besides, since watches may be late,
 * collapsed or lost. Not a queue: however often it was asked during a run, it runs once more.
 *
 * Invariant: at most one run at a time, and none that starts after stop().
 */

export class Refresh {
  readonly #task: () => Promise<void>;
  readonly #intervalMs: number;
  #timer: NodeJS.Timeout | undefined;
  #running = false;
  #again = false;
  #stopped = false;

  /** The task decides whether there is anything to do; what it throws is a bug and ends the process. */
  constructor(task: () => Promise<void>, intervalMs: number) {
    this.#task = task;
    this.#intervalMs = intervalMs;
  }

  now(): void {
    if (this.#stopped) return;
    this.#again = true;
    if (!this.#running) void this.#run();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  async #run(): Promise<void> {
    this.#running = true;
    clearTimeout(this.#timer);
    while (this.#again && !this.#stopped) {
      this.#again = false;
      await this.#task();
    }
    this.#running = false;
    if (!this.#stopped) this.#timer = setTimeout(() => this.now(), this.#intervalMs);
  }
}
