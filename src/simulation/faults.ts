/**
 * All kinds of faults, each as something that is done now, to what it draws, and ends by itself later. Which of them happens
 * when is the nemesis's business.
 *
 * Invariant: never more is broken than the promises allow: of the newest configuration one disk stays whole.
 */
import type { DiskTrouble, Host } from './host.js';
import type { Invariants } from './invariants.js';
import type { Network } from './network.js';
import type { Random } from './random.js';
import { type SimCoordination, sessionTimeoutMs } from './coordination.js';
import type { SimProcess } from './process.js';
import type { World } from './world.js';

export interface FaultParts {
  readonly world: World;
  readonly network: Network;
  readonly coordination: SimCoordination;
  readonly hosts: readonly Host[];
  readonly clients: readonly SimProcess[];
  readonly invariants: Invariants;
  readonly leaseMs: number;
}

/** No message to coordination is under way longer than this, unless it is a late write. */
const sureMs = 1_000;

export interface Fault {
  readonly kind: string;
  /** Does it now, to what it draws; false: there is nothing to do it to. */
  readonly strike: () => boolean;
}

export class Faults {
  readonly all: readonly Fault[];
  /** Of the present strike: what one draws changes nothing for the others, so that any can be left out. */
  random: Random;
  /** From then on nothing is damaged any more. */
  isOver = false;
  readonly #parts: FaultParts;
  /** A write to `/chain` that comes late may make a configuration of one member alone: its disk must last. */
  readonly #canLoseDisks: boolean;
  /**
   * Only the wall clock tells that a machine was suspended. That it is set back as well, by as much, is more than
   * leases can stand (docs/testing.md): a run has one or the other.
   */
  readonly #canSuspend: boolean;

  constructor(parts: FaultParts, random: Random) {
    this.#parts = parts;
    this.random = random;
    this.all = this.#allFaults();
    this.#canLoseDisks = random.chance(0.5);
    this.#canSuspend = random.chance(0.5);
  }

