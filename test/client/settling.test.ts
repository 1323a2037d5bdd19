/** Every call settles by its deadline, once, with an error that tells the truth: deadlines, aborts, garbage, close. */
import { setMaxListeners } from 'node:events';
import test from 'ava';
import {
  array,
  assert,
  asyncProperty,
  constantFrom,
  infiniteStream,
  nat,
  record,
} from 'fast-check';
import { connect } from '../../src/client/connect.js';
import type { KvClient } from '../../src/client/kv-client.js';
import {
  AbortedError,
  CatenaError,
  ClosedError,
  OutcomeUnknownError,
  TimeoutError,
  UnavailableError,
} from '../../src/errors.js';
import { requestsInFlightMax } from '../../src/limits.js';
import { encodeFrame } from '../../src/protocol/frame.js';
import { encodeResponse } from '../../src/protocol/messages.js';
import { FakeChain, type Script } from './fake-chain.js';

const addresses = ['127.0.0.1:1', '127.0.0.1:2', '127.0.0.1:3'] as const;
const [first, second] = addresses;
const silent: Script = () => {};

async function started(): Promise<{ chain: FakeChain; client: KvClient }> {
  const chain = new FakeChain(addresses);
  const client = await connect({ servers: addresses, dial: chain.dial });
  return { chain, client };
}

test.serial('without an answer a read times out, and a write is unknown', async (t) => {
  const { chain, client } = await started();
  for (const server of chain.servers) server.script = silent;
  await t.throwsAsync(client.get('k', { timeoutMs: 200 }), { instanceOf: TimeoutError });
  await t.throwsAsync(client.put('k', 'v', { timeoutMs: 200 }), {
    instanceOf: OutcomeUnknownError,
  });
  await t.throwsAsync(
    async () => {
      for await (const _ of client.keys({ timeoutMs: 200 }));
    },
    { instanceOf: TimeoutError },
  );
  await client.close();
});

test.serial('without a server a call is unavailable, and the message says why', async (t) => {
  const chain = new FakeChain(addresses);
  for (const server of chain.servers) server.kill();
  const client = await connect({ servers: addresses, dial: chain.dial, lazy: true });
  const error = await t.throwsAsync(client.put('k', 'v', { timeoutMs: 60 }), {
    instanceOf: UnavailableError,
  });
  t.regex(error.message, /ECONNREFUSED 127\.0\.0\.1:1/);
  await t.throwsAsync(client.get('k', { timeoutMs: 200 }), { instanceOf: UnavailableError });
  await client.close();
  await t.throwsAsync(connect({ servers: addresses, dial: chain.dial, timeoutMs: 200 }), {
    instanceOf: UnavailableError,
  });
});

test.serial('a server that accepts and says nothing costs no write its certainty', async (t) => {
  const chain = new FakeChain([first]);
  chain.server(first).opened = () => undefined;
  const client = await connect({ servers: [first], dial: chain.dial, lazy: true });
  await t.throwsAsync(client.put('k', 'v', { timeoutMs: 200 }), { instanceOf: UnavailableError });
  t.is(chain.server(first).requests.length, 0);
  await client.close();
});

test.serial('a refusal that does not end is named in the error', async (t) => {
  const { chain, client } = await started();
  const server = chain.server(first);
  let refusals = 0;
  server.script = ({ id }, session) => {
    server.refuse(id, session, 'NOT_ENOUGH_REPLICAS');
    session.connection.flush();
    // So that it is not under way once more when the deadline comes.
    if (++refusals === 3) server.kill();
  };
  await t.throwsAsync(client.put('k', 'v', { timeoutMs: 1_000 }), {
    instanceOf: UnavailableError,
    message: /NOT_ENOUGH_REPLICAS/,
  });
  await client.close();
});

test.serial(
  'past the limit in flight calls queue, and those in the queue were certainly not sent',
  async (t) => {
    const { chain, client } = await started();
    chain.server(first).script = silent;
    const { signal, abort } = abortable();
    const puts = Array.from({ length: requestsInFlightMax }, () =>
      client.put('k', 'v', { signal }),
    );
    await chain.server(first).received(requestsInFlightMax - 1);
    abort();
    const results = await Promise.allSettled(puts);
    const codes = results.map((result) => {
      if (result.status === 'fulfilled') return 'done';
      return result.reason instanceof CatenaError ? result.reason.code : 'untyped';
    });
    t.is(codes.pop(), 'ABORTED');
    t.deepEqual([...new Set(codes)], ['OUTCOME_UNKNOWN']);
    t.is(chain.server(first).requests.length, requestsInFlightMax - 1);
    await client.close();
  },
);

