/**
 * Why this server does not serve, in words for people: whom or what it waits for. Only says what the
 * other parts decided, and decides nothing itself.
 *
 * Invariant: undefined exactly when clients are answered here, as far as this server's place allows.
 */
import { type Configuration, type Member, sameMember } from '../coordination/configuration.js';
import type { Registration } from '../coordination/coordinator.js';
import { standingOf } from '../coordination/membership.js';
import { counted, listed, secondsText } from '../text.js';
import { closeSeqs } from './admission.js';
import type { Core } from './core.js';
import type { Outlook } from './reconfiguration.js';
import type { Revival } from './revival.js';
import type { Instant } from './timing.js';

export interface Waiting {
  /** Stays the same while only a time or a count in the text changes; names whom it waits for. */
  readonly kind: string;
  readonly text: string;
}

/** How a learner's join stands. */
export interface JoinState {
  /** none: not connected to the tail. asking: it has not answered. */
  readonly step: 'none' | 'asking' | 'snapshot' | 'fed' | 'gated';
  /** Ops that the tail counts as committed and that are not on this disk. */
  readonly behind: number;
}

export interface WaitingFacts {
  readonly now: Instant;
  readonly outlook: Outlook;
  readonly registered: readonly Registration[] | undefined;
  readonly join: JoinState;
  /** This server's log agrees with its predecessor's. */
  readonly settled: boolean;
  readonly leaseHolds: boolean;
  /** This process was a member, and another one wrote the configuration that dropped it. */
  readonly removedBy: Configuration | undefined;
}

export function waitingOf(core: Core, facts: WaitingFacts): Waiting | undefined {
  if (core.role === 'halted') return undefined;
  if (core.diskFull) {
    return { kind: 'disk full', text: 'waits for room on its disk; leaves the chain meanwhile' };
  }
  if (core.leaving) return { kind: 'leaving', text: 'leaves the chain' };
  const { configuration } = core;
  if (configuration === undefined) return beforeAny(core, facts);
  if (core.adopting !== undefined) {
    return { kind: 'adopting', text: `writes epoch ${core.adopting.epoch} to its disk` };
  }
  if (core.knownEpoch > core.epoch) {
    return {
      kind: 'newer epoch',
      text: `waits for ZooKeeper to show epoch ${core.knownEpoch}, of which others told; knows epoch ${core.epoch}`,
    };
  }
  if (core.isMember) return asMember(core, configuration, facts);
  const waiting = asLearner(core, configuration, facts);
  const { removedBy } = facts;
  if (removedBy === undefined) return waiting;
  const why = `removed in epoch ${removedBy.epoch}: ${removedBy.change.reason}`;
  return { ...waiting, text: `${waiting.text} (${why})` };
}

/** No configuration is in force here yet. */
function beforeAny(core: Core, { now, outlook }: WaitingFacts): Waiting {
  const { lastKnown, misfit, proposes } = outlook;
  const { adopting } = core;
  if (adopting !== undefined) {
    return { kind: 'adopting', text: `writes epoch ${adopting.epoch} to its disk` };
  }
  if (proposes !== undefined) {
    return { kind: 'first', text: 'waits for ZooKeeper to take the first /chain' };
  }
  const last = lastKnown === undefined ? '' : `; ${lastChain(lastKnown)}`;
  if (misfit?.kind === 'garbage') {
    return {
      kind: 'garbage',
      text: `waits for an operator: /chain in ZooKeeper holds no valid configuration${last}`,
    };
  }
  if (misfit !== undefined) {
    const left = misfit.sinceMs + core.options.timing.olderChainMs - now.monotonicMs;
    const shown = {
      absent: 'a read of ZooKeeper shows no /chain, but there is data here',
      members: 'a read of ZooKeeper shows no /chain, but members of a chain are registered',
      older: `a read of /chain shows epoch ${misfit.epoch}, this disk is in epoch ${core.epoch}`,
      'another cluster': 'a read of /chain shows another cluster',
    }[misfit.kind];
    return {
      kind: 'older chain',
      text: `waits for ZooKeeper to catch up: ${shown}; refuses to start in ${secondsText(left)}`,
    };
  }
  return { kind: 'coordination', text: `waits for ZooKeeper: /chain was not read yet${last}` };
}

function asMember(
  core: Core,
  configuration: Configuration,
  { now, settled, leaseHolds }: WaitingFacts,
): Waiting | undefined {
  const { predecessor, options } = core;
  if (!settled && predecessor !== undefined) {
    return {
      kind: `settle ${predecessor.address}`,
      text: `waits for ${predecessor.address}, before it in the chain, to settle its log`,
    };
  }
  if (!leaseHolds) {
    return { kind: 'lease', text: 'waits for signs of life of all other members (no lease)' };
  }
  if (!core.isHead) return undefined;
  const { length } = configuration.members;
  if (length < options.minReplicas) {
    const have = counted(length, 'member');
    return {
      kind: 'too few',
      text: `takes no writes: the chain has ${have}, --min-replicas asks for ${options.minReplicas}`,
    };
  }
  const left = core.holdUntilMs - now.monotonicMs;
  if (left <= 0) return undefined;
  return {
    kind: 'hold',
    text: `takes no writes for ${secondsText(left)} more: a former member may still have a lease`,
  };
}

