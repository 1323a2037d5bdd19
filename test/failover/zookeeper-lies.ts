/**
 * FAULTS Z6, Z7: ZooKeeper that lost `/chain`, shows an older one, another cluster's, or garbage. Servers that run keep the
 * last good configuration and say so; servers that start refuse, or wait; nobody is promoted, nothing is lost.
 */
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { parseConfiguration } from '../../src/coordination/configuration.js';
import type { KvClient } from '../../src/index.js';
import { runToEnd, serverScript } from '../support/processes.js';
import { eventually, type Troubled, withTroubled } from '../support/troubled.js';
import type { LocalZooKeeper } from '../support/zookeeper.js';
import { startChain } from './scenarios.js';

/** Of a write that is to wait: long enough for a removal, were one possible. */
const waitMs = 3_000;
const keeps = 'keeping the last good configuration';

/** Z6: everything is gone, then the last good configuration is put back. */
export async function zookeeperWiped(t: ExecutionContext): Promise<void> {
  await withTroubled(t, async (deployment, zookeeper) => {
    const { chain, operator } = deployment;
    await startChain(deployment, 3);
    const client = await deployment.connectClient();
    const good = await lastGood(deployment);
    const before = chain.newest;
    const from = chain.lines.length;
    await client.put('before', '1');
    await zookeeper.stop();
    await zookeeper.replaceData(undefined);
    await zookeeper.start();
    await alarmed(deployment, [1, 2, 3], `/chain is gone; ${keeps}`, from);
    t.is(await operator.readChain(), undefined, 'nothing is left of it');
    await untilRegistered(deployment, 3);
    await client.put('wiped', '2');

    await deployment.kill(3);
    const refused = t.throwsAsync(deployment.start(4));
    await t.throwsAsync(client.put('late', '3', { timeoutMs: waitMs }), {
      code: 'OUTCOME_UNKNOWN',
    });
    t.deepEqual(chain.newest, before, 'nobody is removed');
    t.is(await operator.readChain(), undefined, 'and no chain is begun');
    t.regex(
      (await refused)?.message ?? '',
      /ended with 3[\s\S]*members of a chain are registered/,
      'an empty server',
    );
    const returned = await t.throwsAsync(deployment.start(3));
    t.regex(returned?.message ?? '', /ended with 3[\s\S]*kv-server recover/, 'one with data');

    await operator.writeChain(good);
    await chain.until('server 3 removed', ({ members }) => members.length === 2);
    await chain.untilLine(['/chain fits again'], from);
    await deployment.start(3);
    await chain.untilMembers(3);
    await everywhere(t, deployment, client, { before: '1', wiped: '2' });
  });
}

/**
 * Z6: back with an older copy, of before server 3 left and returned. Then the operator's way out: the data of
 * a member as a new generation, which clients see.
 */
export async function zookeeperWentBack(t: ExecutionContext): Promise<void> {
  await withTroubled(t, async (deployment, zookeeper) => {
    const { chain, directory } = deployment;
    await startChain(deployment, 3);
    const client = await deployment.connectClient();
    const copy = join(directory, 'older-copy');
    await zookeeper.stop();
    await zookeeper.saveData(copy);
    await zookeeper.start();
    await deployment.kill(3);
    await chain.until('server 3 removed', ({ members }) => members.length === 2);
    await deployment.start(3);
    const before = await chain.untilMembers(3);
    await client.put('before', '1');
    const from = chain.lines.length;
    await goBack(zookeeper, copy);
    await alarmed(deployment, [1, 2, 3], `older epoch than this server adopted; ${keeps}`, from);
    const shown = parseConfiguration(await lastGood(deployment));
    t.true((shown?.epoch ?? before.epoch) < before.epoch, '/chain is older');
    await client.put('older', '2');

    // The head dies, the rest may not form a chain on what ZooKeeper shows; nor may the returned head.
    await deployment.kill(1);
    await t.throwsAsync(client.put('late', '3', { timeoutMs: waitMs }));
    t.deepEqual(chain.newest, before, 'no second chain');
    const refused = await t.throwsAsync(deployment.start(1));
    t.regex(refused?.message ?? '', /ended with 3[\s\S]*older epoch[\s\S]*kv-server recover/);
    t.is(parseConfiguration(await lastGood(deployment))?.epoch, shown?.epoch, 'nor is one written');

    await Promise.all([deployment.kill(2), deployment.kill(3)]);
    const recover = (...options: string[]) =>
      runToEnd(serverScript, [
        'recover',
        zookeeper.connectString,
        '--data',
        join(directory, 'server-2'),
        ...options,
      ]);
    const asked = await recover();
    t.regex(asked.stdout, /was a member of the last chain[\s\S]*Lost is what a later chain/);
    t.regex(asked.stdout, /Nothing was changed/);
    t.is((await recover('--yes')).code, 0);
    for (const number of [2, 1, 3]) await deployment.start(number);
    await chain.untilMembers(3);
    await client.put('after', '4');
    t.is((await client.view()).generation, 2, 'clients see the new generation');
    await everywhere(t, deployment, client, { before: '1', older: '2', after: '4' });
  });
}

