/**
 * Brings each call to a server that can answer it: writes to the head of the newest view, reads in turn to
 * the members. Follows the view, dials, and keeps the calls that no server can take at the moment; while there are
 * any, it looks again every few ms. It knows no sockets and no results.
 *
 * Invariant: a call is kept in exactly one place (here, or at one connection) until it has settled; a write
 * comes back here only if it was certainly not executed.
 */
import { CatenaError, ClosedError, UnavailableError } from '../errors.js';
import type { Failure, Opened, View } from '../protocol/messages.js';
import { runtime, soon, type Timer } from '../runtime/runtime.js';
import { Call, type CallHolder, toMember } from './call.js';
import type { Deadlines } from './deadlines.js';
import { errorOfFailure } from './failure.js';
import type { Dial, ServerConnection, ServerConnectionListener } from './server-connection.js';
import { Server } from './servers.js';
import { healthCheckMs, probeMs, pulseMsMax, pulseMsMin } from './timing.js';
import { headAddressOf, isMemberAddress, isNewerView } from './view.js';

export interface RouterOptions {
  /** Where to look while no view is known. */
  readonly seeds: readonly string[];
  /** What became of asking ZooKeeper for servers, and what to do about it; for people. */
  readonly source?: (() => string) | undefined;
  readonly cluster: string;
  readonly dial: Dial;
  readonly deadlines: Deadlines;
  readonly onView: (view: View) => void;
}

