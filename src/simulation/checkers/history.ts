/**
 * What clients saw: the one form in which the simulator, the torture runs and the failover tests hand their
 * histories to the checkers. Plain data that survives JSON, and no import: it shares nothing with the servers.
 *
 * Invariant of an op: `startMs` is before its request left the client, `endMs` after its answer came in. All ops of a
 * history are timed by one clock that never goes back; an op that ended at the very instant at which another began
 * counts as concurrent with it, so a virtual clock should tell its events apart (ms plus a fraction an event).
 */

/** The place of an op in the one order of its cluster. */
export interface OpId {
  readonly epoch: number;
  readonly seq: number;
}

type Side = 'left' | 'right';

/**
 * Ops on one key. Values and elements are text; bytes that are no text are noted in a way that keeps them apart
 * (hexadecimal). A `version` is the one that is expected, 0: absent; without it the op is unconditional.
 */
export type KeyOperation =
  | {
      readonly kind: 'put';
      readonly key: string;
      readonly value: string;
      readonly version?: number;
    }
  | { readonly kind: 'delete'; readonly key: string; readonly version?: number }
  | { readonly kind: 'get'; readonly key: string }
  | { readonly kind: 'add'; readonly key: string; readonly delta: number }
  | {
      readonly kind: 'push';
      readonly key: string;
      readonly side: Side;
      /** Pushed one after the other, so the last one is outermost. */
      readonly elements: readonly string[];
      /** Longer lists lose elements at the other end. */
      readonly lengthMax?: number;
    }
  | { readonly kind: 'pop'; readonly key: string; readonly side: Side; readonly count: number }
  /** `from` inclusive, `to` exclusive; negative ones count from the end, as `Array.slice` has it. */
  | { readonly kind: 'range'; readonly key: string; readonly from: number; readonly to: number }
  | { readonly kind: 'trim'; readonly key: string; readonly from: number; readonly to: number }
  | { readonly kind: 'length'; readonly key: string };

/** Ops on the whole table, of one instant. */
type TableOperation = { readonly kind: 'size' } | { readonly kind: 'scan' };

export type Operation = KeyOperation | TableOperation;

export type Kind = Operation['kind'];

export interface Shown {
  readonly key: string;
  /** Absent where only keys were asked for. */
  readonly value?: string;
  readonly version?: number;
}

/**
 * What came back, by the kind of the op. Whatever is absent was not seen, and is not judged.
 * `refused`: the op was executed in its place and changed nothing, because of the state that it met.
 */
export interface Answer {
  /** put, delete */
  readonly existed?: boolean;
  /** get; null: there was no such key. */
  readonly found?: { readonly value: string; readonly version?: number } | null;
  /** add: the sum. */
  readonly sum?: number;
  /** push, trim (after it), length */
  readonly length?: number;
  /** pop, range */
  readonly elements?: readonly string[];
  /** size */
  readonly keys?: number;
  /** scan, in any order */
  readonly entries?: readonly Shown[];
  readonly refused?: 'CONFLICT' | 'WRONG_KIND';
}

export interface Noted {
  readonly client: number;
  readonly startMs: number;
  /** Of an op that was not answered: when its client gave it up. A write may take effect later than that. */
  readonly endMs: number;
  /**
   * ok: answered. failed: certainly not executed, not now and not later. unknown: sent, and nothing is known: a
   * write was executed once, or will be, or never will.
   */
  readonly outcome: 'ok' | 'failed' | 'unknown';
  /**
   * Of a write: its own op id (also of an unknown one that was assigned one). Of a read: the last op that the answer
   * reflects, epoch 0 and seq 0 for the empty table. The black box does not look at it.
   */
  readonly at?: OpId;
  readonly answer?: Answer;
}

/** One op of a client, whatever came of it. */
export type HistoryOp = Noted & Operation;

/** One op of the committed order, as a surviving member's log has it; `epoch` ops change nothing. */
export interface LoggedOp {
  readonly at: OpId;
  readonly op: Exclude<Operation, TableOperation> | { readonly kind: 'epoch' };
}

const readKinds: ReadonlySet<string> = new Set<Kind>(['get', 'range', 'length', 'size', 'scan']);

export function isRead({ kind }: { readonly kind: Kind }): boolean {
  return readKinds.has(kind);
}

/** The key that the op is about; undefined if it is the whole table. */
export function keyOf(op: Operation): string | undefined {
  return 'key' in op ? op.key : undefined;
}
