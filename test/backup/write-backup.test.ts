/** A backup is whole and durable under its name, or nothing of it is left, whatever happens on the way. */
import test from 'ava';
import { verifyBackup } from '../../src/backup/read-backup.js';
import {
  AbortedError,
  BadRequestError,
  DiskFullError,
  ProtocolError,
  StorageError,
  UnavailableError,
} from '../../src/errors.js';
import { MemoryDisk } from '../../src/log/memory-disk.js';
import { backupPath, backUp, chainOf, entriesOf, partialPath, writeFile } from './support.js';

test('the file holds exactly the entries of the instant that it names, versions included', async (t) => {
  const { chain, client } = await chainOf(50);
  const disk = new MemoryDisk();
  const steps: number[] = [];
  const made = await backUp(client, disk, {
    onProgress: ({ keys, totalKeys }) => {
      steps.push(keys);
      t.is(totalKeys, 50);
    },
  });
  t.like(made, { path: backupPath, opId: '1-53', keys: 50, stateHash: chain.stateHash });
  t.is(steps.at(-1), 50);
  // A power cut right after it was reported: it was durable.
  disk.crash();
  t.deepEqual(disk.paths(), [backupPath]);
  const { metadata, machine, bytes } = await verifyBackup(disk, backupPath);
  t.is(bytes, made.bytes);
  t.like(metadata, { clusterId: 'fake', cluster: 'orders', seq: 53, epoch: 1, keys: 50 });
  t.deepEqual(metadata.runs, [{ epoch: 1, lastSeq: 53 }]);
  for (const { key, value, version } of entriesOf(chain)) {
    t.deepEqual(Buffer.from(machine.table.get(key) ?? []), Buffer.from(value));
    t.is(machine.table.version(key), version);
  }
  await client.close();
});

test('a file that is there stays as it is, unless --force', async (t) => {
  const { client } = await chainOf(3);
  const disk = new MemoryDisk();
  await writeFile(disk, backupPath, Buffer.from('precious'));
  await t.throwsAsync(backUp(client, disk), { instanceOf: BadRequestError, message: /--force/ });
  t.is(disk.contents(backupPath).toString(), 'precious');
  await backUp(client, disk, { force: true });
  t.is((await verifyBackup(disk, backupPath)).metadata.keys, 3);
  await client.close();
});

test('a file that appears meanwhile stays as it is too', async (t) => {
  const { chain, client } = await chainOf(3);
  const disk = new MemoryDisk();
  let appeared: Promise<void> | undefined;
  const [server] = chain.servers;
  if (server === undefined) return t.fail();
  server.script = (request, _session, good) => {
    if (request.body.kind === 'scan') {
      appeared = writeFile(disk, backupPath, Buffer.from('precious'));
    }
    good();
  };
  await t.throwsAsync(backUp(client, disk), { instanceOf: BadRequestError });
  t.truthy(appeared);
  t.deepEqual(disk.paths(), [backupPath]);
  t.is(disk.contents(backupPath).toString(), 'precious');
  await client.close();
});

test('what a killed backup left is not mistaken for one, nor taken from one under way', async (t) => {
  const { client } = await chainOf(3);
  const disk = new MemoryDisk();
  await writeFile(disk, partialPath, Buffer.from('half of it'));
  const error = await t.throwsAsync(backUp(client, disk), { instanceOf: BadRequestError });
  t.regex(error.message, /under way, or one was killed; --force/);
  t.is(disk.contents(partialPath).toString(), 'half of it');
  await backUp(client, disk, { force: true });
  t.deepEqual(disk.paths(), [backupPath]);
  await client.close();
});

