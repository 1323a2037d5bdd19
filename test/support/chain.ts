/**
 * A whole cluster in memory, driven by the test one event at a time: replicas, disks, network,
 * coordinator, clocks, clients, and the checks that run after every event. Nothing happens by itself,
 * except in `settle`, which delivers all that can be delivered and lets time pass in small steps.
 */
import type { Member } from '../../src/coordination/configuration.js';
import type { Effect, Event, LinkId } from '../../src/replica/events.js';
import type { PeerMessage } from '../../src/replica/messages.js';
import {
  ChainChecks,
  type ClientReadRecord,
  type ClientWriteRecord,
  must,
} from './chain-checks.js';
import { type Proposal, SimCoordinator } from './chain-coordinator.js';
import { anyKey, copyTable, decoded, SimDisk } from './chain-disk.js';
import { type Connection, type End, SimNetwork } from './chain-network.js';
import { SimProcess, type SimRead, type SimWrite } from './chain-process.js';
import { formatChain } from './chain-trace.js';

export interface ChainWorldOptions {
  readonly replicas: number;
  readonly minReplicas: number;
  readonly leaseMs: number;
  readonly reviveGraceMs: number;
  /** Whether acks and commits leave after each event, or when the test ends the turn. */
  readonly turnEnds: 'at once' | 'when told';
}

const redialMs = 20;
const tickMs = 10;

export class ChainWorld {
  readonly options: ChainWorldOptions;
  readonly disks = new Map<string, SimDisk>();
  /** The newest process of each server. */
  readonly processes = new Map<string, SimProcess>();
  readonly network = new SimNetwork();
  readonly coordinator = new SimCoordinator();
  readonly checks = new ChainChecks();
  readonly writes: ClientWriteRecord[] = [];
  readonly reads: ClientReadRecord[] = [];
  readonly lines: string[] = [];
  traced = true;
  nowMs = 0;
  /** A halt fails the run unless its server is named here. */
  readonly mayHalt = new Set<string>();
  /** Proposals wait for `settleProposals` instead of being decided in `flush`. */
  holdProposals = false;
  /** Disks sync only when told, also in `flush`. */
  readonly slowDisks = new Set<string>();
  readonly #incarnations = new Map<string, number>();

  constructor(options: Partial<ChainWorldOptions> = {}) {
    this.options = {
      replicas: 3,
      minReplicas: 1,
      leaseMs: 500,
      reviveGraceMs: 2_000,
      turnEnds: 'at once',
      ...options,
    };
    this.coordinator.onChange = (what) => {
      const { chainWatches, registryWatches } = this.coordinator;
      const waiting = what === 'chain' ? chainWatches : registryWatches;
      for (const process of this.processes.values()) if (process.running) waiting.add(process.name);
    };
  }

  log(line: string): void {
    if (this.traced) this.lines.push(`${String(Math.round(this.nowMs)).padStart(6)}  ${line}`);
  }

  say(text: string): void {
    this.log(`# ${text}`);
  }

  at(server: string): SimProcess {
    const process = this.processes.get(server);
    if (process === undefined) throw new Error(`${server} was never started`);
    return process;
  }

  byName(name: string): SimProcess | undefined {
    for (const process of this.processes.values()) if (process.name === name) return process;
    return undefined;
  }

