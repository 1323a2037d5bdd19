/**
 * A connection to ZooKeeper that breaks at the worst moment: a TCP proxy that reads the frames of the protocol, and cuts
 * the connection at one request of a kind, before the service saw it or just before its answer.
 *
 * Invariant: what is not cut passes byte for byte, in order.
 */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';

const opcodes = { create: 1, delete: 2, set: 5 } as const;

export interface Cut {
  readonly op: keyof typeof opcodes;
  /** What the path of the request begins with. */
  readonly path: string;
  /** lost: the request never arrives. unanswered: it is done, and its answer is lost. */
  readonly kind: 'lost' | 'unanswered';
}

interface Pending {
  readonly cut: Cut;
  readonly resolve: (answerCode: number | undefined) => void;
}

const host = '127.0.0.1';

export class ZooKeeperProxy {
  readonly #server: Server;
  readonly #targetPort: number;
  readonly #sockets = new Set<Socket>();
  #pending: readonly Pending[] = [];

  static async start(targetPort: number): Promise<ZooKeeperProxy> {
    const proxy = new ZooKeeperProxy(targetPort);
    proxy.#server.listen(0, host);
    await once(proxy.#server, 'listening');
    return proxy;
  }

  private constructor(targetPort: number) {
    this.#targetPort = targetPort;
    this.#server = createServer((client) => this.#serve(client));
  }

  get connectString(): string {
    return `${host}:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Resolves when it happened: to the code that the service answered, undefined if it saw nothing. */
  cutAt(cut: Cut): Promise<number | undefined> {
    return new Promise((resolve) => {
      this.#pending = [...this.#pending, { cut, resolve }];
    });
  }

  /** What was to be cut and has not come is not cut any more, and resolves never. */
  forgetCuts(): void {
    this.#pending = [];
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #serve(client: Socket): void {
    const service = connect({ host, port: this.#targetPort });
    const cutBoth = (): void => {
      client.destroy();
      service.destroy();
    };
    /** By the number of the request: whose answer must not get through. */
    const unanswered = new Map<number, Pending>();
    let isSilent = false;
    const requests = new Frames();
    const answers = new Frames();
    client.on('data', (bytes: Buffer) => {
      for (const frame of requests.split(bytes)) {
        const pending = requests.count === 1 ? undefined : this.#take(frame);
        if (pending?.cut.kind === 'lost') {
          cutBoth();
          pending.resolve(undefined);
          return;
        }
        if (pending !== undefined) unanswered.set(frame.readInt32BE(4), pending);
        service.write(frame);
      }
    });
    service.on('data', (bytes: Buffer) => {
      for (const frame of answers.split(bytes)) {
        const pending = answers.count === 1 ? undefined : unanswered.get(frame.readInt32BE(4));
        if (pending === undefined) {
          if (!isSilent) client.write(frame);
          continue;
        }
        // Those that are under way together are lost together.
        isSilent = true;
        unanswered.delete(frame.readInt32BE(4));
        if (unanswered.size === 0) cutBoth();
        pending.resolve(frame.readInt32BE(16));
      }
    });
    for (const socket of [client, service]) {
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => {});
      socket.on('close', () => {
        this.#sockets.delete(socket);
        cutBoth();
      });
    }
  }

  /** The cut that this request is to meet; each is met once. */
  #take(frame: Buffer): Pending | undefined {
    // Length, number, operation, then in most of them the path.
    if (frame.length < 16) return undefined;
    const operation = frame.readInt32BE(8);
    const path = frame.subarray(16, 16 + Math.max(0, frame.readInt32BE(12))).toString();
    const found = this.#pending.find(
      ({ cut }) => opcodes[cut.op] === operation && path.startsWith(cut.path),
    );
    if (found !== undefined) this.#pending = this.#pending.filter((other) => other !== found);
    return found;
  }
}

/** Takes a stream apart: each frame with its length before it. */
class Frames {
  #rest: Buffer = Buffer.alloc(0);
  /** Given out so far; the first one of a connection is its handshake and looks otherwise. */
  count = 0;

  *split(bytes: Buffer): Generator<Buffer> {
    this.#rest = Buffer.concat([this.#rest, bytes]);
    while (this.#rest.length >= 4) {
      const end = 4 + this.#rest.readInt32BE(0);
      if (this.#rest.length < end) return;
      const frame = this.#rest.subarray(0, end);
      this.#rest = this.#rest.subarray(end);
      this.count += 1;
      yield frame;
    }
  }
}
