/**
 * The searches of the protocol model (`model/`): which model, with which bounds and which rule switched
 * off, and what must come out. `holds`: the search is complete and finds nothing. `breaks`: without the rule
 * there is a counterexample. `reached`: the good state can be reached, so the search was not of nothing.
 */
export type Expectation = 'holds' | 'breaks' | 'reached';

export interface ModelRun {
  readonly name: string;
  readonly what: string;
  /** The file in `model/`, without its ending. */
  readonly model: 'chain' | 'beats' | 'fence' | 'standing';
  readonly expected: Expectation;
  readonly flags: readonly string[];
  /** The flags of `--quick`, where they differ; undefined: the same. */
  readonly quick?: readonly string[];
  /** Takes too long for `--quick` with any bounds that say something. */
  readonly fullOnly?: boolean;
  /** Its counterexample lies deep: worth the compiler's time. */
  readonly isLong?: boolean;
}

interface Bounds {
  /** Servers of the first configuration; those beyond are learners. */
  readonly first: 1 | 2 | 3;
  readonly ops: number;
  readonly configurations: number;
  readonly crashes?: number;
  readonly servers?: 3 | 4;
}

function log(bounds: Bounds, ...more: readonly string[]): string[] {
  const { first, ops, configurations, crashes = 0, servers = 3 } = bounds;
  return [
    `SERVERS=${servers}`,
    `FIRST_CHAIN=${first}`,
    `OPS=${ops}`,
    `CONFIGURATIONS=${configurations}`,
    `CRASHES=${crashes}`,
    ...more,
  ];
}

/** With leases and holds; a log entry is synced as it is appended, to keep the search complete. */
function leases(bounds: Bounds, ...more: readonly string[]): string[] {
  return log(bounds, 'LEASES', 'SYNC_AT_ONCE', ...more);
}

const zookeeperBack = log({ first: 2, ops: 2, configurations: 4 }, 'ZOOKEEPER_GOES_BACK');

