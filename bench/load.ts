/**
 * A closed loop of clients straight on the wire: `connections` sockets with `inFlight` requests under
 * way in all, each answered one replaced at once. Measures the servers, not the client library.
 */
import { connect } from 'node:net';
import { parseAddress } from '../src/protocol/address.js';
import { Connection } from '../src/protocol/connection.js';
import {
  decodeOpened,
  decodeResponse,
  encodeOpen,
  encodeRequest,
  protocolVersion,
  type RequestBody,
} from '../src/protocol/messages.js';

export interface Load {
  /** Connections are spread over these servers in turn. */
  readonly addresses: readonly string[];
  readonly cluster: string;
  readonly connections: number;
  /** Over all connections. */
  readonly inFlight: number;
  readonly durationMs: number;
  readonly next: () => RequestBody;
}

export interface LoadResult {
  readonly opsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  readonly failures: number;
}

export async function runLoad(load: Load): Promise<LoadResult> {
  const clients = await Promise.all(
    Array.from({ length: load.connections }, (_, index) =>
      openClient(load.addresses[index % load.addresses.length] as string, load.cluster),
    ),
  );
  const latencies: number[] = [];
  let failures = 0;
  const startedAtMs = performance.now();
  const endAtMs = startedAtMs + load.durationMs;
  await Promise.all(
    clients.map((client, index) => {
      // What does not divide evenly goes to the first connections.
      const share = Math.floor((load.inFlight + load.connections - 1 - index) / load.connections);
      return client.drive(share, endAtMs, load.next, (latencyMs, failed) => {
        latencies.push(latencyMs);
        if (failed) failures += 1;
      });
    }),
  );
  const elapsedMs = performance.now() - startedAtMs;
  for (const client of clients) client.close();
  latencies.sort((a, b) => a - b);
  const at = (part: number): number => latencies[Math.floor((latencies.length - 1) * part)] ?? 0;
  return {
    opsPerSecond: (latencies.length / elapsedMs) * 1000,
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    maxMs: at(1),
    failures,
  };
}

interface LoadClient {
  drive(
    inFlight: number,
    endAtMs: number,
    next: () => RequestBody,
    onAnswer: (latencyMs: number, failed: boolean) => void,
  ): Promise<void>;
  close(): void;
}

function openClient(address: string, cluster: string): Promise<LoadClient> {
  return new Promise((resolve, reject) => {
    const socket = connect({ ...parseAddress(address), noDelay: true });
    let onPayload: ((payload: Buffer) => void) | undefined;
    const connection = new Connection(socket, {
      onPayloads: (payloads) => {
        for (const payload of payloads) {
          if (onPayload !== undefined) onPayload(payload);
          else {
            const { refused } = decodeOpened(payload);
            if (refused !== undefined) reject(new Error(refused.message));
            onPayload = () => {};
            resolve({ drive, close: () => connection.close(undefined) });
          }
        }
      },
      onClose: (error) => reject(error ?? new Error(`${address} closed the connection`)),
    });
    socket.once('error', reject);
    connection.send(encodeOpen({ version: protocolVersion, cluster }));

    const drive: LoadClient['drive'] = (inFlight, endAtMs, next, onAnswer) =>
      new Promise((done) => {
        // An answered request's id serves again: no table grows, little is left to collect.
        const sentAtMs = new Float64Array(inFlight + 1);
        let underWay = inFlight;
        const issue = (id: number): void => {
          sentAtMs[id] = performance.now();
          connection.send(encodeRequest({ id, body: next() }));
        };
        onPayload = (payload) => {
          const { id, body } = decodeResponse(payload);
          if (id === 0) return;
          const now = performance.now();
          onAnswer(now - (sentAtMs[id] ?? now), body.kind === 'failure');
          if (now < endAtMs) issue(id);
          else if (--underWay === 0) done();
        };
        if (inFlight === 0) done();
        for (let id = 1; id <= inFlight; id++) issue(id);
      });
  });
}
