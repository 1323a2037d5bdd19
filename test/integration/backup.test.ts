/**
 * Backup of a busy chain of real processes through one of its replicas, and a new cluster made of it, with a
 * real ZooKeeper. Then its servers leave by command.
 */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseOpId } from '../../src/protocol/op-id.js';
import { startChain } from '../failover/scenarios.js';
import type { HistoryOp } from '../../src/simulation/checkers/history.js';
import { deployProcesses, runToEnd, serverScript } from '../support/processes.js';
import { serialTestUnless } from '../support/requirement.js';
import { missingZooKeeper } from '../support/zookeeper.js';

const test = serialTestUnless(await missingZooKeeper());

type Put = Extract<HistoryOp, { readonly kind: 'put' }>;

/** The lines of `table` after op `seq`, sorted, as the acknowledged writes tell. */
function tableAt(puts: readonly Put[], seq: number): string[] {
  const newest = new Map<string, Put>();
  for (const put of puts) {
    const at = put.at?.seq as number;
    if (at <= seq && at > (newest.get(put.key)?.at?.seq ?? 0)) newest.set(put.key, put);
  }
  return [...newest].map(([key, { value }]) => `${key}\t${value}`).sort();
}

const sortedLines = (text: string): string[] => text.trimEnd().split('\n').sort();

test('a busy chain is backed up through a replica, restored as a new cluster, and its table is the same', async (t) => {
  const old = await deployProcesses();
  const { zookeeper } = old;
  // The same ZooKeeper serves both clusters; it ends with the old one.
  const restored = await deployProcesses(['--cluster', 'restored'], undefined, {
    ...zookeeper,
    remove: async () => {},
  });
  try {
    await startChain(old, 3);
    const load = old.workload({ clients: 4, keys: 300, durationMs: 8_000, pauseMs: 0 });
    const size = async (): Promise<number> => Number((await old.client(['size'])).stdout);
    while ((await size()) < 250) continue;
    const file = join(old.directory, 'busy.backup');
    const backup = await old.client(['backup', file, '--json', '--at', old.address(2)]);
    t.is(backup.code, 0, backup.stderr);
    const { opId, keys } = JSON.parse(backup.stdout) as { opId: string; keys: number };
    const { seq, epoch } = parseOpId(opId);
    const history = await load;
    const puts = history.filter((op) => op.kind === 'put');
    t.true(puts.every(({ outcome }) => outcome === 'ok'));
    const later = puts.filter((put) => (put.at?.seq as number) > seq);
    t.true(puts.length - later.length > 250 && later.length > 100, 'the chain was busy');
    const expected = tableAt(puts, seq);
    t.is(expected.length, keys);

    const data = join(restored.directory, 'server-1');
    const content = await readFile(file);
    const torn = join(old.directory, 'torn.backup');
    await writeFile(torn, content.subarray(0, content.length - 100));
    const refused = await runToEnd(serverScript, ['restore', torn, '--data', data]);
    t.is(refused.code, 3, refused.stdout);
    t.regex(refused.stderr, /DATA_DAMAGED: the snapshot .*torn\.backup is damaged/);
    t.deepEqual(await readdir(restored.directory), []);
    t.is((await runToEnd(serverScript, ['restore', '--check', file])).code, 0);
    t.deepEqual(await readdir(restored.directory), []);
    const done = await runToEnd(serverScript, ['restore', file, '--data', data]);
    t.is(done.code, 0, done.stderr);
    t.regex(done.stdout, new RegExp(`at op ${opId}: ${keys} keys`));

    await restored.start(1);
    await restored.chain.untilMembers(1);
    await restored.start(2);
    await restored.chain.untilMembers(2);
    const inRestored = (...args: string[]) => restored.client(['--cluster', 'restored', ...args]);
    for (const number of [1, 2]) {
      const table = await inRestored('table', '--at', restored.address(number));
      t.deepEqual(sortedLines(table.stdout), expected, `at server ${number}`);
    }
    // Their op ids stay true; what the backup does not hold was never executed here.
    t.is((await inRestored('put', 'new', 'write')).code, 0);
    t.is((await inRestored('verify', opId)).stdout, 'executed\n');
    t.is((await inRestored('verify', `${epoch}-${later[0]?.at?.seq}`)).stdout, 'never\n');

    // The old cluster goes on beside it, and takes no restored data in.
    t.is((await old.client(['put', 'still', 'here'])).code, 0);
    const stranger = join(old.directory, 'server-4');
    t.is((await runToEnd(serverScript, ['restore', file, '--data', stranger])).code, 0);
    const joining = await t.throwsAsync(old.start(4));
    t.regex(joining?.message ?? '', /ended with 3[\s\S]*there is a chain already.*--cluster/);
    t.is(old.chain.newest.members.length, 3);

    const left = await inRestored('leave', restored.address(2));
    t.is(left.code, 0, left.stderr);
    t.regex(left.stdout, /\(tail\) has left and ends; the chain is 127\.0\.0\.1:\d+ \(epoch/);
    await restored.chain.untilMembers(1);
    const last = await inRestored('leave', restored.address(1));
    t.is(last.code, 3);
    t.regex(last.stderr, /only member/);
    t.is((await inRestored('get', 'new')).stdout, 'write');
    t.is((await inRestored('leave', '--force', restored.address(1))).code, 0);
    for (const number of [1, 2]) t.is(await restored.stop(number), 0, 'its exit code');
    t.is(restored.chain.lines.filter((line) => line.endsWith(' stopped')).length, 2);
  } finally {
    await restored.remove();
    await old.remove();
  }
});
