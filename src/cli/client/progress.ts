/**
 * One line on a terminal that shows how far something is, drawn over itself; gone when it ends. The text is
 * pure, so that it can be tested without a terminal or a clock.
 */
import type { Writable } from 'node:stream';
import { secondsText, sizeText } from '../../text.js';

export interface Progress {
  readonly done: number;
  /** In the unit of `done`. */
  readonly total: number;
  readonly bytes: number;
}

/** A terminal. */
export type ProgressStream = Writable & { readonly columns?: number };

const redrawMs = 100;
const columnsDefault = 80;
const barWidthMax = 30;
const clearLine = '\r\u001b[K';

export class ProgressBar {
  readonly #stream: ProgressStream;
  readonly #startedAtMs = performance.now();
  #drawnAtMs = Number.NEGATIVE_INFINITY;

  constructor(stream: ProgressStream) {
    this.#stream = stream;
  }

  update(progress: Progress): void {
    const nowMs = performance.now();
    if (nowMs - this.#drawnAtMs < redrawMs) return;
    this.#drawnAtMs = nowMs;
    const columns = this.#stream.columns ?? columnsDefault;
    const text = progressText(progress, nowMs - this.#startedAtMs, columns - 1);
    this.#stream.write(`${clearLine}${text}`);
  }

  /** Takes the line away; what comes next is written in its place. */
  end(): void {
    if (this.#drawnAtMs >= 0) this.#stream.write(clearLine);
  }
}

/** As much of bar, percent, bytes, rate and time left as fits into `columns`. */
export function progressText(progress: Progress, elapsedMs: number, columns: number): string {
  const { done, total, bytes } = progress;
  const share = total === 0 ? 1 : Math.min(1, done / total);
  const perSecond = (bytes * 1000) / Math.max(1, elapsedMs);
  const leftMs = share === 0 ? undefined : (elapsedMs * (1 - share)) / share;
  const facts = [
    `${Math.floor(share * 100)} %`,
    sizeText(bytes),
    `${sizeText(Math.round(perSecond))}/s`,
    ...(leftMs === undefined ? [] : [`${secondsText(leftMs)} left`]),
  ].join('  ');
  const width = Math.min(barWidthMax, columns - facts.length - 4);
  if (width < 5) return facts.slice(0, Math.max(0, columns));
  const filled = Math.round(share * width);
  return `[${'#'.repeat(filled)}${'-'.repeat(width - filled)}]  ${facts}`;
}