export class Router implements CallHolder, ServerConnectionListener {
  readonly #options: RouterOptions;
  readonly #servers = new Map<string, Server>();
  /** Calls that no server can take now, by whom they are for. */
  readonly #waiting = {
    head: new Set<Call>(),
    member: new Set<Call>(),
    server: new Set<Call>(),
  };
  #view: View | undefined;
  /** Addresses of servers that are up, as was told from elsewhere. */
  #registered: readonly string[] = [];
  /** Who can be asked right now; recomputed at each change. */
  #head: ServerConnection | undefined;
  #readers: ServerConnection[] = [];
  #readCount = 0;
  #nextCandidate = 0;
  #pulseTimer: Timer | undefined;
  #healthTimer: Timer | undefined;
  #probedAtMs = 0;
  #isClosed = false;

  constructor(options: RouterOptions) {
    this.#options = options;
    for (const address of options.seeds) this.#server(address);
  }

  /** The newest view that any server has told. */
  get view(): View | undefined {
    return this.#view;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Takes the call over; it may have settled already. */
  start(call: Call): void {
    if (call.isSettled) return;
    if (this.#isClosed) return call.fail(closedError());
    this.#dispatch(call);
  }

  /** Takes note of a view, wherever it comes from. Throws if it is another cluster's. */
  adopt(view: View): void {
    if (this.#isClosed) return;
    if (this.#view !== undefined && view.clusterId !== this.#view.clusterId) {
      const message = `it is of cluster ${view.clusterId}, this client is of ${this.#view.clusterId}`;
      throw new CatenaError(
        'WRONG_CLUSTER',
        `${message}; connect anew to go on with the other one`,
      );
    }
    if (!isNewerView(view, this.#view)) return;
    this.#view = view;
    for (const server of this.#servers.values()) server.endRest();
    this.#refresh();
    for (const server of this.#servers.values()) {
      if (isMemberAddress(view, server.address)) continue;
      for (const call of server.connection?.takeRepeatable() ?? []) this.#dispatch(call);
    }
    // Not here: what it throws is not the concern of the connection that told the view.
    soon(() => this.#options.onView(view));
  }

  /** A stream of pages from this server failed: it is left alone for a while. */
  noteRefusal(address: string, failure: Failure): void {
    if (failure.view !== undefined) this.adopt(failure.view);
    this.#server(address).rest('read', failure, runtime.monotonicMs());
    this.#refresh();
  }

  /** Addresses of the members, and of the seeds and of registered servers besides. */
  knownAddresses(): string[] {
    const members = this.#view?.members.map((member) => member.address) ?? [];
    return [...new Set([...members, ...this.#options.seeds, ...this.#registered])];
  }

  noteServers(addresses: readonly string[]): void {
    this.#registered = addresses;
  }

  /** Ends everything. Calls that were sent as writes end as unknown, the others as closed. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#pulseTimer?.cancel();
    this.#healthTimer?.cancel();
    for (const server of this.#servers.values()) server.connection?.close(closedError());
    for (const calls of Object.values(this.#waiting)) {
      for (const call of calls) call.fail(closedError());
    }
  }

  withdraw(call: Call): void {
    this.#waiting[call.options.target.kind].delete(call);
  }

  describeWait(call: Call): string {
    const { target } = call.options;
    const refusal = call.lastRefusal;
    const said =
      refusal && `; ${refusal.address} said ${refusal.failure.code}: ${refusal.failure.message}`;
    const head = headAddressOf(this.#view);
    if (target.kind === 'server') return `${this.#troubleOf(target.address)}${said ?? ''}`;
    if (head === undefined) return this.#describeSearch();
    if (target.kind === 'member') return `no member of the chain answers reads${said ?? ''}`;
    return `the head takes no writes (${this.#troubleOf(head)})${said ?? ''}`;
  }

  /** Who was asked for a view of the chain, what came of it, and what may be wrong. */
  #describeSearch(): string {
    const { cluster, source } = this.#options;
    const troubles = [...this.#servers.values()].map((server) =>
      server.isConnected
        ? `${server.address} answers and knows of no chain`
        : this.#troubleOf(server.address),
    );
    const advice = source?.() ?? 'start one of these servers, or name others';
    const tried = [...troubles, advice].join('; ');
    return `no chain of cluster '${cluster}' was found: ${tried}`;
  }

  onOpen(connection: ServerConnection, opened: Opened): void {
    if (opened.view !== undefined) this.adopt(opened.view);
    const server = this.#server(connection.address);
    server.opened = opened;
    server.trouble = undefined;
    this.#refresh();
  }

  onView(_connection: ServerConnection, view: View): void {
    this.adopt(view);
  }

  onRefusal(connection: ServerConnection, call: Call, failure: Failure): void {
    call.lastRefusal = { address: connection.address, failure };
    try {
      if (failure.view !== undefined) this.adopt(failure.view);
      const purpose = call.options.target.kind === 'head' ? 'write' : 'read';
      this.#server(connection.address).rest(purpose, failure, runtime.monotonicMs());
      this.#refresh();
    } finally {
      this.#dispatch(call);
    }
  }

  onHealth(connection: ServerConnection): void {
    this.#refresh();
    if (!connection.isSuspect) return;
    for (const call of connection.takeRepeatable()) this.#dispatch(call);
  }

  onIdle(connection: ServerConnection): void {
    if (this.#view === undefined || isMemberAddress(this.#view, connection.address)) return;
    if (this.#readers.length > 0) connection.close(undefined);
  }

  onClose(connection: ServerConnection, error: Error, calls: readonly Call[]): void {
    this.#server(connection.address).onClosed(error, runtime.monotonicMs());
    this.#refresh();
    for (const call of [...calls, ...this.#waiting.server]) {
      if (this.#isClosed) call.fail(closedError());
      else if (isLastAttempt(call, connection.address))
        call.fail(new UnavailableError(error.message));
      else if (call.holder === undefined) this.#dispatch(call);
    }
  }

  #server(address: string): Server {
    let server = this.#servers.get(address);
    if (server === undefined) {
      const { cluster, dial } = this.#options;
      server = new Server(address, { cluster, dial, listener: this });
      this.#servers.set(address, server);
    }
    return server;
  }

  #troubleOf(address: string): string {
    const server = this.#servers.get(address);
    return (
      server?.trouble ?? `${address} ${server?.isConnected === true ? 'is busy' : 'did not answer'}`
    );
  }

  #dispatch(call: Call): void {
    if (call.isSettled) return;
    const connection = this.#connectionFor(call);
    if (connection === undefined) this.#wait(call);
    else handOver(call, connection);
  }

  #connectionFor(call: Call): ServerConnection | undefined {
    const { target } = call.options;
    switch (target.kind) {
      case 'head':
        return this.#head;
      case 'member':
        return this.#nextReader();
      case 'server':
        return this.#server(target.address).usableFor('read', runtime.monotonicMs());
    }
  }

  #nextReader(): ServerConnection | undefined {
    const readers = this.#readers;
    const count = this.#readCount++;
    // From the second read on they are spread over all members.
    if (count > 0 && readers.length < (this.#view?.members.length ?? 0)) this.#dialMembers();
    return readers[count % readers.length];
  }

  #wait(call: Call): void {
    const { kind } = call.options.target;
    const waiting = this.#waiting[kind];
    call.holder = this;
    waiting.add(call);
    if (waiting.size === 1 || kind === 'server') this.#dialForWaiting(false);
    if (this.#pulseTimer === undefined) this.#schedulePulse();
  }

  #schedulePulse(): void {
    const waitMs = pulseMsMin + runtime.random() * (pulseMsMax - pulseMsMin);
    // The deadlines of those who wait keep the process alive, not this.
    this.#pulseTimer = runtime.after(waitMs, () => this.#pulse(), { keepsAlive: false });
  }

  #pulse(): void {
    this.#pulseTimer = undefined;
    this.#failHopeless();
    this.#refresh();
    const { head, member, server } = this.#waiting;
    if (head.size + member.size + server.size === 0) return;
    this.#dialForWaiting(true);
    if (head.size > 0) this.#probe();
    this.#schedulePulse();
  }

  /** Connects to whom the waiting calls are for; `isWider`: also to one more server that may know a newer view. */
  #dialForWaiting(isWider: boolean): void {
    const now = runtime.monotonicMs();
    for (const call of this.#waiting.server) {
      const { target } = call.options;
      if (target.kind === 'server') this.#server(target.address).dial(now);
    }
    const { head, member } = this.#waiting;
    if (head.size + member.size === 0) return;
    const headAddress = headAddressOf(this.#view);
    let isDialing = false;
    if (head.size > 0 && headAddress !== undefined) isDialing = this.#server(headAddress).dial(now);
    if (member.size > 0) this.#dialMembers();
    if (isWider || (!isDialing && this.#readers.length === 0)) this.#dialNextCandidate(now);
  }

  #dialMembers(): void {
    const now = runtime.monotonicMs();
    for (const { address } of this.#view?.members ?? []) this.#server(address).dial(now);
  }

  #dialNextCandidate(nowMs: number): void {
    const candidates = this.knownAddresses();
    for (let tried = 0; tried < candidates.length; tried++) {
      const address = candidates[this.#nextCandidate++ % candidates.length] as string;
      if (this.#server(address).dial(nowMs)) return;
    }
  }

  /** Asks a server for its view, in case it was not pushed. */
  #probe(): void {
    const now = runtime.monotonicMs();
    if (now - this.#probedAtMs < probeMs) return;
    const reader = this.#readers[this.#nextCandidate++ % this.#readers.length];
    if (reader === undefined) return;
    this.#probedAtMs = now;
    reader.submit(
      new Call(
        {
          body: { kind: 'status' },
          target: toMember,
          timeoutMs: probeMs * 10,
          onAnswer: (answer) => {
            if (answer.kind === 'status' && answer.view !== undefined)
              this.#adoptQuietly(answer.view);
          },
          onError: () => {},
        },
        this.#options.deadlines,
      ),
    );
  }

  #adoptQuietly(view: View): void {
    if (view.clusterId === this.#view?.clusterId) this.adopt(view);
  }

  /** Nobody who is known will ever talk to us: no need to wait for the deadline. */
  #failHopeless(): void {
    if (this.#view !== undefined || this.#servers.size === 0) return;
    let failure: Failure | undefined;
    for (const server of this.#servers.values()) {
      if (server.lastingRefusal === undefined) return;
      failure = server.lastingRefusal;
    }
    if (failure === undefined) return;
    const asked = [...this.#servers.keys()].join(', ');
    const message = `asked ${asked} for cluster '${this.#options.cluster}': ${failure.message}`;
    const advice = failure.code === 'WRONG_CLUSTER' ? '; give the name of the cluster there' : '';
    for (const calls of Object.values(this.#waiting)) {
      const error = errorOfFailure({ ...failure, message: `${message}${advice}` }, false);
      for (const call of calls) call.fail(error);
    }
  }

  /** Recomputes who can be asked, and hands over the calls that waited for them. */
  #refresh(): void {
    if (this.#isClosed) return;
    const now = runtime.monotonicMs();
    const members = this.#view?.members ?? [];
    const servers = members.map(({ address }) => this.#server(address));
    this.#head = servers[0]?.usableFor('write', now);
    this.#readers = servers.flatMap((server) => server.usableFor('read', now) ?? []);
    this.#startHealthChecks();
    const { head, member, server } = this.#waiting;
    if (this.#head !== undefined) this.#flush(head);
    if (this.#readers.length > 0) this.#flush(member);
    if (server.size > 0) this.#flush(server);
    // Last: a connection that has just opened for a waiting call is not idle any more.
    if (this.#readers.length > 0) this.#closeOthers();
  }

  #flush(calls: Set<Call>): void {
    for (const call of calls) {
      const connection = this.#connectionFor(call);
      if (connection === undefined) continue;
      calls.delete(call);
      call.holder = undefined;
      handOver(call, connection);
    }
  }

  /** Connections to servers that are no members (any more) go when they have nothing to do. */
  #closeOthers(): void {
    for (const { connection } of this.#servers.values()) {
      if (connection?.isOpen === true && connection.isIdle) this.onIdle(connection);
    }
  }

  #startHealthChecks(): void {
    const check = (): void => {
      const now = runtime.monotonicMs();
      for (const server of this.#servers.values()) server.connection?.checkHealth(now);
    };
    this.#healthTimer ??= runtime.every(healthCheckMs, check, { keepsAlive: false });
  }
}

function handOver(call: Call, connection: ServerConnection): void {
  if (call.options.onRoute === undefined) connection.submit(call);
  else call.route(connection.address);
}

function isLastAttempt({ options: { target, isOneAttempt } }: Call, address: string): boolean {
  return isOneAttempt === true && target.kind === 'server' && target.address === address;
}

function closedError(): ClosedError {
  return new ClosedError('the client was closed');
}
