/**
 * FAULTS rows Z1 to Z7, and O4 as far as coordination sees it, on real ZooKeepers and real kv-server processes. The
 * minute without a quorum is spent waiting, so the other tests run beside it, one at a time.
 */
import type { ExecutionContext } from 'ava';
import { chainOverwritten, zookeeperWentBack, zookeeperWiped } from '../failover/zookeeper-lies.js';
import { ensembleInTrouble } from '../failover/zookeeper-quorum.js';
import { answersLost, copiedDirectories, sessionsExpire } from '../failover/zookeeper-sessions.js';
import { testUnless } from '../support/requirement.js';
import { missingZooKeeper } from '../support/zookeeper.js';

const test = testUnless(await missingZooKeeper());

test(
  'Z1, Z2: an ensemble loses its leader, the member with our session, its quorum for a minute',
  ensembleInTrouble,
);

let last: Promise<void> = Promise.resolve();

/** Beside the minute, after the tests before it. */
function inTurn(title: string, play: (t: ExecutionContext) => Promise<void>): void {
  test(title, async (t) => {
    const turn = last.then(() => play(t));
    last = turn.catch(() => undefined);
    await turn;
  });
}

inTurn(
  'Z3, Z4: all sessions expire at once, then one: the chain stays, nobody is a member twice',
  sessionsExpire,
);
inTurn('Z5: answers to create, set and delete are lost: one node, one configuration', answersLost);
inTurn(
  'O4: a copy elsewhere is refused; one that took the name makes the older process halt',
  copiedDirectories,
);
inTurn(
  'Z6: ZooKeeper is wiped while servers run: they go on, nobody begins anew; put back, all goes on',
  zookeeperWiped,
);
inTurn(
  'Z6: ZooKeeper comes back with an older copy: no fork; recover begins a generation that clients see',
  zookeeperWentBack,
);
inTurn(
  'Z6, Z7: /chain is overwritten by another cluster, by garbage, or deleted; mended, all goes on',
  chainOverwritten,
);
