/** ZooKeeper no longer fits the data: servers refuse, and the operator's `recover` is the way out. */
import { join } from 'node:path';
import { connect } from '../../src/index.js';
import { logRetainBytesMin } from '../../src/limits.js';
import { startChain } from '../failover/scenarios.js';
import { deployProcesses, runToEnd, serverScript } from '../support/processes.js';
import { serialTestUnless } from '../support/requirement.js';
import { missingZooKeeper } from '../support/zookeeper.js';

const test = serialTestUnless(await missingZooKeeper());

test('Z6, O6: without its /chain a server refuses; recover makes its data the new truth, of no member only if told', async (t) => {
  const deployment = await deployProcesses();
  try {
    await startChain(deployment, 3);
    t.is((await deployment.client(['put', 'kept', 'by all'])).code, 0);
    await deployment.stop(3);
    await deployment.chain.untilMembers(2);
    t.is((await deployment.client(['put', 'late', 'not on server 3'])).code, 0);
    const before = (await deployment.client(['put', 'last', 'op'])).stdout.trim();
    for (const number of [1, 2]) await deployment.kill(number);
    const needless = await runToEnd(serverScript, [
      'recover',
      deployment.zookeeper.connectString,
      '--data',
      join(deployment.directory, 'server-3'),
      '--yes',
    ]);
    t.is(needless.code, 3, 'a later chain is there');
    t.regex(needless.stderr, /fits this data or is newer[\s\S]*--discard-later-chain/);
    await deployment.deleteChain();

    const refused = await t.throwsAsync(deployment.start(1));
    t.regex(refused?.message ?? '', /ended with 3[\s\S]*kv-server recover/);

    const recover = (number: number, ...options: string[]) =>
      runToEnd(serverScript, [
        'recover',
        deployment.zookeeper.connectString,
        '--data',
        join(deployment.directory, `server-${number}`),
        ...options,
      ]);
    const notAsked = await recover(3, '--yes');
    t.is(notAsked.code, 3, 'it was no member when the last writes were acknowledged');
    t.regex(notAsked.stderr, /was no member of the last chain[\s\S]*--non-member/);
    const asked = await recover(3, '--non-member');
    t.is(asked.code, 0, asked.stderr);
    t.regex(
      asked.stdout,
      /NOT a member[\s\S]*are lost[\s\S]*generation 2[\s\S]*Nothing was changed/,
    );
    t.regex((await recover(1)).stdout, /was a member of the last chain/);
    const done = await recover(1, '--yes');
    t.is(done.code, 0, done.stderr);
    t.regex(done.stdout, /generation 2, epoch 1000000001/);

    await deployment.start(1);
    await deployment.chain.until('server 1 alone', ({ members }) => members.length === 1);
    t.is((await deployment.client(['get', 'late'])).stdout, 'not on server 3');
    // A write is behind everything that was there before: once it is done, nothing of that is pending.
    t.is((await deployment.client(['put', 'first', 'write'])).code, 0);
    t.is((await deployment.client(['verify', before])).stdout.trim(), 'executed');
    for (const number of [2, 3]) await deployment.start(number);
    await deployment.chain.untilMembers(3);
    t.is((await deployment.client(['put', 'after', 'all'])).code, 0);
  } finally {
    await deployment.remove();
  }
});

test('Z6: a server whose writes the recovered history lacks takes its table anew', async (t) => {
  const deployment = await deployProcesses(['--log-retain', String(logRetainBytesMin)]);
  try {
    await startChain(deployment, 2);
    await deployment.stop(2);
    await deployment.chain.untilMembers(1);
    // Only server 1 has these, knows them to be committed, and has a snapshot that reaches into them: the
    // one that it will be sent reaches less far.
    const client = await connect({ servers: [deployment.address(1)] });
    const value = Buffer.alloc(100_000, 'v');
    while ((await client.status(deployment.address(1))).disk.snapshotSeq < 10) {
      await client.put('given-up', value);
    }
    await client.close();
    await deployment.kill(1);
    await deployment.deleteChain();
    const data = join(deployment.directory, 'server-2');
    const args = ['recover', deployment.zookeeper.connectString, '--data', data, '--non-member'];
    t.is((await runToEnd(serverScript, [...args, '--yes'])).code, 0);
    await deployment.start(2);
    await deployment.chain.until('server 2 alone', ({ members }) => members.length === 1);
    await deployment.start(1);
    await deployment.chain.untilMembers(2);
    for (const number of [1, 2]) {
      const at = deployment.address(number);
      t.is((await deployment.client(['--at', at, 'get', 'given-up'])).code, 1, `at ${at}`);
    }
  } finally {
    await deployment.remove();
  }
});