const safe: readonly ModelRun[] = [
  {
    name: 'zookeeper-back',
    what: 'ZooKeeper forgets a configuration: histories never mix (needs R4_LINEAGE, see below)',
    model: 'chain',
    expected: 'holds',
    flags: zookeeperBack,
    fullOnly: true,
  },
  {
    name: 'log-late',
    what: 'late messages of every kind, reconnecting learners',
    model: 'chain',
    expected: 'holds',
    flags: log({ first: 2, ops: 2, configurations: 3, crashes: 1 }, 'LATE'),
    quick: log({ first: 2, ops: 1, configurations: 2, crashes: 1 }, 'LATE', 'RECONNECTS=1'),
  },
  {
    name: 'log',
    what: 'log, admission, revival: two members and a learner, two writes, a crash',
    model: 'chain',
    expected: 'holds',
    flags: log({ first: 2, ops: 2, configurations: 3, crashes: 1 }),
    quick: log({ first: 2, ops: 1, configurations: 3, crashes: 1 }),
  },
  {
    name: 'log-deep',
    what: 'the same with four configurations and one write',
    model: 'chain',
    expected: 'holds',
    flags: log({ first: 2, ops: 1, configurations: 4, crashes: 1 }),
    fullOnly: true,
  },
  {
    name: 'log-three',
    what: 'the same with three members',
    model: 'chain',
    expected: 'holds',
    flags: log({ first: 3, ops: 2, configurations: 3, crashes: 1 }),
    quick: log({ first: 3, ops: 1, configurations: 3, crashes: 1 }),
  },
  {
    name: 'log-outage',
    what: 'full outages: every server may restart, in any order',
    model: 'chain',
    expected: 'holds',
    flags: log({ first: 3, ops: 1, configurations: 3, crashes: 3 }),
    quick: log({ first: 2, ops: 1, configurations: 2, crashes: 2 }),
  },
  {
    name: 'log-reconnect',
    what: 'late messages, learners that reconnect; one write',
    model: 'chain',
    expected: 'holds',
    flags: log({ first: 2, ops: 1, configurations: 3, crashes: 1 }, 'LATE', 'RECONNECTS=1'),
    fullOnly: true,
  },
  {
    name: 'log-joiner',
    what: 'three members and a joiner',
    model: 'chain',
    expected: 'holds',
    flags: log({ first: 3, ops: 1, configurations: 3, crashes: 1, servers: 4 }),
    fullOnly: true,
  },
  {
    name: 'leases',
    what: 'leases, holds, gate: two members and a learner',
    model: 'chain',
    expected: 'holds',
    flags: leases({ first: 2, ops: 1, configurations: 3, crashes: 1 }),
    quick: leases({ first: 2, ops: 1, configurations: 3 }),
  },
  {
    name: 'leases-deep',
    what: 'the same with four configurations and no crash',
    model: 'chain',
    expected: 'holds',
    flags: leases({ first: 2, ops: 1, configurations: 4 }),
    fullOnly: true,
  },
  {
    name: 'leases-three',
    what: 'leases, holds: three members, of whom removed ones come back',
    model: 'chain',
    expected: 'holds',
    flags: leases({ first: 3, ops: 1, configurations: 3, crashes: 1 }),
    fullOnly: true,
  },
  {
    name: 'leases-leave',
    what: 'members that leave by agreement',
    model: 'chain',
    expected: 'holds',
    flags: leases({ first: 3, ops: 1, configurations: 3, crashes: 1 }, 'LEAVES', 'NO_JOINS'),
    quick: leases({ first: 3, ops: 1, configurations: 3 }, 'LEAVES', 'NO_JOINS'),
  },
  {
    name: 'verify',
    what: '`verify` says never only of what is never executed',
    model: 'chain',
    expected: 'holds',
    flags: log({ first: 2, ops: 2, configurations: 3, crashes: 2 }, 'VERIFY', 'NO_JOINS'),
    quick: log({ first: 2, ops: 2, configurations: 2, crashes: 2 }, 'VERIFY', 'NO_JOINS'),
  },
  {
    name: 'beats-chain',
    what: 'echo numbers in a chain of three, on a clock',
    model: 'beats',
    expected: 'holds',
    flags: ['MEMBERS=3', 'ROUNDS=2', 'END=8'],
    quick: ['MEMBERS=3', 'ROUNDS=2', 'END=6'],
  },
  {
    name: 'beats-gate',
    what: 'echo numbers of two members and a gated learner',
    model: 'beats',
    expected: 'holds',
    flags: ['MEMBERS=2', 'GATES=2', 'ROUNDS=2', 'END=6'],
    quick: ['MEMBERS=2', 'GATES=1', 'ROUNDS=2', 'END=5'],
  },
  {
    name: 'beats-single',
    what: 'gate start + D for a chain of one',
    model: 'beats',
    expected: 'holds',
    flags: ['MEMBERS=1', 'GATES=2', 'ROUNDS=3', 'END=7'],
    quick: ['MEMBERS=1', 'GATES=2', 'ROUNDS=2', 'END=5'],
  },
  {
    name: 'beats-suspend',
    what: 'a machine is suspended: its monotonic clock stands still',
    model: 'beats',
    expected: 'holds',
    flags: ['MEMBERS=2', 'SUSPENDS=1', 'ROUNDS=3', 'END=7'],
    quick: ['MEMBERS=2', 'SUSPENDS=1', 'ROUNDS=2', 'END=6'],
  },
  {
    name: 'fence',
    what: 'admission and fence under way together; no gate is closed for ever',
    model: 'fence',
    expected: 'holds',
    flags: [],
  },
  {
    name: 'recover',
    what: 'the same, with an operator who runs `recover`',
    model: 'fence',
    expected: 'holds',
    flags: ['RECOVERS'],
  },
  {
    name: 'standing',
    what: 'no dead process stays in the chain for ever',
    model: 'standing',
    expected: 'holds',
    flags: [],
  },
];

