/**
 * The znodes of one cluster, read and written over one session: which paths there are, how an absent node
 * is watched, how parents come to be. It keeps nothing, and knows no session but the one it is given.
 */

import type { ChainRead, Registration, WriteOutcome } from './coordinator.js';
import {
  codes,
  formatRegistration,
  parseNodeName,
  parseRegistration,
  writeOutcome,
} from './registry.js';
import type { ServerNode } from './registry.js';
import { createFlags } from './zookeeper-protocol.js';
import type { Answer } from './zookeeper-protocol.js';
import type { Reply, ZooKeeperSession } from './zookeeper-session.js';

const rootPath = '/catena';
const anyVersion = -1;
/** A node may come and go between the reads; past this the next poll looks again. */
const readAttemptsMax = 3;

export interface ServersRead {
  readonly nodes: readonly ServerNode[];
  /** Names of nodes that no server can have made. */
  readonly garbage: readonly string[];
}

export class ZooKeeperTree {
  readonly chainPath: string;
  readonly serversPath: string;
  readonly #clusterPath: string;

  constructor(cluster: string) {
    this.#clusterPath = `${rootPath}/${cluster}`;
    this.chainPath = `${this.#clusterPath}/chain`;
    this.serversPath = `${this.#clusterPath}/servers`;
  }

  /** Undefined if the session did not answer. Leaves a watch in either case. */
  async readChain(session: ZooKeeperSession): Promise<ChainRead | undefined> {
    for (let attempt = 0; attempt < readAttemptsMax; attempt += 1) {
      const reply = await session.request({ op: 'get', path: this.chainPath });
      if (hasCode(reply, codes.ok)) {
        return { kind: 'found', data: reply.data ?? '', version: reply.version ?? 0 };
      }
      if (!hasCode(reply, codes.noNode)) return undefined;
      const isAbsent = await this.#watchAbsent(session, this.chainPath);
      if (isAbsent !== false) return isAbsent === true ? { kind: 'absent' } : undefined;
    }
    return undefined;
  }

  async createChain(session: ZooKeeperSession, data: string): Promise<WriteOutcome> {
    const reply = await this.#createBelowParents(
      session,
      this.chainPath,
      data,
      createFlags.persistent,
    );
    // Whoever deleted the parents just now: this create is certainly not done, and nothing is in its way.
    return hasCode(reply, codes.noNode) ? 'unavailable' : writeOutcome(reply);
  }

  async setChain(session: ZooKeeperSession, data: string, version: number): Promise<WriteOutcome> {
    return writeOutcome(await session.request({ op: 'set', path: this.chainPath, data, version }));
  }

  /** Undefined if the session did not answer everything. */
  async readServers(session: ZooKeeperSession): Promise<ServersRead | undefined> {
    const names = await this.#serverNames(session);
    if (names === undefined) return undefined;
    const nodes: ServerNode[] = [];
    const garbage: string[] = [];
    const replies = await Promise.all(
      names.map((name) => session.request({ op: 'get', path: this.#serverPath(name) })),
    );
    for (const [index, name] of names.entries()) {
      const reply = replies[index];
      // Gone since it was listed.
      if (reply === undefined || hasCode(reply, codes.noNode)) continue;
      if (!hasCode(reply, codes.ok)) return undefined;
      const parsed = parseNodeName(name);
      const registration = parseRegistration(reply.data ?? '');
      if (parsed === undefined || registration === undefined) garbage.push(name);
      if (parsed !== undefined) nodes.push({ name, ...parsed, registration });
    }
    return { nodes, garbage };
  }

  /** Makes the service catch up with what it was sent before on other connections, so that a lost create is seen. */
  async sync(session: ZooKeeperSession): Promise<boolean> {
    return hasCode(await session.request({ op: 'sync', path: '/' }), codes.ok);
  }

  /** The sequence number of the new node; undefined if it is not known to be made. */
  async createServer(
    session: ZooKeeperSession,
    guid: string,
    registration: Registration,
  ): Promise<number | undefined> {
    const reply = await this.#createBelowParents(
      session,
      this.#serverPath(`${guid}-`),
      formatRegistration(registration),
      createFlags.ephemeralSequential,
    );
    if (!hasCode(reply, codes.ok) || reply.path === undefined) return undefined;
    return parseNodeName(reply.path.slice(this.serversPath.length + 1))?.sequence;
  }

  async setServer(
    session: ZooKeeperSession,
    name: string,
    registration: Registration,
  ): Promise<boolean> {
    const data = formatRegistration(registration);
    const path = this.#serverPath(name);
    return hasCode(await session.request({ op: 'set', path, data, version: anyVersion }), codes.ok);
  }

  async deleteServer(session: ZooKeeperSession, name: string): Promise<boolean> {
    const path = this.#serverPath(name);
    const reply = await session.request({ op: 'delete', path, version: anyVersion });
    return hasCode(reply, codes.ok) || hasCode(reply, codes.noNode);
  }

  #serverPath(name: string): string {
    return `${this.serversPath}/${name}`;
  }

  async #serverNames(session: ZooKeeperSession): Promise<readonly string[] | undefined> {
    for (let attempt = 0; attempt < readAttemptsMax; attempt += 1) {
      const reply = await session.request({ op: 'children', path: this.serversPath });
      if (hasCode(reply, codes.ok)) return reply.names ?? [];
      if (!hasCode(reply, codes.noNode)) return undefined;
      const isAbsent = await this.#watchAbsent(session, this.serversPath);
      if (isAbsent !== false) return isAbsent === true ? [] : undefined;
    }
    return undefined;
  }

  /** Reading an absent node leaves no watch; asking whether it exists does. */
  async #watchAbsent(session: ZooKeeperSession, path: string): Promise<boolean | undefined> {
    const reply = await session.request({ op: 'exists', path });
    if (hasCode(reply, codes.noNode)) return true;
    return hasCode(reply, codes.ok) ? false : undefined;
  }

  async #createBelowParents(
    session: ZooKeeperSession,
    path: string,
    data: string,
    flags: number,
  ): Promise<Reply> {
    const create = { op: 'create', path, data, flags } as const;
    const reply = await session.request(create);
    if (!hasCode(reply, codes.noNode)) return reply;
    for (const parent of [rootPath, this.#clusterPath, this.serversPath]) {
      const made = await session.request({
        op: 'create',
        path: parent,
        data: '',
        flags: createFlags.persistent,
      });
      // Another server may have been faster. Anything else: the node itself was not made.
      if (!hasCode(made, codes.ok) && !hasCode(made, codes.nodeExists)) return { kind: 'unsent' };
    }
    return session.request(create);
  }
}

function hasCode(reply: Reply, code: number): reply is { kind: 'answered' } & Answer {
  return reply.kind === 'answered' && reply.code === code;
}