test.serial(
  'an abort before, while waiting, before the write left, after it, and after the end',
  async (t) => {
    const { chain, client } = await started();
    await t.throwsAsync(client.put('k', 'v', { signal: AbortSignal.abort('no') }), {
      instanceOf: AbortedError,
    });
    const sameTurn = new AbortController();
    const unsent = client.put('k', 'v', { signal: sameTurn.signal });
    sameTurn.abort();
    await t.throwsAsync(unsent, { instanceOf: AbortedError });
    t.is(chain.server(first).requests.length, 0);

    for (const server of chain.servers) server.script = silent;
    const controller = new AbortController();
    const put = client.put('k', 'v', { signal: controller.signal });
    const get = client.get('k', { signal: controller.signal, at: first });
    const keys = client.keys({ signal: controller.signal, at: second }).next();
    await chain.server(first).received(2);
    await chain.server(second).received(1);
    controller.abort();
    await t.throwsAsync(put, { instanceOf: OutcomeUnknownError });
    await t.throwsAsync(get, { instanceOf: AbortedError });
    await t.throwsAsync(keys, { instanceOf: AbortedError });

    for (const server of chain.servers) server.script = (_request, _session, good) => good();
    const late = new AbortController();
    await client.get('k', { signal: late.signal });
    late.abort();
    for (const server of chain.servers) server.kill();
    const waiting = new AbortController();
    const noHead = client.put('k', 'v', { signal: waiting.signal });
    setImmediate(() => waiting.abort());
    await t.throwsAsync(noHead, { instanceOf: AbortedError });
    await client.close();
  },
);

test.serial('close settles everything: sent writes as unknown, the rest as closed', async (t) => {
  const { chain, client } = await started();
  for (const server of chain.servers) server.script = silent;
  const put = client.put('k', 'v');
  const get = client.get('k', { at: first });
  const keys = client.keys({ at: second }).next();
  await chain.server(first).received(2);
  await chain.server(second).received(1);
  const unsent = client.put('k', 'v');
  await client.close();
  await t.throwsAsync(put, { instanceOf: OutcomeUnknownError });
  await t.throwsAsync(get, { instanceOf: ClosedError });
  await t.throwsAsync(keys, { instanceOf: ClosedError });
  await t.throwsAsync(unsent, { instanceOf: ClosedError });
  await t.throwsAsync(client.get('k'), { instanceOf: ClosedError });
  await client.close();
});

const at = { epoch: 1, seq: 1 };

const garbage: Record<string, Uint8Array> = {
  'an HTTP answer': Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'),
  'a length of 2 GiB': Buffer.from('7fffffff00000000', 'hex'),
  'a frame that is no message': encodeFrame(Uint8Array.of(255, 255, 255)),
  'a bad checksum': Buffer.from('0000000100000000ff', 'hex'),
  'an answer to a request that was never made': encodeFrame(
    encodeResponse({ id: 4_000_000, body: { kind: 'count', keys: 1, at } }),
  ),
  'an answer of the wrong kind': encodeFrame(
    encodeResponse({ id: 1, body: { kind: 'verified', outcome: 'never' } }),
  ),
  'a page that nobody asked for': encodeFrame(
    encodeResponse({ id: 1, body: { kind: 'page', entries: [], last: false } }),
  ),
  'half a frame': encodeFrame(
    encodeResponse({ id: 1, body: { kind: 'count', keys: 1, at } }),
  ).subarray(0, 9),
};

for (const [what, bytes] of Object.entries(garbage)) {
  test.serial(
    `${what}: the connection is given up, a read goes elsewhere, a write is unknown`,
    async (t) => {
      const { chain, client } = await started();
      let isFirst = true;
      chain.server(first).script = (_request, session, good) => {
        if (!isFirst) return good();
        isFirst = false;
        session.raw(bytes);
        session.stream.end();
      };
      await t.throwsAsync(client.put('k', 'v'), { instanceOf: OutcomeUnknownError });
      isFirst = true;
      t.is(await client.get('k', { at: first }), undefined);
      t.false(isFirst);
      await client.put('k', 'v');
      t.deepEqual(chain.accepted, ['v']);
      await client.close();
    },
  );
}