const reached: readonly ModelRun[] = [
  {
    name: 'reach-admission',
    what: 'a learner is admitted, and the last write is acknowledged with it',
    model: 'chain',
    expected: 'reached',
    flags: log({ first: 2, ops: 2, configurations: 3 }, 'REACH_ADMISSION'),
  },
  {
    name: 'reach-recovery',
    what: 'a crashed member is back with a lease, and all is acknowledged in the last epoch',
    model: 'chain',
    expected: 'reached',
    flags: leases({ first: 2, ops: 1, configurations: 3, crashes: 1 }, 'REACH_RECOVERY'),
  },
  {
    name: 'reach-leases',
    what: 'all three members hold a lease that was proven by beats',
    model: 'beats',
    expected: 'reached',
    flags: ['MEMBERS=3', 'ROUNDS=2', 'END=6', 'REACH_LEASES'],
  },
  {
    name: 'reach-whole',
    what: 'after a restart the chain is whole again',
    model: 'standing',
    expected: 'reached',
    flags: ['REACH', 'CRASHES=1'],
  },
];

/** `rules`: which are switched off, without their NO_. */
function breaks(
  name: string,
  what: string,
  model: ModelRun['model'],
  flags: readonly string[],
  ...rules: readonly string[]
): ModelRun {
  const off = (rules.length === 0 ? [name] : rules).map((rule) => `NO_${rule}`);
  return { name, what, model, expected: 'breaks', flags: [...flags, ...off] };
}

const small = log({ first: 2, ops: 1, configurations: 3 });
const smallLeases = leases({ first: 2, ops: 1, configurations: 3 });
const restarts = log({ first: 2, ops: 2, configurations: 3, crashes: 1 });
const revivals = log({ first: 2, ops: 2, configurations: 2, crashes: 2 }, 'NO_JOINS');
const holds = leases({ first: 3, ops: 1, configurations: 3, crashes: 1 }, 'NO_JOINS');
const beats = ['ROUNDS=2', 'END=6'];

