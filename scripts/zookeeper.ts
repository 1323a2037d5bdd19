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
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve as absolute } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

/** What servers and clients need of a ZooKeeper, be it one process or an ensemble. */
export interface ZooKeeperService {
  /** `host:port`, or several with commas; the same after each start. */
  readonly connectString: string;
  /** How it is run, for people. */
  readonly kind: string;
  start(): Promise<void>;
  /** Without a chance to say goodbye; sessions stay in its data. */
  stop(): Promise<void>;
  /** Stops it and deletes its data, except data that it was told where to keep. */
  remove(): Promise<void>;
}

export interface LocalZooKeeper extends ZooKeeperService {
  readonly port: number;
  /** It keeps its connections and answers nothing. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Copies its data to a directory that is not there yet. Only while it is stopped. */
  saveData(path: string): Promise<void>;
  /** Its data is what was saved there, or nothing at all. Only while it is stopped, not for data kept in a place. */
  replaceData(path: string | undefined): Promise<void>;
}

export interface ZooKeeperPlace {
  /** A free one by default. */
  readonly port?: number;
  /** Where data is kept; by default in a temporary directory. */
  readonly dataPath?: string;
  readonly seat?: EnsembleSeat;
}

/** One of several that answer only together (zookeeper-ensemble.ts). */
export interface EnsembleSeat {
  /** From 1. */
  readonly id: number;
  /** `host:port:port` of each, in the order of ids: where they follow, and where they elect. */
  readonly peers: readonly string[];
  /** The container whose network all of them share. */
  readonly networkOf?: string;
}

const run = promisify(execFile);
const jarPath = '/usr/share/java/zookeeper.jar';
const logJarPath = '/usr/share/java/slf4j-nop.jar';
const mainClass = 'org.apache.zookeeper.server.quorum.QuorumPeerMain';
/** However this process ends, also by kill -9, its end of the pipe is closed then, and ZooKeeper is killed. */
const watchdogScript = '"$@" >/dev/null <&- & echo $!; read -r _; kill -9 $!; wait';
const host = '127.0.0.1';
/** Where images of ZooKeeper look for their configuration, and what ours says of data: the official one's too. */
const containerConfigPath = '/conf/zoo.cfg';
const containerDataPath = '/data';
/** Three of them beside the servers of a test: small and soon up. Any JVM reads this. */
const javaOptions = '-Xmx128m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC';
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
  const server = await makeZooKeeper(place);
  try {
    await server.start();
  } catch (error) {
    await server.remove();
    throw error;
  }
  return server;
}

/** As `runZooKeeper`, and not started. */
export async function makeZooKeeper(place: ZooKeeperPlace = {}): Promise<LocalZooKeeper> {
  const reason = await missingZooKeeper();
  if (reason !== undefined) throw new Error(reason);
  return (await hasPackage()) ? packaged(place) : contained(place);
}

/** A port of 127.0.0.1 that was free just now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Whether Debian's package runs here, which needs no container. */
export async function hasPackage(): Promise<boolean> {
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
  const dataPath = join(absolute(directory), 'data');
  await writeFile(configPath, configurationText(dataPath, host, port, place.seat));
  const writeSeat = async (): Promise<void> => {
    await mkdir(dataPath, { recursive: true });
    if (place.seat !== undefined) await writeFile(join(dataPath, 'myid'), `${place.seat.id}\n`);
  };
  await writeSeat();
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
      const java = ['java', ...javaOptions.split(' ')];
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
    async saveData(path) {
      await cp(dataPath, path, { recursive: true });
    },
    async replaceData(path) {
      await rm(dataPath, { recursive: true, force: true });
      if (path !== undefined) await cp(path, dataPath, { recursive: true });
      await writeSeat();
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
  const network =
    place.seat?.networkOf === undefined
      ? ['--publish', `${host}:${port}:${port}`]
      : ['--network', `container:${place.seat.networkOf}`];
  const volume =
    place.dataPath === undefined
      ? []
      : ['--volume', `${join(absolute(place.dataPath), 'data')}:${containerDataPath}`];
  const create = async (data: string | undefined): Promise<void> => {
    const environment = ['--env', `JAVA_TOOL_OPTIONS=${javaOptions}`];
    await docker('create', '--name', name, ...network, ...environment, ...volume, image);
    const config = configurationText(containerDataPath, '0.0.0.0', port, place.seat);
    await copyText(name, config, containerConfigPath);
    if (data !== undefined) await docker('cp', `${data}/.`, `${name}:${containerDataPath}`);
    if (place.seat !== undefined) {
      await copyText(name, `${place.seat.id}\n`, `${containerDataPath}/myid`);
    }
  };
  await create(undefined);
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
    async saveData(path) {
      await docker('cp', `${name}:${containerDataPath}`, path);
    },
    async replaceData(path) {
      await docker('rm', '--force', '--volumes', name);
      await create(path);
    },
    async remove() {
      await docker('rm', '--force', '--volumes', name);
    },
  };
}

/** A container that does nothing but hold a network, whose ports are those of this machine. Returns its name. */
export async function holdNetwork(ports: readonly number[]): Promise<string> {
  const name = `catena-network-${process.pid}-${ports[0]}`;
  const publish = ports.flatMap((port) => ['--publish', `${host}:${port}:${port}`]);
  const options = ['--detach', '--name', name, ...publish, '--entrypoint', 'sleep'];
  await docker('run', ...options, zookeeperImage(), 'infinity');
  return name;
}

export async function releaseNetwork(name: string): Promise<void> {
  await docker('rm', '--force', '--volumes', name);
}

/** One text for both ways of running it. */
function configurationText(
  dataPath: string,
  address: string,
  port: number,
  seat: EnsembleSeat | undefined,
): string {
  const servers = seat?.peers.map((peer, index) => `server.${index + 1}=${peer}`) ?? [];
  return [
    `tickTime=${tickMs}`,
    'initLimit=20',
    'syncLimit=10',
    `dataDir=${dataPath}`,
    `clientPortAddress=${address}`,
    `clientPort=${port}`,
    `maxSessionTimeout=${sessionMsMax}`,
    'maxClientCnxns=0',
    'admin.enableServer=false',
    '4lw.commands.whitelist=*',
    ...servers,
    '',
  ].join('\n');
}

async function copyText(container: string, text: string, path: string): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'catena-copy-'));
  const file = join(directory, 'text');
  await writeFile(file, text);
  await docker('cp', file, `${container}:${path}`);
  await rm(directory, { recursive: true });
}

function docker(...args: string[]): Promise<unknown> {
  return run('docker', args);
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
