/**
 * What `/chain` showed when it was read last, if nothing can go on from that: no node, no configuration, another
 * cluster's, or an epoch before the one adopted (FAULTS Z6, Z7). The configuration in force stays in force and
 * nothing is proposed, since whoever wrote `/chain` may count versions anew.
 *
 * Invariant: told once when it begins and once when it ends, at a level that is printed by default.
 */
import { formatConfiguration } from '../coordination/configuration.js';
import type { Core } from './core.js';

/** members: it is absent, and servers that run say that they are members of a chain. */
export type MisfitKind = 'absent' | 'garbage' | 'older' | 'another cluster' | 'members';

export interface Misfit {
  readonly kind: MisfitKind;
  readonly sinceMs: number;
  /** Of the configuration that was read; 0 for none. */
  readonly epoch: number;
}

const texts: Readonly<Record<MisfitKind, string>> = {
  absent: '/chain is gone',
  garbage: '/chain holds no valid configuration',
  older: '/chain shows an older epoch than this server adopted',
  'another cluster': '/chain belongs to another cluster',
  members: '/chain is gone while members of a chain run',
};

export class ChainMisfit {
  readonly #core: Core;
  #current: Misfit | undefined;
  /** What people were last told of. */
  #alarmed: MisfitKind | undefined;

  constructor(core: Core) {
    this.#core = core;
  }

  get current(): Misfit | undefined {
    return this.#current;
  }

  get ageMs(): number {
    return this.#core.now.monotonicMs - (this.#current?.sinceMs ?? this.#core.now.monotonicMs);
  }

  begin(kind: MisfitKind, epoch = 0): void {
    if (this.#current?.kind === kind) return;
    this.#current = { kind, epoch, sinceMs: this.#core.now.monotonicMs };
    // A read may be old, and then shows an older epoch or, soon after the first start, none.
    if (kind === 'older' || this.#core.configuration === undefined) {
      this.#core.note('warn', texts[kind], { epoch, ours: this.#core.epoch });
    }
    if (kind !== 'older') this.#alarm();
  }

  end(): void {
    this.#current = undefined;
    if (this.#alarmed !== undefined) this.#core.note('warn', '/chain fits again');
    this.#alarmed = undefined;
  }

  onTick(): void {
    if (this.ageMs > this.#core.options.timing.olderChainMs) this.#alarm();
  }

  /** The operator can put the last good one back, or give it up with `recover`. */
  #alarm(): void {
    const { configuration, epoch } = this.#core;
    if (this.#current === undefined || configuration === undefined) return;
    if (this.#current.kind === this.#alarmed) return;
    this.#alarmed = this.#current.kind;
    this.#core.note('error', `${texts[this.#alarmed]}; keeping the last good configuration`, {
      epoch: this.#current.epoch,
      ours: epoch,
      effect: 'no member can be removed or admitted until /chain is as it was',
      wayOut:
        "write lastGood to /chain; or stop all servers and run 'kv-server recover' with the data of a member",
      lastGood: formatConfiguration(configuration),
    });
  }
}
