/** The client against scripted servers: values, routing, redirects, failover, and what a lost answer means. */
import test from 'ava';
import { connect } from '../../src/client/connect.js';
import type { KvClient } from '../../src/client/kv-client.js';
import {
  BadRequestError,
  CatenaError,
  LimitError,
  OutcomeUnknownError,
  UnavailableError,
} from '../../src/errors.js';
import type { Request } from '../../src/protocol/messages.js';
import { FakeChain, type Script, type Session } from './fake-chain.js';

const addresses = ['127.0.0.1:1', '127.0.0.1:2', '127.0.0.1:3'] as const;
const [first, second, third] = addresses;
const text = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString();

async function started(
  more: { timeoutMs?: number } = {},
): Promise<{ chain: FakeChain; client: KvClient }> {
  const chain = new FakeChain(addresses);
  const client = await connect({ servers: addresses, dial: chain.dial, ...more });
  return { chain, client };
}

/** Leaves the first request of this kind to the test, serves the rest. */
function holdFirst(kind: Request['body']['kind']): {
  script: Script;
  held: Promise<[Request, Session]>;
} {
  let hold: (held: [Request, Session]) => void = () => {};
  let isHeld = false;
  const held = new Promise<[Request, Session]>((resolve) => {
    hold = resolve;
  });
  const script: Script = (request, session, good) => {
    if (isHeld || request.body.kind !== kind) return good();
    isHeld = true;
    hold([request, session]);
  };
  return { script, held };
}

test('values go in and come out, as text and as bytes', async (t) => {
  const { client } = await started();
  t.deepEqual(await client.read('a'), { found: undefined, at: '0-0' });
  t.deepEqual(await client.put('a', 'one'), { opId: '1-1', replaced: false });
  t.deepEqual(await client.put('a', Uint8Array.of(0, 255)), { opId: '1-2', replaced: true });
  t.deepEqual(await client.get('a'), { value: Uint8Array.of(0, 255), version: 2 });
  t.is(await client.get('b'), undefined);
  t.is(await client.size(), 1);
  const found = { value: Uint8Array.of(0, 255), version: 2 };
  t.deepEqual(await client.read('a'), { found, at: '1-2' });
  t.deepEqual(await client.read('b'), { found: undefined, at: '1-2' });
  t.deepEqual(await client.readSize(), { keys: 1, at: '1-2' });
  t.deepEqual(await client.delete('a'), { opId: '1-3', existed: true });
  t.deepEqual(await client.delete('a'), { opId: '1-4', existed: false });
  t.deepEqual(await client.put('c', 'x', { wait: false }), { opId: '1-5' });
  t.is(await client.verify('1-5'), 'executed');
  t.is(await client.verify('1-6'), 'never');
  await client.close();
});

test('keys and entries stream over a connection of their own', async (t) => {
  const { chain, client } = await started();
  for (let index = 0; index < 50; index++) await client.put(`key ${index}`, `value ${index}`);
  const entries: string[] = [];
  for await (const { key, value } of client.entries()) entries.push(`${text(key)}=${text(value)}`);
  t.deepEqual(
    entries,
    Array.from({ length: 50 }, (_, index) => `key ${index}=value ${index}`),
  );
  for await (const key of client.keys({ at: third })) {
    t.is(text(key), 'key 0');
    break;
  }
  t.is(
    chain.server(third).requests.some(({ body }) => body.kind === 'scan'),
    true,
  );
  await client.close();
  await t.throwsAsync(
    async () => {
      for await (const _ of client.keys()) t.fail();
    },
    { code: 'CLOSED' },
  );
});

test('a scan goes to another member while no page was seen, and fails afterwards', async (t) => {
  const { chain, client } = await started();
  await client.put('a', '1');
  await client.put('b', '2');
  let isFirst = true;
  const refuseOnce: Script = (request, session, good) => {
    if (request.body.kind !== 'scan' || !isFirst) return good();
    isFirst = false;
    session.drop();
  };
  for (const server of chain.servers) server.script = refuseOnce;
  const keys: string[] = [];
  for await (const key of client.keys()) keys.push(text(key));
  t.deepEqual(keys, ['a', 'b']);
  for (const server of chain.servers) {
    server.script = ({ id, body }, session, good) => {
      if (body.kind !== 'scan') return good();
      session.answer(id, {
        kind: 'page',
        entries: [{ key: Buffer.from('a'), value: Buffer.from(''), version: 1 }],
        last: false,
        head: chain.scanHead,
      });
      session.connection.flush();
      session.stream.end();
    };
  }
  await t.throwsAsync(
    async () => {
      for await (const _ of client.keys());
    },
    { instanceOf: UnavailableError },
  );
  await client.close();
});

