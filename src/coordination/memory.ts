/**
 * The coordination service in memory: nodes with versions, sessions, ephemerals in sequence, and the faults
 * of the real one on demand. For tests, the simulator, and servers that run without ZooKeeper. It has no
 * timers and no randomness: every hop of a message is a task given to the scheduler.
 *
 * Invariant: `/chain` changes only by a write that arrived, in order; with `onChainWritten` it is seen by
 * nobody before that resolved.
 */

import { CoordinationError } from '../errors.js';
import { soon } from '../runtime/runtime.js';
import type { ChainRead, Coordinator, WriteOutcome } from './coordinator.js';
import { chainRead, newClient, report, reportChain, reportServers } from './memory-client.js';
import type { Client, Loss, VersionedData, View } from './memory-client.js';
import {
  formatRegistration,
  parseNodeName,
  parseRegistration,
  planAnnouncement,
} from './registry.js';
import type { AnnouncementStep, ServerNode } from './registry.js';

export interface MemoryOptions {
  /** Runs the task later: a microtask by default, a random delay of virtual time in the simulator. */
  readonly schedule?: (task: () => void) => void;
  /** Whether a write that is under way when its sender dies or is cut off arrives all the same. Never by default. */
  readonly arrives?: () => boolean;
  /** `/chain` as it was kept from an earlier run. */
  readonly initialChain?: VersionedData;
  /** Keeps `/chain`; only then is it written. If this rejects, the outcome is unknown and the service stops. */
  readonly onChainWritten?: (data: string, version: number) => Promise<void>;
}

/** What `backup()` keeps and `restore()` brings back. */
export interface MemoryBackup {
  readonly chain: VersionedData | undefined;
  readonly sequence: number;
}

interface ChainWrite {
  readonly data: string;
  /** Undefined: create. */
  readonly version: number | undefined;
}

const sequenceDigits = 10;

export class MemoryCoordination {
  readonly #schedule: (task: () => void) => void;
  readonly #onChainWritten: MemoryOptions['onChainWritten'];
  readonly #arrives: () => boolean;
  readonly #clients = new Map<Coordinator, Client>();
  readonly #sessions = new Set<string>();
  /** Name -> node and the session that it ends with. */
  readonly #nodes = new Map<string, { data: string; session: string | undefined }>();
  #chain: VersionedData | undefined;
  #sequence = 0;
  #sessionCount = 0;
  #isRunning = true;
  #failure: unknown;
  /** Writes that are being kept, one after the other. */
  #keeping: Promise<void> = Promise.resolve();

  constructor(options: MemoryOptions = {}) {
    this.#schedule = options.schedule ?? soon;
    this.#onChainWritten = options.onChainWritten;
    this.#arrives = options.arrives ?? ((): boolean => false);
    this.#chain = options.initialChain;
  }

  /** A new coordinator. `readChain` rejects at once while the service is away: there is no timer to wait with. */
  coordinator(name = `client-${this.#clients.size}`): Coordinator {
    const client = newClient(name);
    const coordinator: Coordinator = {
      start: (listener) => {
        if (client.listener !== undefined) throw new Error('start() was called twice');
        client.listener = listener;
        this.#lookAgain(client);
      },
      announce: (registration) => {
        client.registration = registration;
        this.#lookAgain(client);
      },
      readChain: () => this.#read(client),
      createChain: (data) => this.#write(client, { data, version: undefined }),
      setChain: (data, version) => this.#write(client, { data, version }),
      close: () => this.#close(client),
    };
    this.#clients.set(coordinator, client);
    return coordinator;
  }

  // Faults. Those that take a coordinator concern it alone.

  /** The service is away. Sessions stay. */
  stop(): void {
    this.#isRunning = false;
    this.#changed();
  }

