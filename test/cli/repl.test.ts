/** The prompt over injected streams: lines, keys, what is printed above it; and the shell of `make run`. */
import { PassThrough } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import { connect } from '../../src/client/connect.js';
import { dataCommands } from '../../src/cli/client/commands.js';
import { type Chain, runEmbeddedShell } from '../../src/cli/client/embedded-shell.js';
import { Output } from '../../src/cli/client/output.js';
import { promptOf } from '../../src/cli/client/prompt.js';
import { Repl } from '../../src/cli/client/repl.js';
import { Shell } from '../../src/cli/client/shell.js';
import { FakeChain } from '../client/fake-chain.js';
import { Screen } from './screen.js';
import { closeChain, listeningChain } from './support.js';

const address = '127.0.0.1:5000';

async function startedRepl(t: ExecutionContext) {
  const chain = new FakeChain([address]);
  const client = await connect({ servers: [address], dial: chain.dial });
  const screen = new Screen();
  const input = new PassThrough();
  const output = new Output({ stream: screen, isTerminal: true, isJson: false });
  const shell = new Shell({
    commands: dataCommands,
    client,
    cluster: 'fake',
    output,
    errors: output,
    isOneOfMany: true,
  });
  const histories: (readonly string[])[] = [];
  const repl = new Repl({
    shell,
    input,
    output: screen,
    prompt: () => promptOf(client.currentView),
    history: ['get old'],
    onHistory: (lines) => histories.push([...lines]),
  });
  const done = repl.run();
  t.teardown(() => client.close());
  return { chain, screen, input, repl, done, histories, shell };
}

test('lines run in order, the prompt shows the chain, Ctrl-D ends', async (t) => {
  const { screen, input, done, histories } = await startedRepl(t);
  await screen.shows('catena 5000 e1> ');
  input.write('put k hello there\rget k\rget none\rsize nonsense\r');
  await screen.shows('too many words; usage: size');
  t.regex(screen.text, /1-1[^]*hello there[^]*\(absent\)[^]*too many words/);
  input.write('\x04');
  await done;
  t.deepEqual(histories.at(-1), [
    'size nonsense',
    'get none',
    'get k',
    'put k hello there',
    'get old',
  ]);
});

test('quit ends, what was typed after it is not run', async (t) => {
  const { screen, input, done, chain } = await startedRepl(t);
  await screen.shows('> ');
  input.write('quit\rput k never\r');
  await done;
  t.is(chain.table.size, 0);
});

test('Ctrl-C clears the line, and ends a command that runs', async (t) => {
  const { screen, input, done, chain } = await startedRepl(t);
  await screen.shows('> ');
  input.write('put k never\x03size\r');
  await screen.shows('0\n');
  chain.server(address).script = () => {};
  const seen = chain.server(address).requests.length;
  input.write('get k\r');
  await chain.server(address).received(seen + 1);
  const since = screen.text.length;
  input.write('\x03');
  await screen.shows('the call was aborted', since);
  await screen.shows('e1> ', since);
  input.write('\x03');
  await screen.shows('Ctrl-D or quit ends');
  input.end();
  await done;
  t.is(chain.table.size, 0);
});

test('a line above the prompt leaves what is being typed', async (t) => {
  const { screen, input, done, repl, chain } = await startedRepl(t);
  await screen.shows('> ');
  input.write('put k half');
  await screen.shows('half');
  const since = screen.text.length;
  repl.printAbove('news');
  await screen.shows('put k half', since);
  t.regex(screen.text.slice(since), /news\n[^]*put k half/);
  input.write(' done\r');
  await screen.shows('1-1');
  t.is(Buffer.from(chain.table.get('k')?.value ?? []).toString(), 'half done');
  input.end();
  await done;
  repl.printAbove('too late to draw a prompt');
});

test('Tab completes commands', async (t) => {
  const { screen, input, done, shell } = await startedRepl(t);
  await screen.shows('> ');
  input.write('ver\t');
  await screen.shows('verify ');
  input.write('1-1\r');
  await screen.shows('never');
  t.deepEqual(shell.complete('help s'), ['size', 'stats']);
  t.deepEqual(shell.complete('get s'), []);
  input.write('put some-key v\rget "odd key"\rget other\r');
  await screen.shows('(absent)');
  await screen.shows('(absent)', screen.text.indexOf('(absent)') + 1);
  t.deepEqual(shell.complete('get s'), ['some-key'], 'a key that was used before');
  t.deepEqual(shell.complete('del '), ['some-key', 'other']);
  t.deepEqual(shell.complete('put --no-wait o'), ['other']);
  t.deepEqual(shell.complete('put some-key o'), [], 'no value');
  t.deepEqual(shell.complete('size s'), []);
  input.end();
  await done;
});

