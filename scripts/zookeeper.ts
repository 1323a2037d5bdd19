/**
 * A real ZooKeeper on this machine, for `make cluster`, `make demo` and the tests: Debian's package run by
 * the host's Java if both are there, else a container of ZOOKEEPER_IMAGE. It ends with this process.
 *
 * Invariant: `start()` and `resume()` return once it answers; `remove()` leaves no process or container, and
 * no file unless it was told where to keep its data.
 */
import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve as absolute } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

export interface LocalZooKeeper {
  /** `host:port`, the same after each start. */
  readonly connectString: string;
  readonly port: number;
  /** How it is run, for people. */
  readonly kind: string;
  start(): Promise<void>;
  /** Without a chance to say goodbye; sessions stay in its data. */
  stop(): Promise<void>;
  /** It keeps its connections and answers nothing. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Stops it and deletes its data, except data that it was told where to keep. */
  remove(): Promise<void>;
}

export interface ZooKeeperPlace {
  /** A free one by default. */
  readonly port?: number;
  /** Where data is kept; by default in a temporary directory. */
  readonly dataPath?: string;
}

const run = promisify(execFile);
const jarPath = '/usr/share/java/zookeeper.jar';
const logJarPath = '/usr/share/java/slf4j-nop.jar';
const mainClass = 'org.apache.zookeeper.server.quorum.QuorumPeerMain';
/** However this process ends, also by kill -9, its end of the pipe is closed then, and ZooKeeper is killed. */
const watchdogScript = '"$@" >/dev/null <&- & echo $!; read -r _; kill -9 $!; wait';
const host = '127.0.0.1';
const containerPort = 2181;
const imageDefault = 'zookeeper:3.9';
/** Small, so that session timeouts from 1 s work. */
const tickMs = 500;
/** Large, so that a test can tell a closed session from one that timed out. */
const sessionMsMax = 120_000;
const startMsMax = 60_000;
const probeMsMax = 1_000;
const probePauseMs = 50;

/** Why none can run here, and what to install; undefined if one can. */
export async function missingZooKeeper(): Promise<string | undefined> {
  if ((await hasPackage()) || (await succeeds('docker', ['info']))) return undefined;
  return (
    'no ZooKeeper to run: install Java and ZooKeeper ' +
    '(Debian: apt-get install --no-install-recommends zookeeper default-jre-headless), or run Docker'
  );
}

/** The image of ZooKeeper's containers. */
export function zookeeperImage(): string {
  return process.env['ZOOKEEPER_IMAGE'] ?? imageDefault;
}

/** A started ZooKeeper. Throws, saying what to install, where none can run. */
export async function runZooKeeper(place: ZooKeeperPlace = {}): Promise<LocalZooKeeper> {
  const reason = await missingZooKeeper();
  if (reason !== undefined) throw new Error(reason);
  const server = (await hasPackage()) ? await packaged(place) : await contained(place);
  try {
    await server.start();
  } catch (error) {
    await server.remove();
    throw error;
  }
  return server;
}

