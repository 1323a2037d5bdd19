/**
 * What the tests of the server share: a client that speaks frames and nothing more, servers on
 * directories and ports of their own, and things to wait for.
 */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { Op } from '../../src/machine/op.js';
import { Connection } from '../../src/protocol/connection.js';
import {
  decodeOpened,
  decodeResponse,
  encodeOpen,
  encodeRequest,
  type Open,
  type Opened,
  protocolVersion,
  type RequestBody,
  type ResponseBody,
} from '../../src/protocol/messages.js';

export const cluster = 'default';

/** A client without any cleverness: what it is told to send it sends, what comes back it keeps. */
export class RawClient {
  readonly socket: Socket;
  readonly connection: Connection;
  /** Resolves to the server's first frame; rejects if the connection closes before. */
  readonly opened: Promise<Opened>;
  readonly closed: Promise<Error | undefined>;
  /** All that came for a request, in order; 0 is what nobody asked for. */
  readonly answers = new Map<number, ResponseBody[]>();
  readonly #waiting = new Map<number, (body: ResponseBody) => void>();
  #isOpened = false;
  #nextId = 1;

  constructor(socket: Socket, open: Partial<Open> = {}) {
    this.socket = socket;
    let onOpened!: (opened: Opened) => void;
    let onClosed!: (error: Error | undefined) => void;
    this.closed = new Promise((resolve) => {
      onClosed = resolve;
    });
    const gone = this.closed.then((error) => {
      throw error ?? new Error('closed before it was opened');
    });
    this.opened = Promise.race([
      new Promise<Opened>((resolve) => {
        onOpened = resolve;
      }),
      gone,
    ]);
    this.opened.catch(() => {});
    this.connection = new Connection(socket, {
      onPayloads: (payloads) => {
        for (const payload of payloads) {
          if (this.#isOpened) this.#onResponse(payload);
          else {
            this.#isOpened = true;
            onOpened(decodeOpened(payload));
          }
        }
      },
      onClose: onClosed,
    });
    this.connection.send(encodeOpen({ version: protocolVersion, cluster, ...open }));
  }

  static async open(port: number, open: Partial<Open> = {}): Promise<RawClient> {
    const client = new RawClient(connect(port, '127.0.0.1'), open);
    await client.opened;
    return client;
  }

  /** Sends a request; resolves to its last answer. */
  request(body: RequestBody): Promise<ResponseBody> {
    const id = this.send(body);
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, resolve);
      void this.closed.then((error) => reject(error ?? new Error('closed')));
    });
  }

  /** Sends a request and waits for nothing; returns its id. */
  send(body: RequestBody): number {
    const id = this.#nextId++;
    this.connection.send(encodeRequest({ id, body }));
    return id;
  }

  put(key: string | Buffer, value: string | Buffer): Promise<ResponseBody> {
    return this.request(writeOf({ kind: 'put', key: Buffer.from(key), value: Buffer.from(value) }));
  }

  /** The value as text, undefined if there is none; throws the failure. */
  async get(key: string): Promise<string | undefined> {
    const body = await this.request({ kind: 'get', key: Buffer.from(key) });
    if (body.kind !== 'value') throw new Error(JSON.stringify(body));
    return body.found ? Buffer.from(body.value).toString() : undefined;
  }

  close(): void {
    this.connection.close(undefined);
  }

  #onResponse(payload: Buffer): void {
    const { id, body } = decodeResponse(payload);
    const answers = this.answers.get(id) ?? [];
    this.answers.set(id, [...answers, body]);
    const isFinal = body.kind === 'page' ? body.last : body.kind !== 'assigned';
    if (!isFinal) return;
    this.#waiting.get(id)?.(body);
    this.#waiting.delete(id);
  }
}

export function writeOf(op: Op, how: { noWait?: boolean; announce?: boolean } = {}): RequestBody {
  return { kind: 'write', op, noWait: false, announce: false, ...how };
}

export function putOf(key: string, value: string | Buffer): RequestBody {
  return writeOf({ kind: 'put', key: Buffer.from(key), value: Buffer.from(value) });
}

export async function temporaryDirectory(t: ExecutionContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'catena-test-'));
  t.teardown(() => rm(path, { recursive: true, force: true }));
  return path;
}

/** The first of `count` consecutive ports of which nobody listens on any. */
export async function freePorts(count: number): Promise<number> {
  for (;;) {
    const base = 20_000 + Math.floor(Math.random() * 10_000);
    const ports = Array.from({ length: count }, (_, index) => base + index);
    const free = await Promise.all(ports.map(isFree));
    if (free.every(Boolean)) return base;
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
}

/** Asks until it is so. Only where nothing tells of the change. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 20));
}
