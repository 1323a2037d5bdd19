/**
 * A proxy in front of one node: whoever dials it comes through here, and by where a connection comes from it is
 * known whose link it is on.
 *
 * Invariant: it listens only while the node behind it does, so that a dead process refuses connections as ever.
 */
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import type { Address } from '../../../src/protocol/address.js';
import type { Link } from './link.js';

export class Proxy {
  readonly #address: Address;
  readonly #linkOf: (from: string) => Link;
  #target: Address;
  #server: Server | undefined;

  constructor(address: Address, target: Address, linkOf: (from: string) => Link) {
    this.#address = address;
    this.#target = target;
    this.#linkOf = linkOf;
  }

  /** Passes connections on to the target from now on; to another one from the next connection on. */
  async open(target: Address = this.#target): Promise<void> {
    this.#target = target;
    if (this.#server !== undefined) return;
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (near: Socket) => {
      this.#linkOf(near.remoteAddress ?? '').pass(near, this.#target);
    });
    this.#server = server;
    server.listen(this.#address);
    await once(server, 'listening');
  }

  /** Connections that there are go on. */
  shut(): void {
    this.#server?.close();
    this.#server = undefined;
  }
}
