/**
 * `make cluster`: a real ZooKeeper and a chain of three kv-server processes on this machine, until Ctrl-C.
 * Takes the ZooKeeper that answers on 127.0.0.1:2181, else runs one there. Data is kept, apart for each of
 * the two: servers and the ZooKeeper that knows their chain belong together.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { fourLetterWord, type LocalZooKeeper, runZooKeeper } from './zookeeper.js';

const help = `Usage: node dist/scripts/cluster.js [--port P] [--zookeeper-port P] [--data DIR]
       make cluster ARGS='--port 6000'

A ZooKeeper on port 2181 of 127.0.0.1, one that runs already or else one of its own, and a chain of
three kv-servers on ports P (5000) and up. Data is kept in DIR (catena-data/cluster). Ctrl-C ends it.
`;

const serverScript = fileURLToPath(new URL('../src/cli/kv-server.js', import.meta.url));
const host = '127.0.0.1';
const serverCount = 3;

interface Options {
  readonly basePort: number;
  readonly zookeeperPort: number;
  readonly dataPath: string;
}

/** What the user can do something about: printed without a stack. */
class RefusedError extends Error {}

interface Server {
  readonly name: string;
  readonly child: ChildProcess;
  readonly serving: Promise<void>;
  /** Resolves to the exit code. */
  readonly ended: Promise<number | null>;
}

async function main(): Promise<void> {
  const options = optionsOf(process.argv.slice(2));
  if (options === undefined) {
    process.stdout.write(help);
    return;
  }
  const asked = new Promise<'asked'>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.on(signal, () => resolve('asked'));
    }
  });
  const { basePort, zookeeperPort, dataPath } = options;
  const ports = Array.from({ length: serverCount }, (_, index) => basePort + index);
  for (const port of ports) {
    if (await isTaken(port)) {
      throw new RefusedError(
        `port ${port} is taken; choose others: make cluster ARGS='--port 6000'`,
      );
    }
  }
  const own = await ownZooKeeper(zookeeperPort, join(dataPath, 'own-zookeeper', 'zookeeper'));
  const serversPath = join(dataPath, own === undefined ? 'other-zookeeper' : 'own-zookeeper');
  const servers: Server[] = [];
  try {
    const start = (port: number): Server =>
      startServer(port, zookeeperPort, join(serversPath, String(port)));
    for (const port of ports) servers.push(start(port));
    const ended = Promise.race([asked, ...servers.map(endOf)]);
    const serving = Promise.all(servers.map((server) => server.serving));
    if ((await Promise.race([ended, serving.then(() => 'serving')])) === 'serving') {
      say(connectHelp(zookeeperPort, basePort));
      say(`Ctrl-C stops everything; data stays in ${serversPath}`);
    }
    for (;;) {
      const reason = await Promise.race([asked, ...servers.map(endOf)]);
      if (reason === 'asked') break;
      const killed = servers.findIndex(({ child }) => child.signalCode !== null);
      if (killed < 0) throw new RefusedError(`${reason}; the rest is stopped`);
      // kill -9 is what one tries here: the others go on, and it comes back as under a supervisor.
      say(`${reason}; starting it again`);
      servers[killed] = start(ports[killed] as number);
    }
    say('stopping');
  } finally {
    await stopAll(servers);
    await own?.remove();
  }
}

function optionsOf(args: string[]): Options | undefined {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args,
    options: { port: text, 'zookeeper-port': text, data: text, help: { type: 'boolean' } },
  });
  if (values.help === true) return undefined;
  return {
    basePort: portOf('--port', values.port ?? '5000'),
    zookeeperPort: portOf('--zookeeper-port', values['zookeeper-port'] ?? '2181'),
    dataPath: values.data ?? 'catena-data/cluster',
  };
}

function portOf(name: string, text: string): number {
  const port = Number(text);
  const portMax = 65_536 - serverCount;
  if (Number.isInteger(port) && port >= 1 && port <= portMax) return port;
  throw new RefusedError(`${name} takes a number from 1 to ${portMax}, not '${text}'`);
}

/** Undefined if one answers there already. */
async function ownZooKeeper(port: number, dataPath: string): Promise<LocalZooKeeper | undefined> {
  const answer = await fourLetterWord(port, 'srvr');
  // Of a ZooKeeper that does not allow the word, the answer says so.
  if (answer.includes('Mode:') || answer.includes('whitelist')) {
    say(`ZooKeeper: the one that runs on ${host}:${port}`);
    return undefined;
  }
  if (await isTaken(port)) {
    throw new RefusedError(
      `port ${port} is taken, and not by a ZooKeeper that serves; ` +
        "choose another: make cluster ARGS='--zookeeper-port 2182'",
    );
  }
  const zookeeper = await runZooKeeper({ port, dataPath }).catch((error: unknown) => {
    throw new RefusedError(error instanceof Error ? error.message : String(error));
  });
  say(`ZooKeeper: ${zookeeper.kind}, on ${zookeeper.connectString}`);
  return zookeeper;
}

function startServer(port: number, zookeeperPort: number, dataPath: string): Server {
  const args = [`${host}:${zookeeperPort}`, `${host}:${port}`, '--data', dataPath];
  // A group of its own: Ctrl-C in the terminal reaches this process alone, which asks each to stop once.
  const child = spawn(process.execPath, [serverScript, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const name = `kv-server ${port}`;
  const serving = new Promise<void>((resolve) => {
    for (const output of [child.stdout, child.stderr]) {
      createInterface({ input: output }).on('line', (line) => {
        console.log(`${port} | ${line}`);
        if (line.includes(' serves cluster ')) resolve();
      });
    }
  });
  // The pipes too are at their end then: the last line says why it ended.
  const ended = once(child, 'close').then(([code]) => code as number | null);
  return { name, child, serving, ended };
}

async function endOf({ name, ended }: Server): Promise<string> {
  const code = await ended;
  return `${name} ended with ${code === null ? 'a signal' : `exit code ${code}`}`;
}

/** One after the other, so that each leaves a chain that still agrees; the last one keeps it. */
async function stopAll(servers: readonly Server[]): Promise<void> {
  for (const { child, ended } of servers.toReversed()) {
    child.kill('SIGTERM');
    await ended;
  }
}

function isTaken(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port }, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

function connectHelp(zookeeperPort: number, basePort: number): string {
  const zookeeper = zookeeperPort === 2181 ? '' : ` ${zookeeperPort}`;
  return [
    'Connect a client, in another terminal:',
    `  node dist/src/cli/kv-client.js${zookeeper}`,
    `  node dist/src/cli/kv-client.js --servers ${basePort} put greeting hello`,
  ].join('\n');
}

function say(text: string): void {
  console.log(text);
}

try {
  await main();
} catch (error) {
  const isUsage = error instanceof TypeError && 'code' in error;
  if (!(error instanceof RefusedError) && !isUsage) throw error;
  console.error(`make cluster: ${error.message}`);
  process.exitCode = isUsage ? 2 : 1;
}
