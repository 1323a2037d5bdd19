/** A server under supervision: what supervisor.ts needs, from the real parts. */
import { join } from 'node:path';
import type { Coordinator } from '../../coordination/coordinator.js';
import { readCheckedJson } from '../../log/checked-json.js';
import { setDataAside } from '../../log/damaged-data.js';
import { identityName } from '../../log/data-directory.js';
import type { Disk } from '../../log/disk.js';
import { nodeDisk } from '../../log/node-disk.js';
import { formatAddress } from '../../protocol/address.js';
import { dateOf, delay, runtime } from '../../runtime/runtime.js';
import { CatenaServer } from '../server.js';
import { checkOptions, segmentBytesFor, type ServerOptions } from '../server-options.js';
import { roomOf } from './disk-room.js';
import { type Itself, lastChain } from './last-chain.js';
import { Supervisor, type SupervisorHost } from './supervisor.js';

export interface SupervisedOptions extends Omit<ServerOptions, 'coordinator'> {
  /** A new one for each life, and for each question between two. */
  readonly coordinator: () => Coordinator;
}

export type SupervisedServer = Supervisor<CatenaServer>;

/**
 * How long damaged data waits for another member, beyond the grace in which a full outage waits for all:
 * processes that are started together take some seconds to be seen.
 */
const othersExtraMs = 5_000;

/** Begins at once; what becomes of it, its `ended` and its lines tell. Throws BadRequestError. */
export function superviseServer(options: SupervisedOptions): SupervisedServer {
  const { dataPath, onLine, disk = nodeDisk } = options;
  const { advertise, listen, reviveGraceMs, logRetainBytes } = checkOptions(options);
  const address = advertise ?? formatAddress(listen);
  const host: SupervisorHost<CatenaServer> = {
    address,
    start: async () => {
      const coordinator = options.coordinator();
      try {
        return await CatenaServer.start({ ...options, coordinator });
      } catch (error) {
        await coordinator.close();
        throw error;
      }
    },
    room: () => roomOf(disk, dataPath, segmentBytesFor(logRetainBytes)),
    lastChain: async (signal) => {
      const itself = await itselfOf(disk, dataPath, address);
      const coordinator = options.coordinator();
      const done = new AbortController();
      try {
        const timeout = delay(reviveGraceMs + othersExtraMs, {
          signal: AbortSignal.any([signal, done.signal]),
        });
        return await lastChain({ coordinator, itself, timeout });
      } finally {
        done.abort();
        await coordinator.close();
      }
    },
    setDataAside: () => setDataAside(dataPath, dateOf(runtime.wallMs()), disk),
    onLine,
    nowMs: () => runtime.monotonicMs(),
    pause: (ms, signal) => delay(ms, { signal }),
  };
  return new Supervisor(host);
}

/** Damage to the identity itself is no reason to give up: the address is known besides. */
async function itselfOf(disk: Disk, dataPath: string, address: string): Promise<Itself> {
  const identity = await readCheckedJson(disk, join(dataPath, identityName)).catch(() => undefined);
  const { serverId, clusterId } = identity ?? {};
  return {
    address,
    ...(typeof serverId === 'string' ? { serverId } : {}),
    ...(typeof clusterId === 'string' ? { clusterId } : {}),
  };
}
