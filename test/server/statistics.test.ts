/** Counts by kind; and the options of a server. */
import test from 'ava';
import { MemoryCoordination } from '../../src/coordination/memory.js';
import { BadRequestError } from '../../src/errors.js';
import { silentLogger } from '../../src/logger.js';
import { checkOptions, type ServerOptions } from '../../src/server/server-options.js';
import { Statistics } from '../../src/server/statistics.js';

test('counts, failures, mean and maximum by kind', (t) => {
  const statistics = new Statistics();
  t.deepEqual(statistics.list(), []);
  statistics.record('get', 2, false);
  statistics.record('get', 4, true);
  statistics.record('put', 1, false);
  t.deepEqual(statistics.list(), [
    { kind: 'get', count: 2, failures: 1, meanMs: 3, maxMs: 4 },
    { kind: 'put', count: 1, failures: 0, meanMs: 1, maxMs: 1 },
  ]);
});

const options: ServerOptions = {
  listen: { host: '127.0.0.1', port: 5000 },
  dataPath: 'x',
  cluster: 'c',
  coordinator: new MemoryCoordination().coordinator(),
  logger: silentLogger,
  onLine: () => {},
};

test('defaults are filled in', (t) => {
  const { replicas, minReplicas, leaseMs, reviveGraceMs } = checkOptions(options);
  t.deepEqual(
    { replicas, minReplicas, leaseMs, reviveGraceMs },
    {
      replicas: 5,
      minReplicas: 1,
      leaseMs: 500,
      reviveGraceMs: 2_000,
    },
  );
});

const wrongOptions: Partial<ServerOptions>[] = [
  { replicas: 0 },
  { replicas: 1.5 },
  { replicas: 100 },
  { replicas: 2, minReplicas: 3 },
  { minReplicas: 0 },
  { leaseMs: 49 },
  { leaseMs: 60_001 },
  { leaseMs: Number.NaN },
  { reviveGraceMs: -1 },
  { advertise: 'nowhere' },
  { listen: { host: 'h', port: 0 } },
];

for (const wrong of wrongOptions) {
  test(`refused: ${JSON.stringify(wrong)}`, (t) => {
    t.throws(() => checkOptions({ ...options, ...wrong }), { instanceOf: BadRequestError });
  });
}
