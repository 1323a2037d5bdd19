/** A standard output that remembers what was written to it, a terminal or not. */
import { PassThrough } from 'node:stream';

export class Screen extends PassThrough {
  readonly isTTY: boolean;
  text = '';
  #waiting: (() => void)[] = [];

  constructor(isTTY = true) {
    super();
    this.isTTY = isTTY;
    this.on('data', (chunk: Buffer) => {
      this.text += chunk.toString();
      const waiting = this.#waiting;
      this.#waiting = [];
      for (const wake of waiting) wake();
    });
  }

  /** Resolves when this has been written after `since`. */
  async shows(wanted: string, since = 0): Promise<void> {
    while (!this.text.slice(since).includes(wanted)) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }
}
