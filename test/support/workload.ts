/**
 * The load of the failover tests: clients that write and read random keys without pause and note what
 * they saw. A program of its own (`node workload.js '<options as JSON>'`), so that the same one runs on
 * this machine and in a container; prints one JSON line an op.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import type { ConnectOptions, KvClient } from '../../src/index.js';
import { connect, OutcomeUnknownError } from '../../src/index.js';
import type { HistoryOp, Operation, OpId } from '../../src/simulation/checkers/history.js';

export interface WorkloadOptions {
  readonly connect: ConnectOptions;
  /** Stands in every value: values are unique over all loads of one history. */
  readonly label?: string;
  readonly clients: number;
  readonly keys: number;
  readonly durationMs: number;
  /** A pause of each client between two ops. */
  readonly pauseMs: number;
  /** Every value is filled up to this length, so that logs grow; the history leaves that out. */
  readonly valueBytes?: number;
}

/** One op of a client, noted whatever comes of it. */
async function oneOp(
  client: KvClient,
  number: number,
  value: string,
  { keys, valueBytes = 0 }: WorkloadOptions,
): Promise<HistoryOp> {
  const key = `key-${Math.floor(Math.random() * keys)}`;
  const isPut = Math.random() < 0.5;
  const op: Operation = isPut ? { kind: 'put', key, value } : { kind: 'get', key };
  const startMs = wallMs();
  const noted = { client: number, ...op, startMs };
  try {
    if (isPut) {
      const { opId, replaced } = await client.put(key, value.padEnd(valueBytes, filler));
      const answer = { existed: replaced };
      return { ...noted, endMs: wallMs(), outcome: 'ok', at: opIdOf(opId), answer };
    }
    const { found, at } = await client.read(key);
    const endMs = wallMs();
    const answer = {
      found:
        found === undefined
          ? null
          : {
              value: withoutFiller(Buffer.from(found.value).toString()),
              version: found.version,
            },
    };
    return { ...noted, endMs, outcome: 'ok', at: opIdOf(at), answer };
  } catch (error) {
    const endMs = wallMs();
    if (!(error instanceof OutcomeUnknownError)) return { ...noted, endMs, outcome: 'failed' };
    const at = error.opId === undefined ? {} : { at: opIdOf(error.opId) };
    return { ...noted, endMs, outcome: 'unknown', ...at };
  }
}

/** Unlike `parseOpId` it also takes `0-0`, of the empty table. */
function opIdOf(text: string): OpId {
  const [epoch, seq] = text.split('-').map(Number);
  return { epoch: epoch as number, seq: seq as number };
}

const filler = '~';

/** The value as it stands in the history. */
export function withoutFiller(value: string): string {
  const end = value.indexOf(filler);
  return end === -1 ? value : value.slice(0, end);
}

/** Of one process, so it orders what its clients saw; wall time, so that kills can be matched to it. */
function wallMs(): number {
  return performance.timeOrigin + performance.now();
}

async function main(options: WorkloadOptions): Promise<void> {
  const endMs = wallMs() + options.durationMs;
  await Promise.all(
    Array.from({ length: options.clients }, async (_, number) => {
      const client = await connect(options.connect);
      for (let count = 0; wallMs() < endMs; count++) {
        const value = `${options.label ?? 'load'}.${number}.${count}`;
        const op = await oneOp(client, number, value, options);
        process.stdout.write(`${JSON.stringify(op)}\n`);
        if (options.pauseMs > 0) await sleep(options.pauseMs);
      }
      await client.close();
    }),
  );
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  await main(JSON.parse(process.argv[2] as string) as WorkloadOptions);
}
