/** A whole server in this process: it ends once, says why, and answers nothing after its disk failed. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { MemoryCoordination } from '../../src/coordination/memory.js';
import { RefusedToStartError, StorageError } from '../../src/errors.js';
import { silentLogger } from '../../src/logger.js';
import { CatenaServer } from '../../src/server/server.js';
import type { ServerOptions } from '../../src/server/server-options.js';
import { cluster, freePorts, putOf, RawClient, temporaryDirectory, until } from './support.js';

async function optionsOf(t: ExecutionContext): Promise<ServerOptions> {
  return {
    listen: { host: '127.0.0.1', port: await freePorts(1) },
    dataPath: await temporaryDirectory(t),
    cluster,
    coordinator: new MemoryCoordination().coordinator(),
    leaseMs: 200,
    logger: silentLogger,
    onLine: () => {},
  };
}

async function startAlone(t: ExecutionContext, change: Partial<ServerOptions> = {}) {
  const options = { ...(await optionsOf(t)), ...change };
  const server = await CatenaServer.start(options);
  t.teardown(() => server.kill());
  await until(() => server.role === 'single');
  const client = await RawClient.open(options.listen.port);
  t.teardown(() => client.close());
  return { server, client, options };
}

test('every kind of request is answered, and counted', async (t) => {
  const { client } = await startAlone(t);
  const first = await client.put('k', 'v');
  if (first.kind !== 'written') return t.fail();
  t.is(await client.get('k'), 'v');
  const absent = await client.request({ kind: 'get', key: Buffer.from('none') });
  t.like(absent, { kind: 'value', found: false, at: first.opId });
  t.deepEqual(await client.request({ kind: 'size' }), { kind: 'count', keys: 1, at: first.opId });
  const written = await client.put('k', 'w');
  if (written.kind !== 'written') return t.fail();
  t.true(written.existed);
  const { opId } = written;
  const verified = await client.request({ kind: 'verify', opId });
  t.deepEqual(verified, { kind: 'verified', outcome: 'executed' });
  const status = await client.request({ kind: 'status' });
  if (status.kind !== 'status') return t.fail();
  t.is(status.role, 'single');
  t.is(status.keys, 1);
  t.is(status.commitSeq, opId.seq);
  t.is(status.clientConnections, 1);
  t.deepEqual(
    status.ops.map(({ kind, count, failures }) => [kind, count, failures]),
    [
      ['put', 2, 0],
      ['get', 2, 0],
      ['size', 1, 0],
      ['verify', 1, 0],
    ],
  );
});

test('close and kill, together and again: it ends once, without a reason', async (t) => {
  const { server, client } = await startAlone(t);
  await Promise.all([server.close(), server.kill(), server.close()]);
  await server.kill();
  t.is(await server.ended, undefined);
  await client.closed;
});

test('to leave as the only member, twice at once, also with requests under way', async (t) => {
  const { server, client } = await startAlone(t);
  for (let n = 0; n < 100; n++) client.send({ kind: 'get', key: Buffer.from('k') });
  await Promise.all([server.leave(), server.leave()]);
  t.is(await server.ended, undefined);
});

test('what was answered is there after a kill in the middle of writes', async (t) => {
  const coordination = new MemoryCoordination();
  const { server, client, options } = await startAlone(t, {
    coordinator: coordination.coordinator(),
  });
  for (let n = 1; n <= 2_000; n++) client.send(putOf(`k${n}`, `${n}`));
  client.connection.flush();
  await until(() => client.answers.size > 1);
  await server.kill();
  const answered = [...client.answers].filter(([, [body]]) => body?.kind === 'written');
  t.true(answered.length > 0);
  const again = await CatenaServer.start({ ...options, coordinator: coordination.coordinator() });
  t.teardown(() => again.kill());
  await until(() => again.role === 'single');
  const reader = await RawClient.open(options.listen.port);
  for (const [id] of answered) t.is(await reader.get(`k${id}`), `${id}`);
  reader.close();
});

test('data without its chain is refused, and the way out named', async (t) => {
  const { server, client, options } = await startAlone(t);
  await client.put('k', 'v');
  await server.close();
  const coordinator = new MemoryCoordination().coordinator();
  const again = await CatenaServer.start({ ...options, coordinator });
  const reason = await again.ended;
  t.true(reason instanceof RefusedToStartError);
  t.regex(reason?.message ?? '', /recover/);
});

test('a disk that fails: it halts with the reason, and answers nothing after that', async (t) => {
  const { server, client, options } = await startAlone(t);
  await client.put('k', 'v');
  await rm(join(options.dataPath, 'log'), { recursive: true });
  // Until the log needs another file.
  const value = Buffer.alloc(4 * 1024 * 1024);
  for (let n = 0; n < 20; n++) void client.put('large', value).catch(() => {});
  const reason = await server.ended;
  t.true(reason instanceof StorageError);
  await client.closed;
  await t.throwsAsync(RawClient.open(options.listen.port));
});

test('a port that is taken gives the data back', async (t) => {
  const { options } = await startAlone(t);
  const dataPath = await temporaryDirectory(t);
  const coordinator = new MemoryCoordination().coordinator();
  for (let times = 0; times < 2; times++) {
    await t.throwsAsync(CatenaServer.start({ ...options, dataPath, coordinator }), {
      instanceOf: RefusedToStartError,
      message: /cannot listen/,
    });
  }
});
