/** Links to other servers: dialed and kept, never to the wrong one, each up followed by one down. */
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import type { Member } from '../../src/coordination/configuration.js';
import { silentLogger } from '../../src/logger.js';
import { Connection } from '../../src/protocol/connection.js';
import { decodeOpen, encodeOpened, type Opened } from '../../src/protocol/messages.js';
import { PeerNetwork, type PeerLink } from '../../src/server/peer-network.js';
import { freePorts } from './support.js';

class Events {
  readonly all: string[] = [];
  readonly links: PeerLink[] = [];
  #wake: (() => void) | undefined;

  note(event: string): void {
    this.all.push(event);
    this.#wake?.();
  }

  async until(count: number): Promise<void> {
    while (this.all.length < count) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

function startNetwork(t: ExecutionContext): { network: PeerNetwork; events: Events } {
  const events = new Events();
  const network = new PeerNetwork({
    cluster: 'default',
    identity: () => ({ clusterId: 'c', serverId: 'me', incarnation: 'my' }),
    scheduleFlush: setImmediate,
    logger: silentLogger,
    handler: {
      onLinkUp: (link, dialed) => {
        events.links.push(link);
        events.note(`up ${link.id} ${link.peer.serverId} ${dialed}`);
      },
      onLinkDown: (link) => events.note(`down ${link.id}`),
      onLinkPayloads: (link, payloads) => {
        for (const payload of payloads) events.note(`payload ${link.id} ${payload.toString()}`);
      },
      onDialFailed: (target, why) => events.note(`failed ${target.serverId} ${why}`),
    },
  });
  t.teardown(() => network.close());
  return { network, events };
}

interface Peer {
  readonly server: Server;
  readonly address: string;
  readonly connections: Connection[];
  readonly opens: string[];
}

/** A server that answers every Open with this. */
async function startPeer(t: ExecutionContext, opened: Partial<Opened>, port = 0): Promise<Peer> {
  const connections: Connection[] = [];
  const sockets = new Set<Socket>();
  const opens: string[] = [];
  const server = createServer((socket) => {
    sockets.add(socket);
    const connection: Connection = new Connection(socket, {
      onPayloads: ([first]) => {
        opens.push(decodeOpen(first as Buffer).peer?.serverId ?? 'a client');
        const identity = { serverId: 'peer', incarnation: 'one', clusterId: 'c' };
        connection.send(encodeOpened({ ...identity, ...opened }));
        // Glued to the first frame: it must not be lost.
        connection.send(Buffer.from('hello'));
      },
      onClose: () => {},
    });
    connections.push(connection);
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const bound = server.address();
  if (typeof bound !== 'object' || bound === null) throw new Error('no address');
  return { server, address: `127.0.0.1:${bound.port}`, connections, opens };
}

const member = (address: string, incarnation = 'one'): Member => ({
  serverId: 'peer',
  incarnation,
  address,
});

test('it dials, says who it is, and hands over what comes', async (t) => {
  const { network, events } = startNetwork(t);
  const peer = await startPeer(t, {});
  network.dial(member(peer.address));
  await events.until(2);
  t.deepEqual(events.all, ['up 1 peer true', 'payload 1 hello']);
  t.deepEqual(peer.opens, ['me']);
  t.is(network.size, 1);
  t.true(network.get(1)?.dialed);
});

test('to dial the same again changes nothing', async (t) => {
  const { network, events } = startNetwork(t);
  const peer = await startPeer(t, {});
  network.dial(member(peer.address));
  network.dial(member(peer.address));
  await events.until(2);
  network.dial(member(peer.address));
  t.is(network.size, 1);
  t.is(peer.connections.length, 1);
});

test('a link that breaks is dialed again, under a new number', async (t) => {
  const { network, events } = startNetwork(t);
  const peer = await startPeer(t, {});
  network.dial(member(peer.address));
  await events.until(2);
  peer.connections[0]?.close(undefined);
  await events.until(5);
  t.deepEqual(events.all.slice(2), ['down 1', 'up 2 peer true', 'payload 2 hello']);
});

test('nobody listens: refused, tried again, and reached when somebody does', async (t) => {
  const { network, events } = startNetwork(t);
  const port = await freePorts(1);
  network.dial(member(`127.0.0.1:${port}`));
  await events.until(2);
  t.deepEqual(events.all.slice(0, 2), ['failed peer refused', 'failed peer refused']);
  await startPeer(t, {}, port);
  while (!events.all.some((event) => event.startsWith('payload'))) {
    await events.until(events.all.length + 1);
  }
  t.is(events.all.at(-1), 'payload 1 hello');
});

for (const [what, opened, why] of [
  ['another incarnation answers', { incarnation: 'two' }, 'replaced'],
  ['another server answers', { serverId: 'stranger' }, 'refused'],
  ['it refuses', { refused: { code: 'WRONG_CLUSTER', message: 'no' } }, 'unreachable'],
] as const) {
  test(`${what}: ${why}, and never used`, async (t) => {
    const { network, events } = startNetwork(t);
    const peer = await startPeer(t, opened);
    network.dial(member(peer.address));
    await events.until(2);
    t.deepEqual(events.all.slice(0, 2), [`failed peer ${why}`, `failed peer ${why}`]);
    t.is(network.size, 0);
  });
}

test('to dial another closes the first, once, without a failure', async (t) => {
  const { network, events } = startNetwork(t);
  const first = await startPeer(t, {});
  const second = await startPeer(t, { serverId: 'other' });
  network.dial(member(first.address));
  await events.until(2);
  network.dial({ ...member(second.address), serverId: 'other' });
  await events.until(5);
  t.deepEqual(events.all.slice(2), ['down 1', 'up 2 other true', 'payload 2 hello']);
  t.is(network.size, 1);
});

test('to dial nobody ends it, also while it is dialing', async (t) => {
  const { network, events } = startNetwork(t);
  const peer = await startPeer(t, {});
  network.dial(member(peer.address));
  network.dial(undefined);
  const probed = { ...member(`127.0.0.1:${await freePorts(1)}`), serverId: 'probed' };
  network.probe(probed);
  await events.until(1);
  t.deepEqual(events.all, ['failed probed refused']);
  t.is(network.size, 0);
});

test('a probe reports only a failure', async (t) => {
  const { network, events } = startNetwork(t);
  const peer = await startPeer(t, {});
  const connected = once(peer.server, 'connection');
  network.probe(member(peer.address));
  await connected;
  network.probe({ ...member(`127.0.0.1:${await freePorts(1)}`), serverId: 'gone' });
  await events.until(1);
  t.deepEqual(events.all, ['failed gone refused']);
});

test('closed: every link goes down once, and nothing is dialed any more', async (t) => {
  const { network, events } = startNetwork(t);
  const peer = await startPeer(t, {});
  network.dial(member(peer.address));
  await events.until(2);
  network.close();
  network.close();
  t.deepEqual(events.all.slice(2), ['down 1']);
  t.is(network.size, 0);
});

test('an address in /chain that is none: refused, and nothing breaks', async (t) => {
  const { network, events } = startNetwork(t);
  const target = { serverId: 'odd', incarnation: 'one', address: 'no address' };
  network.dial(target);
  await events.until(1);
  network.probe(target);
  await events.until(2);
  t.is(events.all[0], 'failed odd refused');
  t.regex(events.all[1] ?? '', /failed odd refused/);
});
