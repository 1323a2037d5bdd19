/** Pages of a scan: all of the one instant that the first page names, made no faster than they are taken. */
import test from 'ava';
import { outputHighWaterBytes, pageBytesMax } from '../../src/limits.js';
import { Machine } from '../../src/machine/machine.js';
import { Connection } from '../../src/protocol/connection.js';
import { decodeResponse, encodeRequest, type Response } from '../../src/protocol/messages.js';
import { EpochRuns } from '../../src/replica/epoch-runs.js';
import type { Replica } from '../../src/replica/replica.js';
import { ReadAnswers } from '../../src/server/answers.js';
import { ClientSession } from '../../src/server/client-session.js';
import { duplexPair } from '../support/duplex-pair.js';
import { NotingHost } from './session-support.js';

const runs = new EpochRuns([
  { epoch: 2, lastSeq: 40 },
  { epoch: 5, lastSeq: 5_000 },
]);
const replica = {
  runsUpTo: (seq: number) => runs.upTo(seq),
  epochAt: (seq: number) => runs.epochAt(seq),
  configuration: { clusterId: 'the cluster' },
} as unknown as Replica;

/** A machine that holds `count` keys after op `seq`. */
function machineOf(count: number, seq: number, valueBytes = 10): Machine {
  const machine = new Machine(seq);
  for (let n = 1; n <= count; n++) {
    machine.load(Buffer.from(`key ${n}`), Buffer.alloc(valueBytes, `${n}`), n);
  }
  return machine;
}

/** A session with a scan that was read and not answered yet, and what its client sees. */
async function scanned(machine: Machine, values = true) {
  const [clientEnd, serverEnd] = duplexPair();
  const host = new NotingHost();
  const session: ClientSession = new ClientSession(
    new Connection(serverEnd, {
      onPayloads: (payloads) => session.onPayloads(payloads),
      onClose: () => {},
    }),
    host,
  );
  const responses: Response[] = [];
  let wake = (): void => {};
  const client = new Connection(clientEnd, {
    onPayloads: (payloads) => {
      responses.push(...payloads.map((payload) => decodeResponse(payload)));
      wake();
    },
    onClose: () => wake(),
  });
  client.send(encodeRequest({ id: 1, body: { kind: 'scan', values } }));
  await host.until(() => host.reads.length === 1);
  const answers = new ReadAnswers(machine, replica);
  const reads = answers.read(host.reads);
  const untilLast = async (): Promise<void> => {
    const isLast = (): boolean => {
      const body = responses.at(-1)?.body;
      return body?.kind === 'page' && body.last;
    };
    while (!isLast()) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  return { session, client, responses, answer: () => answers.answer(reads), untilLast };
}

const pagesOf = (responses: readonly Response[]) =>
  responses.map(({ body }) => {
    if (body.kind !== 'page') throw new Error(`'${body.kind}' is no page`);
    return body;
  });

test('the first page, and it alone, says which instant all of them show', async (t) => {
  const machine = machineOf(2_000, 3_000, 1_000);
  const { stateHash } = machine;
  const { responses, answer, untilLast } = await scanned(machine);
  const { bytes } = machine.table;
  // What comes after that instant is in none of the pages.
  machine.table.put(Buffer.from('key 1'), Buffer.from('later'), 3_001);
  machine.table.put(Buffer.from('new'), Buffer.from('later'), 3_002);
  machine.table.delete(Buffer.from('key 2'));
  answer();
  await untilLast();
  const [first, ...others] = pagesOf(responses);
  t.deepEqual(first?.head, {
    opId: { epoch: 5, seq: 3_000 },
    keys: 2_000,
    bytes,
    runs: [
      { epoch: 2, lastSeq: 40 },
      { epoch: 5, lastSeq: 3_000 },
    ],
    stateHash,
    clusterId: 'the cluster',
  });
  t.true(others.length > 2);
  t.true(others.every(({ head }) => head === undefined));
  const copy = new Machine();
  for (const { entries } of pagesOf(responses)) {
    for (const { key, value, version } of entries) copy.load(key, value, version);
  }
  t.is(copy.table.size, 2_000);
  t.is(copy.stateHash, stateHash);
});

test('an empty table has one page, with the instant', async (t) => {
  const { responses, answer, untilLast } = await scanned(machineOf(0, 40));
  answer();
  await untilLast();
  const [page, ...others] = pagesOf(responses);
  t.is(others.length, 0);
  t.deepEqual(page?.entries, []);
  t.like(page?.head, { opId: { epoch: 2, seq: 40 }, keys: 0 });
});

test('keys alone come with the instant too', async (t) => {
  const { responses, answer, untilLast } = await scanned(machineOf(10, 40), false);
  answer();
  await untilLast();
  const pages = pagesOf(responses);
  t.like(pages[0]?.head, { keys: 10 });
  const entries = pages.flatMap((page) => page.entries);
  t.is(entries.length, 10);
  t.true(entries.every(({ value }) => value.length === 0));
});

test('I5: of a table that is not taken only little is in memory as pages', async (t) => {
  const machine = machineOf(400, 1_000, 100_000);
  const { session, client, responses, answer, untilLast } = await scanned(machine);
  client.pause();
  answer();
  while (session.connection.outputBytes <= outputHighWaterBytes) await turn();
  // Whoever does not wait makes a page a turn: 40 MB in these.
  for (let turns = 0; turns < 500; turns++) {
    t.true(session.connection.outputBytes <= outputHighWaterBytes + 2 * pageBytesMax);
    await turn();
  }
  client.resume();
  await untilLast();
  t.is(pagesOf(responses).flatMap((page) => page.entries).length, 400);
});

test('between two pages the loop serves others, however fast they are taken', async (t) => {
  const { responses, answer, untilLast } = await scanned(machineOf(400, 1_000, 100_000));
  let turns = 0;
  const counting = (async () => {
    while (responses.at(-1)?.body.kind !== 'page' || pagesOf(responses).at(-1)?.last !== true) {
      turns += 1;
      await turn();
    }
  })();
  answer();
  await untilLast();
  await counting;
  t.true(turns >= responses.length, `${turns} turns for ${responses.length} pages`);
});

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
