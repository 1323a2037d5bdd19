/**
 * Which members this server believes dead (R2), and since when. Evidence only, never proof: a wrong
 * suspicion costs a rejoin, not a write.
 *
 * A neighbour is suspected when it is silent in this epoch, or refuses connections; any member when
 * its znode is gone, unless a valid lease shows that it was there a moment ago; and a listed
 * incarnation is known dead when another one of the same server shows up.
 */
import { type Member, sameMember } from '../coordination/configuration.js';
import type { Registration } from '../coordination/coordinator.js';
import { standingOf } from '../coordination/membership.js';
import type { Core } from './core.js';

export interface Suspect {
  readonly member: Member;
  readonly reason: string;
}

export class Suspicion {
  readonly #core: Core;
  #registered: readonly Registration[] | undefined;
  /** When the neighbours were last heard of, by serverId; set at adoption, so that both get their time. */
  readonly #heardAtMs = new Map<string, number>();
  readonly #refused = new Set<string>();
  readonly #goneSinceMs = new Map<string, number>();
  /**
   * Incarnations known to have been replaced: no lease of theirs can be alive (R9). Only from a
   * handshake with their successor at their address. The registry does not count here: an old read
   * of it may show the incarnation BEFORE the listed one, whose lease is very much alive.
   */
  readonly #replaced = new Set<string>();
  #tickedAtMs: number | undefined;

  constructor(core: Core) {
    this.#core = core;
  }

  /** Undefined until the registry has been read once. */
  get registered(): readonly Registration[] | undefined {
    return this.#registered;
  }

  onAdopted(): void {
    this.#heardAtMs.clear();
    this.#refused.clear();
    this.#goneSinceMs.clear();
    for (const member of [this.#core.predecessor, this.#core.successor]) {
      if (member !== undefined) this.#heardAtMs.set(member.serverId, this.#core.now.monotonicMs);
    }
    // The same registry is not reported twice: who is gone in it counts from now on.
    if (this.#registered !== undefined) this.onServers(this.#registered);
  }

  /**
   * What was not heard while this process itself stood still (suspended, stopped, a long pause) lies
   * in its sockets' buffers: that time is not silence.
   */
  onTick(): void {
    const { now, options } = this.#core;
    const pausedMs = now.monotonicMs - (this.#tickedAtMs ?? now.monotonicMs);
    this.#tickedAtMs = now.monotonicMs;
    if (pausedMs <= options.timing.silenceMs / 2) return;
    for (const [serverId, heardAtMs] of this.#heardAtMs) {
      this.#heardAtMs.set(serverId, Math.min(heardAtMs + pausedMs, now.monotonicMs));
    }
    for (const [serverId, sinceMs] of this.#goneSinceMs) {
      this.#goneSinceMs.set(serverId, Math.min(sinceMs + pausedMs, now.monotonicMs));
    }
  }

  onServers(servers: readonly Registration[]): void {
    this.#registered = servers;
    for (const member of this.#core.configuration?.members ?? []) {
      if (standingOf(member, servers) === 'alive') this.#goneSinceMs.delete(member.serverId);
      else if (!this.#goneSinceMs.has(member.serverId)) {
        this.#goneSinceMs.set(member.serverId, this.#core.now.monotonicMs);
      }
    }
  }

  onHeard(serverId: string): void {
    if (this.#heardAtMs.has(serverId)) this.#heardAtMs.set(serverId, this.#core.now.monotonicMs);
    this.#refused.delete(serverId);
  }

  onDialFailed(target: Member, why: 'refused' | 'replaced' | 'unreachable'): void {
    if (why === 'replaced') this.#replaced.add(target.incarnation);
    const { predecessor, successor } = this.#core;
    // A late answer about an earlier incarnation says nothing about the one that is listed now.
    const isNeighbour = [predecessor, successor].some(
      (neighbour) => neighbour !== undefined && sameMember(neighbour, target),
    );
    if (why === 'refused' && isNeighbour) this.#refused.add(target.serverId);
  }

  /** Known to have restarted: its leases died with its process. */
  isReplaced(member: Member): boolean {
    return this.#replaced.has(member.incarnation);
  }

  /** The members to remove now. `isProven`: everyone was heard of within a lease. */
  suspects(isProven: boolean): Suspect[] {
    const { configuration, self } = this.#core;
    const suspects: Suspect[] = [];
    for (const member of configuration?.members ?? []) {
      if (sameMember(member, self)) continue;
      const reason = this.#reasonAgainst(member, isProven);
      if (reason !== undefined) suspects.push({ member, reason });
    }
    return suspects;
  }

  #reasonAgainst(member: Member, isProven: boolean): string | undefined {
    const { now, options } = this.#core;
    const { silenceMs, goneMs } = options.timing;
    if (this.isReplaced(member)) return 'restarted';
    const heardAtMs = this.#heardAtMs.get(member.serverId);
    if (heardAtMs !== undefined) {
      if (this.#refused.has(member.serverId)) return 'refuses connections';
      const silentMs = now.monotonicMs - heardAtMs;
      if (silentMs > silenceMs) return `silent for ${Math.round(silentMs)} ms`;
    }
    const goneSinceMs = this.#goneSinceMs.get(member.serverId);
    if (goneSinceMs === undefined || isProven) return undefined;
    // Members try in chain order, each a little later, so that they do not all write at once.
    const place = configurationPlace(this.#core);
    if (now.monotonicMs - goneSinceMs <= goneMs * (1 + place)) return undefined;
    const isBack = standingOf(member, this.#registered ?? []) === 'restarted';
    return isBack ? 'restarted' : 'its znode is gone';
  }
}

function configurationPlace(core: Core): number {
  const members = core.configuration?.members ?? [];
  return Math.max(
    members.findIndex((member) => sameMember(member, core.self)),
    0,
  );
}
