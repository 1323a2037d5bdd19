/** kv-server as its operator sees it: usage, refusals, exit codes, the lines that it prints, signals. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { freePorts, RawClient, temporaryDirectory } from '../server/support.js';
import { ChainWatch } from '../support/deployment.js';
import { deployProcesses, runToEnd, serverScript, untilServing } from '../support/processes.js';
import { serialTestUnless } from '../support/requirement.js';
import { missingZooKeeper } from '../support/zookeeper.js';

const testWithZooKeeper = serialTestUnless(await missingZooKeeper());

const run = (...args: string[]) => runToEnd(serverScript, args);

interface Running {
  readonly child: ChildProcess;
  readonly watch: ChainWatch;
  readonly exited: Promise<unknown[]>;
  readonly port: number;
  readonly dataPath: string;
}

async function startEmbedded(
  t: ExecutionContext,
  servers = 1,
  known: { port?: number; dataPath?: string } = {},
): Promise<Running> {
  const port = known.port ?? (await freePorts(servers));
  const dataPath = known.dataPath ?? (await temporaryDirectory(t));
  const args = ['--embedded', String(servers), '--listen', String(port), '--data', dataPath];
  const child = spawn(process.execPath, [serverScript, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = once(child, 'exit');
  t.teardown(() => child.kill('SIGKILL'));
  const watch = new ChainWatch();
  await untilServing(child, watch);
  await watch.untilMembers(servers);
  return { child, watch, exited, port, dataPath };
}

test('--help and --version', async (t) => {
  const help = await run('--help');
  t.is(help.code, 0);
  t.regex(help.stdout, /Usage: kv-server <zookeeper> <listen>/);
  for (const code of ['0 stopped', '1 halted', '2 wrong usage', '3 refused']) {
    t.true(help.stdout.includes(code));
  }
  const { version } = JSON.parse(await readFile('package.json', 'utf8')) as { version: string };
  t.deepEqual(await run('--version'), { code: 0, stdout: `${version}\n`, stderr: '' });
});

for (const [args, message] of [
  [[], /give <zookeeper> and <listen>/],
  [['2181'], /give <zookeeper> and <listen>/],
  [['2181', '5000', '5001'], /give <zookeeper> and <listen>/],
  [['2181', 'nowhere'], /'nowhere' is no address/],
  [['2181,', '5000'], /'' is no address/],
  [['2181', '0'], /port/],
  [['2181', '70000'], /'70000' is no address/],
  [['2181', '5000', '--unknown'], /--unknown/],
  [
    ['2181', '5000', '--lease', 'long'],
    /--lease takes a whole number from 50 to 60000, not 'long'/,
  ],
  [['2181', '5000', '--lease', '1'], /--lease takes a whole number from 50 to 60000, not '1'/],
  [['2181', '5000', '--replicas', '0'], /--replicas takes a whole number from 1 to 99, not '0'/],
  [
    ['2181', '5000', '--replicas', '100'],
    /--replicas takes a whole number from 1 to 99, not '100'/,
  ],
  [['2181', '5000', '--min-replicas', '6'], /--min-replicas is 6; .* from 1 to 5/],
  [
    ['2181', '5000', '--log-level', 'loud'],
    /--log-level 'loud' is not known; it is debug, info, warn, error, silent/,
  ],
  [['2181', '5000', '--advertise', 'x'], /'x' is no address/],
  [['2181', '5000', '--listen', '5000'], /--listen goes with --embedded/],
  [['--embedded', 'three'], /--embedded takes a whole number/],
  [['--embedded', '0'], /1 to 16/],
  [['--embedded', '3', '4'], /one number of servers/],
  [['--embedded', '3', '--listen', '65534'], /ports 65534 to 65536/],
  [['--embedded', '3', '--listen', '0'], /ports 0 to 2/],
  [['--embedded', '--min-replicas', '2'], /--min-replicas is not for --embedded/],
] as const) {
  test(`kv-server ${args.join(' ')}: usage, exit code 2`, async (t) => {
    const { code, stdout, stderr } = await run(...args);
    t.is(code, 2, stderr);
    t.is(stdout, '');
    t.regex(stderr, /^kv-server: BAD_REQUEST: /);
    t.regex(stderr, message);
    t.regex(stderr, /Try 'kv-server --help'/);
    t.notRegex(stderr, /\n\s+at /, 'no stack trace');
  });
}

test('the port is taken: refused, exit code 3', async (t) => {
  const port = await freePorts(1);
  const other = createServer().listen(port, '127.0.0.1');
  await once(other, 'listening');
  const data = await temporaryDirectory(t);
  const args = ['--embedded', '1', '--listen', String(port), '--data', data];
  const { code, stderr } = await run(...args);
  other.close();
  t.is(code, 3);
  t.regex(stderr, new RegExp(`REFUSED_TO_START: cannot listen on 127.0.0.1:${port}`));
  t.notRegex(stderr, /\n\s+at /);
});

test('another process on the same data is refused, exit code 3, and the first goes on', async (t) => {
  const { port, dataPath } = await startEmbedded(t);
  const client = await RawClient.open(port);
  await client.put('key', 'value');
  const elsewhere = await freePorts(1);
  const args = ['--embedded', '1', '--listen', String(elsewhere), '--data', dataPath];
  const { code, stderr } = await run(...args);
  t.is(code, 3);
  t.regex(stderr, /REFUSED_TO_START/);
  t.is(await client.get('key'), 'value');
  client.close();
});

test('damaged data is refused, exit code 3, and named', async (t) => {
  const { child, exited, port, dataPath } = await startEmbedded(t);
  const client = await RawClient.open(port);
  await client.put('key', 'value');
  client.close();
  child.kill('SIGTERM');
  await exited;
  const path = join(dataPath, 'server-1', 'meta.json');
  const meta = await readFile(path);
  meta[meta.length >> 1] = (meta[meta.length >> 1] as number) ^ 1;
  await writeFile(path, meta);
  const args = ['--embedded', '1', '--listen', String(port), '--data', dataPath];
  const { code, stderr } = await run(...args);
  t.is(code, 3);
  t.regex(stderr, /DATA_DAMAGED.*meta\.json/);
});

test('a line when it serves, a line for each change of role; SIGTERM stops it', async (t) => {
  const { child, watch, exited, port } = await startEmbedded(t, 2);
  const [first, second] = [`127.0.0.1:${port}`, `127.0.0.1:${port + 1}`];
  const lines = watch.lines.join('\n');
  t.regex(lines, new RegExp(`${first} listens \\(server \\w{8}, 0 keys, log to 0, data in `));
  t.regex(lines, new RegExp(`${first} serves cluster 'default'`));
  t.regex(lines, new RegExp(`${first} is single in epoch 1: ${first} \\(.+\\)`));
  t.regex(lines, new RegExp(`${first} is head in epoch 2: ${first} > ${second} \\(.+\\)`));
  t.regex(lines, new RegExp(`${second} is tail in epoch 2: ${first} > ${second} \\(.+\\)`));
  child.kill('SIGTERM');
  t.deepEqual(await exited, [0, null]);
  t.regex(watch.lines.join('\n'), /stopped$/);
});

test('SIGINT stops it as well, also with a client that does not go away', async (t) => {
  const { child, exited, port } = await startEmbedded(t);
  const client = await RawClient.open(port);
  client.socket.pause();
  for (let n = 0; n < 1000; n++) client.send({ kind: 'status' });
  client.connection.flush();
  child.kill('SIGINT');
  t.deepEqual(await exited, [0, null]);
  client.close();
});

test('nobody reads what it prints: it goes on', async (t) => {
  const { child, exited, port } = await startEmbedded(t);
  child.stdout?.destroy();
  child.stderr?.destroy();
  for (let n = 0; n < 3; n++) {
    // Each is a line in the log, into a pipe that is closed.
    const stranger = await RawClient.open(port, { cluster: 'another' });
    await stranger.closed;
  }
  const client = await RawClient.open(port);
  await client.put('key', 'value');
  t.is(await client.get('key'), 'value');
  client.close();
  child.kill('SIGTERM');
  t.deepEqual(await exited, [0, null]);
});

test('killed and started again, its data is there', async (t) => {
  const first = await startEmbedded(t);
  const client = await RawClient.open(first.port);
  await client.put('key', 'value');
  client.close();
  first.child.kill('SIGKILL');
  await first.exited;
  const { port, dataPath } = first;
  const second = await startEmbedded(t, 1, { port, dataPath });
  // First it is told of the chain as it was, which lists its earlier process.
  await second.watch.until('its new process', ({ epoch }) => epoch > 1);
  const again = await RawClient.open(second.port);
  t.is(await again.get('key'), 'value');
  again.close();
});

testWithZooKeeper('SIGTERM leaves the chain in good order', async (t) => {
  const deployment = await deployProcesses();
  t.teardown(() => deployment.remove());
  for (const number of [1, 2, 3]) await deployment.start(number);
  await deployment.chain.untilMembers(3);
  for (const number of [1, 3]) {
    const before = deployment.chain.newest.epoch;
    t.is(await deployment.stop(number), 0);
    const { epoch, members } = await deployment.chain.until(
      `the chain without server ${number}`,
      (chain) => !chain.members.includes(deployment.address(number)),
    );
    t.true(epoch > before);
    const change = deployment.chain.lines.findLast((line) => line.includes(`in epoch ${epoch}`));
    t.regex(change ?? '', new RegExp(`${deployment.address(number)} leaves`));
    t.true(members.length > 0);
  }
});

test('without ZooKeeper it waits, and goes when asked to', async (t) => {
  const [zookeeper, port] = [await freePorts(1), await freePorts(1)];
  const data = await temporaryDirectory(t);
  const args = [String(zookeeper), String(port), '--data', data];
  const child = spawn(process.execPath, [serverScript, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  const exited = once(child, 'exit');
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  t.regex(line.toString(), new RegExp(`127.0.0.1:${port} listens`));
  const client = await RawClient.open(port);
  const refused = await client.put('key', 'value');
  t.is(refused.kind === 'failure' && refused.code, 'NOT_SERVING');
  client.close();
  child.kill('SIGTERM');
  t.deepEqual(await exited, [0, null]);
});
