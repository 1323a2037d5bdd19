/** kv-client as a process would run it, with streams in the place of the terminal; and a fake chain on real sockets. */
import { PassThrough } from 'node:stream';
import { runClient } from '../../src/cli/client/main.js';
import type { ServerStatus } from '../../src/protocol/status.js';
import { FakeChain, type FakeServer } from '../client/fake-chain.js';

export interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  /** Standard input; absent: empty. */
  readonly input?: string | Uint8Array;
  /** Standard output is a terminal. */
  readonly isTerminal?: boolean;
  /** Standard error is a terminal of so many columns. */
  readonly errorColumns?: number;
  readonly env?: NodeJS.ProcessEnv;
  readonly interrupted?: AbortSignal;
}

export async function runCommand(
  args: readonly string[],
  options: RunOptions = {},
): Promise<Result> {
  const stdin = new PassThrough();
  stdin.end(options.input ?? '');
  const stdout = Object.assign(new PassThrough(), { isTTY: options.isTerminal === true });
  const { errorColumns } = options;
  const terminal = { isTTY: true, columns: errorColumns };
  const stderr = Object.assign(new PassThrough(), errorColumns === undefined ? {} : terminal);
  const out = collect(stdout);
  const err = collect(stderr);
  const { env = {}, interrupted = new AbortController().signal } = options;
  const code = await runClient({ args, env, stdin, stdout, stderr, interrupted });
  stdout.end();
  stderr.end();
  return { code, stdout: await out, stderr: await err };
}

/** Text, byte for byte: each character is one byte. */
async function collect(stream: PassThrough): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString('latin1');
}

/** Fake servers that listen; `servers` goes on the command line. */
export async function listeningChain(
  count: number,
): Promise<{ chain: FakeChain; servers: string }> {
  const chain = new FakeChain(Array.from({ length: count }, (_, index) => `unset:${index}`));
  for (const server of chain.servers) await server.listen();
  const addresses = chain.servers.map(({ address }) => address);
  chain.view = chain.viewOf(addresses, 1);
  return { chain, servers: addresses.join(',') };
}

export async function closeChain(chain: FakeChain): Promise<void> {
  await Promise.all(chain.servers.map((server) => server.close()));
}

/** What a server says of itself that knows no chain; `more` overrides. */
export function statusOf(address: string, more: Partial<ServerStatus> = {}): ServerStatus {
  return {
    serverId: `id of ${address}`,
    incarnation: '1',
    address,
    role: 'learner',
    lastSeq: 0,
    durableSeq: 0,
    commitSeq: 0,
    lease: false,
    keys: 0,
    tableBytes: 0,
    clientConnections: 1,
    serverConnections: 0,
    uptimeMs: 1,
    ops: [],
    learners: [],
    reason: '',
    waitingFor: '',
    appliedSeq: 0,
    stateHash: '',
    disk: { logFirstSeq: 1, logBytes: 0, snapshotSeq: 0, snapshotBytes: 0, freeBytes: 0 },
    ...more,
  };
}

/** From now on the server knows no chain, and says this of itself, as it is when it is asked. */
export function saysOfItself(server: FakeServer, status: () => ServerStatus): void {
  const { address } = server;
  server.opened = () => ({ serverId: `id of ${address}`, incarnation: '1', clusterId: '' });
  server.script = ({ id, body }, session, good) => {
    if (body.kind === 'status') session.answer(id, { kind: 'status', ...status() });
    else good();
  };
}
