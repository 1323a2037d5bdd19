/** kv-client whole: commands, what they print and where, exit codes, pipes. */
import { PassThrough } from 'node:stream';
import test from 'ava';
import { parseClientOptions } from '../../src/cli/client/client-options.js';
import { runClient } from '../../src/cli/client/main.js';
import { BadRequestError } from '../../src/errors.js';
import { valueBytesMax } from '../../src/limits.js';
import { closeChain, listeningChain, runCommand, saysOfItself, statusOf } from './support.js';

test('one command each: results on standard output, the outcome as the exit code', async (t) => {
  const { chain, servers } = await listeningChain(3);
  const run = (...args: string[]) => runCommand(['--servers', servers, ...args]);
  t.deepEqual(await run('put', 'a key', 'some', 'value'), { code: 0, stdout: '1-1\n', stderr: '' });
  t.deepEqual(await run('get', 'a key'), { code: 0, stdout: 'some value', stderr: '' });
  t.deepEqual(await run('get', 'none'), { code: 1, stdout: '', stderr: '' });
  t.deepEqual(await run('put', 'b', '"quoted"', '--no-wait'), {
    code: 0,
    stdout: '1-2\n',
    stderr: '',
  });
  t.deepEqual(await run('keys'), { code: 0, stdout: 'a key\nb\n', stderr: '' });
  t.deepEqual(await run('table'), {
    code: 0,
    stdout: 'a key\tsome value\nb\t"quoted"\n',
    stderr: '',
  });
  t.deepEqual(await run('size'), { code: 0, stdout: '2\n', stderr: '' });
  t.deepEqual(await run('del', 'b'), { code: 0, stdout: '1-3\n', stderr: '' });
  t.deepEqual(await run('del', 'b'), { code: 1, stdout: '1-4\n', stderr: '' });
  t.deepEqual(await run('verify', '1-3'), { code: 0, stdout: 'executed\n', stderr: '' });
  t.deepEqual(await run('verify', '1-9'), { code: 1, stdout: 'never\n', stderr: '' });
  t.deepEqual(await run('put', 'dash', '--', '--json'), { code: 0, stdout: '1-5\n', stderr: '' });
  t.is((await run('get', 'dash')).stdout, '--json');
  await closeChain(chain);
});

test('bytes: from standard input, escaped arguments, JSON and on a terminal', async (t) => {
  const { chain, servers } = await listeningChain(1);
  const run = (args: string[], more = {}) => runCommand(['--servers', servers, ...args], more);
  const value = Uint8Array.of(0, 0x1b, 0x5b, 0xff);
  t.is((await run(['put', 'bin', '-'], { input: value })).code, 0);
  t.is((await run(['get', 'bin'])).stdout, '\x00\x1b[\xff');
  t.is((await run(['get', 'bin'], { isTerminal: true })).stdout, '"\\x00\\x1b[\\xff"\n');
  t.deepEqual(JSON.parse((await run(['get', 'bin', '--json'])).stdout), {
    found: true,
    value: { base64: 'ABtb/w==' },
    version: 1,
  });
  t.is((await run(['-e', 'put', '"k\\x00"', '"\\x01"'])).code, 0);
  t.deepEqual(chain.table.get('k\0')?.value, Uint8Array.of(1));
  t.deepEqual(JSON.parse((await run(['get', 'none', '--json'])).stdout), { found: false });
  t.is((await run(['table', '--json'])).stdout.trimEnd().split('\n').length, 2);
  t.is((await run(['put', 'empty', ''])).code, 0);
  t.is(chain.table.get('empty')?.value.length, 0);
  await closeChain(chain);
});

