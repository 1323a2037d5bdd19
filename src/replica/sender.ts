/**
 * Feeds one peer (the successor, or a learner) this replica's log in order over one link: from
 * memory while it lasts, else from disk in pieces. Belongs to one epoch and one link, and so do the
 * acks it counts.
 *
 * Invariant: acked < next <= lastSeq + 1; every entry below `next` was sent on this link or was there.
 */
import type { Core, Link } from './core.js';
import type { Entry } from './entry.js';

/** Read from the log at a time: little, since clients wait while it is sent on. */
const readBytesMax = 256 * 1024;

export class Sender {
  readonly link: Link;
  /** The peer's own proof, on this link, in this epoch. */
  acked = 0;
  /** idle: the peer has not said yet what it has. reading: waits for the disk. snapshot: waits for one to be sent. */
  state: 'idle' | 'live' | 'reading' | 'snapshot' = 'idle';
  /** The end of the snapshot that was sent, and what the peer acked of it; either may be known first. */
  #snapshotSeq: number | undefined;
  #snapshotAcked = 0;

  readonly #core: Core;
  /** Whether more than a window of bytes may be under way: only to the successor, from memory. */
  readonly #windowed: boolean;
  #next = 1;
  #commitSent = 0;
  #outstandingBytes = 0;
  readonly #outstanding: { lastSeq: number; bytes: number }[] = [];

  constructor(core: Core, link: Link, windowed: boolean) {
    this.#core = core;
    this.link = link;
    this.#windowed = windowed;
  }

  /** The seq that will be sent next. */
  get next(): number {
    return this.#next;
  }

  /** The log from here on may still have to be read for this peer. */
  get neededSeq(): number {
    if (this.isFed) return this.#next;
    return this.#snapshotSeq === undefined ? Number.POSITIVE_INFINITY : this.#snapshotSeq + 1;
  }

  /** The peer's log agrees with ours up to `seq`; feed it what comes after. */
  startAfter(seq: number): void {
    this.#next = seq + 1;
    this.state = 'live';
    this.pump();
  }

  /** A snapshot up to `seq` is under way; the peer's ack of it says that it can take more. */
  awaitSnapshot(seq: number): void {
    this.#snapshotSeq = seq;
    this.#startAfterSnapshot();
  }

  /** Whether nothing that the peer lacks must be read from disk. */
  get isFedFromMemory(): boolean {
    if (this.state !== 'live') return false;
    const { log } = this.#core;
    return this.#next > log.lastSeq || log.startingAt(this.#next) !== undefined;
  }

  /** Whether the peer takes entries over this link. */
  get isFed(): boolean {
    return this.state === 'live' || this.state === 'reading';
  }

  /** Sends what there is, as far as the window allows. */
  pump(): void {
    const { log } = this.#core;
    while (this.state === 'live' && this.#next <= log.lastSeq) {
      if (this.#windowed && this.#outstandingBytes > this.#core.options.transferWindowBytes) return;
      const entry = log.startingAt(this.#next);
      if (entry === undefined) {
        if (this.#outstandingBytes > this.#core.options.transferWindowBytes) return;
        this.#readFromDisk();
        return;
      }
      this.#send(entry);
    }
  }

  onLogRead(entries: readonly Entry[]): void {
    if (this.state !== 'reading') return;
    this.state = 'live';
    for (const entry of entries) {
      // What was cut or sent otherwise in the meantime is of no use; the pump asks again.
      if (entry.firstSeq !== this.#next) break;
      if (this.#core.log.runs.epochAt(entry.lastSeq) !== entry.epoch) break;
      this.#send(entry);
    }
    this.pump();
  }

  /** The caller has checked that (seq, epoch) is in our log. */
  onAck(seq: number): void {
    if (this.state === 'snapshot') {
      this.#snapshotAcked = seq;
      this.#startAfterSnapshot();
      return;
    }
    if (seq >= this.#next || seq <= this.acked) return;
    this.acked = seq;
    for (let first = this.#outstanding[0]; first !== undefined && first.lastSeq <= seq; ) {
      this.#outstandingBytes -= first.bytes;
      this.#outstanding.shift();
      first = this.#outstanding[0];
    }
    this.pump();
  }

  /** Tells the peer the commit index, unless an append already did. */
  sendCommit(): void {
    if (!this.isFed) return;
    const { commit } = this.#core.log;
    if (commit <= this.#commitSent) return;
    this.#commitSent = commit;
    this.#core.send(this.link.id, { kind: 'commit', commit });
  }

  #startAfterSnapshot(): void {
    if (this.#snapshotAcked === 0 || this.#snapshotAcked !== this.#snapshotSeq) return;
    this.acked = this.#snapshotAcked;
    this.startAfter(this.acked);
    this.sendCommit();
  }

  #send(entry: Entry): void {
    const { commit } = this.#core.log;
    this.#core.send(this.link.id, { kind: 'append', entry, commit });
    this.#commitSent = commit;
    this.#next = entry.lastSeq + 1;
    this.#outstanding.push({ lastSeq: entry.lastSeq, bytes: entry.record.length });
    this.#outstandingBytes += entry.record.length;
  }

  #readFromDisk(): void {
    this.state = 'reading';
    this.#core.emit({
      kind: 'read-log',
      link: this.link.id,
      fromSeq: this.#next,
      bytesMax: readBytesMax,
    });
  }
}
