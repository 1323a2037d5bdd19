/**
 * What must hold in every state, watched from outside of the replicas: nothing acknowledged is lost, no
 * read is stale, histories never change. Throws at the first breach, naming it.
 */
import type { Configuration } from '../../src/coordination/configuration.js';
import type { Entry } from '../../src/replica/entry.js';
import { anyKey, countUp, idOf, keysOf, type SimDisk, type SimTable } from './chain-disk.js';

export class BreachError extends Error {}

export interface ClientWriteRecord {
  readonly name: string;
  readonly key: number;
  state: 'sent' | 'assigned' | 'done' | 'refused' | 'unknown';
  id?: { readonly epoch: number; readonly seq: number };
}

export interface ClientReadRecord {
  readonly name: string;
  readonly scope: number;
  /** How many writes of the key it must show at least. */
  readonly atLeast: number;
  state: 'sent' | 'answered' | 'refused';
  value: number;
}

export class ChainChecks {
  /** All that any head has committed, in order; never changes. */
  readonly committed: string[] = [];
  /** How often a process compared its state with that of the one above it, and found them equal. */
  statesFoundEqual = 0;
  readonly #committedCounts = new Map<number, number>();
  /** How many writes of a key somebody was told of: by an acknowledgement or by a read. */
  readonly #seenCounts = new Map<number, number>();
  readonly #entries = new Map<string, { record: string; before: string }>();
  readonly #committer = new Map<number, string>();
  readonly #never = new Set<string>();
  readonly #opIds = new Map<string, string>();

  seen(key: number): number {
    return this.#seenCounts.get(key) ?? 0;
  }

  /** An entry goes into a log, after the entry `before`: the same for all logs that hold it. */
  onAppend(entry: Entry, before: string): void {
    const key = `${entry.epoch}-${entry.firstSeq}`;
    const record = new TextDecoder().decode(entry.record);
    const known = this.#entries.get(key);
    this.#entries.set(key, { record, before });
    if (known === undefined) return;
    must(known.record === record, `${key} was given twice: ${known.record} and ${record}`);
    must(known.before === before, `${key} stands after ${known.before} and after ${before}`);
  }

  /** A process applies an entry; only a head may be the first to. */
  onApply(process: string, epoch: number, isHead: boolean, entry: Entry, table: SimTable): void {
    const index = table.list.length;
    const id = idOf(entry);
    if (index < this.committed.length) {
      must(
        this.committed[index] === id,
        `${process} applies ${id} where all have ${this.committed[index]}`,
      );
      return;
    }
    must(isHead, `${process} applies ${id}, which no head has committed`);
    const committer = this.#committer.get(epoch) ?? process;
    must(committer === process, `two heads commit in epoch ${epoch}: ${committer} and ${process}`);
    this.#committer.set(epoch, process);
    this.committed.push(id);
    for (const key of keysOf(entry)) countUp(this.#committedCounts, key);
    for (let seq = entry.firstSeq; seq <= entry.lastSeq; seq++) {
      must(
        !this.#never.has(`${entry.epoch}-${seq}`),
        `${entry.epoch}-${seq} was said never to run`,
      );
    }
  }

  onAssigned(write: ClientWriteRecord, epoch: number, seq: number): void {
    const id = `${epoch}-${seq}`;
    const owner = this.#opIds.get(id);
    must(owner === undefined, `op id ${id} given to ${owner} and to ${write.name}`);
    this.#opIds.set(id, write.name);
    write.id = { epoch, seq };
    write.state = 'assigned';
  }

  /** A client was told that its write is done: everybody must see it from now on. */
  onAcknowledged(write: ClientWriteRecord): void {
    write.state = 'done';
    for (const key of [write.key, anyKey]) {
      this.#raiseSeen(key, this.#committedCounts.get(key) ?? 0);
    }
  }

  onAnswered(process: string, read: ClientReadRecord): void {
    read.state = 'answered';
    must(
      read.value >= read.atLeast,
      `stale read: ${process} answered ${read.name} with ${read.value} writes of key ${read.scope}, ${read.atLeast} were known before`,
    );
    this.#raiseSeen(read.scope, read.value);
  }

  onVerified(write: ClientWriteRecord, answer: string): void {
    const { id } = write;
    if (id === undefined) return;
    const name = `${id.epoch}-${id.seq}`;
    if (answer === 'never') {
      must(write.state !== 'done', `${name} is done, but verify says never`);
      this.#never.add(name);
    }
    if (answer === 'executed') {
      must(!this.#never.has(name), `${name} was said never to run, now to have run`);
    }
  }

  /** I1: whatever is committed is safe on the disk of every member that `/chain` lists. */
  checkDurable(configuration: Configuration | undefined, disks: Map<string, SimDisk>): void {
    const index = this.committed.length - 1;
    if (index < 0 || configuration === undefined) return;
    for (const { serverId } of configuration.members) {
      const id = disks.get(serverId)?.durableId(index);
      must(
        id === this.committed[index],
        `${serverId}, a member of epoch ${configuration.epoch}, lacks ${this.committed[index]} (has ${id ?? 'nothing'} there)`,
      );
    }
  }

  #raiseSeen(key: number, count: number): void {
    this.#seenCounts.set(key, Math.max(this.seen(key), count));
  }
}

export function must(condition: boolean, breach: string): void {
  if (!condition) throw new BreachError(breach);
}
