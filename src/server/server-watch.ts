/** What somebody sees who watches a server from inside: the simulator's checks. Nothing in production does. */
import type { Machine } from '../machine/machine.js';
import type { Effect, Event } from '../replica/events.js';
import type { ReplicaStatus } from '../replica/replica.js';
import type { Instant } from '../replica/timing.js';

export interface ServerInside {
  readonly serverId: string;
  status(now: Instant): ReplicaStatus;
  /** The one of this moment. */
  machine(): Machine;
  /** The epoch in which that op was logged; undefined if the log on this disk does not reach there. */
  epochAt(seq: number): number | undefined;
}

export interface ServerWatch {
  /** The disk was read; nothing was said or served yet. */
  onRecovered(inside: ServerInside): void;
  /** After the core has decided, before any effect is carried out. */
  onStep(event: Event, effects: readonly Effect[]): void;
}