test('many requests are in flight on one connection, and answers overtake', async (t) => {
  const { chain, client } = await started();
  const held: [Request, Session][] = [];
  chain.server(first).script = (request, session, good) => {
    if (request.body.kind === 'write') held.push([request, session]);
    else good();
  };
  const puts = Array.from({ length: 100 }, (_, index) => client.put('k', `v${index}`));
  await chain.server(first).received(100);
  for (const [request, session] of held.reverse()) chain.server(first).act(request, session);
  const results = await Promise.all(puts);
  t.deepEqual(
    results.map(({ opId }) => opId),
    Array.from({ length: 100 }, (_, index) => `1-${100 - index}`),
  );
  t.is(chain.server(first).sessions.size, 1);
  await client.close();
});

test('what is wrong with the call itself is said before anything is sent', async (t) => {
  const { chain, client } = await started();
  await t.throwsAsync(client.put('k'.repeat(4097), 'v'), {
    instanceOf: LimitError,
    message: /4097 bytes, the limit is 4096/,
  });
  await t.throwsAsync(client.put('k', new Uint8Array(8 * 1024 * 1024 + 1)), {
    instanceOf: LimitError,
  });
  await t.throwsAsync(client.get(''), { instanceOf: BadRequestError });
  await t.throwsAsync(client.get('k', { timeoutMs: 0 }), { instanceOf: BadRequestError });
  await t.throwsAsync(client.get('k', { at: 'nowhere' }), { instanceOf: BadRequestError });
  await t.throwsAsync(client.verify('1'), { instanceOf: BadRequestError });
  t.is(chain.servers.flatMap(({ requests }) => requests).length, 0);
  await client.close();
  await t.throwsAsync(connect({ servers: [] }), { instanceOf: BadRequestError });
  await t.throwsAsync(connect({ servers: ['x:y'] }), { instanceOf: BadRequestError });
});

test('reads are spread over the members, writes go to the head', async (t) => {
  const { chain, client } = await started();
  for (let index = 0; index < 30; index++) {
    await client.get('k');
    await client.put('k', 'v');
  }
  for (const server of chain.servers) {
    t.true(server.requests.filter(({ body }) => body.kind === 'get').length >= 8);
    t.is(
      server.requests.some(({ body }) => body.kind === 'write'),
      server.address === first,
    );
  }
  await client.close();
});

test('NOT_HEAD redirects, and the new view holds for the next call', async (t) => {
  const { chain, client } = await started();
  await client.put('k', '1');
  chain.reconfigure([second, third, first], true);
  t.deepEqual(await client.put('k', '2'), { opId: '2-2', replaced: true });
  t.is(client.currentView?.epoch, 2);
  await client.put('k', '3');
  t.is(chain.server(first).requests.length, 2);
  t.deepEqual(chain.accepted, ['1', '2', '3']);
  await client.close();
});

test('a pushed view is followed without a redirect; an older one is not', async (t) => {
  const { chain, client } = await started();
  await client.put('k', '1');
  const old = chain.view;
  const views: number[] = [];
  chain.reconfigure([second, third]);
  chain.server(first).push({ kind: 'view', ...old });
  await client.put('k', '2');
  views.push(client.currentView?.epoch ?? 0);
  t.deepEqual(views, [2]);
  t.deepEqual(chain.accepted, ['1', '2']);
  await client.close();
});

test('the head dies: a sent write is unknown, the others wait for the new head', async (t) => {
  const { chain, client } = await started();
  await client.get('k');
  const { script, held } = holdFirst('write');
  chain.server(first).script = script;
  const sent = client.put('k', 'sent', { announce: true });
  const [{ id }, session] = await held;
  session.answer(id, { kind: 'assigned', opId: { epoch: 1, seq: 7 } });
  session.connection.flush();
  await client.get('k', { at: first });
  chain.server(first).kill();
  const error = await t.throwsAsync(sent, { instanceOf: OutcomeUnknownError });
  t.is(error.opId, '1-7');
  const waiting = Promise.all([client.put('k', 'a'), client.put('k', 'b'), client.verify('1-1')]);
  await client.get('k');
  chain.reconfigure([second, third], true);
  await waiting;
  t.deepEqual(chain.accepted, ['a', 'b']);
  await client.close();
});

test('a read is retried elsewhere when its connection breaks', async (t) => {
  const { chain, client } = await started();
  await client.put('k', 'v');
  let isDropped = false;
  for (const server of chain.servers) {
    server.script = (_request, session, good) => {
      if (isDropped) return good();
      isDropped = true;
      session.drop();
    };
  }
  t.is(text((await client.get('k'))?.value), 'v');
  t.true(isDropped);
  await client.close();
});