test('a server that goes away midway: a typed error, and nothing is left', async (t) => {
  const { chain, client } = await chainOf(20);
  const disk = new MemoryDisk();
  const [server] = chain.servers;
  if (server === undefined) return t.fail();
  let pages = 0;
  server.script = ({ id, body }, session, good) => {
    if (body.kind !== 'scan') return good();
    const { scanHead: head } = chain;
    const [entry] = entriesOf(chain);
    if (entry === undefined) return t.fail();
    session.answer(id, { kind: 'page', entries: [entry], last: false, head });
    session.connection.flush();
    pages += 1;
    session.stream.end();
  };
  await t.throwsAsync(backUp(client, disk), { instanceOf: UnavailableError });
  t.is(pages, 1, 'a page came before the end, and no second scan was begun');
  t.deepEqual(disk.paths(), []);
  await client.close();
});

test('a server that sends fewer keys than it said: refused, and nothing is left', async (t) => {
  const { chain, client } = await chainOf(20);
  const disk = new MemoryDisk();
  const [server] = chain.servers;
  if (server === undefined) return t.fail();
  server.script = ({ id, body }, session, good) => {
    if (body.kind !== 'scan') return good();
    const entries = entriesOf(chain).slice(1);
    session.answer(id, { kind: 'page', entries, last: true, head: chain.scanHead });
  };
  await t.throwsAsync(backUp(client, disk), { instanceOf: ProtocolError, message: /19 of 20/ });
  t.deepEqual(disk.paths(), []);
  await client.close();
});

test('Ctrl-C midway: nothing is left', async (t) => {
  const { client } = await chainOf(20);
  const disk = new MemoryDisk();
  const interrupt = new AbortController();
  let keysThen = 0;
  const doing = backUp(client, disk, {
    signal: interrupt.signal,
    onProgress: ({ keys }) => {
      keysThen = keys;
      interrupt.abort(new Error('Ctrl-C'));
    },
  });
  await t.throwsAsync(doing, { instanceOf: AbortedError });
  t.true(keysThen > 0 && keysThen < 20, 'it was in the middle');
  t.deepEqual(disk.paths(), []);
  await client.close();
});

test('before the first op there is nothing to back up', async (t) => {
  const { chain, client } = await chainOf(0);
  chain.seq = 0;
  const disk = new MemoryDisk();
  await t.throwsAsync(backUp(client, disk), { instanceOf: UnavailableError, message: /nothing/ });
  t.deepEqual(disk.paths(), []);
  await client.close();
});

test('an empty table is a backup too', async (t) => {
  const { client } = await chainOf(0);
  const disk = new MemoryDisk();
  t.like(await backUp(client, disk), { opId: '1-3', keys: 0 });
  t.like((await verifyBackup(disk, backupPath)).metadata, { keys: 0, seq: 3 });
  await client.close();
});

for (const [code, instanceOf] of [
  ['EIO', StorageError],
  ['ENOSPC', DiskFullError],
] as const) {
  test(`${code} at each step of the disk: a typed error, and no file under its name`, async (t) => {
    const { client } = await chainOf(5);
    let steps = Number.POSITIVE_INFINITY;
    for (let failing = 1; failing <= steps; failing++) {
      const disk = new MemoryDisk();
      let count = 0;
      let failed = '';
      let probed = false;
      disk.setFault(({ kind, path }) => {
        // Whether a file is there is asked by opening it: that is no step of the writing.
        const isProbe = kind === 'open' && (path === backupPath || !probed);
        if (path === partialPath) probed = true;
        if (isProbe || kind === 'read' || kind === 'remove') return undefined;
        count += 1;
        if (count !== failing) return undefined;
        failed = `${kind} ${path}`;
        return { error: code };
      });
      const outcome = await backUp(client, disk).then(
        () => undefined,
        (error: unknown) => error,
      );
      disk.setFault(() => undefined);
      if (failed === '') {
        t.is(outcome, undefined);
        steps = failing - 1;
        continue;
      }
      const isLast = failed.startsWith('sync-directory');
      t.true(outcome instanceof instanceOf, `${failed}: ${String(outcome)}`);
      t.deepEqual(disk.paths(), isLast ? [backupPath] : [], failed);
    }
    t.true(steps >= 6, `${steps} steps were tried`);
    await client.close();
  });
}
