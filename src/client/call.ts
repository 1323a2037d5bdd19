/**
 * One call of the application, from its start to its end: what is asked, who may answer, and where it
 * stands. It does not choose servers (router.ts) and does not send (server-connection.ts).
 *
 * Invariant: it ends exactly once, by its deadline; and with an error that says "not done" only if it changes
 * nothing or was never handed to a socket since the last refusal.
 */
import {
  AbortedError,
  OutcomeUnknownError,
  ProtocolError,
  TimeoutError,
  UnavailableError,
} from '../errors.js';
import type { Failure, RequestBody, ResponseBody } from '../protocol/messages.js';
import { formatOpId } from '../protocol/op-id.js';
import { type Deadlines, Expiring } from './deadlines.js';

/** Who may answer: the head, any member, or this very server. */
export type Target =
  | { readonly kind: 'head' }
  | { readonly kind: 'member' }
  | { readonly kind: 'server'; readonly address: string };

export const toHead: Target = { kind: 'head' };
export const toMember: Target = { kind: 'member' };

/** Where a call is kept while it is not settled. */
export interface CallHolder {
  /** Forgets a call that has settled. */
  withdraw(call: Call): void;
  /** What the call is waiting for, to be put after "because". */
  describeWait(call: Call): string;
}

export interface CallOptions {
  readonly body: RequestBody;
  readonly target: Target;
  /** Takes the final answer, which is one to this kind of request. */
  readonly onAnswer: (answer: ResponseBody) => void;
  readonly onError: (error: Error) => void;
  /** Of a scan: each page. */
  readonly onPage?: ((answer: ResponseBody & { kind: 'page' }) => void) | undefined;
  /** Set: nothing is sent; the call ends with the address of a server that could take it. */
  readonly onRoute?: ((address: string) => void) | undefined;
  /** Absent: someone else sees to it that the call ends. */
  readonly timeoutMs?: number;
  /** Of a call to one server: it ends when the server cannot be reached, not only at the deadline. */
  readonly isOneAttempt?: boolean;
  readonly signal?: AbortSignal | undefined;
}

export class Call extends Expiring {
  readonly options: CallOptions;
  readonly #deadlines: Deadlines;
  readonly #onAbort: (() => void) | undefined;
  #isSettled = false;
  /** Who keeps it: the router, or a connection. */
  holder: CallHolder | undefined = undefined;
  /** Handed to a socket, and not refused since. */
  isSent = false;
  /** Of the request on the connection that holds it; 0 while it is queued. */
  requestId = 0;
  /** Its neighbours in the queue that it is in; they belong to `CallQueue`. */
  queuedBefore: Call | undefined = undefined;
  queuedAfter: Call | undefined = undefined;
  /** Of a write that was announced. */
  opId: string | undefined = undefined;
  /** Why the last server that was asked did not do it. */
  lastRefusal: { readonly address: string; readonly failure: Failure } | undefined = undefined;

  /** Its deadline runs from here. If the signal has fired already it settles at once. */
  constructor(options: CallOptions, deadlines: Deadlines) {
    super();
    this.options = options;
    this.#deadlines = deadlines;
    const { signal, timeoutMs } = options;
    if (timeoutMs !== undefined) deadlines.set(this, timeoutMs);
    if (signal === undefined) return;
    this.#onAbort = () => this.#abort();
    if (signal.aborted) this.#abort();
    else signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  get isSettled(): boolean {
    return this.#isSettled;
  }

  get isWrite(): boolean {
    return this.options.body.kind === 'write';
  }

  /** Whether something is another way after it was done. */
  get hasEffect(): boolean {
    return this.isWrite || this.options.body.kind === 'leave';
  }

  /** Whether nothing is lost by asking again, wherever it stands. */
  get isRepeatable(): boolean {
    return !this.isSent || !this.hasEffect;
  }

  /** Hands over the final answer. Throws ProtocolError if it is none to this request. */
  answer(answer: ResponseBody): void {
    if (answer.kind !== answerKindOf(this.options.body)) {
      throw new ProtocolError(`'${answer.kind}' came as the answer to '${this.options.body.kind}'`);
    }
    if (this.#settle()) this.options.onAnswer(answer);
  }

  /** Takes note of an answer before the final one. */
  progress(answer: ResponseBody): void {
    if (answer.kind === 'assigned' && this.isWrite) this.opId = formatOpId(answer.opId);
    else if (answer.kind === 'page' && this.options.onPage !== undefined) {
      this.options.onPage(answer);
    } else throw new ProtocolError(`'${answer.kind}' came before the answer`);
  }

  route(address: string): void {
    if (this.#settle()) this.options.onRoute?.(address);
  }

  fail(error: Error): void {
    if (this.#settle()) this.options.onError(error);
  }

  /** It ends without an answer, for `reason`; `error` is for the case that it is certainly not done. */
  abandon(reason: string, error: Error): void {
    if (this.isRepeatable) return this.fail(error);
    const what = this.opId === undefined ? '' : ` (op ${this.opId})`;
    const { kind } = this.options.body;
    const message = `the ${kind}${what} was sent and its answer was not seen: ${reason}`;
    this.fail(new OutcomeUnknownError(message, this.opId, { cause: error }));
  }

  override onDeadline(): void {
    const { timeoutMs = 0 } = this.options;
    const wait = this.holder?.describeWait(this) ?? 'it was not started';
    const reason = `not done within ${timeoutMs} ms: ${wait}`;
    const error = this.isSent ? new TimeoutError(reason) : new UnavailableError(reason);
    this.abandon(reason, error);
  }

  #abort(): void {
    const cause: unknown = this.options.signal?.reason;
    this.abandon('the call was aborted', new AbortedError('the call was aborted', { cause }));
  }

  #settle(): boolean {
    if (this.#isSettled) return false;
    this.#isSettled = true;
    this.#deadlines.lift(this);
    this.holder?.withdraw(this);
    this.holder = undefined;
    if (this.#onAbort !== undefined) {
      this.options.signal?.removeEventListener('abort', this.#onAbort);
    }
    return true;
  }
}

function answerKindOf(body: RequestBody): ResponseBody['kind'] {
  switch (body.kind) {
    case 'write':
      return body.noWait ? 'assigned' : 'written';
    case 'get':
      return 'value';
    case 'size':
      return 'count';
    case 'scan':
      return 'page';
    case 'verify':
      return 'verified';
    case 'status':
      return 'status';
    case 'leave':
      return 'left';
  }
}
