/**
 * One replica driven by hand: events in, the effects of each step out. For tests of single rules; whole
 * clusters are in chain.ts.
 */
import type { Configuration, Member } from '../../src/coordination/configuration.js';
import { EntryLog } from '../../src/replica/entry-log.js';
import type { Entry } from '../../src/replica/entry.js';
import type { Effect, Event, LinkId, ReadRequest, WriteRequest } from '../../src/replica/events.js';
import type { PeerBody } from '../../src/replica/messages.js';
import { Replica } from '../../src/replica/replica.js';
import { timingOf } from '../../src/replica/timing.js';
import { seal } from './chain-disk.js';

export function memberOf(name: string): Member {
  return { serverId: name[0] as string, incarnation: name, address: name[0] as string };
}

/** `A1 B1` in epoch `epoch`. */
export function chainOf(
  epoch: number,
  names: string,
  more: Partial<Configuration> = {},
): Configuration {
  return {
    clusterId: 'cluster',
    generation: 1,
    epoch,
    configId: `config-${epoch}`,
    members: names.split(' ').map(memberOf),
    left: [],
    change: { kind: 'removal', reason: 'test', by: 'test' },
    restartEpoch: 0,
    ...more,
  };
}

export function entryOf(
  epoch: number,
  firstSeq: number,
  keys: readonly number[],
  commit = 0,
): Entry {
  const ops = keys.map((key) => ({
    kind: 'put' as const,
    key: Uint8Array.of(key),
    value: new TextEncoder().encode('v'),
  }));
  const header = { epoch, firstSeq, count: keys.length, commit };
  const lastSeq = firstSeq + keys.length - 1;
  return { epoch, firstSeq, lastSeq, commit, ops, keyHashes: keys, record: seal(header, ops) };
}

export interface DriverOptions {
  readonly lastKnown?: Configuration;
  readonly log?: EntryLog;
  readonly replicas?: number;
  readonly minReplicas?: number;
}

export class ReplicaDriver {
  readonly replica: Replica;
  readonly log: EntryLog;
  readonly configurations: Configuration[] = [];
  nowMs = 0;
  wallMs = 0;
  effects: Effect[] = [];
  #version = 0;

  constructor(name: string, options: DriverOptions = {}) {
    let ids = 0;
    this.log = options.log ?? new EntryLog([], 0, [], 1_000);
    this.replica = new Replica(
      {
        self: memberOf(name),
        replicas: options.replicas ?? 3,
        minReplicas: options.minReplicas ?? 1,
        timing: timingOf(500, 2_000),
        transferWindowBytes: 1_000,
        randomId: () => `${name}#${(ids += 1)}`,
        seal,
        prefersSnapshot: () => false,
      },
      { log: this.log, lastKnown: options.lastKnown },
    );
  }

  step(event: Event): readonly Effect[] {
    const now = { monotonicMs: this.nowMs, wallMs: this.nowMs + this.wallMs };
    this.effects = [...this.replica.step(event, now)];
    return this.effects;
  }

  /** `/chain` shows this configuration, and it goes to disk. */
  adopt(configuration: Configuration): readonly Effect[] {
    this.show(configuration);
    return this.step({ kind: 'persisted' });
  }

  show(configuration: Configuration): readonly Effect[] {
    this.configurations.push(configuration);
    this.#version += 1;
    return this.step({
      kind: 'chain',
      reading: { kind: 'found', configuration, version: this.#version },
    });
  }

  link(link: LinkId, peer: string, dialed: boolean): readonly Effect[] {
    return this.step({ kind: 'link-up', link, peer: memberOf(peer), dialed });
  }

  hear(
    link: LinkId,
    body: PeerBody,
    epoch = this.replica.configuration?.epoch ?? 0,
  ): readonly Effect[] {
    const configId =
      this.configurations.find((known) => known.epoch === epoch)?.configId ?? `config-${epoch}`;
    return this.step({ kind: 'message', link, message: { epoch, configId, body } });
  }

  write(...keys: number[]): readonly Effect[] {
    const writes: WriteRequest[] = keys.map((keyHash) => ({
      op: { kind: 'put', key: Uint8Array.of(keyHash), value: Uint8Array.of() },
      keyHash,
    }));
    return this.step({ kind: 'writes', writes });
  }

  read(scope: ReadRequest['scope']): readonly Effect[] {
    return this.step({ kind: 'reads', reads: [{ scope }] });
  }

  durable(): readonly Effect[] {
    return this.step({ kind: 'durable', seq: this.log.lastSeq });
  }

  /** Time passes, a tick at a time. */
  pass(ms: number): readonly Effect[] {
    const all: Effect[] = [];
    for (const endMs = this.nowMs + ms; this.nowMs < endMs; ) {
      this.nowMs = Math.min(this.nowMs + 10, endMs);
      all.push(...this.step({ kind: 'tick' }));
    }
    return (this.effects = all);
  }

  turn(): readonly Effect[] {
    return this.step({ kind: 'turn-end' });
  }

  /** The effects of this kind in the last step. */
  of<K extends Effect['kind']>(kind: K): (Effect & { kind: K })[] {
    return this.effects.filter((effect): effect is Effect & { kind: K } => effect.kind === kind);
  }

  /** What the last step sent, pings and beats left out unless asked for. */
  sent(...kinds: PeerBody['kind'][]): PeerBody[] {
    const bodies = this.of('send').map(({ body }) => body);
    if (kinds.length > 0) return bodies.filter(({ kind }) => kinds.includes(kind));
    return bodies.filter(({ kind }) => !kind.endsWith('beat') && kind !== 'ping');
  }
}
