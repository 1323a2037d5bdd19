/**
 * Where results go: for people, for scripts (JSON), or as raw bytes into a pipe. What comes after a reader
 * that has gone (EPIPE: `keys | head -1`) is dropped, and `isGone` says so.
 */
import type { Writable } from 'node:stream';
import { jsonLine, shownBytes } from './words.js';

export interface OutputOptions {
  /** `columns`: of a terminal. */
  readonly stream: Writable & { readonly columns?: number };
  /** Bytes are shown escaped, and lines are for people. */
  readonly isTerminal: boolean;
  /** One JSON object a result. */
  readonly isJson: boolean;
}

export class Output {
  readonly isTerminal: boolean;
  readonly isJson: boolean;
  readonly #stream: OutputOptions['stream'];
  /** The lines that are drawn in place; empty: there are none. */
  #block: readonly string[] = [];
  #isGone = false;
  #wakeAll: (() => void)[] = [];

  constructor({ stream, isTerminal, isJson }: OutputOptions) {
    this.#stream = stream;
    this.isTerminal = isTerminal;
    this.isJson = isJson;
    stream.on('error', () => this.#onGone());
    stream.on('close', () => this.#onGone());
    stream.on('drain', () => this.#wake());
  }

  /** Nobody reads any more; whoever produces may stop. */
  get isGone(): boolean {
    return this.#isGone;
  }

  line(text: string): void {
    this.write(`${text}\n`);
  }

  /** On a terminal: text in the place of the block before it, as long as nothing else was written. */
  block(text: string): void {
    const { columns = 80 } = this.#stream;
    // A line that wraps would take more rows than are counted here.
    const lines = text.split('\n').map((line) =>
      Array.from(line)
        .slice(0, columns - 1)
        .join(''),
    );
    if (lines.join('\n') === this.#block.join('\n')) return;
    this.write(`${this.#erased()}${lines.join('\n')}\n`);
    this.#block = lines;
  }

  /** What was drawn stays, and nothing is drawn over it. */
  endBlock(): void {
    this.#block = [];
  }

  /** A line from elsewhere: above the block, if there is one. */
  lineAbove(text: string): void {
    const block = this.#block;
    this.write(`${this.#erased()}${text}\n`);
    if (block.length > 0) this.write(`${block.join('\n')}\n`);
    this.#block = block;
  }

  /** Takes the cursor to where the block begins, and clears from there on. */
  #erased(): string {
    const rows = this.#block.length;
    this.#block = [];
    return rows === 0 ? '' : `\x1b[${rows}A\r\x1b[J`;
  }

  json(value: object): void {
    this.line(jsonLine(value));
  }

  write(chunk: string | Uint8Array): void {
    this.#block = [];
    if (!this.#isGone) this.#stream.write(chunk);
  }

  /** A key or value as this output shows it, without a line end. */
  bytes(bytes: Uint8Array, form: 'word' | 'rest'): void {
    this.write(this.isTerminal ? shownBytes(bytes, form) : bytes);
  }

  /** Resolves when little is waiting to be written, or nobody reads. */
  async drained(): Promise<void> {
    if (this.#isGone || !this.#stream.writableNeedDrain) return;
    await new Promise<void>((resolve) => this.#wakeAll.push(resolve));
  }

  /** Resolves when everything has been handed to the system, or nobody reads. */
  async flushed(): Promise<void> {
    if (this.#isGone) return;
    await new Promise<void>((resolve) => {
      this.#wakeAll.push(resolve);
      this.#stream.write('', () => resolve());
    });
  }

  #onGone(): void {
    this.#isGone = true;
    this.#wake();
  }

  #wake(): void {
    const wakeAll = this.#wakeAll;
    this.#wakeAll = [];
    for (const wake of wakeAll) wake();
  }
}
