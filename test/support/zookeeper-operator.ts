/**
 * An operator's, or a vandal's, hand on ZooKeeper, for tests: writes what no server would write, and looks at
 * what no coordinator shows. A bare session, connected anew as often as the test stops its ZooKeeper.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Registration } from '../../src/coordination/coordinator.js';
import { codes, parseRegistration } from '../../src/coordination/registry.js';
import {
  type Answer,
  createFlags,
  type Request,
} from '../../src/coordination/zookeeper-protocol.js';
import { ZooKeeperSession } from '../../src/coordination/zookeeper-session.js';
import { silentLogger } from '../../src/logger.js';
import { fourLetterWord } from './zookeeper.js';

const sessionTimeoutMs = 6_000;
/** Connection lost, timed out, session over: nobody answered, and the next session may be answered. */
const unanswered: readonly number[] = [-4, -7, codes.invalidState, codes.sessionExpired];
const pollMs = 20;

export interface ServerNodeRead {
  readonly name: string;
  readonly data: string;
}

export class Operator {
  /** Resolves with the first connection. */
  readonly connected: Promise<void>;
  readonly #clusterPath: string;
  #session: ZooKeeperSession;
  #closed = false;

  constructor(connectString: string, cluster: string) {
    this.#clusterPath = `/catena/${cluster}`;
    let resolve: () => void;
    this.connected = new Promise((resolved) => (resolve = resolved));
    const open = (): ZooKeeperSession =>
      new ZooKeeperSession(
        { connectString, sessionTimeoutMs, logger: silentLogger },
        {
          onState: () => resolve(),
          onWatch() {},
          onEnd: () => {
            if (!this.#closed) this.#session = open();
          },
        },
      );
    this.#session = open();
  }

  get chainPath(): string {
    return `${this.#clusterPath}/chain`;
  }

  get serversPath(): string {
    return `${this.#clusterPath}/servers`;
  }

  /** Undefined if it is not there. */
  async readChain(): Promise<{ data: string; version: number } | undefined> {
    const { code, data = '', version = 0 } = await this.ask({ op: 'get', path: this.chainPath });
    return code === codes.ok ? { data, version } : undefined;
  }

  /** Whatever stands there; makes it if nothing does. */
  async writeChain(data: string): Promise<void> {
    const path = this.chainPath;
    const { code } = await this.ask({ op: 'set', path, data, version: -1 });
    if (code === codes.ok) return;
    await this.makeParents();
    await this.must({ op: 'create', path, data, flags: createFlags.persistent });
  }

  async deleteChain(): Promise<void> {
    await this.must({ op: 'delete', path: this.chainPath, version: -1 });
  }

  async addServerNode(guid: string, data: string): Promise<void> {
    await this.makeParents();
    const path = `${this.serversPath}/${guid}-`;
    await this.must({ op: 'create', path, data, flags: createFlags.ephemeralSequential });
  }

  async serverNodes(): Promise<ServerNodeRead[]> {
    const { names = [] } = await this.must({ op: 'children', path: this.serversPath });
    const nodes: ServerNodeRead[] = [];
    for (const name of names) {
      const { code, data = '' } = await this.ask({
        op: 'get',
        path: `${this.serversPath}/${name}`,
      });
      // Not ok: it went since it was listed.
      if (code === codes.ok) nodes.push({ name, data });
    }
    return nodes;
  }

  /** What servers say of themselves, with the path of each. */
  async registrations(): Promise<(Registration & { readonly path: string })[]> {
    return (await this.serverNodes()).flatMap(({ name, data }) => {
      const registration = parseRegistration(data);
      if (registration === undefined) return [];
      return [{ ...registration, path: `${this.serversPath}/${name}` }];
    });
  }

  async makeParents(): Promise<void> {
    for (const path of ['/catena', this.#clusterPath, this.serversPath]) {
      await this.ask({ op: 'create', path, data: '', flags: createFlags.persistent });
    }
  }

  /** Asks again while there is no connection: the tests end it too when they stop ZooKeeper. */
  async ask(request: Request): Promise<Answer> {
    while (!this.#closed) {
      const reply = await this.#session.request(request);
      if (reply.kind === 'answered' && !unanswered.includes(reply.code)) return reply;
      await sleep(pollMs);
    }
    throw new Error('the test is over');
  }

  async must(request: Request): Promise<Answer> {
    const answer = await this.ask(request);
    if (answer.code !== codes.ok) throw new Error(`${request.op} ${request.path}: ${answer.code}`);
    return answer;
  }

  close(): Promise<void> {
    this.#closed = true;
    return this.#session.close();
  }
}

/** The session that owns each ephemeral, by its path. */
export async function ephemeralOwners(port: number): Promise<ReadonlyMap<string, bigint>> {
  const owners = new Map<string, bigint>();
  let session = '';
  for (const line of (await fourLetterWord(port, 'dump')).split('\n')) {
    if (/^0x[0-9a-f]+/.test(line)) session = line.replace(/[^0-9a-fx].*$/, '');
    else if (/^\s+\//.test(line)) owners.set(line.trim(), BigInt(session));
  }
  return owners;
}

/** The sessions that are connected to this very member of an ensemble. */
export async function connectedSessions(port: number): Promise<ReadonlySet<bigint>> {
  const connections = await fourLetterWord(port, 'cons');
  return new Set([...connections.matchAll(/sid=(0x[0-9a-f]+)/g)].map(([, id]) => BigInt(id ?? '')));
}
