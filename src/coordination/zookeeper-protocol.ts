/**
 * What the coordinator's process and its ZooKeeper child say to each other over IPC, as JSON. One child
 * is one ZooKeeper session: when the session ends, so does the child.
 *
 * Each side sends a beat in each interval and ends the session after `silentBeatsMax` intervals in which it
 * heard nothing. Intervals are counted, not subtracted from a clock: a machine that was suspended, or a
 * process that was stopped, has counted nothing meanwhile and first reads what has come.
 */

export interface OpenMessage {
  readonly kind: 'open';
  readonly connectString: string;
  readonly sessionTimeoutMs: number;
}

/** Reads leave a watch, an absent node's too with `exists`. Version -1 is any. */
export type Request =
  | { readonly op: 'get'; readonly path: string }
  | { readonly op: 'exists'; readonly path: string }
  | { readonly op: 'children'; readonly path: string }
  | { readonly op: 'sync'; readonly path: string }
  | { readonly op: 'create'; readonly path: string; readonly data: string; readonly flags: number }
  | { readonly op: 'set'; readonly path: string; readonly data: string; readonly version: number }
  | { readonly op: 'delete'; readonly path: string; readonly version: number };

export const createFlags = { persistent: 0, ephemeralSequential: 3 } as const;

export type ParentMessage =
  | OpenMessage
  | { readonly kind: 'request'; readonly id: number; readonly request: Request }
  | { readonly kind: 'beat' }
  | { readonly kind: 'close' };

export interface Answer {
  /** ZooKeeper's code, 0 for success. */
  readonly code: number;
  /** Of get. */
  readonly data?: string;
  /** Of get and set. */
  readonly version?: number;
  /** Of children. */
  readonly names?: readonly string[];
  /** Of create: the path as it was made, with its sequence number. */
  readonly path?: string;
}

export type ChildMessage =
  | { readonly kind: 'ready' }
  | { readonly kind: 'session'; readonly state: 'connected' | 'suspended' }
  | { readonly kind: 'answer'; readonly id: number; readonly answer: Answer }
  /** The request never reached ZooKeeper's client. */
  | { readonly kind: 'unsent'; readonly id: number }
  | { readonly kind: 'watch'; readonly path: string }
  | { readonly kind: 'beat' }
  /** The last message of a child. */
  | { readonly kind: 'ended'; readonly reason: string };

/** Beats in one session timeout. With `silentBeatsMax` below it, a silent side loses the session before ZooKeeper ends it. */
const beatsInSessionTimeout = 8;
export const silentBeatsMax = 6;

export function beatIntervalMs(sessionTimeoutMs: number): number {
  return Math.max(1, Math.floor(sessionTimeoutMs / beatsInSessionTimeout));
}