/** Z6, Z7: another cluster's `/chain`, garbage, none: each while running and at a start, each mended. */
export async function chainOverwritten(t: ExecutionContext): Promise<void> {
  await withTroubled(t, async (deployment) => {
    const { chain, operator } = deployment;
    await startChain(deployment, 3);
    const client = await deployment.connectClient();
    const foreign = {
      ...parseConfiguration(await lastGood(deployment)),
      clusterId: 'x',
      epoch: 99,
    };
    const garbage = 'garbage {';
    let writes = 0;
    for (const [text, alarm] of [
      [JSON.stringify(foreign), `/chain belongs to another cluster; ${keeps}`],
      [garbage, `/chain holds no valid configuration; ${keeps}`],
      [undefined, `/chain is gone; ${keeps}`],
    ] as const) {
      const good = await lastGood(deployment);
      const before = chain.newest;
      const from = chain.lines.length;
      if (text === undefined) await operator.deleteChain();
      else await operator.writeChain(text);
      await alarmed(deployment, [1, 2, 3], alarm, from);
      writes += 1;
      await client.put(`write-${writes}`, 'while it was wrong');
      await deployment.kill(3);
      await t.throwsAsync(client.put('late', 'x', { timeoutMs: waitMs }), {
        code: 'OUTCOME_UNKNOWN',
      });
      t.deepEqual(chain.newest, before, 'nobody is removed, nobody promoted');
      t.is((await operator.readChain())?.data, text, 'and nothing is written over it');

      const start = deployment.start(3);
      if (text === garbage) {
        // It is an operator's to mend: the start waits for that, for as long as it takes.
        await chain.untilLine([deployment.address(3), '/chain holds no valid config'], from);
      } else {
        const refused = await t.throwsAsync(start);
        t.regex(refused?.message ?? '', /ended with 3[\s\S]*kv-server recover/);
      }
      await operator.writeChain(good);
      await chain.until('server 3 removed', (state) => state.epoch > before.epoch);
      await (text === garbage ? start : deployment.start(3));
      await chain.untilMembers(3);
    }
    const expected = Object.fromEntries(
      Array.from({ length: writes }, (_, index) => [`write-${index + 1}`, 'while it was wrong']),
    );
    await everywhere(t, deployment, client, expected);
  });
}

async function goBack(zookeeper: LocalZooKeeper, copy: string): Promise<void> {
  await zookeeper.stop();
  await zookeeper.replaceData(copy);
  await zookeeper.start();
}

async function lastGood({ operator }: Troubled): Promise<string> {
  const read = await operator.readChain();
  if (read === undefined) throw new Error('there is no /chain');
  return read.data;
}

/** Each of these servers says so, on its standard error at the default level. */
async function alarmed(
  deployment: Troubled,
  numbers: readonly number[],
  text: string,
  from: number,
): Promise<void> {
  for (const number of numbers) {
    const server = `"server":"${deployment.address(number)}"`;
    await deployment.chain.untilLine([server, '"level":"error"', text], from);
  }
}

async function untilRegistered({ operator }: Troubled, count: number): Promise<void> {
  await eventually(async () => {
    const members = (await operator.registrations()).filter(({ state }) => state === 'member');
    return members.length === count;
  });
}

/** What was acknowledged is at each member. */
async function everywhere(
  t: ExecutionContext,
  deployment: Troubled,
  client: KvClient,
  expected: Readonly<Record<string, string>>,
): Promise<void> {
  for (const at of deployment.chain.newest.members) {
    for (const [key, value] of Object.entries(expected)) {
      const found = await client.get(key, { at });
      t.is(found && Buffer.from(found.value).toString(), value, `${key} at ${at}`);
    }
  }
}
