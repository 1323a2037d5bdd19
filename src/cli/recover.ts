/** `kv-server recover`: shows what recovering a cluster with one server's data may lose, and does it on demand. */
import type { Coordinator } from '../coordination/coordinator.js';
import {
  carryOutRecovery,
  planRecovery,
  type RecoveryPermissions,
  type RecoveryPlan,
} from '../server/operator-recovery.js';

export interface RecoverArguments {
  readonly dataPath: string;
  readonly permissions: RecoveryPermissions;
  /** Without it nothing is changed. */
  readonly isConfirmed: boolean;
}

/** The coordinator is started and closed here. */
export async function runRecover(
  { dataPath, permissions, isConfirmed }: RecoverArguments,
  coordinator: Coordinator,
  write: (text: string) => void,
): Promise<void> {
  coordinator.start({ onChain: () => {}, onServers: () => {}, onSession: () => {} });
  try {
    const plan = await planRecovery(dataPath, coordinator, permissions);
    write(planText(plan));
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

function planText({ configuration, lastKnown, ...data }: RecoveryPlan): string {
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
    `New: generation ${configuration.generation}, epoch ${configuration.epoch}, this server alone.\n`
  );
}