test('piped commands run in order; the exit code is the highest of theirs', async (t) => {
  const { chain, servers } = await listeningChain(2);
  const input = [
    '# a comment',
    'put k  two  blanks ',
    '',
    'get k',
    'put "\\x00 " x\r',
    'get none',
    'put raw \xff\xfe',
    'get raw',
    'put --no-wait k2 --at',
    'nonsense',
    'get',
    'quit',
    'put k never',
  ].join('\n');
  const result = await runCommand(['--servers', servers], { input: Buffer.from(input, 'latin1') });
  t.is(result.code, 2);
  t.is(result.stdout, '1-1\ntwo  blanks \n1-2\n1-3\n\xff\xfe\n1-4\n');
  t.regex(result.stderr, /^line 10: 'nonsense' is no command/);
  t.regex(result.stderr, /\nline 11: <key> is missing; usage: get/);
  t.is(chain.table.get('\0 ')?.value.toString(), Uint8Array.from(Buffer.from('x')).toString());
  t.is(Buffer.from(chain.table.get('k2')?.value ?? []).toString(), '--at');
  const absent = await runCommand(['--servers', servers, '--json'], { input: 'get none\nget k' });
  t.is(absent.code, 1);
  t.deepEqual(
    absent.stdout
      .trimEnd()
      .split('\n')
      .map((line) => (JSON.parse(line) as { found: boolean }).found),
    [false, true],
  );
  await closeChain(chain);
});

test('unavailable is 3 and says why, unknown is 4 and says how to find out', async (t) => {
  const { chain, servers } = await listeningChain(1);
  const [server] = chain.servers;
  if (server === undefined) return t.fail();
  server.script = ({ id, body }, session) => {
    if (body.kind !== 'write') return session.drop();
    session.answer(id, { kind: 'assigned', opId: { epoch: 1, seq: 5 } });
    session.connection.end();
  };
  const unknown = await runCommand(['--servers', servers, 'put', 'k', 'v']);
  t.is(unknown.code, 4);
  t.regex(unknown.stderr, /outcome unknown: .*; find out with: verify 1-5\n$/);
  const json = await runCommand(['--servers', servers, '--json', 'put', 'k', 'v']);
  t.is(json.code, 4);
  t.like(JSON.parse(json.stdout), { error: { code: 'OUTCOME_UNKNOWN', opId: '1-5' } });
  await closeChain(chain);
  const gone = await runCommand(['--servers', servers, '--timeout', '50', 'get', 'k']);
  t.is(gone.code, 3);
  t.regex(gone.stderr, /ECONNREFUSED/);
  t.is((await runCommand(['--servers', servers, '--timeout', '50', 'chain'])).code, 3);
});

test('an interrupt ends the command, and says what is known of a write', async (t) => {
  const { chain, servers } = await listeningChain(1);
  const [server] = chain.servers;
  const controller = new AbortController();
  if (server !== undefined) {
    server.script = ({ id, body }, session) => {
      // It has been quiet since the op id, and the client asks for a sign of life: so it has read that.
      if (body.kind === 'status') return controller.abort();
      session.answer(id, { kind: 'assigned', opId: { epoch: 1, seq: 6 } });
    };
  }
  const result = await runCommand(['--servers', servers, 'put', 'k', 'v'], {
    interrupted: controller.signal,
  });
  t.is(result.code, 4);
  t.regex(result.stderr, /outcome unknown: .*\(op 1-6\).* aborted; find out with: verify 1-6\n$/);
  await closeChain(chain);
});

test('an interrupt ends the wait for standard input: of lines, and of a value', async (t) => {
  const { chain, servers } = await listeningChain(1);
  for (const [args, code, said] of [
    [[], 0, /^$/],
    [['put', 'k', '-'], 3, /interrupted while reading the value; nothing was sent/],
  ] as const) {
    const stdin = new PassThrough();
    const stdout = new PassThrough();
    const stderr = new PassThrough();
    const controller = new AbortController();
    const ended = runClient({
      args: ['--servers', servers, ...args],
      env: {},
      stdin,
      stdout,
      stderr,
      interrupted: controller.signal,
    });
    stdin.write('put k half');
    while (stdin.readableLength > 0) await new Promise((resolve) => setImmediate(resolve));
    controller.abort();
    t.is(await ended, code);
    t.regex(String(stderr.read() ?? ''), said);
  }
  t.is(chain.table.size, 0);
  await closeChain(chain);
});

