/** How far a transfer is, for `chain` and, when it takes long, in lines for people. */
import type { TransferStatus } from '../../protocol/status.js';
import { runtime } from '../../runtime/runtime.js';

/** Between two lines about one transfer. */
const lineEveryMs = 5_000;
const MiB = 1024 * 1024;

export class TransferProgress {
  readonly #what: string;
  readonly #totalBytes: number;
  readonly #onLine: (line: string) => void;
  #startedAtMs = runtime.monotonicMs();
  #saidAtMs = this.#startedAtMs;
  #said = false;
  #bytes = 0;
  #skipped = 0;

  /** `what` as in "sends server 1a2b3c4d a snapshot". */
  constructor(what: string, totalBytes: number, onLine: (line: string) => void) {
    this.#what = what;
    this.#totalBytes = totalBytes;
    this.#onLine = onLine;
  }

  get status(): TransferStatus {
    return { bytes: this.#bytes, totalBytes: this.#totalBytes };
  }

  /** These are at the target already, from before the connection broke. */
  skip(bytes: number): void {
    this.#skipped += bytes;
    this.#bytes += bytes;
  }

  /** The connection broke; what is here stays and the rest follows from now on. */
  resume(): void {
    this.#skipped = this.#bytes;
    this.#startedAtMs = runtime.monotonicMs();
  }

  add(bytes: number): void {
    this.#bytes += bytes;
    const nowMs = runtime.monotonicMs();
    if (nowMs - this.#saidAtMs < lineEveryMs) return;
    this.#saidAtMs = nowMs;
    const rate = ((this.#bytes - this.#skipped) * 1000) / (nowMs - this.#startedAtMs);
    const leftS = Math.ceil((this.#totalBytes - this.#bytes) / Math.max(rate, 1));
    this.#say(`${this.#percent} % of ${this.#sizeText}, about ${leftS} s more`);
  }

  /** Says how it ended if it was talked about, or was worth it. */
  end(how: string): void {
    const tookS = ((runtime.monotonicMs() - this.#startedAtMs) / 1000).toFixed(1);
    const resumed = this.#skipped === 0 ? '' : `, ${toMiB(this.#skipped)} of it before a break`;
    if (!this.#said && this.#totalBytes < MiB && resumed === '') return;
    this.#say(`${how}: ${this.#percent} % of ${this.#sizeText} in ${tookS} s${resumed}`);
  }

  get #percent(): number {
    return this.#totalBytes === 0 ? 100 : Math.floor((100 * this.#bytes) / this.#totalBytes);
  }

  get #sizeText(): string {
    return toMiB(this.#totalBytes);
  }

  #say(text: string): void {
    this.#said = true;
    this.#onLine(`${this.#what}: ${text}`);
  }
}

function toMiB(bytes: number): string {
  return `${(bytes / MiB).toFixed(1)} MiB`;
}
