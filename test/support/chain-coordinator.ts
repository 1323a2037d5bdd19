/**
 * ZooKeeper as the simulated servers see it: one `/chain` with versions, compare-and-sets that land and
 * are answered in separate steps (or are lost, or land late), reads and watches that may be old, and a
 * registry of ephemerals. The text goes through the real formatter and parser.
 */
import {
  type Configuration,
  formatConfiguration,
  parseConfiguration,
} from '../../src/coordination/configuration.js';
import type { Registration, WriteOutcome } from '../../src/coordination/coordinator.js';
import type { ChainReading } from '../../src/replica/events.js';

export interface Proposal {
  readonly process: string;
  readonly configuration: Configuration;
  readonly version: number | undefined;
  /** What became of it; undefined while it is under way. */
  outcome: 'done' | 'conflict' | undefined;
  answered: boolean;
}

export class SimCoordinator {
  #chain: { text: string; version: number } | undefined;
  readonly #history: { text: string; version: number }[] = [];
  #registry: (Registration & { readonly number: number })[] = [];
  #registryHistory: (readonly Registration[])[] = [];
  #nextNumber = 1;
  /** Nothing can be asked of it. */
  away = false;
  /** Servers that cannot reach it. */
  readonly cutOff = new Set<string>();
  /** Replaced, never changed in place. */
  proposals: readonly Proposal[] = [];
  /** Processes that wait for a read, or have not been told of a change. */
  readonly reads = new Set<string>();
  readonly chainWatches = new Set<string>();
  readonly registryWatches = new Set<string>();
  onChange: (what: 'chain' | 'registry') => void = () => undefined;

  reachable(server: string): boolean {
    return !this.away && !this.cutOff.has(server);
  }

  get configuration(): Configuration | undefined {
    return this.#chain === undefined ? undefined : parseConfiguration(this.#chain.text);
  }

  /** `back` versions ago; 0 is now. */
  read(back = 0): ChainReading {
    const chain = back === 0 ? this.#chain : this.#history[this.#history.length - 1 - back];
    if (chain === undefined) return { kind: 'absent' };
    const configuration = parseConfiguration(chain.text);
    if (configuration === undefined) return { kind: 'garbage' };
    return { kind: 'found', configuration, version: chain.version };
  }

  propose(process: string, configuration: Configuration, version: number | undefined): Proposal {
    const proposal: Proposal = {
      process,
      configuration,
      version,
      outcome: undefined,
      answered: false,
    };
    this.proposals = [...this.proposals, proposal];
    return proposal;
  }

  /** The compare-and-set reaches the service. */
  land(proposal: Proposal): void {
    if (proposal.outcome !== undefined) return;
    if (this.#chain?.version !== proposal.version) {
      proposal.outcome = 'conflict';
      return;
    }
    const version = (proposal.version ?? -1) + 1;
    this.force(proposal.configuration, version);
    proposal.outcome = 'done';
  }

  /** It never arrives. */
  lose(proposal: Proposal): void {
    this.proposals = this.proposals.filter((other) => other !== proposal);
  }

  answer(proposal: Proposal, lost = false): WriteOutcome {
    proposal.answered = true;
    if (proposal.outcome !== undefined) this.lose(proposal);
    return lost ? 'unknown' : (proposal.outcome ?? 'unknown');
  }

  /** Writes `/chain` whatever stands there: what an operator, or a backup, does. */
  force(configuration: Configuration, version = (this.#chain?.version ?? -1) + 1): void {
    this.#chain = { text: formatConfiguration(configuration), version };
    this.#history.push(this.#chain);
    this.onChange('chain');
  }

  register(registration: Registration): void {
    const index = this.#registry.findIndex((r) => r.incarnation === registration.incarnation);
    const number = this.#registry[index]?.number ?? this.#nextNumber++;
    const others = this.#registry.filter((r) => r.serverId !== registration.serverId);
    this.#registry = [...others, { ...registration, number }].sort((a, b) => a.number - b.number);
    this.#registryChanged();
  }

  /** The session of this process is over. */
  expire(incarnation: string): void {
    const left = this.#registry.filter((r) => r.incarnation !== incarnation);
    if (left.length === this.#registry.length) return;
    this.#registry = left;
    this.#registryChanged();
  }

  isRegistered(incarnation: string): boolean {
    return this.#registry.some((r) => r.incarnation === incarnation);
  }

  servers(back = 0): readonly Registration[] {
    if (back === 0) return this.#registry;
    return this.#registryHistory[this.#registryHistory.length - 1 - back] ?? this.#registry;
  }

  #registryChanged(): void {
    this.#registryHistory.push(this.#registry);
    this.onChange('registry');
  }
}
