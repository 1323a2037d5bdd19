/**
 * Commands typed at a terminal: line editing, history, completion, a prompt that can change, and lines
 * printed above it while somebody types. The terminal is two streams; what the commands do is the shell's.
 *
 * Invariant: commands run one at a time, in the order of their lines; nothing is drawn while one runs
 * but what it prints itself.
 */
import {
  clearScreenDown,
  createInterface,
  cursorTo,
  type Interface,
  moveCursor,
} from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import type { Shell } from './shell.js';

export interface ReplOptions {
  readonly shell: Shell;
  readonly input: Readable;
  readonly output: Writable;
  /** Asked each time the prompt is drawn. */
  readonly prompt: () => string;
  /** Newest first. */
  readonly history?: readonly string[];
  /** Newest first; after each line. */
  readonly onHistory?: (history: readonly string[]) => void;
}

const historyLinesMax = 1_000;

export class Repl {
  readonly #options: ReplOptions;
  readonly #lines: string[] = [];
  #interface: Interface | undefined;
  /** Ends the command that runs. */
  #running: AbortController | undefined;
  #isClosing = false;
  #onDone: () => void = () => {};

  constructor(options: ReplOptions) {
    this.#options = options;
  }

  /** Resolves after `quit`, or at the end of the input when the commands before it have run. */
  async run(): Promise<void> {
    const { input, output, shell, history = [], onHistory } = this.#options;
    const terminal = createInterface({
      input,
      output,
      terminal: true,
      history: [...history],
      historySize: historyLinesMax,
      removeHistoryDuplicates: true,
      completer: (line: string) => [
        shell.complete(line).map((name) => `${name} `),
        lastWordOf(line),
      ],
    });
    this.#interface = terminal;
    terminal.on('line', (line) => this.#onLine(line));
    terminal.on('SIGINT', () => this.#onInterrupt());
    terminal.on('history', (lines: string[]) => onHistory?.(lines));
    terminal.on('close', () => this.#onClose());
    this.refreshPrompt();
    await new Promise<void>((resolve) => {
      this.#onDone = resolve;
      if (this.#isClosing) this.#onClose();
    });
  }

  /** Prints a line above the prompt and what was typed so far. */
  printAbove(line: string): void {
    if (this.#isDrawn) this.#erase();
    this.#options.shell.output.lineAbove(line);
    this.refreshPrompt();
  }

  /** Draws the prompt anew; what was typed stays. */
  refreshPrompt(): void {
    const terminal = this.#interface;
    if (terminal === undefined || !this.#isDrawn) return;
    terminal.setPrompt(this.#options.prompt());
    terminal.prompt(true);
  }

  get #isDrawn(): boolean {
    return this.#interface !== undefined && this.#running === undefined && !this.#isClosing;
  }

  #erase(): void {
    const terminal = this.#interface as Interface & { prevRows?: number };
    const { output } = this.#options;
    moveCursor(output, 0, -terminal.getCursorPos().rows);
    cursorTo(output, 0);
    clearScreenDown(output);
    // Where readline thinks that the cursor is, rows below the prompt: it has just been moved to the first.
    terminal.prevRows = 0;
  }

  #onLine(line: string): void {
    this.#lines.push(line);
    if (this.#running === undefined) void this.#runLines();
  }

  async #runLines(): Promise<void> {
    const { shell } = this.#options;
    const controller = new AbortController();
    this.#running = controller;
    try {
      for (let line = this.#lines.shift(); line !== undefined; line = this.#lines.shift()) {
        await shell.runLine(line, controller.signal);
        if (shell.hasQuit) break;
      }
    } finally {
      this.#running = undefined;
    }
    if (shell.hasQuit) this.#interface?.close();
    if (this.#isClosing) this.#onDone();
    else this.refreshPrompt();
  }

  /** Ctrl-C: ends the command that runs, or clears the line. */
  #onInterrupt(): void {
    const terminal = this.#interface;
    if (this.#running !== undefined) {
      this.#lines.length = 0;
      this.#running.abort(new Error('Ctrl-C'));
      return;
    }
    if (terminal?.line === '') return this.printAbove('(Ctrl-D or quit ends)');
    terminal?.write(null, { ctrl: true, name: 'e' });
    terminal?.write(null, { ctrl: true, name: 'u' });
  }

  #onClose(): void {
    if (!this.#isClosing) this.#options.output.write('\n');
    this.#isClosing = true;
    if (this.#running === undefined) this.#onDone();
  }
}

function lastWordOf(line: string): string {
  return /\S*$/.exec(line)?.[0] ?? '';
}
