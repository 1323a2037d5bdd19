/**
 * kv-server: one server of a chain, or a whole chain in one process. Reads the command line, prints
 * what a person must see on standard output, structured logs on standard error. `kv-server.ts` runs it
 * on the real disk; a test runs the very same program on a disk with faults.
 */
import { parseArgs } from 'node:util';
import type { Coordinator } from '../coordination/coordinator.js';
import { BadRequestError, CatenaError } from '../errors.js';
import {
  clusterDefault,
  leaseMsDefault,
  logRetainBytesDefault,
  scrubIntervalMsMax,
} from '../limits.js';
import type { Disk } from '../log/disk.js';
import { createLogger, type LogLevel } from '../logger.js';
import { formatAddress, parseAddress, parseAddresses } from '../protocol/address.js';
import { embeddedServersMax, startEmbeddedCluster } from '../server/embedded.js';
import { superviseServer } from '../server/supervision/supervised-server.js';
import { optionRanges, replicasDefault, reviveGraceMsDefault } from '../server/server-options.js';
import { sizeText } from '../text.js';
import { releaseText } from './release.js';
import { runRecover } from './recover.js';
import { runRestore } from './restore.js';

/** Exit codes, documented in `--help` and the README. */
const exitCode = { done: 0, halted: 1, usage: 2, refused: 3 } as const;

const help = `Usage: kv-server <zookeeper> <listen> [options]
       kv-server --embedded [N] [--listen [host:]port] [options]
       kv-server recover <zookeeper> --data DIR [--cluster NAME] [--yes]
       kv-server restore <file> --data DIR
       kv-server restore --check <file>

  <zookeeper>   [host:]port, or several with commas
  <listen>      [host:]port for clients and servers; host defaults to 127.0.0.1
  --embedded    a chain of N (3) servers in this process, on consecutive ports from
                --listen (5000), without ZooKeeper; data is kept

Options
  --data DIR             where data is kept (catena-data/<port>; catena-data/embedded)
  --cluster NAME         one ZooKeeper serves several clusters (${clusterDefault})
  --advertise HOST:PORT  how clients and other servers reach this one (as it listens)
  --replicas N           members of the chain; further servers are spares (${replicasDefault})
  --min-replicas N       with fewer members writes are refused (1)
  --lease MS             how long a lost member may delay writes at most (${leaseMsDefault})
  --revive-grace MS      after a full outage, how long to wait for missing members (${reviveGraceMsDefault})
  --log-retain SIZE      log kept behind the newest snapshot, so that a server that was away for a
                         while needs only what it missed; as in 64M (${sizeText(logRetainBytesDefault)})
  --scrub-hours N        read and check everything on disk so often, at low speed; 0: never (24)
  --moved-data           once, after the data was moved to another file system: no copy is left
  --log-level LEVEL      debug, info, warn, error, silent: JSON lines on standard error (warn)
  --help, --version

recover: when a server refuses to start because ZooKeeper's state does not fit its data. Makes the
data in DIR the whole truth, as a new generation; says what may be lost, and does it with --yes.
Refuses while /chain is at least as new as the data, unless --discard-later-chain says that the
servers of that chain will never come back; and with a server that was no member of the last chain it knows of,
unless --non-member says that no member is left.

restore: makes DIR, absent or empty, the data of a new server that founds a new cluster with a backup of
'kv-client backup'. The whole file is verified before anything is changed; --check does only that. Start that
server first, with a --cluster that has no chain yet, the others after it on empty directories; or, for an
embedded chain, restore to DIR/server-1 and start with --embedded --data DIR.

SIGTERM and SIGINT leave the chain in good order; a second one stops at once.
Exit codes: 0 stopped as asked, 1 halted (the last line says why), 2 wrong usage,
            3 refused to start (data or coordination do not allow it).
`;

const logLevels: readonly string[] = ['debug', 'info', 'warn', 'error', 'silent'];

interface Arguments {
  readonly values: Readonly<Record<string, string | boolean | undefined>>;
  readonly positionals: readonly string[];
}

function parse(argv: string[]): Arguments {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean' } as const;
  try {
    const parsed = parseArgs({
      args: argv,
      allowPositionals: true,
      options: {
        data: text,
        cluster: text,
        advertise: text,
        replicas: text,
        'min-replicas': text,
        lease: text,
        'revive-grace': text,
        'log-retain': text,
        'scrub-hours': text,
        'moved-data': flag,
        'log-level': text,
        listen: text,
        embedded: flag,
        yes: flag,
        check: flag,
        'discard-later-chain': flag,
        'non-member': flag,
        help: flag,
        version: flag,
      },
    });
    for (const [name, value] of Object.entries(parsed.values)) {
      if (value === '') throw new BadRequestError(`--${name} is empty`);
    }
    return parsed;
  } catch (error) {
    if (error instanceof BadRequestError) throw error;
    throw new BadRequestError(error instanceof Error ? error.message : String(error));
  }
}

export interface Surroundings {
  /** Absent: the real one. For a single server only. */
  readonly disk?: Disk;
}

