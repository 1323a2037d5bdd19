/**
 * The rules by which one configuration follows another (R1, R2, R3, R5, R10). Pure: each function
 * takes the configuration that was read and gives the one to write in its place, by compare-and-set.
 *
 * Invariant: epoch + 1, a new configId, at least one old member (by serverId) kept.
 */
import {
  type ChangeKind,
  type Configuration,
  firstEpochOf,
  generationOf,
  type Member,
  sameMember,
} from './configuration.js';
import type { Registration } from './coordinator.js';

export interface ChangeBy {
  /** Random, unique. */
  readonly configId: string;
  /** Address of the writer. */
  readonly by: string;
  readonly reason: string;
}

/**
 * The first configuration of a cluster: this server alone (R4). With data from a backup `epoch` is above all
 * epochs of that data, since along a log they never fall.
 */
export function firstConfiguration(
  clusterId: string,
  self: Member,
  change: ChangeBy,
  epoch = 1,
): Configuration {
  return {
    clusterId,
    generation: generationOf(epoch),
    epoch,
    configId: change.configId,
    members: [self],
    left: [],
    change: { kind: 'first', reason: change.reason, by: change.by },
    restartEpoch: 0,
  };
}

/** Without the removed ones, the order of the rest kept (R2). Undefined if nobody would stay. */
export function withoutMembers(
  current: Configuration,
  removed: readonly Member[],
  change: ChangeBy,
): Configuration | undefined {
  const members = current.members.filter(
    (member) => !removed.some((gone) => sameMember(gone, member)),
  );
  return members.length === 0 ? undefined : next(current, members, [], 'removal', change);
}

/** With the learner at the tail's end (R3). Undefined while an earlier incarnation of it is listed. */
export function withLearner(
  current: Configuration,
  learner: Member,
  change: ChangeBy,
): Configuration | undefined {
  if (current.members.some(({ serverId }) => serverId === learner.serverId)) return undefined;
  return next(current, [...current.members, learner], [], 'admission', change);
}

/** The same members: only decides a compare-and-set whose outcome is unknown (R3). */
export function fenced(current: Configuration, change: ChangeBy): Configuration {
  return next(current, current.members, [], 'fence', change);
}

/** Without the leaver, who is named so that nobody waits for its leases (R10). Undefined for the last one. */
export function withoutLeaver(
  current: Configuration,
  leaver: Member,
  change: ChangeBy,
): Configuration | undefined {
  const members = current.members.filter((member) => !sameMember(member, leaver));
  return members.length === 0 ? undefined : next(current, members, [leaver], 'leave', change);
}

/**
 * The returned members in the old order under their new incarnations (R5 b; with one of them, R5 a).
 * Members that did not return are dropped.
 */
export function revived(
  current: Configuration,
  returned: readonly Member[],
  change: ChangeBy,
): Configuration {
  const members = current.members.flatMap((old) => {
    const back = returned.find((member) => member.serverId === old.serverId);
    return back === undefined ? [] : [{ ...back }];
  });
  const configuration = next(current, members, [], 'restart', change);
  return { ...configuration, restartEpoch: configuration.epoch };
}

/**
 * A new generation of which only `self` is a member, by the operator's word (R4): it carries on with
 * what this server has, whatever others hold. Its process must be restarted to act in it (R5).
 */
export function recovered(
  known: Configuration,
  found: Configuration | undefined,
  self: Member,
  change: ChangeBy,
): Configuration {
  const generation = Math.max(known.generation, found?.generation ?? 0) + 1;
  const epoch = firstEpochOf(generation);
  return {
    ...next(known, [self], [], 'recover', change),
    generation,
    epoch,
    restartEpoch: epoch,
  };
}

/**
 * How a member stands by what is registered (a hint, it may be old): alive as listed, restarted (the
 * newest registration of the server, they come oldest first, is another incarnation), or gone.
 */
export function standingOf(
  member: Member,
  registered: readonly Registration[],
): 'alive' | 'restarted' | 'gone' {
  let standing: 'alive' | 'restarted' | 'gone' = 'gone';
  for (const server of registered) {
    if (server.serverId !== member.serverId) continue;
    standing = server.incarnation === member.incarnation ? 'alive' : 'restarted';
  }
  return standing;
}

function next(
  current: Configuration,
  members: readonly Member[],
  left: readonly Member[],
  kind: ChangeKind,
  change: ChangeBy,
): Configuration {
  return {
    clusterId: current.clusterId,
    generation: current.generation,
    epoch: current.epoch + 1,
    configId: change.configId,
    members,
    left,
    change: { kind, reason: change.reason, by: change.by },
    restartEpoch: current.restartEpoch,
  };
}
