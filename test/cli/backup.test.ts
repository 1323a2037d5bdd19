/** `backup` and `leave` as they are typed, `restore` as kv-server runs it: what they print, and what is left. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import { runClient } from '../../src/cli/client/main.js';
import { progressText } from '../../src/cli/client/progress.js';
import { runRestore } from '../../src/cli/restore.js';
import { BadRequestError, DataDamagedError, RefusedToStartError } from '../../src/errors.js';
import { entriesOf, stateHashOf } from '../backup/support.js';
import { closeChain, listeningChain, runCommand } from './support.js';

async function started(t: ExecutionContext, keys: number) {
  const directory = await mkdtemp(join(tmpdir(), 'catena-test-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const { chain, servers } = await listeningChain(2);
  t.teardown(() => closeChain(chain));
  for (let n = 1; n <= keys; n++) {
    chain.table.set(`key ${n}`, { value: Buffer.from(`value ${n}`), version: n });
  }
  chain.seq = keys;
  chain.stateHash = stateHashOf(entriesOf(chain));
  const [head, tail] = chain.servers.map(({ address }) => address) as [string, string];
  return { chain, servers, head, tail, directory, file: join(directory, 'monday.backup') };
}

test('backup prints op id, keys, bytes and file; a terminal for errors shows progress', async (t) => {
  const { servers, file, directory } = await started(t, 300);
  const run = (args: string[], more = {}) => runCommand(['--servers', servers, ...args], more);
  const plain = await run(['backup', file]);
  t.like(plain, { code: 0, stderr: '' });
  t.regex(plain.stdout, /^op 1-300, 300 keys, \d+\.\d KiB, in .*monday\.backup\n$/);
  const refused = await run(['backup', file]);
  t.is(refused.code, 2);
  t.regex(refused.stderr, /is there already; choose another name, or --force replaces it/);
  const json = await run(['backup', file, '--force', '--json'], { errorColumns: 80 });
  t.like(JSON.parse(json.stdout), { path: file, opId: '1-300', keys: 300 });
  t.is(json.stderr, '', 'no bar beside JSON');
  t.is((await run(['backup', file, '--force', '--quiet'], { errorColumns: 80 })).stderr, '');
  const shown = await run(['backup', file, '--force'], { errorColumns: 60 });
  t.regex(shown.stderr, /\[[#-]+\] {2}\d+ % {2}.*\/s/);
  t.true(shown.stderr.endsWith('\r\u001b[K'), 'the bar is gone at the end');
  t.deepEqual(await readdir(directory), ['monday.backup']);
});

test('backup in a line, and from the server that is named', async (t) => {
  const { chain, servers, tail, file } = await started(t, 3);
  const input = `backup ${file}\nbackup --force --at ${tail} ${file}\n`;
  const { code, stdout } = await runCommand(['--servers', servers], { input });
  t.is(code, 0);
  t.is(stdout.split('\n').length, 3);
  t.true(chain.server(tail).requests.some(({ body }) => body.kind === 'scan'));
});

test('an interrupted backup leaves nothing', async (t) => {
  const { chain, servers, file, directory } = await started(t, 3);
  const controller = new AbortController();
  for (const server of chain.servers) {
    server.script = ({ id, body }, session, good) => {
      if (body.kind !== 'scan') return good();
      const entries = entriesOf(chain).slice(0, 1);
      session.answer(id, { kind: 'page', entries, last: false, head: chain.scanHead });
      setTimeout(() => controller.abort(new Error('Ctrl-C')), 50);
    };
  }
  const interrupted = controller.signal;
  const result = await runCommand(['--servers', servers, 'backup', file], { interrupted });
  t.is(result.code, 3);
  t.regex(result.stderr, /aborted/);
  t.deepEqual(await readdir(directory), []);
});

test('as much of the progress is shown as the terminal is wide', (t) => {
  const progress = { done: 250, total: 1_000, bytes: 3 * 1024 * 1024 };
  t.is(
    progressText(progress, 2_000, 79),
    '[########----------------------]  25 %  3.0 MiB  1.5 MiB/s  6.0 s left',
  );
  t.is(progressText(progress, 2_000, 50), '[###-------]  25 %  3.0 MiB  1.5 MiB/s  6.0 s left');
  t.is(progressText(progress, 2_000, 20), '25 %  3.0 MiB  1.5 M');
  t.regex(progressText({ done: 0, total: 0, bytes: 0 }, 0, 79), /100 %/);
  t.notRegex(progressText({ done: 0, total: 10, bytes: 0 }, 5, 79), /left/);
});

test('leave says what has happened; the last member says how to insist', async (t) => {
  const { chain, servers, head, tail } = await started(t, 0);
  const run = (...args: string[]) => runCommand(['--servers', servers, ...args]);
  chain.server(tail).script = ({ id, body }, session, good) => {
    if (body.kind !== 'leave') return good();
    chain.reconfigure([head]);
    session.answer(id, { kind: 'left' });
  };
  const left = await run('leave', tail);
  t.is(left.stderr, '');
  t.is(left.stdout, `${tail} (tail) has left and ends; the chain is ${head} (epoch 2)\n`);
  const spare = await run('leave', tail, '--json');
  t.like(JSON.parse(spare.stdout), { left: tail, role: 'learner', chain: [head] });
  chain.server(head).script = ({ id, body }, session, good) => {
    if (body.kind !== 'leave' || body.force) return good();
    const message = 'nothing would serve any more';
    session.answer(id, { kind: 'failure', code: 'LAST_MEMBER', message });
  };
  const refused = await run('leave', head);
  t.is(refused.code, 3);
  t.regex(refused.stderr, /nothing would serve any more/);
  t.is((await run('leave', '--force', head)).code, 0);
  chain.server(tail).script = ({ body }, session, good) => {
    if (body.kind === 'leave') session.drop();
    else good();
  };
  const unknown = await run('leave', tail);
  t.is(unknown.code, 4);
  t.regex(unknown.stderr, /outcome unknown: .*look at it with: chain/);
  chain.server(tail).kill();
  t.is((await run('leave', tail)).code, 3);
});

test('table and keys, also as JSON, hold back what nobody reads', async (t) => {
  const { chain, servers } = await started(t, 0);
  const value = Buffer.alloc(100_000, 'v');
  for (let n = 1; n <= 300; n++) chain.table.set(`${n}`.padEnd(4_000, 'k'), { value, version: n });
  for (const args of [['keys'], ['keys', '--json'], ['table'], ['table', '--json']]) {
    const stdin = new PassThrough();
    stdin.end();
    const stdout = new PassThrough();
    const stderr = new PassThrough();
    const interrupted = new AbortController().signal;
    const running = runClient({
      args: ['--servers', servers, ...args],
      env: {},
      stdin,
      stdout,
      stderr,
      interrupted,
    });
    while (!stdout.writableNeedDrain) await turn();
    for (let turns = 0; turns < 300; turns++) {
      t.true(stdout.writableLength + stdout.readableLength < 400_000, args.join(' '));
      await turn();
    }
    let lines = 0;
    stdout.on('data', (chunk: Buffer) => {
      lines += chunk.toString('latin1').split('\n').length - 1;
    });
    t.is(await running, 0);
    stdout.end();
    while (!stdout.readableEnded) await turn();
    t.is(lines, 300, args.join(' '));
  }
});

test('restore says what it made and what comes next; a check changes nothing', async (t) => {
  const { servers, file, directory } = await started(t, 20);
  await runCommand(['--servers', servers, '--cluster', 'orders', 'backup', file]);
  let text = '';
  const restore = (operands: string[], dataPath?: string) =>
    runRestore(
      { operands, dataPath, isCheck: dataPath === undefined },
      (more) => {
        text += more;
      },
      undefined,
    );
  await restore([file]);
  t.regex(text, /Backup of cluster 'orders' \(fake\) at op 1-20: 20 keys\.\n.*\n.*whole/);
  t.deepEqual(await readdir(directory), ['monday.backup']);
  const dataPath = join(directory, 'data');
  text = '';
  await restore([file], dataPath);
  t.regex(text, /Restored to .*data, as server [-0-9a-f]+\.\n[\s\S]*--cluster orders-restored/);
  await t.throwsAsync(restore([file], dataPath), { instanceOf: RefusedToStartError });
  const content = await readFile(file);
  await writeFile(file, content.subarray(0, content.length - 1));
  await t.throwsAsync(restore([file]), { instanceOf: DataDamagedError });
  for (const operands of [[], [file, 'more']]) {
    await t.throwsAsync(restore(operands, dataPath), { instanceOf: BadRequestError });
  }
});

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
