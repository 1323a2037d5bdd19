/**
 * FAULTS rows Z1 to Z7, and O4 as far as coordination sees it, on real ZooKeepers and real kv-server processes. The minute
 * without a quorum is spent waiting, so the other tests run beside it, one at a time.
 */
import { ensembleInTrouble } from '../failover/zookeeper-quorum.js';
import { missingZooKeeper } from '../support/zookeeper.js';
import { testUnless } from '../support/requirement.js';

const test = testUnless(await missingZooKeeper());

test(
  'Z1, Z2: an ensemble loses its leader, the member with our session, its quorum for a minute',
  ensembleInTrouble,
);