  start(): void {
    if (this.#failure !== undefined) throw this.#failure;
    this.#isRunning = true;
    this.#changed();
  }

  /** The link to the service is cut; the session stays until `expire`. */
  disconnect(coordinator: Coordinator): void {
    this.#clientOf(coordinator).isLinked = false;
    this.#changed();
  }

  reconnect(coordinator: Coordinator): void {
    this.#clientOf(coordinator).isLinked = true;
    this.#changed();
  }

  /** Its session ends at the service. It learns that when it is connected, and makes another. */
  expire(coordinator: Coordinator): void {
    const { session } = this.#clientOf(coordinator);
    if (session !== undefined) this.#endSession(session);
    this.#changed();
  }

  expireAll(): void {
    for (const session of this.#sessions) this.#endSession(session);
    this.#changed();
  }

  /** Its process is gone without a goodbye: it hears nothing more, its session stays until `expire`. */
  crash(coordinator: Coordinator): void {
    this.#clientOf(coordinator).isClosed = true;
  }

  /** The answer to its next write is lost, the write done or dropped. */
  loseNextAnswer(coordinator: Coordinator, write: 'done' | 'dropped'): void {
    this.#clientOf(coordinator).loss = { kind: write };
  }

  /** The answer to its next write is lost, and the write arrives when the returned function is called. */
  delayNextWrite(coordinator: Coordinator): () => void {
    const loss: Loss = { kind: 'late', arrived: undefined };
    this.#clientOf(coordinator).loss = loss;
    return () => {
      if (loss.arrived === undefined) throw new Error('there is no write under way to deliver');
      loss.arrived();
      loss.arrived = undefined;
    };
  }

  /** From now on it reads what is there now, whatever changes. */
  freezeReads(coordinator: Coordinator): void {
    this.#clientOf(coordinator).frozen = this.#view();
  }

  thawReads(coordinator: Coordinator): void {
    this.#clientOf(coordinator).frozen = undefined;
    this.#changed();
  }

  /** An operator's or a vandal's write, whatever the version. Controls like this one do not pass `onChainWritten`. */
  overwriteChain(data: string): void {
    this.#chain = { data, version: (this.#chain?.version ?? -1) + 1 };
    this.#changed();
  }

  deleteChain(): void {
    this.#chain = undefined;
    this.#changed();
  }

  /** Everything is gone, sessions too. */
  wipe(): void {
    this.restore({ chain: undefined, sequence: 0 });
  }

  backup(): MemoryBackup {
    return { chain: this.#chain, sequence: this.#sequence };
  }

  /** The service comes back with an older copy of itself. */
  restore(backup: MemoryBackup): void {
    this.#chain = backup.chain;
    this.#sequence = backup.sequence;
    this.#sessions.clear();
    this.#nodes.clear();
    this.#changed();
  }

  /** A node that belongs to nobody here. Returns its name. */
  addServerNode(data: string, guid = 'stranger'): string {
    return this.#addNode(guid, data, undefined);
  }

  removeServerNode(name: string): void {
    this.#nodes.delete(name);
    this.#changed();
  }

  serverNodes(): { name: string; data: string }[] {
    return [...this.#nodes].map(([name, { data }]) => ({ name, data }));
  }

  // Requests

  #read(client: Client): Promise<ChainRead> {
    return new Promise((resolve, reject) => {
      this.#schedule(() => {
        if (!this.#isReachable(client)) {
          const error = new CoordinationError(
            `${client.name} does not reach the service in memory`,
          );
          this.#schedule(() => reject(error));
          return;
        }
        const read = chainRead(this.#viewOf(client));
        this.#schedule(() => resolve(read));
      });
    });
  }

  #write(client: Client, write: ChainWrite): Promise<WriteOutcome> {
    return new Promise((resolve) => {
      const answer = (outcome: WriteOutcome): void => this.#schedule(() => resolve(outcome));
      if (!this.#isReachable(client)) {
        answer('unavailable');
        return;
      }
      const { loss } = client;
      client.loss = undefined;
      this.#schedule(() => {
        if (loss?.kind === 'late') loss.arrived = () => this.#apply(write, () => {});
        const arrives = this.#isReachable(client) || (this.#isRunning && this.#arrives());
        if (loss?.kind === 'late' || loss?.kind === 'dropped' || !arrives) {
          answer('unknown');
          return;
        }
        this.#apply(write, (outcome) => {
          answer(loss === undefined && this.#isReachable(client) ? outcome : 'unknown');
        });
      });
    });
  }

  #apply(write: ChainWrite, answer: (outcome: WriteOutcome) => void): void {
    if (this.#onChainWritten === undefined) {
      const next = this.#next(write);
      if (next !== undefined) this.#adopt(next);
      answer(next === undefined ? 'conflict' : 'done');
      return;
    }
    this.#keeping = this.#keeping.then(async () => answer(await this.#applyKept(write)));
  }

  async #applyKept(write: ChainWrite): Promise<WriteOutcome> {
    const next = this.#next(write);
    if (next === undefined) return 'conflict';
    if (this.#failure !== undefined) return 'unknown';
    try {
      await this.#onChainWritten?.(next.data, next.version);
    } catch (error) {
      // Nobody knows which of the two is kept now, so nobody may act on either.
      this.#failure = error;
      this.stop();
      return 'unknown';
    }
    this.#adopt(next);
    return 'done';
  }

  #next({ data, version }: ChainWrite): VersionedData | undefined {
    if (version !== this.#chain?.version) return undefined;
    return { data, version: version === undefined ? 0 : version + 1 };
  }

  #adopt(next: VersionedData): void {
    this.#chain = next;
    this.#changed();
  }

  async #close(client: Client): Promise<void> {
    if (client.isClosed) return;
    // Out of reach it cannot say goodbye.
    if (this.#isReachable(client) && client.session !== undefined) this.#endSession(client.session);
    client.isClosed = true;
    this.#changed();
  }

  // Sessions and nodes

  #openSession(client: Client): string {
    this.#sessionCount += 1;
    client.session = `${client.name}-${this.#sessionCount}`;
    this.#sessions.add(client.session);
    return client.session;
  }

  #endSession(session: string): void {
    this.#sessions.delete(session);
    for (const [name, node] of this.#nodes) if (node.session === session) this.#nodes.delete(name);
  }

  #addNode(guid: string, data: string, session: string | undefined): string {
    const name = `${guid}-${String(this.#sequence).padStart(sequenceDigits, '0')}`;
    this.#sequence = (this.#sequence + 1) | 0;
    this.#nodes.set(name, { data, session });
    this.#changed();
    return name;
  }

  #clientOf(coordinator: Coordinator): Client {
    const client = this.#clients.get(coordinator);
    if (client === undefined) throw new Error('that coordinator is of another service');
    return client;
  }

  #isReachable(client: Client): boolean {
    const { listener, isLinked, isClosed } = client;
    return this.#isRunning && isLinked && !isClosed && listener !== undefined;
  }

  #view(): View {
    const nodes: ServerNode[] = [];
    for (const [name, { data }] of this.#nodes) {
      const parsed = parseNodeName(name);
      if (parsed) nodes.push({ name, ...parsed, registration: parseRegistration(data) });
    }
    return { chain: this.#chain, nodes };
  }

  #viewOf(client: Client): View {
    return client.frozen ?? this.#view();
  }

  // What coordinators see

  #changed(): void {
    for (const client of this.#clients.values()) this.#lookAgain(client);
  }

  /** Like a watch: says that something changed, not what. The client then reads, so it never sees time go back. */
  #lookAgain(client: Client): void {
    if (client.isVisitScheduled || client.listener === undefined || client.isClosed) return;
    client.isVisitScheduled = true;
    this.#schedule(() => {
      client.isVisitScheduled = false;
      this.#visit(client);
    });
  }

  /** Each report may close, disconnect or announce, so reach is asked again after each. */
  #visit(client: Client): void {
    if (client.isClosed) return;
    if (!this.#isReachable(client)) {
      report(client, 'suspended');
      return;
    }
    if (client.session !== undefined && !this.#sessions.has(client.session)) {
      client.session = undefined;
      report(client, 'expired');
    }
    if (!this.#isReachable(client)) return;
    const session = client.session ?? this.#openSession(client);
    report(client, 'connected');
    if (this.#isReachable(client)) reportChain(client, chainRead(this.#viewOf(client)));
    if (this.#isReachable(client)) reportServers(client, this.#viewOf(client).nodes);
    if (this.#isReachable(client)) this.#keepAnnouncement(client, session);
  }

  /** On the true nodes, also while reads are frozen: the real one makes the service catch up first. */
  #keepAnnouncement(client: Client, session: string): void {
    const { registration, lastSequence } = client;
    if (registration === undefined || !this.#sessions.has(session)) return;
    const announcement = { guid: session, registration, lastSequence };
    const { steps, own } = planAnnouncement(this.#view().nodes, announcement);
    client.lastSequence = own?.sequence ?? lastSequence;
    for (const step of steps)
      this.#carryOut(client, session, step, formatRegistration(registration));
    if (steps.length > 0) this.#changed();
  }

  #carryOut(client: Client, session: string, step: AnnouncementStep, data: string): void {
    switch (step.kind) {
      case 'create': {
        const name = this.#addNode(session, data, session);
        client.lastSequence = parseNodeName(name)?.sequence ?? client.lastSequence;
        break;
      }
      case 'set':
        this.#nodes.set(step.name, { data, session });
        break;
      case 'delete':
        this.#nodes.delete(step.name);
        break;
    }
  }
}
