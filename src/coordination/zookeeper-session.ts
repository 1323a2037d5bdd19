/**
 * One ZooKeeper session as the coordinator's process sees it: a child process (zookeeper-child.ts), the
 * requests under way to it, and beats in both directions. It never starts again: after its end the
 * coordinator makes another one.
 *
 * Invariant: each request settles within the session timeout, and never rejects; after `onEnd` there are no more events,
 * no timers, and the child is dead or killed.
 */

import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Logger } from '../logger.js';
import { beatIntervalMs, silentBeatsMax } from './zookeeper-protocol.js';
import type { Answer, ChildMessage, ParentMessage, Request } from './zookeeper-protocol.js';

export interface SessionOptions {
  readonly connectString: string;
  readonly sessionTimeoutMs: number;
  readonly logger: Logger;
}

export interface SessionEvents {
  onState(state: 'connected' | 'suspended'): void;
  /** Something changed at this path; read again. */
  onWatch(path: string): void;
  /** Once. */
  onEnd(reason: string): void;
}

/** unsent: for certain. lost: it left, and no answer came. */
export type Reply =
  | ({ readonly kind: 'answered' } & Answer)
  | { readonly kind: 'lost' }
  | { readonly kind: 'unsent' };

interface PendingRequest {
  readonly settle: (reply: Reply) => void;
  readonly timer: NodeJS.Timeout;
}

const childPath = fileURLToPath(new URL('./zookeeper-child.js', import.meta.url));
/** A busy machine may take long to start a process; beats count from its first word. */
const childStartMsMax = 10_000;
/** After this long the child is killed; the session then ends by its timeout. */
const closeMsMax = 2_000;

export class ZooKeeperSession {
  readonly #options: SessionOptions;
  readonly #events: SessionEvents;
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;
  readonly #pending = new Map<number, PendingRequest>();
  #requestCount = 0;
  #connected = false;
  #ended = false;
  #silentBeats = 0;
  #beatTimer: NodeJS.Timeout | undefined;
  /** Runs while not connected: past it the session is over for ZooKeeper too, and the client may be stuck. */
  #connectTimer: NodeJS.Timeout | undefined;

  constructor(options: SessionOptions, events: SessionEvents) {
    this.#options = options;
    this.#events = events;
    this.#child = fork(childPath, [], {
      execArgv: [],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    this.#exited = new Promise((resolve) => {
      this.#child.once('exit', () => resolve());
      this.#child.once('error', () => resolve());
    });
    this.#child.on('message', (message: ChildMessage) => this.#receive(message));
    this.#child.on('error', (error) => this.#end(`the child process failed: ${error.message}`));
    this.#child.on('exit', (code, signal) =>
      this.#end(`the child process ended (${String(signal ?? code)})`),
    );
    // Nothing is written there but a crash report.
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      options.logger.warn('the ZooKeeper child process writes', { text: text.trimEnd() });
    });
    this.#connectTimer = setTimeout(
      () => this.#end('the child process did not start'),
      childStartMsMax,
    );
    const { connectString, sessionTimeoutMs } = options;
    this.#send({ kind: 'open', connectString, sessionTimeoutMs });
  }

  get connected(): boolean {
    return this.#connected && !this.#ended;
  }

  get processId(): number | undefined {
    return this.#child.pid;
  }

  request(request: Request): Promise<Reply> {
    if (!this.connected || !this.#child.connected) return Promise.resolve({ kind: 'unsent' });
    this.#requestCount += 1;
    const id = this.#requestCount;
    return new Promise((settle) => {
      // ZooKeeper's client gives up a dead connection sooner than that, so this session is of no use any more.
      const timer = setTimeout(
        () => this.#end(`no answer to a ${request.op}`),
        this.#options.sessionTimeoutMs,
      );
      this.#pending.set(id, { settle, timer });
      this.#send({ kind: 'request', id, request });
    });
  }

  /** Closes the session, so that its ephemeral goes at once; whatever happens, the child is gone afterwards. */
  async close(): Promise<void> {
    if (!this.#ended) {
      this.#stop();
      this.#send({ kind: 'close' });
    }
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), closeMsMax);
    await this.#exited;
    clearTimeout(timer);
  }

  #send(message: ParentMessage): void {
    // With a callback, a broken channel is reported there and not thrown; the child's exit tells it anyway.
    if (this.#child.connected) this.#child.send(message, () => {});
  }

  #receive(message: ChildMessage): void {
    if (this.#ended) return;
    this.#silentBeats = 0;
    switch (message.kind) {
      case 'ready':
        this.#startBeats();
        this.#awaitConnection();
        break;
      case 'session':
        this.#adoptState(message.state);
        break;
      case 'answer':
        this.#settle(message.id, { kind: 'answered', ...message.answer });
        break;
      case 'unsent':
        this.#settle(message.id, { kind: 'unsent' });
        break;
      case 'watch':
        this.#events.onWatch(message.path);
        break;
      case 'beat':
        break;
      case 'ended':
        this.#end(message.reason);
        break;
    }
  }

  #adoptState(state: 'connected' | 'suspended'): void {
    if (this.#connected === (state === 'connected')) return;
    this.#connected = state === 'connected';
    if (this.#connected) clearTimeout(this.#connectTimer);
    else this.#awaitConnection();
    this.#events.onState(state);
  }

  #awaitConnection(): void {
    const { sessionTimeoutMs } = this.#options;
    clearTimeout(this.#connectTimer);
    this.#connectTimer = setTimeout(
      () => this.#end(`not connected for ${sessionTimeoutMs} ms`),
      sessionTimeoutMs,
    );
  }

  #startBeats(): void {
    this.#beatTimer = setInterval(() => {
      this.#silentBeats += 1;
      if (this.#silentBeats > silentBeatsMax) this.#end('the child process was silent');
      else this.#send({ kind: 'beat' });
    }, beatIntervalMs(this.#options.sessionTimeoutMs));
  }

  #settle(id: number, reply: Reply): void {
    const pending = this.#pending.get(id);
    // Absent: settled already, by the end of the session.
    if (pending === undefined) return;
    this.#pending.delete(id);
    clearTimeout(pending.timer);
    pending.settle(reply);
  }

  /** No events and no timers from here on; what was sent is lost. */
  #stop(): void {
    this.#ended = true;
    clearInterval(this.#beatTimer);
    clearTimeout(this.#connectTimer);
    for (const id of this.#pending.keys()) this.#settle(id, { kind: 'lost' });
  }

  #end(reason: string): void {
    if (this.#ended) return;
    this.#stop();
    this.#child.kill('SIGKILL');
    this.#events.onEnd(reason);
  }
}