  #allFaults(): Fault[] {
    return [
      { kind: 'kill', strike: () => this.#crash('kill') },
      { kind: 'power cut', strike: () => this.#crash('power') },
      { kind: 'full outage', strike: () => this.#fullOutage() },
      { kind: 'outage at a disk operation', strike: () => this.#outageAtOperation() },
      { kind: 'crash at a disk operation', strike: () => this.#crashAtOperation() },
      { kind: 'stop', strike: () => this.#stop(false) },
      { kind: 'suspended machine', strike: () => this.#stop(true) },
      { kind: 'stopped client', strike: () => this.#stopClient() },
      { kind: 'wall clock', strike: () => this.#shiftWallClock() },
      { kind: 'blocked link', strike: () => this.#blockLink() },
      { kind: 'isolated server', strike: () => this.#isolate() },
      { kind: 'blocked client link', strike: () => this.#blockClient() },
      { kind: 'slow link', strike: () => this.#slowLink() },
      { kind: 'narrow link', strike: () => this.#narrowLink() },
      { kind: 'reset', strike: () => this.#reset() },
      { kind: 'wrong suspicion', strike: () => this.#suspectWrongly() },
      { kind: 'turned bits', strike: () => this.#flipOnLink() },
      { kind: 'slow disk', strike: () => this.#slowDisk() },
      { kind: 'disk error', strike: () => this.#diskError() },
      { kind: 'short write', strike: () => this.#shortWrite() },
      { kind: 'full disk', strike: () => this.#fullDisk() },
      { kind: 'damaged disk', strike: () => this.#damage() },
      { kind: 'new disk', strike: () => this.#reformat() },
      { kind: 'coordination away', strike: () => this.#coordinationAway() },
      { kind: 'slow coordination', strike: () => this.#slowCoordination() },
      { kind: 'cut from coordination', strike: () => this.#cutFromCoordination() },
      { kind: 'session expired', strike: () => this.#expire() },
      { kind: 'all sessions expired', strike: () => this.#expireAll() },
      { kind: 'stale reads of coordination', strike: () => this.#freezeReads() },
      { kind: 'lost answer of coordination', strike: () => this.#loseAnswer() },
      { kind: 'late write to coordination', strike: () => this.#delayWrite() },
      { kind: 'leave', strike: () => this.#leave() },
    ];
  }

  // Servers

  #crash(how: 'kill' | 'power'): boolean {
    const host = this.#anyRunning();
    if (host === undefined) return false;
    host.crash(how);
    this.#restartLater(host);
    return true;
  }

  #fullOutage(): boolean {
    const running = this.#running();
    if (running.length < 2) return false;
    const how = this.random.chance(0.5) ? 'power' : 'kill';
    for (const host of running) {
      host.crash(how);
      this.#restartLater(host);
    }
    return true;
  }

  /** Just before its n-th operation of the disk from now on takes effect, or just after. */
  #crashAtOperation(): boolean {
    const host = this.#anyRunning();
    if (host === undefined) return false;
    const how = this.random.chance(0.7) ? 'power' : 'kill';
    const random = this.random;
    this.#atOperation(host, () => {
      host.crash(how);
      this.#restartLater(host, random);
    });
    return true;
  }

  /** All lose power while one of them writes: what some have on disk, others have not. */
  #outageAtOperation(): boolean {
    const host = this.#anyRunning();
    if (host === undefined) return false;
    const backMs = this.random.between(5, 500);
    this.#atOperation(host, () => {
      for (const each of this.#running()) {
        each.crash('power');
        this.#parts.world.schedule(backMs, 'power is back', () => each.start());
      }
    });
    return true;
  }

  #atOperation(host: Host, act: () => void): void {
    const { process } = host;
    let count = 1 + this.random.below(30);
    const trouble: DiskTrouble = () => {
      count -= 1;
      if (count > 0 && host.process === process) return undefined;
      host.troubles.delete(trouble);
      if (host.process === process) act();
      return undefined;
    };
    host.troubles.add(trouble);
  }

  #stop(suspended: boolean): boolean {
    const host = this.#anyRunning();
    if (host === undefined || (suspended && !this.#canSuspend)) return false;
    const { leaseMs } = this.#parts;
    const factor = this.random.pick([0.5, 1, 3]);
    host.stop(leaseMs * factor * this.random.between(0.8, 1.3), suspended);
    return true;
  }

  #stopClient(): boolean {
    const client = this.random.pick(this.#parts.clients);
    client.stop(this.random.between(50, 2_000), false);
    return true;
  }

  #shiftWallClock(): boolean {
    const host = this.#anyRunning();
    if (host === undefined) return false;
    const ms = this.random.between(this.#canSuspend ? 0 : -600_000, 600_000);
    host.process?.shiftWallClock(ms);
    this.#say(`the wall clock of ${host.name} jumps by ${ms.toFixed(0)} ms`);
    return true;
  }

  #leave(): boolean {
    const host = this.#anyRunning();
    if (host === undefined || host.isLeaving || this.#running().length < 2) return false;
    host.leave();
    return true;
  }

  // Network

  #blockLink(): boolean {
    const [a, b] = this.#two();
    return this.#blockFor([[a.ip, b.ip]]);
  }

  #isolate(): boolean {
    const host = this.random.pick(this.#parts.hosts);
    const others = [
      ...this.#parts.hosts.map(({ ip }) => ip),
      ...(this.random.chance(0.5) ? this.#parts.clients.map((client) => client.host) : []),
    ].filter((ip) => ip !== host.ip);
    return this.#blockFor(others.flatMap((ip) => [[host.ip, ip] as const, [ip, host.ip] as const]));
  }

  #blockClient(): boolean {
    const client = this.random.pick(this.#parts.clients);
    const host = this.random.pick(this.#parts.hosts);
    const both = this.random.shuffled([
      [client.host, host.ip],
      [host.ip, client.host],
    ] as const);
    return this.#blockFor(this.random.chance(0.5) ? both : both.slice(1));
  }

  #blockFor(links: readonly (readonly [string, string])[]): boolean {
    const { network } = this.#parts;
    for (const [source, target] of links) network.setBlocked(source, target, true);
    this.#say(`blocks ${links.map((link) => link.join('>')).join(' ')}`);
    const order = this.random.shuffled(links);
    this.#endLater('open links', () => {
      for (const [source, target] of order) {
        network.setBlocked(source, target, false);
      }
    });
    return true;
  }

  #slowLink(): boolean {
    const [a, b] = this.#two();
    const link = this.#parts.network.link(a.ip, b.ip);
    link.delayMsMin = this.random.between(1, 100);
    link.delayMsMax = link.delayMsMin + this.random.between(0, 400);
    this.#say(`${link.name} takes ${link.delayMsMin.toFixed(0)}-${link.delayMsMax.toFixed(0)} ms`);
    this.#endLater('fast link', () => {
      link.delayMsMin = 0.05;
      link.delayMsMax = 0.3;
    });
    return true;
  }

  #narrowLink(): boolean {
    const [a, b] = this.#two();
    const link = this.#parts.network.link(a.ip, b.ip);
    link.bytesPerMs = 8;
    this.#say(`${link.name} takes 8 bytes/ms`);
    this.#endLater('wide link', () => {
      link.bytesPerMs = Number.POSITIVE_INFINITY;
    });
    return true;
  }

  #reset(): boolean {
    const [a, b] = this.#two();
    const { network, clients } = this.#parts;
    const other = this.random.chance(0.3) ? this.random.pick(clients).host : b.ip;
    this.#say(`resets what is between ${a.ip} and ${other}`);
    return network.resetBetween(a.ip, other) > 0;
  }

  /** Connections are reset, and new ones refused for a moment: a neighbour that lives is taken for dead. */
  #suspectWrongly(): boolean {
    const [a, b] = this.#two();
    const { network } = this.#parts;
    network.setRefused(a.ip, b.ip, true);
    this.#say(`${a.ip} finds nobody at ${b.ip}`);
    this.#endLater('finds it again', () => network.setRefused(a.ip, b.ip, false));
    return network.resetBetween(a.ip, b.ip) > 0;
  }

  #flipOnLink(): boolean {
    const [a, b] = this.#two();
    const link = this.#parts.network.link(a.ip, b.ip);
    link.flipChance = this.random.pick([0.02, 0.3]);
    this.#endLater('clean link', () => {
      link.flipChance = 0;
    });
    return true;
  }

  // Disks

  #slowDisk(): boolean {
    const host = this.random.pick(this.#parts.hosts);
    host.diskMsMax = this.random.pick([10, 100, 1_000]);
    this.#say(`the disk of ${host.name} takes up to ${host.diskMsMax} ms`);
    this.#endLater('fast disk', () => {
      host.diskMsMax = 0.4;
    });
    return true;
  }

  #diskError(): boolean {
    const host = this.#anyRunning();
    if (host === undefined) return false;
    const { kind, code } = this.random.pick(errorCodes);
    this.#oneTrouble(host, kind, () => ({ error: code }));
    return true;
  }

  #shortWrite(): boolean {
    const host = this.#anyRunning();
    if (host === undefined) return false;
    const random = this.random;
    this.#oneTrouble(host, 'write', (length) => ({ bytes: Math.max(1, random.below(length)) }));
    return true;
  }

  /** The next operation of this kind has that trouble. */
  #oneTrouble(
    host: Host,
    kind: string,
    trouble: (length: number) => { readonly error?: string; readonly bytes?: number },
  ): void {
    const { process } = host;
    const one: DiskTrouble = (operation) => {
      if (host.process !== process) host.troubles.delete(one);
      if (operation.kind !== kind || host.process !== process) return undefined;
      host.troubles.delete(one);
      const found = trouble(operation.length ?? 1);
      this.#say(`${host.name}: ${operation.kind} of ${operation.path}: ${JSON.stringify(found)}`);
      return found;
    };
    host.troubles.add(one);
  }

  #fullDisk(): boolean {
    const host = this.#anyRunning();
    if (host === undefined) return false;
    const random = this.random;
    const full: DiskTrouble = (operation) =>
      operation.kind === 'write' && random.chance(0.5)
        ? { error: 'ENOSPC', bytes: random.below(operation.length ?? 1) }
        : undefined;
    host.disk.free = 0;
    host.troubles.add(full);
    this.#say(`the disk of ${host.name} is full`);
    this.#endLater('room on the disk', () => {
      host.disk.free = Number.MAX_SAFE_INTEGER;
      host.troubles.delete(full);
    });
    return true;
  }

  #damage(): boolean {
    return this.#whileDown((host) => {
      const paths = host.disk.paths().filter((path) => !path.includes('.damaged-'));
      if (paths.length === 0) return;
      const path = this.random.pick(paths);
      const { length } = host.disk.contents(path);
      if (length === 0) return;
      this.#lose(host);
      host.disk.flipBit(path, this.random.below(length * 8));
      this.#say(`a bit rots in ${path} of ${host.name}`);
    });
  }

  #reformat(): boolean {
    return this.#whileDown((host) => {
      this.#lose(host);
      host.reformat();
    });
  }

  /** Takes a server down long enough to know what it leaves behind, and does that to its disk if nobody needs it. */
  #whileDown(act: (host: Host) => void): boolean {
    const host = this.#anyRunning();
    if (host === undefined || !this.#isExpendable(host)) return false;
    const { world } = this.#parts;
    host.crash('power');
    world.schedule(sureMs + 50, 'its disk', () => {
      if (!this.isOver && !host.isRunning && this.#isExpendable(host)) act(host);
      host.start();
    });
    return true;
  }

  #lose(host: Host): void {
    const serverId = this.#parts.invariants.serverIdOf(host);
    if (serverId !== undefined) this.#parts.invariants.lostDisks.add(serverId);
  }

  /** Another member's disk is whole, and so are those of all members. */
  #isExpendable(host: Host): boolean {
    if (!this.#canLoseDisks) return false;
    const { invariants, world } = this.#parts;
    const members = (invariants.chain?.members ?? []).map(({ serverId }) => serverId);
    if (members.some((serverId) => invariants.lostDisks.has(serverId))) return false;
    // What it may have asked of coordination before it died has arrived.
    if (!host.isRunning && world.nowMs - host.downSinceMs < sureMs) return false;
    const serverId = invariants.serverIdOf(host);
    return serverId !== undefined && members.some((member) => member !== serverId);
  }

  // Coordination

  #coordinationAway(): boolean {
    const { service } = this.#parts.coordination;
    service.stop();
    this.#say('coordination is away');
    this.#endLater('coordination is back', () => service.start());
    return true;
  }

  #slowCoordination(): boolean {
    const { coordination } = this.#parts;
    coordination.latencyMsMax = this.random.pick([20, 300]);
    this.#say(`coordination takes up to ${coordination.latencyMsMax} ms`);
    this.#endLater('coordination is fast', () => {
      coordination.latencyMsMax = 2;
    });
    return true;
  }

  #cutFromCoordination(): boolean {
    const process = this.#anyRunning()?.process;
    if (process === undefined) return false;
    const { coordination, world } = this.#parts;
    coordination.disconnect(process);
    this.#say(`${process.name} is cut from coordination`);
    const ms = this.random.between(50, 2_200);
    if (ms > sessionTimeoutMs) {
      world.schedule(sessionTimeoutMs, 'session of a cut process ends', () =>
        coordination.expire(process),
      );
    }
    world.schedule(ms, 'coordination again', () => coordination.reconnect(process));
    return true;
  }

  #expire(): boolean {
    const process = this.#anyRunning()?.process;
    if (process === undefined) return false;
    this.#say(`the session of ${process.name} expires`);
    this.#parts.coordination.expire(process);
    return true;
  }

  #expireAll(): boolean {
    this.#say('all sessions expire');
    this.#parts.coordination.service.expireAll();
    return true;
  }

  #freezeReads(): boolean {
    const host = this.#anyRunning();
    const process = host?.process;
    if (host === undefined || process === undefined) return false;
    const { coordination } = this.#parts;
    host.hadStaleReads = true;
    coordination.freezeReads(process);
    this.#say(`${process.name} reads what coordination holds now, and nothing newer`);
    this.#endLater('fresh reads', () => coordination.thawReads(process));
    return true;
  }

  #loseAnswer(): boolean {
    const process = this.#anyRunning()?.process;
    if (process === undefined) return false;
    this.#parts.coordination.loseNextAnswer(process, this.random.pick(['done', 'dropped']));
    return true;
  }

  #delayWrite(): boolean {
    const process = this.#anyRunning()?.process;
    if (process === undefined || this.#canLoseDisks) return false;
    this.#parts.coordination.delayNextWrite(process, this.random.between(10, 2_000));
    return true;
  }

  // Help

  #running(): Host[] {
    return this.#parts.hosts.filter(({ isRunning }) => isRunning);
  }

  #anyRunning(): Host | undefined {
    const running = this.#running();
    return running.length === 0 ? undefined : this.random.pick(running);
  }

  #two(): [Host, Host] {
    const [a, b] = this.random.shuffled(this.#parts.hosts);
    return [a as Host, b as Host];
  }

  #restartLater(host: Host, random = this.random): void {
    const ms = random.pick([5, 100, 400, 1_400]) * random.between(0.5, 1.5);
    this.#parts.world.schedule(ms, 'restart', () => host.start());
  }

  #endLater(label: string, end: () => void): void {
    const ms = this.random.pick([30, 250, 700, 1_400]) * this.random.between(0.5, 1.5);
    this.#parts.world.schedule(ms, label, end);
  }

  #say(what: string): void {
    const { world } = this.#parts;
    world.trace.say(world.nowMs, 'fault', what);
  }
}

/** What a failing disk says, and to which operation. */
const errorCodes: readonly { readonly kind: string; readonly code: string }[] = [
  { kind: 'write', code: 'EIO' },
  { kind: 'sync', code: 'EIO' },
  { kind: 'read', code: 'EIO' },
  { kind: 'sync-directory', code: 'EIO' },
  { kind: 'open', code: 'EMFILE' },
  { kind: 'rename', code: 'EIO' },
];
