/**
 * One direction of a simulated connection: bytes under way on a link, in order. Each is ready at a time; a blocked link, a
 * reader without room, or a process that stands still holds up all that is behind.
 *
 * Invariant: items leave in the order in which they came.
 */
import type { Link, Network } from './network.js';
import type { SimProcess } from './process.js';
import type { SimStream } from './sim-stream.js';

export interface PipeEnd {
  readonly host: string;
  /** Undefined until the target has accepted. */
  process: SimProcess | undefined;
  stream: SimStream | undefined;
  /** What comes to this end. */
  readonly incoming: Pipe;
  isGone: boolean;
}

type Item =
  | { readonly kind: 'bytes'; bytes: Buffer; readonly readyAtMs: number }
  | { readonly kind: 'begin'; readonly act: () => void; readonly readyAtMs: number }
  | { readonly kind: 'greeting' | 'refusal' | 'end' | 'reset'; readonly readyAtMs: number };

export class Pipe {
  readonly #network: Network;
  readonly #link: Link;
  #items: Item[] = [];
  #bytes = 0;
  #lastReadyAtMs = 0;
  #isScheduled = false;
  /** The reader has taken all that it was given. */
  #isReaderReady = true;
  #isOver = false;
  #waiting: (() => void)[] = [];
  writer: SimProcess | undefined;
  /** The other direction of the same connection. */
  back: Pipe | undefined;
  end: PipeEnd | undefined;

  constructor(network: Network, link: Link) {
    this.#network = network;
    this.#link = link;
    link.pipes.add(this);
  }

  /** The first packet: `act` is what its arrival does. */
  begin(act: () => void): void {
    this.#add({ kind: 'begin', act, readyAtMs: this.#readyAt(0) });
  }

  greet(): void {
    this.#add({ kind: 'greeting', readyAtMs: this.#readyAt(0) });
  }

  refuse(): void {
    this.#add({ kind: 'refusal', readyAtMs: this.#readyAt(0) });
  }

  /** `done`: there is room for more. */
  write(bytes: Buffer, done: () => void): void {
    // Of a process that was killed in the middle of this event nothing leaves any more.
    if (this.writer?.isAlive === false) return;
    const { end } = this;
    // Nobody is there any more, says the machine that this is sent to.
    if (end?.isGone === true && !this.#network.isDark(end.host)) this.back?.abort();
    this.#bytes += bytes.length;
    this.#add({ kind: 'bytes', bytes, readyAtMs: this.#readyAt(bytes.length) });
    if (this.#bytes < this.#network.capacityBytes) done();
    else this.#waiting.push(done);
  }

  /** After all that was written, nothing more. */
  finish(): void {
    this.#add({ kind: 'end', readyAtMs: this.#readyAt(0) });
  }

  /** What is under way is lost; the reader hears of a reset. */
  abort(): void {
    this.#items = this.#items.filter(({ kind }) => kind === 'begin' || kind === 'greeting');
    this.#bytes = 0;
    this.#add({ kind: 'reset', readyAtMs: this.#readyAt(0) });
  }

  /** Nobody reads here any more. */
  close(): void {
    this.#isOver = true;
    this.#items = [];
    this.#link.pipes.delete(this);
    this.#release();
  }

  /** Sees to it that what is ready is delivered. */
  pump(): void {
    const [first] = this.#items;
    if (first === undefined || this.#isScheduled || this.#isOver) return;
    if (this.#link.isBlocked || !this.#isReaderReady) return;
    if (first.kind !== 'begin' && this.end?.stream === undefined) return;
    this.#isScheduled = true;
    const { world } = this.#network;
    const reader = first.kind === 'begin' ? undefined : this.end?.process;
    world.scheduleAt(first.readyAtMs, this.#link.name, () => this.#deliver(), reader);
  }

  #add(item: Item): void {
    if (this.#isOver) return;
    this.#lastReadyAtMs = item.readyAtMs;
    this.#items.push(item);
    this.pump();
  }

  #readyAt(bytes: number): number {
    const { delayMsMin, delayMsMax, bytesPerMs } = this.#link;
    const nowMs = this.writer?.nowMs ?? this.#network.world.nowMs;
    const delayMs = this.#network.random.between(delayMsMin, delayMsMax);
    return Math.max(nowMs + delayMs, this.#lastReadyAtMs) + bytes / bytesPerMs;
  }

  #deliver(): void {
    this.#isScheduled = false;
    const item = this.#items[0];
    // It was blocked, or emptied, since this was planned.
    if (item === undefined || this.#isOver) return;
    if (this.#link.isBlocked) return;
    if (item.readyAtMs > this.#network.world.nowMs) return this.pump();
    if (item.kind === 'bytes') this.#deliverBytes();
    else {
      this.#items.shift();
      this.#deliverSign(item);
    }
    this.pump();
  }

  #deliverSign(item: Exclude<Item, { kind: 'bytes' }>): void {
    const stream = this.end?.stream;
    switch (item.kind) {
      case 'begin':
        item.act();
        return;
      case 'greeting':
        stream?.emit('connect');
        return;
      case 'refusal':
        stream?.destroy(connectionError('ECONNREFUSED'));
        return;
      case 'end':
        stream?.push(null);
        return;
      case 'reset':
        stream?.destroy(connectionError('ECONNRESET'));
    }
  }

  /** All that is ready arrives glued together, or a piece of it. */
  #deliverBytes(): void {
    const { random, world } = this.#network;
    const ready: Buffer[] = [];
    let next = this.#items[0];
    while (next?.kind === 'bytes' && next.readyAtMs <= world.nowMs) {
      ready.push(next.bytes);
      this.#items.shift();
      next = this.#items[0];
    }
    let bytes = ready.length === 1 ? (ready[0] as Buffer) : Buffer.concat(ready);
    if (bytes.length > 1 && random.chance(this.#link.pieceChance)) {
      const length = random.chance(0.5) ? 1 : 1 + random.below(bytes.length - 1);
      const readyAtMs = world.nowMs + random.between(0, 0.5);
      this.#items.unshift({ kind: 'bytes', bytes: bytes.subarray(length), readyAtMs });
      bytes = bytes.subarray(0, length);
    }
    if (this.#link.flipChance > 0 && random.chance(this.#link.flipChance)) {
      bytes = flipOneBit(bytes, random.below(bytes.length * 8));
      this.#network.flippedBits += 1;
      world.trace.say(world.nowMs, 'net', `a bit is turned on ${this.#link.name}`);
    }
    this.#bytes -= bytes.length;
    if (this.#bytes < this.#network.capacityBytes) this.#release();
    this.#isReaderReady = false;
    this.end?.stream?.receive(bytes, () => {
      this.#isReaderReady = true;
      this.pump();
    });
  }

  #release(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const done of waiting) this.writer?.post(0, 'drain', done);
  }
}

function connectionError(code: string): Error {
  return Object.assign(new Error(code), { code });
}

function flipOneBit(bytes: Buffer, bit: number): Buffer {
  const copy = Buffer.from(bytes);
  const at = bit >> 3;
  copy[at] = (copy[at] ?? 0) ^ (1 << (bit & 7));
  return copy;
}
