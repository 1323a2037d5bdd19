/** O5 on whole servers: a snapshot on its way to a joiner while its source dies, or the epoch changes. */
import test, { type ExecutionContext } from 'ava';
import { type DiskFault, MemoryDisk } from '../../../src/log/memory-disk.js';
import type { ServerStatus } from '../../../src/protocol/status.js';
import { checkStateHashes } from '../../support/agreement.js';
import { RawClient } from '../support.js';
import { assertNothingLost, Load, startChain, type SupervisedChain } from '../supervision/chain.js';

const joiner = 3;

/** The header and ten chunks pass; the next waits. */
const writesBefore = 11;

class Gate {
  readonly reached: Promise<void>;
  readonly #released: Promise<void>;
  #writes = 0;
  #reach!: () => void;
  release!: () => void;

  constructor() {
    this.reached = new Promise((resolve) => {
      this.#reach = resolve;
    });
    this.#released = new Promise((resolve) => {
      this.release = resolve;
    });
  }

  pass(): DiskFault | undefined {
    this.#writes += 1;
    if (this.#writes <= writesBefore) return undefined;
    this.#reach();
    return { until: this.#released };
  }
}

async function statusOf(chain: SupervisedChain, index: number): Promise<ServerStatus> {
  const client = await RawClient.open(chain.port(index));
  try {
    const answer = await client.request({ kind: 'status' });
    if (answer.kind !== 'status') throw new Error(`answered ${answer.kind}`);
    return answer;
  } finally {
    client.close();
  }
}

/** Three servers whose logs no longer reach back to the first op, and a fourth that is being sent a snapshot. */
async function startTransfer(t: ExecutionContext) {
  const { chain, client } = await startChain(t, [{}, {}, {}]);
  const value = Buffer.alloc(16 * 1024, 'v');
  const done = new Set<string>();
  for (let round = 0; (await statusOf(chain, 2)).disk.logFirstSeq === 1; round++) {
    for (let n = 0; n < 200; n++) {
      await client.put(`large-${n}`, value);
      done.add(`large-${n}`);
    }
    if (round > 20) throw new Error('the log is never trimmed');
  }
  const load = new Load(client, 100, 2);
  await load.more(20);
  // Its disk takes so much of the snapshot, and no more until the test lets it go on.
  const gate = new Gate();
  const disk = new MemoryDisk();
  disk.setFault(({ kind, path }) =>
    kind === 'write' && path.includes('/snapshots/') ? gate.pass() : undefined,
  );
  chain.disks[joiner] = disk;
  chain.start(joiner);
  await gate.reached;
  t.is(chain.servers[joiner]?.life?.role, 'learner', 'it is under way');
  t.true(((await statusOf(chain, joiner)).receiving?.bytes ?? 0) > 0);
  return { chain, load, done, release: gate.release };
}

async function assertJoined(
  t: ExecutionContext,
  { chain, load, done }: Awaited<ReturnType<typeof startTransfer>>,
): Promise<void> {
  await chain.untilAllMembers();
  await load.more(20);
  await load.stop();
  await assertNothingLost(t, chain, { done: new Set([...load.done, ...done]) });
  await checkStateHashes(t, { chain: chain.watch });
}

test.serial('O5: the source dies half way: another one begins anew', async (t) => {
  const transfer = await startTransfer(t);
  const { chain } = transfer;
  const tail = chain.watch.newest.members.at(-1);
  const index = [0, 1, 2].find((each) => chain.address(each) === tail) as number;
  await chain.servers[index]?.kill();
  transfer.release();
  await chain.untilLine(new RegExp(`${chain.address(joiner)} is tail in epoch`));
  await chain.start(index).reaches('up');
  await assertJoined(t, transfer);
});

test.serial('O5: the epoch changes half way: the transfer goes on where it was', async (t) => {
  const transfer = await startTransfer(t);
  const { chain } = transfer;
  const [head] = chain.watch.newest.members;
  const index = [0, 1, 2].find((each) => chain.address(each) === head) as number;
  const { epoch } = chain.watch.newest;
  await chain.servers[index]?.kill();
  await chain.watch.until('another epoch', (newest) => newest.epoch > epoch);
  transfer.release();
  await chain.untilLine(
    new RegExp(`${chain.address(joiner)} receives a snapshot .* all received: .* before a break`),
  );
  await chain.start(index).reaches('up');
  await assertJoined(t, transfer);
});

test.serial('O5: the joiner dies half way: it begins anew when it is back', async (t) => {
  const transfer = await startTransfer(t);
  const { chain } = transfer;
  const killed = chain.servers[joiner]?.kill();
  transfer.release();
  await killed;
  await transfer.load.more(20);
  await chain.start(joiner).reaches('up');
  await assertJoined(t, transfer);
});
