/** `chain --watch`: every change is shown, once; running numbers are none in a pipe; Ctrl-C is its proper end. */
import { PassThrough } from 'node:stream';
import test from 'ava';
import { runClient } from '../../src/cli/client/main.js';
import type { FakeChain } from '../client/fake-chain.js';
import { closeChain, listeningChain, runCommand, saysOfItself, statusOf } from './support.js';
import { Screen } from './screen.js';

interface Watch {
  readonly screen: Screen;
  /** Ctrl-C. */
  readonly end: () => Promise<number>;
}

function watch(args: readonly string[], screen: Screen): Watch {
  const controller = new AbortController();
  const code = runClient({
    args: [...args, 'chain', '--watch'],
    env: {},
    stdin: new PassThrough(),
    stdout: screen,
    stderr: new PassThrough(),
    interrupted: controller.signal,
  });
  return {
    screen,
    end: () => {
      controller.abort();
      return code;
    },
  };
}

/** Resolves when so many more status requests came. */
async function lookedAt(chain: FakeChain, address: string, times: number): Promise<void> {
  const server = chain.server(address);
  await server.received(server.requests.length + times);
}

test('in a pipe: a block with its time at each change, none for running numbers', async (t) => {
  const { chain, servers } = await listeningChain(2);
  const [one, two] = chain.servers.map(({ address }) => address) as [string, string];
  const { screen, end } = watch(['--servers', servers], new Screen(false));
  await screen.shows('epoch 1');
  chain.seq += 1_000;
  await lookedAt(chain, one, 3);
  t.is(screen.text.match(/epoch/g)?.length, 1, screen.text);
  chain.reconfigure([two, one]);
  await screen.shows('epoch 2');
  chain.server(one).kill();
  await screen.shows('no answer');
  await lookedAt(chain, two, 3);
  t.is(await end(), 0);
  const blocks = screen.text.split(/^(?=\d{4}-\d\d-\d\dT[\d:.]+Z epoch)/m);
  t.is(blocks.length, 3, screen.text);
  t.regex(
    blocks[0] ?? '',
    /^\S+Z epoch 1, as the test says\nhead +127\S+ +0 behind +lease\ntail .*\n$/,
  );
  t.true(blocks[1]?.includes(`head  ${two}`));
  t.regex(blocks[2] ?? '', new RegExp(`tail +${one} +no answer: `));
  await closeChain(chain);
});

test('--json: one object a line, one line a change', async (t) => {
  const { chain, servers } = await listeningChain(2);
  const [one, two] = chain.servers.map(({ address }) => address) as [string, string];
  const { screen, end } = watch(['--json', '--servers', servers], new Screen(false));
  await screen.shows('"epoch":1');
  chain.reconfigure([two]);
  await screen.shows('"epoch":2');
  t.is(await end(), 0);
  const lines = screen.text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as object);
  t.is(lines.length, 2, screen.text);
  t.like(lines[0], { epoch: 1, serves: true, members: [{ address: one }, { address: two }] });
  t.like(lines[1], {
    epoch: 2,
    members: [{ address: two, role: 'single' }],
    others: [{ address: one }],
  });
  for (const line of lines) t.regex((line as { at: string }).at, /^\d{4}-.*Z$/);
  await closeChain(chain);
});

test('on a terminal it is drawn over itself, also when only numbers change', async (t) => {
  const { chain, servers } = await listeningChain(1);
  const [server] = chain.servers;
  if (server === undefined) return t.fail();
  let behind = 3;
  saysOfItself(server, () =>
    statusOf(server.address, { waitingFor: `catches up: ${behind} ops behind` }),
  );
  const { screen, end } = watch(['--servers', servers], new Screen(true));
  await screen.shows('3 ops behind');
  const since = screen.text.length;
  behind = 2;
  await screen.shows('2 ops behind', since);
  // Two rows up, and everything below cleared.
  t.true(screen.text.slice(since).startsWith('\x1b[2A\r\x1b[J'), JSON.stringify(screen.text));
  t.is(await end(), 0);
  await closeChain(chain);
});

test('nobody to ask at first is shown, and waited out', async (t) => {
  const { chain, servers } = await listeningChain(1);
  const [server] = chain.servers;
  if (server === undefined) return t.fail();
  server.isUp = false;
  const { screen, end } = watch(['--servers', servers], new Screen(false));
  await screen.shows('no server answers');
  server.isUp = true;
  await screen.shows('epoch 1');
  t.is(await end(), 0);
  await closeChain(chain);
});

test('--watch is for chain only', async (t) => {
  const { code, stderr } = await runCommand(['--servers', '127.0.0.1:1', 'stats', '--watch']);
  t.is(code, 2);
  t.regex(stderr, /stats takes no --watch/);
});
