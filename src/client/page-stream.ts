/**
 * The pages of one scan, over a connection of its own: so a reader that is slow holds up only its own pages,
 * and one that stops early stops the server by closing.
 *
 * Invariant: pages come in order, at most `pagesAheadMax` are taken from the socket ahead of their reader.
 */
import { AbortedError, CatenaError, TimeoutError, UnavailableError } from '../errors.js';
import type { Failure, Opened, Page, View } from '../protocol/messages.js';
import { Call, toMember } from './call.js';
import { type Deadlines, Expiring } from './deadlines.js';
import { type Dial, ServerConnection, type ServerConnectionListener } from './server-connection.js';

const pagesAheadMax = 4;

/** The server did not do it, or went away: another one may. */
export class ScanRefusedError extends UnavailableError {
  readonly failure: Failure;

  constructor(address: string, failure: Failure, options?: { cause?: unknown }) {
    super(`${address} sent no pages: ${failure.code}: ${failure.message}`, options);
    this.failure = failure;
  }
}

export interface PageStreamOptions {
  readonly address: string;
  readonly cluster: string;
  readonly dial: Dial;
  readonly deadlines: Deadlines;
  readonly values: boolean;
  readonly onView: (view: View) => void;
}

interface Waiter {
  readonly resolve: (page: Page) => void;
  readonly reject: (error: Error) => void;
}

export class PageStream extends Expiring implements ServerConnectionListener {
  readonly #options: PageStreamOptions;
  readonly #connection: ServerConnection;
  readonly #pages: Page[] = [];
  #isPaused = false;
  #error: Error | undefined;
  #waiter: Waiter | undefined;
  #timeoutMs = 0;

  /** Throws BadRequestError if the address is none. */
  constructor(options: PageStreamOptions) {
    super();
    this.#options = options;
    const { address, cluster, dial, deadlines, values } = options;
    this.#connection = new ServerConnection({ address, cluster, dial, listener: this });
    // It has no deadline of its own: each wait for a page has one.
    const call = new Call(
      {
        body: { kind: 'scan', values },
        target: toMember,
        onPage: (page) => this.#onPage(page),
        onAnswer: (page) => {
          if (page.kind === 'page') this.#onPage(page);
        },
        onError: (error) => this.#fail(error),
      },
      deadlines,
    );
    this.#connection.submit(call);
  }

  /** The next page; after the one that is marked last, none may be asked for. */
  async nextPage(timeoutMs: number, signal: AbortSignal | undefined): Promise<Page> {
    if (signal?.aborted === true) throw abortedError(signal);
    const page = this.#pages.shift();
    if (this.#isPaused && this.#pages.length < pagesAheadMax) {
      this.#isPaused = false;
      this.#connection.resume();
    }
    if (page !== undefined) return page;
    if (this.#error !== undefined) throw this.#error;
    const onAbort = (): void => this.#fail(abortedError(signal));
    signal?.addEventListener('abort', onAbort, { once: true });
    this.#timeoutMs = timeoutMs;
    this.#options.deadlines.set(this, timeoutMs);
    try {
      return await new Promise<Page>((resolve, reject) => {
        this.#waiter = { resolve, reject };
      });
    } finally {
      this.#waiter = undefined;
      this.#options.deadlines.lift(this);
      signal?.removeEventListener('abort', onAbort);
    }
  }

  close(reason: Error = new AbortedError('the scan was ended')): void {
    this.#fail(reason);
    this.#pages.length = 0;
    this.#connection.close(undefined);
  }

  override onDeadline(): void {
    const { address } = this.#options;
    this.#fail(new TimeoutError(`${address} sent no page within ${this.#timeoutMs} ms`));
  }

  onOpen(_connection: ServerConnection, opened: Opened): void {
    if (opened.view !== undefined) this.#options.onView(opened.view);
  }

  onView(_connection: ServerConnection, view: View): void {
    this.#options.onView(view);
  }

  onRefusal(_connection: ServerConnection, _call: Call, failure: Failure): void {
    this.#fail(new ScanRefusedError(this.#options.address, failure));
  }

  onHealth(): void {}

  onIdle(): void {}

  onClose(_connection: ServerConnection, error: Error): void {
    const code = error instanceof CatenaError ? error.code : 'UNAVAILABLE';
    const failure = { code, message: error.message };
    this.#fail(new ScanRefusedError(this.#options.address, failure, { cause: error }));
  }

  #onPage(page: Page): void {
    const waiter = this.#waiter;
    this.#waiter = undefined;
    if (waiter !== undefined) return waiter.resolve(page);
    this.#pages.push(page);
    if (this.#pages.length < pagesAheadMax || this.#isPaused) return;
    this.#isPaused = true;
    this.#connection.pause();
  }

  #fail(error: Error): void {
    this.#error ??= error;
    const waiter = this.#waiter;
    this.#waiter = undefined;
    waiter?.reject(this.#error);
  }
}

function abortedError(signal: AbortSignal | undefined): AbortedError {
  return new AbortedError('the scan was aborted', { cause: signal?.reason });
}
