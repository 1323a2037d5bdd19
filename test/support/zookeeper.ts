/**
 * A real ZooKeeper for integration tests, on its own port and data directory: Debian's package run by the
 * host's Java if both are there, else a container of ZOOKEEPER_IMAGE. Without either it says what to install.
 *
 * Invariant: `start()` and `resume()` return once it answers; `remove()` leaves no process, container or file.
 */

import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

export interface TestZooKeeper {
  /** `host:port`, the same after each start. */
  readonly connectString: string;
  readonly port: number;
  start(): Promise<void>;
  /** Without a chance to say goodbye; sessions stay in its data. */
  stop(): Promise<void>;
  /** It keeps its connections and answers nothing. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Stops it and deletes its data. */
  remove(): Promise<void>;
}

const run = promisify(execFile);
const jarPath = '/usr/share/java/zookeeper.jar';
const logJarPath = '/usr/share/java/slf4j-nop.jar';
const mainClass = 'org.apache.zookeeper.server.quorum.QuorumPeerMain';
/** However the tests end, also by kill -9, their end of the pipe is closed then, and ZooKeeper is killed. */
const watchdogScript = '"$@" >/dev/null <&- & echo $!; read -r _; kill -9 $!; wait';
const host = '127.0.0.1';
const containerPort = 2181;
const imageDefault = 'zookeeper:3.8';
/** Small, so that session timeouts from 1 s work. */
const tickMs = 500;
/** Large, so that a test can tell a closed session from one that timed out. */
const sessionMsMax = 120_000;
const startMsMax = 60_000;
const probeMsMax = 1_000;
const probePauseMs = 50;

/** A started ZooKeeper. Where none can run: an error in CI, else undefined, with `skip` told why. */
export async function startZooKeeper(
  skip: (reason: string) => void,
): Promise<TestZooKeeper | undefined> {
  const reason = await missing();
  if (reason === undefined) {
    const server = (await hasPackage()) ? await packaged() : await contained();
    await server.start();
    return server;
  }
  if (process.env['CI'] === 'true') throw new Error(reason);
  skip(reason);
  return undefined;
}

/** A port of 127.0.0.1 that was free just now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function missing(): Promise<string | undefined> {
  if ((await hasPackage()) || (await succeeds('docker', ['info']))) return undefined;
  return (
    'no ZooKeeper to test with: install Java and ZooKeeper ' +
    '(Debian: apt-get install --no-install-recommends zookeeper default-jre-headless), or run Docker'
  );
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

async function packaged(): Promise<TestZooKeeper> {
  const directory = await mkdtemp(join(tmpdir(), 'catena-zookeeper-'));
  const port = await freePort();
  const configPath = join(directory, 'zoo.cfg');
  await writeFile(
    configPath,
    [
      `tickTime=${tickMs}`,
      `dataDir=${join(directory, 'data')}`,
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
    async start() {
      const java = ['java', '-Xmx128m', '-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC'];
      const args = ['-c', watchdogScript, 'zookeeper', ...java];
      // Its own group: a Ctrl-C in the terminal ends the tests, and they end it.
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
      await rm(directory, { recursive: true, force: true });
    },
  };
}

async function contained(): Promise<TestZooKeeper> {
  const image = process.env['ZOOKEEPER_IMAGE'] ?? imageDefault;
  const port = await freePort();
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
  await docker(
    'create',
    '--name',
    name,
    '--publish',
    `${host}:${port}:${containerPort}`,
    ...Object.entries(variables).flatMap(([key, value]) => ['--env', `${key}=${value}`]),
    image,
  );
  return {
    connectString: `${host}:${port}`,
    port,
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

async function untilReady(port: number): Promise<void> {
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

/**
 * Ends a session at the service, as if it had timed out: takes the session over and closes it. ZooKeeper derives a
 * session's password from its id alone. Its owner is stopped meanwhile, or it would connect anew and take it back.
 */
export async function expireSession(
  port: number,
  sessionId: bigint,
  ownerProcessId: number,
): Promise<void> {
  const name = `0x${sessionId.toString(16)}`;
  process.kill(ownerProcessId, 'SIGSTOP');
  try {
    await takeOverAndClose(port, sessionId);
    while ((await fourLetterWord(port, 'dump')).includes(name)) await sleep(probePauseMs);
  } finally {
    process.kill(ownerProcessId, 'SIGCONT');
  }
}

async function takeOverAndClose(port: number, sessionId: bigint): Promise<void> {
  const hello = Buffer.alloc(44);
  hello.writeInt32BE(10_000, 12);
  hello.writeBigInt64BE(BigInt.asIntN(64, sessionId), 16);
  hello.writeInt32BE(16, 24);
  sessionPassword(sessionId).copy(hello, 28);
  const closeSession = Buffer.alloc(8);
  closeSession.writeInt32BE(1, 0);
  closeSession.writeInt32BE(-11, 4);
  const packets = Buffer.concat([packet(hello), packet(closeSession)]);
  await new Promise<void>((resolve) => {
    const socket = connect({ host, port }, () => socket.write(packets));
    socket.setTimeout(probeMsMax, () => socket.destroy());
    socket.on('error', () => socket.destroy());
    // The service closes it when the session is closed.
    socket.on('close', () => resolve());
    socket.resume();
  });
}

function packet(body: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeInt32BE(body.length);
  return Buffer.concat([length, body]);
}

/** `new java.util.Random(sessionId ^ 0xB3415C00L).nextBytes(16)` */
function sessionPassword(sessionId: bigint): Buffer {
  const multiplier = 0x5deece66dn;
  let seed = BigInt.asUintN(48, BigInt.asUintN(64, sessionId) ^ 0xb3415c00n ^ multiplier);
  const password = Buffer.alloc(16);
  for (let offset = 0; offset < password.length; offset += 4) {
    seed = BigInt.asUintN(48, seed * multiplier + 0xbn);
    password.writeInt32LE(Number(BigInt.asIntN(32, seed >> 16n)), offset);
  }
  return password;
}
