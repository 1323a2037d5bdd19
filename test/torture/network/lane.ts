/**
 * One direction of one link: what its network is like now, for all connections of the link, and what it has done to
 * their bytes so far. It holds no bytes; the pipes do.
 */

export interface LaneCondition {
  /** Nothing gets through; what comes is held, and delivered when this ends. */
  readonly stalled?: boolean;
  /** Each byte arrives so much later. */
  readonly delayMs?: number;
  readonly bytesPerSecond?: number;
  /** Written in pieces of this size, each in a turn of its own. */
  readonly pieceBytes?: number;
  /** What comes within this time is written at once. */
  readonly glueMs?: number;
}

/**
 * What is done once, to the next bytes. corrupt: one of them is changed. cut: all but the last few are delivered, and
 * the connection ends there. drop: the connection is reset in their place.
 */
export type Harm = 'corrupt' | 'cut' | 'drop';

/** What a lane has done; the evidence that a fault happened. */
export interface LaneCounts {
  passedBytes: number;
  /** Came while the lane was stalled. */
  heldBytes: number;
  delayedBytes: number;
  limitedBytes: number;
  pieces: number;
  /** Chunks that were written together with others. */
  gluedChunks: number;
  harms: number;
  /** Bytes of a held connection, delivered after a newer one had taken its place. */
  lateBytes: number;
}

interface Pumped {
  pump(): void;
}

interface PlannedHarm {
  readonly harm: Harm;
  readonly bytesMin: number;
  readonly resolve: () => void;
}

export class Lane {
  readonly counts: LaneCounts = {
    passedBytes: 0,
    heldBytes: 0,
    delayedBytes: 0,
    limitedBytes: 0,
    pieces: 0,
    gluedChunks: 0,
    harms: 0,
    lateBytes: 0,
  };
  #condition: LaneCondition = {};
  #planned: PlannedHarm | undefined;
  readonly #pipes = new Set<Pumped>();

  get condition(): LaneCondition {
    return this.#condition;
  }

  /** In place of the one before; `{}` is a good network. */
  set condition(condition: LaneCondition) {
    this.#condition = condition;
    for (const pipe of this.#pipes) pipe.pump();
  }

  /** Resolves when it has happened: at the next piece of at least so many bytes. */
  harmNext(harm: Harm, bytesMin = 1): Promise<void> {
    return new Promise((resolve) => {
      this.#planned = { harm, bytesMin, resolve };
    });
  }

  /** A harm that was planned and has not happened will not happen. */
  heal(): void {
    this.#planned = undefined;
    this.condition = {};
  }

  /** The harm for these bytes, if one is planned: its caller does it now. */
  takeHarm(bytes: number): Harm | undefined {
    const planned = this.#planned;
    if (planned === undefined || bytes < planned.bytesMin) return undefined;
    this.#planned = undefined;
    this.counts.harms += 1;
    planned.resolve();
    return planned.harm;
  }

  add(pipe: Pumped): void {
    this.#pipes.add(pipe);
  }

  delete(pipe: Pumped): void {
    this.#pipes.delete(pipe);
  }
}
