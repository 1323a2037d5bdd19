/** The runtime of production: Node.js as it is. Looks the globals up at each call, so that tests may replace them. */
import { randomUUID } from 'node:crypto';
import { connect, createServer } from 'node:net';
import { listenBacklog } from '../limits.js';
import type { ListeningPort, Runtime, StreamListener, Timer, TimerOptions } from './runtime.js';

export const nodeRuntime: Runtime = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  after(ms, act, options) {
    const timer = setTimeout(act, ms);
    return held(timer, options, () => clearTimeout(timer));
  },
  every(ms, act, options) {
    const timer = setInterval(act, ms);
    return held(timer, options, () => clearInterval(timer));
  },
  atTurnEnd(act) {
    setImmediate(act);
  },
  random: () => Math.random(),
  uuid: () => randomUUID(),
  dial({ host, port }, { keepsAlive = true } = {}) {
    const socket = connect({ host, port, noDelay: true, keepAlive: true });
    if (!keepsAlive) socket.unref();
    return socket;
  },
  listen: ({ host, port }, listener) => listenOn(host, port, listener),
  maybe: () => false,
};

function held(
  timer: NodeJS.Timeout,
  { keepsAlive = true }: TimerOptions = {},
  cancel: () => void,
): Timer {
  if (!keepsAlive) timer.unref();
  return { cancel };
}

async function listenOn(
  host: string,
  port: number,
  listener: StreamListener,
): Promise<ListeningPort> {
  const server = createServer({ noDelay: true, keepAlive: true }, (socket) =>
    listener.onStream(socket, `${socket.remoteAddress}:${socket.remotePort}`),
  );
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port, backlog: listenBacklog }, resolve);
  });
  server.removeAllListeners('error');
  server.on('error', (error) => listener.onError(error));
  const bound = server.address();
  return {
    port: typeof bound === 'object' && bound !== null ? bound.port : port,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}
