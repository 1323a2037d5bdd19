/** The runs with one fault each, by name: those of links, and those of servers, disks and ZooKeeper. */
import { randomFrom } from '../support/random.js';
import { failsOnce, shortWrites, slowSync } from './faults/disks.js';
import type { Fault } from './faults/fault.js';
import {
  clogged,
  connectionsReset,
  type CutFrom,
  cutOff,
  harmed,
  lateBytes,
  pairCut,
  slow,
  type Slowness,
  stalled,
} from './faults/network.js';
import {
  allKilled,
  blocked,
  clockJumped,
  crashLoop,
  joinedAndLeft,
  killedWhileWriting,
  leftAndReturned,
  stopped,
  stoppedAcross,
} from './faults/processes.js';
import { answerLost, leaderKilled, quorumLost, sessionsExpired } from './faults/zookeeper.js';

export interface NamedFault {
  readonly name: string;
  readonly fault: Fault;
}

const places = ['head', 'middle', 'tail'] as const;
const random = randomFrom(4);

/** Long enough for whoever is not heard to be removed. */
const longMs = 1_800;
/** Shorter than that, and longer than some beats. */
const shortMs = 300;

export function linkRuns(): NamedFault[] {
  const pairs = [
    ['head', 'middle'],
    ['middle', 'head'],
    ['middle', 'tail'],
    ['tail', 'middle'],
  ] as const;
  const cuts: readonly CutFrom[] = ['all', 'its peers', 'ZooKeeper', 'its peers and ZooKeeper'];
  const slownesses: readonly Slowness[] = [
    'delayed',
    'limited to 8 kB/s',
    'one byte at a time',
    'glued together',
  ];
  return [
    ...pairs.map(([from, to]) => ({
      name: `N1: ${from} to ${to} stalls`,
      fault: stalled(from, to, longMs),
    })),
    { name: 'N1: head to middle stalls for a moment', fault: stalled('head', 'middle', shortMs) },
    { name: 'N1: clients to the head stall', fault: stalled('clients', 'head', longMs) },
    { name: 'N1: the head to clients stalls', fault: stalled('head', 'clients', longMs) },
    { name: 'N1: the tail to clients stalls', fault: stalled('tail', 'clients', longMs) },
    { name: 'N1: the head to ZooKeeper stalls', fault: stalled('head', 'zookeeper', longMs) },
    { name: 'N1: ZooKeeper to the tail stalls', fault: stalled('zookeeper', 'tail', longMs) },
    ...cuts.flatMap((from) => {
      const cut = places.filter((place) => from !== 'ZooKeeper' || place !== 'middle');
      return cut.map((place) => ({
        name: `N2: the ${place} is cut from ${from}`,
        fault: cutOff(place, from, longMs),
      }));
    }),
    {
      name: 'N2: head and middle do not hear each other',
      fault: pairCut('head', 'middle', longMs),
    },
    ...slownesses.map((slowness) => ({
      name: `N3: head and middle, ${slowness}`,
      fault: slow('head', 'middle', slowness, longMs),
    })),
    {
      name: 'N3: the tail and ZooKeeper, delayed',
      fault: slow('tail', 'zookeeper', 'delayed', longMs, 200),
    },
    {
      name: 'N3: the head and clients, one byte at a time',
      fault: slow('head', 'clients', 'one byte at a time', longMs),
    },
    {
      name: 'N4: head to middle is reset inside of a frame',
      fault: harmed('head', 'middle', 'cut'),
    },
    {
      name: 'N4: tail to middle is reset inside of a frame',
      fault: harmed('tail', 'middle', 'cut'),
    },
    {
      name: 'N4: clients to the head are reset inside of a frame',
      fault: harmed('clients', 'head', 'cut'),
    },
    {
      name: 'N4: the head loses its connections before an answer',
      fault: harmed('head', 'clients', 'drop'),
    },
    { name: 'N4: the tail and ZooKeeper are reset', fault: connectionsReset('tail', 'zookeeper') },
    { name: 'N5: head to middle, old bytes late', fault: lateBytes('head', 'middle') },
    { name: 'N5: middle to tail, old bytes late', fault: lateBytes('middle', 'tail') },
    { name: 'N6: head to middle is corrupted', fault: harmed('head', 'middle', 'corrupt') },
    { name: 'N6: tail to middle is corrupted', fault: harmed('tail', 'middle', 'corrupt') },
    { name: 'N7: links are clogged one by one', fault: clogged(random, 100) },
  ];
}

function processes(): NamedFault[] {
  return [
    { name: 'P1, P5: all are killed', fault: allKilled(random, 300) },
    ...places.map((place) => ({
      name: `P1, D1, D2: the ${place} is killed while it writes`,
      fault: killedWhileWriting(place, 100),
    })),
    ...([0.5, 1, 3] as const).flatMap((leases) =>
      places.map((place) => ({
        name: `P2: the ${place} is stopped for ${leases} leases`,
        fault: stopped(place, leases),
      })),
    ),
    ...places.map((place) => ({
      name: `P2: the ${place} is stopped until the chain went on`,
      fault: stoppedAcross(place),
    })),
    ...places.map((place) => ({
      name: `P3: the ${place} is blocked`,
      fault: blocked(place, 1_200),
    })),
    { name: 'P6: the middle crashes again and again', fault: crashLoop('middle') },
    { name: 'C1: the clock of the head jumps ahead', fault: clockJumped('head', 10) },
    { name: 'C1: the clock of the tail jumps back', fault: clockJumped('tail', -10) },
    { name: 'O1: the head leaves and returns', fault: leftAndReturned('head') },
    { name: 'O2: a fourth server joins and leaves', fault: joinedAndLeft(4, 300) },
  ];
}

function disks(): NamedFault[] {
  return [
    { name: 'D5: a sync of the head fails once', fault: failsOnce('head', 'sync') },
    { name: 'D6: syncs of the middle take 100 ms', fault: slowSync('middle', 100, longMs) },
    { name: 'D6: syncs of the tail take 1 s', fault: slowSync('tail', 1_000, longMs) },
    { name: 'D7: writes of the tail are short', fault: shortWrites('tail', longMs) },
  ];
}

function zookeeper(): NamedFault[] {
  return [
    { name: "Z1: ZooKeeper's leader is killed", fault: leaderKilled(2_000) },
    { name: "Z2: ZooKeeper's quorum is lost", fault: quorumLost(3_000) },
    { name: 'Z3: all sessions expire', fault: sessionsExpired() },
    { name: 'Z4: the session of the head expires', fault: sessionsExpired('head') },
    {
      name: 'Z5: the answer to a change of the chain is lost',
      fault: answerLost('set', 'chain', 'unanswered'),
    },
    { name: 'Z5: a change of the chain is lost', fault: answerLost('set', 'chain', 'lost') },
    {
      name: 'Z5: the answer to a registration is lost',
      fault: answerLost('create', 'servers', 'unanswered'),
    },
  ];
}

export function nodeRuns(): NamedFault[] {
  return [...processes(), ...disks(), ...zookeeper()];
}
