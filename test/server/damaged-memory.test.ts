/**
 * Damage in the memory of one server of a real chain. What must hold: it is found, at the next change of
 * the damaged entry or by the memory check, that server stops with a reason that names the seq, and the
 * others go on and agree.
 */
import test, { type ExecutionContext } from 'ava';
import { MemoryCoordination } from '../../src/coordination/memory.js';
import { type CatenaError, InvariantError } from '../../src/errors.js';
import { silentLogger } from '../../src/logger.js';
import type { ServerStatus } from '../../src/protocol/status.js';
import { CatenaServer } from '../../src/server/server.js';
import type { ServerOptions } from '../../src/server/server-options.js';
import { cluster, freePorts, RawClient, temporaryDirectory, until } from './support.js';

const key = Buffer.from('k');

class Chain {
  readonly servers: CatenaServer[] = [];
  readonly options: ServerOptions[] = [];
  readonly #t: ExecutionContext;
  readonly #coordination = new MemoryCoordination();

  private constructor(t: ExecutionContext) {
    this.#t = t;
  }

  /** Three members; the first is the head, the last the tail. */
  static async start(t: ExecutionContext, change: Partial<ServerOptions> = {}): Promise<Chain> {
    const chain = new Chain(t);
    const port = await freePorts(3);
    for (let index = 0; index < 3; index++) {
      chain.options.push({
        listen: { host: '127.0.0.1', port: port + index },
        dataPath: await temporaryDirectory(t),
        cluster,
        coordinator: chain.#coordination.coordinator(),
        // All servers share one event loop here, which a busy machine may keep from running.
        leaseMs: 1_000,
        logger: silentLogger,
        onLine: () => {},
        ...change,
      });
      const server = await chain.run(index);
      await until(() => server.role === (index === 0 ? 'single' : 'tail'));
    }
    return chain;
  }

  async run(index: number): Promise<CatenaServer> {
    const coordinator = this.#coordination.coordinator();
    const options = { ...(this.options[index] as ServerOptions), coordinator };
    const server = await CatenaServer.start(options);
    this.#t.teardown(() => server.kill());
    this.servers[index] = server;
    return server;
  }

  async client(index: number): Promise<RawClient> {
    const client = await RawClient.open((this.options[index] as ServerOptions).listen.port);
    this.#t.teardown(() => client.close());
    return client;
  }

  /** Resolves when all of these have applied the same, to what they say of themselves then. */
  async agreed(...indexes: number[]): Promise<ServerStatus[]> {
    const clients = await Promise.all(indexes.map((index) => this.client(index)));
    for (;;) {
      const bodies = await Promise.all(clients.map((each) => each.request({ kind: 'status' })));
      const statuses = bodies.filter((body) => body.kind === 'status');
      const seqs = new Set(statuses.map(({ appliedSeq }) => appliedSeq));
      if (statuses.length === indexes.length && seqs.size === 1) return statuses;
    }
  }
}

/** Writes until one is done: a chain that loses a member refuses some. Returns its seq. */
async function put(client: RawClient, value: string): Promise<number> {
  for (;;) {
    const body = await client.put(key, value);
    if (body.kind === 'written') return body.opId.seq;
  }
}

/** Flips one bit of the entry, in the table's own memory. */
function corrupt(t: ExecutionContext, { machine }: CatenaServer): void {
  const value = machine.table.get(key);
  if (value === undefined) return t.fail('there is nothing to corrupt');
  value[0]! ^= 0x01;
}

async function reasonOf(t: ExecutionContext, server: CatenaServer): Promise<CatenaError> {
  const reason = await server.ended;
  t.true(reason instanceof InvariantError);
  return reason as CatenaError;
}

for (const [name, index] of [
  ['middle', 1],
  ['tail', 2],
] as const) {
  test(`a bit flips in the ${name}, then its entry is changed: it stops and names the seq, the others go on`, async (t) => {
    const chain = await Chain.start(t);
    const head = await chain.client(0);
    await put(head, 'before');
    const [sound] = await chain.agreed(0, 1, 2);
    const damaged = chain.servers[index] as CatenaServer;
    corrupt(t, damaged);
    t.is(damaged.machine.stateHash, sound?.stateHash as string, 'nothing has noticed it');
    const seq = await put(head, 'after');
    const { message } = await reasonOf(t, damaged);
    const above = chain.servers[index - 1] as CatenaServer;
    // A busy machine may have put the beginning of an epoch behind it.
    const named = Number(/after op (\d+) differs/.exec(message)?.[1]);
    t.true(named >= seq, message);
    for (const part of [above.address, above.serverId, above.machine.hashAfter(named) ?? 'none']) {
      t.true(message.includes(part), `${message} lacks ${part}`);
    }
    await put(head, 'later');
    const others = [0, 1, 2].filter((other) => other !== index);
    const statuses = await chain.agreed(...others);
    t.is(new Set(statuses.map(({ stateHash }) => stateHash)).size, 1);
    t.regex(statuses[0]?.stateHash ?? '', /^[0-9a-f]{16}$/);
    for (const other of others) t.not(chain.servers[other]?.role, 'halted');
    // It comes back from its disk, which was never damaged.
    const again = await chain.run(index);
    await until(() => again.role === 'tail');
    await put(head, 'at last');
    const all = await chain.agreed(0, 1, 2);
    t.is(new Set(all.map(({ stateHash }) => stateHash)).size, 1);
  });
}

test('a bit flips in the head, then its entry is changed: what stops below it has the head check itself', async (t) => {
  const chain = await Chain.start(t);
  const client = await chain.client(0);
  await put(client, 'before');
  await chain.agreed(0, 1, 2);
  const [head, middle] = chain.servers as [CatenaServer, CatenaServer];
  corrupt(t, head);
  await client.put(key, 'after');
  t.regex((await reasonOf(t, middle)).message, /differs/);
  t.regex((await reasonOf(t, head)).message, /memory check .* memory is damaged/);
});

test('a bit flips in an entry that nobody touches: the memory check stops that server, the others go on', async (t) => {
  const chain = await Chain.start(t, { scrubIntervalMs: 50 });
  const head = await chain.client(0);
  const seq = await put(head, 'before');
  await chain.agreed(0, 1, 2);
  const damaged = chain.servers[1] as CatenaServer;
  corrupt(t, damaged);
  const { message } = await reasonOf(t, damaged);
  t.regex(message, /memory check .* memory is damaged/);
  t.true(damaged.machine.appliedSeq >= seq);
  t.true(message.includes(`after op ${damaged.machine.appliedSeq} `), message);
  await put(head, 'after');
  const statuses = await chain.agreed(0, 2);
  t.is(new Set(statuses.map(({ stateHash }) => stateHash)).size, 1);
  t.not(chain.servers[0]?.role, 'halted');
  t.not(chain.servers[2]?.role, 'halted');
});
