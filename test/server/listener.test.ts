/** The one port: who is let in, who is turned away and told why, and that each fault costs one connection. */
import { once } from 'node:events';
import { connect } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { RefusedToStartError } from '../../src/errors.js';
import { createLogger } from '../../src/logger.js';
import { encodeFrame } from '../../src/protocol/frame.js';
import type { PeerIdentity, View } from '../../src/protocol/messages.js';
import { encodePeer } from '../../src/protocol/peer-messages.js';
import { Listener, type ListenerOptions } from '../../src/server/listener.js';
import { PeerNetwork } from '../../src/server/peer-network.js';
import { answerCount, NotingHost } from './session-support.js';
import { RawClient, until } from './support.js';

interface Started {
  readonly listener: Listener;
  readonly port: number;
  readonly host: NotingHost;
  readonly log: string[];
  readonly links: { up: PeerIdentity[]; down: number };
  readonly identity: { clusterId: string; serverId: string; incarnation: string };
}

async function startListener(
  t: ExecutionContext,
  limits: NonNullable<ListenerOptions['limits']> = {},
  wantedPort = 0,
): Promise<Started> {
  const host = new NotingHost();
  const log: string[] = [];
  const logger = createLogger('info', {}, (line) => log.push(line));
  const identity = { clusterId: 'c1', serverId: 's1', incarnation: 'i1', leaseMs: 500 };
  const links: Started['links'] = { up: [], down: 0 };
  const shared = { cluster: 'default', identity: () => identity, scheduleFlush: setImmediate };
  const peers = new PeerNetwork({
    ...shared,
    logger,
    handler: {
      onLinkUp: ({ peer }) => links.up.push({ clusterId: '', ...peer }),
      onLinkDown: () => {
        links.down += 1;
      },
      onLinkPayloads: () => {},
      onDialFailed: () => {},
    },
  });
  const view: View = { clusterId: 'c1', generation: 0, epoch: 3, members: [] };
  const listener = new Listener({ ...shared, logger, host, peers, view: () => view, limits });
  const port = await listener.listen({ host: '127.0.0.1', port: wantedPort });
  t.teardown(async () => {
    peers.close();
    await listener.close(true);
  });
  return { listener, port, host, log, links, identity };
}

test('a client is told who answers, and the view; then it is served', async (t) => {
  const { port, host, listener } = await startListener(t);
  const client = await RawClient.open(port);
  const opened = await client.opened;
  t.is(opened.serverId, 's1');
  t.is(opened.view?.epoch, 3);
  const answer = client.request({ kind: 'size' });
  await host.until(() => host.reads.length === 1);
  answerCount(host.reads[0]!);
  t.deepEqual(await answer, { kind: 'count', keys: 1, at: { epoch: 1, seq: 1 } });
  t.is(listener.sessions.size, 1);
  client.close();
  await until(() => listener.sessions.size === 0);
});

for (const [what, open, code, message] of [
  ['another version of the protocol', { version: 1 }, 'PROTOCOL', /version 1; .* speaks 2/],
  ['another cluster', { cluster: 'else' }, 'WRONG_CLUSTER', /'default', not 'else'/],
  [
    'a server of a cluster of the same name',
    { peer: { clusterId: 'c2', serverId: 's2', incarnation: 'i2' } },
    'WRONG_CLUSTER',
    /has the id c1, not 'c2'/,
  ],
  [
    'a server that counts leases differently',
    { peer: { clusterId: 'c1', serverId: 's2', incarnation: 'i2', leaseMs: 1000 } },
    'WRONG_CLUSTER',
    /--lease is 1000 ms, here it is 500 ms/,
  ],
  [
    'a server of no cluster',
    { peer: { clusterId: '', serverId: 's2', incarnation: 'i2' } },
    'WRONG_CLUSTER',
    /has the id c1, not ''/,
  ],
] as const) {
  test(`${what} is refused in the first frame`, async (t) => {
    const { port, log, links } = await startListener(t);
    const client = await RawClient.open(port, open);
    const { refused } = await client.opened;
    t.is(refused?.code, code);
    t.regex(refused?.message ?? '', message);
    await client.closed;
    t.deepEqual(links.up, []);
    t.is(log.filter((line) => line.includes('connection closed')).length, 1);
  });
}

test('what a refused client had sent already does not take the refusal from it', async (t) => {
  const { port } = await startListener(t);
  const client = new RawClient(connect(port, '127.0.0.1'), { cluster: 'else' });
  for (let count = 0; count < 1000; count++) client.send({ kind: 'status' });
  t.is((await client.opened).refused?.code, 'WRONG_CLUSTER');
  await client.closed;
});

