/**
 * A real kv-server and those who wish it ill. Whatever they send, it costs their own connection, with
 * a reason in the log; a client that behaves is served with right answers all the while.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { connect as connectSocket, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { connect, type KvClient } from '../../src/index.js';
import { frameBytesMax, keyBytesMax, valueBytesMax } from '../../src/limits.js';
import { sealRecord } from '../../src/protocol/entry-codec.js';
import { encodeFrame } from '../../src/protocol/frame.js';
import { encodeOpen, encodeRequest, protocolVersion } from '../../src/protocol/messages.js';
import { encodePeer } from '../../src/protocol/peer-messages.js';
import { cluster, freePorts, putOf, RawClient, until } from '../server/support.js';
import { ChainWatch } from '../support/deployment.js';
import { serverScript, untilServing } from '../support/processes.js';

let child: ChildProcess;
let directory: string;
let port: number;
let honest: KvClient;
const watch = new ChainWatch();

test.before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'catena-hostile-'));
  port = await freePorts(3);
  const args = ['--embedded', '3', '--listen', String(port), '--data', directory];
  child = spawn(process.execPath, [serverScript, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  await untilServing(child, watch);
  await watch.untilMembers(3);
  honest = await connect({ servers: [`127.0.0.1:${port}`], timeoutMs: 30_000 });
});

test.after.always(async () => {
  await honest.close();
  if (child.exitCode === null) {
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }
  await rm(directory, { recursive: true, force: true });
});

/** Does `harm` while an honest client writes and reads; resolves to how often that went well. */
async function whileServing(harm: () => Promise<void>): Promise<number> {
  const over = new AbortController();
  let rounds = 0;
  const serving = (async () => {
    while (!over.signal.aborted || rounds < 3) {
      const value = `round ${rounds}`;
      await honest.put('honest', value);
      const found = await honest.get('honest');
      const read = Buffer.from(found?.value ?? []).toString();
      if (read !== value) throw new Error(`read '${read}', wrote '${value}'`);
      rounds += 1;
    }
  })();
  try {
    await harm();
  } finally {
    over.abort();
  }
  await serving;
  return rounds;
}

function openSocket(): Socket {
  const socket = connectSocket(port, '127.0.0.1');
  socket.on('error', () => {});
  socket.resume();
  return socket;
}

const openFrame = encodeFrame(encodeOpen({ version: protocolVersion, cluster }));

/** The log lines of the server from here on. */
function logFromHere(): { untilReason: (reason: string) => Promise<void> } {
  const start = watch.lines.length;
  return {
    untilReason: (reason) =>
      until(() => watch.lines.slice(start).some((line) => line.includes(reason))),
  };
}

