/**
 * The process that holds one ZooKeeper session for its parent, and the only file that loads the npm
 * `zookeeper` client. Never in the parent: the client closes file descriptors that libuv still polls, and a
 * socket of the parent that got such a number would go deaf. It decides nothing; the parent does.
 *
 * Invariant: this process lives no longer than its session, nor than its parent; while the parent is
 * silent the session does not outlive the session timeout.
 */

import { codes } from './registry.js';
import { beatIntervalMs, silentBeatsMax } from './zookeeper-protocol.js';
import type {
  Answer,
  ChildMessage,
  OpenMessage,
  ParentMessage,
  Request,
} from './zookeeper-protocol.js';

/** The part of the client that is used: callbacks carry the code, `watch = true` reports to the global events. */
interface Client {
  /** 0 if the client could not be made at all, for instance since no host name resolved. */
  readonly state: number;
  init(config: { connect: string; timeout: number; debug_level: number }): void;
  close(): void;
  on(event: string, listener: (client: unknown, detail: unknown) => void): void;
  a_get(path: string, watch: boolean, answer: DataCallback): number;
  a_exists(path: string, watch: boolean, answer: StatCallback): number;
  a_get_children(path: string, watch: boolean, answer: NamesCallback): number;
  a_sync(path: string, answer: PathCallback): number;
  a_create(path: string, data: string, flags: number, answer: PathCallback): number;
  a_set(path: string, data: string, version: number, answer: StatCallback): number;
  a_delete_(path: string, version: number, answer: (code: number) => void): number;
}

type Stat = { readonly version: number } | null;
type DataCallback = (code: number, text: string, stat: Stat, data: Uint8Array | null) => void;
type StatCallback = (code: number, text: string, stat: Stat) => void;
type NamesCallback = (code: number, text: string, names: string[] | null) => void;
type PathCallback = (code: number, text: string, path: string | null) => void;

const connectedState = 3;
/** The client's log is off (it would go to stderr unasked, and is loud while ZooKeeper is away). */
const logOff = 0;
/** How long the last message may take to leave. */
const lastMessageMs = 500;

let client: Client | undefined;
let ended = false;
let silentBeats = 0;

function send(message: ChildMessage, sent: () => void = () => {}): void {
  if (process.connected) process.send?.(message, undefined, undefined, sent);
}

/** Ends session and process. Closing first makes the ephemeral go at once, so that others act at once. */
function end(reason: string): void {
  if (ended) return;
  ended = true;
  client?.close();
  setTimeout(() => process.exit(0), lastMessageMs);
  if (!process.connected) process.exit(0);
  send({ kind: 'ended', reason }, () => process.exit(0));
}

async function open({ connectString, sessionTimeoutMs }: OpenMessage): Promise<void> {
  const intervalMs = beatIntervalMs(sessionTimeoutMs);
  setInterval(() => {
    silentBeats += 1;
    if (silentBeats > silentBeatsMax) end('the parent process was silent');
    else send({ kind: 'beat' });
  }, intervalMs);
  const opened = await load();
  // The parent may have gone while the client was loaded.
  if (opened === undefined || ended) return;
  client = opened;
  opened.on('connect', () => send({ kind: 'session', state: 'connected' }));
  opened.on('connecting', () => send({ kind: 'session', state: 'suspended' }));
  opened.on('close', (_client, code) => end(`the session ended (${String(code)})`));
  for (const event of ['created', 'deleted', 'changed', 'child']) {
    opened.on(event, (_client, path) => send({ kind: 'watch', path: String(path) }));
  }
  opened.init({ connect: connectString, timeout: sessionTimeoutMs, debug_level: logOff });
  if (opened.state === 0) end(`no client can be made for ${connectString}; does the name resolve?`);
}

async function load(): Promise<Client | undefined> {
  try {
    const module = (await import('zookeeper')) as unknown as { default: new () => Client };
    return new module.default();
  } catch (error) {
    end(`the npm package zookeeper does not load: ${String(error)}`);
    return undefined;
  }
}

function answerRequest(id: number, request: Request): void {
  // A request made while disconnected would wait in the client, and its loss could not be told from a sent one's.
  if (client === undefined || ended || client.state !== connectedState) {
    send({ kind: 'unsent', id });
    return;
  }
  const answer = (answer: Answer): void => {
    send({ kind: 'answer', id, answer });
    if (answer.code === codes.sessionExpired) setImmediate(end, 'the session expired');
  };
  const code = submit(client, request, answer);
  if (code === codes.ok) return;
  // The client refused on the spot, and there will be no callback.
  if (code === codes.invalidState) {
    send({ kind: 'unsent', id });
    end('the client is in an invalid state');
  } else {
    answer({ code });
  }
}

function submit(client: Client, request: Request, answer: (answer: Answer) => void): number {
  switch (request.op) {
    case 'get':
      return client.a_get(request.path, true, (code, _text, stat, data) => {
        if (code !== codes.ok || stat === null) answer({ code });
        else
          answer({ code, version: stat.version, data: Buffer.from(data ?? []).toString('utf8') });
      });
    case 'exists':
      return client.a_exists(request.path, true, (code) => answer({ code }));
    case 'children':
      return client.a_get_children(request.path, true, (code, _text, names) =>
        answer({ code, names: names ?? [] }),
      );
    case 'sync':
      return client.a_sync(request.path, (code) => answer({ code }));
    case 'create':
      return client.a_create(request.path, request.data, request.flags, (code, _text, path) =>
        answer(path === null ? { code } : { code, path }),
      );
    case 'set':
      return client.a_set(request.path, request.data, request.version, (code, _text, stat) =>
        answer(stat === null ? { code } : { code, version: stat.version }),
      );
    case 'delete':
      return client.a_delete_(request.path, request.version, (code) => answer({ code }));
  }
}

process.on('message', (message: ParentMessage) => {
  silentBeats = 0;
  switch (message.kind) {
    case 'open':
      void open(message);
      break;
    case 'request':
      answerRequest(message.id, message.request);
      break;
    case 'beat':
      break;
    case 'close':
      end('closed');
      break;
  }
});

process.on('disconnect', () => end('the parent process is gone'));

// A terminal or a service manager signals the whole group. The parent decides: it may need ZooKeeper to leave in order.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});

send({ kind: 'ready' });