function asLearner(core: Core, configuration: Configuration, facts: WaitingFacts): Waiting {
  const { registered, outlook } = facts;
  if (registered === undefined) {
    return {
      kind: 'registry',
      text: `waits for ZooKeeper to tell which servers are there; ${lastChain(configuration)}`,
    };
  }
  const { revival } = outlook;
  if (revival !== undefined) return asReturned(core, revival, facts);
  const { tail } = core;
  if (tail === undefined) return { kind: 'no tail', text: 'waits for a chain' };
  const { step } = facts.join;
  if (step === 'none') return absentTail(configuration, tail, registered);
  return fed(core, configuration, tail, facts);
}

/** The last chain lists this server under an earlier incarnation. */
function asReturned(core: Core, revival: Revival, { now, outlook }: WaitingFacts): Waiting {
  const { alive, later, missing, earlier, graceMs } = revival;
  if (alive.length > 0) {
    const names = listed(addresses(alive));
    return {
      kind: `alive ${names}`,
      text: `waits for ${names} to take its former process out of the chain`,
    };
  }
  if (later !== undefined) {
    return {
      kind: `later ${later.address}`,
      text: `waits for ZooKeeper: ${later.address} is a member of a later chain than epoch ${core.epoch}, which /chain shows`,
    };
  }
  const sinceMs = outlook.reviveSinceMs ?? now.monotonicMs;
  const graceLeft = sinceMs + graceMs - now.monotonicMs;
  if (missing.length > 0 && graceLeft > 0) {
    const names = listed(addresses(missing));
    return {
      kind: `grace ${names}`,
      text: `waits for ${names} of the last chain, ${secondsText(graceLeft)} more (--revive-grace)`,
    };
  }
  const first = earlier[0];
  if (first !== undefined && outlook.proposes === undefined) {
    return {
      kind: `earlier ${first.address}`,
      text: `waits for ${first.address}, earlier in the last chain, to form the chain of those that are back`,
    };
  }
  return {
    kind: 'forms',
    text: `waits for ZooKeeper to take the chain of those that are back, epoch ${core.epoch + 1}`,
  };
}

function absentTail(
  configuration: Configuration,
  tail: Member,
  registered: readonly Registration[],
): Waiting {
  const what = `${tail.address}, the tail of epoch ${configuration.epoch}`;
  const standings = configuration.members.map((member) => standingOf(member, registered));
  const tailStands = standings.at(-1);
  if (tailStands === 'alive') {
    return {
      kind: `tail silent ${tail.address}`,
      text: `waits for ${what}, which does not answer`,
    };
  }
  const why = tailStands === 'restarted' ? 'which has restarted' : 'which is not registered';
  const there = configuration.members.filter((_, index) => standings[index] !== 'gone');
  const others = there.filter((member) => !sameMember(member, tail));
  const rest =
    there.length === 0
      ? 'no member of the last chain is there'
      : others.length === 0
        ? 'no other member of the last chain is there'
        : `of the last chain ${listed(addresses(others))} ${others.length === 1 ? 'is' : 'are'} there`;
  return { kind: `tail ${tailStands} ${tail.address}`, text: `waits for ${what}, ${why}; ${rest}` };
}

function fed(
  core: Core,
  configuration: Configuration,
  tail: Member,
  { join: { step, behind } }: WaitingFacts,
): Waiting {
  if (step === 'asking') {
    return {
      kind: `asks ${tail.address}`,
      text: `waits for ${tail.address}, the tail of epoch ${configuration.epoch}, to answer its join`,
    };
  }
  if (step === 'snapshot') {
    return { kind: 'snapshot', text: `receives the table from ${tail.address}, the tail` };
  }
  if (step === 'gated') {
    const left = behind === 0 ? '' : `: ${counted(behind, 'op')} behind`;
    return { kind: 'gated', text: `is being admitted by ${tail.address}, the tail${left}` };
  }
  const { length } = configuration.members;
  const isFull = length >= core.options.replicas;
  if (behind > (isFull ? closeSeqs : 0)) {
    return { kind: 'catches up', text: `catches up: ${counted(behind, 'op')} behind` };
  }
  if (isFull) {
    const have = counted(length, 'member');
    return {
      kind: 'spare',
      text: `is a spare: the chain has its ${have} (--replicas ${core.options.replicas})`,
    };
  }
  return {
    kind: `admission ${tail.address}`,
    text: `has caught up; waits for ${tail.address}, the tail, to admit it`,
  };
}

function lastChain({ epoch, members }: Configuration): string {
  return `the last chain that it knows is epoch ${epoch}, ${addresses(members).join(' > ')}`;
}

function addresses(members: readonly Member[]): string[] {
  return members.map(({ address }) => address);
}
