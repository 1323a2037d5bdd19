/**
 * The lives of one server in one process: what ended the last one decides whether there is another.
 *
 *     asked to stop ............. no
 *     disk full ................. when there is room again, later each time it fills up at once
 *     data damaged .............. as a new server, if others of the last chain live; else no
 *     anything else ............. no: a failed disk or a broken invariant is never tried again (R14, P8)
 *
 * Policy only: disk, coordination and clock are handed in.
 * Invariant: one life at a time, and none begins after the supervisor was asked to stop.
 */
import { CatenaError, DataDamagedError } from '../../errors.js';
import type { LastChain } from './last-chain.js';

/** A running server, as far as it matters here. */
export interface Life {
  /** Undefined after it was asked to stop. */
  readonly ended: Promise<CatenaError | undefined>;
  leave(): Promise<void>;
  close(): Promise<void>;
  kill(): Promise<void>;
}

export interface Room {
  readonly freeBytes: number;
  /** With less than this a server would soon be full again. */
  readonly neededBytes: number;
}

export interface SupervisorHost<L extends Life> {
  /** For lines: whose lives these are. */
  readonly address: string;
  /** Throws typed errors; the data is not open any more then. */
  readonly start: () => Promise<L>;
  readonly room: () => Promise<Room>;
  /** Takes its time, for in a full outage all come back at once. */
  readonly lastChain: (signal: AbortSignal) => Promise<LastChain>;
  /** Moves all data away, together with the server's name; answers where it is now. */
  readonly setDataAside: () => Promise<string>;
  readonly onLine: (line: string) => void;
  readonly nowMs: () => number;
  /** Resolves after this time, or when the signal fires. */
  readonly pause: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** up: a server runs. The other two say what the next one waits for. */
export type SupervisorState = 'starting' | 'up' | 'waits for room' | 'waits for others' | 'ended';

/** Between two looks at a full disk. */
export const roomPollMs = 1_000;
/** A disk that is full again so soon is given a pause, twice as long each time, up to the maximum. */
export const refillWindowMs = 60_000;
export const refillPauseMsMax = 60_000;
/** Damaged more often than this in this time: the disk is broken, and no place for another copy. */
export const damagesMax = 3;
export const damageWindowMs = 3_600_000;

const MiB = 1024 * 1024;

export class Supervisor<L extends Life> {
  /** Why there is no other life: undefined when it was asked to stop. Rejects on a bug only. */
  readonly ended: Promise<CatenaError | undefined>;
  readonly #host: SupervisorHost<L>;
  readonly #stop = new AbortController();
  /** How the running server is to end; undefined while nobody asked. */
  #ending: 'leave' | 'close' | 'kill' | undefined;
  #state: SupervisorState = 'starting';
  #waiting: (() => void)[] = [];
  #life: L | undefined;
  #startedAtMs = 0;
  /** How often in a row the disk was full soon after a start. */
  #refills = 0;
  #damagedAtMs: number[] = [];

  constructor(host: SupervisorHost<L>) {
    this.#host = host;
    this.ended = this.#run().finally(() => this.#enter('ended'));
    // Whoever waits for it hears of it.
    this.ended.catch(() => undefined);
  }

  get address(): string {
    return this.#host.address;
  }

  /** The server that runs now. */
  get life(): L | undefined {
    return this.#state === 'up' ? this.#life : undefined;
  }

  get state(): SupervisorState {
    return this.#state;
  }