test('the prompt names members by port, by address where hosts differ, and marks the dead', (t) => {
  const chain = new FakeChain([]);
  t.is(promptOf(undefined), 'catena (no chain)> ');
  t.is(promptOf(chain.viewOf(['h:1', 'h:2'], 4)), 'catena 1>2 e4> ');
  t.is(promptOf(chain.viewOf(['h:1', 'i:1'], 4)), 'catena h:1>i:1 e4> ');
  t.is(
    promptOf(chain.viewOf(['h:2', 'h:3'], 5), (each) => each.slice(2), ['1', '3']),
    'catena 2>3✗ 1✗ e5> ',
  );
});

async function fakeEmbedded(): Promise<{
  chain: FakeChain;
  embedded: Chain;
  killed: number[];
  stopped: () => boolean;
}> {
  const { chain } = await listeningChain(2);
  const running = new Set([1, 2]);
  const killed: number[] = [];
  let isStopped = false;
  const embedded: Chain = {
    addresses: chain.servers.map((server) => server.address),
    kill: async (number) => {
      killed.push(number);
      running.delete(number);
    },
    start: async (number) => {
      running.add(number);
    },
    isRunning: (number) => running.has(number),
    stop: async () => {
      isStopped = true;
    },
  };
  return { chain, embedded, killed, stopped: () => isStopped };
}

test('make run: commands from a pipe, .kill and .start, and a clean end', async (t) => {
  const { chain, embedded, killed, stopped } = await fakeEmbedded();
  const stdin = new PassThrough();
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  stdin.end('put k v\nget k\n.kill 2\n.kill 2\n.start 2\n.kill 9\nget none\nhelp\n');
  const code = await runEmbeddedShell({
    startChain: async (onLine) => {
      onLine('it serves');
      return embedded;
    },
    stdin,
    stdout,
    stderr,
    env: {},
    interrupted: new AbortController().signal,
  });
  t.is(code, 0);
  t.deepEqual(killed, [2]);
  t.true(stopped());
  t.regex(String(stdout.read()), /^1-1\nv\nserver 2 is dead\nserver 2 is up\n[^]*The first minute/);
  t.regex(
    String(stderr.read()),
    /^· it serves\nline 4: server 2 does not run\nline 6: give the number of a server, 1 to 2\n$/,
  );
  await closeChain(chain);
});

test('make run: on old data the tour crashes the server that is head now', async (t) => {
  const { chain, embedded } = await fakeEmbedded();
  chain.view = chain.viewOf([...embedded.addresses].reverse(), 5);
  const screen = new Screen();
  const stdin = Object.assign(new PassThrough(), { isTTY: true });
  const done = runEmbeddedShell({
    startChain: async () => embedded,
    stdin,
    stdout: screen,
    stderr: screen,
    env: { CATENA_HISTORY: '' },
    interrupted: new AbortController().signal,
  });
  await screen.shows('catena 2>1 e5> ');
  t.regex(screen.text, /\n {2}\.kill 2 +put [^]*\n {2}\.start 2 +chain +\(server 2 has come back/);
  stdin.write('\x04');
  await done;
  await closeChain(chain);
});

test('make run: at a terminal lines appear above the prompt, which numbers the servers', async (t) => {
  const { chain, embedded, stopped } = await fakeEmbedded();
  const screen = new Screen();
  const stdin = Object.assign(new PassThrough(), { isTTY: true });
  let say: (line: string) => void = () => {};
  const done = runEmbeddedShell({
    startChain: async (onLine) => {
      say = onLine;
      return embedded;
    },
    stdin,
    stdout: screen,
    stderr: screen,
    env: { CATENA_HISTORY: '' },
    interrupted: new AbortController().signal,
  });
  await screen.shows('catena 1>2 e1> ');
  stdin.write('.kill 1\r');
  await screen.shows('catena 1✗>2 e1> ');
  const [, second] = embedded.addresses;
  chain.reconfigure([second as string], true);
  say('a new chain');
  await screen.shows('catena 2 1✗ e2> ');
  t.regex(screen.text, /· a new chain\n/);
  const since = screen.text.length;
  stdin.write('chain --watch\r');
  await screen.shows('epoch 2,', since);
  say('while it is watched');
  await screen.shows('while it is watched', since);
  await screen.shows('epoch 2', screen.text.lastIndexOf('while it is watched'));
  stdin.write('\x03');
  await screen.shows('e2> ', since);
  stdin.write('\x04');
  t.is(await done, 0);
  t.true(stopped());
  await closeChain(chain);
});