test('what is too large says so with the limit, and a line with its number', async (t) => {
  const { chain, servers } = await listeningChain(1);
  const value = new Uint8Array(valueBytesMax + 1);
  const put = await runCommand(['--servers', servers, 'put', 'k', '-'], { input: value });
  t.is(put.code, 2);
  t.is(
    put.stderr,
    `the value is more than ${valueBytesMax} bytes, the limit is ${valueBytesMax} bytes\n`,
  );
  const input = Buffer.concat([Buffer.from('size\nput k '), Buffer.alloc(40 * 1024 * 1024, 'x')]);
  const lines = await runCommand(['--servers', servers], { input });
  t.is(lines.code, 2);
  t.is(lines.stdout, '0\n');
  t.regex(lines.stderr, /line 2 is more than \d+ bytes, the limit is \d+ bytes/);
  const json = await runCommand(['--servers', servers, '--json'], { input: 'size\nnonsense\n' });
  t.like(JSON.parse(json.stdout.split('\n')[1] ?? ''), {
    error: { code: 'BAD_REQUEST', line: 2 },
  });
  await closeChain(chain);
});

test('servers that wait are listed with their reasons, though none knows of a chain', async (t) => {
  const { chain, servers } = await listeningChain(2);
  const [one, two] = chain.servers;
  if (one === undefined || two === undefined) return t.fail();
  const waitingFor = 'waits for ZooKeeper: /chain was not read yet';
  saysOfItself(one, () => statusOf(one.address, { waitingFor }));
  two.kill();
  const shown = await runCommand(['--servers', servers, 'chain']);
  t.is(shown.code, 3, 'nothing serves');
  t.regex(shown.stdout, /^no chain yet: these servers know of none\nwaiting +127/);
  t.regex(shown.stdout, new RegExp(`${one.address} +${waitingFor}\n`));
  t.regex(shown.stdout, new RegExp(`down +${two.address} +no answer: `));
  const json = await runCommand(['--servers', servers, '--json', 'chain']);
  t.like(JSON.parse(json.stdout), {
    serves: false,
    members: [],
    others: [{ address: one.address, waitingFor }, { address: two.address }],
  });
  const stats = await runCommand(['--servers', servers, 'stats']);
  t.is(stats.code, 0);
  t.regex(stats.stdout, /log from op 1, 0 bytes; no snapshot/);
  one.kill();
  const none = await runCommand(['--servers', servers, 'stats']);
  t.is(none.code, 3);
  t.is(none.stdout.match(/no answer: /g)?.length, 2, none.stdout);
  await closeChain(chain);
});

test('a search in vain names what was asked, for which cluster, and what to do', async (t) => {
  const { chain, servers } = await listeningChain(1);
  const [server] = chain.servers;
  if (server === undefined) return t.fail();
  server.opened = () => ({
    serverId: 'x',
    incarnation: '1',
    clusterId: 'fake',
    refused: { code: 'WRONG_CLUSTER', message: "this server belongs to cluster 'a', not 'b'" },
  });
  const wrong = await runCommand(['--servers', servers, '--cluster', 'b', 'get', 'k']);
  t.is(wrong.code, 2);
  t.is(
    wrong.stderr,
    `asked ${servers} for cluster 'b': this server belongs to cluster 'a', not 'b'; give the name of the cluster there\n`,
  );
  server.kill();
  const gone = await runCommand(['--servers', servers, '--timeout', '100', 'get', 'k']);
  t.is(gone.code, 3);
  t.regex(gone.stderr, new RegExp(`no chain of cluster 'default' was found: .*${servers}`));
  t.regex(gone.stderr, /; start one of these servers, or name others\n$/);
  await closeChain(chain);
});