/** A port of 127.0.0.1 that was free just now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function hasPackage(): Promise<boolean> {
  return existsSync(jarPath) && (await succeeds('java', ['-version']));
}

async function succeeds(command: string, args: readonly string[]): Promise<boolean> {
  return run(command, args).then(
    () => true,
    () => false,
  );
}

async function packaged(place: ZooKeeperPlace): Promise<LocalZooKeeper> {
  const directory = place.dataPath ?? (await mkdtemp(join(tmpdir(), 'catena-zookeeper-')));
  await mkdir(directory, { recursive: true });
  const port = place.port ?? (await freePort());
  const configPath = join(directory, 'zoo.cfg');
  await writeFile(
    configPath,
    [
      `tickTime=${tickMs}`,
      `dataDir=${join(absolute(directory), 'data')}`,
      `clientPortAddress=${host}`,
      `clientPort=${port}`,
      `maxSessionTimeout=${sessionMsMax}`,
      'maxClientCnxns=0',
      'admin.enableServer=false',
      '4lw.commands.whitelist=*',
      '',
    ].join('\n'),
  );
  const classPath = [directory, jarPath, logJarPath].join(':');
  let watchdog: ChildProcess | undefined;
  let serverId = 0;

  const stop = async (): Promise<void> => {
    if (watchdog === undefined) return;
    const exited = once(watchdog, 'exit');
    watchdog.stdin?.end();
    watchdog = undefined;
    await exited;
  };
  return {
    connectString: `${host}:${port}`,
    port,
    kind: `the package of this machine, ${jarPath}`,
    async start() {
      const java = ['java', '-Xmx128m', '-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC'];
      const args = ['-c', watchdogScript, 'zookeeper', ...java];
      // Its own group: a Ctrl-C in the terminal ends this process, and that ends ZooKeeper.
      watchdog = spawn('sh', [...args, '-cp', classPath, mainClass, configPath], {
        stdio: ['pipe', 'pipe', 'ignore'],
        detached: true,
      });
      const [line] = (await once(watchdog.stdout as Readable, 'data')) as [Buffer];
      serverId = Number(line.toString());
      await untilReady(port);
    },
    stop,
    async pause() {
      process.kill(serverId, 'SIGSTOP');
    },
    async resume() {
      process.kill(serverId, 'SIGCONT');
      await untilReady(port);
    },
    async remove() {
      await stop();
      if (place.dataPath === undefined) await rm(directory, { recursive: true, force: true });
    },
  };
}

async function contained(place: ZooKeeperPlace): Promise<LocalZooKeeper> {
  const image = zookeeperImage();
  const port = place.port ?? (await freePort());
  const name = `catena-zookeeper-${process.pid}-${port}`;
  const docker = async (...args: string[]): Promise<unknown> => run('docker', args);
  // The variables are those of the official image; others bring a zoo.cfg of their own.
  const variables = {
    ZOO_TICK_TIME: String(tickMs),
    ZOO_4LW_COMMANDS_WHITELIST: '*',
    ZOO_ADMINSERVER_ENABLED: 'false',
    ZOO_MAX_CLIENT_CNXNS: '0',
    ZOO_CFG_EXTRA: `maxSessionTimeout=${sessionMsMax}`,
  };
  const volumes = ['data', 'datalog'].flatMap((directory) =>
    place.dataPath === undefined
      ? []
      : ['--volume', `${join(absolute(place.dataPath), directory)}:/${directory}`],
  );
  await docker(
    'create',
    '--name',
    name,
    '--publish',
    `${host}:${port}:${containerPort}`,
    ...Object.entries(variables).flatMap(([key, value]) => ['--env', `${key}=${value}`]),
    ...volumes,
    image,
  );
  return {
    connectString: `${host}:${port}`,
    port,
    kind: `a container of ${image}`,
    async start() {
      await docker('start', name);
      await untilReady(port);
    },
    async stop() {
      await docker('kill', name);
    },
    async pause() {
      await docker('pause', name);
    },
    async resume() {
      await docker('unpause', name);
      await untilReady(port);
    },
    async remove() {
      await docker('rm', '--force', '--volumes', name);
    },
  };
}

/** Resolves when a ZooKeeper on this port of 127.0.0.1 serves. */
export async function untilReady(port: number): Promise<void> {
  const deadlineMs = performance.now() + startMsMax;
  // "srvr" is answered with a mode only once requests are served.
  while (!(await fourLetterWord(port, 'srvr')).includes('Mode:')) {
    if (performance.now() > deadlineMs) {
      throw new Error(`ZooKeeper on port ${port} does not answer after ${startMsMax} ms`);
    }
    await sleep(probePauseMs);
  }
}

/** The answer to one of ZooKeeper's four letter words; empty if there is none. */
export function fourLetterWord(port: number, word: string): Promise<string> {
  return new Promise((resolve) => {
    let answer = '';
    const socket = connect({ host, port }, () => socket.end(word));
    socket.setEncoding('utf8').setTimeout(probeMsMax, () => socket.destroy());
    socket.on('data', (text: string) => (answer += text));
    socket.on('error', () => socket.destroy());
    socket.on('close', () => resolve(answer));
  });
}