  /** A process of this server starts, on what its disk holds. */
  start(server: string): SimProcess {
    const number = (this.#incarnations.get(server) ?? 0) + 1;
    this.#incarnations.set(server, number);
    const disk = this.disks.get(server) ?? new SimDisk();
    this.disks.set(server, disk);
    const member: Member = { serverId: server, incarnation: `${server}${number}`, address: server };
    this.log(`# ${member.incarnation} starts, log ${disk.text}`);
    const process = new SimProcess(this, member, disk);
    this.processes.set(server, process);
    this.coordinator.register({ ...member, state: 'learner' });
    this.coordinator.chainWatches.add(process.name);
    this.coordinator.registryWatches.add(process.name);
    return process;
  }

  /** kill -9: what it sent still arrives, then its connections are closed. */
  crash(server: string, kept = 0): void {
    const process = this.at(server);
    if (!process.running) return;
    process.running = false;
    process.disk.crash(process.disk.isFull ? 0 : kept);
    this.log(`# ${process.name} crashes, log ${process.disk.text}`);
    for (const record of this.writes) {
      if (record.state === 'sent' && record.name.startsWith(`${process.name}/`)) {
        record.state = 'unknown';
      }
    }
    for (const connection of this.network.connections) {
      for (const end of [connection.dialer, connection.acceptor]) {
        if (end.process === process.name) this.network.close(connection, end);
      }
    }
  }

  expire(server: string): void {
    this.log(`# the session of ${this.at(server).name} expires`);
    this.coordinator.expire(this.at(server).name);
  }

  leave(server: string): void {
    this.at(server).handle({ kind: 'leave' });
  }

  /** There is no room on its disk until its process has ended. */
  fillDisk(server: string): void {
    const process = this.at(server);
    process.disk.isFull = true;
    process.handle({ kind: 'disk-full' });
  }

  write(server: string, ...keys: number[]): ClientWriteRecord[] {
    const process = this.at(server);
    const writes: SimWrite[] = keys.map((key) => {
      const name = `${process.name}/w${this.writes.length}`;
      const record: ClientWriteRecord = { name, key, state: 'sent' };
      this.writes.push(record);
      const value = new TextEncoder().encode(`w${this.writes.length - 1}`);
      return { op: { kind: 'put', key: Uint8Array.of(key), value }, keyHash: key, record };
    });
    process.handle({ kind: 'writes', writes });
    return writes.map(({ record }) => record);
  }

  read(server: string, scope: number | 'all'): ClientReadRecord {
    const process = this.at(server);
    const key = scope === 'all' ? anyKey : scope;
    const name = `${process.name}/r${this.reads.length}`;
    const atLeast = this.checks.seen(key);
    const record: ClientReadRecord = { name, scope: key, atLeast, state: 'sent', value: -1 };
    this.reads.push(record);
    const read: SimRead = { scope, record };
    process.handle({ kind: 'reads', reads: [read] });
    return record;
  }

  verify(server: string, write: ClientWriteRecord): string {
    const { replica } = this.at(server);
    if (write.id === undefined) return 'unknown';
    const answer = replica.verify(write.id.epoch, write.id.seq);
    this.checks.onVerified(write, answer);
    return answer;
  }

  /** Delivers the next packet of this end. */
  deliver(connection: Connection, end: End): void {
    const packet = end.incoming.shift();
    const process = this.byName(end.process);
    if (packet === undefined || process === undefined || !process.running) return;
    const { link } = end;
    const other = this.network.otherEnd(connection, end);
    switch (packet.kind) {
      case 'open':
        if (connection.target.incarnation !== process.name) {
          if (other.open) other.incoming.push({ kind: 'wrong' });
          end.open = false;
          return;
        }
        end.up = true;
        if (other.open) other.incoming.push({ kind: 'opened' });
        process.handle({ kind: 'link-up', link, peer: peerOfEnd(other), dialed: false });
        return;
      case 'opened':
        end.up = true;
        process.handle({ kind: 'link-up', link, peer: peerOfEnd(other), dialed: true });
        return;
      case 'wrong':
        this.network.close(connection, end);
        process.redialAtMs = this.nowMs + redialMs;
        process.handle({ kind: 'dial-failed', target: connection.target, why: 'replaced' });
        return;
      case 'message':
        process.handle({ kind: 'message', link, message: decodedMessage(packet.message) });
        return;
      case 'snapshot-begin':
        process.handle({ kind: 'snapshot-begun', link, runs: packet.runs });
        return;
      case 'snapshot-end':
        if (process.replica.role === 'halted' || process.disk.isFull) return;
        process.disk.install(packet.runs, packet.table);
        process.table = copyTable(packet.table);
        process.handle({ kind: 'snapshot-installed', link, runs: packet.runs });
        return;
      case 'closed':
        this.closeEnd(process, link);
    }
  }

  /** This end is over, whoever ended it; its process is told. */
  closeEnd(process: SimProcess, link: LinkId): void {
    const found = this.network.find(process.name, link);
    if (found === undefined || !found.end.open) return;
    this.network.close(found.connection, found.end);
    if (found.end === found.connection.dialer) process.redialAtMs = this.nowMs + redialMs;
    if (found.end.up) process.inbox.push({ kind: 'link-down', link });
  }

  /** Breaks the connections of a pair: neither side gets what was under way. */
  breakLinks(a: string, b: string): void {
    for (const connection of this.network.connections) {
      const { dialer, acceptor } = connection;
      if (!isPair(connection, a, b)) continue;
      this.log(`# the link ${dialer.process}-${acceptor.process} breaks`);
      for (const end of [dialer, acceptor]) {
        const process = this.byName(end.process);
        end.incoming.length = 0;
        if (process !== undefined) this.closeEnd(process, end.link);
        end.incoming.length = 0;
      }
    }
  }

  /** Opens the connection that this process wants, if it has none. */
  dial(process: SimProcess): boolean {
    const { dialTarget: target } = process;
    if (!process.isLive || target === undefined || process.redialAtMs > this.nowMs) return false;
    const connected = this.network.connections.some(
      ({ dialer, target: other }) =>
        dialer.open && dialer.process === process.name && other.incarnation === target.incarnation,
    );
    if (connected || this.network.isBlocked(process.server, target.serverId)) return false;
    const listener = this.processes.get(target.serverId);
    if (listener === undefined || !listener.running) {
      process.redialAtMs = this.nowMs + redialMs;
      process.handle({ kind: 'dial-failed', target, why: 'refused' });
      return true;
    }
    this.network.connect(process.server, process.name, target, listener.name);
    return true;
  }

  dropDialed(process: SimProcess): void {
    for (const connection of this.network.connections) {
      if (connection.dialer.process !== process.name || !connection.dialer.open) continue;
      if (connection.target.incarnation === process.dialTarget?.incarnation) continue;
      this.closeEnd(process, connection.dialer.link);
      process.redialAtMs = 0;
    }
  }

  probe(process: SimProcess, target: Member): void {
    const listener = this.processes.get(target.serverId);
    if (this.network.isBlocked(process.server, target.serverId) || listener?.running === true)
      return;
    process.inbox.push({ kind: 'dial-failed', target, why: 'refused' });
  }

  propose(process: SimProcess, effect: Effect & { kind: 'propose' }): void {
    const { coordinator } = this;
    const read = coordinator.read();
    if (!coordinator.reachable(process.server)) {
      process.inbox.push({ kind: 'proposed', outcome: 'unavailable' });
    } else if (effect.confirm && (read.kind !== 'found' || read.version !== effect.version)) {
      process.inbox.push({ kind: 'proposed', outcome: 'conflict' });
    } else {
      coordinator.propose(process.name, effect.configuration, effect.version);
    }
  }

  land(proposal: Proposal): void {
    this.coordinator.land(proposal);
    const { configuration, process, outcome } = proposal;
    this.log(`# /chain: ${process}'s ${formatChain(configuration)} ${outcome}`);
    this.check();
  }

  answer(proposal: Proposal, lost = false): void {
    const outcome = this.coordinator.answer(proposal, lost);
    const process = this.byName(proposal.process);
    if (process?.running === true) process.inbox.push({ kind: 'proposed', outcome });
  }

  /** `back`: how many versions old what it reads is. */
  tellChain(process: SimProcess, back = 0): void {
    this.coordinator.chainWatches.delete(process.name);
    this.coordinator.reads.delete(process.name);
    process.handle({ kind: 'chain', reading: this.coordinator.read(back) });
  }

  tellServers(process: SimProcess, back = 0): void {
    this.coordinator.registryWatches.delete(process.name);
    process.handle({ kind: 'servers', servers: this.coordinator.servers(back) });
  }

  handleInbox(process: SimProcess): boolean {
    const event: Event | undefined = process.inbox.shift();
    if (event !== undefined) process.handle(event);
    return event !== undefined;
  }

  tick(process: SimProcess): void {
    if (process.isLive) process.handle({ kind: 'tick' });
  }

  advance(ms: number): void {
    this.nowMs += ms;
    for (const process of this.processes.values()) this.tick(process);
  }

  /** Delivers everything that can be delivered, until nothing is left. */
  flush(): void {
    for (let round = 0; round < 10_000; round++) if (!this.#flushOnce()) return;
    throw new Error('the cluster never comes to rest');
  }

  #flushOnce(): boolean {
    let moved = false;
    for (const process of this.processes.values()) {
      if (!process.isLive) continue;
      if (this.dial(process)) moved = true;
      while (process.isLive && this.handleInbox(process)) moved = true;
      if (process.turnEndDue) {
        process.endTurn();
        moved = true;
      }
      if (this.slowDisks.has(process.server) || process.disk.isFull) continue;
      if (process.disk.persisting !== undefined) moved = true;
      process.persist();
      if (process.disk.waiting > 0) moved = true;
      process.sync();
    }
    for (const { connection, end } of this.network.deliverable()) {
      const process = this.byName(end.process);
      if (process === undefined || !process.isLive || end.incoming.length === 0) continue;
      this.deliver(connection, end);
      moved = true;
    }
    return this.#flushCoordinator() || moved;
  }

  #flushCoordinator(): boolean {
    const { coordinator } = this;
    let moved = false;
    for (const process of this.processes.values()) {
      if (!process.isLive || !coordinator.reachable(process.server)) continue;
      if (!this.holdProposals) {
        for (const proposal of coordinator.proposals) {
          if (proposal.process !== process.name || proposal.answered) continue;
          this.land(proposal);
          this.answer(proposal);
          moved = true;
        }
      }
      if (coordinator.registryWatches.has(process.name)) {
        this.tellServers(process);
        moved = true;
      }
      if (coordinator.chainWatches.has(process.name) || coordinator.reads.has(process.name)) {
        this.tellChain(process);
        moved = true;
      }
    }
    return moved;
  }

