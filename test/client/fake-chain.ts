/**
 * Servers that speak the protocol and keep one table together, without a chain behind them: each request is
 * answered as the test's script says, by default as a good server would. Over `duplexPair` or real sockets.
 */
import { createServer, type Server as SocketServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { Connection } from '../../src/protocol/connection.js';
import {
  decodeOpen,
  decodeRequest,
  encodeOpened,
  encodeResponse,
  type Failure,
  type Opened,
  type Request,
  type ResponseBody,
  type ScanHead,
  type View,
} from '../../src/protocol/messages.js';
import type { OpId } from '../../src/protocol/op-id.js';
import type { ServerStatus } from '../../src/protocol/status.js';
import { duplexPair } from '../support/duplex-pair.js';

export interface Session {
  readonly connection: Connection;
  readonly stream: Duplex;
  answer(id: number, body: ResponseBody): void;
  /** Bytes that are no frame of the protocol, or half of one. */
  raw(bytes: Uint8Array): void;
  /** The connection is lost. */
  drop(): void;
}

/** Handles a request; `good` does and answers what a good server would. */
export type Script = (request: Request, session: Session, good: () => void) => void;

const good: Script = (_request, _session, act) => act();

export class FakeChain {
  readonly servers: FakeServer[] = [];
  readonly table = new Map<string, { value: Uint8Array; version: number }>();
  /** Every write that a server executed: its value, or the key that was deleted. */
  readonly accepted: string[] = [];
  /** How often each address was dialed. */
  readonly dialed: string[] = [];
  seq = 0;

  /** All ops are of this epoch, as in the instant of a scan. */
  get appliedOpId(): OpId {
    return { epoch: this.seq === 0 ? 0 : this.view.epoch, seq: this.seq };
  }
  /** Of the table, as a server would tell it. */
  stateHash = '';
  view: View;

  constructor(addresses: readonly string[]) {
    for (const address of addresses) this.servers.push(new FakeServer(this, address));
    this.view = this.viewOf(addresses, 1);
  }

  viewOf(addresses: readonly string[], epoch: number): View {
    const members = addresses.map((address) => ({
      serverId: `id of ${address}`,
      incarnation: '1',
      address,
    }));
    return { clusterId: 'fake', generation: 1, epoch, members };
  }

  /** What a scan of the table as it is now says first. */
  get scanHead(): ScanHead {
    const { epoch, clusterId } = this.view;
    return {
      opId: { epoch, seq: this.seq },
      keys: this.table.size,
      bytes: 64 * this.table.size,
      runs: this.seq === 0 ? [] : [{ epoch, lastSeq: this.seq }],
      stateHash: this.stateHash,
      clusterId,
    };
  }

  /** The next epoch; servers that are up tell their clients unless `isSilent`. */
  reconfigure(addresses: readonly string[], isSilent = false): void {
    this.view = this.viewOf(addresses, this.view.epoch + 1);
    if (isSilent) return;
    for (const server of this.servers) server.push({ kind: 'view', ...this.view });
  }

  server(address: string): FakeServer {
    const server = this.servers.find((each) => each.address === address);
    if (server === undefined) throw new Error(`no fake server at ${address}`);
    return server;
  }

  readonly dial = (address: string): Duplex => {
    this.dialed.push(address);
    const [near, far] = duplexPair();
    const server = this.servers.find((each) => each.address === address);
    if (server?.isUp === true) server.accept(far);
    else setImmediate(() => near.destroy(new Error(`connect ECONNREFUSED ${address}`)));
    return near;
  };
}

export class FakeServer {
  readonly chain: FakeChain;
  address: string;
  isUp = true;
  script: Script = good;
  /** What it says at first; undefined: nothing at all. */
  opened: (() => Opened | undefined) | undefined;
  readonly sessions = new Set<Session>();
  readonly requests: Request[] = [];
  #listener: SocketServer | undefined;
  #onRequest: (() => void)[] = [];

  constructor(chain: FakeChain, address: string) {
    this.chain = chain;
    this.address = address;
  }

  /** Serves real sockets too; its address becomes the one that it listens on. */
  async listen(): Promise<void> {
    const listener = createServer((socket) => this.accept(socket));
    this.#listener = listener;
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
    this.address = `127.0.0.1:${(listener.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.kill();
    const listener = this.#listener;
    if (listener === undefined) return;
    await new Promise<void>((resolve) => {
      listener.close(() => resolve());
    });
  }

  kill(): void {
    this.isUp = false;
    for (const session of this.sessions) session.drop();
  }

  push(body: ResponseBody): void {
    for (const session of this.sessions) session.answer(0, body);
  }

  /** Resolves once `count` requests have arrived in all. */
  async received(count: number): Promise<void> {
    while (this.requests.length < count) {
      await new Promise<void>((resolve) => this.#onRequest.push(resolve));
    }
  }

  accept(stream: Duplex): void {
    if (!this.isUp) {
      stream.destroy();
      return;
    }
    let isOpen = false;
    const connection = new Connection(stream, {
      onPayloads: (payloads) => {
        for (const payload of payloads) {
          if (isOpen) this.#handle(decodeRequest(payload), session);
          else {
            isOpen = true;
            decodeOpen(payload);
            this.#open(session);
          }
        }
      },
      onClose: () => this.sessions.delete(session),
    });
    const session: Session = {
      connection,
      stream,
      answer: (id, body) => connection.send(encodeResponse({ id, body })),
      raw: (bytes) => stream.write(bytes),
      drop: () => connection.close(new Error('dropped')),
    };
    stream.on('error', () => {});
  }

  /** What a good server does; `refuse` tells why it does not. */
  act(request: Request, session: Session): void {
    const { id, body } = request;
    const isHead = this.chain.view.members[0]?.address === this.address;
    const isMember = this.chain.view.members.some(({ address }) => address === this.address);
    if (body.kind === 'status') {
      return session.answer(id, { kind: 'status', ...this.#status() });
    }
    if (body.kind === 'leave') return session.answer(id, { kind: 'left' });
    if (!isMember) return this.refuse(id, session, 'NOT_SERVING');
    switch (body.kind) {
      case 'write': {
        if (!isHead) return this.refuse(id, session, 'NOT_HEAD');
        if (body.announce) {
          session.answer(id, {
            kind: 'assigned',
            opId: { epoch: this.chain.view.epoch, seq: this.chain.seq + 1 },
          });
        }
        const written = this.execute(request);
        return session.answer(
          id,
          body.noWait ? { kind: 'assigned', opId: written.opId } : { kind: 'written', ...written },
        );
      }
      case 'get': {
        const found = this.chain.table.get(Buffer.from(body.key).toString());
        const value = found?.value ?? new Uint8Array(0);
        const version = found?.version ?? 0;
        const at = this.chain.appliedOpId;
        return session.answer(id, {
          kind: 'value',
          found: found !== undefined,
          value,
          version,
          at,
        });
      }
      case 'size':
        return session.answer(id, {
          kind: 'count',
          keys: this.chain.table.size,
          at: this.chain.appliedOpId,
        });
      case 'scan':
        return this.#scan(id, session, body.values);
      case 'verify': {
        const outcome = body.opId.seq <= this.chain.seq ? 'executed' : 'never';
        return session.answer(id, { kind: 'verified', outcome });
      }
    }
  }

  /** Executes a write without answering it. */
  execute({ body }: Request): { opId: { epoch: number; seq: number }; existed: boolean } {
    if (body.kind !== 'write' || body.op.kind === 'epoch') throw new Error('no write');
    const { chain } = this;
    const key = Buffer.from(body.op.key).toString();
    const existed = chain.table.has(key);
    chain.seq += 1;
    if (body.op.kind === 'put') {
      chain.table.set(key, { value: new Uint8Array(body.op.value), version: chain.seq });
      chain.accepted.push(Buffer.from(body.op.value).toString());
    } else {
      chain.table.delete(key);
      chain.accepted.push(key);
    }
    return { opId: { epoch: chain.view.epoch, seq: chain.seq }, existed };
  }

  refuse(id: number, session: Session, code: string, more: Partial<Failure> = {}): void {
    const message = `${this.address} refuses`;
    session.answer(id, { kind: 'failure', code, message, view: this.chain.view, ...more });
  }

  #open(session: Session): void {
    const opened: Opened | undefined =
      this.opened === undefined
        ? {
            serverId: `id of ${this.address}`,
            incarnation: '1',
            clusterId: 'fake',
            view: this.chain.view,
          }
        : this.opened();
    if (opened === undefined) return;
    this.sessions.add(session);
    session.connection.send(encodeOpened(opened));
    if (opened.refused !== undefined) session.connection.end();
  }

  #handle(request: Request, session: Session): void {
    this.requests.push(request);
    const wakeAll = this.#onRequest;
    this.#onRequest = [];
    this.script(request, session, () => this.act(request, session));
    for (const wake of wakeAll) wake();
  }

  #scan(id: number, session: Session, values: boolean): void {
    let first: { head?: ScanHead } = { head: this.chain.scanHead };
    for (const [key, { value, version }] of this.chain.table) {
      const entry = { key: Buffer.from(key), value: values ? value : new Uint8Array(0), version };
      session.answer(id, { kind: 'page', entries: [entry], last: false, ...first });
      first = {};
    }
    session.answer(id, { kind: 'page', entries: [], last: true, ...first });
  }

  #status(): ServerStatus {
    const { view, seq, table } = this.chain;
    const index = view.members.findIndex(({ address }) => address === this.address);
    return {
      serverId: `id of ${this.address}`,
      incarnation: '1',
      address: this.address,
      role: index < 0 ? 'learner' : index === 0 ? 'head' : 'tail',
      view,
      lastSeq: seq,
      durableSeq: seq,
      commitSeq: seq,
      lease: true,
      keys: table.size,
      tableBytes: 1024,
      clientConnections: this.sessions.size,
      serverConnections: 0,
      uptimeMs: 1,
      ops: [{ kind: 'put', count: 3, failures: 1, meanMs: 0.5, maxMs: 2 }],
      learners: [],
      reason: 'as the test says',
      waitingFor: '',
      appliedSeq: seq,
      stateHash: '00',
      disk: { logFirstSeq: 1, logBytes: 0, snapshotSeq: 0, snapshotBytes: 0, freeBytes: 0 },
    };
  }
}