/** Runs the program and ends the process with its exit code. */
export function runToExit(argv: string[], surroundings: Surroundings = {}): void {
  main(argv, surroundings).then((code) => process.exit(code), fail);
}

async function main(argv: string[], surroundings: Surroundings): Promise<number> {
  // Nobody reads what is printed any more: no reason to stop serving.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  // A file size limit (ulimit -f) is the error EFBIG of a write, handled as a full disk; not a death.
  process.on('SIGXFSZ', () => undefined);
  const parsed = parse(argv);
  const { values } = parsed;
  if (values['help'] === true) {
    process.stdout.write(help);
    return exitCode.done;
  }
  if (values['version'] === true) {
    process.stdout.write(`${releaseText()}\n`);
    return exitCode.done;
  }
  if (parsed.positionals[0] === 'recover') return recoverCluster(parsed);
  if (parsed.positionals[0] === 'restore') {
    const operands = parsed.positionals.slice(1);
    const dataPath = textOf(values['data']);
    const isCheck = values['check'] === true;
    const terminal = process.stderr.isTTY ? process.stderr : undefined;
    await runRestore(
      { operands, dataPath, isCheck },
      (text) => process.stdout.write(text),
      terminal,
    );
    return exitCode.done;
  }
  return values['embedded'] === true ? runEmbedded(parsed) : runServer(parsed, surroundings);
}

async function recoverCluster({ values, positionals }: Arguments): Promise<number> {
  const [, zookeeper, ...rest] = positionals;
  const dataPath = textOf(values['data']);
  if (zookeeper === undefined || dataPath === undefined || rest.length > 0) {
    throw new BadRequestError(
      'give <zookeeper> and --data, as in: recover 2181 --data catena-data/5000',
    );
  }
  const connectString = parseAddresses(zookeeper).map(formatAddress).join(',');
  const { cluster, logger } = commonOptions(values, 'recover');
  const coordinator = (await zooKeeperCoordinators(connectString, cluster, logger))();
  const permissions = {
    discardLater: values['discard-later-chain'] === true,
    nonMember: values['non-member'] === true,
  };
  const isConfirmed = values['yes'] === true;
  await runRecover({ cluster, dataPath, permissions, isConfirmed }, coordinator, (text) => {
    process.stdout.write(text);
  });
  return exitCode.done;
}

async function runServer(
  { values, positionals }: Arguments,
  surroundings: Surroundings,
): Promise<number> {
  const [zookeeper, listenText, ...rest] = positionals;
  if (zookeeper === undefined || listenText === undefined || rest.length > 0) {
    throw new BadRequestError('give <zookeeper> and <listen>, for instance: kv-server 2181 5000');
  }
  if (values['listen'] !== undefined) {
    throw new BadRequestError(
      '--listen goes with --embedded; here <listen> is the second argument',
    );
  }
  const connectString = parseAddresses(zookeeper).map(formatAddress).join(',');
  const listen = parseAddress(listenText);
  if (listen.port === 0) throw new BadRequestError('the port must be from 1 to 65535');
  const { cluster, advertise, ...options } = commonOptions(values, formatAddress(listen));
  if (advertise === undefined && (listen.host === '0.0.0.0' || listen.host === '::')) {
    throw new BadRequestError(
      `give --advertise HOST:PORT: nobody reaches this server at ${formatAddress(listen)}`,
    );
  }
  const server = superviseServer({
    ...surroundings,
    ...options,
    ...(advertise === undefined ? {} : { advertise: formatAddress(parseAddress(advertise)) }),
    cluster,
    listen,
    dataPath: textOf(values['data']) ?? `catena-data/${listen.port}`,
    coordinator: await zooKeeperCoordinators(connectString, cluster, options.logger),
    coordinationName: `ZooKeeper at ${connectString}`,
    onLine: printLine,
  });
  onSignals(
    () => server.leave(),
    () => server.kill(),
  );
  const reason = await server.ended;
  if (reason === undefined) {
    printLine(`${server.address} stopped`);
    return exitCode.done;
  }
  throw reason;
}

async function runEmbedded({ values, positionals }: Arguments): Promise<number> {
  if (positionals.length > 1) throw new BadRequestError('--embedded takes one number of servers');
  for (const name of ['advertise', 'replicas', 'min-replicas', 'revive-grace']) {
    if (values[name] !== undefined) throw new BadRequestError(`--${name} is not for --embedded`);
  }
  const listen = parseAddress(textOf(values['listen']) ?? '5000');
  const { cluster, logger, leaseMs, logRetainBytes, scrubIntervalMs, acceptMoved } = commonOptions(
    values,
    'embedded',
  );
  const chain = await startEmbeddedCluster({
    servers:
      positionals[0] === undefined
        ? 3
        : numberOf('--embedded', positionals[0], [1, embeddedServersMax]),
    host: listen.host,
    basePort: listen.port,
    cluster,
    dataPath: textOf(values['data']) ?? 'catena-data/embedded',
    ...(leaseMs === undefined ? {} : { leaseMs }),
    ...(logRetainBytes === undefined ? {} : { logRetainBytes }),
    ...(scrubIntervalMs === undefined ? {} : { scrubIntervalMs }),
    acceptMoved,
    logger,
    onLine: printLine,
    onHalt: (number, reason) => printLine(`server ${number} halted: ${reason.message}`),
  });
  await new Promise<void>((resolve) => {
    onSignals(
      async () => resolve(),
      async () => resolve(),
    );
  });
  await chain.stop();
  printLine('stopped');
  return exitCode.done;
}

