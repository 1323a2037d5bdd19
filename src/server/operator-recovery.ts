/**
 * `kv-server recover`: the operator's way out when ZooKeeper no longer fits the data (R4). Makes the
 * data of one server the whole truth, as a new generation. Nothing happens without the operator's yes;
 * what only other servers hold is given up by it.
 */
import {
  type Configuration,
  formatConfiguration,
  parseConfiguration,
} from '../coordination/configuration.js';
import type { ChainRead, Coordinator } from '../coordination/coordinator.js';
import { recovered } from '../coordination/membership.js';
import { CoordinationError, RefusedToStartError } from '../errors.js';
import { runtime } from '../runtime/runtime.js';
import { checkExistingDataPath } from './data-path.js';
import { recover } from './recovery.js';

export interface RecoveryPlan {
  /** What is to be written. */
  readonly configuration: Configuration;
  /** What this server last adopted. */
  readonly lastKnown: Configuration;
  readonly lastSeq: number;
  readonly commitSeq: number;
  readonly keys: number;
  /** `/chain` as it was read: the write happens only if it is still so. */
  readonly chain: ChainRead;
}

/** What an operator may only do by saying so. */
export interface RecoveryPermissions {
  /** Give up a chain that is as new as the data, or newer. */
  readonly discardLater?: boolean;
  /** Recover with a server that need not have every acknowledged write. */
  readonly nonMember?: boolean;
}

/**
 * Looks at the data and at ZooKeeper; changes nothing. Throws RefusedToStartError if the data never
 * belonged to a cluster, `/chain` is another cluster's, or (unless permitted) it is as new as the data
 * or newer, or the server was no member of the chain it last knew; StorageError, DataDamagedError, CoordinationError.
 */
export async function planRecovery(
  dataPath: string,
  coordinator: Coordinator,
  { discardLater = false, nonMember = false }: RecoveryPermissions = {},
): Promise<RecoveryPlan> {
  await checkExistingDataPath(dataPath);
  const found = await recover(dataPath, { onDurable: () => {}, onFatal: () => {} });
  const { lastKnown, log, data, entryLog, machine } = found;
  const { serverId } = data.identity;
  await log.close();
  await data.close();
  if (lastKnown === undefined) {
    throw new RefusedToStartError(`${dataPath} never belonged to a cluster; start it as usual`);
  }
  const chain = await coordinator.readChain();
  const current = chain.kind === 'found' ? parseConfiguration(chain.data) : undefined;
  if (current !== undefined && current.clusterId !== lastKnown.clusterId) {
    throw new RefusedToStartError(
      `/chain belongs to cluster ${current.clusterId}, the data to ${lastKnown.clusterId}; ` +
        'give this cluster another name with --cluster',
    );
  }
  const isLater = current !== undefined && current.epoch >= lastKnown.epoch;
  const isSame = current?.epoch !== lastKnown.epoch || current.configId === lastKnown.configId;
  if (isLater && isSame && !discardLater) {
    const chain = current.members.map((member) => member.address).join(' > ');
    throw new RefusedToStartError(
      `/chain fits this data or is newer: epoch ${current.epoch}, ${chain}. Start those servers; what they ` +
        'acknowledged would be lost. If none of them ever comes back, say --discard-later-chain',
    );
  }
  const isMember = lastKnown.members.some((member) => member.serverId === serverId);
  if (!isMember && !nonMember) {
    const members = lastKnown.members.map((member) => member.address).join(' > ');
    throw new RefusedToStartError(
      `the server of ${dataPath} was no member of the last chain that it knows of, ${members}: what that chain ` +
        'acknowledged without it would be lost. Recover one of those; if none of them is left, say --non-member',
    );
  }
  const address =
    lastKnown.members.find((member) => member.serverId === serverId)?.address ??
    `server-${serverId.slice(0, 8)}:0`;
  const self = { serverId, incarnation: runtime.uuid(), address };
  const configuration = recovered(lastKnown, current, self, {
    configId: runtime.uuid(),
    by: 'operator',
    reason: `recovered by the operator with the data of ${address}`,
  });
  const { lastSeq, commit: commitSeq } = entryLog;
  return { configuration, lastKnown, lastSeq, commitSeq, keys: machine.table.size, chain };
}

/** Writes the plan's configuration. Throws CoordinationError unless it certainly was written. */
export async function carryOutRecovery(
  plan: RecoveryPlan,
  coordinator: Coordinator,
): Promise<void> {
  const data = formatConfiguration(plan.configuration);
  // By `set` where the node is there: after delete and create, versions would begin anew, and a
  // compare-and-set that is still under way could pass.
  const outcome =
    plan.chain.kind === 'absent'
      ? await coordinator.createChain(data)
      : await coordinator.setChain(data, plan.chain.version);
  if (outcome === 'done') return;
  throw new CoordinationError(
    `writing /chain ended with '${outcome}'; look at it and run the command again`,
  );
}
