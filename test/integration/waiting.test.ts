/**
 * What an operator sees of real processes: in each server's lines and in `kv-client chain`, who waits for whom,
 * and that ZooKeeper is away; and what the client says when it finds no chain.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { startChain } from '../failover/scenarios.js';
import { deployProcesses, runToEnd } from '../support/processes.js';
import { serialTestUnless } from '../support/requirement.js';
import { freePort, missingZooKeeper } from '../support/zookeeper.js';

const test = serialTestUnless(await missingZooKeeper());
const clientScript = fileURLToPath(new URL('../../src/cli/kv-client.js', import.meta.url));

interface ShownChain {
  readonly serves: boolean;
  readonly members: readonly { address: string; waitingFor?: string; error?: string }[];
  readonly others: readonly { address: string; role: string; waitingFor?: string }[];
}

test('after a full outage a member says for whom it waits, in its line and in chain', async (t) => {
  const deployment = await deployProcesses(['--revive-grace', '20000', '--replicas', '3']);
  try {
    await startChain(deployment, 3);
    await deployment.start(4);
    const spare = 'is a spare: the chain has its 3 members (--replicas 3)';
    await deployment.chain.untilLine([deployment.address(4), spare]);
    const whole = await deployment.client(['chain']);
    t.is(whole.code, 0, whole.stderr);
    t.regex(whole.stdout, new RegExp(`learner +${deployment.address(4)} .*is a spare`));
    for (const number of [1, 2, 3, 4]) await deployment.kill(number);

    const gone = await deployment.client(['chain']);
    t.is(gone.code, 3);
    t.is(gone.stdout.match(/no answer: /g)?.length, 3, gone.stdout);

    const from = deployment.chain.lines.length;
    await deployment.start(2);
    const [one, two, three] = [1, 2, 3].map((number) => deployment.address(number));
    await deployment.chain.untilLine(
      [`${two} waits for ${one} and ${three} of the last chain`],
      from,
    );
    const shown = await deployment.client(['--json', 'chain'], { servers: true });
    t.is(shown.code, 3, 'nobody serves');
    const chain = JSON.parse(shown.stdout) as ShownChain;
    t.false(chain.serves);
    t.deepEqual(
      chain.members.map(({ address, error }) => [address, error === undefined]),
      [
        [one, false],
        [two, true],
        [three, false],
      ],
    );
    t.regex(
      chain.members[1]?.waitingFor ?? '',
      /^waits for \S+ and \S+ of the last chain, [\d.]+ s more/,
    );

    await deployment.start(4);
    await deployment.chain.untilLine(
      [`${deployment.address(4)} waits for ${three}, the tail of epoch`, 'which is not registered'],
      from,
    );
    // By ZooKeeper the client knows of servers outside the chain too.
    const all = await deployment.client(['--json', 'chain']);
    const outside = (JSON.parse(all.stdout) as ShownChain).others;
    t.deepEqual(
      outside.map(({ address }) => address),
      [deployment.address(4)],
    );
    t.regex(outside[0]?.waitingFor ?? '', /which is not registered/);

    const waitLines = deployment.chain.lines
      .slice(from)
      .filter((line) => line.includes('of the last chain,'));
    t.is(waitLines.length, 1, 'one line, though the time runs');
    for (const number of [1, 3]) await deployment.start(number);
    await deployment.chain.untilMembers(3);
    t.is((await deployment.client(['chain'])).code, 0);
  } finally {
    await deployment.remove();
  }
});

test('ZooKeeper that is not there, or goes away, has its lines; the chain goes on', async (t) => {
  const deployment = await deployProcesses();
  const { zookeeper } = deployment;
  const name = `ZooKeeper at ${zookeeper.connectString}`;
  try {
    await deployment.stopZooKeeper();
    const nowhere = await deployment.client(['--timeout', '2000', 'get', 'k']);
    t.is(nowhere.code, 3);
    t.regex(
      nowhere.stderr,
      new RegExp(`no chain of cluster 'default' was found: ${name} does not answer; start it, `),
    );
    const started = deployment.start(1);
    started.catch(() => undefined);
    await deployment.chain.untilLine([`is waiting for ${name}`]);
    const waiting = await deployment.client(['chain'], { servers: true });
    t.is(waiting.code, 3);
    t.regex(waiting.stdout, /^no chain yet[^]*waits for ZooKeeper: \/chain was not read yet/);
    await deployment.startZooKeeper();
    await started;
    await deployment.chain.untilMembers(1);
    await deployment.chain.untilLine([`${name} is there after`]);

    const misnamed = await deployment.client(['--cluster', 'typo', '--timeout', '2000', 'size']);
    t.is(misnamed.code, 3);
    t.regex(
      misnamed.stderr,
      new RegExp(
        `no chain of cluster 'typo' was found: ${name} knows no chain of this name; check the name`,
      ),
    );

    await deployment.stopZooKeeper();
    await deployment.chain.untilLine([`${name} is away since`, 'the chain goes on without it']);
    t.is((await deployment.client(['put', 'k', 'v'], { servers: true })).code, 0);
    await deployment.startZooKeeper();
    await deployment.chain.untilLine([`${name} is back after`]);
  } finally {
    await deployment.remove();
  }
});

test('Ctrl-C: an end like any other for chain --watch, and an unknown outcome for a write', async (t) => {
  // So long that a member that hangs is not removed before the test is over.
  const deployment = await deployProcesses(['--lease', '5000']);
  try {
    await startChain(deployment, 2);
    const where = ['--servers', deployment.address(1)];
    const watching = spawn(process.execPath, [clientScript, ...where, 'chain', '--watch']);
    let seen = '';
    await new Promise<void>((resolve) => {
      watching.stdout.on('data', (chunk: Buffer) => {
        seen += chunk.toString();
        if (seen.includes(deployment.address(2))) resolve();
      });
    });
    watching.kill('SIGINT');
    t.deepEqual(await once(watching, 'exit'), [0, null]);
    t.regex(seen, /^\d{4}-\S+Z epoch \d+, .*\nhead /);

    t.is((await deployment.client(['put', 'k', 'before'])).code, 0, 'the head holds no more');
    await deployment.pause(2);
    const lastSeq = async (): Promise<number> => {
      const { stdout } = await runToEnd(clientScript, [
        ...where,
        '--json',
        '--timeout',
        '400',
        'stats',
      ]);
      return (JSON.parse(stdout.split('\n')[0] ?? '') as { lastSeq: number }).lastSeq;
    };
    const before = await lastSeq();
    const writing = spawn(process.execPath, [clientScript, ...where, 'put', 'k', 'v']);
    const errors: Buffer[] = [];
    writing.stderr.on('data', (chunk: Buffer) => errors.push(chunk));
    const closed = once(writing, 'close');
    // The head has assigned the op, and answered others since.
    while ((await lastSeq()) === before) t.is(writing.exitCode, null);
    writing.kill('SIGINT');
    const [code] = (await closed) as [number];
    const said = Buffer.concat(errors).toString();
    t.is(code, 4, said);
    t.regex(said, /outcome unknown: the write \(op \d+-\d+\) .*; find out with: verify \d+-\d+\n$/);
    await deployment.resume(2);
  } finally {
    await deployment.remove();
  }
});

test('a data path that is a file, and recover with a mistyped one: refused, exit code 3', async (t) => {
  const serverScript = fileURLToPath(new URL('../../src/cli/kv-server.js', import.meta.url));
  const port = await freePort();
  const started = await runToEnd(serverScript, [
    '127.0.0.1:1',
    String(port),
    '--data',
    serverScript,
  ]);
  t.is(started.code, 3, started.stderr);
  t.regex(started.stderr, /REFUSED_TO_START: --data \S+ is a file; name a directory/);
  const recovering = await runToEnd(serverScript, [
    'recover',
    '127.0.0.1:1',
    '--data',
    '/tmp/catena-mistyped',
  ]);
  t.is(recovering.code, 3, recovering.stderr);
  t.regex(recovering.stderr, /--data \/tmp\/catena-mistyped does not exist/);
});
