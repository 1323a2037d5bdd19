/**
 * The load of a deployment under torture: a process of clients, and what they have seen so far. What waits for traffic
 * waits here, for a number of answered ops and not for a time, so that a slow machine makes a run longer, never void.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type HistoryOp, isRead } from '../../src/simulation/checkers/history.js';
import type { ClientsOptions } from './clients.js';
import { monotonicMs } from './clock.js';

const clientsScript = fileURLToPath(new URL('./clients.js', import.meta.url));

/** Answered ops that must be there. */
export interface Traffic {
  readonly reads: number;
  readonly writes: number;
}

export class Load {
  readonly ops: HistoryOp[] = [];
  readonly #child: ChildProcess;
  readonly #news = new EventEmitter();
  readonly #ended: Promise<unknown>;
  #errors = '';
  #isOver = false;

  constructor(options: ClientsOptions) {
    const child = spawn(process.execPath, [clientsScript, JSON.stringify(options)], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#child = child;
    child.stdin.on('error', () => {});
    createInterface({ input: child.stdout }).on('line', (line) => {
      this.ops.push(JSON.parse(line) as HistoryOp);
      this.#news.emit('news');
    });
    child.stderr.on('data', (text: Buffer) => (this.#errors += text.toString()));
    this.#ended = once(child, 'close').then(() => {
      this.#isOver = true;
      this.#news.emit('news');
    });
  }

  /** Keys begin with it, in ops that begin from about now on. */
  setPrefix(prefix: string): void {
    this.#child.stdin?.write(`${prefix}\n`);
  }

  /** Waits until so many ops that began after this instant were answered. Throws where that takes too long. */
  async until(wanted: Traffic, sinceMs: number, what: string, waitMsMax = 30_000): Promise<void> {
    const giveUpMs = monotonicMs() + waitMsMax;
    let next = this.#firstSince(sinceMs);
    let reads = 0;
    let writes = 0;
    for (;;) {
      for (; next < this.ops.length; next++) {
        const op = this.ops[next] as HistoryOp;
        if (op.outcome !== 'ok' || op.startMs < sinceMs) continue;
        if (isRead(op)) reads += 1;
        else writes += 1;
      }
      if (reads >= wanted.reads && writes >= wanted.writes) return;
      const text = `${reads} reads and ${writes} writes ${what}`;
      if (this.#isOver) throw new Error(`the clients ended after ${text}: ${this.#errors}`);
      const leftMs = giveUpMs - monotonicMs();
      if (leftMs <= 0) throw new Error(`only ${text} in ${waitMsMax} ms`);
      const timer = new AbortController();
      const news = once(this.#news, 'news', { signal: timer.signal }).catch(() => undefined);
      await Promise.race([
        news,
        sleep(leftMs, undefined, { signal: timer.signal }).catch(() => {}),
      ]);
      timer.abort();
    }
  }

  /** How many that began in this time were answered. */
  answered(fromMs: number, toMs: number): Traffic {
    let reads = 0;
    let writes = 0;
    for (let index = this.#firstSince(fromMs); index < this.ops.length; index++) {
      const op = this.ops[index] as HistoryOp;
      if (op.outcome !== 'ok' || op.startMs < fromMs || op.endMs > toMs) continue;
      if (isRead(op)) reads += 1;
      else writes += 1;
    }
    return { reads, writes };
  }

  /** The clients finish; all that they saw. */
  async end(): Promise<readonly HistoryOp[]> {
    this.#child.stdin?.end();
    await this.#ended;
    if (this.#child.exitCode !== 0) throw new Error(`the clients failed: ${this.#errors}`);
    return this.ops;
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  /** An index that no op which ended after this instant lies before: they are noted as they end. */
  #firstSince(sinceMs: number): number {
    let low = 0;
    let high = this.ops.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.ops[middle] as HistoryOp).endMs < sinceMs) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