const rulesOff: readonly ModelRun[] = [
  breaks('R1_KEEP', 'a configuration keeps an old member', 'chain', small),
  breaks('R1_MEMBER', 'only members write the next configuration', 'chain', small),
  breaks('R2_INCARNATION', 'alive is judged by (serverId, incarnation)', 'standing', [
    'CRASHES=1',
    'EXPIRIES=0',
    'WRONG=0',
  ]),
  breaks('R3_GATE', 'acks wait for the gated learner', 'chain', small),
  breaks(
    'R3_WHOLE_LOG',
    'the learner acks all of the log, whatever epoch acked it',
    'chain',
    small,
  ),
  breaks('R3_KEEP_GATE', 'an old read does not open the gate', 'chain', small),
  breaks('R3_KEEP_PREFIX', 'a learner keeps its log when a stream breaks', 'chain', [
    ...small,
    'RECONNECTS=1',
  ]),
  {
    ...breaks(
      'R3_SETTLED',
      'the tail gates with a settled log only',
      'chain',
      log({ first: 2, ops: 2, configurations: 3, crashes: 2 }),
    ),
    quick: log({ first: 2, ops: 2, configurations: 2, crashes: 2 }, 'NO_R3_SETTLED', 'GATE_LAST'),
    isLong: true,
  },
  breaks('R3_OWN_LEASE', "the gate covers the tail's own lease", 'chain', smallLeases),
  breaks(
    'R3_GATED_BEATS',
    "the gate covers the others' leases",
    'chain',
    leases({ first: 2, ops: 1, configurations: 3 }),
  ),
  breaks(
    'R3_SINGLE_LEASE',
    'the gate covers a chain of one',
    'chain',
    leases({ first: 1, ops: 1, configurations: 3 }),
  ),
  breaks('R3_FENCE', 'a fence decides an admission in doubt', 'fence', []),
  breaks('R3_FENCE_ANSWER', 'the gate opens when the fence is known to be written', 'fence', []),
  breaks('R4_CONFIG_ID', 'equal epoch, other configId: halt', 'chain', zookeeperBack),
  breaks(
    'R4_LINEAGE',
    'what was adopted is an ancestor of what is adopted; NOT IN THE CODE',
    'chain',
    zookeeperBack,
  ),
  breaks('R4_RECOVER_BY_SET', '`recover` sets, it does not create', 'fence', ['RECOVERS']),
  breaks('R5_REVIVAL', 'restarted members revive the chain', 'standing', ['EXPIRIES=0', 'WRONG=0']),
  breaks(
    'R5_AHEAD',
    'a successor that is ahead is cut (with R7_ENTRY off: either alone is enough)',
    'chain',
    revivals,
    'R5_AHEAD',
    'R7_ENTRY',
  ),
  breaks(
    'R5_ORDER',
    'Hello goes strictly down the chain',
    'chain',
    log({ first: 3, ops: 2, configurations: 2, crashes: 3 }, 'NO_JOINS'),
  ),
  breaks('R5_RESTART_EPOCH', 'what a restart explains is cut, nothing halts', 'chain', revivals),
  breaks('R6_EPOCH', 'messages of an older epoch are dropped', 'chain', [...restarts, 'LATE']),
  breaks('R7_PERSIST', 'the epoch is on disk before the first answer in it', 'chain', [
    ...log({ first: 2, ops: 1, configurations: 3, crashes: 1 }),
  ]),
  breaks('R8_ECHO', 'a lease counts from a sending, not a receipt', 'beats', [
    'MEMBERS=2',
    ...beats,
  ]),
  breaks('R8_BOTH_SIDES', 'a middle member needs both proofs', 'beats', ['MEMBERS=3', ...beats]),
  breaks('R8_GATED_TAIL', 'a gated tail needs the proof of its learner', 'beats', [
    'MEMBERS=2',
    'GATES=1',
    ...beats,
  ]),
  breaks('R8_GATE_GRACE', 'a chain of one that gates reads until gate start + D', 'beats', [
    'MEMBERS=1',
    'GATES=1',
    ...beats,
  ]),
  breaks('R8_WALL_CLOCK', 'the wall clock ends a lease too', 'beats', [
    'MEMBERS=2',
    'SUSPENDS=1',
    ...beats,
  ]),
  breaks(
    'R9_REMOVAL',
    'a head waits for the leases of the removed',
    'chain',
    leases({ first: 2, ops: 1, configurations: 2 }),
  ),
  breaks(
    'R9_START',
    'and after its own start (with R9_FIRST off: that covers it)',
    'chain',
    leases({ first: 2, ops: 1, configurations: 3, crashes: 1 }, 'NO_JOINS'),
    'R9_START',
    'R9_FIRST',
  ),
  {
    ...breaks(
      'R9_FIRST',
      'and after it first became a member',
      'chain',
      leases({ first: 2, ops: 1, configurations: 4, crashes: 1 }),
    ),
    isLong: true,
  },
  breaks('R9_EVERY_MEMBER', 'every member keeps the hold, not only the head', 'chain', holds),
  breaks('R9_MAX', 'a later adoption does not shorten the hold', 'chain', holds),
  breaks(
    'R9_OWN_BASE',
    'missing is counted from the configuration that this server had adopted',
    'chain',
    leases({ first: 3, ops: 1, configurations: 3 }, 'NO_JOINS', 'LEAVES'),
  ),
  breaks(
    'R10_NAMED',
    'the leaver is named, others are waited for',
    'chain',
    leases({ first: 3, ops: 1, configurations: 3 }, 'NO_JOINS', 'LEAVES'),
  ),
  breaks(
    'R10_SILENT',
    'a leaver in doubt does not serve again',
    'chain',
    leases({ first: 2, ops: 1, configurations: 2 }, 'NO_JOINS', 'LEAVES'),
  ),
  breaks(
    'R11_INCARNATION',
    'a restarted process is not the member that it was',
    'chain',
    log({ first: 1, ops: 2, configurations: 2, crashes: 1 }, 'NO_JOINS'),
  ),
  breaks(
    'R14_NAME',
    'a lost disk takes its serverId with it',
    'chain',
    log({ first: 2, ops: 1, configurations: 2, crashes: 1 }, 'NO_JOINS'),
  ),
  breaks(
    'VERIFY_COMMITTED',
    '`verify` judges by what is committed',
    'chain',
    log({ first: 2, ops: 2, configurations: 2, crashes: 2 }, 'VERIFY', 'NO_JOINS'),
  ),
];

export const modelRuns: readonly ModelRun[] = [...safe, ...reached, ...rulesOff];
