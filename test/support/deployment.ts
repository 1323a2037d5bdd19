/**
 * A running cluster as the failover scenarios see it, so that one scenario serves for processes on
 * this machine and for containers. Servers are numbered from 1; what they print is what is awaited.
 */
import { EventEmitter, on } from 'node:events';
import type { HistoryOp } from '../../src/simulation/checkers/history.js';
import type { WorkloadOptions } from './workload.js';

export interface ClientOutcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Deployment {
  readonly chain: ChainWatch;
  /** The address of a server as it stands in the chain. */
  address(number: number): string;
  /** Resolves when it says that it serves. */
  start(number: number): Promise<void>;
  /** kill -9; resolves when the process is gone. */
  kill(number: number): Promise<void>;
  /** SIGTERM; resolves to its exit code. */
  stop(number: number): Promise<number | null>;
  pause(number: number): Promise<void>;
  resume(number: number): Promise<void>;
  stopZooKeeper(): Promise<void>;
  startZooKeeper(): Promise<void>;
  /** Runs kv-client once, against this cluster; it finds it through ZooKeeper unless `servers`. */
  client(args: readonly string[], options?: { servers?: boolean }): Promise<ClientOutcome>;
  /** What the clients of this load saw. They connect by a list of servers. */
  workload(load: Omit<WorkloadOptions, 'connect'>): Promise<HistoryOp[]>;
  /** Ends everything; nothing is left behind. */
  remove(): Promise<void>;
}

const untilMsMax = 60_000;

export interface ChainState {
  readonly epoch: number;
  /** Addresses, head first. */
  readonly members: readonly string[];
}

/** The chain as the servers' printed lines tell it. */
export class ChainWatch {
  readonly lines: string[] = [];
  readonly #changed = new EventEmitter();
  #newest: ChainState = { epoch: 0, members: [] };
  /** Who said in which role it stands in the newest epoch. */
  #adopted = new Map<string, string>();

  get newest(): ChainState {
    return this.#newest;
  }

  onLine(line: string): void {
    this.lines.push(line);
    this.#takeRole(line);
    this.#changed.emit('changed');
  }

  #takeRole(line: string): void {
    const match = /(\S+) is (\w+) in epoch (\d+): (\S+(?: > \S+)*) \(/.exec(line);
    if (match === null) return;
    const [, address, role, epochText, chain] = match as unknown as string[];
    const epoch = Number(epochText);
    if (epoch > this.#newest.epoch) {
      this.#newest = { epoch, members: (chain as string).split(' > ') };
      this.#adopted = new Map();
    }
    if (epoch === this.#newest.epoch) this.#adopted.set(address as string, role as string);
  }

  /** Waits until the newest chain is as asked and every member of it has said so. */
  async until(what: string, wanted: (chain: ChainState) => boolean): Promise<ChainState> {
    const isAdopted = (): boolean =>
      this.#newest.members.every((member) => this.#adopted.has(member));
    await this.#wait(`chain with ${what}`, () => isAdopted() && wanted(this.#newest));
    return this.#newest;
  }

  /** Waits for a line, after the first `from`, that contains all of these texts. */
  async untilLine(texts: readonly string[], from = 0): Promise<string> {
    const find = (): string | undefined =>
      this.lines.slice(from).find((line) => texts.every((text) => line.includes(text)));
    await this.#wait(`line with ${texts.join(' and ')}`, () => find() !== undefined);
    return find() as string;
  }

  async #wait(what: string, holds: () => boolean): Promise<void> {
    // A timer that counts: with AbortSignal.timeout a process that awaits only lines would end.
    const giveUp = new AbortController();
    const timer = setTimeout(() => giveUp.abort(), untilMsMax);
    const changes = on(this.#changed, 'changed', { signal: giveUp.signal });
    try {
      while (!holds()) await changes.next();
    } catch (error) {
      const last = this.lines.slice(-20).join('\n');
      throw new Error(`no ${what} within ${untilMsMax} ms; the last lines:\n${last}`, {
        cause: error,
      });
    } finally {
      clearTimeout(timer);
      await changes.return?.();
    }
  }

  untilMembers(count: number): Promise<ChainState> {
    return this.until(`${count} members`, ({ members }) => members.length === count);
  }
}