  /** Lets the cluster run by itself until `until`, or for `ms`. Returns whether `until` came true. */
  settle(ms: number, until: () => boolean = () => false): boolean {
    const endMs = this.nowMs + ms;
    for (;;) {
      this.flush();
      if (until()) return true;
      if (this.nowMs >= endMs) return false;
      this.advance(tickMs);
    }
  }

  /** What must hold at every moment. */
  check(): void {
    this.checks.checkDurable(this.coordinator.configuration, this.disks);
    const index = this.checks.committed.length - 1;
    for (const process of this.processes.values()) {
      if (!process.running) continue;
      const { role, commitSeq, leaseHolds } = process.replica.status(process.now);
      if (role === 'learner' || role === 'halted') continue;
      must(
        commitSeq <= process.disk.sync(0),
        `${process.name} counts ${commitSeq} as committed, which is not on its disk`,
      );
      if (index < 0 || !leaseHolds) continue;
      must(
        process.disk.viewId(index) === this.checks.committed[index],
        `${process.name} has a lease, but lacks ${this.checks.committed[index]}`,
      );
    }
  }

  onHalt(process: SimProcess, reason: string): void {
    process.running = false;
    process.disk.crash(0);
    must(this.mayHalt.has(process.server), `${process.name} halts: ${reason}`);
    for (const connection of this.network.connections) {
      for (const end of [connection.dialer, connection.acceptor]) {
        if (end.process === process.name) this.network.close(connection, end);
      }
    }
  }

  /** Whose link it is, at the other end. */
  peerOf(process: string, link: LinkId): string {
    const found = this.network.find(process, link);
    return found === undefined ? '?' : this.network.otherEnd(found.connection, found.end).process;
  }
}

export function isPair({ dialer, acceptor }: Connection, a: string, b: string): boolean {
  return (
    (dialer.server === a && acceptor.server === b) || (dialer.server === b && acceptor.server === a)
  );
}

function peerOfEnd(end: End): { serverId: string; incarnation: string } {
  return { serverId: end.server, incarnation: end.process };
}

/** As the other side decodes it: entries are made anew from their records. */
function decodedMessage(message: PeerMessage): PeerMessage {
  const { body } = message;
  if (body.kind !== 'append') return message;
  return { ...message, body: { ...body, entry: decoded(body.entry) } };
}
