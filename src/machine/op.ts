/**
 * The operations of the state machine, as the log carries them. An op is deterministic: time and
 * random values, where an op needs them, were decided by the head and stand in the op.
 */

export type Op =
  | { readonly kind: 'put'; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly kind: 'delete'; readonly key: Uint8Array }
  /** The first entry of an epoch. Changes nothing; once committed it settles what older epochs left open. */
  | { readonly kind: 'epoch' };

export type OpKind = Op['kind'];

/** What an executed op gives back to the client that asked for it. */
export interface OpResult {
  /** For `delete`: whether the key was there. For `put`: whether it replaced a value. */
  readonly existed: boolean;
}
