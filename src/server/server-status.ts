/** What a server says of itself to `status`, put together from its parts. */
import type { Configuration, Member } from '../coordination/configuration.js';
import type { View } from '../protocol/messages.js';
import type { ScrubStatus, ServerStatus } from '../protocol/status.js';
import type { Replica } from '../replica/replica.js';
import type { Instant } from '../replica/timing.js';
import type { Recovered } from './recovery.js';
import type { ReplicaHost } from './replica-host.js';
import type { Statistics } from './statistics.js';

export interface StatusSources {
  readonly self: Member;
  readonly replica: Replica;
  readonly host: ReplicaHost;
  readonly recovered: Recovered;
  readonly statistics: Statistics;
  readonly clientConnections: number;
  readonly serverConnections: number;
  readonly uptimeMs: number;
  readonly scrub: ScrubStatus | undefined;
}

export async function statusOf(sources: StatusSources, now: Instant): Promise<ServerStatus> {
  const { self, replica, host, recovered, statistics, scrub } = sources;
  const { clientConnections, serverConnections, uptimeMs } = sources;
  const { data, log } = recovered;
  const freeBytes = await data.disk.freeBytes(data.path).catch(() => 0);
  const { machine, snapshots } = host;
  const { receiving, checkpoint } = snapshots;
  const status = replica.status(now);
  const { configuration, role, lastSeq, durableSeq, commitSeq, leaseHolds } = status;
  return {
    ...self,
    role,
    ...(configuration === undefined ? {} : { view: viewOf(configuration) }),
    lastSeq,
    durableSeq,
    commitSeq,
    lease: leaseHolds,
    keys: host.keys,
    tableBytes: host.tableBytes,
    clientConnections,
    serverConnections,
    uptimeMs,
    ops: statistics.list(),
    learners: status.learners.map(({ serverId, link, acked, state }) => {
      const sending = snapshots.sendingTo(link);
      const learner = { serverId, ackedSeq: acked, state };
      return sending === undefined ? learner : { ...learner, sending };
    }),
    ...(receiving === undefined ? {} : { receiving }),
    reason: configuration?.change.reason ?? '',
    waitingFor: replica.waiting(now)?.text ?? '',
    appliedSeq: machine.appliedSeq,
    stateHash: machine.stateHash,
    disk: {
      logFirstSeq: log.firstSeq,
      logBytes: log.bytes,
      snapshotSeq: checkpoint.seq,
      snapshotBytes: checkpoint.bytes,
      freeBytes,
      ...(scrub === undefined ? {} : { scrub }),
    },
  };
}

export function viewOf({ clusterId, generation, epoch, members }: Configuration): View {
  return { clusterId, generation, epoch, members };
}
