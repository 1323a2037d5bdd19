/** One entry of the replicated log: a batch of ops that the head formed in one turn of its loop. */
import type { Op } from '../machine/op.js';

export interface Entry {
  /** The epoch in which it was first logged; kept for ever, whoever forwards it later. */
  readonly epoch: number;
  /** Op ids are (epoch, seq): the ops of an entry have consecutive seqs. */
  readonly firstSeq: number;
  readonly lastSeq: number;
  /** The head's commit index when it formed the entry: proof of what was committed by then. */
  readonly commit: number;
  readonly ops: readonly Op[];
  /** 32-bit hashes of the keys that the ops touch; a collision only makes a read wait. */
  readonly keyHashes: readonly number[];
  /** The record as it stands in the log and travels down the chain, encoded once. */
  readonly record: Uint8Array;
}
