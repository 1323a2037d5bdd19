/**
 * A seeded random walk over a simulated cluster: every possible next step, faults included, is drawn by
 * weight; the checks run after each. Then everything is healed, and the cluster must become a full chain
 * that commits a write, within a bounded time. One number, the seed, repeats a run exactly.
 */
import { ChainWorld } from './chain.js';
import { must } from './chain-checks.js';
import type { SimProcess } from './chain-process.js';
import { type Random, randomFrom } from './random.js';

export interface WalkOptions {
  readonly seed: number;
  readonly steps: number;
  readonly traced?: boolean;
}

interface Action {
  readonly weight: number;
  readonly act: () => void;
}

export class ChainWalk {
  readonly world: ChainWorld;
  readonly #random: Random;
  readonly #names: readonly string[];
  readonly #steps: number;
  /** How much of each kind of trouble this seed has: some runs have none of a kind. */
  readonly #trouble: readonly number[];

  constructor({ seed, steps, traced = false }: WalkOptions) {
    this.#random = randomFrom(seed);
    const servers = 2 + this.#random(3);
    this.#names = ['A', 'B', 'C', 'D'].slice(0, servers);
    this.#steps = steps;
    this.#trouble = Array.from({ length: 12 }, () => [0, 0, 1, 3][this.#random(4)] as number);
    this.world = new ChainWorld({
      replicas: 1 + this.#random(Math.min(servers, 3)),
      turnEnds: this.#random(2) === 0 ? 'at once' : 'when told',
    });
    this.world.traced = traced;
    this.world.holdProposals = true;
  }

