/**
 * One thing that reads what strangers, disks or ZooKeeper hand to it, and what must hold whatever that is.
 *
 * Invariant: `check` depends on the input alone, so that an input that failed fails again.
 */
import {
  BadRequestError,
  DataDamagedError,
  LimitError,
  ProtocolError,
  RefusedToStartError,
} from '../../src/errors.js';
import type { Random } from '../support/random.js';

/** Both are right; that both occur shows that the mutations mean something. */
export type Verdict = 'accepted' | 'refused';

export interface Target {
  readonly name: string;
  /** How many inputs a run of the tests has. */
  readonly inputs: number;
  /** No input is longer. */
  readonly bytesMax: number;
  /** Valid inputs. */
  readonly corpus: readonly Uint8Array[];
  readonly dictionary: readonly Uint8Array[];
  /** Changes that the format allows for; drawn for every second input. */
  readonly mutate?: (original: Uint8Array, random: Random) => Uint8Array;
  /** Throws what is a breach. */
  readonly check: (input: Buffer) => Verdict | Promise<Verdict>;
}

/** What a caller can act on: of these, an input may cause any. InvariantError and StorageError are not among them. */
const refusals = [
  ProtocolError,
  DataDamagedError,
  LimitError,
  BadRequestError,
  RefusedToStartError,
] as const;

export type Refusal = InstanceType<(typeof refusals)[number]>;

export function isRefusal(error: unknown): error is Refusal {
  return refusals.some((type) => error instanceof type);
}

/** The result, or undefined if the input was refused; every other error is a breach and is thrown. */
export function unlessRefused<Result>(work: () => Result): Result | undefined {
  try {
    return work();
  } catch (error) {
    if (isRefusal(error)) return undefined;
    throw error;
  }
}

export async function unlessRefusedLater<Result>(
  work: () => Promise<Result>,
): Promise<Result | undefined> {
  try {
    return await work();
  } catch (error) {
    if (isRefusal(error)) return undefined;
    throw error;
  }
}

/** What the oracle of a target says when it is not satisfied. */
export class Breach extends Error {}

export function assertHolds(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Breach(what);
}

export function words(...texts: readonly string[]): Buffer[] {
  return texts.map((text) => Buffer.from(text));
}