test('chain and stats describe every server, the dead ones too', async (t) => {
  const { chain, servers } = await listeningChain(3);
  const [one, two, three] = chain.servers.map(({ address }) => address);
  if (one === undefined || two === undefined || three === undefined) return t.fail();
  chain.reconfigure([two, one], true);
  chain.server(three).kill();
  const shown = await runCommand(['--servers', servers, 'chain']);
  t.regex(
    shown.stdout,
    /^epoch 2, as the test says\nhead +127.*0 behind +lease\ntail +127.*\ndown +127.*closed the connection/,
  );
  const json = JSON.parse(
    (await runCommand(['--servers', servers, '--json', 'chain'])).stdout,
  ) as object;
  t.like(json, { epoch: 2, members: [{ address: two, role: 'head', lag: 0 }, { address: one }] });
  const stats = await runCommand(['--servers', servers, 'stats']);
  t.regex(stats.stdout, /put {2}3 {2}mean 0\.50 ms {2}max 2\.00 ms {2}1 failed/);
  t.is(stats.code, 0);
  await closeChain(chain);
});

test('usage errors are 2 and point to the help', async (t) => {
  for (const args of [
    ['--nonsense'],
    ['--timeout', 'soon'],
    ['2181', '--servers', '5000'],
    ['--servers', 'x'],
  ]) {
    const { code, stderr } = await runCommand(args);
    t.is(code, 2, args.join(' '));
    t.regex(stderr, /kv-client: .*\nTry 'kv-client --help'\.\n$/);
  }
  const servers = '127.0.0.1:1';
  for (const args of [
    ['get'],
    ['put', 'k'],
    ['get', 'a', 'b'],
    ['size', '--no-wait'],
    ['put', 'k', 'v', '--at', servers],
    ['nonsense'],
    ['verify', '7'],
  ]) {
    const { code, stderr } = await runCommand(['--servers', servers, ...args]);
    t.is(code, 2, args.join(' '));
    t.not(stderr, '');
  }
  t.regex((await runCommand(['--help'])).stdout, /Exit codes/);
  t.regex((await runCommand(['--version'])).stdout, /^\d+\.\d+\.\d+\n$/);
  t.regex((await runCommand(['--servers', servers, 'help', 'put'])).stdout, /Example: put/);
});

test('which cluster: arguments before the environment, servers before ZooKeeper', (t) => {
  const env = { CATENA_SERVERS: '7000,h:1', CATENA_ZOOKEEPER: 'z:2' };
  t.like(parseClientOptions([], env), { servers: ['127.0.0.1:7000', 'h:1'], zookeeper: 'z:2' });
  t.like(parseClientOptions([], {}), { servers: [], zookeeper: '127.0.0.1:2181' });
  t.like(parseClientOptions(['2182', 'get', '5'], env), {
    servers: [],
    zookeeper: '127.0.0.1:2182',
    command: ['get', '5'],
  });
  t.like(parseClientOptions(['a:1,b:2'], {}), { zookeeper: 'a:1,b:2', command: [] });
  t.like(parseClientOptions(['--servers', '5000', 'size'], env), {
    servers: ['127.0.0.1:5000'],
    command: ['size'],
  });
  for (const timeout of ['0', '1e3', '10000000000']) {
    t.throws(() => parseClientOptions(['--timeout', timeout], {}), {
      instanceOf: BadRequestError,
      message: `--timeout takes a whole number of ms from 1 to 999999999, not '${timeout}'`,
    });
  }
});

test('a reader that goes away ends the command quietly', async (t) => {
  const { chain, servers } = await listeningChain(1);
  const [server] = chain.servers;
  for (let index = 0; index < 5_000; index++) {
    chain.table.set(`key ${index}`, { value: Buffer.from('v'), version: 1 });
  }
  t.truthy(server);
  const stdin = new PassThrough();
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  stdout.once('data', () => stdout.destroy(new Error('EPIPE')));
  const interrupted = new AbortController().signal;
  const code = await runClient({
    args: ['--servers', servers, 'keys'],
    env: {},
    stdin,
    stdout,
    stderr,
    interrupted,
  });
  t.is(String(stderr.read() ?? ''), '');
  t.is(code, 0);
  await closeChain(chain);
});
