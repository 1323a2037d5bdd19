/**
 * What a server (or a client) asks of the coordination service, and no more. ZooKeeper implements it
 * in zookeeper.ts, memory in memory.ts. It keeps one znode `/catena/<cluster>/chain` and one ephemeral
 * sequential znode a server below `/catena/<cluster>/servers`.
 *
 * Everything that is read here is a hint, possibly stale; only a compare-and-set that answered 'done'
 * or 'conflict' proves anything.
 */

/** What a server announces of itself, as JSON, in its ephemeral znode. */
export interface Registration {
  readonly serverId: string;
  readonly incarnation: string;
  /** `host:port` */
  readonly address: string;
  readonly state: 'learner' | 'member' | 'leaving';
}

/** `/chain` as it was read; `data` is its text, to be parsed by configuration.ts. */
export type ChainRead =
  | { readonly kind: 'absent' }
  | { readonly kind: 'found'; readonly data: string; readonly version: number };

/**
 * done: it is written. conflict: it is certainly not written, the version was another (or, for create,
 * the node was there). unknown: it was sent and its answer was lost; it may still be written LATER.
 * unavailable: it is certainly not written: never sent, or refused outright (no permission, say).
 */
export type WriteOutcome = 'done' | 'conflict' | 'unknown' | 'unavailable';

/**
 * connected: the session has just answered. suspended: not connected, nothing is known. expired: that session is
 * over, its ephemerals are gone or go at its timeout, and another session is being made.
 */
export type SessionState = 'connected' | 'suspended' | 'expired';

export interface CoordinatorListener {
  /** After start, after each watch event, and at a low rate besides. Repeats of the same read are left out. */
  onChain(read: ChainRead): void;
  /**
   * The registered servers, oldest first (by sequence number, not by name). Garbage entries are left out and logged.
   * A process is listed once; two processes of one serverId are both listed for as long as both nodes are there.
   */
  onServers(servers: readonly Registration[]): void;
  onSession(state: SessionState): void;
}

export interface Coordinator {
  /** Begins to connect, watch and poll. Returns at once; what is found comes to the listener. */
  start(listener: CoordinatorListener): void;
  /**
   * Keeps one ephemeral for this registration for as long as the coordinator lives: created again after
   * an expiry, changed in place when `state` changes, those of its dead processes deleted (R11). While another
   * process of the same serverId is registered that may be alive (a copied data directory), ours stays away.
   */
  announce(registration: Registration): void;
  /**
   * A read that went to the service just now. Waits for a connection; rejects with CoordinationError if there is no
   * answer within the session timeout.
   */
  readChain(): Promise<ChainRead>;
  createChain(data: string): Promise<WriteOutcome>;
  /** Compare-and-set: writes `data` if the node's version is still `version`. */
  setChain(data: string, version: number): Promise<WriteOutcome>;
  /** Ends the session, so that the ephemeral goes at once. Never rejects. */
  close(): Promise<void>;
}
