/**
 * Whether this server is the only live process with its serverId, as far as coordination can tell. Two live
 * ones mean that a data directory was copied: one of them would vote, and be counted, with the other's log.
 *
 * A registration alone proves no life: that of a dead process stays until its session has timed out, and may
 * even come late. One that outlasts any session timeout is kept alive by somebody.
 *
 * Invariant: of two live processes at least one halts, and not both: the later one yields first.
 */
import type { Registration } from '../coordination/coordinator.js';
import { InvariantError, RefusedToStartError } from '../errors.js';
import type { Core } from './core.js';

export class Identity {
  readonly #core: Core;
  #registered: readonly Registration[] = [];
  /** Another process with our serverId, and for how long it was seen without a gap. */
  #rival: Registration | undefined;
  #watchedMs = 0;
  #tickedAtMs: number | undefined;
  /** Whether coordination ever showed this process itself. */
  #wasRegistered = false;
  #isConnected = true;

  constructor(core: Core) {
    this.#core = core;
  }

  /** What was seen before a gap may be gone since: its time begins anew. */
  onSession(isConnected: boolean): void {
    this.#isConnected = isConnected;
    this.#watchedMs = 0;
  }

  onServers(servers: readonly Registration[]): void {
    const { serverId, incarnation } = this.#core.self;
    const namesakes = servers.filter((server) => server.serverId === serverId);
    const rival = namesakes.findLast((server) => server.incarnation !== incarnation);
    if (rival?.incarnation !== this.#rival?.incarnation) this.#watchedMs = 0;
    this.#registered = namesakes;
    this.#rival = rival;
    this.#wasRegistered ||= namesakes.some((server) => server.incarnation === incarnation);
  }

  /** A tick that is late proves nothing for the time before it: this process stood still. */
  onTick(): void {
    const { now, options } = this.#core;
    const passedMs = now.monotonicMs - (this.#tickedAtMs ?? now.monotonicMs);
    this.#tickedAtMs = now.monotonicMs;
    if (this.#rival === undefined || !this.#isConnected) return;
    this.#watchedMs += Math.min(passedMs, options.timing.beatMs);
    const patienceMs = options.timing.rivalMs * (this.#isOlder ? 2 : 1);
    if (this.#watchedMs > patienceMs) this.#yieldTo(this.#rival);
  }

  /** Registered, and before the rival: it is for the other one to go, and to go first. */
  get #isOlder(): boolean {
    const { incarnation } = this.#core.self;
    return this.#registered.findIndex((server) => server.incarnation === incarnation) === 0;
  }

  #yieldTo({ address }: Registration): void {
    const { serverId, address: own } = this.#core.self;
    const name = `server ${serverId.slice(0, 8)}`;
    const wayOut =
      'One of the two data directories is a copy of the other. Stop one of them for good; to make it a server ' +
      'of its own, start it with an empty data directory';
    this.#core.halt(
      this.#wasRegistered
        ? new InvariantError(
            `another live process, at ${address}, is ${name} as well as this one (${own}). ${wayOut}`,
          )
        : new RefusedToStartError(`${name} already runs at ${address}. ${wayOut}`),
    );
  }
}