test.serial(
  'an answer that comes after its call has settled is dropped, and its id was not given away',
  async (t) => {
    const { chain, client } = await started();
    const late: (() => void)[] = [];
    chain.server(first).script = (request, session, good) => {
      if (late.length === 0 && request.body.kind === 'get') {
        late.push(() =>
          session.answer(request.id, {
            kind: 'value',
            found: true,
            value: Buffer.from('late'),
            version: 1,
            at,
          }),
        );
      } else good();
    };
    await t.throwsAsync(client.get('k', { at: first, timeoutMs: 200 }), {
      instanceOf: TimeoutError,
    });
    const next = client.get('k', { at: first });
    late[0]?.();
    t.is(await next, undefined);
    t.is(new Set(chain.server(first).requests.map(({ id }) => id)).size, 2);
    await client.close();
  },
);

/** What a server does with a request; chosen at random for each. */
const deeds = [
  'serve',
  'serve',
  'serve',
  'refuse',
  'not head',
  'lose the request',
  'lose the answer',
  'stay silent',
  'garbage',
  'kill and fail over',
] as const;

test.serial(
  'at random: each call settles once, and a write that was not done was never accepted',
  async (t) => {
    const call = record({
      kind: constantFrom('put', 'put', 'get', 'put and abort'),
      gap: nat(3),
    });
    await assert(
      asyncProperty(
        array(call, { minLength: 5, maxLength: 40 }),
        infiniteStream(constantFrom(...deeds)),
        async (calls, deedStream) => {
          const chain = new FakeChain(addresses);
          for (const server of chain.servers) {
            server.script = scriptOf(
              chain,
              server.address,
              () => deedStream.next().value ?? 'serve',
            );
          }
          const client = await connect({
            servers: addresses,
            dial: chain.dial,
            lazy: true,
            timeoutMs: 60,
          });
          const outcomes: Promise<void>[] = [];
          for (const [index, { kind, gap }] of calls.entries()) {
            for (let turn = 0; turn < gap; turn++)
              await new Promise((resolve) => setImmediate(resolve));
            const value = `value ${index}`;
            if (kind === 'get') outcomes.push(checkRead(client.get('k')));
            else {
              const controller = new AbortController();
              outcomes.push(
                checkWrite(chain, value, client.put('k', value, { signal: controller.signal })),
              );
              if (kind === 'put and abort') setImmediate(() => controller.abort());
            }
          }
          await Promise.all(outcomes);
          await client.close();
          t.is(new Set(chain.accepted).size, chain.accepted.length, 'a write was executed twice');
        },
      ),
      { numRuns: 60 },
    );
  },
);

function scriptOf(
  chain: FakeChain,
  address: string,
  nextDeed: () => (typeof deeds)[number],
): Script {
  const server = chain.server(address);
  return (request, session, good) => {
    const { id, body } = request;
    switch (nextDeed()) {
      case 'serve':
        return good();
      case 'refuse':
        return server.refuse(id, session, 'UNAVAILABLE');
      case 'not head':
        return server.refuse(id, session, body.kind === 'write' ? 'NOT_HEAD' : 'NOT_SERVING');
      case 'lose the request':
        return session.drop();
      case 'lose the answer':
        if (body.kind === 'write' && chain.view.members[0]?.address === address)
          server.execute(request);
        return session.drop();
      case 'stay silent':
        return;
      case 'garbage':
        return session.raw(Buffer.from('garbage, garbage'));
      case 'kill and fail over': {
        for (const each of chain.servers) each.isUp = true;
        const others = chain.servers.filter((each) => each !== server).map((each) => each.address);
        server.kill();
        return chain.reconfigure([...others, address]);
      }
    }
  };
}

/** For very many listeners: Node warns of more than ten unless told. */
function abortable(): { signal: AbortSignal; abort: () => void } {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal);
  return { signal: controller.signal, abort: () => controller.abort() };
}

async function checkRead(read: Promise<unknown>): Promise<void> {
  try {
    await read;
  } catch (error) {
    if (!(error instanceof CatenaError) || error instanceof OutcomeUnknownError) throw error;
  }
}

async function checkWrite(chain: FakeChain, value: string, write: Promise<unknown>): Promise<void> {
  try {
    await write;
    if (!chain.accepted.includes(value)) throw new Error(`'${value}' was reported done and is not`);
  } catch (error) {
    if (error instanceof OutcomeUnknownError) return;
    if (!(error instanceof CatenaError)) throw error;
    if (chain.accepted.includes(value))
      throw new Error(`'${value}' was reported not done and is`, { cause: error });
  }
}