function commonOptions(values: Arguments['values'], server: string) {
  const level = textOf(values['log-level']) ?? 'warn';
  if (!logLevels.includes(level)) {
    throw new BadRequestError(`--log-level '${level}' is not known; it is ${logLevels.join(', ')}`);
  }
  const numbers = {
    replicas: optionalNumber('--replicas', values['replicas'], optionRanges.replicas),
    minReplicas: optionalNumber('--min-replicas', values['min-replicas'], optionRanges.minReplicas),
    leaseMs: optionalNumber('--lease', values['lease'], optionRanges.leaseMs),
    reviveGraceMs: optionalNumber(
      '--revive-grace',
      values['revive-grace'],
      optionRanges.reviveGraceMs,
    ),
    logRetainBytes: optionalSize('--log-retain', values['log-retain']),
    scrubIntervalMs: optionalHours('--scrub-hours', values['scrub-hours']),
  };
  return {
    ...(Object.fromEntries(
      Object.entries(numbers).filter(([, value]) => value !== undefined),
    ) as Partial<Record<keyof typeof numbers, number>>),
    acceptMoved: values['moved-data'] === true,
    cluster: textOf(values['cluster']) ?? clusterDefault,
    advertise: textOf(values['advertise']),
    logger: createLogger(level as LogLevel, { server }, (line) => process.stderr.write(line)),
  };
}

/** Loaded only where ZooKeeper is used: everything else works without its native addon. */
async function zooKeeperCoordinators(
  connectString: string,
  cluster: string,
  logger: ReturnType<typeof createLogger>,
): Promise<() => Coordinator> {
  const { ZooKeeperCoordinator } = await import('../coordination/zookeeper.js');
  return () => new ZooKeeperCoordinator({ connectString, cluster, logger });
}

/** The first signal asks for an orderly end, a second one does not wait for it. */
function onSignals(leave: () => Promise<void>, stop: () => Promise<void>): void {
  let asked = false;
  const onSignal = (): void => {
    const act = asked ? stop : leave;
    asked = true;
    act().catch(fail);
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
}

function textOf(value: string | boolean | undefined): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

type Range = readonly [number, number];

function numberOf(name: string, text: string, [min, max]: Range): number {
  if (/^\d{1,9}$/.test(text) && Number(text) >= min && Number(text) <= max) return Number(text);
  throw new BadRequestError(`${name} takes a whole number from ${min} to ${max}, not '${text}'`);
}

function optionalNumber(
  name: string,
  value: string | boolean | undefined,
  range: Range,
): number | undefined {
  return typeof value === 'string' ? numberOf(name, value, range) : undefined;
}

/** Milliseconds. */
function optionalHours(name: string, value: string | boolean | undefined): number | undefined {
  if (typeof value !== 'string') return undefined;
  const hoursMax = scrubIntervalMsMax / 3_600_000;
  if (!/^\d{1,9}(\.\d{1,9})?$/.test(value) || Number(value) > hoursMax) {
    throw new BadRequestError(
      `${name} takes a number of hours from 0 to ${hoursMax}, such as 0.5, not '${value}'`,
    );
  }
  return Math.round(Number(value) * 3_600_000);
}

/** Bytes; K, M and G are powers of 1024. */
function optionalSize(name: string, value: string | boolean | undefined): number | undefined {
  if (typeof value !== 'string') return undefined;
  const [, digits, unit] = /^(\d{1,13})([KMG]?)(?:i?B)?$/i.exec(value) ?? [];
  if (digits === undefined || unit === undefined) {
    throw new BadRequestError(`${name} takes a size such as 1048576, 64M or 1G, not '${value}'`);
  }
  return Number(digits) * 1024 ** ' KMG'.indexOf(unit === '' ? ' ' : unit.toUpperCase());
}

function printLine(line: string): void {
  process.stdout.write(`${new Date().toISOString()} ${line}\n`);
}

/** The last line of a server says why it ended. */
function fail(error: unknown): never {
  const text = error instanceof Error ? error.message : String(error);
  const code = error instanceof CatenaError ? error.code : undefined;
  process.stderr.write(`kv-server: ${code === undefined ? '' : `${code}: `}${text}\n`);
  if (code === 'BAD_REQUEST') {
    process.stderr.write("Try 'kv-server --help'.\n");
    process.exit(exitCode.usage);
  }
  if (code === undefined && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  process.exit(refusals.has(code ?? '') ? exitCode.refused : exitCode.halted);
}

const refusals = new Set(['REFUSED_TO_START', 'DATA_DAMAGED', 'WRONG_CLUSTER', 'COORDINATION']);