test('a read that hangs at a removed member is asked elsewhere', async (t) => {
  const { chain, client } = await started();
  while (chain.server(third).requests.length === 0) await client.get('k');
  const { script, held } = holdFirst('get');
  chain.server(third).script = script;
  const gets = [client.get('k'), client.get('k'), client.get('k'), client.get('k')];
  await held;
  chain.reconfigure([first, second]);
  t.deepEqual(await Promise.all(gets), [undefined, undefined, undefined, undefined]);
  await client.close();
});

test('NOT_ENOUGH_REPLICAS and UNAVAILABLE are tried again until it works', async (t) => {
  const { chain, client } = await started();
  let refusals = 0;
  chain.server(first).script = ({ id }, session, good) => {
    if (refusals === 4) return good();
    const code = refusals++ % 2 === 0 ? 'NOT_ENOUGH_REPLICAS' : 'UNAVAILABLE';
    chain.server(first).refuse(id, session, code);
  };
  await client.put('k', 'v');
  t.is(refusals, 4);
  t.deepEqual(chain.accepted, ['v']);
  await client.close();
});

test('failures have their classes', async (t) => {
  const { chain, client } = await started();
  const cases = [
    ['BAD_REQUEST', BadRequestError],
    ['LIMIT_EXCEEDED', LimitError],
    ['OUTCOME_UNKNOWN', OutcomeUnknownError],
    ['SOMETHING_NEW', OutcomeUnknownError],
  ] as const;
  for (const [code, instanceOf] of cases) {
    chain.server(first).script = ({ id }, session) =>
      session.answer(id, {
        kind: 'failure',
        code,
        message: 'the key is 5000 bytes, the limit is 4096 bytes',
        opId: { epoch: 3, seq: 4 },
      });
    const error = await t.throwsAsync(client.put('k', 'v'), { instanceOf });
    if (error instanceof LimitError) t.is(error.limit, 4096);
    if (error instanceof OutcomeUnknownError) t.is(error.opId, '3-4');
  }
  for (const server of chain.servers) server.script = chain.server(first).script;
  await t.throwsAsync(client.get('k'), { instanceOf: UnavailableError });
  await client.close();
});

test('a refusal after the op id was assigned proves nothing', async (t) => {
  const { chain, client } = await started();
  chain.server(first).script = ({ id }, session) => {
    session.answer(id, { kind: 'assigned', opId: { epoch: 1, seq: 9 } });
    chain.server(first).refuse(id, session, 'NOT_HEAD');
  };
  const error = await t.throwsAsync(client.put('k', 'v', { announce: true }), {
    instanceOf: OutcomeUnknownError,
  });
  t.is(error.opId, '1-9');
  await client.close();
});

test('any one server of the list is enough, also one outside the chain', async (t) => {
  const chain = new FakeChain(addresses);
  chain.reconfigure([second, third], true);
  const client = await connect({ servers: [first], dial: chain.dial });
  await client.put('k', 'v');
  t.is(text((await client.get('k'))?.value), 'v');
  const outcomes = await client.statuses();
  t.deepEqual(
    outcomes.map((outcome) => [outcome.address, 'status' in outcome && outcome.status.role]),
    [
      [second, 'head'],
      [third, 'tail'],
      [first, 'learner'],
    ],
  );
  await client.close();
});

test('servers that are down are passed over, in any order', async (t) => {
  const chain = new FakeChain(addresses);
  chain.server(first).kill();
  chain.server(second).kill();
  const connecting = connect({ servers: addresses, dial: chain.dial });
  chain.reconfigure([third], true);
  const client = await connecting;
  await client.put('k', 'v');
  t.is(text((await client.get('k'))?.value), 'v');
  const error = await t.throwsAsync(client.status(first), { instanceOf: UnavailableError });
  t.regex(error.message, /ECONNREFUSED/);
  await client.close();
});

test('another cluster is refused at once, with its reason', async (t) => {
  const chain = new FakeChain(addresses);
  for (const server of chain.servers) {
    const refused = { code: 'WRONG_CLUSTER', message: "this is cluster 'other'" };
    server.opened = () => ({ serverId: '', incarnation: '', clusterId: '', refused });
  }
  const error = await t.throwsAsync(
    connect({ servers: addresses, dial: chain.dial, timeoutMs: 60_000 }),
    { instanceOf: CatenaError, code: 'WRONG_CLUSTER' },
  );
  t.regex(error.message, /cluster 'other'/);
});

test('a view of another cluster is never followed', async (t) => {
  const { chain, client } = await started();
  await client.put('k', '1');
  const [session] = chain.server(first).sessions;
  const view = { ...chain.viewOf([second], 99), clusterId: 'stranger' };
  session?.answer(0, { kind: 'view', ...view });
  await client
    .put('k', '2')
    .catch((error: unknown) => t.true(error instanceof OutcomeUnknownError));
  t.is(client.currentView?.clusterId, 'fake');
  await client.close();
});