async function residentBytes(): Promise<number> {
  const status = await readFile(`/proc/${child.pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
}

const lengthOf = (length: number): Buffer => {
  const header = Buffer.alloc(8);
  header.writeUInt32BE(length, 0);
  header.writeUInt32BE(~length >>> 0, 4);
  return header;
};
const badChecksum = Buffer.from(encodeFrame(Buffer.from('payload')));
badChecksum[8] = (badChecksum[8] as number) ^ 1;

for (const [row, what, bytes, reason] of [
  ['I2', 'garbage', Buffer.from('\u00ff\u00fe garbage, no frame at all'), 'no valid length'],
  ['I2', 'an HTTP request', Buffer.from('GET / HTTP/1.1\r\nHost: h\r\n\r\n'), 'no valid length'],
  ['I2', 'a TLS hello', Buffer.from('16030100f8010000f40303aabbcc', 'hex'), 'no valid length'],
  ['I1', 'a length of 2 GiB', lengthOf(2 ** 31), `of ${2 ** 31} bytes is announced`],
  ['I1', 'a length just beyond the limit', lengthOf(frameBytesMax + 1), 'is announced'],
  ['I1', 'a frame with a wrong checksum', badChecksum, 'fails its checksum'],
  [
    'I1',
    'a first frame that is no Open',
    encodeFrame(Buffer.from([7, 7, 7])),
    'malformed protobuf',
  ],
  [
    'I1',
    'another version',
    encodeFrame(encodeOpen({ version: 99, cluster })),
    `protocol version 99; this server speaks ${protocolVersion}`,
  ],
  [
    'I1',
    'another cluster',
    encodeFrame(encodeOpen({ version: protocolVersion, cluster: 'another' })),
    "belongs to cluster 'default', not 'another'",
  ],
  [
    'I1',
    'garbage after an Open',
    Buffer.concat([openFrame, encodeFrame(Buffer.from('garbage'))]),
    'malformed',
  ],
  [
    'I2',
    'server messages from a client',
    Buffer.concat([
      openFrame,
      encodeFrame(encodePeer({ epoch: 3, configId: 'x', body: { kind: 'ping' } })),
    ]),
    'malformed',
  ],
  [
    'I1',
    'a request with id 0',
    Buffer.concat([openFrame, encodeFrame(encodeRequest({ id: 0, body: { kind: 'size' } }))]),
    'a request with id 0',
  ],
] as const) {
  test.serial(`${row}: ${what}: that connection is closed, with a reason`, async (t) => {
    const log = logFromHere();
    const rounds = await whileServing(async () => {
      const socket = openSocket();
      socket.write(bytes);
      await once(socket, 'close');
      await log.untilReason(reason);
    });
    t.true(rounds >= 3);
  });
}

test.serial('I1: half a frame, then the end', async (t) => {
  const log = logFromHere();
  const socket = openSocket();
  socket.end(Buffer.concat([openFrame, openFrame.subarray(0, 11)]));
  await once(socket, 'close');
  await log.untilReason('in the middle of a frame');
  t.pass();
});

test.serial(
  'I3: half a first frame, or nothing, then silence: closed when the time is up',
  async (t) => {
    const log = logFromHere();
    const rounds = await whileServing(async () => {
      const [half, silent] = [openSocket(), openSocket()];
      half.write(openFrame.subarray(0, 11));
      await Promise.all([once(half, 'close'), once(silent, 'close')]);
      await log.untilReason('no first frame within 5000 ms');
    });
    t.true(rounds >= 3);
  },
);

test.serial('a connection that is reset in the middle of everything', async (t) => {
  const rounds = await whileServing(async () => {
    for (let count = 0; count < 50; count++) {
      const client = await RawClient.open(port);
      for (let id = 0; id < 100; id++) client.send(putOf(`reset-${id}`, 'value'));
      client.send({ kind: 'scan', values: true });
      client.connection.flush();
      client.socket.resetAndDestroy();
      await client.closed;
    }
  });
  t.true(rounds >= 3);
});

test.serial('I3: one byte at a time is only slower', async (t) => {
  const client = await RawClient.open(port);
  const socket = openSocket();
  const wanted = encodeFrame(
    encodeRequest({ id: 1, body: { kind: 'get', key: Buffer.from('honest') } }),
  );
  const answered = once(socket, 'data');
  for (const byte of Buffer.concat([openFrame, wanted])) {
    await new Promise((resolve) => socket.write(Buffer.from([byte]), resolve));
  }
  await answered;
  t.false(socket.destroyed);
  socket.destroy();
  client.close();
});

test.serial('I2: an Append from a stranger that claims to be a server', async (t) => {
  const raw = await RawClient.open(port);
  const { view } = await raw.opened;
  const ops = [{ kind: 'put' as const, key: Buffer.from('planted'), value: Buffer.from('evil') }];
  const epoch = (view?.epoch ?? 0) - 1;
  const record = sealRecord({ epoch, firstSeq: 1_000_000, count: 1, commit: 0 }, ops);
  const entry = {
    epoch,
    firstSeq: 1_000_000,
    lastSeq: 1_000_000,
    commit: 0,
    ops,
    keyHashes: [],
    record,
  };
  const append = encodePeer({
    epoch,
    configId: 'guessed',
    body: { kind: 'append', entry, commit: 1_000_000 },
  });
  const identity = { serverId: 'stranger', incarnation: 'strange' };
  for (const clusterId of ['', 'guessed']) {
    const stranger = await RawClient.open(port, { peer: { ...identity, clusterId } });
    t.is((await stranger.opened).refused?.code, 'WRONG_CLUSTER');
    await stranger.closed;
  }
  // It found out the id of the cluster: what it sends is still of no epoch that counts.
  const rounds = await whileServing(async () => {
    const stranger = await RawClient.open(port, {
      peer: { ...identity, clusterId: view?.clusterId ?? '' },
    });
    stranger.connection.send(append);
    stranger.connection.send(Buffer.from('and no message at all'));
    await stranger.closed;
  });
  t.true(rounds >= 3);
  t.is(await raw.get('planted'), undefined);
  raw.close();
});

test.serial('I1: too large, too small: typed errors, and the connection goes on', async (t) => {
  const client = await RawClient.open(port);
  const failureOf = async (key: Buffer, value: Buffer): Promise<string> => {
    const body = await client.put(key, value);
    return body.kind === 'failure' ? `${body.code}: ${body.message}` : body.kind;
  };
  const key = Buffer.from('key');
  t.regex(await failureOf(Buffer.alloc(0), key), /BAD_REQUEST: the key is empty/);
  t.regex(
    await failureOf(Buffer.alloc(keyBytesMax + 1), key),
    /LIMIT_EXCEEDED: the key is 4097 bytes, the limit is 4096/,
  );
  t.regex(
    await failureOf(key, Buffer.alloc(valueBytesMax + 1)),
    /LIMIT_EXCEEDED: the value is 8388609 bytes, the limit is 8388608/,
  );
  t.regex(await failureOf(Buffer.alloc(12 * 1024 * 1024), key), /LIMIT_EXCEEDED/);
  t.is((await client.put('key', 'fits')).kind, 'written');
  client.close();
});

test.serial(
  'I6: a request id used again while its write is under way: no write is run for another',
  async (t) => {
    const log = logFromHere();
    const rounds = await whileServing(async () => {
      for (let count = 0; count < 20; count++) {
        const client = await RawClient.open(port);
        const payload = (value: string): Uint8Array =>
          encodeRequest({ id: 7, body: putOf(`reused-${count}`, value) });
        // Both lie in one chunk, so the first one cannot have been answered yet.
        client.connection.send(payload('first'));
        client.connection.send(payload('second'));
        await client.closed;
      }
    });
    t.true(rounds >= 3);
    await log.untilReason('request id 7 is used again');
    for (let count = 0; count < 20; count++) {
      const found = await honest.get(`reused-${count}`);
      t.not(Buffer.from(found?.value ?? []).toString(), 'second');
    }
  },
);

test.serial('I3: a hundred thousand requests at once are all answered', async (t) => {
  const client = await RawClient.open(port);
  const count = 100_000;
  const rounds = await whileServing(async () => {
    for (let index = 1; index < count; index++) {
      client.send(index % 2 === 0 ? { kind: 'get', key: Buffer.from('key') } : putOf('key', 'v'));
    }
    await client.request({ kind: 'size' });
    await until(() => client.answers.size >= count);
  });
  t.true(rounds >= 3);
  let answers = 0;
  for (const [id, bodies] of client.answers) {
    if (id === 0) continue;
    if (bodies.length !== 1) t.fail(`request ${id} has ${bodies.length} answers`);
    const kind = id % 2 === 0 ? 'value' : 'written';
    if (id < count && bodies[0]?.kind !== kind) t.fail(`${id}: ${JSON.stringify(bodies[0])}`);
    answers += 1;
  }
  t.is(answers, count);
  client.close();
});

test.serial(
  'I5: a client that never reads its answers: memory is bounded, writers never wait for it',
  async (t) => {
    const writer = await RawClient.open(port);
    for (let n = 0; n < 4; n++) {
      t.is((await writer.put(`large-${n}`, Buffer.alloc(valueBytesMax, n))).kind, 'written');
    }
    const before = await residentBytes();
    let highest = 0;
    // A server without bounds must fail this test, not take down the machine.
    const guard = setInterval(() => {
      void residentBytes().then((bytes) => {
        if (bytes > before + 2 ** 31) child.kill('SIGKILL');
      });
    }, 100);
    t.teardown(() => clearInterval(guard));
    const rounds = await whileServing(async () => {
      const deaf = await Promise.all([1, 2, 3].map(() => RawClient.open(port)));
      for (const client of deaf) {
        client.socket.pause();
        for (let n = 0; n < 3_000; n++) {
          client.send({ kind: 'get', key: Buffer.from(`large-${n % 4}`) });
          client.send({ kind: 'status' });
          if (n % 10 === 0) client.send({ kind: 'scan', values: true });
        }
      }
      // All answers together would be 24 GB a client. Others are served, long enough to see it grow.
      for (let n = 0; n < 200; n++) {
        await writer.put('growing', `${n}`);
        highest = Math.max(highest, await residentBytes());
      }
      for (const client of deaf) client.close();
    });
    t.true(rounds >= 3);
    const grownMiB = Math.round((highest - before) / 1024 / 1024);
    t.true(grownMiB < 400, `the server grew by ${grownMiB} MiB`);
    t.log(`grown by ${grownMiB} MiB`);
    writer.close();
  },
);

test.serial('I4: thousands of connections come and go', async (t) => {
  const raw = await RawClient.open(port);
  const connections = async (): Promise<number> => {
    const status = await raw.request({ kind: 'status' });
    return status.kind === 'status' ? status.clientConnections : -1;
  };
  const before = await connections();
  const rounds = await whileServing(async () => {
    for (let wave = 0; wave < 10; wave++) {
      const sockets = Array.from({ length: 300 }, () => openSocket());
      await Promise.all(sockets.map((socket) => once(socket, 'connect')));
      for (const [index, socket] of sockets.entries()) {
        if (index % 3 === 0) socket.write(openFrame);
        if (index % 3 === 1) socket.resetAndDestroy();
        else socket.destroy();
      }
    }
  });
  t.true(rounds >= 3);
  await until(async () => (await connections()) === before);
  raw.close();
  t.pass();
});

test.serial(
  'after all that: no server halted, no epoch changed, and it stops as asked',
  async (t) => {
    t.is(child.exitCode, null);
    t.deepEqual(
      watch.lines.filter((line) => / halted/.test(line)),
      [],
    );
    t.is(watch.newest.members.length, 3);
    await honest.close();
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    t.deepEqual(await exited, [0, null]);
  },
);