test('a server that does not know its cluster yet lets any server in', async (t) => {
  const { port, links, identity } = await startListener(t);
  identity.clusterId = '';
  const peer = { clusterId: 'c9', serverId: 's2', incarnation: 'i2' };
  const client = await RawClient.open(port, { peer });
  t.is((await client.opened).refused, undefined);
  t.is(links.up[0]?.serverId, 's2');
  client.close();
  await until(() => links.down === 1);
});

test('a connection that stays silent is closed with a reason', async (t) => {
  const { port, log } = await startListener(t, { handshakeTimeoutMs: 10 });
  const socket = connect(port, '127.0.0.1');
  socket.resume();
  const opened = await RawClient.open(port);
  await once(socket, 'close');
  t.true(log.some((line) => line.includes('no first frame within 10 ms')));
  // Who has said who it is may be silent for as long as it likes.
  t.false(opened.connection.isClosed);
  opened.close();
});

test('beyond the limit of clients a typed refusal; servers are let in', async (t) => {
  const { port, links } = await startListener(t, { connectionsMax: 2 });
  const clients = [await RawClient.open(port), await RawClient.open(port)];
  const third = await RawClient.open(port);
  const { refused } = await third.opened;
  t.is(refused?.code, 'LIMIT_EXCEEDED');
  t.regex(refused?.message ?? '', /clients is 3 .* limit is 2/);
  await third.closed;
  const peer = { clusterId: 'c1', serverId: 's2', incarnation: 'i2' };
  const server = await RawClient.open(port, { peer });
  t.is(links.up.length, 1);
  clients[0]?.close();
  await clients[0]?.closed;
  const fourth = await RawClient.open(port);
  await until(async () => (await fourth.opened).refused === undefined);
  for (const client of [...clients, server, fourth]) client.close();
});

for (const [what, bytes] of [
  ['garbage', Buffer.from('\u0001\u0002\u0003 garbage that is no frame at all')],
  ['a first frame that is no Open', encodeFrame(Buffer.from([0xff, 0xff]))],
  [
    'a message between servers instead of an Open',
    encodeFrame(encodePeer({ epoch: 3, configId: 'x', body: { kind: 'ping' } })),
  ],
] as const) {
  test(`${what}: closed with a reason, the others go on`, async (t) => {
    const { port, log, host } = await startListener(t);
    const good = await RawClient.open(port);
    const socket = connect(port, '127.0.0.1');
    socket.resume();
    socket.on('error', () => {});
    socket.write(bytes);
    await once(socket, 'close');
    t.is(log.filter((line) => line.includes('connection closed')).length, 1);
    void good.request({ kind: 'size' }).catch(() => {});
    await host.until(() => host.reads.length === 1);
    good.close();
  });
}

test('congestion holds for those who come while it lasts', async (t) => {
  const { listener, port, host } = await startListener(t);
  listener.setCongested(true);
  const client = await RawClient.open(port);
  client.send({ kind: 'size' });
  const other = await RawClient.open(port);
  t.deepEqual(host.reads, []);
  listener.setCongested(false);
  await host.until(() => host.reads.length === 1);
  client.close();
  other.close();
});

test('a new view reaches every client', async (t) => {
  const { listener, port } = await startListener(t);
  const clients = [await RawClient.open(port), await RawClient.open(port)];
  listener.pushView({ clusterId: 'c1', generation: 0, epoch: 4, members: [] });
  for (const client of clients) {
    await until(() => client.answers.has(0));
    const [view] = client.answers.get(0) ?? [];
    t.is(view?.kind === 'view' && view.epoch, 4);
    client.close();
  }
});

test('the port of another is refused with a typed error', async (t) => {
  const { port } = await startListener(t);
  await t.throwsAsync(startListener(t, {}, port), {
    instanceOf: RefusedToStartError,
    message: new RegExp(`cannot listen on 127.0.0.1:${port}`),
  });
});

test('an orderly close does not wait for clients that neither read nor end', async (t) => {
  const { listener, port } = await startListener(t);
  const stubborn = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  stubborn.on('error', () => {});
  await once(stubborn, 'connect');
  const paused = await RawClient.open(port);
  paused.socket.pause();
  listener.setCongested(true);
  await listener.close(false);
  t.is(listener.sessions.size, 0);
  paused.close();
  stubborn.destroy();
});