  /** Resolves when it is in one of these states; throws the reason if it ends before. */
  async reaches(...states: readonly SupervisorState[]): Promise<void> {
    while (!states.includes(this.#state)) {
      if (this.#state === 'ended') {
        const reason = await this.ended;
        if (reason !== undefined) throw reason;
        return;
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** The running server leaves its chain in good order, and there is no other. */
  leave(): Promise<void> {
    return this.#end('leave');
  }

  /** The running server stops without leaving, and there is no other. */
  close(): Promise<void> {
    return this.#end('close');
  }

  /** As close to `kill -9` as a server in this process comes. */
  kill(): Promise<void> {
    return this.#end('kill');
  }

  async #end(how: 'leave' | 'close' | 'kill'): Promise<void> {
    this.#ending = how;
    this.#stop.abort();
    await this.#life?.[how]();
    await this.ended.catch(() => undefined);
  }

  async #run(): Promise<CatenaError | undefined> {
    try {
      for (;;) {
        this.#enter('starting');
        const reason = await this.#live();
        if (reason === undefined) return undefined;
        if (reason.code === 'DISK_FULL') await this.#waitForRoom();
        else if (reason.code === 'DATA_DAMAGED') await this.#replace(reason);
        else return reason;
        if (this.#ending !== undefined) return undefined;
      }
    } catch (error) {
      if (error instanceof CatenaError) return error;
      throw error;
    }
  }

  /** One life, from its start to what ended it. */
  async #live(): Promise<CatenaError | undefined> {
    this.#startedAtMs = this.#host.nowMs();
    try {
      this.#life = await this.#host.start();
      // Asked while it started.
      if (this.#ending !== undefined) await this.#life[this.#ending]();
      else this.#enter('up');
      return await this.#life.ended;
    } catch (error) {
      if (error instanceof CatenaError) return error;
      throw error;
    } finally {
      this.#life = undefined;
    }
  }

  async #waitForRoom(): Promise<void> {
    const { address, nowMs, onLine } = this.#host;
    const isRefill = nowMs() - this.#startedAtMs < refillWindowMs && this.#refills > 0;
    this.#refills = isRefill ? this.#refills + 1 : 1;
    this.#enter('waits for room');
    if (isRefill) {
      await this.#pause(Math.min(roomPollMs * 2 ** (this.#refills - 1), refillPauseMsMax));
    }
    for (let looks = 0; this.#ending === undefined; looks += 1) {
      const { freeBytes, neededBytes } = await this.#host.room();
      if (freeBytes >= neededBytes) {
        onLine(`${address}: there is room again: ${mebibytes(freeBytes)} free`);
        return;
      }
      if (looks === 0) {
        const needed = Math.ceil(neededBytes / MiB);
        onLine(`${address} waits for room: ${mebibytes(freeBytes)} free, needs ${needed} MiB`);
      }
      await this.#pause(roomPollMs);
    }
  }

  /** R14: without its log a server must not keep its name. Throws why it must not be replaced. */
  async #replace(damage: CatenaError): Promise<void> {
    const { address, lastChain, nowMs, onLine, setDataAside } = this.#host;
    // Asked to stop: the data stays where it is, and the next start finds what this one found.
    if (this.#ending !== undefined) throw damage;
    const now = nowMs();
    this.#damagedAtMs = [...this.#damagedAtMs.filter((at) => now - at < damageWindowMs), now];
    if (this.#damagedAtMs.length > damagesMax) {
      throw new DataDamagedError(
        `${damage.message}. That is the ${this.#damagedAtMs.length}th time within an hour: do not trust ` +
          'this disk. The data stays where it is',
        { cause: damage },
      );
    }
    this.#enter('waits for others');
    onLine(`${address}: data damaged: ${damage.message}`);
    const chain = await lastChain(this.#stop.signal);
    if (this.#ending !== undefined) throw damage;
    if (chain.others.length === 0) {
      throw new DataDamagedError(
        `${damage.message}. The data stays where it is, for it may be the only one: ${chain.reason}`,
        { cause: damage },
      );
    }
    const path = await setDataAside();
    onLine(
      `${address}: comes back as a new server, its damaged data is kept in ${path} ` +
        `(of the last chain ${chain.others.join(', ')} ${chain.others.length === 1 ? 'is' : 'are'} there)`,
    );
  }

  #enter(state: SupervisorState): void {
    this.#state = state;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }

  #pause(ms: number): Promise<void> {
    return this.#host.pause(ms, this.#stop.signal);
  }
}

function mebibytes(bytes: number): string {
  return `${Math.floor(bytes / MiB)} MiB`;
}
