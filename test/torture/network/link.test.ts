/** The links of torture runs: each fault is what it says, to the byte, and leaves the other direction alone. */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import type { Address } from '../../../src/protocol/address.js';
import { Link } from './link.js';

interface Ends {
  readonly link: Link;
  /** Dials through the link; both ends of the connection. */
  readonly dial: () => Promise<[near: Socket, far: Socket]>;
}

/** A proxy with one link in front of a server that does nothing. */
async function twoEnds(t: ExecutionContext): Promise<Ends> {
  const link = new Link('one > other');
  const arrived: Socket[] = [];
  const far = await listen(t, (socket) => {
    arrived.push(socket);
    far.emit('arrived');
  });
  const proxy = await listen(t, (socket) => link.pass(socket, addressOf(far)));
  t.teardown(() => {
    link.close();
    for (const socket of arrived) socket.destroy();
  });
  return {
    link,
    async dial() {
      const came = once(far, 'arrived');
      const near = connect(addressOf(proxy));
      near.on('error', () => {});
      t.teardown(() => near.destroy());
      await came;
      return [near, arrived.at(-1) as Socket];
    },
  };
}

async function listen(t: ExecutionContext, serve: (socket: Socket) => void): Promise<Server> {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    socket.on('error', () => {});
    serve(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return server;
}

function addressOf(server: Server): Address {
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port };
}

/** Until so many bytes have come. */
async function receive(socket: Socket, count: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  while (length < count) {
    const [chunk] = (await once(socket, 'data')) as [Buffer];
    chunks.push(chunk);
    length += chunk.length;
  }
  return Buffer.concat(chunks);
}

/** Not `once`, which rejects at the error that a reset is. */
function closing(socket: Socket): Promise<void> {
  return new Promise((resolve) => void socket.once('close', () => resolve()));
}

function aTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

const text = Buffer.from('a frame that is longer than a header');

test('a good link passes both directions, and the end of a connection', async (t) => {
  const { link, dial } = await twoEnds(t);
  const [near, far] = await dial();
  near.write(text);
  t.deepEqual(await receive(far, text.length), text);
  far.write('answer');
  t.is((await receive(near, 6)).toString(), 'answer');
  const ended = once(far.resume(), 'end');
  near.end();
  await ended;
  t.is(link.out.counts.passedBytes, text.length);
  t.is(link.back.counts.passedBytes, 6);
});

test('a stall holds one direction, in order, and the end of the connection behind it', async (t) => {
  const { link, dial } = await twoEnds(t);
  const [near, far] = await dial();
  link.out.condition = { stalled: true };
  near.write('one ');
  far.write('answer');
  await receive(near, 6);
  near.end('two');
  while (link.out.counts.heldBytes < 7) await aTurn();
  t.is(far.bytesRead, 0, 'nothing has come');
  link.out.heal();
  t.is((await receive(far, 7)).toString(), 'one two');
});

test('a stalled link is not even opened; healed, it is', async (t) => {
  const { link, dial } = await twoEnds(t);
  link.out.condition = { stalled: true };
  const dialed = dial();
  while (link.counts.opened === 0) await aTurn();
  t.is(link.connections, 1);
  link.out.heal();
  const [near, far] = await dialed;
  near.write(text);
  t.deepEqual(await receive(far, text.length), text);
});

for (const [name, condition, count] of [
  ['delayed', { delayMs: 20 }, 'delayedBytes'],
  ['limited', { bytesPerSecond: 1_000 }, 'limitedBytes'],
  ['in pieces', { pieceBytes: 1 }, 'pieces'],
  ['glued', { glueMs: 20 }, 'passedBytes'],
] as const) {
  test(`a link that is ${name} passes everything, in order`, async (t) => {
    const { link, dial } = await twoEnds(t);
    const [near, far] = await dial();
    link.out.condition = condition;
    near.write(text);
    t.deepEqual(await receive(far, text.length), text);
    t.is(link.out.counts[count], text.length);
  });
}

test('glue makes one chunk of what came apart', async (t) => {
  const { link, dial } = await twoEnds(t);
  const [near, far] = await dial();
  link.out.condition = { stalled: true };
  for (const part of ['a', 'b', 'c']) {
    const held = link.out.counts.heldBytes;
    near.write(part);
    while (link.out.counts.heldBytes === held) await aTurn();
  }
  link.out.condition = { glueMs: 10 };
  const [chunk] = (await once(far, 'data')) as [Buffer];
  t.is(chunk.toString(), 'abc');
  t.is(link.out.counts.gluedChunks, 3);
});

test('cut: all but the last few bytes arrive, then the connection is over at both ends', async (t) => {
  const { link, dial } = await twoEnds(t);
  const [near, far] = await dial();
  const harmed = link.out.harmNext('cut', 10);
  const ended = Promise.all([closing(near), once(far, 'end')]);
  const arrived = receive(far, text.length - 3);
  near.write(text);
  t.deepEqual(await arrived, text.subarray(0, -3));
  await harmed;
  await ended;
  t.is(link.out.counts.harms, 1);
});

test('drop: the request has arrived, its answer does not', async (t) => {
  const { link, dial } = await twoEnds(t);
  const [near, far] = await dial();
  const harmed = link.back.harmNext('drop');
  near.write(text);
  await receive(far, text.length);
  const closed = closing(near);
  far.write('answer');
  await Promise.all([harmed, closed]);
  t.is(near.bytesRead, 0);
});

test('corrupt: one byte differs, once', async (t) => {
  const { link, dial } = await twoEnds(t);
  const [near, far] = await dial();
  void link.out.harmNext('corrupt', 10);
  near.write(text);
  const changed = await receive(far, text.length);
  t.is([...changed].filter((byte, index) => byte !== text[index]).length, 1);
  near.write(text);
  t.deepEqual(await receive(far, text.length), text);
});

test('old bytes arrive on their own connection after those of a newer one', async (t) => {
  const { link, dial } = await twoEnds(t);
  const [near, far] = await dial();
  const held = link.holdOld();
  near.write('old');
  while (held.bytes < 3) await aTurn();
  held.abandon();
  const [newer, newerFar] = await dial();
  newer.write('new');
  t.is((await receive(newerFar, 3)).toString(), 'new');
  t.is(far.bytesRead, 0);
  held.release();
  t.is((await receive(far, 3)).toString(), 'old');
  t.is(link.out.counts.lateBytes, 3);
});

test('a reset takes every connection', async (t) => {
  const { link, dial } = await twoEnds(t);
  const connections = [await dial(), await dial()];
  const closed = connections.flat().map((socket) => closing(socket));
  t.is(link.reset(), 2);
  await Promise.all(closed);
  t.is(link.connections, 0);
});
