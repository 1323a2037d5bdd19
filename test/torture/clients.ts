/**
 * The clients of a torture run: a program of its own (`node clients.js '<options as JSON>'`) that notes each op and what
 * came of it as a line of JSON, in the form that the checkers read. A line on its standard input says with what keys
 * begin from now on; at the end of that input the clients finish what they are at, and it ends.
 */
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type KvClient, OutcomeUnknownError } from '../../src/index.js';
import type {
  Answer,
  HistoryOp,
  KeyOperation,
  OpId,
} from '../../src/simulation/checkers/history.js';
import { withoutFiller } from '../support/workload.js';
import { monotonicMs } from './clock.js';

export interface ClientsOptions {
  readonly servers: readonly string[];
  /** Stands in every value: values are unique over all loads of one history. */
  readonly label: string;
  readonly clients: number;
  readonly keys: number;
  /** What keys begin with, until a line says otherwise. */
  readonly prefix: string;
  /** Of each client between two ops. */
  readonly pauseMs: number;
  /** Values are filled up to this length, which the history leaves out. */
  readonly valueBytes: number;
  readonly timeoutMs: number;
}

type Seen = Pick<HistoryOp, 'answer' | 'at'>;
type ClientOperation = Extract<KeyOperation, { kind: 'put' | 'get' | 'delete' }> | { kind: 'size' };

const filler = '~';
/** In a hundred ops; the rest are reads of a key. */
const shares = { put: 55, delete: 8, size: 2 } as const;
/** Every so many-th client only reads. */
const readersEvery = 3;
/** Of some ops: so that their client goes on while the rest waits for a head that is not heard. */
const shortTimeoutMs = 400;

/**
 * While writes wait somebody must ask for what may be stale, and ask a server that has been removed: each reader asks
 * one server only, where the others follow the newest view.
 */
const isReader = (number: number): boolean => number % readersEvery === 0;

async function main(options: ClientsOptions): Promise<void> {
  let prefix = options.prefix;
  const over = new AbortController();
  const input = createInterface({ input: process.stdin });
  input.on('line', (line) => (prefix = line));
  input.once('close', () => over.abort());
  const { servers, timeoutMs } = options;
  await Promise.all(
    Array.from({ length: options.clients }, async (_, number) => {
      const client = await connect({ servers, timeoutMs, lazy: true });
      for (let count = 0; !over.signal.aborted; count++) {
        const value = `${options.label}.${number}.${count}`;
        const op = drawOperation(prefix, value, number, options);
        const noted = await note(client, number, op, options);
        process.stdout.write(`${JSON.stringify(noted)}\n`);
        if (options.pauseMs > 0) await sleep(options.pauseMs);
      }
      await client.close();
    }),
  );
}

function drawOperation(
  prefix: string,
  value: string,
  number: number,
  { keys }: ClientsOptions,
): ClientOperation {
  const key = `${prefix}.key-${Math.floor(Math.random() * keys)}`;
  if (isReader(number)) return { kind: 'get', key };
  const drawn = Math.random() * 100;
  if (drawn < shares.put) return { kind: 'put', key, value };
  if (drawn < shares.put + shares.delete) return { kind: 'delete', key };
  if (drawn < shares.put + shares.delete + shares.size) return { kind: 'size' };
  return { kind: 'get', key };
}

/** One op, noted whatever comes of it. */
async function note(
  client: KvClient,
  number: number,
  op: ClientOperation,
  options: ClientsOptions,
): Promise<HistoryOp> {
  const startMs = monotonicMs();
  const started = { ...op, client: number, startMs };
  try {
    const seen = await carryOut(client, op, number, options);
    return { ...started, ...seen, outcome: 'ok', endMs: monotonicMs() };
  } catch (error) {
    const endMs = monotonicMs();
    if (!(error instanceof OutcomeUnknownError)) return { ...started, outcome: 'failed', endMs };
    const at = error.opId === undefined ? {} : { at: opIdOf(error.opId) };
    return { ...started, ...at, outcome: 'unknown', endMs };
  }
}

async function carryOut(
  client: KvClient,
  op: ClientOperation,
  number: number,
  { valueBytes, servers, timeoutMs }: ClientsOptions,
): Promise<Seen> {
  // So that those whose answer is lost name their place, some of the time.
  const announce = Math.random() < 0.5;
  const isHasty = isReader(number) || Math.random() < 0.5;
  const timeout = { timeoutMs: isHasty ? shortTimeoutMs : timeoutMs };
  switch (op.kind) {
    case 'put': {
      const value = op.value.padEnd(valueBytes, filler);
      const { opId, replaced } = await client.put(op.key, value, { announce, ...timeout });
      return seen(opId, { existed: replaced });
    }
    case 'delete': {
      const { opId, existed } = await client.delete(op.key, { announce, ...timeout });
      return seen(opId, { existed });
    }
    case 'get': {
      const server = servers[(number / readersEvery) % servers.length];
      const where = isReader(number) && server !== undefined ? { at: server } : {};
      const { found, at } = await client.read(op.key, { ...where, ...timeout });
      if (found === undefined) return seen(at, { found: null });
      const value = withoutFiller(Buffer.from(found.value).toString());
      return seen(at, { found: { value, version: found.version } });
    }
    case 'size': {
      const { keys, at } = await client.readSize(timeout);
      return seen(at, { keys });
    }
  }
}

function seen(opId: string, answer: Answer): Seen {
  return { at: opIdOf(opId), answer };
}

/** `epoch-seq` */
function opIdOf(text: string): OpId {
  const [epoch, seq] = text.split('-').map(Number) as [number, number];
  return { epoch, seq };
}

await main(JSON.parse(process.argv[2] as string) as ClientsOptions);