  run(): void {
    const { world } = this;
    for (const name of this.#names) if (this.#random(3) > 0) world.start(name);
    if (this.#random(2) === 0) this.#calm(this.#random(3_000));
    for (let step = 0; step < this.#steps; step++) this.#step();
    this.#heal();
  }

  #step(): void {
    const actions = this.#actions();
    let draw = this.#random(actions.reduce((sum, { weight }) => sum + weight, 0));
    for (const { weight, act } of actions) {
      draw -= weight;
      if (draw >= 0) continue;
      act();
      break;
    }
    this.world.check();
  }

  #actions(): Action[] {
    return [
      ...this.#ordinaryActions(),
      ...this.#coordinatorActions(),
      ...this.#clientActions(),
      ...this.#faultActions(),
      ...this.#networkFaultActions(),
    ];
  }

  #ordinaryActions(): Action[] {
    const { world } = this;
    const deliverable = world.network
      .deliverable()
      .filter(({ end }) => world.byName(end.process)?.isLive === true);
    const live = this.#live();
    const eventful = live.filter(({ inbox }) => inbox.length > 0);
    const actions: Action[] = [
      { weight: 20, act: () => world.advance(1 + this.#random(25)) },
      { weight: 4, act: () => this.#calm(this.#random(120)) },
    ];
    if (deliverable.length > 0) {
      const act = (): void => {
        const { connection, end } = this.#pick(deliverable);
        for (let count = 1 + this.#random(4); count > 0 && end.open; count--) {
          world.deliver(connection, end);
        }
      };
      actions.push({ weight: 60, act });
    }
    if (eventful.length > 0) {
      actions.push({ weight: 20, act: () => void world.handleInbox(this.#pick(eventful)) });
    }
    for (const process of live) {
      if (process.disk.waiting > 0 && !process.disk.isFull) {
        const count = 1 + this.#random(process.disk.waiting);
        actions.push({ weight: 8, act: () => process.sync(count) });
      }
      if (process.disk.persisting !== undefined) {
        actions.push({ weight: 10, act: () => process.persist() });
      }
      if (process.turnEndDue) actions.push({ weight: 12, act: () => process.endTurn() });
      actions.push({ weight: 3, act: () => void world.dial(process) });
    }
    return actions;
  }

  #coordinatorActions(): Action[] {
    const { world } = this;
    const { coordinator } = world;
    const actions: Action[] = [];
    for (const proposal of coordinator.proposals) {
      if (proposal.outcome === undefined && !coordinator.away) {
        const weight = proposal.answered ? 1 : 6;
        actions.push({ weight, act: () => world.land(proposal) });
      }
      if (!proposal.answered) {
        const lost = this.#random(4) === 0;
        if (proposal.outcome !== undefined || lost) {
          actions.push({ weight: 6, act: () => world.answer(proposal, lost) });
        }
      } else if (proposal.outcome === undefined) {
        actions.push({ weight: 1, act: () => coordinator.lose(proposal) });
      }
    }
    for (const process of this.#live()) {
      if (!coordinator.reachable(process.server)) continue;
      const back = this.#random(5) === 0 ? this.#random(3) : 0;
      const asked =
        coordinator.reads.has(process.name) || coordinator.chainWatches.has(process.name);
      actions.push({ weight: asked ? 8 : 1, act: () => world.tellChain(process, back) });
      const told = coordinator.registryWatches.has(process.name);
      actions.push({ weight: told ? 6 : 1, act: () => world.tellServers(process, back) });
    }
    return actions;
  }

  #clientActions(): Action[] {
    const { world } = this;
    const live = this.#live();
    if (live.length === 0) return [];
    const heads = live.filter(({ replica: { role } }) => role === 'head' || role === 'single');
    const actions: Action[] = [];
    if (heads.length > 0) {
      const keys = Array.from({ length: 1 + this.#random(2) }, () => this.#random(3));
      actions.push({ weight: 10, act: () => void world.write(this.#pick(heads).server, ...keys) });
    }
    const scope = this.#random(4);
    const read = (): void => void world.read(this.#pick(live).server, scope === 3 ? 'all' : scope);
    actions.push({ weight: 10, act: read });
    const asked = world.writes.slice(-8).filter(({ id }) => id !== undefined);
    if (asked.length > 0 && heads.length > 0) {
      const act = (): void => void world.verify(this.#pick(heads).server, this.#pick(asked));
      actions.push({ weight: 4, act });
    }
    return actions;
  }

  #faultActions(): Action[] {
    const { world } = this;
    const [crash = 0, stop = 0, session = 0, leave = 0, suspend = 0, compact = 0] = this.#trouble;
    const full = this.#trouble[11] ?? 0;
    const actions: Action[] = [];
    for (const server of this.#names) {
      const process = world.processes.get(server);
      if (process === undefined || !process.running) {
        actions.push({ weight: 4, act: () => void world.start(server) });
        if (process !== undefined && world.coordinator.isRegistered(process.name)) {
          actions.push({ weight: 2, act: () => world.expire(server) });
        }
        continue;
      }
      const crashIt = (): void => world.crash(server, this.#random(process.disk.waiting + 1));
      if (process.hasLeft) {
        actions.push({ weight: 9, act: crashIt });
        continue;
      }
      actions.push({ weight: crash, act: crashIt });
      if (process.stopped) actions.push({ weight: 4, act: () => process.goOn() });
      else {
        actions.push({ weight: stop, act: () => process.stop() });
        actions.push({ weight: suspend, act: () => process.stop(true) });
      }
      if (world.coordinator.isRegistered(process.name)) {
        actions.push({ weight: session, act: () => world.expire(server) });
      } else {
        actions.push({ weight: 4, act: () => this.#registerAgain(process) });
      }
      actions.push({ weight: leave === 3 ? 1 : 0, act: () => world.leave(server) });
      const isFillable = full === 3 && !process.stopped && !process.disk.isFull;
      actions.push({ weight: isFillable ? 1 : 0, act: () => world.fillDisk(server) });
      const { role } = process.replica;
      const { commitSeq } = process.replica.status(process.now);
      if (role !== 'halted' && process.disk.waiting === 0) {
        const act = (): void => process.disk.compact(process.table, commitSeq);
        actions.push({ weight: compact, act });
      }
    }
    return actions;
  }

  #networkFaultActions(): Action[] {
    const { world } = this;
    const [, , , , , , broken = 0, blocked = 0, away = 0, cutOff = 0, wrong = 0] = this.#trouble;
    const a = this.#pick(this.#names);
    const b = this.#pick(this.#names);
    const { coordinator } = world;
    const actions: Action[] = [
      {
        weight: coordinator.away ? 3 : away,
        act: () => void (coordinator.away = !coordinator.away),
      },
    ];
    const reach = (): void => {
      if (!coordinator.cutOff.delete(a)) coordinator.cutOff.add(a);
    };
    actions.push({ weight: coordinator.cutOff.has(a) ? 6 : cutOff, act: reach });
    if (a === b) return actions;
    const [process, other] = [world.processes.get(a), world.processes.get(b)];
    if (process?.isLive === true && other?.running === true) {
      // A wrong suspicion: the other one lives, and may hold a lease.
      const target = other.member;
      const suspect = (): void => {
        process.handle({ kind: 'dial-failed', target, why: 'refused' });
        world.tick(process);
      };
      actions.push({ weight: wrong, act: suspect });
    }
    actions.push({ weight: broken, act: () => world.breakLinks(a, b) });
    if (world.network.isBlocked(a, b)) {
      actions.push({ weight: 8, act: () => world.network.unblock(a, b) });
    } else {
      actions.push({ weight: blocked, act: () => world.network.block(a, b) });
    }
    return actions;
  }

  /** A stretch of normal life. */
  #calm(ms: number): void {
    this.world.holdProposals = false;
    this.world.settle(ms);
    this.world.holdProposals = true;
  }

  #heal(): void {
    const { world } = this;
    world.say('everything is healed');
    world.holdProposals = false;
    world.coordinator.away = false;
    world.coordinator.cutOff.clear();
    world.network.unblock();
    for (const proposal of world.coordinator.proposals) {
      if (proposal.answered) world.coordinator.lose(proposal);
    }
    for (const server of this.#names) {
      const process = world.processes.get(server);
      process?.goOn();
      if (process?.hasLeft === true) world.crash(server);
      if (process?.running !== true) world.start(server);
      else if (!world.coordinator.isRegistered(process.name)) this.#registerAgain(process);
    }
    for (const process of world.processes.values()) {
      world.coordinator.chainWatches.add(process.name);
      world.coordinator.registryWatches.add(process.name);
    }
    const healed = world.settle(60_000, () => this.#restartLeavers() && this.#isWhole());
    must(healed, `no full chain after healing:\n${this.#text}`);
    this.#checkLife();
  }

  #checkLife(): void {
    const { world } = this;
    let write = world.write(this.#head, 0)[0];
    // What was in the air when all was healed may still cost a member its place: ask again.
    const done = (): boolean => {
      if (write?.state === 'refused' || write?.state === 'unknown') {
        write = world.write(this.#head, 0)[0];
      }
      return (
        write?.state === 'done' &&
        this.#isWhole() &&
        [...world.processes.values()].every(
          ({ lastApplied }) => lastApplied === world.checks.committed.at(-1),
        )
      );
    };
    must(world.settle(10_000, done), `a write is not done everywhere:\n${this.#text}`);
    const reads = this.#members().map(({ server }) => world.read(server, 'all'));
    world.settle(1_000);
    must(
      reads.every(({ state }) => state === 'answered'),
      `a member does not answer reads:\n${this.#text}`,
    );
  }

  /** A server that was asked to leave goes, and is started anew. */
  #restartLeavers(): boolean {
    for (const process of this.world.processes.values()) {
      if (!process.hasLeft || !process.running) continue;
      this.world.crash(process.server);
      this.world.start(process.server);
      return false;
    }
    return true;
  }

  #isWhole(): boolean {
    const { world } = this;
    const length = Math.min(world.options.replicas, this.#names.length);
    const members = this.#members();
    return (
      members.length >= length &&
      members.length === world.coordinator.configuration?.members.length &&
      members.every(({ leaseHolds }) => leaseHolds)
    );
  }

  get #text(): string {
    return [...this.world.processes.values()].map(({ text }) => text).join('\n');
  }

  get #head(): string {
    return this.world.coordinator.configuration?.members[0]?.serverId as string;
  }

  #members(): SimProcess[] {
    return (this.world.coordinator.configuration?.members ?? []).flatMap(
      ({ incarnation }) => this.world.byName(incarnation) ?? [],
    );
  }

  #registerAgain(process: SimProcess): void {
    const role = process.replica.role === 'learner' ? 'learner' : 'member';
    this.world.coordinator.register({ ...process.member, state: role });
  }

  #live(): SimProcess[] {
    return [...this.world.processes.values()].filter(
      (process) => process.isLive && process.replica.role !== 'halted',
    );
  }

  #pick<T>(from: readonly T[]): T {
    return from[this.#random(from.length)] as T;
  }
}
