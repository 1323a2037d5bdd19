/** The client's snapshots: which instant it is, all of that instant or an error, little of it in memory; and `leave`. */
import test from 'ava';
import { connect } from '../../src/client/connect.js';
import type { KvClient } from '../../src/client/kv-client.js';
import {
  AbortedError,
  LastMemberError,
  OutcomeUnknownError,
  ProtocolError,
  UnavailableError,
} from '../../src/errors.js';
import { FakeChain, type Script } from './fake-chain.js';

const addresses = ['127.0.0.1:1', '127.0.0.1:2'] as const;
const [first, second] = addresses;

async function started(count: number): Promise<{ chain: FakeChain; client: KvClient }> {
  const chain = new FakeChain(addresses);
  for (let n = 1; n <= count; n++) {
    chain.table.set(`key ${n}`, { value: Buffer.from(`value ${n}`), version: n });
  }
  chain.seq = count;
  return { chain, client: await connect({ servers: addresses, dial: chain.dial }) };
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

test('a snapshot tells its instant, then its entries, once', async (t) => {
  const { chain, client } = await started(30);
  const snapshot = await client.snapshot({ at: second });
  t.is(snapshot.opId, '1-30');
  t.deepEqual(snapshot.head, chain.scanHead);
  await client.put('key 1', 'later');
  const found: string[] = [];
  for await (const { key, value, version } of snapshot) {
    found.push(`${text(key)} ${text(value)} ${version}`);
  }
  t.deepEqual(
    found,
    Array.from({ length: 30 }, (_, index) => `key ${index + 1} value ${index + 1} ${index + 1}`),
  );
  // Its own connection is over; another one stays for the other calls.
  while (chain.server(second).sessions.size > 1) await client.size();
  await client.close();
});

test('an empty table has an instant as well', async (t) => {
  const { chain, client } = await started(0);
  chain.seq = 9;
  const snapshot = await client.snapshot();
  t.is(snapshot.opId, '1-9');
  for await (const _ of snapshot) t.fail();
  await client.close();
});

test('a connection that breaks midway ends it with a typed error, and not with another instant', async (t) => {
  const { chain, client } = await started(30);
  let scans = 0;
  const script: Script = ({ id, body }, session, good) => {
    if (body.kind !== 'scan') return good();
    scans += 1;
    const entries = [{ key: Buffer.from('a'), value: Buffer.from(''), version: 1 }];
    session.answer(id, { kind: 'page', entries, last: false, head: chain.scanHead });
    session.connection.flush();
    session.stream.end();
  };
  for (const server of chain.servers) server.script = script;
  const snapshot = await client.snapshot();
  const found: string[] = [];
  await t.throwsAsync(
    async () => {
      for await (const { key } of snapshot) found.push(text(key));
    },
    { instanceOf: UnavailableError },
  );
  t.deepEqual(found, ['a']);
  t.is(scans, 1);
  await client.close();
});

test('pages without an instant are no snapshot', async (t) => {
  const { chain, client } = await started(1);
  for (const server of chain.servers) {
    server.script = ({ id, body }, session, good) => {
      if (body.kind === 'scan') session.answer(id, { kind: 'page', entries: [], last: true });
      else good();
    };
  }
  await t.throwsAsync(client.snapshot(), { instanceOf: ProtocolError });
  await client.close();
});

test('close, abort and the end of the client end a snapshot', async (t) => {
  const { client } = await started(30);
  const abort = new AbortController();
  const aborted = await client.snapshot({ signal: abort.signal });
  const closed = await client.snapshot();
  const orphaned = await client.snapshot();
  abort.abort();
  closed.close();
  for (const snapshot of [aborted, closed]) {
    await t.throwsAsync(
      async () => {
        for await (const _ of snapshot);
      },
      { instanceOf: AbortedError },
    );
  }
  await client.close();
  await t.throwsAsync(
    async () => {
      for await (const _ of orphaned);
    },
    { code: 'CLOSED' },
  );
});

test('who reads slowly leaves the rest with the server', async (t) => {
  const { chain, client } = await started(200);
  const value = Buffer.alloc(100_000);
  for (const [key, { version }] of chain.table) chain.table.set(key, { value, version });
  const snapshot = await client.snapshot({ at: first });
  const pages = snapshot.pages();
  await pages.next();
  const [stream] = [...chain.server(first).sessions].slice(-1);
  if (stream === undefined) return t.fail();
  // A page is an entry here, and 200 of them wait at the server.
  for (let turns = 0; turns < 500; turns++) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.true(stream.connection.outputBytes > 180 * value.length, `${stream.connection.outputBytes}`);
  let rest = 0;
  for await (const entries of pages) rest += entries.length;
  t.is(rest, 199);
  await client.close();
});

test('leave is done when the server says so, and not when the connection ends', async (t) => {
  const { chain, client } = await started(0);
  const asked: unknown[] = [];
  chain.server(second).script = ({ id, body }, session, good) => {
    if (body.kind !== 'leave') return good();
    asked.push(body);
    if (asked.length === 1) return session.answer(id, { kind: 'left' });
    session.drop();
  };
  await client.leave(second);
  const error = await t.throwsAsync(client.leave(second, { force: true }), {
    instanceOf: OutcomeUnknownError,
  });
  t.regex(error.message, /the leave was sent and its answer was not seen/);
  t.deepEqual(asked, [
    { kind: 'leave', force: false },
    { kind: 'leave', force: true },
  ]);
  await client.close();
});

test('why a server does not leave, or how it ended, is a typed error', async (t) => {
  const { chain, client } = await started(0);
  for (const [code, instanceOf] of [
    ['LAST_MEMBER', LastMemberError],
    ['OUTCOME_UNKNOWN', OutcomeUnknownError],
  ] as const) {
    chain.server(second).script = ({ id, body }, session, good) => {
      if (body.kind !== 'leave') return good();
      session.answer(id, { kind: 'failure', code, message: 'as it says' });
    };
    await t.throwsAsync(client.leave(second), { instanceOf, message: 'as it says' });
  }
  chain.server(second).kill();
  await t.throwsAsync(client.leave(second), { instanceOf: UnavailableError });
  await client.close();
});
