/**
 * All connections that one node opens to another, through a proxy between them, and a lane for each direction.
 * A connection's far end is dialed when the first lane lets it: a stalled network does not even say that it is there.
 */
import { Socket } from 'node:net';
import type { Address } from '../../../src/protocol/address.js';
import { Lane } from './lane.js';
import { Pipe, resetSocket } from './pipe.js';

interface Passage {
  readonly out: Pipe;
  readonly near: Socket;
  reset(): void;
}

export class Link {
  readonly name: string;
  /** From the node that dials. */
  readonly out = new Lane();
  /** To it. */
  readonly back = new Lane();
  /** Whether new connections are reset at once. */
  refuses = false;
  readonly counts = { opened: 0, refused: 0, resets: 0 };
  readonly #passages = new Set<Passage>();

  constructor(name: string) {
    this.name = name;
  }

  get connections(): number {
    return this.#passages.size;
  }

  /** Passes a connection on to where the target listens. */
  pass(near: Socket, target: Address): void {
    near.setNoDelay(true);
    near.on('error', () => {});
    if (this.refuses) {
      this.counts.refused += 1;
      resetSocket(near);
      return;
    }
    this.counts.opened += 1;
    const far = new Socket({ allowHalfOpen: true });
    far.setNoDelay(true);
    far.on('error', () => {});
    let isOpen = false;
    const open = (): void => {
      if (isOpen) return;
      isOpen = true;
      far.connect(target);
    };
    const reset = (): void => {
      resetSocket(near);
      resetSocket(far);
    };
    const out = new Pipe(this.out, { source: near, target: far, open, reset });
    // Bytes come back only once it is open.
    const back = new Pipe(this.back, { source: far, target: near, open: () => {}, reset });
    const passage: Passage = { out, near, reset };
    this.#passages.add(passage);
    let closed = 0;
    for (const socket of [near, far]) {
      socket.once('close', () => {
        closed += 1;
        if (closed === 2) this.#passages.delete(passage);
      });
    }
    near.once('close', () => {
      // It gave up before the far end heard of it.
      if (isOpen) return;
      far.destroy();
    });
    out.pump();
    back.pump();
  }

  /** Every connection that there is. Returns how many. */
  reset(): number {
    const passages = [...this.#passages];
    for (const passage of passages) passage.reset();
    this.counts.resets += passages.length;
    return passages.length;
  }

  /** What was sent on the connections that there are is held back; newer ones are not. */
  holdOld(): HeldConnections {
    const old = [...this.#passages];
    for (const { out } of old) out.hold();
    return {
      get bytes() {
        return old.reduce((sum, { out }) => sum + out.queuedBytes, 0);
      },
      // The far end hears nothing of it: the reset would have to overtake the bytes.
      abandon: () => old.forEach(({ near }) => resetSocket(near)),
      release: () => old.forEach(({ out }) => out.release()),
    };
  }

  heal(): void {
    this.refuses = false;
    this.out.heal();
    this.back.heal();
  }

  close(): void {
    for (const passage of this.#passages) passage.reset();
  }
}

export interface HeldConnections {
  /** Held now. */
  readonly bytes: number;
  /** The node that dialed loses them. */
  abandon(): void;
  release(): void;
}
