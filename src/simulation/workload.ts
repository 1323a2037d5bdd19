/**
 * The clients of a run: the production library, each in a process of its own. They write, read and ask for op ids, and note
 * what they saw for the checkers.
 *
 * Invariant: every value that is written is written once, so what is read says who wrote it.
 */
import { connect } from '../client/connect.js';
import type { KvClient } from '../client/kv-client.js';
import { CatenaError, OutcomeUnknownError } from '../errors.js';
import { parseOpId } from '../protocol/op-id.js';
import { delay } from '../runtime/runtime.js';
import type { Answer, HistoryOp, OpId, Operation, Shown } from './checkers/history.js';
import type { SimProcess } from './process.js';
import type { Random } from './random.js';
import type { World } from './world.js';

/** What the service offers. */
type Asked = Extract<Operation, { kind: 'put' | 'delete' | 'get' | 'size' | 'scan' }>;

/** What `verify` said of an op. */
export interface Verification {
  readonly client: number;
  readonly opId: OpId;
  readonly outcome: 'executed' | 'pending' | 'never' | 'unknown';
}

export interface WorkloadSettings {
  /** Calls of one client that are in flight together. */
  readonly lanes: number;
  readonly keys: number;
  readonly pauseMsMax: number;
  readonly valueBytesMax: number;
}

const lanesMax = 10;
const calmPauseMsMax = 400;

interface Seen {
  readonly at?: OpId;
  readonly answer?: Answer;
}

export class SimClient {
  readonly process: SimProcess;
  readonly history: HistoryOp[] = [];
  readonly verifications: Verification[] = [];
  /** Set: what is asked now only shows that there are answers. */
  isCalm = false;
  /** Set: no op is begun any more. */
  isStopping = false;
  /** Its last op has ended, and it has. */
  isDone = false;
  /** Writes that were answered. */
  done = 0;
  readonly #world: World;
  readonly #number: number;
  readonly #random: Random;
  readonly #settings: WorkloadSettings;
  readonly #addresses: readonly string[];

  constructor(
    world: World,
    parts: {
      number: number;
      process: SimProcess;
      addresses: readonly string[];
      settings: WorkloadSettings;
    },
  ) {
    this.#world = world;
    this.#number = parts.number;
    this.process = parts.process;
    this.#addresses = parts.addresses;
    this.#settings = parts.settings;
    this.#random = world.random.fork();
  }

  start(): void {
    this.process.post(0, 'start', () => {
      this.#run().catch((error: unknown) => this.#world.fail(error));
    });
  }

  async #run(): Promise<void> {
    const servers = this.#random.shuffled(this.#addresses);
    const client = await connect({ servers, cluster: 'simulated', lazy: true });
    const lanes = Array.from({ length: this.#settings.lanes }, (_, index) => index);
    await Promise.all(lanes.map((lane) => this.#runLane(client, lane)));
    await client.close();
    this.isDone = true;
  }

  /** One call after the other. To the checkers each lane is a client. */
  async #runLane(client: KvClient, lane: number): Promise<void> {
    const number = this.#number * lanesMax + lane;
    for (let count = 0; !this.isStopping; count++) {
      await this.#perform(client, number, this.#draw(`${number}.${count}`));
      const pauseMsMax = this.isCalm ? calmPauseMsMax : this.#settings.pauseMsMax;
      await delay(this.#random.between(0, pauseMsMax));
    }
  }

  #draw(name: string): Asked {
    const random = this.#random;
    const key = `key-${random.below(this.#settings.keys)}`;
    const draw = random.below(100);
    if (draw < 45) {
      const filler = '~'.repeat(random.below(this.#settings.valueBytesMax));
      return { kind: 'put', key, value: `${name}${filler}` };
    }
    if (draw < 55) return { kind: 'delete', key };
    if (draw < 94) return { kind: 'get', key };
    return { kind: draw < 97 ? 'size' : 'scan' };
  }

  async #perform(client: KvClient, number: number, operation: Asked): Promise<void> {
    const startMs = this.process.nowMs;
    const trace = this.#world.trace;
    const about = { client: number, startMs, ...operation };
    try {
      const seen = await this.#call(client, operation);
      this.#note({ ...about, endMs: this.process.nowMs, outcome: 'ok', ...seen });
      if (operation.kind === 'put' || operation.kind === 'delete') this.done += 1;
    } catch (error) {
      if (!(error instanceof CatenaError)) throw error;
      const isUnknown = error instanceof OutcomeUnknownError;
      const at = isUnknown && error.opId !== undefined ? parseOpId(error.opId) : undefined;
      if (trace.isOn)
        trace.say(this.process.nowMs, this.process.name, `${error.code}: ${error.message}`);
      this.#note({
        ...about,
        endMs: this.process.nowMs,
        outcome: isUnknown ? 'unknown' : 'failed',
        ...(at === undefined ? {} : { at }),
      });
      if (at !== undefined) await this.#verify(client, number, at);
    }
  }

  #note(op: HistoryOp): void {
    this.history.push(op);
    const { trace } = this.#world;
    if (trace.isOn) trace.say(this.process.nowMs, this.process.name, describe(op));
  }

  async #call(client: KvClient, operation: Asked): Promise<Seen> {
    const random = this.#random;
    const isShort = random.chance(0.2);
    // The one that is named may be down for good.
    const at = random.chance(0.3) ? { at: random.pick(this.#addresses) } : {};
    const timeoutMs = isShort || 'at' in at ? 50 + random.below(400) : 2_000;
    switch (operation.kind) {
      case 'put': {
        const announce = random.chance(0.5);
        const done = await client.put(operation.key, operation.value, { timeoutMs, announce });
        return { at: parseOpId(done.opId), answer: { existed: done.replaced } };
      }
      case 'delete': {
        const done = await client.delete(operation.key, { timeoutMs });
        return { at: parseOpId(done.opId), answer: { existed: done.existed } };
      }
      case 'get': {
        const { found, at: opId } = await client.read(operation.key, { timeoutMs, ...at });
        const answer =
          found === undefined
            ? { found: null }
            : { found: { value: textOf(found.value), version: found.version } };
        return { at: parseOpId(opId), answer };
      }
      case 'size': {
        const { keys, at: opId } = await client.readSize({ timeoutMs, ...at });
        return { at: parseOpId(opId), answer: { keys } };
      }
      case 'scan': {
        const snapshot = await client.snapshot({ timeoutMs, ...at });
        const entries: Shown[] = [];
        for await (const { key, value, version } of snapshot) {
          entries.push({ key: textOf(key), value: textOf(value), version });
        }
        return { at: parseOpId(snapshot.opId), answer: { entries } };
      }
    }
  }

  async #verify(client: KvClient, number: number, opId: OpId): Promise<void> {
    try {
      const outcome = await client.verify(`${opId.epoch}-${opId.seq}`, { timeoutMs: 1_000 });
      this.verifications.push({ client: number, opId, outcome });
    } catch (error) {
      if (!(error instanceof CatenaError)) throw error;
    }
  }
}

function describe(op: HistoryOp): string {
  const { kind, outcome, startMs, at, answer } = op;
  const key = 'key' in op ? ` ${op.key}` : '';
  const value = op.kind === 'put' ? ` ${op.value.slice(0, 12)}` : '';
  const place = at === undefined ? '' : ` at ${at.epoch}-${at.seq}`;
  const seen = answer === undefined ? '' : ` ${JSON.stringify(answer).slice(0, 80)}`;
  return `lane ${op.client}: ${kind}${key}${value} since ${(startMs / 1000).toFixed(6)}: ${outcome}${place}${seen}`;
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('utf8');
}
