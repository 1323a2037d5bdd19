/** `kv-server recover`: shows what recovering a cluster with one server's data may lose, and does it on demand. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Coordinator, Registration } from '../coordination/coordinator.js';
import { RefusedToStartError } from '../errors.js';
import {
  carryOutRecovery,
  planRecovery,
  type RecoveryPermissions,
  type RecoveryPlan,
} from '../server/operator-recovery.js';
import { listed } from '../text.js';

export interface RecoverArguments {
  /** The name of the cluster that is recovered. */
  readonly cluster: string;
  readonly dataPath: string;
  readonly permissions: RecoveryPermissions;
  /** Without it nothing is changed. */
  readonly isConfirmed: boolean;
}

/** How long the list of running servers is waited for, once ZooKeeper answers. */
const listMs = 3_000;

/** The coordinator is started and closed here. */
export async function runRecover(
  { cluster, dataPath, permissions, isConfirmed }: RecoverArguments,
  coordinator: Coordinator,
  write: (text: string) => void,
): Promise<void> {
  const registered = new Promise<readonly Registration[]>((resolve) => {
    coordinator.start({ onChain: () => {}, onServers: resolve, onSession: () => {} });
  });
  try {
    const plan = await planRecovery(dataPath, coordinator, permissions);
    refuseBesideMembers(plan, await Promise.race([registered, sleep(listMs, [])]));
    write(planText(plan, cluster));
    if (!isConfirmed) {
      write('Nothing was changed. To do it, run the same command with --yes.\n');
      return;
    }
    await carryOutRecovery(plan, coordinator);
    write('Done. Start this server now; the others join it.\n');
  } finally {
    await coordinator.close();
  }
}

/** Running members still serve, and know the last good configuration: nothing has to be given up then. */
function refuseBesideMembers(
  { configuration, lastKnown }: RecoveryPlan,
  registered: readonly Registration[],
): void {
  const [self] = configuration.members;
  const running = registered.filter(
    ({ serverId }) =>
      serverId !== self?.serverId &&
      lastKnown.members.some((member) => member.serverId === serverId),
  );
  if (running.length === 0) return;
  throw new RefusedToStartError(
    `${listed(running.map(({ address }) => address))} of the last chain still run. If they serve, write back the ` +
      'configuration that they log as lastGood (docs/operations.md); if they do not, stop them first',
  );
}

function planText({ configuration, lastKnown, ...data }: RecoveryPlan, cluster: string): string {
  const others = lastKnown.members.filter(
    ({ serverId }) => serverId !== configuration.members[0]?.serverId,
  );
  const isMember = others.length < lastKnown.members.length;
  const loss = isMember
    ? 'This server was a member of the last chain that it knows of, so it holds every write that\n' +
      'was acknowledged up to then. Lost is what a later chain acknowledged without it.'
    : 'This server was NOT a member of the last chain that it knows of. Writes that were\n' +
      'acknowledged since it was removed are lost, unless a member is recovered instead.';
  return (
    `Data: ${data.keys} keys, log to ${data.lastSeq}, known committed to ${data.commitSeq}.\n` +
    `Last known: epoch ${lastKnown.epoch}, ${lastKnown.members.map((member) => member.address).join(' > ')}.\n` +
    `${loss}\n` +
    `New: generation ${configuration.generation}, epoch ${configuration.epoch}, this server alone, as cluster ` +
    `'${cluster}' (/catena/${cluster}/chain).\n`
  );
}
